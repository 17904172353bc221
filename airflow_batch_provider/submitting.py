"""One job for each shard: carries out what :mod:`airflow_batch_provider.core.submission` decides."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from airflow_batch_provider import staging
from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.budget import Budget
from airflow_batch_provider.core import submission
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
    WaitError,
)
from airflow_batch_provider.core.identity import shard_token
from airflow_batch_provider.core.records import JSON, Found, Job, RunOptions, Shard
from airflow_batch_provider.core.refusals import pause_after
from airflow_batch_provider.ledger import Attempt, Ledger
from airflow_batch_provider.storage import RunDirectory

CLOCK_SLACK_SECONDS = 300.0
READ_PAUSES = (1.0, 4.0, 10.0)
LONGEST_READ_PAUSE = 120.0
"""The most that is waited within the worker for one answer; OpenAI's own client waits as long."""
LOST_CREATES = 5

T = TypeVar("T")


_FOR_ALL = frozenset({AccountError.__name__, RateLimitedError.__name__})
"""Refusals that say nothing of the one shard."""


def full_refusals(attempt: Attempt) -> int:
    """How often a shard's creates were refused because the queue was too full for it."""
    return _full(attempt.facts.get("refused", {}))


def _full(refused: JSON) -> int:
    return int(refused.get("full") or 0)


class Logger(Protocol):
    """What is asked of a logger: the standard library's and Airflow's both are one."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Tell."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Warn."""

    def error(self, message: str, /, *args: Any) -> Any:
        """Tell what went wrong."""


class Read(Protocol):
    """Carries out a call that pays nothing, again after a pause when the provider stumbles."""

    def __call__(self, call: Callable[[], T], /) -> T:
        """Return what the call returns."""


def read(call: Callable[[], T], pause: Callable[[float], None], log: Logger) -> T:
    """Carry out a call that pays nothing, again after a pause when the provider stumbles."""
    for least in READ_PAUSES:
        try:
            return call()
        except (ProviderError, RateLimitedError) as error:  # noqa: PERF203 - a retry is one
            seconds = max(least, min(error.retry_after or 0.0, LONGEST_READ_PAUSE))
            log.warning("%s; trying again in %g s", error, seconds)
            pause(seconds)
    return call()


