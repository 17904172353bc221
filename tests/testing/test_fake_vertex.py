"""The fake Vertex AI, seen by Google's real clients: jobs, rights and files, as strict as the service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud.aiplatform_v1.types import JobState

from airflow_batch_provider.testing.vertex import FakeVertex, VertexFaults
from tests.testing.asking_vertex import (
    CLAUDE,
    EMBEDDING,
    GEMINI,
    LLAMA,
    ask,
    bucket,
    create,
    ended,
    jobs,
    line,
    output,
    parent,
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


# ---- the way of a job ----------------------------------------------------------------------------------------------


def test_the_way_of_a_job(fake: FakeVertex) -> None:
    """A job answers every line, shuffled, and tells counts, times and directory."""
    request = ask(fake, [line(number) for number in range(20)], labels={"a": "b"})
    made = create(fake, request)
    job = ended(fake, made.name, lambda job: job.state.name == "JOB_STATE_SUCCEEDED")
    assert made.state is JobState.JOB_STATE_QUEUED
    assert made.name.startswith("projects/123456789012/locations/us-central1/batchPredictionJobs/")
    assert (job.display_name, job.model, dict(job.labels)) == (request["displayName"], GEMINI, {"a": "b"})
    assert (job.completion_stats.successful_count, job.completion_stats.failed_count) == (20, 0)
    assert job.create_time <= job.start_time <= job.end_time
    folder = f"gs://{fake.bucket}/out/{request['displayName']}/prediction-model-20"
    assert job.output_info.gcs_output_directory.startswith(folder)
    assert ":" in job.output_info.gcs_output_directory.removeprefix("gs://")
    lines = output(fake, job)
    assert sorted(found["custom_id"] for found in lines) == [f"r{number:010d}" for number in range(20)]
    assert [found["custom_id"] for found in lines] != sorted(found["custom_id"] for found in lines)
    assert fake.batches[-1]["name"] == job.name
    assert fake.creates[-1].body["model"] == GEMINI


def test_a_job_that_runs(fake: FakeVertex) -> None:
    """Between queue and end a job is running."""
    fake.faults.hold_after_rows = 1
    ended(fake, create(fake, ask(fake, [line(0), line(1)])).name, lambda job: job.state.name == "JOB_STATE_RUNNING")


def test_a_line_of_gemini(fake: FakeVertex) -> None:
    """Sibling keys and the request are echoed, with nulls for unused members; the answer is Gemini's."""
    system = {"parts": [{"text": "Be kind."}]}
    _, (found,) = run(fake, [{**line(7, systemInstruction=system), "note": "kept"}])
    assert (found["custom_id"], found["note"], found["status"]) == ("r0000000007", "kept", "")
    assert found["request"]["contents"][0]["parts"] == [{"fileData": None, "inlineData": None, "text": "hello 7"}]
    answer = found["response"]
    assert answer["candidates"][0]["content"] == {"role": "model", "parts": [{"text": "hello 7"}]}
    assert answer["candidates"][0]["finishReason"] == "STOP"
    assert answer["usageMetadata"] == {
        "promptTokenCount": 4,
        "candidatesTokenCount": 2,
        "totalTokenCount": 6,
        "trafficType": "ON_DEMAND",
    }
    assert answer["modelVersion"] == "gemini-2.5-flash"


def test_other_models(fake: FakeVertex) -> None:
    """Claude, open models and embeddings are answered in their own formats."""
    message = {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    }
    _, (found,) = run(fake, [{"custom_id": "a", "request": message}], CLAUDE)
    assert (found["custom_id"], found["status"]) == ("a", "")
    assert found["response"]["content"] == [{"type": "text", "text": "hi"}]
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    _, (found,) = run(fake, [{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}], LLAMA)
    assert (found["custom_id"], found["response"]["status_code"]) == ("a", 200)
    assert found["response"]["body"]["choices"][0]["message"]["content"] == "hi"
    _, (found,) = run(fake, [{"key": "k", "request": {"content": {"parts": [{"text": "one two"}]}}}], EMBEDDING)
    assert (found["key"], found["response"]["tokenCount"]) == ("k", "2")
    assert len(found["response"]["embedding"]["values"]) > 1


def test_the_genai_client_too(fake: FakeVertex) -> None:
    """Google's other client creates, polls, lists and cancels on the same fake."""
    from google import genai
    from google.genai import types

    options = types.HttpOptions(base_url=fake.vertex_url, api_version="v1")
    client = genai.Client(
        vertexai=True,
        project=fake.project,
        location=fake.region,
        credentials=fake.credentials(),
        http_options=options,
    )
    source = ask(fake, [line()])["inputConfig"]["gcsSource"]["uris"][0]
    config = types.CreateBatchJobConfig(dest=f"gs://{fake.bucket}/genai")
    made = client.batches.create(model="gemini-2.5-flash", src=source, config=config)
    ended(fake, made.name)
    job = client.batches.get(name=made.name)
    assert job.state is types.JobState.JOB_STATE_SUCCEEDED
    assert next(iter(client.batches.list(config={"page_size": 1}))).name == made.name
    fake.faults.hold_after_rows = 0
    made = client.batches.create(model="gemini-2.5-flash", src=source, config=config)
    client.batches.cancel(name=made.name)
    assert ended(fake, made.name).state is JobState.JOB_STATE_CANCELLED


