"""Jobs, names, places and errors of Vertex AI, each by its table."""

from __future__ import annotations

import base64
import io
import json
from types import SimpleNamespace
from typing import Any

import google_crc32c
import pytest

from airflow_batch_provider.backends.vertex.errors import (
    authenticated,
    from_answer,
    from_no_answer,
    translated,
)
from airflow_batch_provider.backends.vertex.jobs import TOKEN_LABEL
from airflow_batch_provider.backends.vertex.place import VertexPlace, check_model, check_values, create_call, serves
from airflow_batch_provider.backends.vertex.store import _checked, split_uri
from airflow_batch_provider.core.errors import (
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
from tests.facts import VERTEX_AI
from tests.facts import read_vertex_job as read_job

GEMINI, CLAUDE = "gemini-2.5-flash", "claude-haiku-4-5@20251001"
OPEN = "meta/llama-4-maverick-17b-128e-instruct-maas"
TUNED = "projects/p/locations/us-central1/models/123"
PLACE = VertexPlace("p", "us-central1", "batch-bucket")
NAME = "projects/123/locations/us-central1/batchPredictionJobs/3814889423749775360"


def create(model: str = GEMINI, token: str = "Tok1", place: VertexPlace = PLACE, **options: Any) -> dict[str, Any]:
    shard = Shard(0, 7, 3, 300, model, "/v1/chat/completions")
    return create_call(place, shard, token, "gs://b/i.jsonl", options)


# ---- jobs ----------------------------------------------------------------------------------------------------------


def test_the_table_of_states_is_complete() -> None:
    """Every state of Google's enum has its meaning, and no other is in the table; the ends are ends."""
    from google.cloud.aiplatform_v1.types import JobState

    assert set(VERTEX_AI.statuses) == {state.name for state in JobState}
    ends = {name.removeprefix("JOB_STATE_") for name, status in VERTEX_AI.statuses.items() if status.is_terminal}
    assert ends == {"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"}


def test_a_job_is_told_in_one_vocabulary() -> None:
    """Every field that Google tells of a real job is read."""
    told = {
        "name": NAME,
        "displayName": "reviews-tok",
        "model": "publishers/google/models/gemini-2.5-flash",
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://b/in.jsonl"]}},
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://b/out"}},
        "outputInfo": {"gcsOutputDirectory": "gs://b/out/prediction-model-2025-09-19T21:26:51.569037Z"},
        "state": "JOB_STATE_SUCCEEDED",
        "completionStats": {"successfulCount": "2", "failedCount": "1", "incompleteCount": "-1"},
        "createTime": "2025-09-19T21:26:51.569037Z",
        "endTime": "2025-09-19T21:30:00Z",
        "labels": {"k": "v"},
    }
    job = read_job(told)
    assert (job.id, job.name, job.model) == (NAME, "reviews-tok", GEMINI)
    assert (job.status, job.raw_status) == (JobStatus.COMPLETED, "JOB_STATE_SUCCEEDED")
    assert (job.created_at, job.ended_at) == (1758317211.569037, 1758317400.0)
    assert (job.input_id, dict(job.metadata)) == ("gs://b/in.jsonl", {"k": "v"})
    assert job.outputs == ("gs://b/out/prediction-model-2025-09-19T21:26:51.569037Z/",)


@pytest.mark.parametrize(
    ("stats", "counts"),
    [
        (None, RequestCounts()),
        ({}, RequestCounts(0, 0, 0)),
        ({"successfulCount": "0", "failedCount": "0", "incompleteCount": "0"}, RequestCounts(0, 0, 0)),
        ({"successfulCount": "2", "failedCount": "1", "incompleteCount": "-1"}, RequestCounts(None, 2, 1)),
        ({"successfulCount": "2", "failedCount": "1", "incompleteCount": "4"}, RequestCounts(7, 2, 1)),
        ({"successfulCount": "2"}, RequestCounts(2, 2, 0)),
    ],
)
def test_counts(stats: Any, counts: RequestCounts) -> None:
    """Counts come as strings, zeros not at all, and -1 for not known."""
    assert read_job({"name": "n", "completionStats": stats}).counts == counts


def test_a_job_of_nothing() -> None:
    """Whatever is missing or odd, a job can be read, and has not ended."""
    job = read_job({})
    assert (job.id, job.status, job.outputs, job.errors) == ("", JobStatus.UNKNOWN, (), ())
    odd = {"state": 7, "error": "boom", "labels": [], "inputConfig": None, "outputInfo": {"gcsOutputDirectory": None}}
    assert read_job(odd).status is JobStatus.UNKNOWN


def test_errors_of_a_job() -> None:
    """The job's error comes first, then its partial failures."""
    told = {"error": {"code": 3, "message": "m"}, "partialFailures": [{"code": 5, "message": "p"}]}
    assert [str(error) for error in read_job(told).errors] == ["m [3]", "p [5]"]


def test_a_shared_prefix_is_nobodys_output() -> None:
    """Before its directory is told, a job's own prefix is its output; one that others share would give their rows."""
    ours = create(token="Tok1")
    assert read_job(ours).outputs == ("gs://batch-bucket/output/r0-00007-Tok1/",)
    assert read_job({**ours, "labels": {}}).outputs == ()
    shared = {"gcsDestination": {"outputUriPrefix": "gs://b/out"}}
    assert read_job({**ours, "outputConfig": shared}).outputs == ()


def test_googles_message_and_its_rest_json_are_one_job() -> None:
    """What the official client parses reads as what REST tells, whatever is in it."""
    from google.cloud.aiplatform_v1 import BatchPredictionJob
    from google.protobuf.json_format import ParseDict

    from airflow_batch_provider.backends.vertex.backend import _as_json

    base = {**create(), "name": NAME, "createTime": "2025-09-19T21:26:51.569037Z"}
    for more in (
        *({"state": state} for state in VERTEX_AI.statuses),
        {"completionStats": {}},
        {"completionStats": {"successfulCount": "2", "incompleteCount": "-1"}},
        {"error": {"code": 9, "message": "m"}, "partialFailures": [{"code": 5, "message": "p"}]},
        {"outputInfo": {"gcsOutputDirectory": "gs://b/out/prediction-model-2025-09-19T21:26:51.569037Z"}},
    ):
        message = BatchPredictionJob()
        ParseDict({**base, **more}, message._pb)
        told = read_job({**base, **more})
        seen = read_job(_as_json(message))
        # Proto3 leaves out a value that is the first of its enum.
        raw = "" if told.raw_status == "JOB_STATE_UNSPECIFIED" else told.raw_status
        assert (seen.raw_status, seen.status) == (raw, told.status)
        assert (seen.counts, seen.errors, seen.outputs) == (told.counts, told.errors, told.outputs)
        assert (seen.id, seen.created_at, seen.metadata) == (told.id, told.created_at, told.metadata)


# ---- create --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "resource"),
    [
        (GEMINI, f"publishers/google/models/{GEMINI}"),
        (CLAUDE, f"publishers/anthropic/models/{CLAUDE}"),
        (OPEN, f"publishers/meta/models/{OPEN.partition('/')[2]}"),
        ("gemini-embedding-001", "publishers/google/models/gemini-embedding-001"),
        ("publishers/google/models/gemini-3-pro", "publishers/google/models/gemini-3-pro"),
        (TUNED, TUNED),
    ],
)
def test_a_job_names_the_model_with_its_publisher(model: str, resource: str) -> None:
    """The family knows the publisher; a resource name stays as it is."""
    place = VertexPlace("p", "us-central1", "b", families={TUNED: "gemini"})
    assert create(model, place=place)["model"] == resource


