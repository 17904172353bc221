"""What a budget adds to the work of a run of many jobs.

``python benchmarks/budget.py [--jobs 1000]`` prints CPU seconds of creating so many jobs with and without
``max_cost_usd``, and their ratio, measured in one process and one run.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route, WireFacts
from airflow_batch_provider.connections.openai import PROVIDER
from airflow_batch_provider.core.records import JSON, Found, Job, JobStatus, ModelRules, RunOptions, Shard
from airflow_batch_provider.run.run import BatchRun
from airflow_batch_provider.run.storage import RunDirectory


class Accepts(OpenAIBackend):
    """A provider that accepts every job at once, without a wire."""

    def __init__(self) -> None:
        super().__init__(
            Route("http://127.0.0.1:9"),
            WireFacts("openai_batch", PROVIDER),
            models=ModelRules(prices={"*": {"input": 1.0, "output": 1.0}}),
        )
        self.made = 0

    def check_route(self, models: Sequence[str | None], endpoints: Sequence[str], options: Any) -> None:
        """Takes all."""

    def upload(self, shard: Shard, token: str, stream: Any, options: Any) -> str:
        """No bytes are sent."""
        return "file"

    def create(self, request: JSON) -> Job:
        """Accepted."""
        self.made += 1
        return Job(f"job-{self.made}", JobStatus.IN_PROGRESS)

    def find(self, *_: Any) -> Found:
        """Nothing else runs."""
        return Found((), complete=True)


def seconds(jobs: int, folder: Path, budget: float | None) -> float:
    path = folder / "in.jsonl"
    with path.open("w") as out:
        for number in range(jobs):
            body = {"model": f"m{number}", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
            line = {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body}
            out.write(json.dumps(line) + "\n")
    run = BatchRun(
        RunDirectory(str(folder / f"run-{budget}")),
        Accepts(),
        RunOptions(max_cost_usd=budget),
        run_key="a/b/c/-1",
        input_path=str(path),
    )
    run.begin(first_try=True)
    started = time.process_time()
    run.advance()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1_000)
    jobs = parser.parse_args().jobs
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        without = seconds(jobs, Path(folder), None)
        limited = seconds(jobs, Path(folder), 1e6)
    print(f"{jobs} jobs: {without:.2f} s without a budget, {limited:.2f} s with one, {limited / without:.2f} times")


if __name__ == "__main__":
    main()
