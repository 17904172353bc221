"""Azure OpenAI behind the real Portkey gateway: passed through, with the resource and its API version in headers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from airflow_batch_provider.core.errors import LostCreateError
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.testing import FakeProvider
from tests.gateways.harness import forward
from tests.gateways.running import Bench, answers, is_create, jsonl, row, sent, until

ROUTE = "azure-openai"
HOST = "acme.openai.azure.com"
KEY = "azure-key-of-the-tests-41"
DEPLOYMENT = "gpt-batch"


@pytest.fixture
def fake(front) -> Iterator[FakeProvider]:
    """An Azure OpenAI resource."""
    with FakeProvider("azure", api_key=KEY) as running:
        front.play({HOST: forward(running.origin)})
        yield running


@pytest.fixture(params=["2024-10-21", "v1"])
def hook(request, fake, connect):
    """By an API version with a date, and by the v1 API."""
    where = {"x-portkey-azure-resource-name": "acme", "x-portkey-azure-api-version": request.param}
    return connect(provider="azure-openai", bearer=KEY, extra_headers=where)


@pytest.fixture
def bench(tmp_path, hook):
    return Bench(tmp_path, hook.backend)


def test_a_run(bench, fake, front, tell):
    """Every row is answered once with its text intact; the gateway asks the resource with the key as ``api-key``."""
    lines = [row(number, DEPLOYMENT) for number in range(50)]
    summary = bench.finish(lines)
    assert summary.outcomes["succeeded"] == 50
    assert answers(bench) == sent(lines)
    assert len(fake.batches) == 1
    (upload,) = front.asked("POST", "/files$")
    assert upload.headers["api-key"] == KEY
    assert upload.body.isascii()
    version = "v1" if upload.path.startswith("/openai/v1/") else upload.query
    tell(f"{version}: {summary.total} rows, {len(summary.jobs)} job, all answered, text intact")


def test_failed_rows(bench, fake, tell):
    """Rows that the deployment refuses end in ``failed.jsonl`` with its reason; the others are kept."""
    fake.faults.fail_rows = {"row-3": 400, "row-7": 400}
    summary = bench.finish([row(number, DEPLOYMENT) for number in range(10)])
    assert (summary.outcomes["succeeded"], summary.outcomes["failed"]) == (8, 2)
    assert {failed["custom_id"] for failed in bench.failed()} == {"row-3", "row-7"}
    assert "told to fail this row with 400" in json.dumps(bench.failed())
    assert len(answers(bench)) == 8
    tell("2 failed rows told with their reasons")


async def test_cancel(hook, fake, tmp_path, tell):
    """The triggerer's calls poll and cancel; what was answered before is there."""
    fake.faults.hold_after_rows = 2
    path = tmp_path / "some.jsonl"
    path.write_bytes(jsonl([{**row(number, DEPLOYMENT), "url": "/chat/completions"} for number in range(5)]))
    job = hook.create(hook.upload(path), model=DEPLOYMENT)
    until(lambda: hook.retrieve(job.id).counts.completed == 2)
    assert [polled.status for polled in await hook.backend.apoll([job.id])] == [JobStatus.IN_PROGRESS]
    await hook.backend.acancel([job.id])
    until(lambda: hook.retrieve(job.id).status is JobStatus.CANCELLED)
    lines = b"".join(hook.backend.outputs(hook.retrieve(job.id))).split(b"\n")
    assert len([line for line in lines if line and json.loads(line)["response"]]) == 2
    tell("cancelled, 2 answers kept")


def test_a_lost_answer(bench, fake, front, tell):
    """The gateway loses Azure's answer to a create: the batch is found in the list, there is one."""
    front.cut_after = is_create
    assert bench.finish([row(number, DEPLOYMENT) for number in range(5)]).outcomes["succeeded"] == 5
    assert (len(front.asked("POST", "/batches$")), len(fake.batches)) == (1, 1)
    tell("a lost answer to create: found, 1 batch")


def test_a_lost_call(bench, fake):
    """A create that never reached Azure fails closed once the list has shown nothing for long enough."""
    fake.faults.cut_before_accept = 1
    with pytest.raises(LostCreateError, match="lists no such job"):
        bench.finish([row(1, DEPLOYMENT)])
    assert fake.batches == []
