"""Airflow's own openai provider brings its batches to our server: ``OpenAIHook``, ``OpenAITriggerBatchOperator``."""

from __future__ import annotations

import pytest
from airflow.providers.openai.exceptions import OpenAIBatchJobException, OpenAIBatchTimeout
from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.providers.openai.operators.openai import OpenAITriggerBatchOperator
from airflow.providers.openai.triggers.openai import OpenAIBatchTrigger

from airflow_batch_provider.testing import FaultPlan
from tests.clients.servers import CHAT, jsonl, request, run, said

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["waiting", "deferred"])


@pytest.fixture
def connect(monkeypatch):
    """Make a server the default connection, and give the hook of it."""

    def make(server):
        monkeypatch.setenv("AIRFLOW_CONN_OPENAI_DEFAULT", server.connection("openai"))
        return OpenAIHook()

    return make


@pytest.fixture
def hook(connect, server):
    return connect(server)


def upload(hook, tmp_path, lines):
    path = tmp_path / "requests.jsonl"
    path.write_bytes(jsonl(lines))
    return hook.upload_file(str(path), "batch").id


def trigger(file_id, endpoint=CHAT, **options):
    options = {"wait_seconds": 0.02, "poll_interval": 0.02, **options}
    return OpenAITriggerBatchOperator(task_id="theirs", file_id=file_id, endpoint=endpoint, **options)


@both_ways
def test_a_batch(hook, server, tmp_path, deferrable):
    """Uploaded by the hook and waited for by the operator: one batch, completed, each row answered under its name."""
    file_id = upload(hook, tmp_path, [request(number) for number in range(12)])
    batch_id, triggers = run(trigger(file_id, deferrable=deferrable, metadata={"asked": "by theirs"}))
    batch = server.batch()
    assert (batch["id"], batch["status"], batch["input_file_id"]) == (batch_id, "completed", file_id)
    assert batch["request_counts"] == {"total": 12, "completed": 12, "failed": 0}
    assert batch["metadata"] == {"asked": "by theirs"}
    assert server.answers(batch) == {f"row-{number}": said(number) for number in range(12)}
    assert [type(one) for one in triggers] == [OpenAIBatchTrigger] * deferrable


@both_ways
def test_not_waited_for(hook, server, tmp_path, deferrable):
    """The operator goes once the batch is there; it ends all the same."""
    operator = trigger(upload(hook, tmp_path, [request(0)]), deferrable=deferrable, wait_for_completion=False)
    batch_id, triggers = run(operator)
    assert (server.batch()["id"], triggers) == (batch_id, [])
    assert server.answers(server.ended(batch_id)) == {"row-0": said(0)}
    assert hook.get_batch(batch_id).status == "completed"


def test_options_and_another_endpoint(hook, server, tmp_path):
    """What the operator hands on unread is understood: embeddings, and how long the output is to be kept."""
    lines = [request(number, "/v1/embeddings", model="m", input=f"text {number}") for number in range(2)]
    life = {"anchor": "created_at", "seconds": 3600}
    file_id = upload(hook, tmp_path, lines)
    run(trigger(file_id, "/v1/embeddings", batch_kwargs={"output_expires_after": life}))
    batch = server.batch()
    vectors = [line["response"]["body"]["data"][0]["embedding"] for line in server.lines(batch["output_file_id"])]
    assert [len(vector) for vector in vectors] == [8, 8]
    output = server.file(batch["output_file_id"])
    assert output["expires_at"] == output["created_at"] + 3600


@both_ways
def test_a_file_that_is_refused(hook, server, tmp_path, deferrable):
    """Two rows of one name fail the batch, and the client is told which line it was."""
    file_id = upload(hook, tmp_path, [request(1), request(1)])
    with pytest.raises(OpenAIBatchJobException):
        run(trigger(file_id, deferrable=deferrable))
    batch = hook.get_batch(server.batch()["id"])
    assert batch.status == "failed"
    assert [(error.code, error.line) for error in batch.errors.data] == [("duplicate_custom_id", 2)]
    assert (batch.output_file_id, batch.error_file_id) == (None, None)


@both_ways
@pytest.mark.parametrize(
    ("faults", "status"), [({"cancel_after_rows": 2}, "cancelled"), ({"expire_after_rows": 2}, "expired")]
)
def test_an_early_end(faulty, connect, tmp_path, deferrable, faults, status):
    """A batch that was cancelled or expired is no success; what was answered before is there."""
    server = faulty(FaultPlan(**faults))
    file_id = upload(connect(server), tmp_path, [request(number) for number in range(5)])
    with pytest.raises(OpenAIBatchJobException):
        run(trigger(file_id, deferrable=deferrable))
    batch = server.ended(server.batch()["id"])
    assert (batch["status"], len(server.answers(batch))) == (status, 2)
    assert {line["error"]["code"] for line in server.lines(batch["error_file_id"])} == {f"batch_{status}"}


def test_too_slow_a_batch(faulty, connect, tmp_path):
    """When the operator's patience ends it cancels the batch, and cancelled it is."""
    server = faulty(FaultPlan(hold_after_rows=1))
    file_id = upload(connect(server), tmp_path, [request(number) for number in range(3)])
    with pytest.raises(OpenAIBatchTimeout):
        run(trigger(file_id, timeout=0.5))
    assert server.ended(server.batch()["id"])["status"] == "cancelled"


def test_a_killed_task(faulty, connect, tmp_path):
    """``on_kill`` cancels the batch."""
    server = faulty(FaultPlan(hold_after_rows=0))
    operator = trigger(upload(connect(server), tmp_path, [request(0)]), wait_for_completion=False)
    run(operator)
    operator.on_kill()
    assert server.ended(server.batch()["id"])["status"] == "cancelled"


def test_the_hooks_other_verbs(hook, server, tmp_path):
    """The connection's own test, files told, listed and deleted, a real-time answer: as from OpenAI."""
    assert hook.test_connection() == (True, "Connection established!")
    file_id = upload(hook, tmp_path, [request(0)])
    assert (hook.get_file(file_id).filename, hook.get_file(file_id).purpose) == ("requests.jsonl", "batch")
    assert file_id in [file.id for file in hook.get_files()]
    assert hook.delete_file(file_id).deleted
    assert file_id not in [file.id for file in hook.get_files()]
    (choice,) = hook.create_chat_completion([{"role": "user", "content": "say this"}], model="m")
    assert choice.message.content == "say this"
    assert hook.create_embeddings("text", model="m")
