"""Jobs, errors and names of Bedrock, each by its table."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import botocore.exceptions
import botocore.session
import pytest

from airflow_batch_provider.backends.bedrock import checks
from airflow_batch_provider.backends.bedrock.errors import translated
from airflow_batch_provider.backends.bedrock.place import BedrockPlace, check_values, create_call
from airflow_batch_provider.core.errors import (
    AccountError,
    AuthenticationError,
    BatchInferenceError,
    ConfigurationError,
    NotFoundError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RequestRejectedError,
)
from airflow_batch_provider.core.records import JobStatus, RequestCounts, Shard
from tests.facts import BEDROCK
from tests.facts import read_bedrock_job as read_job

ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdef123456"
ROLE = "arn:aws:iam::123456789012:role/batch"
CREATE = "CreateModelInvocationJob"
PLACE = BedrockPlace("us-east-1", "batch-bucket", ROLE)


def model() -> Any:
    return botocore.session.get_session().get_service_model("bedrock")


def constraints(shape: str) -> dict[str, Any]:
    return dict(model().shape_for(shape).metadata)


# ---- jobs ----------------------------------------------------------------------------------------------------------


def test_the_table_of_statuses_is_complete() -> None:
    """Every status that the installed botocore knows is in the table, and no other; the ends are ends."""
    known = set(constraints("ModelInvocationJobStatus")["enum"])
    assert set(BEDROCK.statuses) == known
    ends = {name for name, status in BEDROCK.statuses.items() if status.is_terminal}
    assert ends == {"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"}
    assert read_job({"jobArn": ARN, "status": "Paused"}).status is JobStatus.UNKNOWN
    assert read_job({}).status is JobStatus.UNKNOWN


def test_a_job_is_told_in_one_vocabulary() -> None:
    """Every field that Bedrock tells is read; a summary of the list has the same fields."""
    at = datetime(2026, 1, 2, tzinfo=timezone.utc)
    item = {
        "jobArn": ARN,
        "jobName": "reviews-tok",
        "modelId": "amazon.nova-lite-v1:0",
        "clientRequestToken": "tok",
        "status": "PartiallyCompleted",
        "message": "Not all records could be processed in time.",
        "submitTime": at,
        "endTime": at.replace(hour=5),
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://b/in.jsonl"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://b/out/"}},
        "totalRecordCount": 100,
        "processedRecordCount": 90,
        "successRecordCount": 80,
        "errorRecordCount": 10,
    }
    job = read_job(item)
    assert (job.id, job.name, job.model) == (ARN, "reviews-tok", "amazon.nova-lite-v1:0")
    assert (job.status, job.raw_status) == (JobStatus.PARTIALLY_COMPLETED, "PartiallyCompleted")
    assert job.counts == RequestCounts(100, 80, 10)
    assert job.created_at == at.timestamp()
    assert job.ended_at == at.timestamp() + 5 * 3600
    assert (job.input_id, job.outputs) == ("s3://b/in.jsonl", ("s3://b/out/abcdef123456/",))
    assert job.metadata == {"airflow-batch-token": "tok"}
    assert job.errors == ()
    told = model().operation_model("GetModelInvocationJob").output_shape.members
    summary = model().shape_for("ModelInvocationJobSummary").members
    assert set(item) <= set(told)
    assert set(item) <= set(summary)


def test_a_failed_job_says_why() -> None:
    """The message is an error where the job failed; while it runs there is no end, and counts may be absent."""
    failed = read_job({"jobArn": ARN, "status": "Failed", "message": "no access"})
    assert [str(error) for error in failed.errors] == ["no access"]
    running = read_job({"jobArn": ARN, "status": "InProgress", "endTime": datetime.now(timezone.utc)})
    assert (running.ended_at, running.counts, running.errors) == (None, RequestCounts(), ())


def test_an_output_prefix_without_a_slash() -> None:
    """What another tool has made may be in either place."""
    item = {"jobArn": ARN, "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://b/out"}}}
    assert read_job(item).outputs == ("s3://b/out/abcdef123456/", "s3://b/outabcdef123456/")
    assert read_job({"jobArn": ARN}).outputs == ()


# ---- errors --------------------------------------------------------------------------------------------------------


def answered(code: str, status: int, call: str = CREATE, message: str = "said", **headers: str) -> BatchInferenceError:
    answer = {"Error": {"Code": code, "Message": message}}
    answer["ResponseMetadata"] = {"HTTPStatusCode": status, "HTTPHeaders": headers}  # type: ignore[dict-item]
    with pytest.raises(BatchInferenceError) as caught, translated(CREATE):
        raise botocore.exceptions.ClientError(answer, call)  # type: ignore[arg-type]
    return caught.value


ANSWERS: list[tuple[str, int, type[BatchInferenceError], bool | None]] = [
    ("AccessDeniedException", 403, AuthenticationError, None),
    ("ConflictException", 400, ProviderError, True),
    ("InternalServerException", 500, ProviderError, True),
    ("ResourceNotFoundException", 404, NotFoundError, None),
    ("ServiceQuotaExceededException", 400, QuotaError, None),
    ("ThrottlingException", 429, RateLimitedError, None),
    ("ValidationException", 400, RequestRejectedError, None),
    ("ExpiredTokenException", 403, AuthenticationError, None),
    ("UnrecognizedClientException", 403, AuthenticationError, None),
    ("InvalidSignatureException", 403, AuthenticationError, None),
    ("ExpiredToken", 400, AuthenticationError, None),
    ("AccessDenied", 403, AuthenticationError, None),
    ("SlowDown", 503, RateLimitedError, None),
    ("ServiceUnavailable", 503, ProviderError, True),
    ("RequestTimeout", 400, ProviderError, True),
    ("NoSuchBucket", 404, NotFoundError, None),
    ("409", 409, ProviderError, True),
    ("Unknown", 0, ProviderError, True),
    ("TeapotException", 418, AccountError, None),
]


@pytest.mark.parametrize(("code", "status", "kind", "ambiguous"), ANSWERS)
def test_errors_by_code(code: str, status: int, kind: type[BatchInferenceError], ambiguous: bool | None) -> None:
    """Each code is its own error, which names call, status, code and what was said."""
    error = answered(code, status)
    assert type(error) is kind
    assert f"{CREATE}: HTTP {status}" in str(error)
    assert code in str(error)
    assert "said" in str(error)
    assert getattr(error, "ambiguous", None) is ambiguous


def test_every_error_of_a_create_is_in_the_table() -> None:
    """What the installed botocore says that a create may raise is decided above, by name."""
    named = {shape.name for shape in model().operation_model(CREATE).error_shapes}
    assert named <= {code for code, *_ in ANSWERS}
    assert len(named) == 7


def test_details_of_errors() -> None:
    """Retry-After is passed on; what was signed, a session token among it, is not."""
    throttled = answered("ThrottlingException", 429, **{"retry-after": "7"})
    assert isinstance(throttled, RateLimitedError)
    assert throttled.retry_after == 7
    long = "does not match.\n\nThe Canonical String was\nx-amz-security-token:secret-session-token\n"
    assert "secret-session-token" not in str(answered("SignatureDoesNotMatch", 403, message=long))
    rejected = answered("ValidationException", 400)
    assert isinstance(rejected, RequestRejectedError)
    assert (rejected.status, rejected.code) == (400, "ValidationException")


def test_nothing_was_sent_without_credentials() -> None:
    """A role that cannot be taken on now leaves the create unsent, and says who refused."""
    error = answered("InternalFailure", 500, "AssumeRole")
    assert isinstance(error, ProviderError)
    assert error.ambiguous is False
    assert "AssumeRole" in str(error)
    assert "AssumeRole" in str(answered("AccessDenied", 403, "AssumeRole"))


@pytest.mark.parametrize(
    ("error", "kind", "ambiguous"),
    [
        (botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"), ProviderError, False),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="http://x"), ProviderError, False),
        (botocore.exceptions.ProxyConnectionError(proxy_url="http://x"), ProviderError, False),
        (botocore.exceptions.CredentialRetrievalError(provider="sso", error_msg="x"), ProviderError, False),
        (botocore.exceptions.SSLError(endpoint_url="x", error="CERTIFICATE_VERIFY_FAILED"), ProviderError, False),
        (botocore.exceptions.SSLError(endpoint_url="x", error="decryption failed"), ProviderError, True),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="http://x"), ProviderError, True),
        (botocore.exceptions.ConnectionClosedError(endpoint_url="http://x"), ProviderError, True),
        (botocore.exceptions.HTTPClientError(error="x"), ProviderError, True),
        (botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), ProviderError, True),
        (botocore.exceptions.ResponseStreamingError(error="x"), ProviderError, True),
        (botocore.exceptions.NoCredentialsError(), AuthenticationError, None),
        (botocore.exceptions.PartialCredentialsError(provider="env", cred_var="x"), AuthenticationError, None),
        (botocore.exceptions.UnauthorizedSSOTokenError(), AuthenticationError, None),
        (botocore.exceptions.ParamValidationError(report="x"), RequestRejectedError, None),
        (botocore.exceptions.InvalidRegionError(region_name="x y"), ConfigurationError, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_errors_without_an_answer(error: Exception, kind: type[BatchInferenceError], ambiguous: bool | None) -> None:
    """What cannot have been sent is not ambiguous; what may have been, is."""
    with pytest.raises(BatchInferenceError, match=CREATE) as caught, translated(CREATE):
        raise error
    assert type(caught.value) is kind
    assert getattr(caught.value, "ambiguous", None) is ambiguous


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["manual__2026-01-01T00:00:00+00:00", "dt=2026/a b//c/", "é", "", "...", "a" * 300, "../x/./y", "-_-", "%2F@"],
)
def test_names_fit_the_services_patterns(text: str) -> None:
    """Any text gives a job's name, token, key and prefix that the installed botocore's patterns take."""
    token = "b" + "0" * 23
    place = BedrockPlace("us-east-1", "batch-bucket", ROLE, prefix=text)
    shard = Shard(0, 0, 100, 1, "amazon.nova-lite-v1:0", "/v1/chat/completions")
    uri = f"{place.home}{checks.job_name(text, token)}.jsonl"
    call = create_call(place, shard, token, uri, {"job_name": text})
    name = constraints("ModelInvocationJobName")
    assert re.fullmatch(name["pattern"], call["jobName"])
    assert len(call["jobName"]) <= name["max"]
    assert token in call["jobName"]
    assert re.fullmatch(constraints("ModelInvocationIdempotencyToken")["pattern"], call["clientRequestToken"])
    pattern = constraints("S3Uri")["pattern"]
    for found in (uri, call["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"], place.home):
        assert re.fullmatch(pattern, found)
        assert ".." not in found.split("/")


def test_our_patterns_are_the_services() -> None:
    """The pattern of URIs is the installed botocore's, letter for letter."""
    assert checks.S3_URI.pattern == constraints("S3Uri")["pattern"]
    assert constraints("ModelInvocationJobName")["max"] == checks.JOB_NAME_LENGTH


