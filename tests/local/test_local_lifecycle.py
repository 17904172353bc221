"""How batches of the embedded server end: cancelled, expired, killed, resumed."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

import openai
import pytest

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import Reply, error_body
from airflow_batch_provider.local.engines.echo import EchoEngine
from airflow_batch_provider.local.objects import derived_id, output_line
from airflow_batch_provider.local.policy import Policy
from airflow_batch_provider.local.results import Results
from airflow_batch_provider.local.runner import answer
from airflow_batch_provider.local.store import Store
from tests.local.serving import Process, client_of, jsonl, lines_of, request, requests, served, submit, wait
from tests.patience import PATIENCE


def wait_for_rows(client: openai.OpenAI, batch_id: str, rows: int) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        batch = client.batches.retrieve(batch_id)
        if batch.request_counts.completed >= rows:
            return batch
        time.sleep(0.01)
    raise AssertionError(f"only {batch.request_counts.completed} rows")


def test_cancel_keeps_what_is_done(tmp_path: Path) -> None:
    """A cancelled batch delivers its finished rows, names the others as not run, and runs none of them later."""
    with served(tmp_path, EchoEngine(latency=0.05), slots=2) as client:
        batch = submit(client, jsonl(requests(200)))
        wait_for_rows(client, batch.id, 4)
        cancelling = client.batches.cancel(batch.id)
        assert cancelling.status == "cancelling"
        assert cancelling.cancelling_at
        assert client.batches.cancel(batch.id).status in {"cancelling", "cancelled"}  # asking twice is no error
        batch = wait(client, batch.id)
        assert (batch.status, batch.completed_at) == ("cancelled", None)
        done = lines_of(client, batch.output_file_id)
        left = lines_of(client, batch.error_file_id)
        assert 4 <= len(done) == batch.request_counts.completed < 200
        assert {line["error"]["code"] for line in left} == {"batch_cancelled"}
        assert all(line["response"] is None for line in left)
        assert Counter(line["custom_id"] for line in done + left) == Counter(f"row-{n}" for n in range(200))


def test_expiry_keeps_what_is_done(tmp_path: Path) -> None:
    """An expired batch delivers its finished rows; the others are in the error file with batch_expired."""
    with served(tmp_path, EchoEngine(latency=0.1), slots=1, window=1.0, grace=0.5) as client:
        batch = wait(client, submit(client, jsonl(requests(100))).id)
        assert batch.status == "expired"
        assert batch.expired_at >= batch.expires_at
        done, left = lines_of(client, batch.output_file_id), lines_of(client, batch.error_file_id)
        assert done
        assert {line["error"]["code"] for line in left} == {"batch_expired"}
        assert Counter(line["custom_id"] for line in done + left) == Counter(f"row-{n}" for n in range(100))


def test_kill_in_mid_batch_and_restart(tmp_path: Path) -> None:
    """After kill -9 a new server finishes the batch: every row once, and finished rows are not asked again."""
    options = ("--engine", "echo", "--latency", "0.01", "--token", "t")
    with Process(tmp_path, *options) as first:
        client = client_of(first.base_url, "t")
        batch = submit(client, jsonl(requests(400)))
        wait_for_rows(client, batch.id, 40)
        first.end(signal.SIGKILL)
    output = tmp_path / "files" / derived_id(batch.id, "output")
    with output.open("ab") as stream:
        stream.write(b'{"id": "batch_req_torn", "custom_id": "ro')  # as a kill in the middle of a write leaves it
    before = output.read_bytes().split(b"\n")[:-1]
    assert 40 <= len(before) < 400
    with Process(tmp_path, *options) as second:
        client = client_of(second.base_url, "t")
        ended = wait(client, batch.id)
        assert (ended.status, ended.request_counts.completed) == ("completed", 400)
        assert ended.usage.input_tokens == 400 * 3
        content = client.files.content(ended.output_file_id).content
        assert content.split(b"\n")[: len(before)] == before
        lines = lines_of(client, ended.output_file_id)
        assert Counter(line["custom_id"] for line in lines) == Counter(f"row-{n}" for n in range(400))
        assert second.end(signal.SIGTERM)[0] == 0


def test_sigterm_is_clean_and_the_batch_goes_on(tmp_path: Path) -> None:
    """SIGTERM ends the server with code 0 and no traceback; the next server finishes the batch."""
    with Process(tmp_path, "--engine", "echo", "--latency", "0.02") as first:
        client = client_of(first.base_url)
        batch = submit(client, jsonl(requests(100)))
        wait_for_rows(client, batch.id, 5)
        code, errors = first.end(signal.SIGTERM)
        assert (code, "Traceback" in errors) == (0, False)
    with Process(tmp_path, "--engine", "echo") as second:
        assert second.line.startswith("listening on http://127.0.0.1:")
        client = client_of(second.base_url)
        assert len(lines_of(client, wait(client, batch.id).output_file_id)) == 100


@pytest.mark.parametrize(
    ("status", "end"), [("validating", "completed"), ("finalizing", "completed"), ("cancelling", "cancelled")]
)
def test_every_status_is_taken_up(tmp_path: Path, status: str, end: str) -> None:
    """Whatever status a kill leaves behind, the next server brings the batch to its end, even after its window."""
    with served(tmp_path, EchoEngine(latency=30)) as client:
        batch_id = submit(client, jsonl(requests(3))).id
        wait(client, batch_id, "in_progress")
    store = Store(tmp_path)
    batch = store.batch(batch_id)
    assert batch is not None
    batch["status"] = status
    if status == "validating":
        batch["in_progress_at"] = None
    if status == "finalizing":  # its answers were all there, in time
        results = Results(*(store.path(derived_id(batch_id, what)) for what in ("output", "errors")))
        results.open()
        for number in range(3):
            line = output_line(f"row-{number}", 200, {"usage": None})
            results.write(line, line)
        results.close(sync=False)
        batch["expires_at"] = 1
    store.save_batch(batch)
    store.close()
    with served(tmp_path) as client:
        ended = wait(client, batch_id)
        assert ended.status == end
        assert len(lines_of(client, ended.output_file_id)) + len(lines_of(client, ended.error_file_id)) == 3


def test_cancel_while_validating_asks_no_row(tmp_path: Path) -> None:
    """A batch cancelled before its first row was asked has no output."""
    with served(tmp_path) as client:
        content = jsonl(requests(20_000))
        file = client.files.create(file=("in.jsonl", content), purpose="batch")
        created = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        client.batches.cancel(created.id)
        ended = wait(client, created.id)
        assert ended.status == "cancelled"
        assert (ended.output_file_id, ended.request_counts.completed) == (None, 0)


class Flaky(EchoEngine):
    """Answers 429 and 500 before it answers; counts what it is asked."""

    def __init__(self, statuses: dict[str, list[int]]) -> None:
        super().__init__()
        self.statuses = statuses
        self.asked: Counter[str] = Counter()

    async def answer(self, endpoint: str, body: JSON) -> Reply:
        text = body["messages"][-1]["content"]
        self.asked[text] += 1
        if text == "raise":
            raise ValueError("a defect")
        statuses = self.statuses.get(text, [])
        if statuses:
            return Reply(statuses.pop(0), error_body("not now"), retry_after=0.01)
        return await super().answer(endpoint, body)


def test_rows_are_retried_where_it_can_help(tmp_path: Path) -> None:
    """429 and 5xx are asked again, up to the limit; other errors, and an engine's own defect, end as rows."""
    engine = Flaky({"again": [429, 500], "never": [503] * 9, "bad": [400] * 9})
    with served(tmp_path, engine, attempts=3) as client:
        rows = [request(text, text) for text in ("again", "never", "bad", "raise", "good")]
        batch = wait(client, submit(client, jsonl(rows)).id)
    assert engine.asked == {"again": 3, "never": 3, "bad": 1, "raise": 3, "good": 1}
    assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 3)


