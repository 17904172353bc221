"""Each fault of a plan does what its name says, and only that."""

from __future__ import annotations

import json
import time
from typing import Any

import openai
import pytest

from airflow_batch_provider.testing import FakeProvider, FaultPlan
from tests.patience import PATIENCE
from tests.testing.speaking import CHAT, client_of, lines_of, raw_of, run, submit, wait


def ids(lines: list[dict[str, Any]]) -> list[str]:
    return sorted(line["custom_id"] for line in lines)


def test_refused_creates_make_nothing() -> None:
    """A create answered with a planned status makes no batch; the next one does."""
    with FakeProvider(faults=FaultPlan(create_status=[500, 429], retry_after=7)) as fake:
        client = client_of(fake)
        with pytest.raises(openai.InternalServerError):
            submit(client)
        with pytest.raises(openai.RateLimitError) as caught:
            submit(client)
        assert caught.value.response.headers["retry-after"] == "7"
        assert fake.batches == []
        submit(client)
        assert (len(fake.batches), len(fake.creates)) == (1, 3)


def test_an_error_may_hide_a_batch() -> None:
    """A create that is answered 500 although it was accepted leaves one batch."""
    with FakeProvider(faults=FaultPlan(accepted_status=[500])) as fake:
        with pytest.raises(openai.InternalServerError):
            submit(client_of(fake))
        assert len(fake.batches) == 1


@pytest.mark.parametrize(("fault", "left"), [("cut_before_accept", 0), ("cut_after_accept", 1)])
def test_cut_creates(fault: str, left: int) -> None:
    """A connection closed without an answer leaves a batch or none, as planned; the next create is answered."""
    with FakeProvider(faults=FaultPlan(**{fault: 1})) as fake:
        client = client_of(fake)
        file = client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
        create = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
        with pytest.raises(openai.APIConnectionError):
            client.batches.create(**create)  # type: ignore[arg-type]
        assert len(fake.batches) == left
        client.batches.create(**create)  # type: ignore[arg-type]
        assert len(fake.batches) == left + 1
        found = [batch.id for batch in client.batches.list() if batch.input_file_id == file.id]
        assert len(found) == left + 1


def test_a_late_accept() -> None:
    """A create whose connection was cut may make its batch a while later."""
    with FakeProvider(faults=FaultPlan(late_accept=[0.2])) as fake:
        client = client_of(fake)
        with pytest.raises(openai.APIConnectionError):
            submit(client)
        assert client.batches.list().data == []
        fake.faults.late_accept = [60]  # one that never comes must not keep the fake from ending
        with pytest.raises(openai.APIConnectionError):
            submit(client)
        end = time.monotonic() + PATIENCE
        while not client.batches.list().data and time.monotonic() < end:
            time.sleep(0.02)
        assert len(fake.batches) == 1


@pytest.mark.parametrize("kind", ["upload", "poll", "list", "download", "cancel"])
def test_bursts_of_errors(kind: str) -> None:
    """Calls of one kind fail as long as the plan says, then work again; other kinds are not touched."""
    with FakeProvider(faults=FaultPlan(hold_after_rows=1)) as fake:
        client = client_of(fake)
        batch = submit(client)
        calls: dict[str, Any] = {
            "upload": lambda: client.files.create(file=("a.jsonl", b"{}"), purpose="batch"),
            "poll": lambda: client.batches.retrieve(batch.id),
            "list": client.batches.list,
            "download": lambda: client.files.content(batch.input_file_id),
            "cancel": lambda: client.batches.cancel(batch.id),
        }
        setattr(fake.faults, f"{kind}_status", [503, 502])
        for status in (503, 502):
            with pytest.raises(openai.APIStatusError) as caught:
                calls[kind]()
            assert caught.value.status_code == status
        for call in calls.values():
            call()


def test_latency() -> None:
    """Every answer takes as long as planned."""
    with FakeProvider(faults=FaultPlan(latency=0.15)) as fake:
        started = time.monotonic()
        client_of(fake).batches.list()
        assert time.monotonic() - started >= 0.15