def test_cancelling(fake: FakeVertex) -> None:
    """A cancelled job keeps what it has answered and tells no counts; cancelled again it is a failed precondition."""
    fake.faults.hold_after_rows = 2
    name = create(fake, ask(fake, [line(number) for number in range(5)])).name
    ended(fake, name, lambda job: job.state is JobState.JOB_STATE_RUNNING)
    time.sleep(0.1)
    jobs(fake).cancel_batch_prediction_job(name=name)
    job = ended(fake, name)
    assert job.state is JobState.JOB_STATE_CANCELLED
    assert len(output(fake, job)) == 2
    assert "completionStats" not in fake.batches[-1]
    with pytest.raises(exceptions.BadRequest):
        jobs(fake).cancel_batch_prediction_job(name=name)


# ---- create and list are as strict as the service ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ({"model": "publishers/google/models/palm-2"}, exceptions.NotFound, "palm-2"),
        ({"model": "gemini-2.5-flash"}, exceptions.NotFound, "Model"),
        ({"model": "publishers/acme/models/x"}, exceptions.NotFound, "acme"),
        ({"displayName": ""}, exceptions.BadRequest, "display name"),
        ({"displayName": "x" * 129}, exceptions.BadRequest, "128"),
        ({"labels": {"Team": "a"}}, exceptions.BadRequest, "labels"),
        ({"labels": {"team": "A"}}, exceptions.BadRequest, "labels"),
        ({"labels": {"team": "a" * 64}}, exceptions.BadRequest, "labels"),
        (
            {"inputConfig": {"instancesFormat": "csv", "gcsSource": {"uris": ["gs://bucket/x"]}}},
            exceptions.BadRequest,
            "jsonl",
        ),
        (
            {"inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://buck/x", "gs://buck/y"]}}},
            exceptions.BadRequest,
            "one JSON Lines file",
        ),
        (
            {"outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "s3://b/x"}}},
            exceptions.BadRequest,
            "Cloud Storage",
        ),
    ],
)
def test_refused_creates(fake: FakeVertex, change: dict[str, Any], kind: type[Exception], told: str) -> None:
    """What the service refuses at once is refused by name; no job is made."""
    before = len(fake.batches)
    request = ask(fake, [line()])
    with pytest.raises(kind, match=told):
        create(fake, {**request, **change})
    assert len(fake.batches) == before


def test_fields_that_nobody_knows(fake: FakeVertex) -> None:
    """Raw JSON with a field that is none, or no JSON, is an invalid argument."""
    url = f"{fake.vertex_url}/v1/{parent(fake)}/batchPredictionJobs"
    headers = {"authorization": f"Bearer {fake.token}"}
    for data in (json.dumps({**ask(fake, [line()]), "priority": 1}), "{"):
        answer = requests.post(url, data=data, headers=headers, timeout=10)
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_listing(fake: FakeVertex) -> None:
    """Newest first, in pages; filters are those of the service, others an invalid argument."""
    made = [create(fake, ask(fake, [line()], labels={"k": f"v{number}", "all": "x"})) for number in range(3)]
    for job in made:
        ended(fake, job.name)
    client = jobs(fake)

    def listed(condition: str = "", **more: Any) -> list[str]:
        request = {"parent": parent(fake), "filter": condition, **more}
        return [job.name for job in client.list_batch_prediction_jobs(request=request)]

    names = [job.name for job in made]
    assert listed(page_size=2)[:3] == names[::-1]
    assert len(fake.calls("list")) >= 2
    assert listed('labels.k="v1"') == [names[1]]
    assert listed('labels.all="x" AND state="JOB_STATE_SUCCEEDED"') == names[::-1]
    assert listed(f'display_name="{made[2].display_name}"') == [names[2]]
    stamp = made[1].create_time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert names[0] not in listed(f'create_time>="{stamp}"')
    assert {*names[1:]} <= {*listed(f'create_time>="{stamp}"')}
    assert listed('create_time<"2000-01-01T00:00:00Z"') == []
    for wrong in ("labels.k>1", 'name="x"', 'create_time>="yesterday"', 'labels.k!="v1"'):
        with pytest.raises(exceptions.BadRequest):
            listed(wrong)