def test_two_creates_never_share_an_output_prefix() -> None:
    """Jobs that begin in one instant with one prefix overwrite each other (seen live)."""
    place = VertexPlace("p", "us-central1", "b", output_prefix="gs://elsewhere/out")
    made = [create(token=token, place=place) for token in ("tok1", "tok2")]
    prefixes = {request["outputConfig"]["gcsDestination"]["outputUriPrefix"] for request in made}
    assert len(prefixes) == 2
    assert all(prefix.startswith("gs://elsewhere/out/") and prefix.endswith("/") for prefix in prefixes)


def test_labels_of_connection_and_run_are_merged() -> None:
    """The run's labels win over the connection's, ours over both; all is JSON."""
    place = VertexPlace("p", "us-central1", "b", labels={"team": "a", "env": "dev"})
    request = create(place=place, labels={"env": "prod"}, job_name="Reviews of /2026+01")
    assert request["labels"] == {"team": "a", "env": "prod", TOKEN_LABEL: "tok1"}
    assert request["displayName"] == "Reviews-of-2026-01-Tok1"
    assert "instanceConfig" not in request
    assert json.loads(json.dumps(request)) == request


def test_every_create_is_one_that_google_can_read() -> None:
    """The recorded call is exactly a BatchPredictionJob: nothing is lost on the way to the wire."""
    from google.cloud.aiplatform_v1 import BatchPredictionJob
    from google.protobuf.json_format import MessageToDict, ParseDict

    for model in (GEMINI, CLAUDE, OPEN, "gemini-embedding-001"):
        request = create(model, labels={"empty": ""})
        message = BatchPredictionJob()
        ParseDict(request, message._pb)
        assert MessageToDict(message._pb) == request


# ---- places --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "options", "said"),
    [
        ({"region": "us-central1-a"}, {}, "without a zone"),
        ({"region": "evil.example/us-central1"}, {}, "not the name of a region"),
        ({"bucket": "gs://b"}, {}, "without gs://"),
        ({"output_prefix": "s3://b/x"}, {}, "output_prefix"),
        ({"labels": {"9a": "x"}}, {}, "'9a' is not a valid label name"),
        ({"labels": {f"l{n}": "" for n in range(64)}}, {}, "at most 64"),
        ({}, {"labels": {"a": "b" * 64}}, "is not a valid label value"),
    ],
)
def test_fields_that_cannot_work(place: dict[str, Any], options: dict[str, Any], said: str) -> None:
    """Each field is refused by name."""
    with pytest.raises(ConfigurationError, match=said):
        check_values(VertexPlace(**{"project": "p", "region": "us-central1", "bucket": "bucket", **place}), options)


