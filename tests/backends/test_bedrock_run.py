"""Whole runs on Bedrock: the shards, rounds and crashes that its rules make special."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.testing import FakeProvider
from airflow_batch_provider.testing.bedrock import BedrockFaults, FakeBedrock
from tests.backends.test_bedrock import CLAUDE, LLAMA, backend_of
from tests.facts import wire_facts
from tests.run import benching


@pytest.fixture
def fake() -> Iterator[FakeBedrock]:
    with FakeBedrock() as running:
        yield running


class Bench(benching.Bench):
    """A run on Bedrock."""

    def __init__(self, folder: Path, backend: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.clock = benching.Clock()
        self.input = folder / "in.jsonl"
        self.path = folder / "run"
        self.backend = backend
        self.directory_class = RunDirectory

    def finish(self, lines: list[dict[str, Any]], **options: Any) -> Any:
        self.write(lines)
        run = self.run(**options)
        run.begin(first_try=True)
        return self.go_on(run, 60.0)


def rows(count: int, model: str = LLAMA) -> list[dict[str, Any]]:
    """Rows with ids that no provider would take, and a system message."""
    return [
        {
            "custom_id": f"row {number}: grüß \u2028 {'9' * 180}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": model,
                "max_tokens": 50,
                "messages": [
                    {"role": "system", "content": "Say it again."},
                    {"role": "user", "content": f"número {number} \u2028 \U0001f600"},
                ],
            },
        }
        for number in range(count)
    ]


def told(bench: Bench) -> dict[str, Any]:
    """What matters of each result."""
    found = {}
    for name, line in bench.results().items():
        body = line["response"]["body"]
        choice = body["choices"][0]
        found[name] = (line["response"]["status_code"], choice["message"]["content"], choice["finish_reason"])
        found[name] += tuple(body["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    return found


@pytest.mark.parametrize("model", [LLAMA, CLAUDE, "openai.gpt-oss-20b-1:0"])
def test_bedrock_answers_as_openai_does(fake: FakeBedrock, tmp_path: Path, model: str) -> None:
    """150 rows: id, status, content, finish reason and usage equal the OpenAI route's."""
    from airflow_batch_provider.backends.wire.openai import OpenAIBackend
    from airflow_batch_provider.backends.wire.route import Route

    lines = rows(150, model)
    ours = Bench(tmp_path / "bedrock", backend_of(fake))
    assert ours.finish(lines).outcomes["succeeded"] == 150
    with FakeProvider() as openai:
        route = Route(openai.base_url, (("Authorization", f"Bearer {openai.api_key}"),))
        theirs = Bench(tmp_path / "openai", OpenAIBackend(route, wire_facts()))
        assert theirs.finish(lines).outcomes["succeeded"] == 150
        assert told(ours) == told(theirs)
        theirs.backend.close()
    assert len(fake.creates) == 1
    ours.backend.close()


def test_shards_keep_the_minimum(fake: FakeBedrock, tmp_path: Path) -> None:
    """Shards are balanced above 100 rows, and a lost answer to one create makes no second job."""
    fake.faults.cut_after_accept = 1
    bench = Bench(tmp_path / "a", backend_of(fake, max_rows=150))
    done = bench.finish(rows(310))
    assert done.outcomes["succeeded"] == 310
    assert len(fake.batches) == len(fake.creates) == 3
    assert min(job["totalRecordCount"] for job in fake.batches) >= 100
    names = [job["jobName"] for job in fake.batches]
    assert len(set(names)) == 3


def test_a_completed_job_without_a_success(tmp_path: Path) -> None:
    """A job that completed with every record failed is told as such, and no record is asked again."""
    with FakeBedrock(BedrockFaults(fail_rows={"*": 400}, error_in_output=True)) as fake:
        bench = Bench(tmp_path / "a", backend_of(fake))
        done = bench.finish(rows(100))
        assert (done.outcomes["failed"], done.outcomes["succeeded"], done.retryable) == (100, 0, 0)
        assert len(fake.batches) == 1
        line = json.loads((tmp_path / "a" / "run" / "failed.jsonl").read_bytes().split(b"\n")[0])
        assert line["custom_id"].startswith("row ")