def test_a_job_that_fails_at_validation() -> None:
    """Planned job errors fail the batch in OpenAI's shape, whatever its file holds; only the first when told so."""
    plan = FaultPlan(job_errors=[{"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}], jobs=1)
    with FakeProvider(faults=plan) as fake:
        client = client_of(fake)
        batch = run(client)
        assert batch.status == "failed"
        assert [(item.code, item.line) for item in batch.errors.data] == [("token_limit_exceeded", None)]
        assert run(client).status == "completed"


def test_rows_that_fail() -> None:
    """Planned rows fail with their status in the error file; with "*" all do, and there is no output file."""
    with FakeProvider(faults=FaultPlan(fail_rows={"row-1": 429})) as fake:
        client = client_of(fake)
        batch = run(client)
        assert ids(lines_of(client, batch.output_file_id)) == ["row-0", "row-2"]
        (line,) = lines_of(client, batch.error_file_id)
        assert (line["custom_id"], line["response"]["status_code"]) == ("row-1", 429)
        fake.faults.fail_rows = {"*": 500}
        batch = run(client)
        assert (batch.status, batch.output_file_id, batch.request_counts.failed) == ("completed", None, 3)


@pytest.mark.parametrize(
    ("plan", "status", "code"),
    [
        (FaultPlan(expire_after_rows=4), "expired", "batch_expired"),
        (FaultPlan(expired_fraction=0.6), "expired", "batch_expired"),
        (FaultPlan(cancel_after_rows=4), "cancelled", "batch_cancelled"),
    ],
)
def test_jobs_that_stop_half_way(plan: FaultPlan, status: str, code: str) -> None:
    """A batch that expires or is cancelled by the provider has exactly the planned answers; the rest is named."""
    with FakeProvider(faults=plan) as fake:
        client = client_of(fake)
        batch = run(client, 10)
        assert batch.status == status
        done, left = lines_of(client, batch.output_file_id), lines_of(client, batch.error_file_id)
        assert (len(done), len(left)) == (4, 6)
        assert {line["error"]["code"] for line in left} == {code}


def test_silent_unrun_rows() -> None:
    """A cancelled batch may say nothing of the rows it did not run."""
    with FakeProvider(faults=FaultPlan(cancel_after_rows=2, silent_unrun=True)) as fake:
        client = client_of(fake)
        batch = run(client, 5)
        assert (batch.status, batch.error_file_id) == ("cancelled", None)
        assert len(lines_of(client, batch.output_file_id)) == 2


def test_spoiled_lines() -> None:
    """Downloaded lines come reordered, missing, twice, foreign or malformed, as planned; the input does not."""
    with FakeProvider() as fake:
        client = client_of(fake)
        batch = run(client, 5)
        honest = raw_of(client, batch.output_file_id).split(b"\n")[:-1]

        def spoiled(**faults: Any) -> list[bytes]:
            for name, value in faults.items():
                setattr(fake.faults, name, value)
            try:
                return raw_of(client, batch.output_file_id).split(b"\n")[:-1]
            finally:
                for name, value in faults.items():
                    setattr(fake.faults, name, type(value)())

        assert spoiled(reorder=True) == honest[::-1]
        assert spoiled(drop=2) == honest[:3]
        assert spoiled(duplicate=1) == [*honest, honest[0]]
        assert json.loads(spoiled(foreign=1)[-1])["custom_id"] == "foreign-0"
        with pytest.raises(json.JSONDecodeError):
            json.loads(spoiled(malformed=1)[-1])
        assert spoiled() == honest
        fake.faults.drop = 2
        assert raw_of(client, batch.input_file_id).count(b"\n") == 5


def test_a_download_that_is_cut() -> None:
    """A download that is cut in the middle is an error for the client, and whole the next time."""
    with FakeProvider(faults=FaultPlan(cut_downloads=1)) as fake:
        client = client_of(fake)
        batch = run(client)
        got = bytearray()

        def download() -> None:
            with client.files.with_streaming_response.content(batch.output_file_id) as response:
                for chunk in response.iter_bytes():
                    got.extend(chunk)

        with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|disconnect|connection"):
            download()
        whole = raw_of(client, batch.output_file_id)
        assert whole.startswith(got)
        assert len(got) < len(whole)


def test_line_separators_in_answers() -> None:
    """Answers may hold what str.splitlines takes for an end of line."""
    with FakeProvider(faults=FaultPlan(line_separators=True)) as fake:
        client = client_of(fake)
        raw = raw_of(client, run(client).output_file_id)
        assert "\u2028\u0085".encode() in raw
        assert len(raw.decode().splitlines()) > len(raw.split(b"\n")[:-1]) == 3


def test_batches_that_tell_nonsense() -> None:
    """Counts may lie, times be null, and a status be unheard of for a while."""
    with FakeProvider(faults=FaultPlan(lying_counts=True, null_times=True, unknown_status_polls=2)) as fake:
        client = client_of(fake)
        created = submit(client)
        assert created.created_at is None
        seen = [client.batches.retrieve(created.id).status for _ in range(2)]
        assert not set(map(str, seen)) & {"validating", "in_progress", "finalizing", "completed"}
        batch = wait(client, created.id)
        assert batch.request_counts.total == 1_000_000
        assert (batch.created_at, batch.completed_at, batch.expires_at) == (None, None, None)
        assert len(lines_of(client, batch.output_file_id)) == 3


def test_an_empty_error_file_and_no_output() -> None:
    """A batch without failures may have an empty error file, and a completed one no file at all."""
    with FakeProvider(faults=FaultPlan(empty_error_file=True)) as fake:
        client = client_of(fake)
        batch = run(client)
        assert raw_of(client, batch.error_file_id) == b""
        fake.faults.no_output = True
        batch = client.batches.retrieve(batch.id)
        assert (batch.status, batch.output_file_id, batch.error_file_id) == ("completed", None, None)


def test_rules_can_be_changed() -> None:
    """The server's own limits can be made small, and a batch be made to last."""
    with FakeProvider(rules={"max_rows": 2, "run_seconds": 0.3}) as fake:
        client = client_of(fake)
        assert [item.code for item in run(client, 3).errors.data] == ["too_many_tasks"]
        started = time.monotonic()
        assert run(client, 2).status == "completed"
        assert time.monotonic() - started >= 0.3