async def test_an_endpoint_without_engine_is_a_bad_row() -> None:
    """An engine is not asked for what it does not serve."""
    engine = EchoEngine()
    engine.endpoints = frozenset()
    reply = await answer(engine, "/v1/embeddings", {"input": "x"})
    assert (reply.status, reply.body["error"]["code"]) == (400, "invalid_endpoint")


def test_slots_bound_what_is_under_way(tmp_path: Path) -> None:
    """Over all batches, never more requests are under way than there are slots."""

    class Counting(EchoEngine):
        under_way = most = 0

        async def answer(self, endpoint: str, body: JSON) -> Reply:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                return await super().answer(endpoint, body)
            finally:
                self.under_way -= 1

    engine = Counting(latency=0.01)
    with served(tmp_path, engine, slots=3) as client:
        ids = [submit(client, jsonl(requests(20))).id for _ in range(3)]
        assert {wait(client, batch_id).status for batch_id in ids} == {"completed"}
    assert engine.most == 3


def test_a_deleted_input_fails_the_batch_alone(tmp_path: Path) -> None:
    """A file that goes away under a batch fails that batch; the server goes on."""
    with served(tmp_path, EchoEngine(latency=30)) as client:
        batch = submit(client, jsonl(requests(3)))
        wait(client, batch.id, "in_progress")
    (tmp_path / "files" / batch.input_file_id).unlink()
    with served(tmp_path) as client:
        ended = wait(client, batch.id)
        assert (ended.status, ended.errors.data[0].code) == ("failed", "server_error")
        assert wait(client, submit(client, jsonl(requests(1))).id).status == "completed"


