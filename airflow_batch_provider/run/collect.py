"""From a job's output lines to one outcome per row.

``collected/<shard>.jsonl`` holds one line for every row of the shard, in the order of ``input/<shard>.jsonl``, so the
two are read side by side ever after. Writing it again gives the same file.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import orjson

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.doubts import doubt_of
from airflow_batch_provider.core.errors import NotFoundError
from airflow_batch_provider.core.jsonl import read_lines, split_chunks
from airflow_batch_provider.core.reconciling import (
    JOB_LOST,
    OUTPUT_LOST,
    Books,
    absence,
    check_equation,
)
from airflow_batch_provider.core.records import (
    BatchResult,
    Job,
    JobError,
    OnUnusable,
    Outcome,
    Shard,
)
from airflow_batch_provider.dialects.base import LineFormat, Sent
from airflow_batch_provider.dialects.joining import Parts
from airflow_batch_provider.dialects.openai import error_line, read_line, renamed, without_unusable
from airflow_batch_provider.dialects.torn import decoded
from airflow_batch_provider.run import shard_files
from airflow_batch_provider.run.budget import Meter, prices_of
from airflow_batch_provider.run.facts import End
from airflow_batch_provider.run.reading import Logger
from airflow_batch_provider.run.staging import wire_name
from airflow_batch_provider.run.storage import RunDirectory

FREE_ENDPOINTS = frozenset({"/v1/moderations"})
"""They tell no tokens and cost nothing."""
_Kept: TypeAlias = "tuple[Outcome, bytes]"
"""What became of a row, and its line."""


class _Place(NamedTuple):
    """Where a row's line is kept.

    :param outcome: what became of the row, by that line.
    :param start: the line's first byte.
    :param size: its bytes.
    """

    outcome: Outcome
    start: int
    size: int


def collect(
    directory: RunDirectory,
    backend: Backend,
    shard: Shard,
    job: Job,
    now: float,
    *,
    own: bool = True,
    beside: bool = False,
    on_unusable: OnUnusable = "keep",
    believe: Callable[[str], bool] = lambda _: True,
) -> End | None:
    """Fetch, decode and reconcile one job that has ended.

    :param on_unusable: ``"invalid"`` for rows whose answer is empty, cut off, refused or filtered to end so.
    :param own: False for a job that another tool has made.
    :param beside: whether another job of the same rows is collected already, whose answers are kept.
    :param believe: called when the job's own counts contradict what was read, with what does; True to take it as it is.
    :return: how it ended; ``collected/<shard>.jsonl`` is written. None when it is to be looked at anew.
    :raises ProviderError: when the outputs cannot be fetched whole.
    """
    line_format = backend.line_format(shard.model, shard.endpoint)
    parts = _parts(directory, shard, line_format if own else None)
    books: Books[_Place] = Books(parts.ids)
    sent = Sent(parts.ids, lambda: _wire_lines(directory, shard), own)
    masked = _masked(backend, parts.ids)
    meter = Meter(prices_of(backend, shard.model))
    received = size = 0
    with tempfile.TemporaryFile(prefix="airflow-batch-") as spool:
        gone: list[str] = []
        for read in decoded(line_format, _lines(backend, job, gone), sent):
            received += 1
            result = _named(read, masked) if masked else read
            kept = result if parts.several or on_unusable == "keep" else without_unusable(result)
            if books.enter(result, _Place(kept.outcome, size, len(kept.line))):
                # Here and not below: the parts of a row that failed as a whole were answered, and paid, too.
                meter.add(result)
                spool.write(kept.line)
                size += len(kept.line)
        spool.flush()
        missing = absence(job.status, job.errors, books.nameless, books.sample)
        doubt = doubt_of(job, books, gone)
        if doubt is not None:
            if not believe(doubt.what):
                return None
            if doubt.is_lost:
                missing = OUTPUT_LOST, f"Job {job.id} may have answered this request, but {doubt.what}."
        found = _in_order(books, spool.fileno(), missing)
        if parts.several:
            found = _joined(parts, found, on_unusable)
        outcomes, lost = _write(directory, shard, found, lost=missing[0] == OUTPUT_LOST, beside=beside)
    errors = (*job.errors, JobError(missing[1], OUTPUT_LOST)) if lost else job.errors
    lines = {
        "received": received,
        "duplicates": books.duplicates,
        "foreign": books.foreign,
        "nameless": books.nameless,
    }
    end = End(job.id, job.status.value, job.raw_status, now, outcomes, meter.usage, errors, lines, lost=lost)
    if shard.endpoint in FREE_ENDPOINTS:
        return replace(end, cost_usd=0.0)
    return replace(
        end,
        unmetered=meter.unmetered + lost,
        unpriced=meter.unpriced,
        served=meter.served,
        cost_usd=None if lost else meter.cost_usd,
    )


def _write(
    directory: RunDirectory, shard: Shard, found: Iterable[_Kept], *, lost: bool, beside: bool
) -> tuple[dict[Outcome, int], int]:
    """Write ``collected/<shard>.jsonl``.

    :param found: what a job, or its absence, says of each row.
    :param lost: whether rows without a line may have been answered.
    :param beside: see :func:`collect`. What an earlier job answered stays, and what is lost is not to be sent again.
    :return: rows by outcome, and how many are lost.
    """
    outcomes: Counter[Outcome] = Counter()
    missing = 0
    known = shard_files.results(directory, shard) if beside else None
    with directory.writer(f"collected/{shard.name}.jsonl") as out:
        for row in found:
            best = row if known is None else _better(next(known), row, lost=lost)
            outcomes[best[0]] += 1
            missing += lost and best is row and row[0] == "missing"
            out.write(best[1] + b"\n")
    check_equation(shard.rows, outcomes)
    return dict(outcomes), missing


def _better(earlier: BatchResult, row: _Kept, *, lost: bool) -> _Kept:
    """What holds of a row; see :func:`_write`."""
    is_better = row[0] == "succeeded" or (lost and row[0] == "missing")
    return row if is_better and earlier.outcome != "succeeded" else (earlier.outcome, earlier.line)


def _lines(backend: Backend, job: Job, gone: list[str]) -> Iterator[bytes]:
    """The job's output lines; where a file is not there, those of its others.

    :param gone: what the provider says of a missing file is added.
    """
    try:
        yield from split_chunks(backend.outputs(job))
    except NotFoundError as error:
        gone.append(str(error))
    for handle in job.outputs if gone and len(job.outputs) > 1 else ():
        with contextlib.suppress(NotFoundError):
            yield from split_chunks(backend.outputs(replace(job, outputs=(handle,))))


def _masked(backend: Backend, ids: Sequence[str]) -> dict[str, str]:
    """The ids in which what the connection keeps secret stands, by what redaction leaves of them.

    A header may hold the very word that an author has in every id; two that redaction makes alike stay unknown.
    """
    together = "\n".join(ids).encode()
    if backend.redactor.data(together) == together:
        return {}  # nearly always, and looked for in all at once
    after = [backend.redactor.data(custom_id.encode()).decode() for custom_id in ids]
    often = Counter(after)
    return {text: one for text, one in zip(after, ids, strict=True) if text != one and often[text] == 1}


def _named(result: BatchResult, masked: dict[str, str]) -> BatchResult:
    """The same result by the id that was sent."""
    custom_id = masked.get(result.custom_id or "")
    return result if custom_id is None else renamed(result, custom_id)


def give_up(directory: RunDirectory, shard: Shard, code: str, reason: str, now: float, *, beside: bool = False) -> End:
    """End a shard of which no job was made.

    :param code: the code of its rows; see :mod:`airflow_batch_provider.core.reconciling`.
    :param beside: see :func:`collect`.
    :return: an end without a job; ``collected/<shard>.jsonl`` is written.
    """
    lines = (error_line(custom_id, code, reason) for custom_id, _ in shard_files.requests(directory, shard))
    outcomes, lost = _write(directory, shard, map(_kept, lines), lost=code == JOB_LOST, beside=beside)
    return End("", "never created", code, now, outcomes, Usage(), (JobError(reason, code),), cost_usd=0.0, lost=lost)


def lose(directory: RunDirectory, shard: Shard, job_id: str, reason: str, now: float, *, beside: bool = False) -> End:
    """End a shard whose job the provider does not know any more.

    :return: an end whose cost is not known; ``collected/<shard>.jsonl`` is written.
    """
    end = give_up(directory, shard, JOB_LOST, reason, now, beside=beside)
    return replace(end, job_id=job_id, status="lost", raw_status="lost", unmetered=end.lost, cost_usd=None)


def tell(log: Logger, job: Job, end: End) -> None:
    """Log how a job ended."""
    outcomes = ", ".join(f"{count} {name}" for name, count in end.outcomes.items())
    log.info("Job %s ended as %s: %s", job.id, job.raw_status or job.status.value, outcomes)
    for error in job.errors[:20]:
        log.error("Job %s: %s", job.id, error)
    if end.lines["foreign"] or end.lines["nameless"] or end.lines["duplicates"]:
        log.warning("Job %s returned duplicate, unknown or unlabelled lines: %s", job.id, end.lines)


def _in_order(books: Books[_Place], spool: int, missing: tuple[str, str]) -> Iterator[_Kept]:
    """The line of each row of the shard.

    :param spool: the file that holds them.
    """
    for custom_id, place in books.places():
        if place is None:
            yield _kept(error_line(custom_id, *missing))
        else:
            outcome, start, size = place
            yield outcome, os.pread(spool, size, start)


def _kept(line: bytes) -> _Kept:
    result = read_line(line)
    return result.outcome, result.line


def _joined(parts: Parts, found: Iterable[_Kept], on_unusable: OnUnusable) -> Iterator[_Kept]:
    """The same with one line for each row, of which some are several lines at the provider."""
    for line in parts.joined(line for _, line in found):
        result = read_line(line)
        if on_unusable == "invalid":
            result = without_unusable(result)
        yield result.outcome, result.line


def _parts(directory: RunDirectory, shard: Shard, line_format: LineFormat | None) -> Parts:
    """Rows and wire lines of a shard.

    :param line_format: what made its lines; None where each row is one.
    """

    several = line_format if line_format is not None and line_format.splits else None

    def rows() -> Iterator[tuple[str, int]]:
        for custom_id, raw in shard_files.requests(directory, shard):
            yield custom_id, 1 if several is None else len(several.split(orjson.loads(raw)["body"]))

    return Parts(rows())


def _wire_lines(directory: RunDirectory, shard: Shard) -> Iterator[bytes]:
    with directory.open(wire_name(shard)) as stream:
        for _, line in read_lines(stream):
            yield line
