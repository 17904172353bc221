"""Amazon Bedrock behind the real Portkey gateway, which translates each line and writes to S3 itself."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator

import pytest

from airflow_batch_provider.core.errors import InputError, LostCreateError, RequestRejectedError
from airflow_batch_provider.core.records import BatchRequest, JobStatus
from airflow_batch_provider.testing.bedrock import FakeBedrock
from tests.gateways.harness import AWS_REGION, Answer, forward, s3
from tests.gateways.running import Bench, answers, finish_reasons, is_create, jsonl, row, sent, until

ROUTE = "bedrock"
CONTROL = f"bedrock.{AWS_REGION}.amazonaws.com"
MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"
CHAT = "/v1/chat/completions"
UPLOAD_LIMIT = 1_000_000


@pytest.fixture
def fake(front) -> Iterator[FakeBedrock]:
    """Bedrock and S3."""
    with FakeBedrock() as running:
        assert running.region == AWS_REGION
        storage = f"{running.bucket}.s3.{AWS_REGION}.amazonaws.com"
        front.play({CONTROL: forward(running.bedrock_url), storage: s3(running.s3_url)})
        yield running


@pytest.fixture
def connected(fake, connect):
    """Makes hooks with AWS keys of their own, as a self-hosted gateway wants them."""
    key, secret = fake.credentials
    return functools.partial(
        connect,
        provider="bedrock",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_region=fake.region,
        aws_s3_bucket=fake.bucket,
        role_arn=fake.role_arn,
        default_model=MODEL,
    )


@pytest.fixture
def hook(connected):
    return connected()


@pytest.fixture
def bench(tmp_path, hook):
    return Bench(tmp_path, hook.backend)


def rows(count, size=0):
    """Rows for Claude, with so many more characters in each."""
    return [row(number, MODEL, max_tokens=100, padding=size) for number in range(count)]


def test_a_run(bench, fake, front, tell):
    """150 rows are answered in one job, each once, with their text intact; the job has what the connection says."""
    lines = rows(150)
    summary = bench.finish(lines)
    assert summary.outcomes["succeeded"] == 150
    assert answers(bench) == sent(lines)
    assert finish_reasons(bench) == {"stop"}
    assert len(front.asked("POST", "/model-invocation-job$")) == 1
    tell(f"{summary.total} rows, {len(summary.jobs)} job, all answered, text intact")


def test_above_the_upload_limit(bench, fake, front, tell):
    """A file that Portkey cannot upload at once goes up in shards that it can, each with Bedrock's minimum of rows."""
    lines = rows(400, size=6_000)
    summary = bench.finish(lines)
    assert summary.outcomes["succeeded"] == 400
    assert answers(bench) == sent(lines)
    parts = front.asked("PUT", r"\.s3\.")
    assert len(parts) == len(summary.jobs) > 1
    assert max(len(part.body) for part in parts) <= UPLOAD_LIMIT
    assert all("partNumber=1&" in part.query for part in parts)
    assert min(job["rows"] for job in summary.jobs) >= 100
    tell(f"{sum(len(part.body) for part in parts):,} bytes in {len(summary.jobs)} jobs of 100 rows or more")