def test_an_answer_that_is_no_json_is_a_bad_row(tmp_path: Path) -> None:
    """An answer that cannot be written ends its own row, not the batch."""

    class Odd(EchoEngine):
        async def answer(self, endpoint: str, body: JSON) -> Reply:
            return Reply(200, {"text": body["messages"][-1]["content"].replace("half", "\ud800")})

    with served(tmp_path, Odd()) as client:
        batch = wait(client, submit(client, jsonl([request("good"), request("odd", "half")])).id)
        assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("completed", 1, 1)
        assert lines_of(client, batch.error_file_id)[0]["custom_id"] == "odd"


def test_a_defect_in_mid_batch_keeps_what_was_answered(tmp_path: Path) -> None:
    """A batch that the server cannot carry on fails, and what was answered before can be fetched."""
    with served(tmp_path, EchoEngine(latency=0.02), slots=1) as client:
        batch = submit(client, jsonl(requests(100)))
        wait_for_rows(client, batch.id, 3)
    source = tmp_path / "files" / batch.input_file_id
    lines = source.read_bytes().split(b"\n")
    source.write_bytes(b"\n".join([*lines[:50], b"no json", *lines[50:]]))
    with served(tmp_path) as client:
        ended = wait(client, batch.id)
        assert (ended.status, ended.errors.data[0].code) == ("failed", "server_error")
        assert ended.request_counts.completed == len(lines_of(client, ended.output_file_id)) == 50


def test_one_server_per_data_directory(tmp_path: Path) -> None:
    """A second server on a data directory in use refuses to start, and says why."""
    store = Store(tmp_path)
    with pytest.raises(ConfigurationError, match="in use by another server"):
        Store(tmp_path)
    with Process(tmp_path, "--engine", "echo") as second:
        code, errors = second.rest()
        assert (code, second.line) == (2, "")
        assert errors.startswith("airflow-batch serve: The data directory")
    store.close()


def test_rows_are_not_committed_one_by_one(tmp_path: Path) -> None:
    """A thousand rows cost a handful of database writes, not a thousand."""
    writes = 0

    class Counting(Store):
        def save_batch(self, batch: JSON, files: tuple[JSON, ...] = ()) -> None:
            nonlocal writes
            writes += 1
            super().save_batch(batch, files)

    from airflow_batch_provider.local.app import create_app
    from airflow_batch_provider.local.server import LocalServer

    started = time.monotonic()
    with LocalServer(create_app(Counting(tmp_path), EchoEngine(), Policy())) as server:
        client = client_of(server.base_url)
        wait(client, submit(client, jsonl(requests(1_000))).id)
    assert writes <= 4 + (time.monotonic() - started)
    with sqlite3.connect(tmp_path / "batch.db") as db:
        assert db.execute("SELECT count(*) FROM batches").fetchone() == (1,)