@pytest.mark.parametrize("region", ["us-central1", "europe-west12", "northamerica-northeast1", "me-central2", "global"])
def test_regions_that_work(region: str) -> None:
    """Regions and the global endpoint are taken."""
    check_values(VertexPlace("p", region, "bucket", labels={"team": "grün_1-a"}), {"labels": {"empty": ""}})


def test_models_of_the_global_endpoint() -> None:
    """Gemini alone, however it is named, and no tuned model."""
    place = VertexPlace("p", "global", "bucket", families={TUNED: "gemini"})
    for model in (GEMINI, "projects/p/locations/global/publishers/google/models/gemini-3-pro"):
        check_model(place, model)
    for model in (CLAUDE, OPEN, TUNED):
        with pytest.raises(ConfigurationError, match="global endpoint"):
            check_model(place, model)


@pytest.mark.parametrize(
    ("location", "region", "fits"),
    [
        ("US", "us-east5", True),
        ("EU", "us-east5", False),
        ("EU", "europe-west4", True),
        ("ASIA", "asia-east1", True),
        ("NAM4", "us-central1", True),
        ("us-central1", "us-central1", True),
        ("US-EAST1", "us-central1", False),
        ("EU", "global", True),
    ],
)
def test_which_buckets_serve_which_regions(location: str, region: str, fits: bool) -> None:
    """Multi-regions serve their continent; dual regions are Google's business."""
    assert serves(location, region) is fits


# ---- storage -------------------------------------------------------------------------------------------------------


def test_a_download_is_checked_as_a_whole() -> None:
    """Every byte is passed on, and then either the checksum is right or it is an error that a retry can help."""
    data = b"line\n" * 200_000
    right = base64.b64encode(google_crc32c.Checksum(data).digest()).decode()

    def read(size: int, checksum: str | None, content: bytes = data) -> bytes:
        return b"".join(_checked("gs://b/x", SimpleNamespace(size=size, crc32c=checksum), io.BytesIO(content)))

    assert read(len(data), right) == data
    assert read(len(data), None) == data
    for content in (data[:-1], data[:-1] + b"x", b""):
        with pytest.raises(ProviderError, match="checksum"):
            read(len(data), right, content)


@pytest.mark.parametrize("uri", ["s3://b/x", "b/x", "gs:///x", ""])
def test_what_is_no_uri_is_nowhere(uri: str) -> None:
    """A handle that is not a gs:// URI is a file that does not exist."""
    with pytest.raises(NotFoundError):
        split_uri(uri)


# ---- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "bad", RequestRejectedError),
        (412, "bad", RequestRejectedError),
        (401, "who", AuthenticationError),
        (403, "may not", AuthenticationError),
        (404, "no model", NotFoundError),
        (429, "Resource has been exhausted", RateLimitedError),
        (429, "Quota exceeded for aiplatform.googleapis.com", QuotaError),
        (408, "slow", ProviderError),
        (409, "aborted", ProviderError),
        (503, "later", ProviderError),
    ],
)
def test_answers(status: int, message: str, kind: type[BatchInferenceError]) -> None:
    """Each answer has its error; those that may hide a job are ambiguous."""
    error = from_answer("create", status, message, {"retry-after": "7"})
    assert type(error) is kind
    assert f"HTTP {status}: {message}" in str(error)
    if isinstance(error, RateLimitedError):
        assert error.retry_after == 7
    if isinstance(error, ProviderError):
        assert error.ambiguous


def test_errors_keep_their_kind() -> None:
    """A lost answer may hide a job, a refused connection cannot."""
    import requests
    from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

    refused = requests.ConnectionError(MaxRetryError(None, "/", NewConnectionError(None, "no")))  # type: ignore[arg-type]
    cut = requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError()))
    told: list[BatchInferenceError] = [from_no_answer("c", error) for error in (refused, cut, requests.ReadTimeout())]
    assert [isinstance(error, ProviderError) and error.ambiguous for error in told] == [False, True, True]


def test_credentials_say_whether_to_try_again() -> None:
    """A key that is no good is for a person; an address of tokens out of reach is for later. Nothing was sent."""
    from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

    for context in (authenticated, translated):
        for broken in (DefaultCredentialsError("none"), RefreshError("deleted")):
            with pytest.raises(AuthenticationError, match="gcp_conn_id"), context("token"):
                raise broken
        for later in (TransportError("no route"), RefreshError("busy", retryable=True)):
            with pytest.raises(ProviderError) as caught, context("token"):
                raise later
            assert caught.value.ambiguous is False
