"""One job at a time: look at it, believe or doubt what is missing, and collect what it answered.

What a job meets, a lost file or an answer that cannot be read, is its own: nothing of it is raised while others wait.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from airflow_batch_provider.core.errors import BatchInferenceError, NotFoundError, ProviderError, RateLimitedError
from airflow_batch_provider.core.polling import is_believed, next_look
from airflow_batch_provider.core.records import Job, Shard
from airflow_batch_provider.run import collect
from airflow_batch_provider.run.attempts import Attempt
from airflow_batch_provider.run.context import RunContext
from airflow_batch_provider.run.facts import Cancel

T = TypeVar("T")

Look: TypeAlias = "bool | float | BatchInferenceError"
"""What a look at a job came to: True when it has ended and is collected, False while it lives, the time of the next
look while what is missing is not believed, or why it could not be read."""


@dataclass(slots=True)
class Fetcher:
    """Looks at the jobs of one run, and stops them."""

    run: RunContext
    _tired: bool = False

    def look(self, shard: Shard, attempt: Attempt, job_id: str) -> Look:
        """One look at a job; when it has ended, its rows are collected, and the attempt says how. Nothing it meets is
        raised."""
        try:
            return self._looked(shard, attempt, job_id)
        except BatchInferenceError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this job's alone
            self.run.log.error("Job %s: %s: %s", job_id, type(error).__name__, error)
            failure = ProviderError(f"Job {job_id} cannot be read: {type(error).__name__}: {error}", ambiguous=False)
            failure.__cause__ = error
            return failure

    def _looked(self, shard: Shard, attempt: Attempt, job_id: str) -> Look:
        try:
            job = self._patient(lambda: self._retrieve(job_id))
        except NotFoundError as error:
            what = f"the provider does not know it ({error})"
            again = self._doubt(shard, attempt, job_id, what)
            if again is None:
                reason, beside = f"Job {job_id} is lost: {what}.", attempt.is_beside
                end = collect.lose(self.run.directory, shard, job_id, reason, self.run.clock(), beside=beside)
                self.run.ledger.record_lost(shard, attempt.number, end)
                attempt.lost = end
            return True if again is None else again
        if not job.status.is_terminal:
            if attempt.doubted:
                self.run.ledger.no_doubt(shard, attempt.number)
            return False
        doubts: list[float] = []

        def believe(what: str) -> bool:
            again = self._doubt(shard, attempt, job_id, what)
            if again is not None:
                doubts.append(again)
            return again is None

        return doubts[0] if not self._collect(shard, attempt, job, believe) else True

    def _retrieve(self, job_id: str) -> Job:
        """The job, by the id that was recorded: some answers leave it out, or have it in another spelling."""
        return replace(self.run.backend.retrieve(job_id), id=job_id)

    def _collect(self, shard: Shard, attempt: Attempt, job: Job, believe: Callable[[str], bool]) -> bool:
        """Collect a job that has ended; False when it is to be looked at anew."""
        own, now = not (attempt.intent and attempt.intent.attached), self.run.clock()
        end = self._patient(
            lambda: collect.collect(
                self.run.directory,
                self.run.backend,
                shard,
                job,
                now,
                own=own,
                beside=attempt.is_beside,
                on_unusable=self.run.options.on_unusable,
                believe=believe,
            )
        )
        if end is None:
            return False
        if end.lost:
            self.run.ledger.record_lost(shard, attempt.number, end)
            attempt.lost = end
        else:
            self.run.ledger.record_end(shard, attempt.number, end)
            attempt.ended = end
        collect.tell(self.run.log, job, end)
        return True

    def _doubt(self, shard: Shard, attempt: Attempt, job_id: str, what: str) -> float | None:
        """When to look again for what is missing; None when it is believed."""
        now = self.run.clock()
        doubt = self.run.ledger.doubt(shard, attempt.number, job_id, now)
        if is_believed(doubt.first, doubt.looks, now):
            self.run.log.error("Job %s is given up after %d looks: %s", job_id, doubt.looks, what)
            return None
        self.run.log.warning("Job %s: %s; looking again before that is taken as final", job_id, what)
        return next_look(doubt.first, now)

    def _patient(self, call: Callable[[], T]) -> T:
        """Carry out a call that pays nothing; once a provider has used up all patience, others of a pass have none."""
        if self._tired:
            return call()
        try:
            return self.run.read(call)
        except (ProviderError, RateLimitedError):
            self._tired = True
            raise

    def found_again(self, shard: Shard, attempt: Attempt, job_id: str) -> bool:
        """Whether the job of what an earlier try gave up as lost is there; then it is waited for, or read, anew."""
        try:
            job = self.run.read(lambda: self._retrieve(job_id))
        except BatchInferenceError as error:
            self.run.log.warning("Job %s is still lost: %s", job_id, error)
            return False
        if not job.status.is_terminal:
            self.run.ledger.no_doubt(shard, attempt.number)
        self.run.ledger.lives_again(shard, attempt.number)
        return True

    def cancel(self) -> list[str]:
        """Request the provider to cancel every live job; their finished rows are collected by the next try.

        :return: the ids of the jobs to cancel.
        """
        cancelled = []
        for shard, attempt in self.run.ledger.open_attempts():
            if attempt.job_id and attempt.is_borrowed:
                message = "Job %s may have been created by another run and is left alone; it may still bill"
                self.run.log.warning(message, attempt.job_id)
            elif attempt.job_id:
                if self._stops(attempt.job_id):
                    self.run.ledger.record(shard, attempt.number, Cancel(self.run.clock()))
                    cancelled.append(attempt.job_id)
                cancelled += [job_id for job_id in attempt.open_surplus if self._stops(job_id)]
        return cancelled

    def _stops(self, job_id: str) -> bool:
        try:
            self.run.read(functools.partial(self.run.backend.cancel, job_id))
        except BatchInferenceError as error:
            self.run.log.warning("Job %s could not be cancelled and may still bill: %s", job_id, error)
            return False
        return True
