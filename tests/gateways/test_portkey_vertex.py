"""Google Vertex AI behind the real Portkey gateway, which translates each line and writes to the bucket itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from airflow_batch_provider.core.errors import LostCreateError
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.testing.vertex import FakeVertex
from tests.gateways.harness import GCP_REGION, Answer, Google, gcs, vertex
from tests.gateways.running import Bench, answers, finish_reasons, is_create, jsonl, row, sent, until

ROUTE = "vertex-ai"
JOBS = f"{GCP_REGION}-aiplatform.googleapis.com"
MODEL = "gemini-2.5-flash"


@pytest.fixture
def fake(front) -> Iterator[FakeVertex]:
    """Vertex AI and Cloud Storage."""
    with FakeVertex() as running:
        assert running.region == GCP_REGION
        yield running


@pytest.fixture
def google(fake, front):
    """A service account of the project, and every host of Google's."""
    known = Google(fake.project, fake.token)
    front.play(
        {
            JOBS: vertex(fake.vertex_url),
            "storage.googleapis.com": gcs(fake.storage_url),
            "oauth2.googleapis.com": known.play,
        }
    )
    return known


@pytest.fixture
def hook(fake, google, connect):
    """With a service account of its own, as a self-hosted gateway wants it."""
    return connect(
        provider="vertex-ai",
        vertex_service_account_json=json.dumps(google.account),
        vertex_region=fake.region,
        vertex_storage_bucket_name=fake.bucket,
        default_model=MODEL,
    )


@pytest.fixture
def bench(tmp_path, hook):
    return Bench(tmp_path, hook.backend)


def rows(count, size=0):
    """Rows for Gemini, with so many more characters in each."""
    return [row(number, MODEL, padding=size, max_tokens=100) for number in range(count)]


def test_a_run(bench, fake, front, tell):
    """150 rows are answered in one job, each once, with their text intact and OpenAI's words."""
    lines = rows(150)
    summary = bench.finish(lines)
    assert summary.outcomes["succeeded"] == 150
    assert answers(bench) == sent(lines)
    assert finish_reasons(bench) == {"stop"}
    assert len(front.asked("POST", "/batchPredictionJobs$")) == 1
    tell(f"{summary.total} rows, {len(summary.jobs)} job, all answered, text intact")


def test_text_survives_a_large_file(bench, fake, front, tell):
    """The gateway breaks UTF-8 at the borders of network chunks, both ways; not one answer is touched by it."""
    lines = rows(1_500, size=4_000)
    summary = bench.finish(lines)
    assert summary.outcomes["succeeded"] == 1_500
    assert answers(bench) == sent(lines)
    assert not front.asked("GET", "/output$")
    (upload,) = front.asked("PUT", "storage.googleapis.com")
    tell(f"{len(upload.body):,} bytes up and back, not one character lost")


def test_failed_rows(bench, fake, tell):
    """Rows that Vertex AI refuses end in ``failed.jsonl`` with its reason; the others are kept."""
    fake.faults.fail_rows = {"3": 400, "7": 400}
    lines = rows(10)
    summary = bench.finish(lines)
    assert (summary.outcomes["succeeded"], summary.outcomes["failed"]) == (8, 2)
    assert [failed["custom_id"] for failed in bench.failed()] == ["row-3", "row-7"]
    assert "told to fail this row with 400" in json.dumps(bench.failed())
    assert answers(bench) == {name: text for name, text in sent(lines).items() if name not in {"row-3", "row-7"}}
    tell("2 failed rows told with their reasons")


async def test_verbs_and_cancel(hook, fake, tmp_path, tell):
    """Upload, create, list, poll and cancel by the hook."""
    fake.faults.hold_after_rows = 2
    path = tmp_path / "some.jsonl"
    path.write_bytes(jsonl(rows(5)))
    job = hook.create(hook.upload(path))
    assert [listed.id for listed in hook.list()] == [job.id]
    until(lambda: hook.retrieve(job.id).status is JobStatus.IN_PROGRESS)
    await hook.backend.acancel([job.id])
    until(lambda: hook.retrieve(job.id).status is JobStatus.CANCELLED)
    hook.cancel(job.id)
    tell("cancelled")


def test_a_lost_answer(bench, fake, front, tell):
    """The gateway loses Vertex AI's answer to a create: the job is found by its upload, there is one."""
    front.cut_after = is_create
    assert bench.finish(rows(10)).outcomes["succeeded"] == 10
    assert len(front.asked("POST", "/batchPredictionJobs$")) == 1
    tell("a lost answer to create: found, 1 job")


def test_a_lost_answer_fails_closed(bench, fake, front, tell):
    """Portkey never tells how a list goes on, so a job that it does not show may exist all the same: none is made."""

    async def other_jobs(call, client):
        if call.method == "GET" and call.path.endswith("/batchPredictionJobs"):
            return Answer(200, b"{}", [("content-type", "application/json")])
        return await vertex(fake.vertex_url)(call, client)

    front.plays[JOBS] = other_jobs
    front.cut_after = is_create
    with pytest.raises(LostCreateError, match="cannot prove that no such job exists"):
        bench.finish(rows(10))
    assert len(front.asked("POST", "/batchPredictionJobs$")) == 1
    tell("an answer lost for good: fails closed, 1 job")


@pytest.mark.parametrize("media_type", ["text/plain", "application/jsonl"])
def test_output_that_the_gateway_spoils(bench, fake, front, tell, media_type):
    """A file that the gateway wraps or fails on, for its media type, is had by the gateway's translation instead."""
    front.plays["storage.googleapis.com"] = gcs(fake.storage_url, media_type)
    lines = [row(number, MODEL, max_tokens=100) for number in range(20)]
    summary = bench.finish(lines)
    assert summary.outcomes["succeeded"] == 20
    assert answers(bench) == sent(lines)
    tell("output of another media type: by the gateway's translation")
