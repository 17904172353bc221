"""Exactly one outcome for every row of a shard, whatever came back: lost, doubled, reordered or foreign lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Generic, TypeVar

from airflow_batch_provider.core.counts import counted
from airflow_batch_provider.core.errors import (
    BudgetError,
    DeadlineError,
    JobFailedError,
    LostJobError,
    ReconciliationError,
    RowsFailedError,
    ToleranceError,
)
from airflow_batch_provider.core.records import (
    OUTCOMES,
    BatchResult,
    JobError,
    JobStatus,
    Outcome,
    Refusal,
)
from airflow_batch_provider.core.refusals import decided
from airflow_batch_provider.core.summary import RunSummary

OVER_QUOTA, OVER_BUDGET, TOO_LATE = "token_limit_exceeded", "budget_exceeded", "deadline_passed"
CREATE_LOST = "create_lost"
"""Codes of rows that were given up: the queue stayed full, the budget was spent, the deadline came first, the create's
answer was lost for good."""
BATCH_FAILED, BATCH_REFUSED, BATCH_INTERRUPTED = "batch_failed", "batch_refused", "batch_interrupted"
"""Codes of rows of a batch that failed as a whole: for the file's sake, for the account's, or for a passing reason."""
JOB_LOST, OUTPUT_LOST = "job_lost", "output_lost"
"""Codes of rows whose job the provider does not know any more, or whose answer it counted and does not hand out."""
LOST_CODES = frozenset({JOB_LOST, OUTPUT_LOST})
NOT_COLLECTED = "not_collected"
"""Code of a row in results that were written while its job lives or could not be read: its answer may still come."""
UNREADABLE = "unreadable_answer"
"""Code of a row whose output line could not be made sense of; the line stands in the message, for it was paid."""


Place = TypeVar("Place")


@dataclass(slots=True)
class Books(Generic[Place]):
    """The outcome of each row of one shard, and where its line is.

    :param expected: the shard's custom_ids, in the order of the requests.
    """

    expected: Iterable[str]
    _places: dict[str, tuple[Outcome, Place] | None] = field(init=False)
    duplicates: int = 0
    foreign: int = 0
    nameless: int = 0
    unlabelled: int = 0
    """Those of the nameless lines that may be paid answers: all but errors, and nobody can say of which row."""
    sample: str = ""

    def __post_init__(self) -> None:
        self._places = dict.fromkeys(self.expected)

    def enter(self, result: BatchResult, place: Place) -> bool:
        """Take one output line in.

        :param place: the caller's own mark of where it keeps the line.
        :return: whether this line is now the row's outcome. A success is never replaced, and replaces anything.
        """
        if result.custom_id is None:
            self.nameless += 1
            self.unlabelled += result.outcome != "failed"
            self.sample = self.sample or result.line[:300].decode("utf-8", "replace")
            return False
        if result.custom_id not in self._places:
            self.foreign += 1
            return False
        before = self._places[result.custom_id]
        success = result.outcome == "succeeded"
        if before is not None:
            self.duplicates += 1
            if before[0] == "succeeded" or not success:
                return False
        self._places[result.custom_id] = (result.outcome, place)
        return True

    @property
    def expected_lines(self) -> int:
        """How many lines were sent."""
        return len(self._places)

    @property
    def answered(self) -> int:
        """How many of them have an outcome."""
        return sum(entry is not None for entry in self._places.values())

    @property
    def made(self) -> int:
        """How many of them have an answer, of use or not, and no error."""
        return sum(entry is not None and entry[0] in ("succeeded", "invalid") for entry in self._places.values())

    @property
    def refused(self) -> int:
        """How many of them the provider tried, with an error as the end."""
        return sum(entry is not None and entry[0] == "failed" for entry in self._places.values())

    def places(self) -> Iterable[tuple[str, Place | None]]:
        """Every row in request order with the place of its line, None where none came."""
        for custom_id, entry in self._places.items():
            yield custom_id, None if entry is None else entry[1]


def why_failed(errors: Iterable[JobError]) -> Refusal | None:
    """Why a batch failed as a whole; None where its errors do not show it.

    A full queue comes first: the provider looked at nothing else then. Then what no time heals, because one such error
    is enough to fail the batch again; an error that names a line is the file's, whatever its code.
    """
    found = {_why(error) for error in errors}
    order = (Refusal.FULL, Refusal.REQUEST, None, Refusal.ACCOUNT, Refusal.NOT_YET, Refusal.PASSING)
    return next((refusal for refusal in order if refusal in found), None)


def _why(error: JobError) -> Refusal | None:
    return decided([error.code], error.message) if error.line is None else Refusal.REQUEST


def absence(status: JobStatus, errors: Iterable[JobError], nameless: int, sample: str) -> tuple[str, str]:
    """Code and message of a row for which no line came, from how its job ended."""
    if status is JobStatus.EXPIRED:
        return "batch_expired", "The completion window ended before this request was processed."
    if status is JobStatus.CANCELLED:
        return "batch_cancelled", "The batch was cancelled before this request was processed."
    if status is JobStatus.FAILED:
        known = list(errors)
        reasons = "; ".join(str(error) for error in known[:5])
        refusal = why_failed(known)
        if refusal is Refusal.FULL:
            return OVER_QUOTA, f"The provider's queue was too full for the batch: {reasons}"
        code = BATCH_FAILED
        if refusal is not None and refusal.helped_by_round:
            code = BATCH_INTERRUPTED
        elif refusal is Refusal.ACCOUNT:
            code = BATCH_REFUSED
        return code, f"The batch failed as a whole: {reasons or 'the provider gave no reason'}"
    if nameless:
        return "missing", f"No output line has this id; lines without an id: {nameless:,}, e.g. {sample}"
    return "missing", "The provider returned no line for this request."


def check_equation(total: int, outcomes: Mapping[Outcome, int]) -> None:
    """``total = succeeded + invalid + failed + expired + cancelled + missing``.

    :raises ReconciliationError: when it does not hold.
    """
    if sum(outcomes.get(name, 0) for name in OUTCOMES) != total:
        outcome_counts = " + ".join(f"{outcomes.get(name, 0)} {name}" for name in OUTCOMES)
        raise ReconciliationError(
            f"{counted(total, 'row')} went in, but {outcome_counts} came out; nothing was deleted. Please report "
            "this as a bug"
        )


def tolerated(total: int, error_tolerance: float) -> int:
    """How many of so many rows may end unsuccessful: rows are counted, as ``0.29 * 100`` is less than 29."""
    return int(Decimal(str(error_tolerance)) * total)


def judge(summary: RunSummary, error_tolerance: float) -> None:
    """Whether a run that has ended may be called a success.

    :param error_tolerance: the share of rows, 0 to 1, that may end unsuccessful; no success at all always fails.
    :raises BudgetError: when too many rows were not sent because of the budget; ``DeadlineError`` because of the
        deadline.
    :raises LostJobError: when too many rows failed and jobs, or their answers, are gone at the provider.
    :raises ToleranceError: when too many rows failed and a new try can help some.
    :raises JobFailedError: when no row was answered because the jobs failed as a whole.
    :raises RowsFailedError: when too many rows failed for good.
    """
    succeeded = summary.outcomes["succeeded"]
    failed = summary.total - succeeded
    if succeeded and failed <= tolerated(summary.total, error_tolerance):
        return
    reasons = [f"  {count} x {reason}" for reason, count in list(summary.reasons.items())[:5]]
    reasons += [f"  job: {error}" for error in summary.job_errors[:5]]
    why = "" if summary.stopped is None else f" Stopped by {summary.stopped}."
    head = (
        f"{failed:,} of {counted(summary.total, 'row')} did not succeed (error_tolerance={error_tolerance:g}). "
        f"What succeeded is in {summary.run_path}/results, the rest with its reasons in "
        f"{summary.run_path}/failed.jsonl.{why}"
    )
    message = "\n".join([head, *reasons])
    if summary.stopped is not None:
        raise (BudgetError if summary.stopped.startswith(OVER_BUDGET) else DeadlineError)(message)
    # Whoever cancelled, or ran out of time or money, is not to be overruled by an automatic retry; nor does one help a
    # batch that was refused as a whole.
    if summary.retryable > summary.withdrawn:
        raise ToleranceError(message)
    if summary.lost:
        named = "\n".join(
            f"  job {job['id']} ({counted(job['rows'], 'row')}): {job['message']}" for job in summary.lost[:20]
        )
        raise LostJobError(
            f"{message}\nGone at the provider:\n{named}\nTheir rows may have been billed and were not sent again. "
            "Search the provider's console for the jobs, then clear the task: it searches again and collects what it "
            'finds; with on_lost_job="resubmit" it sends the rows still missing again, which may be paid twice.'
        )
    if not succeeded and summary.job_errors:
        raise JobFailedError(message)
    hint = " Clear the task to send the rows that were not sent." if summary.retryable else ""
    raise RowsFailedError(message + hint)
