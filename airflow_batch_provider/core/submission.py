"""Whether to create a job for a shard: the one table that keeps us from paying twice.

What is known of a shard's last create, the answer of a look at the provider, and the time decide:

=============  ===================  ===================  ==========================================
ledger         look at provider     time since intent    decision
=============  ===================  ===================  ==========================================
nothing        (not needed)         any                  Create 1
job            (not needed)         any                  Attached
refused        (not needed)         any                  Create next number
intent alone   not looked yet       any                  Look
intent alone   one job              any                  Attach it
intent alone   several jobs         any                  Attach the oldest, cancel the others
intent alone   none                 any, repeatable      Repeat: the provider knows the request again
intent alone   none                 before settle time   LookAgain
intent alone   none                 after, "resubmit"    Create next number
intent alone   none                 after, "fail"        Refuse
=============  ===================  ===================  ==========================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from airflow_batch_provider.core.records import Found, Job, OnLostCreate

LOOK_AGAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class LastCreate:
    """What the ledger says of a shard's newest create.

    :param number: 1 for the first.
    :param intent_at: when the intent was written, seconds since the epoch.
    :param job_id: the job, when its id was recorded.
    :param refused: whether the provider is known not to have created it.
    :param repeatable: whether the provider answers the recorded request, sent again, with the same job.
    """

    number: int
    intent_at: float
    job_id: str | None = None
    refused: bool = False
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Create:
    """Create a job, under this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Attached:
    """The job is known."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Attach:
    """The job was found at the provider; the surplus ones must be cancelled and reported."""

    job: Job
    surplus: tuple[Job, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """Look at the provider, then decide again."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Send the recorded request again, byte for byte."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Not there yet; look again at this time."""

    at: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not create; a person must check."""

    reason: str


Decision: TypeAlias = Create | Attached | Attach | Look | Repeat | LookAgain | Refuse


def decide(
    last: LastCreate | None,
    *,
    looked: Found | None,
    now: float,
    settle_seconds: float,
    on_lost_create: OnLostCreate,
) -> Decision:
    """Decide one shard; see the table above.

    :param looked: the provider's answer to a look made now, None before looking.
    :param settle_seconds: how long an accepted create may take to show in the provider's list.
    """
    if last is None:
        return Create(1)
    if last.job_id is not None:
        return Attached(last.job_id)
    if last.refused:
        return Create(last.number + 1)
    if looked is None:
        return Look()
    if looked.jobs:
        return Attach(looked.jobs[0], looked.jobs[1:])
    if last.repeatable:
        return Repeat()
    settled_at = last.intent_at + settle_seconds
    if now < settled_at:
        return LookAgain(min(settled_at, now + LOOK_AGAIN_SECONDS))
    if on_lost_create == "resubmit":
        return Create(last.number + 1)
    known = (
        "the provider lists no such job" if looked.complete else "the provider's list cannot prove that there is none"
    )
    return Refuse(known)
