"""What a waiting trigger does next; pure, so that the deferred and the synchronous wait cannot drift apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from airflow_batch_provider.core.errors import NotFoundError, PermanentError
from airflow_batch_provider.core.progress import Progress
from airflow_batch_provider.core.records import Job, JobStatus
from airflow_batch_provider.core.retry_after import LONGEST_SECONDS

MAX_BACKOFF_SECONDS = 600.0
JITTER_SHARE = 0.25
"""By how much a pause after a failure is stretched at most, so that waiting runs do not come back in step."""
PERMANENT_FAILURES = 3
"""A wrong key or a vanished job is believed after this many answers in a row; gateways do answer 404 for a moment."""
TRANSIENT_FAILURES = 30
SLOT_WAKE_SECONDS = 60.0
DOUBT_SECONDS = 900.0
"""How long a job that has vanished, or whose answers are fewer than it counts, is looked at anew before that is
believed. A batch of OpenAI's is seen completed minutes before its output file is named (openai-cookbook#1564)."""
SHORTEST_DOUBT_PAUSE, LONGEST_DOUBT_PAUSE = 30.0, 300.0

Reason: TypeAlias = Literal["jobs_ended", "slot_free", "look_again", "deadline", "polling_failed"]


@dataclass(frozen=True, slots=True)
class WakeRule:
    """When waiting ends.

    :param deadline: absolute, seconds since the epoch.
    :param look_at: when a lost create is looked for again; None where none is.
    :param on_any_end: True while a shard waits for a free slot.
    """

    deadline: float
    look_at: float | None = None
    on_any_end: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing more can be done now.

    :param jobs: ids of the live jobs.
    :param rule: when to call ``advance`` again.
    :param borrowed: those of the jobs that another run directory made: whoever kills this run leaves them alone.
    """

    jobs: tuple[str, ...]
    rule: WakeRule
    borrowed: tuple[str, ...] = ()

    @property
    def all_sent(self) -> bool:
        """Whether every shard has its job."""
        return self.rule.look_at is None and not self.rule.on_any_end


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait so many seconds, then look again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wake:
    """Waiting is over."""

    reason: Reason
    message: str = ""


def decide(
    seen: Sequence[Job] | Exception,
    *,
    rule: WakeRule,
    now: float,
    started: float,
    poll_interval: float,
    failures: int = 0,
    refused: int | None = None,
    jitter: float = 0.0,
) -> Wait | Wake:
    """Decide after one look at all jobs.

    :param seen: the jobs as they are now, or why they could not be looked at.
    :param started: when this wait began; a free slot wakes at most once in :data:`SLOT_WAKE_SECONDS`.
    :param poll_interval: seconds between looks.
    :param failures: looks that failed in a row, this one included.
    :param refused: the newest of them in a row that were refused for good; None for all.
    :param jitter: 0 to 1, drawn by the caller: which part of the longest stretch a pause after a failure gets.
    """
    if not isinstance(seen, Exception):
        if all(job.status.is_terminal for job in seen) and (seen or rule.look_at is None):
            return Wake("jobs_ended")
        ended = any(job.status.is_terminal for job in seen)
        if ended and rule.on_any_end and now - started >= SLOT_WAKE_SECONDS:
            return Wake("slot_free")
    if now >= rule.deadline:
        return Wake("deadline")
    if rule.look_at is not None and now >= rule.look_at:
        return Wake("look_again")
    pause = poll_interval
    if isinstance(seen, Exception):
        permanent = isinstance(seen, PermanentError)
        count = failures if refused is None or not permanent else refused
        if count >= (PERMANENT_FAILURES if permanent else TRANSIENT_FAILURES):
            if isinstance(seen, NotFoundError):
                # One of several jobs: whoever collects looks at each by itself, and decides when to believe it.
                return Wake(
                    "look_again", f"{count} status requests in a row did not find a job: {type(seen).__name__}: {seen}"
                )
            message = (
                f"{count} status requests in a row failed; the jobs were not cancelled: {type(seen).__name__}: {seen}"
            )
            return Wake("polling_failed", message)
        pause = _pause(seen, poll_interval, failures) * (1 + JITTER_SHARE * jitter)
    soonest = min(rule.deadline, rule.look_at if rule.look_at is not None else rule.deadline)
    return Wait(max(0.05, min(pause, soonest - now)))


def _pause(error: Exception, poll_interval: float, failures: int) -> float:
    """Twice as long after every failure, never shorter than the provider says or than an ordinary pause."""
    wanted = getattr(error, "retry_after", None) or 0.0
    backoff = min(MAX_BACKOFF_SECONDS, poll_interval * 2.0 ** min(failures, 10))
    return max(poll_interval, backoff, min(LONGEST_SECONDS, wanted))


def is_believed(first: float, looks: int, now: float) -> bool:
    """Whether what is missing at the provider is missing for good.

    :param first: when it was first missing, seconds since the epoch.
    :param looks: how often in a row it was, now included.
    """
    return looks >= PERMANENT_FAILURES and now - first >= DOUBT_SECONDS


def next_look(first: float, now: float) -> float:
    """When to look again for what is missing since ``first``: soon, then at growing distances."""
    return now + min(LONGEST_DOUBT_PAUSE, max(SHORTEST_DOUBT_PAUSE, now - first))


@dataclass(slots=True)
class Watch:
    """One wait: counts the looks that failed, and finds the words and the next step after each look.

    :param started: when the wait began, seconds since the epoch.
    :param warnings: what to warn of after the last look.
    :param news: the progress line after the last look, None for none.
    """

    rule: WakeRule
    poll_interval: float
    started: float
    progress: Progress = field(default_factory=Progress)
    warnings: list[str] = field(default_factory=list)
    news: str | None = None
    _failures: int = 0
    _refused: int = 0
    _unknown: set[tuple[str, str]] = field(default_factory=set)

    def after(self, seen: Sequence[Job] | Exception, now: float, jitter: float) -> Wait | Wake:
        """Decide after one look; see :func:`decide`."""
        if isinstance(seen, Exception):
            self._failures += 1
            self._refused = self._refused + 1 if isinstance(seen, PermanentError) else 0
            self.news = None
            self.warnings = [f"Look {self._failures} at the jobs failed: {type(seen).__name__}: {seen}"]
        else:
            self._failures = self._refused = 0
            self.news = self.progress.line(seen, now)
            self.warnings = [self._unheard(job) for job in seen if self._is_news(job)]
        return decide(
            seen,
            rule=self.rule,
            now=now,
            started=self.started,
            poll_interval=self.poll_interval,
            failures=self._failures,
            refused=self._refused,
            jitter=jitter,
        )

    def _is_news(self, job: Job) -> bool:
        return job.status is JobStatus.UNKNOWN and (job.id, job.raw_status) not in self._unknown

    def _unheard(self, job: Job) -> str:
        self._unknown.add((job.id, job.raw_status))
        return f"Job {job.id} has the unknown status {job.raw_status!r}; waiting for a known one"
