"""What the jobs of both fake clouds have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.faults import FaultPlan

Job = TypeVar("Job")


@dataclass(slots=True)
class CloudJob:
    """One job, whose output may come later than its end.

    :param told: as the service reports it.
    :param held: writes the output that was held back; None where nothing is.
    :param ends: how often the job was polled since it ended.
    """

    told: JSON
    stop: asyncio.Event = field(default_factory=asyncio.Event, kw_only=True)
    polls: int = field(default=0, kw_only=True)
    held: Callable[[], None] | None = field(default=None, kw_only=True)
    ends: int = field(default=0, kw_only=True)

    def is_due(self, polls: int) -> bool:
        """Whether what was held back of a job that has ended is to be written at this poll.

        :param polls: at so many polls after the end the output is still missing.
        """
        self.ends += 1
        return self.held is not None and self.ends > polls

    def write_late(self) -> None:
        """Write what was held back."""
        write, self.held = self.held, None
        if write is not None:
            write()


class CloudJobs(Generic[Job]):
    """How an application makes its jobs and works them off.

    ``faults``, ``jobs`` and ``tasks`` are fields of the application.
    """

    __slots__ = ()

    faults: FaultPlan
    jobs: list[Job]
    tasks: set[asyncio.Task[Any]]

    async def accepted(self, accept: Callable[[], Awaitable[Job]]) -> Job | None:
        """The job of a create, made as the plan says; None where the connection is cut.

        :param accept: makes the job.
        """
        faults = self.faults
        if faults.take("cut_before_accept"):
            return None
        if faults.late_accept:
            self.keep(_later(faults.late_accept.pop(0), accept))
            return None
        if faults.take("create_twice"):
            await accept()
        job = await accept()
        if faults.slow_accept:
            await asyncio.sleep(faults.slow_accept.pop(0))
        return None if faults.take("cut_after_accept") else job

    def keep(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run beside the calls."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a late create that is refused has no caller to answer

    def faults_of(self, job: Job) -> FaultPlan:
        """The plan, or an empty one where it does not touch this job."""
        touched = self.faults.jobs is None or self.jobs.index(job) < self.faults.jobs
        return self.faults if touched else FaultPlan()


async def _later(seconds: float, accept: Callable[[], Awaitable[Any]]) -> None:
    await asyncio.sleep(seconds)
    await accept()
