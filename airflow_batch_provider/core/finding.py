"""Which of the jobs that a provider lists are ours, and which of them to go on with.

A token has two parts (:mod:`airflow_batch_provider.core.identity`). The first, or the id of an upload that served one
create alone, proves that this run directory made a job: such a job is *own* and may be cancelled. The second proves
that a job has the very bytes that we would send: such a job is *same*, and may be read, whoever made it. No time and
no likeness of names proves anything: where a provider keeps no mark at all, a job that fits by rows and time is
*likely*, and may be read, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from airflow_batch_provider.core.identity import content_of, own_of
from airflow_batch_provider.core.records import Found, Job, JobStatus

CLOCKS_APART_SECONDS = 60.0
"""How much earlier than its intent a job may seem to be made, by the provider's clock."""
CREATE_SECONDS = 900.0
"""How long after its intent a create may make its job: as long as absence is not believed."""
_WORD = re.compile(r"[0-9a-z]+")
_WORTH = {
    JobStatus.COMPLETED: 0,
    JobStatus.PARTIALLY_COMPLETED: 0,
    JobStatus.EXPIRED: 2,
    JobStatus.CANCELLING: 3,
    JobStatus.FAILED: 4,
    JobStatus.CANCELLED: 4,
}


@dataclass(frozen=True, slots=True)
class Handle:
    """By what the job of a create is known.

    :param token: the create's token; empty where it is not known.
    :param input_id: the upload, where it served this create alone.
    :param rows: how many rows were sent, ``at`` when; for providers that keep no mark. 0 where it is not known.
    """

    token: str
    input_id: str | None = None
    rows: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look says of one shard.

    :param own: jobs that this directory made, each once, the oldest first.
    :param same: jobs of others with the same bytes, likewise.
    :param likely: jobs that fit a create by rows and time alone.
    :param complete: whether no job at all would mean that there is none.
    :param broken: why the list could not be read to its end; empty where it could.
    """

    own: tuple[Job, ...] = ()
    same: tuple[Job, ...] = ()
    likely: tuple[Job, ...] = ()
    complete: bool = True
    broken: str = ""


def words(job: Job) -> frozenset[str]:
    """All words of a job's handles, in lower case: tokens are among them."""
    texts = (job.name or "", job.input_id or "", *job.outputs, *job.metadata.values())
    return frozenset(_WORD.findall(" ".join(texts).lower()))


class Matcher:
    """Matches the jobs that bear any of these handles."""

    def __init__(self, handles: Iterable[Handle]) -> None:
        self._words: set[str] = set()
        self._inputs: set[str] = set()
        for handle in handles:
            self._words |= set(_WORD.findall(handle.token.lower()))
            if handle.input_id:
                self._inputs.add(handle.input_id)

    def __call__(self, job: Job) -> bool:
        """Whether a job bears one."""
        return job.input_id in self._inputs or not self._words.isdisjoint(words(job))


def by_count(jobs: Iterable[Job], handles: Sequence[Handle], beside: Collection[str] = ()) -> Found:
    """The jobs of creates that leave no mark at their provider: known by the number of their rows and the time alone.

    A job that alone fits a create, and fits no other create, is likely its job. It may be somebody else's all the same,
    so it is read and never cancelled. Where several fit, none is taken. That no job fits proves nothing.

    :param beside: ids of jobs that are on record, which need no guess.
    """
    listed = sorted(jobs, key=lambda job: job.created_at or 0.0)
    found = {handle.token: [job for job in listed if fits(job, handle)] for handle in handles if handle.rows}
    found = {token: [job for job in some if job.id in beside] or some for token, some in found.items()}
    times = Counter(job.id for some in found.values() for job in some)
    likely = {token: some[0] for token, some in found.items() if len(some) == 1 and times[some[0].id] == 1}
    unclear = sorted({job.id for token, some in found.items() if token not in likely for job in some})
    why = f"the provider keeps no mark of a create, and its number of rows and time fit {', '.join(unclear)}"
    return Found((), complete=False, broken=why if unclear else "", likely=likely)


def fits(job: Job, handle: Handle) -> bool:
    """Whether a create may have made a job, by its rows and its time."""
    if job.counts.total != handle.rows or job.created_at is None:
        return False
    return -CLOCKS_APART_SECONDS <= job.created_at - handle.at <= CREATE_SECONDS


class Sightings:
    """The jobs of one reading, by the words of their handles.

    :param found: the reading.
    """

    def __init__(self, found: Found) -> None:
        self._found = found
        self._by_word: dict[str, list[int]] = {}
        self._by_input: dict[str | None, list[int]] = {}
        for number, job in enumerate(found.jobs):
            self._by_input.setdefault(job.input_id, []).append(number)
            for word in words(job):
                self._by_word.setdefault(word, []).append(number)

    def of(self, handles: Sequence[Handle]) -> Seen:
        """What it says of the creates of one shard."""
        own: set[int] = set()
        alike: set[int] = set()
        for handle in handles:
            own.update(self._by_word.get(own_of(handle.token).lower(), ()))
            alike.update(self._by_word.get(content_of(handle.token).lower(), ()))
            if handle.input_id:
                own.update(self._by_input.get(handle.input_id, ()))
        jobs = self._found.jobs
        return Seen(
            tuple(jobs[number] for number in sorted(own)),
            tuple(jobs[number] for number in sorted(alike - own)),
            tuple(self._found.likely[one.token] for one in handles if one.token in self._found.likely),
            self._found.complete,
            self._found.broken,
        )


def worth(job: Job) -> int:
    """How good a job is to go on with, the best first: 0 answered, 1 alive, 2 expired, 3 being cancelled, 4 dead.

    An expired one may hold answers, and the rows it left open may be in a job of the next round already, which
    only shows once the expired one is read.
    """
    return _WORTH.get(job.status, 1)


def best(jobs: Iterable[Job], at_worst: int = 4) -> Job | None:
    """The job to go on with; of equals the oldest; None where none is good enough."""
    good = [job for job in jobs if worth(job) <= at_worst]
    return min(good, key=worth, default=None)


def others(jobs: Iterable[Job], chosen: Job) -> tuple[Job, ...]:
    """All but the chosen one."""
    return tuple(job for job in jobs if job.id != chosen.id)
