"""From a job's output lines to one outcome per row, and from all jobs to the run's results.

``collected/<shard>.jsonl`` holds one line for every row of the shard, in the order of ``input/<shard>.jsonl``, so the
two are read side by side ever after. Writing it again gives the same file.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import BinaryIO, cast

import orjson

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.jsonl import read_lines, split_chunks
from airflow_batch_provider.core.reconciling import Books, absence, check_equation
from airflow_batch_provider.core.records import JSON, OUTCOMES, BatchResult, Job, Outcome, RunSummary, Shard, Usage
from airflow_batch_provider.dialects.openai import OpenAIFormat, error_line
from airflow_batch_provider.ledger import End, Round
from airflow_batch_provider.storage import RunDirectory

NEXT_TRY_CODES = frozenset({"batch_failed", "batch_cancelled"})
"""Rows of a job that failed whole or was cancelled: nothing was answered, so a new try asks them again."""


def collect(directory: RunDirectory, backend: Backend, shard: Shard, job: Job, now: float) -> End:
    """Fetch, decode and reconcile one job that has ended.

    :return: how it ended; ``collected/<shard>.jsonl`` is written.
    :raises ProviderError: when the outputs cannot be fetched whole.
    """
    with directory.open(f"input/{shard.name}.jsonl") as stream:
        books = Books([str(orjson.loads(raw)["custom_id"]) for _, raw in read_lines(stream)])
    decode = backend.line_format(shard.model, shard.endpoint).decode
    outcomes: Counter[Outcome] = Counter()
    usage = Usage()
    received = 0
    with tempfile.TemporaryFile(prefix="airflow-batch-") as spool:
        for line in split_chunks(backend.outputs(job)):
            received += 1
            result = decode(line)
            if books.enter(result, spool.tell()):
                spool.write(result.line + b"\n")
        missing = absence(job.status, job.errors, books.nameless, books.sample)
        with directory.writer(f"collected/{shard.name}.jsonl") as out:
            for line in _in_order(books, cast(BinaryIO, spool), missing):
                result = read_back(line)
                outcomes[result.outcome] += 1
                usage += result.usage
                out.write(line + b"\n")
    check_equation(shard.rows, outcomes)
    lines = {
        "received": received,
        "duplicates": books.duplicates,
        "foreign": books.foreign,
        "nameless": books.nameless,
    }
    return End(job.id, job.status.value, job.raw_status, now, dict(outcomes), usage, job.errors, lines)


def _in_order(books: Books, spool: BinaryIO, missing: tuple[str, str]) -> Iterator[bytes]:
    for custom_id, place in books.places():
        if place is None:
            yield error_line(custom_id, *missing)
        else:
            spool.seek(place)
            yield spool.readline().rstrip(b"\n")


_READER = OpenAIFormat(None, "")


def read_back(line: bytes) -> BatchResult:
    """A collected line as the result it is."""
    return _READER.decode(line)


def rows(directory: RunDirectory, shard: Shard) -> Iterator[tuple[bytes, BatchResult]]:
    """Every request of a collected shard with its result, in order."""
    with (
        directory.open(f"input/{shard.name}.jsonl") as requests,
        directory.open(f"collected/{shard.name}.jsonl") as results,
    ):
        for (_, raw), (_, line) in zip(read_lines(requests), read_lines(results), strict=True):
            yield raw, read_back(line)


def current(
    directory: RunDirectory, rounds: Sequence[Sequence[Shard]]
) -> Iterator[tuple[Shard, Iterator[tuple[bytes, BatchResult]]]]:
    """Every shard with those of its rows for which it has the last word; over all shards every row comes once.

    A row's last round speaks for it, because a row is only asked again when its earlier answer was none.
    """
    for number, shards in enumerate(rounds):
        later = _ids(directory, rounds[number + 1 :])
        for shard in shards:
            yield shard, (row for row in rows(directory, shard) if row[1].custom_id not in later)


def remainder(
    directory: RunDirectory, rounds: Sequence[Sequence[Shard]], wanted: Callable[[BatchResult], bool]
) -> Iterator[bytes]:
    """The requests whose last result is such that they should be asked again."""
    for _, last_words in current(directory, rounds):
        for raw, result in last_words:
            if wanted(result):
                yield raw


def helps_now(result: BatchResult) -> bool:
    """Whether the next round of the same try should ask the row again."""
    return result.retryable


def helps_next_try(result: BatchResult) -> bool:
    """Whether a new try should ask the row again."""
    return result.retryable or (result.outcome != "succeeded" and _error(result).get("code") in NEXT_TRY_CODES)


def _error(result: BatchResult) -> dict[str, object]:
    """Code and message of a row that did not succeed."""
    line = orjson.loads(result.line)
    error = line.get("error")
    if isinstance(error, dict):
        return error
    response = line.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    inner = body.get("error") if isinstance(body, dict) else None
    told = inner if isinstance(inner, dict) else {"code": None, "message": "no error was told"}
    status = response.get("status_code") if isinstance(response, dict) else None
    return {"code": told.get("code") or told.get("type"), "message": told.get("message"), "status_code": status}


@dataclass(slots=True)
class Totals:
    """What all rows of a run became, and the first reasons why some did not succeed."""

    rows: int = 0
    retryable: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def counts(self) -> dict[Outcome, int]:
        """Every outcome, also those that did not happen."""
        return {name: self.outcomes[name] for name in OUTCOMES}


def write_results(directory: RunDirectory, rounds: Sequence[Sequence[Shard]]) -> Totals:
    """Write ``results/`` and ``failed.jsonl`` from what was collected; every custom_id ends up in exactly one part."""
    totals = Totals(rows=sum(shard.rows for shard in rounds[0]))
    with directory.writer("failed.jsonl") as failed:
        for shard, last_words in current(directory, rounds):
            with directory.writer(f"results/part-{shard.name}.jsonl") as out:
                for raw, result in last_words:
                    totals.outcomes[result.outcome] += 1
                    out.write(result.line + b"\n")
                    if result.outcome != "succeeded":
                        totals.retryable += helps_next_try(result)
                        failed.write(_failed(raw, result, totals) + b"\n")
    check_equation(totals.rows, totals.outcomes)
    return totals


def _failed(raw: bytes, result: BatchResult, totals: Totals) -> bytes:
    error = {"outcome": result.outcome, **_error(result)}
    totals.reasons[f"{error.get('code') or error.get('status_code')}: {error.get('message')}"[:300]] += 1
    return orjson.dumps({**orjson.loads(raw), "error": error})


def _ids(directory: RunDirectory, rounds: Sequence[Sequence[Shard]]) -> set[str]:
    found: set[str] = set()
    for shards in rounds:
        for shard in shards:
            with directory.open(f"input/{shard.name}.jsonl") as stream:
                found.update(str(orjson.loads(raw)["custom_id"]) for _, raw in read_lines(stream))
    return found


def as_fact(end: End) -> dict[str, object]:
    """What the ledger keeps of an end."""
    return asdict(end)


def summarise(directory: RunDirectory, rounds: Sequence[Round], record: JSON, now: float) -> RunSummary:
    """Write results and failed requests, and say what became of the run.

    :param record: ``run.json``.
    """
    totals = write_results(directory, [a_round.shards for a_round in rounds])
    jobs: list[JSON] = []
    job_errors: list[str] = []
    usage = Usage()
    for a_round in rounds:
        for shard in a_round.shards:
            attempt = a_round.last(shard)
            if attempt is None or (end := attempt.end) is None:
                continue
            usage += end.usage
            job_errors += [f"{end.job_id}: {error}" for error in end.errors]
            jobs.append(
                {
                    "id": end.job_id,
                    "shard": shard.name,
                    "model": shard.model,
                    "status": end.status,
                    "rows": shard.rows,
                    "succeeded": end.outcomes.get("succeeded", 0),
                    "console_url": attempt.facts["job"].get("console_url"),
                }
            )
    return RunSummary(
        run_key=record["run_key"],
        run_path=directory.uri,
        total=totals.rows,
        outcomes=totals.counts(),
        retryable=totals.retryable,
        rounds=len(rounds),
        usage=usage,
        cost_usd=None,
        reasons=dict(totals.reasons.most_common(20)),
        jobs=tuple(jobs),
        job_errors=tuple(job_errors[:100]),
        begun_at=record["begun_at"],
        ended_at=now,
    )