@pytest.mark.parametrize(
    ("place", "options", "told"),
    [
        ({"bucket": "s3://b"}, {}, "bucket"),
        ({"role_arn": ""}, {}, "role_arn is missing"),
        ({"role_arn": "BatchRole"}, {}, "role_arn"),
        ({}, {"role_arn": "arn:aws:iam::1:role/x"}, "role_arn"),
        ({"output_uri": "s3://batch-bucket/dt=1/"}, {}, "output_uri"),
        ({}, {"output_uri": "s3://batch-bucket/2026-01-01T00:00:00+00:00"}, "output_uri"),
        ({}, {"output_uri": "s3://batch-bucket//x"}, "output_uri"),
        ({}, {"output_uri": "gs://batch-bucket/x"}, "output_uri"),
        ({}, {"output_uri": "s3://batch-bucket/" + "a" * 1000}, "output_uri"),
        ({"kms_key_id": "my key"}, {}, "kms_key_id"),
        ({"bucket_owner": "me"}, {}, "bucket_owner"),
        ({"timeout_hours": 12}, {}, "timeout_hours"),
        ({}, {"timeout_hours": 169}, "timeout_hours"),
        ({"subnet_ids": ("a",)}, {}, "security_group_ids"),
        ({"tags": {"a": "!"}}, {}, "tags"),
        ({}, {"tags": {"": "x"}}, "tags"),
        ({}, {"tags": {"a": 1}}, "tags"),
        ({}, {"tags": {f"k{n}": "" for n in range(200)}}, "tags"),
    ],
)
def test_unfit_values(place: dict[str, Any], options: dict[str, Any], told: str) -> None:
    """What Bedrock would refuse is refused by its field's name."""
    given = BedrockPlace(**{"region": "us-east-1", "bucket": "batch-bucket", "role_arn": ROLE, **place})
    with pytest.raises(ConfigurationError, match=told):
        check_values(given, options, BEDROCK.limits)


