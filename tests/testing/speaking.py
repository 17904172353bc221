"""What the tests of the fakes share: clients, request lines, waiting."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import openai

from airflow_batch_provider.testing import FakeProvider
from tests.patience import PATIENCE

CHAT = "/v1/chat/completions"


def client_of(fake: FakeProvider, **headers: str) -> openai.OpenAI:
    merged = {**fake.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return openai.OpenAI(base_url=fake.base_url, api_key=fake.api_key, default_headers=merged, max_retries=0)


def rows(count: int, *, url: str = CHAT, model: str = "m") -> bytes:
    lines = [
        {
            "custom_id": f"row-{number}",
            "method": "POST",
            "url": url,
            "body": {"model": model, "messages": [{"role": "user", "content": f"text {number}"}]},
        }
        for number in range(count)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def submit(client: openai.OpenAI, content: bytes | int = 3, *, endpoint: Any = CHAT, **options: Any) -> Any:
    data = rows(content) if isinstance(content, int) else content
    file = client.files.create(file=("requests.jsonl", data), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **options)


def wait(client: openai.OpenAI, batch_id: str, *until: str) -> Any:
    wanted = until or ("completed", "failed", "expired", "cancelled")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        batch = client.batches.retrieve(batch_id)
        if str(batch.status) in wanted:
            return batch
        time.sleep(0.01)
    raise AssertionError(f"still {batch.status}")


def run(client: openai.OpenAI, content: bytes | int = 3, **options: Any) -> Any:
    return wait(client, submit(client, content, **options).id)


def lines_of(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw_of(client, file_id).split(b"\n") if line]


def raw_of(client: openai.OpenAI, file_id: str | None) -> bytes:
    return client.files.content(file_id).content if file_id else b""


def output(client: openai.OpenAI, batch_id: str) -> Any:
    """``GET /batches/{id}/output`` of the gateways; the id as it goes into the path."""
    headers = {name: value for name, value in client.default_headers.items() if isinstance(value, str)}
    headers["authorization"] = f"Bearer {client.api_key}"
    return httpx.get(f"{client.base_url}batches/{batch_id}/output", headers=headers, trust_env=False)