def test_unknown_jobs(fake: FakeVertex) -> None:
    """A number nobody has, another project and another region are not found; project id and number are one."""
    client = jobs(fake)
    for name in (
        f"{parent(fake)}/batchPredictionJobs/1",
        "projects/other/locations/us-central1/batchPredictionJobs/1",
        f"projects/{fake.project}/locations/europe-west4/batchPredictionJobs/1",
    ):
        with pytest.raises(exceptions.NotFound):
            client.get_batch_prediction_job(name=name)
        with pytest.raises(exceptions.NotFound):
            client.cancel_batch_prediction_job(name=name)
    name = create(fake, ask(fake, [line()])).name
    number = name.rpartition("/")[2]
    assert client.get_batch_prediction_job(name=f"{parent(fake)}/batchPredictionJobs/{number}").name == name


# ---- tokens, rights, files -----------------------------------------------------------------------------------------


def test_tokens(fake: FakeVertex) -> None:
    """No token and a wrong one are refused by both services."""
    for headers in ({}, {"authorization": "Bearer wrong"}):
        for path in (f"/v1/{parent(fake)}/batchPredictionJobs", f"/storage/v1/b/{fake.bucket}"):
            answer = requests.get(fake.vertex_url + path, headers=headers, timeout=10)
            assert (answer.status_code, answer.json()["error"]["status"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("right", "call"),
    [
        ("aiplatform.batchPredictionJobs.create", lambda fake: create(fake, ask(fake, [line()]))),
        (
            "aiplatform.batchPredictionJobs.list",
            lambda fake: jobs(fake).list_batch_prediction_jobs(parent=parent(fake)),
        ),
        (
            "aiplatform.batchPredictionJobs.get",
            lambda fake: jobs(fake).get_batch_prediction_job(name=f"{parent(fake)}/batchPredictionJobs/1"),
        ),
        (
            "aiplatform.batchPredictionJobs.cancel",
            lambda fake: jobs(fake).cancel_batch_prediction_job(name=f"{parent(fake)}/batchPredictionJobs/1"),
        ),
        ("storage.objects.create", lambda fake: bucket(fake).blob("x").upload_from_string(b"x", retry=None)),
        ("storage.objects.get", lambda fake: bucket(fake).blob("x").download_as_bytes(retry=None)),
        ("storage.objects.get", lambda fake: bucket(fake).blob("x").reload(retry=None)),
        ("storage.objects.list", lambda fake: list(bucket(fake).list_blobs(retry=None))),
        ("storage.objects.delete", lambda fake: bucket(fake).blob("x").delete(retry=None)),
        ("storage.buckets.get", lambda fake: bucket(fake).reload(retry=None)),
    ],
)
def test_rights(fake: FakeVertex, right: str, call: Callable[[FakeVertex], Any]) -> None:
    """What the caller may not do is forbidden, by the right's name."""
    fake.deny = frozenset({right})
    with pytest.raises(exceptions.Forbidden, match=right):
        call(fake)


def test_files(fake: FakeVertex) -> None:
    """Uploads in parts, ranges, names with colons and slashes, and the bucket's place, for the real client."""
    place = bucket(fake)
    data = bytes(range(256)) * 4096
    blob = place.blob("a folder/x:y é.jsonl", chunk_size=256 * 1024)
    with blob.open("wb") as stream:
        stream.write(data)
    assert len(fake.calls("part")) >= 4
    again = place.blob("a folder/x:y é.jsonl")
    assert again.download_as_bytes(start=10, end=19) == data[10:20]
    with again.open("rb") as stream:
        assert stream.read() == data
    assert [found.name for found in place.list_blobs(prefix="a folder/")] == ["a folder/x:y é.jsonl"]
    place.reload()
    assert place.location == fake.location
    again.delete()
    with pytest.raises(exceptions.NotFound):
        again.download_as_bytes(retry=None)


@pytest.mark.parametrize("fault", ["cut_before_accept", "cut_after_accept", "accepted_status", "create_status"])
def test_creates_without_an_answer(fake: FakeVertex, fault: str) -> None:
    """A create can be cut or refused before or after its job exists."""
    request = ask(fake, [line()])
    before = len(fake.batches)
    setattr(fake.faults, fault, [503] if fault.endswith("status") else 1)
    with pytest.raises((requests.ConnectionError, exceptions.ServiceUnavailable)):
        create(fake, request)
    assert len(fake.batches) - before == (fault in {"cut_after_accept", "accepted_status"})
    assert len(fake.creates) == 1


def test_a_fake_leaves_nothing() -> None:
    """After its block nobody listens and no thread is left."""
    import threading

    before = set(threading.enumerate())
    with FakeVertex() as fake:
        run(fake, [line()])
    assert {thread for thread in threading.enumerate() if thread not in before and not thread.daemon} == set()
    with pytest.raises(requests.ConnectionError):
        requests.get(fake.vertex_url, timeout=5)
