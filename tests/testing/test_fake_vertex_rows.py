"""The fake Vertex AI's importer, rows and faults, seen by Google's real clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from google.cloud.aiplatform_v1.types import JobState

from airflow_batch_provider.testing.faults import FaultPlan
from airflow_batch_provider.testing.vertex import FakeVertex, VertexFaults
from airflow_batch_provider.testing.vertex_importer import import_problem, retyped
from tests.testing.asking_vertex import (
    CLAUDE,
    EMBEDDING,
    GEMINI,
    LLAMA,
    ask,
    create,
    ended,
    line,
    run,
)


@pytest.fixture(scope="module")
def running() -> Iterator[FakeVertex]:
    with FakeVertex() as fake:
        yield fake


@pytest.fixture
def fake(running: FakeVertex) -> Iterator[FakeVertex]:
    running.requests.clear()
    yield running
    running.deny = frozenset()
    for field in fields(VertexFaults):
        setattr(running.faults, field.name, getattr(VertexFaults(), field.name))


# ---- jobs that fail as a whole -------------------------------------------------------------------------------------


def schema(value: Any) -> dict[str, Any]:
    return line(generationConfig={"responseJsonSchema": value})


def deep(levels: int) -> dict[str, Any]:
    value: Any = {"type": "string"}
    for _ in range(levels):
        value = {"items": value}
    return schema(value)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([schema({"type": "string"}), schema({"type": ["string"]})], "Repeated field must be imported as a JSON array"),
        ([deep(16)], "Schema nested too deeply, at least 16 compared to the maximum allowed level of 15"),
        ([schema({"$defs": {"a": {"type": "string"}}})], 'Invalid field name "$defs"'),
        ([schema({"properties": {"two words": {"type": "string"}}})], 'Invalid field name "two words"'),
        ([schema({"properties": {}})], "Cannot store struct"),
        ([line(tools=[{"googleSearch": {}}])], "Cannot store struct 'request.tools[].googleSearch' with no fields"),
        ([schema({"enum": None})], "Only optional fields can be set to NULL. Field: enum"),
        ([schema({"enum": ["a", None]})], "Only optional fields can be set to NULL. Field: enum"),
        ([schema({"default": 1}), schema({"default": "a"})], "Could not convert value of type string to number"),
        ([schema({"enum": [["a"]]})], "Nested arrays"),
    ],
)
def test_the_importer(fake: FakeVertex, lines: list[Any], told: str) -> None:
    """One line that does not fit the table fails the whole job, with Google's words and code 3; nothing ran."""
    job, found = run(fake, [line(1), *lines, line(2)])
    assert (job.state, job.error.code, found) == (JobState.JOB_STATE_FAILED, 3, [])
    assert job.error.message.startswith("Failed to import data. Please check 'Prepare input' section")
    assert told in job.error.message


def test_lines_that_can_be_imported() -> None:
    """Whole numbers and fractions are one type, absent members are none, and the fifteenth level still fits."""
    good = [deep(11), schema({"minimum": 1, "maximum": 2.5}), schema({"minimum": 0.5}), line(), schema({"enum": []})]
    assert import_problem([json.dumps(one).encode() for one in good]) is None
    assert "no json" not in str(import_problem([b"{}"]))
    assert "Invalid JSON" in str(import_problem([b"{"]))


def test_ids_that_look_like_numbers(fake: FakeVertex) -> None:
    """The importer gives back a string that looks like a number as a number."""
    _, found = run(fake, [{**line(), "custom_id": "000000"}, {**line(), "custom_id": "r-7"}])
    assert sorted(str(one["custom_id"]) for one in found) == ["0", "r-7"]
    assert [retyped(value) for value in ("-12", "1a", "", 3)] == [-12, "1a", "", 3]


