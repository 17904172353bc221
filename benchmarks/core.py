"""CPU time of checking, planning, writing, reconciling and loading, beside a bare JSON loop over the same lines.

``python benchmarks/core.py [--rows 100000]`` prints ratios measured in one process, the best of three turns each: CPU
time, because other work on the machine must not count. A first pass over a few lines does all imports, which are no
row's.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import orjson

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.outputs import read_outputs
from airflow_batch_provider.backends.wire.route import Route, WireFacts
from airflow_batch_provider.connections.openai import PROVIDER
from airflow_batch_provider.core.planning import plan_shards
from airflow_batch_provider.core.records import Job, JobStatus, ModelRules, Shard
from airflow_batch_provider.core.validation import Rules
from airflow_batch_provider.run import collect, staging
from airflow_batch_provider.run.results import helps_next_try, write_results
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.transfers.columns import Extras
from airflow_batch_provider.transfers.rows import EndedRun
from airflow_batch_provider.transfers.tables import copy_line

TURNS = 3
CHUNK = 65_536
T = TypeVar("T")


class Answers(OpenAIBackend):
    """A backend whose jobs have answered every row, in the opposite order."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Route("http://127.0.0.1:9"), WireFacts("openai_batch", PROVIDER))
        self._folder = folder

    def outputs(self, job: Job) -> Iterator[bytes]:
        with (self._folder / f"{job.id}.jsonl").open("rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds_of(work: Callable[[], T]) -> tuple[float, T]:
    started = time.process_time()
    made = work()
    return time.process_time() - started, made


class Table:
    """The figures, one line a stage.

    :param bare: what each is compared with; it runs before each turn, so that both have the same machine.
    """

    def __init__(self, rows: int, bare: Callable[[], object] | None, *, silent: bool) -> None:
        self._rows = rows
        self._bare = bare
        self._silent = silent

    def timed(self, label: str, work: Callable[[], T]) -> T:
        """Do the work three times and print the best."""
        before, seconds, floor = memory(), [], []
        for _ in range(TURNS):
            if self._bare:
                floor.append(seconds_of(self._bare)[0])
            spent, made = seconds_of(work)
            seconds.append(spent)
        best = min(seconds)
        ratio = f"{min(floor) / best:6.2f} of the bare loop" if floor else ""
        if not self._silent:
            print(f"{label:34}{self._rows / best:>12,.0f} rows/s   {ratio:24}   memory +{memory() - before:.1f} MiB")
        return made


def write_requests(path: Path, rows: int) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "word " * 140}], "max_tokens": 100}
    with path.open("w") as out:
        for number in range(rows):
            one = {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
            out.write(json.dumps(one) + "\n")


def write_answers(folder: Path, shards: list[Shard]) -> None:
    """One output file for each shard."""
    answer = {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "word " * 40}}]}
    answer["usage"] = {"prompt_tokens": 10, "completion_tokens": 10}
    response = {"status_code": 200, "request_id": "r", "body": answer}
    row = 0
    for shard in shards:
        with (folder / f"{shard.name}.jsonl").open("wb") as out:
            for number in reversed(range(row, row + shard.rows)):
                one = {"id": "b", "custom_id": f"row-{number}", "response": response, "error": None}
                out.write(orjson.dumps(one) + b"\n")
        row += shard.rows


def measure(folder: Path, rows: int, *, silent: bool) -> None:
    """The whole way of so many rows."""
    path = folder / "in.jsonl"
    write_requests(path, rows)

    def bare() -> None:
        with path.open("rb") as stream:
            for line in stream:
                orjson.dumps(orjson.loads(line))

    Table(rows, None, silent=silent).timed("bare orjson.loads + dumps", bare)
    table = Table(rows, bare, silent=silent)
    backend, directory = Answers(folder), RunDirectory(str(folder / "run"))
    source = staging.file_source(str(path))
    rules = Rules(ModelRules(), backend.limits)
    report = table.timed("check and fingerprint", lambda: staging.inspect("in", source, rules, backend))

    def stage() -> list[Shard]:
        planned = plan_shards("in", report.groups, backend.limits, 0)
        return staging.stage(directory, "in", source, rules, backend, report, planned)

    shards = table.timed("plan and write shards", stage)
    write_answers(folder, shards)

    def reconcile() -> None:
        for shard in shards:
            collect.collect(directory, backend, shard, Job(shard.name, JobStatus.COMPLETED), 0)

    table.timed("decode and reconcile", reconcile)
    table.timed("write results", lambda: write_results(directory, [shards], 1, lambda *_: 1, helps_next_try))
    run = EndedRun(directory, "key", rows, None, "openai_batch", {})

    def load() -> int:
        return sum(len(copy_line(row)) for row in run.rows(Extras(), lambda _: None))

    table.timed("load rows to COPY text", load)


def measure_downloads(size: int) -> None:
    """One line as large as many together must not cost more than they do."""
    table = Table(size // CHUNK, None, silent=False)
    line = b'{"id": "b", "custom_id": "row-1", "text": "' + b"word " * 80 + b'"}\n'
    small = line * (size // len(line))
    large = b'"' + small.translate(None, b'"\\\n') + b'"'

    def drain(chunks: list[bytes]) -> int:
        return sum(map(len, read_outputs(Job("j", JobStatus.COMPLETED, outputs=("o",)), lambda _: iter(chunks), None)))

    for label, data in (("chunks of short lines", small), ("chunks of one line", large)):
        chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
        table.timed(label, lambda chunks=chunks: drain(chunks))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as warm, tempfile.TemporaryDirectory() as folder:
        measure(Path(warm), 100, silent=True)
        print(f"memory of the imports {memory():,.0f} MiB")
        measure(Path(folder), rows, silent=False)
        print(f"peak memory {memory():,.0f} MiB")
        measure_downloads(32 << 20)


if __name__ == "__main__":
    main()
