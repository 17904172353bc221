"""Rows per second of checking, planning, writing and reconciling, beside a bare JSON loop over the same lines.

``python benchmarks/core.py [--rows 100000]`` prints ratios measured in one process and one run.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import orjson

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.outputs import read_outputs
from airflow_batch_provider.backends.wire.route import Route, WireFacts
from airflow_batch_provider.connections.openai import PROVIDER
from airflow_batch_provider.core.planning import plan_shards
from airflow_batch_provider.core.records import Job, JobStatus, ModelRules, Shard
from airflow_batch_provider.core.validation import Rules
from airflow_batch_provider.run import collect, staging
from airflow_batch_provider.run.results import helps_next_try
from airflow_batch_provider.run.results import write_results as write
from airflow_batch_provider.run.storage import RunDirectory


class Answers(OpenAIBackend):
    """A backend whose only job has answered every row."""

    def __init__(self, lines: list[bytes]) -> None:
        super().__init__(Route("http://127.0.0.1:9"), WireFacts("openai_batch", PROVIDER))
        self._lines = lines

    def outputs(self, job: Job):
        yield from self._lines


def timed(label: str, rows: int, bare: float | None, work):
    started = time.perf_counter()
    made = work()
    seconds = time.perf_counter() - started
    ratio = "" if bare is None else f"   {bare / seconds:6.2f} of the bare loop"
    print(f"{label:34}{rows / seconds:>12,.0f} rows/s{ratio}")
    return made, seconds


def drain(chunks: list[bytes]) -> None:
    job = Job("j", JobStatus.COMPLETED, outputs=("o",))
    for _ in read_outputs(job, lambda _: iter(chunks), None):
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.jsonl"
        body = {"model": "m", "messages": [{"role": "user", "content": "word " * 140}], "max_tokens": 100}
        with path.open("w") as out:
            for number in range(rows):
                one = {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
                out.write(json.dumps(one) + "\n")

        def bare() -> None:
            with path.open("rb") as stream:
                for line in stream:
                    orjson.dumps(orjson.loads(line))

        _, floor = timed("bare orjson.loads + dumps", rows, None, bare)
        answer = {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "word " * 40}}]}
        answer["usage"] = {"prompt_tokens": 10, "completion_tokens": 10}
        response = {"status_code": 200, "request_id": "r", "body": answer}
        lines = [
            orjson.dumps({"id": "b", "custom_id": f"row-{n}", "response": response, "error": None}) + b"\n"
            for n in reversed(range(rows))
        ]
        backend = Answers(lines)
        directory = RunDirectory(str(Path(folder) / "run"))
        source = staging.file_source(str(path))
        rules = Rules(ModelRules(), backend.limits)
        report, _ = timed("check and fingerprint", rows, floor, lambda: staging.inspect("in", source, rules, backend))

        def stage() -> list[Shard]:
            planned = plan_shards("in", report.groups, backend.limits, 0)
            return staging.stage(directory, "in", source, rules, backend, report, planned)

        shards, _ = timed("plan and write shards", rows, floor, stage)
        job = Job("j", JobStatus.COMPLETED)
        if len(shards) == 1:
            timed("decode and reconcile", rows, floor, lambda: collect.collect(directory, backend, shards[0], job, 0))
            timed("write results", rows, floor, lambda: write(directory, [shards], 1, lambda *_: 1, helps_next_try))
        # X28 of the attack: one line as large as many together must not cost more than they do.
        small = b"".join(lines)[: 32 << 20].rpartition(b"\n")[0]
        large = small.translate(None, b'"\\\n')
        for label, data in (("bytes in short lines", small), ("the same bytes in one line", b'"' + large + b'"')):
            chunks = [data[at : at + 65_536] for at in range(0, len(data), 65_536)]
            timed(label, len(chunks), None, lambda chunks=chunks: drain(chunks))
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
