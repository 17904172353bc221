"""What the tests of the embedded server share: servers in a thread and in a process, and request lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai

from airflow_batch_provider.local.app import create_app
from airflow_batch_provider.local.engines.base import Engine
from airflow_batch_provider.local.engines.echo import EchoEngine
from airflow_batch_provider.local.policy import Policy
from airflow_batch_provider.local.server import LocalServer
from airflow_batch_provider.local.store import Store
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
CHAT = "/v1/chat/completions"
_SERVE = """
import argparse, sys
from airflow_batch_provider.local.cli import add_arguments, run
parser = argparse.ArgumentParser()
add_arguments(parser)
sys.exit(run(parser.parse_args()))
"""


def client_of(base_url: str, token: str | None = None) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, api_key=token or "none", max_retries=0)


@contextmanager
def served(data_dir: Path, engine: Engine | None = None, **rules: Any) -> Iterator[openai.OpenAI]:
    """A server in a thread, and a client of it."""
    policy = Policy(**{"backoff": 0.01, "grace": 2.0, **rules})
    with (
        LocalServer(create_app(Store(data_dir), engine or EchoEngine(), policy)) as server,
        client_of(server.base_url, policy.token) as client,
    ):
        yield client


class Process:
    """``airflow-batch serve`` as a process of its own."""

    def __init__(self, data_dir: Path, *options: str, env: dict[str, str] | None = None) -> None:
        given = "--token" in options or "AIRFLOW_BATCH_TOKEN" in (env or {}) or "--own-token" in options
        options = tuple(one for one in options if one != "--own-token") if given else (*options, "--no-token")
        command = [sys.executable, "-c", _SERVE, "--port", "0", "--data-dir", str(data_dir), *options]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
        )
        assert self._process.stdout is not None
        self.line = self._process.stdout.readline()
        self.base_url = self.line.removeprefix("listening on ").strip()
        self.pid = self._process.pid

    def end(self, how: signal.Signals) -> tuple[int, str]:
        """Send a signal, wait; the exit code and what was written to stderr."""
        self._process.send_signal(how)
        _, errors = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, errors

    def rest(self) -> tuple[int, str]:
        """Wait for an end that comes by itself."""
        _, errors = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, errors

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def request(custom_id: str, text: str = "hello", *, model: str = "echo", **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": CHAT,
        "body": {"model": model, "messages": messages, **body},
    }


def requests(count: int) -> list[dict[str, Any]]:
    return [request(f"row-{number}", f"text number {number}") for number in range(count)]


def jsonl(lines: list[Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def submit(client: openai.OpenAI, content: bytes, endpoint: Any = CHAT, **options: Any) -> Any:
    file = client.files.create(file=("requests.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **options)


def wait(client: openai.OpenAI, batch_id: str, *until: str, seconds: float = PATIENCE) -> Any:
    """Poll until the batch has one of these statuses, else any terminal one."""
    wanted = until or ("completed", "failed", "expired", "cancelled")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        batch = client.batches.retrieve(batch_id)
        if batch.status in wanted:
            return batch
        time.sleep(0.02)
    raise AssertionError(f"still {batch.status} after {seconds} s")


def lines_of(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    """The lines of a file; none when there is no file."""
    if not file_id:
        return []
    return [json.loads(line) for line in client.files.content(file_id).content.split(b"\n") if line]
