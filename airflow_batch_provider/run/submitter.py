"""One job for each shard: carries out what :mod:`airflow_batch_provider.core.submission` decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from airflow_batch_provider.core import submission
from airflow_batch_provider.core.counts import counted
from airflow_batch_provider.core.errors import (
    AccountError,
    BatchInferenceError,
    BudgetError,
    LostCreateError,
    NotReadyError,
    PermanentError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RequestRejectedError,
    RunConflictError,
    WaitError,
)
from airflow_batch_provider.core.finding import Seen
from airflow_batch_provider.core.identity import content_of
from airflow_batch_provider.core.records import Job, Shard
from airflow_batch_provider.core.refusals import pause_after
from airflow_batch_provider.run import shard_files, staging
from airflow_batch_provider.run.attempts import Attempt
from airflow_batch_provider.run.budget import Budget
from airflow_batch_provider.run.context import RunContext
from airflow_batch_provider.run.facts import Intent, Made, Refused
from airflow_batch_provider.run.looker import Looker

_FOR_ALL = frozenset({AccountError.__name__, RateLimitedError.__name__})
"""Refusals that say nothing of the one shard."""


@dataclass(frozen=True, slots=True)
class Unsure:
    """A look at the provider must find the outcome of a shard's newest create.

    :param at: when to try again, where it was refused and no job shows.
    """

    at: float | None = None


class Submitter:
    """Creates, or finds again, the jobs of one run.

    :param looker: names creates and finds their jobs.

    ``borrowed`` are the jobs that it has found and that are not proven to be this directory's.
    """

    def __init__(self, run: RunContext, looker: Looker) -> None:
        self.run = run
        self.looker = looker
        self.borrowed: set[str] = set()
        self._budget = Budget(run.backend, run.options)
        self._held_until = 0.0

    def submit(
        self, shard: Shard, attempts: Sequence[Attempt], memory: submission.Memory, seen: Seen | None = None
    ) -> str | float | Unsure:
        """One shard by the table of decisions.

        :param attempts: its creates so far, oldest first.
        :param seen: what a look has just shown of them.
        :return: the id of its job, when to look again, or that a look is needed.
        :raises BudgetError: when a create could cost more than is left; nothing was uploaded.
        """
        attempt = attempts[-1] if attempts else None
        decision = submission.decide(
            self._last(attempt),
            memory=memory,
            looked=seen,
            now=self.run.clock(),
            settle_seconds=self.run.backend.find_settle_seconds,
            on_lost_create=self.run.options.on_lost_create,
        )
        match decision:
            case submission.Create(number):
                return self._create(shard, number, attempts, seen)
            case submission.Attached(job_id):
                return job_id
            case submission.Look():
                return Unsure()
            case submission.Attach(job, surplus):
                self._budget.recount()
                return self._attach(shard, attempts, job, surplus)
            case submission.Borrow(job, same):
                self._budget.recount()
                return self._borrow(shard, attempts, job, same)
            case submission.Repeat():
                return self._repeat(shard, attempt)
            case submission.LookAgain(at):
                return at
            case submission.Refuse(reason):
                raise self._forgotten(shard, reason) if memory == "sent" else self._lost(shard, attempt, reason)

    def _last(self, attempt: Attempt | None) -> submission.LastCreate | None:
        if attempt is None:
            return None
        request = attempt.intent.request if attempt.intent else None
        return replace(attempt.as_last(), repeatable=self.run.backend.create_is_repeatable and bool(request))

    def _repeat(self, shard: Shard, attempt: Attempt | None) -> str | float | Unsure:
        """Send a create whose answer was lost again; the provider makes no second job of it.

        A refusal now is not recorded as one: the first sending may have been accepted all the same.
        """
        assert attempt is not None
        assert attempt.intent is not None
        if refusal := self._budget.refusal([], self.run.ledger.rounds):
            raise BudgetError(refusal)
        self.run.log.warning(
            "Sending the create of %s again; its token keeps the provider from making a second job", shard.name
        )
        try:
            made = self._send(shard, attempt.number, attempt.intent)
        except WaitError as error:
            self.run.log.warning("%s is not accepted yet, trying again later: %s", shard.name, error)
            return self.run.clock() + (pause_after(error, 1, 0.0) or submission.LOOK_AGAIN_SECONDS)
        return self.run.clock() + submission.LOOK_AGAIN_SECONDS if isinstance(made, Unsure) else made

    def _create(
        self, shard: Shard, number: int, attempts: Sequence[Attempt], seen: Seen | None
    ) -> str | float | Unsure:
        """Upload, record the intent, create, record the job."""
        before = attempts[-1] if attempts else None
        refused = before.refused if before else None
        if (later := self._not_before(refused)) > self.run.clock():
            return later
        self._refuse_when_stopped()
        if refusal := self._budget.refusal([shard], self.run.ledger.rounds):
            raise BudgetError(refusal)
        token = self.looker.free_token(shard, attempts, seen)
        options = self.run.options.backend_options
        # The author's upload holds all rows, so it serves the first round only.
        input_id = self.run.input_file_id if shard.round == 0 else None
        if before and refused and refused.wait and before.token == token:
            input_id = before.input_id
        if input_id is None and not self.run.backend.sends_inline:
            input_id = self.run.read(lambda: self._upload(shard, token))
        request = self.run.backend.create_request(shard, token, input_id or "", options)
        if self.run.backend.sends_inline:
            self._lines(shard).close()  # that they are whole is known before the create is on record
        intent = Intent(token, self.run.clock(), input_id, request)
        if not self.run.ledger.claim(shard, number, intent):
            return self._another(shard)
        self._budget.take(shard)
        try:
            return self._send(shard, number, intent)
        except BatchInferenceError as error:
            return self._refused(shard, number, error, refused)

    def _another(self, shard: Shard) -> float:
        self.run.log.warning("Another process is creating %s; this one waits for it", shard.name)
        self._budget.recount()
        return self.run.clock() + submission.LOOK_AGAIN_SECONDS

    def _send(self, shard: Shard, number: int, intent: Intent) -> str | Unsure:
        """Send the recorded create and record the job.

        :return: the job's id, or that the answer was lost.
        :raises BatchInferenceError: when nothing was created by this call.
        """
        try:
            self._refuse_when_stopped()
            assert intent.request is not None
            job = self.run.backend.create(intent.request, lambda: self._lines(shard))
        except ProviderError as error:
            if not error.ambiguous:
                raise
            self.run.log.warning("No answer to the create of %s; searching for its job: %s", shard.name, error)
            return Unsure()
        return self._record_job(shard, number, job, found=False)

    def recount(self) -> None:
        """Read anew what was spent: a pass over the shards begins, in which some may have ended."""
        self._budget.recount()

    def _not_before(self, refused: Refused | None) -> float:
        """When a shard may be sent, as far as refusals know.

        Where the account or the number of calls was refused, every other shard would be, too.
        """
        again_at = (refused.again_at if refused else None) or 0.0
        if refused and refused.kind in _FOR_ALL:
            self._held_until = max(self._held_until, again_at)
        return max(again_at, self._held_until)

    def _refused(self, shard: Shard, number: int, error: BatchInferenceError, before: Refused | None) -> Unsure:
        """Record a refusal, which stands for those before it.

        :param before: the refusal of the create before, None where that was none.
        :return: when to send it again, unless a look shows a job: a gateway may have made one all the same.
        :raises BatchInferenceError: when it is for good, or was so too often.
        """
        self._budget.give_back(shard)
        now, kind = self.run.clock(), type(error).__name__
        in_a_row = before if before and before.kind == kind and before.again_at else None
        times = in_a_row.times + 1 if in_a_row else 1
        since = now if in_a_row is None or in_a_row.since is None else in_a_row.since
        first = number if before is None else number - 1 if before.first is None else before.first
        pause = pause_after(error, times, now - since)
        refused = Refused(
            at=now,
            first=first,
            kind=kind,
            times=times,
            since=since,
            again_at=None if pause is None else now + pause,
            # Whether the upload serves the next create: not one that was never made ready.
            wait=isinstance(error, AccountError) or pause is not None,
            full=(before.full if before else 0) + (isinstance(error, QuotaError) and error.tokens),
            error=str(error),
        )
        self.run.ledger.record(shard, number, refused)
        if before:
            self.run.ledger.fold(shard, first, number - 1)
        if pause is not None:
            self.run.log.warning("%s is not accepted, trying again in %.0f s: %s", shard.name, pause, error)
            if kind in _FOR_ALL:
                self._held_until = max(self._held_until, now + pause)
            return Unsure(now + pause)
        if isinstance(error, AccountError):
            raise AccountError(f"{shard.name} was refused {counted(times, 'time')}: {error}") from error
        if isinstance(error, NotReadyError):
            span = counted(round((now - since) / 60), "minute")
            raise RequestRejectedError(
                f"{shard.name} was refused {counted(times, 'time')} in {span}: {error}"
            ) from error
        raise error

    def _refuse_when_stopped(self) -> None:
        if self.run.stopped():
            raise PermanentError("The task was killed; no further job is created")

    def _upload(self, shard: Shard, token: str) -> str:
        with self._lines(shard) as stream:
            return self.run.backend.upload(shard, token, stream, self.run.options.backend_options)

    def _lines(self, shard: Shard) -> BinaryIO:
        """What is sent, from its beginning."""
        return shard_files.open_wire(self.run.directory, shard, staging.wire_name(shard))

    def _record_job(
        self, shard: Shard, number: int, job: Job, *, found: bool, borrowed: bool = False, surplus: Sequence[Job] = ()
    ) -> str:
        """Write down the job of a create.

        :param surplus: the other jobs of the same create; whoever reads this cancels them, should we be killed first.
        :return: the job that the run goes on with: another one, where another process was the first to write.
        """
        url = self.run.backend.console_url(job.id)
        made = Made(job.id, self.run.clock(), found, borrowed, url, [other.id for other in surplus])
        if not self.run.ledger.record(shard, number, made):
            chosen = self.run.ledger.job_of(shard, number)
            if chosen != job.id:
                message = "Another process goes on with job %s for %s, so this one does, too, and not with job %s"
                self.run.log.warning(message, chosen, shard.name, job.id)
            return chosen
        verb = "Found" if found else "Created"
        rows, where = counted(shard.rows, "row"), f", {url}" if url else ""
        self.run.log.info("%s job %s for %s: %s%s", verb, job.id, shard.name, rows, where)
        return job.id

    # ---- what was found ----------------------------------------------------------------------------------------

    def _attach(self, shard: Shard, attempts: Sequence[Attempt], job: Job, surplus: tuple[Job, ...]) -> str | float:
        """Record the job that is gone on with, then cancel the others of the same create: which one it is the ledger
        says, for another process may have seen another list."""
        if not attempts and not self._note_found(shard, job, borrowed=False, surplus=surplus):
            return self._another(shard)
        number = attempts[-1].number if attempts else 1
        chosen = self._record_job(shard, number, job, found=True, surplus=surplus)
        self.looker.end_surplus(shard, attempts, chosen, (job, *surplus))
        return chosen

    def _borrow(self, shard: Shard, attempts: Sequence[Attempt], job: Job, same: Sequence[Job]) -> str | float:
        if not attempts and not self._note_found(shard, job, borrowed=True, same=same):
            return self._another(shard)
        message = "Job %s holds the rows of %s and was created by another run directory: it is never cancelled"
        if attempts:
            message = "Job %s fits %s by its number of rows and its time, and by nothing else: it is never cancelled"
        self.run.log.warning(message, job.id, shard.name)
        self.borrowed.add(job.id)
        return self._record_job(shard, attempts[-1].number if attempts else 1, job, found=True, borrowed=True)

    def _note_found(
        self, shard: Shard, job: Job, *, borrowed: bool, surplus: Sequence[Job] = (), same: Sequence[Job] = ()
    ) -> bool:
        """Fence the first create of a shard whose job exists already; False where another process creates it."""
        intent = Intent(
            next(self.looker.tokens(shard)),
            self.run.clock(),
            job_id=job.id,
            borrowed=borrowed,
            surplus=[other.id for other in surplus],
            same=[other.id for other in same],
        )
        return self.run.ledger.record(shard, 1, intent)

    def read_on(self, shard: Shard, attempt: Attempt) -> Attempt:
        """Continue with the next job of the same bytes, because the borrowed one has left rows open: if this directory
        made that one before its record was lost, sending those rows would pay for them twice.

        :return: that job's place in the record.
        """
        assert attempt.intent is not None
        before, intent = attempt.job_id, attempt.intent
        job_id, *rest = intent.same
        self.run.log.warning(
            "Job %s left rows of %s open; job %s has the same rows and is read", before, shard.name, job_id
        )
        following = Intent(intent.token, self.run.clock(), job_id=job_id, borrowed=True, same=rest)
        self.run.ledger.record(shard, attempt.number + 1, following)
        return Attempt(attempt.number + 1, following)

    def forget(self, shard: Shard, attempts: Sequence[Attempt]) -> None:
        """Stop what a create without an answer may have made, of a run that is begun anew."""
        token = attempts[-1].token
        seen = self.looker.look([(shard, attempts)])[shard.name]
        for job in seen.likely:
            message = "Job %s is likely that of %s, by its number of rows and its time; check it, it is not cancelled"
            self.run.log.error(message, job.id, shard.name)
        for job in seen.own:
            if not content_of(token):
                self.run.log.error("Job %s looks like that of %s; check it, it is not cancelled", job.id, shard.name)
                continue
            self.run.log.warning("Job %s of %s is being cancelled; its answers are not kept", job.id, shard.name)
            self.run.read(lambda job=job: self.run.backend.cancel(job.id))  # type: ignore[misc]
        if not seen.own and not seen.likely:
            message = "No answer to the create of %s, and no job was found; one tagged %r may still bill"
            self.run.log.error(message, shard.name, token)

    def _forgotten(self, shard: Shard, reason: str) -> RunConflictError:
        return RunConflictError(
            f"{self.run.directory.uri}: the record of {shard.name} was deleted. It was sent, since a later round was "
            f"planned, but {reason}. Nothing is sent again. Restore the directory, or use another output_path, which "
            "sends every row again."
        )

    def _lost(self, shard: Shard, attempt: Attempt | None, reason: str) -> LostCreateError:
        if attempt is None:
            return LostCreateError(
                f"The record of this run was deleted, and whether {shard.name} was sent before is unknown: {reason}. "
                f"Look at the provider for a batch whose name, tag or input file holds "
                f"{self.looker.content(shard)!r}. If there is none, run this task again with "
                'on_lost_create="resubmit"; if there is one, wait until the provider lists it and clear the task.'
            )
        return LostCreateError(
            f"Whether the job of {shard.name} was created is unknown: {reason}. Look at the provider for a batch named "
            f"or tagged {attempt.token!r}. If there is none, run this task again with "
            'on_lost_create="resubmit"; if there is one, wait until the provider lists it and clear the task.'
        )