def test_at_the_limit(bench, fake, front):
    """One shard of as many bytes as we allow goes up in one part: the gateway's own format is shorter for such rows."""
    limit = bench.backend.limits.max_bytes
    lines = bench.backend.line_format(MODEL, CHAT)
    bare = len(lines.encode(BatchRequest("row-100", CHAT, MODEL, rows(101)[100]["body"], b"", 1), 0)) + 1
    summary = bench.finish(rows(110, size=limit // 110 - bare))
    assert summary.outcomes["succeeded"] == 110
    ((part,), (job,)) = front.asked("PUT", r"\.s3\."), summary.jobs
    assert job["rows"] == 110
    assert 0.9 * limit < len(part.body) <= UPLOAD_LIMIT


def test_text_that_grows(bench, fake, front):
    """What counts is what we upload: many short turns are longer in the gateway's format, and pass all the same."""
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant") * 50] + [{"role": "user", "content": "y"}]
    summary = bench.finish([row(number, MODEL, max_tokens=100, messages=turns) for number in range(250)])
    assert (summary.outcomes["succeeded"], len(summary.jobs)) == (250, 1)
    (part,) = front.asked("PUT", r"\.s3\.")
    assert len(part.body) > UPLOAD_LIMIT


def test_past_the_limit(tmp_path, connected, front, tell):
    """Whoever allows more than the gateway can upload is told what to set, and no job is made."""
    bench = Bench(tmp_path, connected(max_bytes=2_000_000).backend)
    with pytest.raises(RequestRejectedError, match=r"EntityTooSmall(.|\n)*set the connection's max_bytes to less"):
        bench.finish(rows(200, size=6_000))
    assert front.asked("POST", "/model-invocation-job$") == []
    tell("a larger upload is refused by S3, and the error says what to set")


def test_no_plan_fits(bench, fake, front):
    """Where 100 rows are more than Portkey can upload, the file is refused with both figures and nothing is sent."""
    with pytest.raises(InputError, match=r"1,?000,?000|900,?000") as refused:
        bench.finish(rows(100, size=20_000))
    assert "100" in str(refused.value)
    assert front.calls == []


def test_too_few_rows(bench, fake, front):
    """99 rows are refused with the remedies before anything is sent."""
    with pytest.raises(InputError, match="100"):
        bench.finish(rows(99))
    assert front.calls == []


def test_failed_rows(bench, fake, tell):
    """A failed row loses its id on the way through Portkey: it counts as unanswered, and what was said is told."""
    fake.faults.fail_rows = {"3": 400, "7": 400}
    lines = rows(120)
    summary = bench.finish(lines)
    assert (summary.total, summary.outcomes["succeeded"]) == (120, 118)
    assert [failed["custom_id"] for failed in bench.failed()] == ["row-3", "row-7"]
    assert "told to fail this row with 400" in json.dumps(bench.failed())
    assert answers(bench) == {name: text for name, text in sent(lines).items() if name not in {"row-3", "row-7"}}
    tell("2 bare error lines reconciled by the ids that are missing")


async def test_verbs_and_cancel(hook, fake, tmp_path, tell):
    """Upload, create, list, poll and cancel by the hook; what was answered before the cancel is there."""
    fake.faults.hold_after_rows = 2
    path = tmp_path / "some.jsonl"
    path.write_bytes(jsonl(rows(100)))
    job = hook.create(hook.upload(path))
    assert [listed.id for listed in hook.list()] == [job.id]
    until(lambda: fake.batches[0]["processedRecordCount"] == 2)
    (polled,) = await hook.backend.apoll([job.id])
    assert polled.status is JobStatus.IN_PROGRESS
    await hook.backend.acancel([job.id])
    until(lambda: hook.retrieve(job.id).status is JobStatus.CANCELLED)
    hook.cancel(job.id)
    lines = b"".join(hook.backend.outputs(hook.retrieve(job.id))).split(b"\n")
    assert [json.loads(line)["custom_id"] for line in lines if line] == ["row-0", "row-1"]
    tell("cancelled, 2 answers kept")


def test_a_lost_answer(bench, fake, front, tell):
    """The gateway loses Bedrock's answer to a create: the job is found by its upload, there is one."""
    front.cut_after = is_create
    assert bench.finish(rows(100)).outcomes["succeeded"] == 100
    assert len(front.asked("POST", "/model-invocation-job$")) == 1
    tell("a lost answer to create: found, 1 job")


def test_a_lost_answer_fails_closed(bench, fake, front, tell):
    """Portkey shows the first page of jobs only, so a job that is not on it may exist all the same: none is made."""

    async def other_jobs(call, client):
        if call.method == "GET" and call.path == "/model-invocation-jobs":
            return Answer(200, b'{"invocationJobSummaries": []}', [("content-type", "application/json")])
        return await forward(fake.bedrock_url)(call, client)

    front.plays[CONTROL] = other_jobs
    front.cut_after = is_create
    with pytest.raises(LostCreateError, match="cannot prove that no such job exists"):
        bench.finish(rows(100))
    assert len(front.asked("POST", "/model-invocation-job$")) == 1
    tell("an answer lost for good: fails closed, 1 job")
