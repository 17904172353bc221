"""OpenAI behind the real Portkey gateway: passed through."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from airflow_batch_provider.core.errors import AuthenticationError, LostCreateError
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.testing import FakeProvider
from tests.gateways.harness import forward
from tests.gateways.running import Bench, answers, is_create, jsonl, row, sent, until

ROUTE = "openai"
HOST = "api.openai.com"
KEY = "sk-of-the-gateway-tests"


@pytest.fixture
def fake(front) -> Iterator[FakeProvider]:
    """OpenAI."""
    with FakeProvider(api_key=KEY) as running:
        front.play({HOST: forward(running.origin)})
        yield running


@pytest.fixture
def hook(fake, connect):
    return connect(provider="openai", bearer=KEY)


@pytest.fixture
def bench(tmp_path, hook):
    return Bench(tmp_path, hook.backend)


def test_a_run(bench, fake, front, tell):
    """Every row is answered once with its text intact, one batch is made, and the upload is ASCII."""
    lines = [row(number) for number in range(50)]
    summary = bench.finish(lines)
    assert summary.outcomes["succeeded"] == 50
    assert answers(bench) == sent(lines)
    assert len(fake.batches) == 1
    (upload,) = front.asked("POST", "/v1/files$")
    assert upload.body.isascii()
    assert upload.headers["authorization"] == f"Bearer {KEY}"
    tell(f"{summary.total} rows, {len(summary.jobs)} job, all answered, text intact")


def test_failed_rows(bench, fake, tell):
    """Rows that the provider refuses end in ``failed.jsonl`` with the provider's reason; the others are kept."""
    fake.faults.fail_rows = {"row-3": 400, "row-7": 400}
    summary = bench.finish([row(number) for number in range(10)])
    assert (summary.outcomes["succeeded"], summary.outcomes["failed"]) == (8, 2)
    assert {failed["custom_id"] for failed in bench.failed()} == {"row-3", "row-7"}
    assert "told to fail this row with 400" in json.dumps(bench.failed())
    assert len(answers(bench)) == 8
    tell("2 failed rows told with their reasons")


def test_all_rows_failed(bench, fake):
    """Where no output file is named the error file is read, not the gateway's ``/output``, which answers 404."""
    fake.faults.fail_rows = {"*": 400}
    assert bench.finish([row(number) for number in range(3)]).outcomes["failed"] == 3
    assert "told to fail this row with 400" in json.dumps(bench.failed())


async def test_verbs_and_cancel(hook, fake, front, tell):
    """Upload, create, list, poll, cancel and download by the hook; what was answered before the cancel is there."""
    fake.faults.hold_after_rows = 2
    file_id = hook.upload(io.BytesIO(jsonl([row(number) for number in range(5)])), "some.jsonl")
    assert len(b"".join(hook.download(file_id)).split(b"\n")) == 6
    job = hook.create(file_id)
    assert [listed.id for listed in hook.list()] == [job.id]
    until(lambda: hook.retrieve(job.id).counts.completed == 2)
    (polled,) = await hook.backend.apoll([job.id])
    assert polled.status is JobStatus.IN_PROGRESS
    hook.cancel(job.id)
    until(lambda: hook.retrieve(job.id).status is JobStatus.CANCELLED)
    hook.cancel(job.id)
    lines = b"".join(hook.backend.outputs(hook.retrieve(job.id))).splitlines()
    assert len([line for line in lines if json.loads(line)["response"]]) == 2
    tell("cancelled, 2 answers kept")


def test_a_lost_answer(bench, fake, front, tell):
    """The gateway loses OpenAI's answer to a create: the batch is found in the list, there is one."""
    front.cut_after = is_create
    summary = bench.finish([row(number) for number in range(5)])
    assert summary.outcomes["succeeded"] == 5
    assert (len(front.asked("POST", "/v1/batches$")), len(fake.batches)) == (1, 1)
    tell("a lost answer to create: found, 1 batch")


def test_a_lost_call(bench, fake):
    """A create that never reached OpenAI fails closed once the list has shown nothing for long enough."""
    fake.faults.cut_before_accept = 1
    with pytest.raises(LostCreateError, match="lists no such job"):
        bench.finish([row(1)])
    assert fake.batches == []


def test_a_wrong_key(connect, fake):
    """OpenAI's refusal of the key comes through as such."""
    hook = connect(provider="openai", bearer="sk-wrong-key-93ab")
    with pytest.raises(AuthenticationError):
        hook.list()
    works, told = hook.test_connection()
    assert not works
    assert "sk-wrong-key-93ab" not in told
