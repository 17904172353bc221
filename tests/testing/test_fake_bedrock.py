"""The fake Bedrock, seen by the real boto3: as strict as the service, and wrong where it is told to be."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ResponseStreamingError

from airflow_batch_provider.testing.bedrock import BedrockFaults, FakeBedrock
from airflow_batch_provider.testing.bedrock_runner import TERMINAL
from airflow_batch_provider.testing.faults import FaultPlan
from tests.patience import PATIENCE

LLAMA = "meta.llama3-1-8b-instruct-v1:0"
CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
CLAUDE_45 = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
CLAUDE_5 = "anthropic.claude-opus-5-20260101-v1:0"
GPT = "openai.gpt-oss-20b-1:0"
TITAN = "amazon.titan-embed-text-v2:0"
NOVA = "amazon.nova-lite-v1:0"
HELLO = {"messages": [{"role": "user", "content": [{"text": "hello you"}]}]}
MESSAGE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def running() -> Iterator[FakeBedrock]:
    with FakeBedrock(min_records=1) as fake:
        yield fake


@pytest.fixture
def fake(running: FakeBedrock) -> Iterator[FakeBedrock]:
    running.requests.clear()
    yield running
    running.deny = frozenset()
    for field in fields(BedrockFaults):
        setattr(running.faults, field.name, getattr(BedrockFaults(), field.name))


def client(fake: FakeBedrock, service: str = "bedrock", key: str | None = None, region: str | None = None) -> Any:
    access, secret = fake.credentials
    return boto3.client(
        service,
        endpoint_url=fake.bedrock_url if service == "bedrock" else fake.s3_url,
        region_name=region or fake.region,
        aws_access_key_id=key or access,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


_names = iter(range(10**6))


def ask(fake: FakeBedrock, records: list[Any] | bytes, model: str = LLAMA, **more: Any) -> dict[str, Any]:
    """A create call for uploaded records."""
    name = f"job-{next(_names)}"
    lines = [json.dumps(record) if isinstance(record, dict) else str(record) for record in records]
    data = records if isinstance(records, bytes) else "".join(f"{line}\n" for line in lines).encode()
    fake.s3.put_object(Bucket=fake.bucket, Key=f"in/{name}.jsonl", Body=data)
    kind = "Converse" if model in (LLAMA, NOVA) else "InvokeModel"
    return {
        "jobName": name,
        "roleArn": fake.role_arn,
        "modelId": model,
        "modelInvocationType": kind,
        "clientRequestToken": f"token{name.replace('-', '')}",
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"s3://{fake.bucket}/in/{name}.jsonl"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{fake.bucket}/out/"}},
        **more,
    }


def ended(bedrock: Any, arn: str, enough: Callable[[Any], bool] | None = None) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        job = bedrock.get_model_invocation_job(jobIdentifier=arn)
        if enough(job) if enough else job["status"] in TERMINAL:
            return job
        time.sleep(0.005)
    raise AssertionError(job)


def run(fake: FakeBedrock, records: list[Any] | bytes, model: str = LLAMA, **more: Any) -> tuple[Any, list[Any]]:
    """A job at its end, and its output records."""
    bedrock = client(fake)
    arn = bedrock.create_model_invocation_job(**ask(fake, records, model, **more))["jobArn"]
    job = ended(bedrock, arn)
    return job, output(fake, job)


def output(fake: FakeBedrock, job: Any) -> list[Any]:
    job_id = job["jobArn"].rpartition("/")[2]
    name = job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"].rpartition("/")[2]
    key = f"out/{job_id}/{name}.out"
    if key not in fake.objects():
        return []
    data = fake.s3.get_object(Bucket=fake.bucket, Key=key)["Body"].read()
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def records(number: int = 3) -> list[Any]:
    return [
        {"recordId": f"r{at:010d}", "modelInput": {"messages": [{"role": "user", "content": [{"text": f"row {at}"}]}]}}
        for at in range(number)
    ]


def one(fake: FakeBedrock, model: str, request: Any, **more: Any) -> Any:
    """What becomes of one record."""
    job, lines = run(fake, [{"recordId": "r0000000000", "modelInput": request}], model, **more)
    assert job["status"] == "Completed"
    assert lines[0]["modelInput"] == request
    return lines[0]


# ---- the way of a job ----------------------------------------------------------------------------------------------


def test_the_way_of_a_job(fake: FakeBedrock) -> None:
    """A job answers every record, and leaves output and manifest where AWS says."""
    bedrock = client(fake)
    request = ask(fake, records(3), tags=[{"key": "a", "value": "b"}])
    arn = bedrock.create_model_invocation_job(**request)["jobArn"]
    assert ended(bedrock, arn)["status"] == "Completed"
    job = bedrock.get_model_invocation_job(jobIdentifier=arn.rpartition("/")[2])
    counts = [job[f"{name}RecordCount"] for name in ("total", "processed", "success", "error")]
    assert counts == [3, 3, 3, 0]
    assert isinstance(job["submitTime"], datetime.datetime)
    assert job["submitTime"] <= job["endTime"]
    assert [line["recordId"] for line in output(fake, job)] == ["r0000000000", "r0000000001", "r0000000002"]
    key = f"out/{arn.rpartition('/')[2]}/manifest.json.out"
    manifest = json.loads(fake.s3.get_object(Bucket=fake.bucket, Key=key)["Body"].read())
    assert manifest == {
        "totalRecordCount": 3,
        "processedRecordCount": 3,
        "successRecordCount": 3,
        "errorRecordCount": 0,
        "inputTokenCount": 6,
        "outputTokenCount": 6,
    }
    assert fake.batches[-1]["jobArn"] == arn
    assert fake.creates[-1].body["jobName"] == request["jobName"]


def test_a_folder_as_input(fake: FakeBedrock) -> None:
    """Every .jsonl below a folder has an output file of its own, nested ones too; ids are invented where missing."""
    line = json.dumps({"modelInput": HELLO}).encode()
    for name in ("a.jsonl", "deep/b.jsonl", "c.txt"):
        fake.s3.put_object(Bucket=fake.bucket, Key=f"folder/{name}", Body=line)
    where = {"s3InputDataConfig": {"s3Uri": f"s3://{fake.bucket}/folder/"}}
    bedrock = client(fake)
    arn = bedrock.create_model_invocation_job(**ask(fake, records(1)) | {"inputDataConfig": where})["jobArn"]
    assert ended(bedrock, arn)["totalRecordCount"] == 2
    folder = f"out/{arn.rpartition('/')[2]}/"
    made = {key.removeprefix(folder) for key in fake.objects() if key.startswith(folder)}
    assert made == {"a.jsonl.out", "deep/b.jsonl.out", "manifest.json.out"}


def test_stopping(fake: FakeBedrock) -> None:
    """A job is stopped with what it has answered; stopping it again is a conflict."""
    fake.faults.hold_after_rows = 2
    bedrock = client(fake)
    arn = bedrock.create_model_invocation_job(**ask(fake, records(5)))["jobArn"]
    ended(bedrock, arn, lambda job: job.get("processedRecordCount") == 2)
    assert bedrock.stop_model_invocation_job(jobIdentifier=arn)["ResponseMetadata"]["HTTPStatusCode"] == 200
    job = ended(bedrock, arn)
    assert job["status"] == "Stopped"
    assert len(output(fake, job)) == 2
    with pytest.raises(bedrock.exceptions.ConflictException):
        bedrock.stop_model_invocation_job(jobIdentifier=arn)


def test_too_few_records() -> None:
    """Fewer records than the minimum fail the job at validation."""
    with FakeBedrock() as fake:
        job, lines = run(fake, records(99))
        assert (job["status"], lines) == ("Failed", [])
        assert "less records (99) than the required minimum of: 100" in job["message"]
        job, lines = run(fake, records(100))
        assert (job["status"], len(lines)) == ("Completed", 100)


def test_a_fake_leaves_nothing() -> None:
    """Each fake begins with an empty bucket in its own region, and takes its buckets away."""
    for region in ("us-east-1", "eu-west-1"):
        with FakeBedrock(region=region, bucket="left-over") as fake:
            assert fake.objects() == []
            fake.s3.put_object(Bucket="left-over", Key="x", Body=b"x")
            head = client(fake, "s3").head_bucket(Bucket="left-over")
            assert head["BucketRegion"] == region


@pytest.mark.parametrize(
    "content",
    [
        b'{"recordId": "a", "modelInput": {}}\nno json\n',
        b'{"recordId": "a"}\n',
        b"[1]\n",
        b'{"recordId":1,"modelInput":{}}',
    ],
)
def test_lines_that_are_no_records(fake: FakeBedrock, content: bytes) -> None:
    """A line that is no JSON object with a modelInput fails the whole job, naming the line."""
    job, lines = run(fake, content)
    assert (job["status"], lines) == ("Failed", [])
    assert "line" in job["message"]


# ---- create is as strict as the service ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"jobName": "with_underscore"}, "jobName"),
        ({"jobName": "with space"}, "jobName"),
        ({"jobName": "a" * 64}, "jobName"),
        ({"roleArn": "BatchRole"}, "roleArn"),
        ({"clientRequestToken": "with_underscore"}, "clientRequestToken"),
        ({"modelId": "acme.unheard-of-v1:0"}, "model identifier"),
        ({"modelInvocationType": "Chat"}, "modelInvocationType"),
        ({"timeoutDurationInHours": 169}, "timeoutDurationInHours"),
        ({"tags": [{"key": "a", "value": "!"}]}, "tags"),
        ({"vpcConfig": {"subnetIds": ["a_b"], "securityGroupIds": ["sg"]}}, "subnetIds"),
        ({"inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://batch-bucket/dt=1/x.jsonl"}}}, "s3Uri"),
        ({"inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://batch-bucket/nowhere.jsonl"}}}, "does not exist"),
        ({"inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://no-bucket/x.jsonl"}}}, "does not exist"),
        ({"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://batch-bucket//x"}}}, "s3Uri"),
    ],
)
def test_refused_creates(fake: FakeBedrock, change: dict[str, Any], told: str) -> None:
    """What the service's model does not allow is a ValidationException that names the field; no job is made."""
    before = len(fake.batches)
    bedrock = client(fake)
    with pytest.raises(bedrock.exceptions.ValidationException, match=told):
        bedrock.create_model_invocation_job(**{**ask(fake, records()), **change})
    assert len(fake.batches) == before


