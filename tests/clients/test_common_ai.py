"""``LLMBatchOperator`` of Airflow's common-ai provider brings its batches to our server, and lands all rows."""

from __future__ import annotations

import asyncio
import json

import pytest
from airflow.providers.common.ai.batch import state
from airflow.providers.common.ai.exceptions import LLMBatchCancelledError, LLMBatchJobError
from airflow.providers.common.ai.operators import llm_batch
from airflow.providers.common.ai.operators.llm_batch import LLMBatchOperator
from airflow.providers.common.ai.triggers.llm_batch import LLMBatchTrigger
from airflow.sdk.exceptions import TaskDeferred
from pydantic import BaseModel

from airflow_batch_provider.testing import FaultPlan
from tests.clients import servers
from tests.clients.servers import context, said

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["waiting", "deferred"])


class Review(BaseModel):
    stars: int
    why: str


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Their least time between two looks is half a minute."""
    monkeypatch.setattr(llm_batch, "_MIN_POLL_INTERVAL", 0)


@pytest.fixture
def theirs(monkeypatch, tmp_path):
    """``theirs(server, prompts)`` makes the operator of a task on a connection to the server."""

    def make(server, prompts=5, **options):
        monkeypatch.setenv("AIRFLOW_CONN_THEIRS", server.connection("pydanticai"))
        asked = [said(number) for number in range(prompts)] if isinstance(prompts, int) else prompts
        options = {"model_id": "openai:m", "poll_interval": 0.02, **options}
        return LLMBatchOperator(
            task_id="theirs", requests=asked, result_path=f"file://{tmp_path}/landed", llm_conn_id="THEIRS", **options
        )

    return make


def run(operator):
    """The manifest, its rows in their order, and the triggers waited in."""
    manifest, triggers = servers.run(operator)
    return manifest, landed(manifest), triggers


def landed(manifest):
    with open(manifest["result_uri"].removeprefix("file://"), "rb") as stream:
        return sorted((json.loads(line) for line in stream), key=lambda row: row["index"])


def counted(**more):
    names = ("succeeded", "errored", "invalid_output", "expired", "cancelled", "missing")
    return {**dict.fromkeys(names, 0), **more}


@both_ways
def test_a_batch(theirs, server, deferrable):
    """All prompts are answered in one batch, each row under its name, whatever characters it holds."""
    manifest, rows, triggers = run(theirs(server, deferrable=deferrable, system_prompt="be short"))
    assert (manifest["counts"], manifest["terminal_reason"]) == (counted(succeeded=5), "succeeded")
    assert (manifest["duplicate_result_count"], manifest["out_of_range_result_count"]) == (0, 0)
    names = [f"{manifest['custom_id_prefix']}-{number}" for number in range(5)]
    assert [row["custom_id"] for row in rows] == names
    assert [row["output"] for row in rows] == [said(number) for number in range(5)]
    assert {(row["model"], row["finish_reason"]) for row in rows} == {("m", "stop")}
    assert all(row["usage"]["input_tokens"] > row["usage"]["output_tokens"] > 0 for row in rows)
    batch = server.batch()
    assert (batch["id"], batch["status"]) == (manifest["batch_id"], "completed")
    assert server.answers(batch) == {name: said(number) for number, name in enumerate(names)}
    assert batch["metadata"]["idempotency_key"] == manifest["custom_id_prefix"]
    assert [type(one) for one in triggers] == [LLMBatchTrigger] * deferrable


def test_structured_output(theirs, server):
    """A schema goes along, and what answers it is validated there; what does not is a row of its own."""
    prompts = ['{"stars": 5, "why": "good"}', "no JSON"]
    manifest, rows, _ = run(theirs(server, prompts, output_type=Review))
    assert manifest["counts"] == counted(succeeded=1, invalid_output=1)
    assert [(row["status"], row["output"]) for row in rows] == [
        ("success", {"stars": 5, "why": "good"}),
        ("invalid_output", None),
    ]
    sent = server.lines(server.batch()["input_file_id"])
    assert {line["body"]["response_format"]["type"] for line in sent} == {"json_schema"}


def test_cleared_tasks_find_their_batch(theirs, server):
    """Run again, the operator knows the batch: same rows, no second one."""
    first = run(theirs(server))
    again = run(theirs(server))
    assert again[1] == first[1]
    assert again[0]["batch_id"] == first[0]["batch_id"] == server.batch()["id"]


def test_a_crash_after_the_create(theirs, server, monkeypatch):
    """What crashed before it could write the batch down finds it by the list of batches and their metadata."""
    with monkeypatch.context() as patch:
        patch.setattr(state, "write_submitted", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(theirs(server))
    manifest, rows, _ = run(theirs(server, on_orphaned_intent="fail"))
    assert manifest["batch_id"] == server.batch()["id"]
    assert [row["output"] for row in rows] == [said(number) for number in range(5)]


@both_ways
def test_failed_rows(theirs, faulty, deferrable):
    """A row that failed is landed with the server's reason, beside those that did not."""
    server = faulty(FaultPlan(fail_rows={"*": 429}))
    manifest, rows, _ = run(theirs(server, deferrable=deferrable))
    assert manifest["counts"] == counted(errored=5)
    assert {(row["status"], row["error"]["provider_code"]) for row in rows} == {("error", "planned")}
    assert "told to fail this row with 429" in rows[0]["error"]["message"]
    batch = server.batch()
    assert (batch["status"], batch["output_file_id"], batch["request_counts"]["failed"]) == ("completed", None, 5)


@both_ways
def test_an_expired_batch(theirs, faulty, deferrable):
    """What was answered is landed, the rest is told row by row as expired."""
    server = faulty(FaultPlan(expire_after_rows=2))
    manifest, rows, _ = run(theirs(server, deferrable=deferrable))
    assert (manifest["counts"], manifest["terminal_reason"]) == (counted(succeeded=2, expired=3), "expired")
    assert sorted(row["status"] for row in rows) == ["expired"] * 3 + ["success"] * 2
    assert server.batch()["status"] == "expired"


@both_ways
def test_a_cancelled_batch(theirs, faulty, deferrable):
    """Rows that were not run are counted as cancelled, and the task is told."""
    server = faulty(FaultPlan(cancel_after_rows=2))
    with pytest.raises(LLMBatchCancelledError, match="before 3 of 5 requests"):
        run(theirs(server, deferrable=deferrable))
    assert server.batch()["status"] == "cancelled"


@both_ways
def test_a_refused_file(theirs, faulty, deferrable):
    """A batch that fails at validation tells why in the server's words."""
    server = faulty(FaultPlan(job_errors=[{"code": "model_not_found", "message": "There is no model m."}]))
    with pytest.raises(LLMBatchJobError, match=r"model_not_found: There is no model m\."):
        run(theirs(server, deferrable=deferrable))
    assert server.batch()["status"] == "failed"


def test_a_killed_task(theirs, faulty):
    """The trigger's ``on_kill`` cancels the batch."""
    server = faulty(FaultPlan(hold_after_rows=1))
    with pytest.raises(TaskDeferred) as deferred:
        theirs(server, deferrable=True).execute(context())
    asyncio.run(deferred.value.trigger.on_kill())
    assert server.ended(server.batch()["id"])["status"] == "cancelled"