@pytest.mark.parametrize(
    ("lines", "model", "told"),
    [
        (b"", GEMINI, "empty"),
        (b"no json\n", GEMINI, "Invalid JSON"),
        (b'{"request": {"messages": ["x"]}}\n', CLAUDE, "Line 1 needs custom_id"),
        (b'{"custom_id": "a", "request": {"x": 1}}\n', LLAMA, "Line 1 needs custom_id and body"),
    ],
)
def test_files_of_another_kind(fake: FakeVertex, lines: bytes, model: str, told: str) -> None:
    """A file of another kind fails the job."""
    job, found = run(fake, lines, model)
    assert (job.state, found) == (JobState.JOB_STATE_FAILED, [])
    assert told in job.error.message


@pytest.mark.parametrize("what", ["input", "object", "output"])
def test_places_that_are_not_there(fake: FakeVertex, what: str) -> None:
    """A create for a bucket or object that is not there is accepted; the job fails later, with code 9."""
    nowhere = {
        "input": {"inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://no-bucket/x.jsonl"]}}},
        "object": {
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [f"gs://{fake.bucket}/no.jsonl"]}}
        },
        "output": {
            "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://no-bucket/o"}}
        },
    }
    made = create(fake, {**ask(fake, [line()]), **nowhere[what]})
    assert made.state is JobState.JOB_STATE_QUEUED
    job = ended(fake, made.name)
    assert (job.state, job.error.code) == (JobState.JOB_STATE_FAILED, 9)
    if what != "object":
        assert "Failed to get GCS bucket location for no-bucket" in job.error.message


# ---- rows that fail ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"contents": [{"role": "tester", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
        ({"contents": []}, "at least one contents field"),
        ({"contents": [{"role": "user", "parts": []}]}, "at least one parts field"),
        ({"model": "x"}, 'Unknown name "model"'),
        ({"generationConfig": {"maxOutputTokens": 0}}, "maxOutputTokens"),
        ({"generationConfig": {"temperature": 3}}, "temperature"),
        ({"generationConfig": {"stopSequences": ["a"] * 6}}, "stopSequences"),
        ({"contents": [{"role": "user", "parts": [{"text": "x", "fileData": {"fileUri": "gs://b/x"}}]}]}, "one init"),
        ({"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": "gs://b/x"}}]}]}, "mimeType"),
        (
            {"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": "https://x/y", "mimeType": "a/b"}}]}]},
            "Cannot fetch",
        ),
        ({"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f"}}]}]}, "functionResponse"),
    ],
)
def test_requests_that_gemini_refuses(fake: FakeVertex, more: dict[str, Any], told: str) -> None:
    """A bad request fails its own row, in a job that succeeds: status has the reason, key and request are echoed."""
    job, (found,) = run(fake, [line(3, **more)])
    assert job.state is JobState.JOB_STATE_SUCCEEDED
    assert job.completion_stats.failed_count == 1
    assert found["custom_id"] == "r0000000003"
    assert (found["response"], "request" in found) == ({}, True)
    head, brace, tail = found["status"].partition("{")
    error = json.loads(brace + tail)["error"]
    assert (head, error["code"], error["status"]) == ("Bad Request: ", 400, "INVALID_ARGUMENT")
    assert told in error["message"]


def test_snake_case(fake: FakeVertex) -> None:
    """Fields in snake_case are taken, and echoed as they were written; the author's own names stay."""
    more = {"system_instruction": {"parts": [{"text": "a"}]}, "generation_config": {"max_output_tokens": 9}}
    _, (found,) = run(fake, [line(4, **more)])
    assert (found["status"], found["response"]["usageMetadata"]["promptTokenCount"]) == ("", 3)
    assert found["request"]["generation_config"] == {"max_output_tokens": 9}
    _, (found,) = run(fake, [line(4, generation_config={"max_output_tokens": 0})])
    assert "maxOutputTokens" in found["status"]