def test_idempotency(fake: FakeBedrock) -> None:
    """The same token and body is the same job; another body, or a name again, is a conflict."""
    bedrock = client(fake)
    request = ask(fake, records())
    first = bedrock.create_model_invocation_job(**request)["jobArn"]
    before = len(fake.batches)
    assert bedrock.create_model_invocation_job(**request)["jobArn"] == first
    assert len(fake.batches) == before
    for change in ({"timeoutDurationInHours": 30}, {"clientRequestToken": "another"}):
        with pytest.raises(bedrock.exceptions.ConflictException):
            bedrock.create_model_invocation_job(**{**request, **change})
    assert len(fake.batches) == before


def test_unknown_jobs(fake: FakeBedrock) -> None:
    """An id nobody has is not found, one of no form is invalid; another region's is not here."""
    bedrock = client(fake)
    head = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/"
    for name in ("nobody000000", f"{head}nobody000000"):
        with pytest.raises(bedrock.exceptions.ResourceNotFoundException):
            bedrock.get_model_invocation_job(jobIdentifier=name)
    for name in ("short", f"{head.replace('us-east', 'eu-west')}nobody000000"):
        with pytest.raises(bedrock.exceptions.ValidationException):
            bedrock.stop_model_invocation_job(jobIdentifier=name)


