"""Whether to create a job for a shard: the one table that keeps us from paying twice.

What is known of a shard's last create, what a look at the provider shows, and the time decide. *Own* jobs are proven to
be this directory's, *same* ones to have the same bytes, and *likely* ones, of providers that keep no mark, fit by rows
and time (:mod:`airflow_batch_provider.core.finding`):

=================  ==========================  ====================  ===============================================
ledger             look at the provider        time since intent     decision
=================  ==========================  ====================  ===============================================
nothing, new       (not needed)                any                   Create 1
nothing            not looked yet              any                   Look
nothing            own, not dead               any                   Attach the best, cancel the other own ones
nothing            same, not dead               any                   Borrow the best, then the others
nothing            none of these               any                   Create 1
nothing, lost      none, whole list            any                   Create 1
nothing, lost      none, list not whole        any, "resubmit"       Create 1
nothing, lost      none, list not whole        any, "fail"           Refuse
nothing, sent      none of these               any                   Refuse
job                (not needed)                any                   Attached
refused            not looked yet              any                   Look
refused            own                         any                   Attach the best, cancel the others
refused            none, whole list            any                   Create next number
refused            none, list not whole        before settle time    LookAgain
refused            none, list not whole        after                 Create next number
intent alone       not looked yet              any                   Look
intent alone       own                         any                   Attach the best, cancel the others
intent alone       likely                      any                   Borrow it
intent alone       none                        any, repeatable       Repeat: the provider knows the request again
intent alone       none                        before settle time    LookAgain
intent alone       none, list broke off        after                 Refuse
intent alone       none                        after, "resubmit"     Create next number
intent alone       none                        after, "fail"         Refuse
=================  ==========================  ====================  ===============================================

*New* is what this very process has planned, with all rounds before; *lost* is a directory that was found gone, or a
shard of whose job only a doubt is left; *sent* is a shard of a round that a later one follows, so that it had its job,
and what that left open is sent already. In between, an earlier process may have sent a shard whose record was deleted
since, or the directory was put back as it was before, so one look comes before its first create. A list that broke off
proves nothing, so with a lost directory it is refused whatever the policy is.

The best job is one that was answered, then one that is alive, then one that expired; the oldest of equals. One that
was cancelled or failed is dead: it is never borrowed and never better than a fresh create, but where the ledger knows
of the create that made it, its end is collected as any other, so that what it answered is not sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from airflow_batch_provider.core.finding import Seen, best, others, worth
from airflow_batch_provider.core.records import Job, OnLostCreate

LOOK_AGAIN_SECONDS = 60.0

Memory: TypeAlias = Literal["new", "unsure", "lost", "sent"]
"""What an empty ledger says of a shard: that nothing was sent, that something may have been, that it very well may,
that it was."""


@dataclass(frozen=True, slots=True)
class LastCreate:
    """What the ledger says of a shard's newest create.

    :param number: 1 for the first.
    :param intent_at: when the intent was written, seconds since the epoch.
    :param job_id: the job, when its id was recorded.
    :param refused: whether the provider answered that it did not create it.
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
class Borrow:
    """A job that has the same bytes, or likely has, and is not proven to be ours; it is read and never cancelled.

    :param others: further ones, which are read where it leaves rows open: this directory, before its record was lost,
        may have made any of them.
    """

    job: Job
    others: tuple[Job, ...] = ()


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


Decision: TypeAlias = Create | Attached | Attach | Borrow | Look | Repeat | LookAgain | Refuse


def decide(
    last: LastCreate | None,
    *,
    memory: Memory = "new",
    looked: Seen | None,
    now: float,
    settle_seconds: float,
    on_lost_create: OnLostCreate,
) -> Decision:
    """Decide one shard; see the table above.

    :param memory: what it means that the ledger has nothing of the shard.
    :param looked: the provider's answer to a look made now, None before looking.
    :param settle_seconds: how long an accepted create may take to show in the provider's list.
    """
    if last is None:
        return _first(memory, looked, on_lost_create)
    if last.job_id is not None:
        return Attached(last.job_id)
    if looked is None:
        return Look()
    if (found := best(looked.own)) is not None:
        return Attach(found, others(looked.own, found))
    if not last.refused and (found := best(looked.likely)) is not None:
        return Borrow(found)
    settled_at = last.intent_at + settle_seconds
    # A gateway may refuse and yet have made the job, which a list that is not whole may show later.
    if last.refused and (looked.complete or now >= settled_at):
        return Create(last.number + 1)
    if last.repeatable and not last.refused:
        return Repeat()
    if now < settled_at:
        return LookAgain(min(settled_at, now + LOOK_AGAIN_SECONDS))
    if on_lost_create == "resubmit" and not looked.broken:
        return Create(last.number + 1)
    return Refuse(_reason(looked))


def _first(memory: Memory, looked: Seen | None, on_lost_create: OnLostCreate) -> Decision:
    """A shard of which the ledger has nothing."""
    if memory == "new":
        return Create(1)
    if looked is None:
        return Look()
    if (found := best(looked.own, at_worst=3)) is not None:
        return Attach(found, others(looked.own, found))
    same = tuple(job for job in looked.same if worth(job) <= 2)
    if (found := best(same)) is not None:
        return Borrow(found, others(same, found))
    if memory == "sent":
        return Refuse(_reason(looked))
    unknown = memory == "lost" and not looked.complete
    if unknown and (looked.broken or on_lost_create == "fail"):
        return Refuse(_reason(looked))
    return Create(1)


def _reason(looked: Seen) -> str:
    if looked.broken:
        return f"the provider's list of jobs could not be read to its end: {looked.broken}"
    if looked.complete:
        return "the provider lists no such job"
    return "the provider's list cannot prove that no such job exists"
