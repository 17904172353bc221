"""Google's real clients, asking a fake Vertex AI."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from google.cloud import storage
from google.cloud.aiplatform_v1 import BatchPredictionJob, JobServiceClient
from google.protobuf.json_format import ParseDict

from airflow_batch_provider.testing.vertex import FakeVertex
from tests.patience import PATIENCE

GEMINI = "publishers/google/models/gemini-2.5-flash"
EMBEDDING = "publishers/google/models/gemini-embedding-001"
CLAUDE = "publishers/anthropic/models/claude-haiku-4-5@20251001"
LLAMA = "publishers/meta/models/llama-3.1-405b-instruct-maas"
ENDS = {"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED"}


def jobs(fake: FakeVertex, token: str | None = None) -> JobServiceClient:
    from google.oauth2.credentials import Credentials

    known = Credentials(token=token) if token else fake.credentials()
    return JobServiceClient(credentials=known, transport="rest", client_options={"api_endpoint": fake.vertex_url})


def bucket(fake: FakeVertex) -> Any:
    options = {"api_endpoint": fake.storage_url}
    return storage.Client(fake.project, credentials=fake.credentials(), client_options=options).bucket(fake.bucket)


def parent(fake: FakeVertex) -> str:
    return f"projects/{fake.project}/locations/{fake.region}"


_names = iter(range(10**6))


def ask(fake: FakeVertex, lines: list[Any] | bytes, model: str = GEMINI, **more: Any) -> dict[str, Any]:
    """A create call for uploaded lines."""
    name = f"job-{next(_names)}"
    data = lines if isinstance(lines, bytes) else b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    bucket(fake).blob(f"in/{name}.jsonl").upload_from_string(data)
    return {
        "displayName": name,
        "model": model,
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [f"gs://{fake.bucket}/in/{name}.jsonl"]}},
        "outputConfig": {
            "predictionsFormat": "jsonl",
            "gcsDestination": {"outputUriPrefix": f"gs://{fake.bucket}/out/{name}"},
        },
        **more,
    }


def create(fake: FakeVertex, request: dict[str, Any]) -> Any:
    message = BatchPredictionJob()
    ParseDict(request, message._pb)
    return jobs(fake).create_batch_prediction_job(parent=parent(fake), batch_prediction_job=message, retry=None)


def ended(fake: FakeVertex, name: str, enough: Callable[[Any], bool] | None = None) -> Any:
    client = jobs(fake)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        job = client.get_batch_prediction_job(name=name)
        if enough(job) if enough else job.state.name.removeprefix("JOB_STATE_") in ENDS:
            return job
        time.sleep(0.005)
    raise AssertionError(job)


def run(fake: FakeVertex, lines: list[Any] | bytes, model: str = GEMINI, **more: Any) -> tuple[Any, list[Any]]:
    """A job at its end, and its output lines."""
    job = ended(fake, create(fake, ask(fake, lines, model, **more)).name)
    return job, output(fake, job)


def output(fake: FakeVertex, job: Any) -> list[Any]:
    folder = job.output_info.gcs_output_directory
    if not folder:
        return []
    found = bucket(fake).list_blobs(prefix=folder.removeprefix(f"gs://{fake.bucket}/") + "/")
    return [json.loads(line) for blob in found for line in blob.download_as_bytes().split(b"\n") if line]


def line(number: int = 0, text: str = "hello", **more: Any) -> dict[str, Any]:
    request = {"contents": [{"role": "user", "parts": [{"text": f"{text} {number}"}]}]}
    return {"custom_id": f"r{number:010d}", "request": {**request, **more}}