def test_listing(fake: FakeBedrock) -> None:
    """Filters, order and pages are the service's."""
    bedrock = client(fake)
    asked = [ask(fake, records(1)) for _ in range(5)]
    arns = [bedrock.create_model_invocation_job(**request)["jobArn"] for request in asked]
    for arn in arns:
        ended(bedrock, arn)
    pages = list(bedrock.get_paginator("list_model_invocation_jobs").paginate(PaginationConfig={"PageSize": 2}))
    found = [job["jobArn"] for page in pages for job in page["invocationJobSummaries"]]
    assert found[:5] == arns[::-1]
    assert len(pages) >= 3

    def listed(**given: Any) -> list[str]:
        page = bedrock.list_model_invocation_jobs(maxResults=1000, sortOrder="Ascending", **given)
        return [job["jobArn"] for job in page["invocationJobSummaries"]]

    assert listed(nameContains=asked[2]["jobName"])[0] == arns[2]
    assert set(arns) <= set(listed(statusEquals="Completed"))
    assert listed(statusEquals="InProgress") == []
    hour = datetime.timedelta(hours=1)
    now = datetime.datetime.now(datetime.timezone.utc)
    assert listed(submitTimeAfter=now - hour)[-5:] == arns
    assert listed(submitTimeAfter=now + hour) == listed(submitTimeBefore=now - hour) == []
    for wrong in ({"maxResults": 1001}, {"nextToken": "x"}):
        with pytest.raises(ClientError, match="ValidationException"):
            bedrock.list_model_invocation_jobs(**wrong)


