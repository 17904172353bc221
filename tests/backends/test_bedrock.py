"""Amazon Bedrock: the contract, against the fake with the real boto3, and what only Bedrock has."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from airflow_batch_provider.backends.bedrock.backend import BedrockBackend, BedrockPlace
from airflow_batch_provider.core.errors import AuthenticationError, ConfigurationError, ProviderError
from airflow_batch_provider.core.records import JobStatus, Shard
from airflow_batch_provider.hooks.aws_credentials import AwsAccess, session_factory
from airflow_batch_provider.testing.bedrock import BedrockFaults, FakeBedrock
from tests.backends.faulty_contract import FaultyContract
from tests.backends.harness import CHAT, LEAK, NOWHERE, new_token
from tests.backends.tools import known_by
from tests.facts import BEDROCK

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
LLAMA = "meta.llama3-1-8b-instruct-v1:0"
SEED_POLICY = frozenset(
    {"s3:DeleteObject", "s3:AbortMultipartUpload", "s3:GetBucketLocation", "s3:CreateBucket", "s3:ListAllMyBuckets"}
)
"""What the seeds' minimum policy does not allow."""


def backend_of(world: FakeBedrock, key: str | None = None, base: str | None = None, **place: Any) -> BedrockBackend:
    """The backend as the hook makes it; a key that is not the fake's belongs to nobody it knows."""
    access_key, secret = world.credentials
    if key not in (None, secret):
        access_key, secret = "AKIANOBODY0000000000", str(key)
    access = AwsAccess("c", world.region, access_key=access_key, secret_key=secret)
    where = BedrockPlace(**{"region": world.region, "bucket": world.bucket, "role_arn": world.role_arn, **place})
    urls = {"bedrock_url": base or world.bedrock_url, "s3_url": base or world.s3_url}
    return BedrockBackend(where, session_factory(access), BEDROCK, **urls)


class TestBedrock(FaultyContract):
    """The contract, for chat by Converse."""

    model: ClassVar[str] = LLAMA
    minimum: ClassVar[int] = 100
    secret: ClassVar[str] = FakeBedrock.credentials[1]
    idempotent: ClassVar[bool] = True
    names_unrun: ClassVar[bool] = False
    expired: ClassVar[JobStatus] = JobStatus.PARTIALLY_COMPLETED
    kinds: ClassVar[frozenset[str]] = frozenset({"upload", "create", "poll", "list", "objects", "download"})
    greedy: ClassVar[dict[str, Any]] = {"job_name": "mine + yours", "tags": {"airflow-batch-token": "x"}}
    upload_options: ClassVar[dict[str, Any]] = {"file_name": "my=rows 2026-01-01T00:00:00+00:00.jsonl"}
    words: ClassVar[dict[str, str]] = {
        "wrong key": "access key",
        "full queue": "Too many jobs",
        "download": "GetObject",
    }
    leaks: ClassVar[dict[str, str]] = {
        "AWS_ACCESS_KEY_ID": f"{LEAK}-key",
        "AWS_SECRET_ACCESS_KEY": f"{LEAK}-secret",
        "AWS_SESSION_TOKEN": f"{LEAK}-session",
        "AWS_BEARER_TOKEN_BEDROCK": f"{LEAK}-bearer",
        "AWS_PROFILE": f"{LEAK}-profile",
        "AWS_REGION": f"{LEAK}-region",
        "AWS_DEFAULT_REGION": f"{LEAK}-region",
        "AWS_ENDPOINT_URL": NOWHERE,
        "AWS_ENDPOINT_URL_S3": NOWHERE,
        "AWS_ENDPOINT_URL_BEDROCK": NOWHERE,
    }

    @classmethod
    def fake(cls) -> FakeBedrock:
        return FakeBedrock()

    def make(self, world: FakeBedrock, key: str | None = None, base: str | None = None) -> BedrockBackend:
        return backend_of(world, key, base, prefix="team a/dt=2026-01-01")

    def stranger(self, backend: BedrockBackend) -> str:
        return "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/nobody000000"

    def handle_of_nobody(self, backend: BedrockBackend) -> str:
        return f"s3://{backend.place.bucket}/nobody/none.jsonl"

    def is_sent(self, call: Any, request: dict[str, Any]) -> bool:
        return bool(call.body == request)

    def check_upload(self, backend: BedrockBackend, handle: str, token: str) -> None:
        named = f"my-rows-2026-01-01T00-00-00-00-00-{token}.jsonl"
        assert handle == f"s3://{backend.place.bucket}/team-a/dt-2026-01-01/{named}"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeBedrock]:
    with FakeBedrock() as running:
        yield running


