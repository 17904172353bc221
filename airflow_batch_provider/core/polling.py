"""What a waiting trigger does next; pure, so that the deferred and the synchronous wait cannot drift apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from airflow_batch_provider.core.errors import PermanentError, RateLimitedError
from airflow_batch_provider.core.records import Job

MAX_BACKOFF_SECONDS = 600.0
PERMANENT_FAILURES = 3
"""A wrong key or a vanished job is believed after this many answers in a row; gateways do answer 404 for a moment."""
TRANSIENT_FAILURES = 30
SLOT_WAKE_SECONDS = 60.0

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
) -> Wait | Wake:
    """Decide after one look at all jobs.

    :param seen: the jobs as they stand, or why they could not be looked at.
    :param started: when this wait began; a free slot wakes at most once in :data:`SLOT_WAKE_SECONDS`.
    :param poll_interval: seconds between looks.
    :param failures: looks that failed in a row, this one included.
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
        bound = PERMANENT_FAILURES if isinstance(seen, PermanentError) else TRANSIENT_FAILURES
        if failures >= bound:
            return Wake("polling_failed", f"{failures} looks in a row failed, the jobs were left alone: {seen}")
        told = seen.retry_after if isinstance(seen, RateLimitedError) else None
        pause = max(told or 0.0, min(MAX_BACKOFF_SECONDS, poll_interval * 2.0 ** min(failures, 10)))
    soonest = min(rule.deadline, rule.look_at if rule.look_at is not None else rule.deadline)
    return Wait(max(0.05, min(pause, soonest - now)))