# ---- keys and policies ---------------------------------------------------------------------------------------------


def test_unknown_keys(fake: FakeBedrock) -> None:
    """A key nobody has is refused by both services, as is a signature for another region."""
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        client(fake, key="AKIANOBODY").list_model_invocation_jobs()
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        client(fake, region="eu-west-1").list_model_invocation_jobs()
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        client(fake, "s3", key="AKIANOBODY").list_objects_v2(Bucket=fake.bucket)


@pytest.mark.parametrize(
    ("action", "service", "call", "given"),
    [
        ("bedrock:ListModelInvocationJobs", "bedrock", "list_model_invocation_jobs", {}),
        ("bedrock:GetModelInvocationJob", "bedrock", "get_model_invocation_job", {"jobIdentifier": "a" * 12}),
        ("bedrock:StopModelInvocationJob", "bedrock", "stop_model_invocation_job", {"jobIdentifier": "a" * 12}),
        ("iam:PassRole", "bedrock", "create_model_invocation_job", None),
        ("bedrock:TagResource", "bedrock", "create_model_invocation_job", None),
        ("s3:PutObject", "s3", "put_object", {"Key": "x"}),
        ("s3:GetObject", "s3", "get_object", {"Key": "x"}),
        ("s3:DeleteObject", "s3", "delete_object", {"Key": "x"}),
        ("s3:ListBucket", "s3", "list_objects_v2", {}),
        ("s3:ListBucket", "s3", "head_bucket", {}),
        ("s3:GetBucketLocation", "s3", "get_bucket_location", {}),
    ],
)
def test_denied_actions(fake: FakeBedrock, action: str, service: str, call: str, given: dict[str, Any] | None) -> None:
    """What a policy does not allow is denied, and what it allows is not."""
    fake.deny = frozenset({action})
    if given is None:
        given = ask(fake, records(), tags=[{"key": "a", "value": "b"}])
    elif service == "s3":
        given = {"Bucket": fake.bucket, **given}
    with pytest.raises(ClientError, match=r"AccessDenied|Forbidden"):
        getattr(client(fake, service), call)(**given)
    fake.deny = frozenset({"s3:Other"})
    assert client(fake, "s3").list_objects_v2(Bucket=fake.bucket)["KeyCount"] >= 0