@pytest.mark.parametrize(
    "key",
    [
        "alias/batch",
        "a" * 36,
        "arn:aws:kms:us-east-1:123456789012:key/" + "a" * 36,
        "arn:aws:kms:x:123456789012:alias/b",
    ],
)
def test_fit_values(key: str) -> None:
    """What the service takes passes."""
    options = {"kms_key_id": key, "output_uri": "s3://other-bucket", "timeout_hours": 168, "tags": {"a:b": "c d"}}
    check_values(PLACE, options, BEDROCK.limits)
    assert PLACE.output(options) == "s3://other-bucket/"
    assert re.fullmatch(constraints("KmsKeyId")["pattern"], key)


@pytest.mark.parametrize(
    ("name", "region", "fits"),
    [
        ("us.anthropic.claude-x", "us-west-2", True),
        ("us.anthropic.claude-x", "eu-west-1", False),
        ("us.anthropic.claude-x", "us-gov-west-1", False),
        ("us-gov.anthropic.claude-x", "us-gov-west-1", True),
        ("us-gov.anthropic.claude-x", "us-east-1", False),
        ("eu.amazon.nova-lite-v1:0", "eu-central-1", True),
        ("eu.amazon.nova-lite-v1:0", "us-east-1", False),
        ("apac.amazon.nova-lite-v1:0", "ap-south-1", True),
        ("global.anthropic.claude-x", "sa-east-1", True),
        ("anthropic.claude-x", "sa-east-1", True),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-x", "us-east-1", True),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-x", "us-west-2", False),
        ("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.x", "us-east-1", False),
    ],
)
def test_a_model_of_another_region(name: str, region: str, fits: bool) -> None:
    """An ARN or profile that cannot be called from the region is refused, both named; in doubt it passes."""
    if fits:
        checks.check_region(name, region)
        return
    with pytest.raises(ConfigurationError, match=region) as caught:
        checks.check_region(name, region)
    assert name in str(caught.value)
