"""Reading batch objects of every OpenAI-shaped provider."""

from __future__ import annotations

from typing import Any, get_args

import openai.types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.backends.wire.jobs import read_errors, to_int, to_seconds
from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.records import Job, JobError, JobStatus, RequestCounts
from tests.facts import OPENAI
from tests.facts import read_wire_job as read_job

# What the gateways and Azure say beside the SDK's words, from their documentation and source.
OTHERS = {
    "submitted": JobStatus.VALIDATING,
    "scheduled": JobStatus.VALIDATING,
    "InProgress": JobStatus.IN_PROGRESS,
    "partially_completed": JobStatus.PARTIALLY_COMPLETED,
    "PartiallyCompleted": JobStatus.PARTIALLY_COMPLETED,
    "stopping": JobStatus.CANCELLING,
    "stopped": JobStatus.CANCELLED,
    "canceled": JobStatus.CANCELLED,
    "Validating": JobStatus.VALIDATING,
    "Completed": JobStatus.COMPLETED,
    "file_upload_failed": JobStatus.FAILED,
    "batch_start_failed": JobStatus.FAILED,
    "in-progress": JobStatus.IN_PROGRESS,
    "SUCCESS": JobStatus.UNKNOWN,
    "TIMEOUT_EXCEEDED": JobStatus.EXPIRED,
    "CANCELLATION_REQUESTED": JobStatus.CANCELLING,
    "complete": JobStatus.UNKNOWN,
    "failure": JobStatus.UNKNOWN,
    "": JobStatus.UNKNOWN,
}


def test_the_sdk_knows_no_other_word() -> None:
    """Every status of the installed SDK has one and the same meaning here."""
    words = set(get_args(openai.types.Batch.model_fields["status"].annotation))
    assert words
    assert {word: OPENAI.statuses[word] for word in words} == {word: JobStatus(word) for word in words}


def test_the_table_leads_to_every_status() -> None:
    """Each of our statuses but unknown is reachable, and the words are in the form they are looked up in."""
    assert set(OPENAI.statuses.values()) == set(JobStatus) - {JobStatus.UNKNOWN}
    assert all(word == word.lower().replace("-", "_") for word in OPENAI.statuses)


@pytest.mark.parametrize(("word", "status"), OTHERS.items())
def test_other_words(word: str, status: JobStatus) -> None:
    """Capitals, dashes and providers' own words are known; a new word is unknown, and waited for."""
    job = read_job({"id": "b", "status": word})
    assert (job.status, job.raw_status) == (status, word)


ENDED = {
    "completed_at": 1711471533,
    "output_file_id": "file-1",
    "request_counts": {"total": 3, "completed": 2, "failed": 1},
}


@pytest.mark.parametrize("word", ["paused", "done", "complete", "SUCCESS", ""])
@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, JobStatus.COMPLETED),
        ({"output_file_id": None, "error_file_id": "file-2"}, JobStatus.COMPLETED),
        ({"completed_at": None}, JobStatus.UNKNOWN),
        ({"completed_at": 0}, JobStatus.UNKNOWN),
        ({"output_file_id": ""}, JobStatus.UNKNOWN),
        ({"request_counts": {"total": 3, "completed": 2, "failed": 0}}, JobStatus.UNKNOWN),
        ({"request_counts": {"total": 0, "completed": 0, "failed": 0}}, JobStatus.UNKNOWN),
        ({"request_counts": None}, JobStatus.UNKNOWN),
    ],
)
def test_an_unknown_word_for_a_job_that_has_ended(word: str, changed: dict[str, Any], status: JobStatus) -> None:
    """A1: a job with the time of its end, a file and every row counted has ended, whatever that is called."""
    assert read_job({"id": "b", "status": word, **ENDED, **changed}).status is status


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1711471533, 1711471533.0),
        (1711471533.5, 1711471533.5),
        ("1711471533", 1711471533.0),
        (1771430154933, 1771430154.933),
        ("1771430154933", 1771430154.933),
        ("2024-07-19T17:13:57.2491382+00:00", 1721409237.249138),
        ("2024-07-19T17:13:57Z", 1721409237.0),
        ("2024-07-19T17:13:57.5Z", 1721409237.5),
        ("2024-07-19T19:13:57+02:00", 1721409237.0),
        ("2024-07-19T17:13:57", 1721409237.0),
        ("0001-01-01T00:00:00Z", None),
        (None, None),
        ("", None),
        (0, None),
        (-1, None),
        (True, None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        (float("inf"), None),
        ([], None),
        ({}, None),
    ],
)
def test_to_seconds(value: Any, seconds: float | None) -> None:
    """Seconds, milliseconds, digits and ISO times become seconds; nothing readable becomes None."""
    assert to_seconds(value) == (None if seconds is None else pytest.approx(seconds, abs=1e-6))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        ("3", 3),
        (0, 0),
        (3.0, 3),
        (None, None),
        ("", None),
        ("x", None),
        (-1, None),
        ("-1", None),
        (float("inf"), None),
        (float("nan"), None),
        ([], None),
        ({}, None),
    ],
)
def test_to_int(value: Any, number: int | None) -> None:
    """Numbers and digits are counts; null, negative and unreadable is not told."""
    assert to_int(value) == number