# ---- bodies --------------------------------------------------------------------------------------------------------


def test_converse_has_nulls_for_every_union_member(fake: FakeBedrock) -> None:
    """An answer's block holds null for whatever it is not; system texts count as they do for OpenAI."""
    answer = one(fake, LLAMA, {**HELLO, "system": [{"text": "be kind"}]})["modelOutput"]
    block = answer["output"]["message"]["content"][0]
    assert block["text"] == "hello you"
    assert {name for name, value in block.items() if value is None} >= {"image", "toolUse", "reasoningContent"}
    assert answer["stopReason"] == "end_turn"
    assert (answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]) == (4, 2)
    assert answer["trace"] is None


def test_claude(fake: FakeBedrock) -> None:
    """Claude's body, blocks and system in both spellings, tools among them."""
    answer = one(fake, CLAUDE, {**MESSAGE, "system": "be kind", "temperature": 0, "top_p": 0.5})["modelOutput"]
    assert answer["content"] == [{"type": "text", "text": "hi"}]
    assert (answer["stop_reason"], answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (
        "end_turn",
        3,
        1,
    )
    tool = {"name": "look", "input_schema": {"type": "object"}}
    forced = {**MESSAGE, "tools": [tool], "tool_choice": {"type": "tool", "name": "look"}}
    answer = one(fake, CLAUDE, forced)["modelOutput"]
    assert answer["stop_reason"] == "tool_use"
    assert (answer["content"][0]["name"], answer["content"][0]["input"]) == ("look", {"text": "hi"})
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    turns = [
        {"role": "user", "content": [picture, {"type": "text", "text": "what"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a cat"}]},
    ]
    answer = one(fake, CLAUDE, {**MESSAGE, "messages": turns, "tools": [tool]})["modelOutput"]
    assert answer["content"][0]["text"] == "what"
    assert answer["usage"]["input_tokens"] == 3


def test_other_families(fake: FakeBedrock) -> None:
    """OpenAI's shape goes through as it is; Nova by InvokeModel speaks Converse; Titan makes vectors."""
    answer = one(fake, GPT, {"messages": [{"role": "user", "content": "hi"}]})["modelOutput"]
    assert answer["choices"][0]["message"]["content"] == "hi"
    nova = {**HELLO, "schemaVersion": "messages-v1", "inferenceConfig": {"maxTokens": 9}}
    answer = one(fake, NOVA, nova, modelInvocationType="InvokeModel")["modelOutput"]
    assert answer["output"]["message"]["content"][0]["text"] == "hello you"
    answer = one(fake, TITAN, {"inputText": "hello you", "normalize": True})["modelOutput"]
    assert answer["embedding"] == answer["embeddingsByType"]["float"]
    assert answer["inputTextTokenCount"] == 2
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    assert "modelOutput" in one(fake, arn, MESSAGE)


BLANK = {"messages": [{"role": "user", "content": [{"text": " "}]}]}
URL_IMAGE = {"image": {"format": "png", "source": {"bytes": "https://x/y.png"}}}
TWICE = {"messages": [*HELLO["messages"], *HELLO["messages"]]}


@pytest.mark.parametrize(
    ("model", "request_", "told"),
    [
        (LLAMA, {**HELLO, "toolConfig": {"tools": []}}, "toolConfig"),
        (LLAMA, {**HELLO, "guardrailConfig": {}}, "guardrailConfig"),
        (LLAMA, {**HELLO, "model": "x"}, "model"),
        (LLAMA, {**HELLO, "inferenceConfig": {"temperature": 1.5}}, "temperature"),
        (LLAMA, {**HELLO, "inferenceConfig": {"maxTokens": "9"}}, "maxTokens"),
        (LLAMA, {"messages": []}, "at least one"),
        (LLAMA, {"messages": [{"role": "assistant", "content": [{"text": "x"}]}]}, "start with a user"),
        (LLAMA, TWICE, "alternate"),
        (LLAMA, BLANK, "blank"),
        (LLAMA, {**HELLO, "system": [{"text": " "}]}, "blank"),
        (LLAMA, {"messages": [{"role": "user", "content": [URL_IMAGE]}]}, "URL sources"),
        (LLAMA, {"messages": [{"role": "user", "content": [{"cachePoint": {"type": "default"}}]}]}, "caching"),
        (CLAUDE, {**MESSAGE, "max_tokens": None}, "max_tokens"),
        (CLAUDE, {**MESSAGE, "anthropic_version": "x"}, "anthropic_version"),
        (CLAUDE, {**MESSAGE, "model": "x"}, "model: Extra inputs"),
        (CLAUDE, {**MESSAGE, "messages": []}, "at least one message"),
        (CLAUDE, {**MESSAGE, "messages": [{"role": "system", "content": "x"}]}, "role"),
        (CLAUDE, {**MESSAGE, "messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "non-empty"),
        (
            CLAUDE,
            {**MESSAGE, "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
            "URL sources",
        ),
        (CLAUDE, {**MESSAGE, "tool_choice": {"type": "tool", "name": "x"}}, "none of the tools"),
        (CLAUDE_45, {**MESSAGE, "temperature": 0, "top_p": 0.5}, "cannot both"),
        (CLAUDE_5, {**MESSAGE, "temperature": 0}, "deprecated"),
        (CLAUDE_5, {**MESSAGE, "messages": [*MESSAGE["messages"], {"role": "assistant", "content": "x"}]}, "prefill"),
        (GPT, {"messages": []}, "messages"),
        (TITAN, {"inputText": ""}, "minLength"),
        (TITAN, {"inputText": "x", "dimensions": 8}, "dimensions"),
        (TITAN, {"inputText": "x", "input": "y"}, "extraneous"),
        ("cohere.command-r-v1:0", {"message": "x"}, "does not take this body"),
    ],
)
def test_refused_records(fake: FakeBedrock, model: str, request_: dict[str, Any], told: str) -> None:
    """What a model refuses is an error 400 of its record, in a job that completes."""
    error = one(fake, model, request_)["error"]
    assert error["errorCode"] == 400
    assert told in error["errorMessage"]


# ---- faults --------------------------------------------------------------------------------------------------------


def test_failed_rows(fake: FakeBedrock) -> None:
    """Rows fail by id, by position or all, beside or inside modelOutput."""
    fake.faults.fail_rows = {"r0000000000": 429, "2": 500}
    job, lines = run(fake, records())
    assert [line.get("error", {}).get("errorCode") for line in lines] == [429, None, 500]
    assert (job["successRecordCount"], job["errorRecordCount"]) == (1, 2)
    fake.faults.fail_rows = {"*": 400}
    fake.faults.error_in_output = True
    job, lines = run(fake, records())
    assert job["status"] == "Completed"
    assert {line["modelOutput"]["errorCode"] for line in lines} == {400}


@pytest.mark.parametrize("silent", [False, True])
def test_expiry(fake: FakeBedrock, silent: bool) -> None:
    """A job that ran out of time has partly completed; what is left is marked as expired, or not there."""
    fake.faults.expire_after_rows = 1
    fake.faults.silent_unrun = silent
    job, lines = run(fake, records())
    assert job["status"] == "PartiallyCompleted"
    assert [line.get("error", {}).get("expired") for line in lines] == [None, *([] if silent else [True, True])]
    fake.faults.expire_after_rows = 0
    assert run(fake, records())[0]["status"] == "Expired"


def test_spoiled_lines(fake: FakeBedrock) -> None:
    """Lines in another order, lost, twice, of others, broken."""
    fake.faults.reorder = True
    fake.faults.drop = fake.faults.duplicate = fake.faults.foreign = 1
    _, lines = run(fake, records())
    assert [line["recordId"] for line in lines] == ["FOREIGN0000", "r0000000000", "r0000000001", "r0000000000"]
    fake.faults.malformed = 1
    with pytest.raises(json.JSONDecodeError):
        run(fake, records())


def test_what_a_job_tells(fake: FakeBedrock) -> None:
    """Counts that lie or are absent, times that are absent, words that are new, reasons of failure, no output."""
    fake.faults.lying_counts = True
    assert run(fake, records())[0]["totalRecordCount"] == 1_000_000
    fake.faults.no_counts = True
    assert "totalRecordCount" not in run(fake, records())[0]
    fake.faults.null_times = True
    assert "endTime" not in run(fake, records())[0]
    fake.faults.no_output = True
    assert run(fake, records())[1] == []
    fake.faults.job_errors = [{"message": "The role may not read the input."}]
    job, _ = run(fake, records())
    assert (job["status"], job["message"]) == ("Failed", "The role may not read the input.")
    fake.faults.unknown_status_polls = 1
    bedrock = client(fake)
    arn = bedrock.create_model_invocation_job(**ask(fake, records()))["jobArn"]
    assert bedrock.get_model_invocation_job(jobIdentifier=arn)["status"] == "awaiting_moonrise"
    assert ended(bedrock, arn)["status"] == "Failed"


def test_only_the_first_jobs() -> None:
    """Faults may touch only so many jobs."""
    with FakeBedrock(FaultPlan(jobs=1, fail_rows={"*": 400}), min_records=1) as fake:
        assert [run(fake, records())[0]["errorRecordCount"] for _ in range(2)] == [3, 0]


def test_lost_answers(fake: FakeBedrock) -> None:
    """Creates that are cut, before or after the job is made, or make it later."""
    bedrock = client(fake)
    for fault, value, made in (("cut_before_accept", 1, 0), ("cut_after_accept", 1, 1), ("late_accept", [0.05], 1)):
        before = len(fake.batches)
        setattr(fake.faults, fault, value)
        with pytest.raises(ConnectionClosedError):
            bedrock.create_model_invocation_job(**ask(fake, records()))
        time.sleep(0.2)
        assert len(fake.batches) - before == made
    fake.faults.accepted_status = [500]
    before = len(fake.batches)
    with pytest.raises(bedrock.exceptions.InternalServerException):
        bedrock.create_model_invocation_job(**ask(fake, records()))
    assert len(fake.batches) - before == 1
    fake.faults.token_limit = 1
    with pytest.raises(bedrock.exceptions.ServiceQuotaExceededException):
        bedrock.create_model_invocation_job(**ask(fake, records()))


def test_a_bad_day_of_s3(fake: FakeBedrock) -> None:
    """Uploads and downloads are refused or cut; what the fake itself reads and writes is not."""
    s3 = client(fake, "s3")
    fake.faults.upload_status = [503]
    fake.faults.retry_after = 3
    with pytest.raises(ClientError, match="ServiceUnavailable") as caught:
        s3.put_object(Bucket=fake.bucket, Key="x", Body=b"x")
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "3"
    s3.put_object(Bucket=fake.bucket, Key="x", Body=b"x" * 1000)
    fake.faults.cut_downloads = 1
    with pytest.raises(ResponseStreamingError):
        s3.get_object(Bucket=fake.bucket, Key="x")["Body"].read()
    assert s3.get_object(Bucket=fake.bucket, Key="x")["Body"].read() == b"x" * 1000
    assert [call.kind for call in fake.requests] == ["upload", "upload", "download", "download"]
    fake.faults.download_status = [500] * 3
    assert run(fake, records())[0]["status"] == "Completed"
