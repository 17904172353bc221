"""What a job's own word says is missing in what was read of it, and whether that may have been paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_batch_provider.core.counts import counted
from airflow_batch_provider.core.reconciling import Books
from airflow_batch_provider.core.records import Job, JobStatus

_WITH_RESULTS = frozenset({JobStatus.COMPLETED, JobStatus.PARTIALLY_COMPLETED})


@dataclass(frozen=True, slots=True)
class Doubt:
    """A contradiction between a job and its output.

    :param what: it in words, to follow "but" or the job's name.
    :param is_lost: whether answers that may have been paid are gone, once it is believed; else what is missing is rows
        that failed and have no line, or of which none was ever written.
    """

    what: str
    is_lost: bool


def doubt_of(job: Job, books: Books[Any], gone: Sequence[str]) -> Doubt | None:
    """What a job's own word says is missing; None where nothing contradicts.

    :param books: what was read of it.
    :param gone: what the provider said of each of its files that is not there.
    """
    # An error that has lost its id answers some row; what may be an answer, or cannot be read, answers none for sure.
    found = books.answered + books.nameless - books.unlabelled
    what = _contradiction(job, books, found, gone)
    return None if what is None else Doubt(what, _is_lost(job, books, found, gone))


def _contradiction(job: Job, books: Books[Any], found: int, gone: Sequence[str]) -> str | None:
    """A completed job has a line for each row, whatever it counts: some servers leave every count at 0. Of other ends
    only the answered rows are believed: a job that failed or was stopped may count rows as failed and write no line. A
    line with an error for each row is no proof either: a server may write one and, later, the answer of the same row.

    :param found: how many rows have a line, errors without an id included.
    """
    asked = books.expected_lines
    if gone:
        return f"its output was not found ({'; '.join(gone)})"
    of_all = f"{found:,} of {counted(asked, 'row')} had an answer"
    if books.unlabelled and found < asked:
        return f"{of_all}; lines without a readable custom_id: {books.unlabelled:,}"
    has_results = job.status in _WITH_RESULTS
    counts = job.counts
    known = (counts.completed or 0) + ((counts.failed or 0) if has_results else 0)
    reported = min(asked, known)
    if found < reported:
        return f"it counts {counted(reported, 'answer')}, but {found:,} {'was' if found == 1 else 'were'} found"
    reported = min(asked, counts.completed or 0)
    if books.made < reported:
        return f"it counts {counted(reported, 'completed request')}, but only {counted(books.made, 'answer')} came"
    if job.status is JobStatus.COMPLETED and found < asked:
        return f"it is {job.raw_status or job.status.value}, but only {of_all}"
    if has_results and not found:
        return f"it is {job.raw_status or job.status.value} but no answer was found"
    return None


def _is_lost(job: Job, books: Books[Any], found: int, gone: Sequence[str]) -> bool:
    asked, counts = books.expected_lines, job.counts
    if books.unlabelled and found < asked:
        return True
    if counts.completed is None or (job.status in _WITH_RESULTS and not found and not counts.failed):
        return job.status is not JobStatus.FAILED and (bool(gone) or not found)
    # Some count a failed row as completed (vllm-project/aibrix#2253): errors beyond those counted as failed are these.
    miscounted = 0 if counts.failed is None else max(0, books.refused - counts.failed)
    # An error without an id is no proof that a row without a line of its own was not answered.
    return books.answered < asked and books.made + miscounted < min(asked, counts.completed)