def test_openai_object() -> None:
    """OpenAI's documented batch."""
    batch = {
        "id": "batch_abc123",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "errors": None,
        "input_file_id": "file-abc123",
        "status": "completed",
        "output_file_id": "file-cvaTdG",
        "error_file_id": "file-HOWS94",
        "created_at": 1711471533,
        "expires_at": 1711557933,
        "completed_at": 1711493163,
        "failed_at": None,
        "request_counts": {"total": 100, "completed": 95, "failed": 5},
        "metadata": {"customer_id": "user_123456789"},
        "usage": {
            "input_tokens": 1500,
            "input_tokens_details": {"cached_tokens": 1024},
            "output_tokens": 500,
            "output_tokens_details": {"reasoning_tokens": 300},
            "total_tokens": 2000,
        },
    }
    assert read_job(batch) == Job(
        id="batch_abc123",
        status=JobStatus.COMPLETED,
        raw_status="completed",
        counts=RequestCounts(100, 95, 5),
        created_at=1711471533.0,
        ended_at=1711493163.0,
        input_id="file-abc123",
        outputs=("file-cvaTdG", "file-HOWS94"),
        metadata={"customer_id": "user_123456789"},
        usage=Usage(1500, 500, 1024, 300),
        endpoint="/v1/chat/completions",
    )


def test_azure_new_object() -> None:
    """Azure's first answer: capitals, ISO times, null counts."""
    batch = {
        "cancelled_at": None,
        "created_at": "2024-07-19T17:13:57.2491382+00:00",
        "error_file_id": None,
        "expires_at": "2024-07-20T17:13:57.1918498+00:00",
        "id": "batch_fe3f047a",
        "input_file_id": "file-21006e70",
        "errors": None,
        "metadata": None,
        "output_file_id": None,
        "request_counts": {"total": None, "completed": None, "failed": None},
        "status": "Validating",
    }
    job = read_job(batch)
    assert (job.status, job.counts, job.outputs, job.metadata, job.errors) == (
        JobStatus.VALIDATING,
        RequestCounts(),
        (),
        {},
        (),
    )
    assert job.created_at == pytest.approx(1721409237.249138)
    assert (job.ended_at, job.usage, job.endpoint) == (None, None, None)


def test_azure_empty_ids() -> None:
    """Empty strings are no files."""
    job = read_job({"id": "b", "status": "validating", "error_file_id": "", "output_file_id": "", "endpoint": ""})
    assert (job.outputs, job.input_id, job.endpoint) == ((), None, None)


def test_azure_failed_object() -> None:
    """Why a batch failed is told although code and line may be missing."""
    error = {"code": "empty_file", "message": "The input file is empty."}
    batch = {
        "id": "b",
        "status": "failed",
        "completed_at": 1725419955,
        "error_file_id": "file-3b0f",
        "output_file_id": "file-ef12",
        "errors": {"object": "list", "data": [error]},
        "request_counts": {"total": 10, "completed": None, "failed": None},
    }
    job = read_job(batch)
    assert job.errors == (JobError("The input file is empty.", "empty_file"),)
    assert (job.ended_at, job.counts, job.outputs) == (1725419955.0, RequestCounts(10), ("file-ef12", "file-3b0f"))