class Submitter:
    """Creates, or finds again, the jobs of one run.

    :param input_file_id: the upload to use, where the author made it.
    :param look_first: True when the ledger was lost, so that every create is looked for before it is made.
    :param stopped: asked before each create; True once the task was killed.
    :param read: carries out calls that pay nothing.
    """

    def __init__(
        self,
        directory: RunDirectory,
        ledger: Ledger,
        backend: Backend,
        options: RunOptions,
        *,
        run_key: str,
        fingerprint: str,
        input_file_id: str | None,
        look_first: bool,
        stopped: Callable[[], bool],
        clock: Callable[[], float],
        read: Read,
        log: Logger,
    ) -> None:
        self._directory = directory
        self._ledger = ledger
        self._backend = backend
        self._options = options
        self._budget = Budget(backend, options)
        self._run_key = run_key
        self._fingerprint = fingerprint
        self._input_file_id = input_file_id
        self._look_first = look_first
        self._stopped = stopped
        self._clock = clock
        self._read = read
        self._log = log
        self._held_until = 0.0

    def submit(self, shard: Shard, attempt: Attempt | None) -> str | float:
        """One shard by the table of decisions: the id of its job, or when to look again.

        :raises BudgetError: when a create could cost more than is left; nothing was uploaded.
        """
        looked: Found | None = None
        while True:
            decision = submission.decide(
                self._last(attempt),
                looked=looked,
                now=self._clock(),
                settle_seconds=self._backend.find_settle_seconds,
                on_lost_create=self._options.on_lost_create,
            )
            match decision:
                case submission.Create(number):
                    made = self._create(shard, number, attempt)
                    if not isinstance(made, Attempt):
                        return made
                    attempt, looked = made, None
                case submission.Attached(job_id):
                    return job_id
                case submission.Look():
                    looked = self._look(attempt)
                case submission.Attach(job, surplus):
                    return self._attach(shard, attempt, job, surplus)
                case submission.Repeat():
                    return self._repeat(shard, attempt)
                case submission.LookAgain(at):
                    return at
                case submission.Refuse(reason):
                    raise self._lost(shard, attempt, reason)

    def _last(self, attempt: Attempt | None) -> submission.LastCreate | None:
        if attempt is None:
            return None
        return replace(
            attempt.as_last(), repeatable=self._backend.create_is_repeatable and bool(attempt.intent.get("request"))
        )

    def _repeat(self, shard: Shard, attempt: Attempt | None) -> str | float:
        """Send a create whose answer was lost again; the provider makes no second job of it.

        A refusal now is not recorded as one: the first sending may have been accepted all the same.
        """
        assert attempt is not None
        if self._budget.is_set and (refusal := self._budget.refusal([], self._ledger.rounds())):
            raise BudgetError(refusal)
        self._log.warning("The create of %s is sent again; the provider knows it by its token", shard.name)
        try:
            made = self._send(shard, attempt.number, attempt.intent)
        except WaitError as error:
            self._log.warning("%s is not accepted yet, trying again later: %s", shard.name, error)
            return self._clock() + (pause_after(error, 1, 0.0) or submission.LOOK_AGAIN_SECONDS)
        return self._clock() + submission.LOOK_AGAIN_SECONDS if isinstance(made, Attempt) else made

    def _create(self, shard: Shard, number: int, before: Attempt | None) -> str | float | Attempt:
        """Upload, record the intent, create, record the job.

        :return: the job's id, when to try again, or the attempt whose answer was lost.
        """
        # What was refused made nothing, so its token is still nobody's; a lost ledger is then easier to make up for.
        refused = before.facts.get("refused") if before else None
        if (later := self._not_before(refused)) > self._clock():
            return later
        token = before.intent["token"] if before and refused else self._token(shard, number)
        if self._look_first and (orphan := self._orphan(shard, number, token)):
            return orphan
        self._refuse_when_stopped()
        if self._budget.is_set and (refusal := self._budget.refusal([shard], self._ledger.rounds())):
            raise BudgetError(refusal)
        options = self._options.backend_options
        # The author's upload holds all rows, so it serves the first round only.
        input_id = self._input_file_id if shard.round == 0 else None
        if before and refused and refused.get("wait"):
            input_id = before.intent.get("input_id")
        if input_id is None:
            input_id = self._read(lambda: self._upload(shard, token))
        request = self._backend.create_request(shard, token, input_id, options)
        intent = {"token": token, "at": self._clock(), "input_id": input_id, "request": request}
        if not self._ledger.claim(shard, number, intent):
            self._log.warning("Another process is creating %s; this one waits for it", shard.name)
            return self._clock() + submission.LOOK_AGAIN_SECONDS
        try:
            return self._send(shard, number, intent)
        except BatchInferenceError as error:
            return self._refused(shard, number, error, refused or {})

    def _token(self, shard: Shard, number: int) -> str:
        return shard_token(self._run_key, self._fingerprint, shard.name, number)

    def _orphan(self, shard: Shard, number: int, token: str) -> str | None:
        """The job of a shard whose ledger was lost; that may have known later creates, each after one given up."""
        for known in (token, *(self._token(shard, later) for later in range(number + 1, number + LOST_CREATES))):
            if (found := self._look_for(known, None, 0.0)).jobs:
                attempt = Attempt(number, {"intent": {"token": known, "at": 0.0}})
                self._ledger.record(shard, number, "intent", attempt.intent)
                return self._attach(shard, attempt, found.jobs[0], found.jobs[1:])
        return None

    def _send(self, shard: Shard, number: int, intent: JSON) -> str | Attempt:
        """Send the recorded create and record the job.

        :return: the job's id, or the attempt whose answer was lost.
        :raises BatchInferenceError: when nothing was created by this call.
        """
        try:
            self._refuse_when_stopped()
            job = self._backend.create(intent["request"])
        except ProviderError as error:
            if not error.ambiguous:
                raise
            self._log.warning("The answer to creating %s was lost, looking for it: %s", shard.name, error)
            return Attempt(number, {"intent": intent})
        self._record_job(shard, number, job, found=False)
        return job.id

    def _not_before(self, refused: JSON | None) -> float:
        """When a shard may be sent, as far as refusals know.

        Where the account or the number of calls was refused, every other shard would be, too.
        """
        again_at = float((refused or {}).get("again_at") or 0.0)
        if refused and refused.get("kind") in _FOR_ALL:
            self._held_until = max(self._held_until, again_at)
        return max(again_at, self._held_until)

    def _refused(self, shard: Shard, number: int, error: BatchInferenceError, before: JSON) -> float:
        """Record a refusal, which stands for those before it.

        :param before: the refusal of the create before.
        :return: when to send it again.
        :raises BatchInferenceError: when it is for good, or was so too often.
        """
        now, kind = self._clock(), type(error).__name__
        in_a_row = before if before.get("kind") == kind and before.get("again_at") else {}
        times, since = in_a_row.get("times", 0) + 1, float(in_a_row.get("since", now))
        pause = pause_after(error, times, now - since)
        first = int(before.get("first", number - 1)) if before else number
        fact = {
            "at": now,
            "first": first,
            "kind": kind,
            "times": times,
            "since": since,
            "again_at": None if pause is None else now + pause,
            # Whether the upload serves the next create: not one that was never made ready.
            "wait": isinstance(error, AccountError) or pause is not None,
            "full": _full(before) + (isinstance(error, QuotaError) and error.tokens),
            "error": str(error),
        }
        self._ledger.record(shard, number, "refused", fact)
        if before:
            self._ledger.fold(shard, first, number - 1)
        if pause is not None:
            self._log.warning("%s is not accepted, trying again in %.0f s: %s", shard.name, pause, error)
            if kind in _FOR_ALL:
                self._held_until = max(self._held_until, now + pause)
            return now + pause
        if isinstance(error, AccountError):
            raise AccountError(f"{shard.name} was refused {times} times: {error}") from error
        if isinstance(error, NotReadyError):
            raise RequestRejectedError(
                f"{shard.name} was refused {times} times in {(now - since) / 60:.0f} minutes: {error}"
            ) from error
        raise error

    def _refuse_when_stopped(self) -> None:
        if self._stopped():
            raise PermanentError("The task was killed; no further job is created")

    def _upload(self, shard: Shard, token: str) -> str:
        with self._directory.open(staging.wire_name(shard)) as stream:
            return self._backend.upload(shard, token, stream, self._options.backend_options)

    def _record_job(self, shard: Shard, number: int, job: Job, *, found: bool) -> None:
        url = self._backend.console_url(job.id)
        fact = {"job_id": job.id, "at": self._clock(), "found": found, "console_url": url}
        self._ledger.record(shard, number, "job", fact)
        verb = "Found" if found else "Created"
        self._log.info("%s job %s for %s: %d rows%s", verb, job.id, shard.name, shard.rows, f", {url}" if url else "")

    def _look(self, attempt: Attempt | None) -> Found:
        intent = attempt.intent if attempt else {}
        since = max(0.0, float(intent.get("at", 0.0)) - CLOCK_SLACK_SECONDS)
        # An upload that the author made may serve other runs too: then only our token tells whose a job is.
        shared = self._input_file_id is not None and intent.get("input_id") == self._input_file_id
        return self._look_for(str(intent.get("token", "")), None if shared else intent.get("request"), since)

    def _look_for(self, token: str, request: JSON | None, since: float) -> Found:
        return self._read(lambda: self._backend.find(token, request, since))

    def _attach(self, shard: Shard, attempt: Attempt | None, job: Job, surplus: tuple[Job, ...]) -> str:
        number = attempt.number if attempt else 1
        for other in surplus:
            self._log.error("Job %s repeats job %s and is cancelled; it may be billed", other.id, job.id)
            try:
                self._read(functools.partial(self._backend.cancel, other.id))
            except PermanentError as error:
                self._log.error("Job %s could not be cancelled and may still bill: %s", other.id, error)
        # Recorded last, so that a process killed before finds the others again.
        self._record_job(shard, number, job, found=True)
        return job.id

    def forget(self, shard: Shard, attempt: Attempt) -> None:
        """Stop what a create without an answer may have made, of a run that is begun anew."""
        found = self._look(attempt)
        for job in found.jobs:
            self._log.warning("Job %s of %s is cancelled; what it answered is not kept", job.id, shard.name)
            self._read(functools.partial(self._backend.cancel, job.id))
        if not found.jobs:
            told = "The create of %s was not answered and no job shows; one tagged %r may still bill"
            self._log.error(told, shard.name, attempt.intent.get("token"))

    def _lost(self, shard: Shard, attempt: Attempt | None, reason: str) -> LostCreateError:
        token = attempt.intent.get("token") if attempt else None
        return LostCreateError(
            f"Whether the job of {shard.name} was created is unknown: {reason}. Look at the provider for a batch named "
            f"or tagged {token!r}. If there is none, run this task again with "
            'on_lost_create="resubmit"; if there is one, wait until the provider lists it and clear the task.'
        )