@pytest.fixture
def world(fake: FakeBedrock) -> Iterator[FakeBedrock]:
    """The module's fake, without what the test before has left."""
    fake.requests.clear()
    yield fake
    fake.deny = frozenset()
    for name in BedrockFaults.__dataclass_fields__:
        setattr(fake.faults, name, getattr(BedrockFaults(), name))


@pytest.fixture
def backend(world: FakeBedrock) -> Iterator[BedrockBackend]:
    made = backend_of(world)
    yield made
    made.close()


helper = TestBedrock()


def sent(backend: BedrockBackend, rows: int = 100, **options: Any) -> Any:
    return helper.send(backend, rows, **options)


# ---- lines and limits ----------------------------------------------------------------------------------------------


def test_limits(world: FakeBedrock) -> None:
    """Bedrock's quotas, each replaced by the account's own, with their source."""
    limits = backend_of(world).limits
    assert (limits.min_rows, limits.max_rows, limits.max_bytes, limits.window_hours) == (100, 50_000, 10**9, 24)
    assert "quotas" in limits.source
    own = backend_of(world, min_rows=10, max_rows=20, max_bytes=30, timeout_hours=48).limits
    assert (own.min_rows, own.max_rows, own.max_bytes, own.window_hours) == (10, 20, 30, 48)


@pytest.mark.parametrize(
    ("model", "invocation"),
    [(CLAUDE, "InvokeModel"), (LLAMA, "Converse"), ("openai.gpt-oss-20b-1:0", "InvokeModel"), ("mine", "Converse")],
)
def test_the_family_decides_the_invocation(world: FakeBedrock, model: str, invocation: str) -> None:
    """One table, and the connection over it, says how a model is invoked; its lines are answered so."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    backend = backend_of(world, families={arn: "llama"})
    model = arn if model == "mine" else model
    request = backend.create_request(Shard(0, 0, 100, 1, model, CHAT), "tok", "s3://bucket/x.jsonl", {})
    assert (request["modelId"], request["modelInvocationType"]) == (model, invocation)


@pytest.mark.parametrize(
    "model",
    [
        CLAUDE,
        "anthropic.claude-3-5-sonnet-20240620-v1:0",
        LLAMA,
        "openai.gpt-oss-20b-1:0",
        "amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/mistral.mistral-large-2402-v1:0",
    ],
)
def test_chat_by_family(backend: BedrockBackend, model: str) -> None:
    """Each family's own body is taken and its answer read back: text, finish reason, usage."""

    class Family(TestBedrock):
        pass

    Family.model = model
    harness = Family()
    job = harness.until(backend, harness.send(backend, 100))
    results = harness.results(backend, job, 100)
    assert {result.outcome for result in results.values()} == {"succeeded"}
    body = json.loads(results["row-7"].line)["response"]["body"]
    assert body["choices"][0]["message"]["content"] == "hello 7"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["prompt_tokens"] == body["usage"]["completion_tokens"] == 2
    usage = backend.usage(job)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (200, 200)


# ---- create --------------------------------------------------------------------------------------------------------