def test_azure_own_storage() -> None:
    """Blobs are no handles of ours: named even when they were never written."""
    batch = {"id": "b", "status": "completed", "input_file_id": None, "output_blob": "https://a/r.jsonl"}
    assert (read_job(batch).outputs, read_job(batch).input_id) == ((), None)


def test_portkey_objects() -> None:
    """Encoded ids, milliseconds, zero totals and null counts; a create's answer without status; a cancel's."""
    vertex = {
        "id": "7284652661620604928",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "gs%3A%2F%2Fbucket%2Fin.jsonl",
        "completion_window": None,
        "status": "in_progress",
        "output_file_id": "gs%3A%2F%2Fbucket%2F",
        "error_file_id": "gs%3A%2F%2Fbucket%2F",
        "created_at": 1771430154933,
        "in_progress_at": 1771430241905,
        "request_counts": {"total": 0, "completed": None, "failed": None},
    }
    job = read_job(vertex)
    assert (job.input_id, job.outputs) == ("gs://bucket/in.jsonl", ("gs://bucket/", "gs://bucket/"))
    assert (job.created_at, job.ended_at, job.counts) == (1771430154.933, None, RequestCounts(0))
    arn = "arn%3Aaws%3Abedrock%3Aus-west-2%3A123456789012%3Amodel-invocation-job%2Fabcdefghijkl"
    created = read_job({"id": arn, "object": "batch"})
    assert (created.id, created.status, created.raw_status) == (
        "arn:aws:bedrock:us-west-2:123456789012:model-invocation-job/abcdefghijkl",
        JobStatus.UNKNOWN,
        "",
    )
    ended = {"id": arn, "created_at": 1771430154933, "status": "partially_completed", "finalizing_at": None}
    assert read_job(ended).status is JobStatus.PARTIALLY_COMPLETED
    counted = {"id": "1", "status": "completed", "request_counts": {"total": 3, "completed": "3", "failed": "1"}}
    assert read_job(counted).counts == RequestCounts(4, 3, 1), "the total of Portkey holds a -1"
    assert read_job({**ended, "finalizing_at": 1771430254000}).ended_at == 1771430254.0
    assert read_job({**ended, "status": "in_progress", "finalizing_at": 1771430254000}).ended_at is None
    cancelled = {"status": "success", "object": "batch", "id": "arn:aws:b:1"}
    assert (read_job(cancelled).status, read_job(cancelled).id) == (JobStatus.UNKNOWN, "arn:aws:b:1")
    assert read_job({}).status is JobStatus.UNKNOWN


@pytest.mark.parametrize(
    ("errors", "read"),
    [
        (None, []),
        ([], []),
        ("", []),
        ({"object": "list"}, []),
        ({"object": "list", "data": None}, []),
        ({"data": [{"code": 3, "message": "bad"}]}, [JobError("bad", "3")]),
        ([{"message": "m", "line": "7", "param": "url"}], [JobError("m", None, 7, "url")]),
        ({"code": "failed", "message": "role"}, [JobError("role", "failed")]),
        ({"data": ["text"]}, [JobError("text")]),
        ("text", [JobError("text")]),
        ({"data": [{"code": "empty_file"}]}, [JobError("empty_file", "empty_file")]),
    ],
)
def test_errors(errors: Any, read: list[JobError]) -> None:
    """Every shape in which a batch tells why it failed; nothing told is nothing."""
    assert read_errors(errors) == read


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    *("id", "status", "request_counts", "created_at", "completed_at", "metadata", "errors", "usage"),
    *("input_file_id", "output_file_id", "error_file_id", "endpoint"),
]


@given(st.dictionaries(st.sampled_from(FIELDS), JSONS))
def test_any_object_is_read(batch: dict[str, Any]) -> None:
    """Whatever a provider sends as a batch is read without an exception, and never as a success by accident."""
    job = read_job(batch)
    assert isinstance(job, Job)
    assert job.status.is_terminal is False or str(batch["status"]).lower().replace("-", "_") in OPENAI.statuses
    assert all(isinstance(handle, str) and handle for handle in job.outputs)
    assert all(count is None or count >= 0 for count in (job.counts.total, job.counts.completed, job.counts.failed))