def test_a_conversation_with_functions(fake: FakeVertex) -> None:
    """Calls and their results are read; the last words of the user are echoed."""
    turns = [
        {"role": "user", "parts": [{"text": "weather?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"city": "Paris"}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"sky": "blue"}}}]},
    ]
    _, (found,) = run(fake, [line(contents=turns)])
    assert found["status"] == ""
    assert "blue" in found["response"]["candidates"][0]["content"]["parts"][0]["text"]


# ---- faults --------------------------------------------------------------------------------------------------------


def test_rows_told_to_fail(fake: FakeVertex) -> None:
    """Rows fail by id, by position or all; the job has still succeeded."""
    fake.faults.fail_rows = {"r0000000000": 429, "1": 503}
    job, found = run(fake, [line(number) for number in range(3)])
    said = {one["custom_id"]: one["status"].partition(":")[0] for one in found}
    assert said == {"r0000000000": "Too Many Requests", "r0000000001": "Service Unavailable", "r0000000002": ""}
    fake.faults.fail_rows = {"*": 400}
    job, found = run(fake, [line(number) for number in range(3)])
    assert job.state is JobState.JOB_STATE_SUCCEEDED
    assert (job.completion_stats.successful_count, job.completion_stats.failed_count) == (0, 3)
    assert all(one["status"] and one["response"] == {} for one in found)


@pytest.mark.parametrize(
    ("faults", "state", "rows"),
    [
        ({"expire_after_rows": 2}, "EXPIRED", 2),
        ({"expired_fraction": 0.75}, "EXPIRED", 1),
        ({"expire_after_rows": 3, "partially": True}, "PARTIALLY_SUCCEEDED", 3),
        ({"cancel_after_rows": 1}, "CANCELLED", 1),
        ({"no_output": True}, "SUCCEEDED", 0),
        ({"drop": 1}, "SUCCEEDED", 3),
        ({"duplicate": 1}, "SUCCEEDED", 5),
        ({"foreign": 2}, "SUCCEEDED", 6),
        ({"files": 3}, "SUCCEEDED", 4),
    ],
)
def test_ends_and_spoiled_output(fake: FakeVertex, faults: dict[str, Any], state: str, rows: int) -> None:
    """Each fault leaves so many lines; a job that stopped early does not know how many rows are left."""
    for name, value in faults.items():
        setattr(fake.faults, name, value)
    job, found = run(fake, [line(number) for number in range(4)])
    assert (job.state.name, len(found)) == (f"JOB_STATE_{state}", rows)
    left = fake.batches[-1].get("completionStats", {}).get("incompleteCount")
    assert left == ("-1" if state in {"EXPIRED", "PARTIALLY_SUCCEEDED"} else None)


def test_echoes_that_are_missing(fake: FakeVertex) -> None:
    """Keys and labels can be left out of the echo, so that the request alone tells the row."""
    fake.faults.keys_not_echoed = True
    _, (found,) = run(fake, [line(labels={"row": "r1"})])
    assert ("custom_id" in found, found["request"]["labels"]) == (False, {"row": "r1"})
    fake.faults.labels_not_echoed = True
    _, (found,) = run(fake, [line(labels={"row": "r1"})])
    assert "labels" not in found["request"]


def test_blocked_prompts(fake: FakeVertex) -> None:
    """A blocked prompt has feedback and no candidates; models that know no such thing are left alone."""
    fake.faults.blocked_rows = 9
    _, (found,) = run(fake, [line()])
    assert found["response"]["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"
    assert (found["status"], "candidates" in found["response"]) == ("", False)
    job, _ = run(fake, [{"key": "k", "request": {"content": {"parts": [{"text": "a"}]}}}], EMBEDDING)
    assert job.state is JobState.JOB_STATE_SUCCEEDED


def test_plans_that_touch_the_first_jobs_only() -> None:
    """With ``jobs`` the later ones are honest; a plain plan of every fake is one, too."""
    with FakeVertex(FaultPlan(jobs=1, fail_rows={"*": 400}), bucket="other-bucket") as fake:
        assert [run(fake, [line()])[0].completion_stats.failed_count for _ in range(2)] == [1, 0]
