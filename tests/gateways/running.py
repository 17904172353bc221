"""Whole runs through the gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.testing.processes import until as _until
from tests.gateways.harness import Call
from tests.patience import PATIENCE
from tests.run import benching

NON_ASCII = "Müller 東京 \U0001f600 שלום"


class Bench(benching.Bench):
    """A run of a hook's backend, over the bench of the other runs' tests."""

    def __init__(self, folder: Path, backend: Backend) -> None:
        folder.mkdir(exist_ok=True)
        self.clock = benching.Clock()
        self.input = folder / "in.jsonl"
        self.path = folder / "run"
        self.backend = backend
        self.directory_class = RunDirectory

    def finish(self, lines: list[dict[str, Any]], **options: Any) -> Any:
        """Write the input, begin, and advance until done."""
        self.write(lines)
        run = self.run(**options)
        run.begin(first_try=True)
        return self.go_on(run, 60.0)


def row(number: int, model: str = "gpt-4.1-mini", padding: int = 0, **body: Any) -> dict[str, Any]:
    """A chat row whose text is its own and not ASCII, and longer by so many characters."""
    message = {"role": "user", "content": f"say {number} {NON_ASCII}{' x' * (padding // 2)}"}
    return {
        "custom_id": f"row-{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": model, "messages": [message], **body},
    }


def answers(bench: benching.Bench) -> dict[str, str]:
    """The text of each answered row."""
    bodies = {name: (one["response"] or {}).get("body", {}) for name, one in bench.results().items()}
    return {name: body["choices"][0]["message"]["content"] for name, body in bodies.items() if "choices" in body}


def finish_reasons(bench: benching.Bench) -> set[str]:
    """Every reason why an answer ends."""
    return {one["response"]["body"]["choices"][0]["finish_reason"] for one in bench.results().values()}


def sent(lines: list[dict[str, Any]]) -> dict[str, str]:
    """What the echo engine answers to the rows."""
    return {line["custom_id"]: line["body"]["messages"][-1]["content"] for line in lines}


def jsonl(lines: list[dict[str, Any]]) -> bytes:
    """The rows as a file."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def until(probe: Callable[[], Any]) -> Any:
    """The first truthy answer, within half a minute."""
    return _until(probe, PATIENCE, "the provider", 0.05)


def is_create(call: Call) -> bool:
    """Whether the gateway asks for a job, whatever the provider calls it."""
    path = call.path.rstrip("/").rsplit("/", 1)[-1]
    return call.method == "POST" and path in {"batches", "model-invocation-job", "batchPredictionJobs"}