def test_everything_that_a_create_says(world: FakeBedrock) -> None:
    """Place and options reach the call, options first; the service's own model accepts it all."""
    backend = backend_of(
        world,
        prefix="p",
        kms_key_id="alias/batch",
        bucket_owner="123456789012",
        subnet_ids=("subnet-1",),
        security_group_ids=("sg-1",),
        tags={"team": "a", "env": "x"},
        timeout_hours=24,
    )
    options = {
        "job_name": "Reviews of 2026_01",
        "role_arn": "arn:aws:iam::123456789012:role/other",
        "output_uri": f"s3://{world.bucket}/results",
        "tags": {"env": "y"},
        "timeout_hours": 72,
    }
    backend.check_route([LLAMA], [CHAT], options)
    token = new_token()
    request = helper.uploaded(backend, 100, token, **options)
    assert request == {
        "jobName": f"Reviews-of-2026-01-{token}",
        "clientRequestToken": token,
        "modelId": LLAMA,
        "roleArn": "arn:aws:iam::123456789012:role/other",
        "modelInvocationType": "Converse",
        "inputDataConfig": {
            "s3InputDataConfig": {
                "s3Uri": f"s3://{world.bucket}/p/r0-00007-{token}.jsonl",
                "s3InputFormat": "JSONL",
                "s3BucketOwner": "123456789012",
            }
        },
        "outputDataConfig": {
            "s3OutputDataConfig": {
                "s3Uri": f"s3://{world.bucket}/results/Reviews-of-2026-01-{token}/",
                "s3EncryptionKeyId": "alias/batch",
                "s3BucketOwner": "123456789012",
            }
        },
        "vpcConfig": {"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]},
        "timeoutDurationInHours": 72,
        "tags": [
            {"key": "team", "value": "a"},
            {"key": "env", "value": "y"},
            {"key": "airflow-batch-token", "value": token},
        ],
    }
    job = helper.until(backend, backend.create(request))
    assert job.status is JobStatus.COMPLETED
    assert job.outputs[0].startswith(f"s3://{world.bucket}/results/")
    upload = world.calls("upload")[0].headers
    assert upload["x-amz-server-side-encryption"] == "aws:kms"
    assert upload["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/batch"
    assert upload["x-amz-expected-bucket-owner"] == "123456789012"


def test_names_of_any_run_are_safe(backend: BedrockBackend) -> None:
    """A run id with colons, plus signs and 300 characters gives names that the service takes."""
    name = "manual__2026-01-01T00:00:00+00:00=" + "é" * 300
    options = {"job_name": name, "file_name": name}
    job = helper.until(backend, sent(backend, 100, **options))
    assert job.status is JobStatus.COMPLETED
    assert job.name is not None
    assert job.name.startswith("manual-2026-01-01T00-00-00-00-00")
    assert len(job.name) <= 63


def test_a_conflict_is_ambiguous(backend: BedrockBackend, world: FakeBedrock) -> None:
    """The same token with other contents is a conflict, which is looked into: perhaps the job exists."""
    token = new_token()
    request = helper.uploaded(backend, 100, token)
    job = backend.create(request)
    with pytest.raises(ProviderError, match="ConflictException") as caught:
        backend.create({**request, "timeoutDurationInHours": 25})
    assert caught.value.ambiguous
    assert [found.id for found in backend.find([known_by(token, request)]).jobs] == [job.id]


def test_repeating_a_lost_create_makes_one_job(backend: BedrockBackend, world: FakeBedrock) -> None:
    """A create that was accepted unheard and is sent again, byte for byte, is the same job."""
    request = helper.uploaded(backend, 100, new_token())
    before = len(world.batches)
    world.faults.cut_after_accept = 1
    with pytest.raises(ProviderError):
        backend.create(request)
    job = backend.create(json.loads(json.dumps(request)))
    assert len(world.batches) - before == 1
    assert backend.retrieve(job.id).name == request["jobName"]


# ---- upload --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "parts"), [(2_000_000, 0), (8_388_608, 1), (20_000_000, 3)])
def test_large_uploads_go_in_parts(backend: BedrockBackend, world: FakeBedrock, size: int, parts: int) -> None:
    """From 8 MiB on a file goes up in parts, in this thread; smaller ones in one piece."""
    data = b"x" * size
    handle = backend.upload_file("big.jsonl", io.BytesIO(data))
    assert len(world.calls("upload")) == 1
    assert (len(world.calls("part")), len(world.calls("complete"))) == ((parts, 1) if parts else (0, 0))
    world.faults.latency = 0
    assert b"".join(backend.download(handle)) == data
    backend.delete(handle)


@pytest.mark.parametrize("deny", [frozenset(), SEED_POLICY])
def test_a_broken_upload_leaves_nothing(backend: BedrockBackend, world: FakeBedrock, deny: frozenset[str]) -> None:
    """A stream that breaks ends the upload, which is given up at the bucket where that is allowed."""
    world.deny = deny
    before = world.objects()

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 9_000_000:
                raise OSError("the disk is gone")
            return super().read(size)

    with pytest.raises(OSError, match="the disk is gone"):
        backend.upload_file("big.jsonl", Broken(b"x" * 20_000_000))
    assert world.objects() == before
    assert len(world.calls("complete")) == 0
    assert len(world.calls("abort")) == 1
    left = world.s3.list_multipart_uploads(Bucket=world.bucket).get("Uploads", [])
    assert bool(left) == bool(deny)
    for item in left:
        world.s3.abort_multipart_upload(Bucket=world.bucket, Key=item["Key"], UploadId=item["UploadId"])


def test_uploads_never_replace_each_other(backend: BedrockBackend) -> None:
    """Two files of one name are two objects, for a job may be reading the first."""
    first, second = (backend.upload_file("a b.jsonl", io.BytesIO(text)) for text in (b"1\n", b"2\n"))
    assert first != second
    assert b"".join(backend.download(first)) == b"1\n"
    assert first.endswith(".jsonl")


# ---- ends and outputs ----------------------------------------------------------------------------------------------


def test_a_job_too_small_fails_with_the_reason(backend: BedrockBackend) -> None:
    """What the limits would have refused, Bedrock refuses at validation, in words that are passed on."""
    data = helper.wire(backend, 100).split(b"\n")[:99]
    handle = backend.upload_file("few.jsonl", io.BytesIO(b"\n".join(data)))
    job = helper.until(backend, backend.create(helper.request(backend, new_token(), handle)))
    assert job.status is JobStatus.FAILED
    assert "less records (99)" in str(job.errors[0])
    assert list(backend.outputs(job)) == []
    assert backend.usage(job) is None


def test_expired_before_it_began(backend: BedrockBackend, world: FakeBedrock) -> None:
    """A job that never began has no output and says why."""
    world.faults.expire_after_rows = 0
    job = helper.until(backend, sent(backend))
    assert (job.status, job.raw_status) == (JobStatus.EXPIRED, "Expired")
    assert "timed out" in str(job.errors[0])
    assert list(backend.outputs(job)) == []


@pytest.mark.parametrize("in_output", [False, True])
def test_completed_although_every_record_failed(backend: BedrockBackend, world: FakeBedrock, in_output: bool) -> None:
    """Errors are read beside and inside modelOutput; the job has completed all the same."""
    world.faults.fail_rows = {"*": 429}
    world.faults.error_in_output = in_output
    job = helper.until(backend, sent(backend))
    assert job.status is JobStatus.COMPLETED
    assert (job.counts.total, job.counts.completed, job.counts.failed) == (100, 0, 100)
    results = helper.results(backend, job, 100)
    assert {(result.outcome, result.retryable) for result in results.values()} == {("failed", True)}


def test_stopped_by_somebody_else(backend: BedrockBackend, world: FakeBedrock) -> None:
    """A job stopped in the console keeps what was answered."""
    world.faults.cancel_after_rows = 40
    job = helper.until(backend, sent(backend))
    assert (job.status, job.raw_status) == (JobStatus.CANCELLED, "Stopped")
    assert len(helper.results(backend, job, 100)) == 40


def test_outputs_are_found_by_listing(backend: BedrockBackend, world: FakeBedrock) -> None:
    """Every .out below the job's prefix is read but the manifest, and a last line without end gets one."""
    job = helper.until(backend, sent(backend))
    bucket, _, prefix = job.outputs[0].removeprefix("s3://").partition("/")
    world.s3.put_object(Bucket=bucket, Key=f"{prefix}nested/more.jsonl.out", Body=b'{"recordId":"a"}')
    world.s3.put_object(Bucket=bucket, Key=f"{prefix}zz.jsonl.out", Body=b'{"recordId":"b"}\n')
    world.s3.put_object(Bucket=bucket, Key=f"{prefix}notes.txt", Body=b"no line")
    data = b"".join(backend.outputs(job))
    assert data.endswith(b"\n")
    lines = data.split(b"\n")[:-1]
    assert len(lines) == 102
    assert {b'{"recordId":"a"}', b'{"recordId":"b"}'} < set(lines)
    assert b"totalRecordCount" not in data
    assert b"".join(backend.download(job.outputs[0])) == data


def test_more_outputs_than_a_page(backend: BedrockBackend, world: FakeBedrock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of objects is read to its end."""
    for number in range(5):
        world.s3.put_object(Bucket=world.bucket, Key=f"many/{number}.jsonl.out", Body=b"%d\n" % number)
    client = backend._client("s3")
    asked = client.list_objects_v2
    monkeypatch.setattr(client, "list_objects_v2", lambda **given: asked(**{**given, "MaxKeys": 2}))
    assert b"".join(backend.download(f"s3://{world.bucket}/many/")) == b"0\n1\n2\n3\n4\n"


@pytest.mark.parametrize("action", ["s3:ListBucket", "s3:GetObject"])
def test_forbidden_outputs_are_no_empty_outputs(backend: BedrockBackend, world: FakeBedrock, action: str) -> None:
    """Rows that may not be read are not taken for rows that are missing, which would be paid again."""
    job = helper.until(backend, sent(backend))
    world.deny = frozenset({action})
    with pytest.raises(AuthenticationError, match="AccessDenied"):
        list(backend.outputs(job))


def test_no_output_at_all(backend: BedrockBackend, world: FakeBedrock) -> None:
    """A completed job without a file has put out nothing, and its tokens are not known."""
    world.faults.no_output = True
    job = helper.until(backend, sent(backend))
    assert job.status is JobStatus.COMPLETED
    assert list(backend.outputs(job)) == []
    assert backend.usage(job) is None


# ---- deleting ------------------------------------------------------------------------------------------------------


def test_deleting_a_jobs_output(backend: BedrockBackend) -> None:
    """A prefix is deleted with all below it; again is no error."""
    job = helper.until(backend, sent(backend))
    backend.delete(job.outputs[0])
    assert list(backend.outputs(job)) == []
    backend.delete(job.outputs[0])


def test_deleting_is_not_allowed(backend: BedrockBackend, world: FakeBedrock) -> None:
    """The seeds' policy does not allow it: the object and the permission are named."""
    handle = backend.upload_file("kept.jsonl", io.BytesIO(b"{}\n"))
    world.deny = SEED_POLICY
    with pytest.raises(AuthenticationError, match="s3:DeleteObject") as caught:
        backend.delete(handle)
    assert handle in str(caught.value)
    assert b"".join(backend.download(handle)) == b"{}\n"


# ---- waiting -------------------------------------------------------------------------------------------------------


async def test_many_jobs_by_one_list_call(backend: BedrockBackend, world: FakeBedrock) -> None:
    """Several jobs are polled by one list call, one job by its own; old ones that are not listed by their own too."""
    jobs = [helper.until(backend, sent(backend)) for _ in range(3)]
    ids = [job.id for job in jobs]
    world.requests.clear()
    assert [job.id for job in await backend.apoll(ids)] == ids
    assert [call.kind for call in world.requests] == ["list"]
    world.requests.clear()
    await backend.apoll(ids[:1])
    assert [call.kind for call in world.requests] == ["poll"]
    seen = await asyncio.to_thread(backend._newest, 2)
    assert set(ids) <= {job.id for job in seen.values()}


async def test_polling_without_the_right_to_list(backend: BedrockBackend, world: FakeBedrock) -> None:
    """Where jobs may not be listed, each is asked for."""
    ids = [sent(backend).id for _ in range(2)]
    world.deny = frozenset({"bedrock:ListModelInvocationJobs"})
    assert [job.id for job in await backend.apoll(ids)] == ids
    assert len(world.calls("poll")) == 2


async def test_jobs_by_their_short_id(backend: BedrockBackend) -> None:
    """The last part of an ARN, which the console shows, is an id too."""
    job = helper.until(backend, sent(backend))
    short = job.id.rpartition("/")[2]
    assert backend.retrieve(short) == job
    assert await backend.apoll([short, job.id]) == [job, job]
    backend.cancel(short)


def test_a_job_that_is_stopping(backend: BedrockBackend, world: FakeBedrock) -> None:
    """Stopping twice is no error, and a refusal while it runs is one."""
    world.faults.hold_after_rows = 1
    job = sent(backend)
    helper.until(backend, job, lambda seen: seen.status is JobStatus.IN_PROGRESS)
    world.faults.cancel_status = [409]
    with pytest.raises(ProviderError, match="ConflictException"):
        backend.cancel(job.id)
    backend.cancel(job.id)
    backend.cancel(job.id)
    assert helper.until(backend, job).status is JobStatus.CANCELLED


def test_console(world: FakeBedrock) -> None:
    """The console of the job's region, in each partition."""
    hosts = {"eu-west-1": "aws.amazon.com", "cn-north-1": "amazonaws.cn", "us-gov-west-1": "amazonaws-us-gov.com"}
    for region, host in hosts.items():
        url = backend_of(world, region=region).console_url("arn:x/abc")
        assert url == f"https://{region}.console.{host}/bedrock/home?region={region}#/batch-inference"


def test_identity(world: FakeBedrock) -> None:
    """Address, region and account tell places apart; without an address it is AWS's own."""
    place = BedrockPlace("cn-north-1", "b", "r", account="123456789012")
    assert BedrockBackend(place, lambda: None, BEDROCK).identity == {
        "type": "bedrock_batch",
        "base_url": "https://bedrock.cn-north-1.amazonaws.com.cn",
        "region": "cn-north-1",
        "account": "123456789012",
    }
    assert "account" not in backend_of(world).identity


# ---- before anything is sent ---------------------------------------------------------------------------------------


def test_missing_fields_before_anything_else(world: FakeBedrock) -> None:
    """What the connection lacks is told at every way in, and no client is made."""

    def never() -> Any:
        raise AssertionError("a session was made")

    place = BedrockPlace("", "", "", missing=("the region is missing; set region", "the bucket is missing"))
    backend = BedrockBackend(place, never, BEDROCK)
    for call in (
        lambda: backend.check_route([], [], {}),
        lambda: backend.client,
        backend.probe,
        lambda: backend.retrieve("abc"),
        lambda: asyncio.run(backend.apoll(["a", "b"])),
    ):
        with pytest.raises(ConfigurationError, match=r"region is missing.*bucket is missing"):
            call()
    backend.close()


def test_a_bucket_elsewhere(world: FakeBedrock) -> None:
    """Buckets for input and output lie where the job runs; both regions are named, and each bucket is asked once."""
    world.s3.create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    with pytest.raises(ConfigurationError, match="'elsewhere' is in eu-west-1, the jobs run in us-east-1"):
        backend_of(world, bucket="elsewhere").check_route([], [], {})
    backend = backend_of(world)
    with pytest.raises(ConfigurationError, match="'elsewhere' is in eu-west-1"):
        backend.check_route([], [], {"output_uri": "s3://elsewhere/out/"})
    world.requests.clear()
    backend.check_route([LLAMA], [CHAT], {})
    backend.check_route([LLAMA], [CHAT], {})
    assert world.requests == []
    with pytest.raises(ConfigurationError, match="bucket 'nobodys-bucket' does not exist"):
        backend_of(world, bucket="nobodys-bucket").check_route([], [], {})


def test_a_bucket_that_may_not_be_looked_at(world: FakeBedrock, caplog: pytest.LogCaptureFixture) -> None:
    """Where the caller may not look, the region is told as not checked, and nothing fails."""
    world.deny = frozenset({"s3:ListBucket"})
    with caplog.at_level(logging.INFO):
        backend_of(world).check_route([LLAMA], [CHAT], {})
    assert "was not checked" in caplog.text


def test_probe_tells_all(world: FakeBedrock, backend: BedrockBackend) -> None:
    """In plain words: bucket, region, role, jobs; and it leaves nothing."""
    before = world.objects()
    said = backend.probe()
    for words in ("can be written, read and listed", "region us-east-1: matches", "well-formed", "can be listed"):
        assert words in said
    assert world.objects() == before


def test_probe_with_the_seeds_policy(world: FakeBedrock, backend: BedrockBackend) -> None:
    """The minimum policy is enough for a probe and a whole run; what stays behind is said."""
    world.deny = SEED_POLICY
    said = backend.probe()
    assert "no permission to delete" in said
    backend.check_route([LLAMA], [CHAT], {})
    job = helper.until(backend, sent(backend))
    assert len(helper.results(backend, job, 100)) == 100


def test_probe_without_the_right_to_list_jobs(world: FakeBedrock, backend: BedrockBackend) -> None:
    """What may not be looked at is not checked."""
    world.deny = frozenset({"bedrock:ListModelInvocationJobs"})
    assert "jobs not checked" in backend.probe()


@pytest.mark.parametrize("action", ["s3:PutObject", "s3:GetObject", "s3:ListBucket"])
def test_probe_of_what_a_run_needs(world: FakeBedrock, backend: BedrockBackend, action: str) -> None:
    """A bucket that cannot be written, read or listed is no use, and the probe says so."""
    world.deny = frozenset({action})
    with pytest.raises(AuthenticationError, match="AccessDenied"):
        backend.probe()


def test_close_and_go_on(backend: BedrockBackend) -> None:
    """A closed backend makes new clients when it is asked again."""
    job = helper.until(backend, sent(backend))
    backend.close()
    assert backend.retrieve(job.id) == job


def test_polling_within_a_second(backend: BedrockBackend) -> None:
    """Two polls are two calls and no waiting in between."""
    job = sent(backend)
    begun = time.monotonic()
    asyncio.run(backend.apoll([job.id]))
    assert time.monotonic() - begun < 1


def test_the_place_shows_no_secret() -> None:
    """The place is only names."""
    place = BedrockPlace("us-east-1", "bucket", "arn")
    assert replace(place, prefix="/a//b c/").home == "s3://bucket/a/b-c/"
    assert place.home == "s3://bucket/"
    assert place.output({}) == "s3://bucket/output/"


def test_a_job_without_a_token_is_not_ours(backend: BedrockBackend, world: FakeBedrock) -> None:
    """Summaries need not tell the request token; a stranger's job is neither adopted nor stopped for that."""
    job = sent(backend)
    for known in world._plane.jobs:
        known.told.pop("clientRequestToken", None)
    assert backend.find([known_by("nosuchtoken")]).jobs == ()
    assert job.id in {listed.id for listed in backend.list_jobs()}
