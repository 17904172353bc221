"""One author's run, from plan to results, over any number of processes.

:meth:`BatchRun.advance` looks at the run directory and does all that can be done without waiting. Whoever calls it, an
operator, a resumed operator, a retry after ``kill -9`` or the command line, calls the same method; crash anywhere and
call it again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from airflow_batch_provider import collecting, staging
from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.errors import (
    BatchInferenceError,
    ConfigurationError,
    DeadlineError,
    RunConflictError,
)
from airflow_batch_provider.core.polling import WakeRule
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.core.records import JSON, RunOptions, RunSummary, Shard
from airflow_batch_provider.core.validation import Rules
from airflow_batch_provider.ledger import Attempt, Ledger, Round
from airflow_batch_provider.storage import RunDirectory
from airflow_batch_provider.submitting import Logger, Submitter, read

WINDOW_SLACK_HOURS = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing more can be done now.

    :param jobs: ids of the live jobs.
    :param rule: when to call ``advance`` again.
    """

    jobs: tuple[str, ...]
    rule: WakeRule


@dataclass(frozen=True, slots=True)
class Done:
    """The run has ended; results, failed requests and summary are written."""

    summary: RunSummary


class BatchRun:
    """One run in its directory.

    :param directory: the run directory.
    :param backend: where jobs run.
    :param options: what the author asked for.
    :param run_key: who the run is; see :func:`airflow_batch_provider.core.identity.run_key`. None for those who read a
        run that another task submitted: they never plan, create or compare.
    :param conn_id: the connection's name, recorded so that others can follow the run.
    :param input_path: the author's file, read when the run is planned.
    :param input_file_id: the same file as it was uploaded already; then it is not uploaded again.
    :param stopped: asked before each create; True once the task was killed.
    :param clock: seconds since the epoch.
    :param pause: waits so many seconds between attempts to read.
    """

    def __init__(
        self,
        directory: RunDirectory,
        backend: Backend,
        options: RunOptions,
        *,
        run_key: str | None = None,
        conn_id: str = "",
        input_path: str = "",
        input_file_id: str | None = None,
        stopped: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
        log: Logger | None = None,
    ) -> None:
        self.directory = directory
        self.backend = backend
        self.options = options
        self.run_key = run_key
        self.conn_id = conn_id
        self.input_path = input_path
        self.input_file_id = input_file_id
        self.ledger = Ledger(directory)
        self._stopped = stopped
        self._clock = clock
        self._pause = pause
        self._log: Logger = log or logging.getLogger(__name__)
        self._look_first = False

    # ---- the life of a run -------------------------------------------------------------------------------------

    def begin(self, *, first_try: bool) -> None:
        """Open the run directory for a new try: plan it, or make sure that it is ours and re-arm what has ended.

        :param first_try: False for a retry or a cleared task, for which a missing directory is suspicious: jobs may
            live whose ledger is lost, so every planned create is looked for at the provider first.
        :raises InputError: with every problem of the file, before anything is sent.
        :raises RunConflictError: when the directory belongs to another run, input or provider.
        """
        if self.options.rounds < 1:
            raise ConfigurationError(f"rounds must be 1 or more, not {self.options.rounds}")
        record = self.ledger.run()
        if record is not None:
            self._check_ours(record)
            if self._changed(record):
                record = None
        elif not first_try:
            message = "%s is gone, and this is not the first try: every job is looked for before one is created"
            self._log.warning(message, self.directory.uri)
            self._look_first = True
        if record is None or not self.ledger.rounds():
            self._plan_first_round(record)
        else:
            self._rearm()

    def advance(self) -> Waiting | Done:
        """Do all that can be done without waiting: submit, look, collect, plan the next round, or finish.

        :raises BatchInferenceError: what stands against it, typed by what the caller should do.
        """
        record = self.ledger.run()
        if record is None or not (rounds := self.ledger.rounds()):
            raise RunConflictError(
                f"There is no run in {self.directory.uri}; it was deleted or never planned. Restore it, or clear the "
                "task to look for its jobs at the provider and begin anew."
            )
        self._check_ours(record)
        while True:
            if self.ledger.summary() is not None:
                return Done(self._finish(record))
            waiting = self._drive(rounds[-1], record)
            if waiting is not None:
                return waiting
            if not self._plan_next_round(rounds):
                return Done(self._finish(record))
            rounds = self.ledger.rounds()

    def live_jobs(self) -> list[str]:
        """Ids of the jobs that were created and have not been collected."""
        return [attempt.job_id for _, attempt in self.ledger.open_attempts() if attempt.job_id]

    def more_time(self) -> None:
        """Give a new try a deadline of its own, where the last one has passed."""
        tries = self.ledger.tries()
        if tries["deadline"] is None or self._clock() >= tries["deadline"]:
            self.ledger.write_tries(tries["series_start"], self._clock() + self._timeout())

    def cancel(self) -> list[str]:
        """Ask the provider to stop every live job; their finished rows are collected by the next try.

        :return: the ids of the jobs that were asked to stop.
        """
        cancelled = []
        for shard, attempt in self.ledger.open_attempts():
            if attempt.job_id:
                try:
                    self.backend.cancel(attempt.job_id)
                except BatchInferenceError as error:
                    self._log.warning("Job %s could not be cancelled and may still bill: %s", attempt.job_id, error)
                    continue
                self.ledger.record(shard, attempt.number, "cancel", {"at": self._clock()})
                cancelled.append(attempt.job_id)
        return cancelled

    # ---- whose directory it is ---------------------------------------------------------------------------------

    def _check_ours(self, record: JSON) -> None:
        where = self.directory.uri
        if self.run_key is not None and record["run_key"] != self.run_key:
            raise RunConflictError(
                f"{where} holds the run {record['run_key']!r}, this task is {self.run_key!r}; give every run its own "
                "output_path, e.g. with {{ run_id }} in it"
            )
        if record["identity"] != dict(self.backend.identity) and self.live_jobs():
            raise RunConflictError(
                f"{where} has live jobs at {record['identity']}, the connection now names "
                f"{dict(self.backend.identity)}; switch it back until they have ended"
            )

    def _changed(self, record: JSON) -> bool:
        """Whether the input changed and the run begins anew."""
        report = staging.inspect(self.input_path, staging.file_source(self.input_path), self._rules(), self.backend)
        report.raise_for_problems()
        if report.fingerprint == record["fingerprint"]:
            return False
        if self.options.on_changed_input == "fail":
            raise RunConflictError(
                f"{self.input_path}, or the model or endpoint it asks, changed since {self.directory.uri} was begun. "
                'Restore it, use another output_path, or set on_changed_input="restart" to keep what was answered '
                "under history/ and ask everything anew."
            )
        for shard, attempt in self.ledger.open_attempts():
            if attempt.job_id:
                self._collected(shard, attempt, attempt.job_id)
        self.cancel()
        where = self.directory.archive(f"{record['fingerprint'][:8]}-{int(self._clock())}")
        self.ledger = Ledger(self.directory)
        self._log.warning("The input changed: %s was moved to %s", self.directory.uri, where)
        return True

    def _rules(self) -> Rules:
        models = replace(self.backend.models, override=self.options.model)
        return Rules(models=models, limits=self.backend.limits, endpoint=self.options.endpoint)

    # ---- rounds ------------------------------------------------------------------------------------------------

    def _plan_first_round(self, record: JSON | None) -> None:
        source = staging.file_source(self.input_path)
        rules = self._rules()
        self.backend.check_route([rules.models.resolve(None)], [], self.options.backend_options)
        report = staging.inspect(self.input_path, source, rules, self.backend)
        for warning in report.warnings:
            self._log.warning("%s: %s", self.input_path, warning)
        report.raise_for_problems()
        models = [group.model for group in report.groups]
        endpoints = sorted({group.endpoint for group in report.groups})
        self.backend.check_route(models, endpoints, self.options.backend_options)
        if record is None:
            self._record(report.fingerprint, report.rows)
        shards = staging.stage(self.directory, self.input_path, source, rules, self.backend, report, 0)
        if self.input_file_id and (len(shards) != 1 or shards[0].rewritten):
            raise ConfigurationError(
                f"{self.input_file_id} is not what one job would be sent: it has several models or endpoints, is too "
                "large, or its lines need to be written anew; give input_path instead"
            )
        self._log.info("%s: %d rows in %d shards", self.input_path, report.rows, len(shards))
        self._open_round(0, shards, 0)

    def _record(self, fingerprint: str, rows: int) -> None:
        """Write ``run.json``, or make sure that the one that is there is ours."""
        run = {
            "version": 1,
            "run_key": self.run_key,
            "fingerprint": fingerprint,
            "conn_id": self.conn_id,
            "identity": dict(self.backend.identity),
            "input_path": self.input_path,
            "rows": rows,
            "options": asdict(self.options),
            "begun_at": self._clock(),
        }
        if not self.ledger.begin(run):
            self._check_ours(self.ledger.run() or {})

    def adopt(self, job_id: str, shard: Shard) -> None:
        """Begin a run around a job that exists already; what it was sent, the shard, is written."""
        self._record(f"job {job_id}", shard.rows)
        self._open_round(0, [shard], 0)

    def _plan_next_round(self, rounds: list[Round]) -> bool:
        """Plan what asking again can help as one more round; False when nothing remains or no round does."""
        series_start = self.ledger.tries()["series_start"]
        number = len(rounds)
        if self.run_key is None:
            return False
        if number > series_start and number - series_start >= self.options.rounds:
            return False
        wanted = collecting.helps_next_try if number == series_start else collecting.helps_now
        sent = [a_round.shards for a_round in rounds]

        def source() -> staging.Lines:
            return enumerate(collecting.remainder(self.directory, sent, wanted), start=1)

        if next(iter(source()), None) is None:
            return False
        label = f"{self.directory.uri} (what round {number - 1} left open)"
        rules = self._rules()
        report = staging.inspect(label, source, rules, self.backend)
        minimum = self.backend.limits.min_rows
        for group in report.groups:
            if len(group.sizes) < minimum:
                message = "%d rows of model %s are too few to be asked again: the provider takes no fewer than %d a job"
                self._log.warning(message, len(group.sizes), group.model, minimum)
        report.groups = [group for group in report.groups if len(group.sizes) >= minimum]
        if not report.groups:
            return False
        shards = staging.stage(self.directory, label, source, rules, self.backend, report, number)
        self._log.info("Round %d asks %d rows again in %d shards", number, sum(s.rows for s in shards), len(shards))
        self._open_round(number, shards, series_start)
        return True

    def _open_round(self, number: int, shards: list[Shard], series_start: int) -> None:
        now = self._clock()
        self.ledger.write_tries(series_start, now + self._timeout())
        self.ledger.plan(number, shards, now)

    def _timeout(self) -> float:
        if self.options.timeout is not None:
            return self.options.timeout
        return (self.backend.limits.window_hours + WINDOW_SLACK_HOURS) * 3600

    def _rearm(self) -> None:
        """Give a new try what it needs: time, and fresh rounds where the last try gave up or was killed."""
        tries = self.ledger.tries()
        rounds = self.ledger.rounds()
        series_start, deadline = tries["series_start"], tries["deadline"]
        summary = self.ledger.summary()
        if summary is not None:
            try:
                judge(summary, self.options.error_tolerance)
            except BatchInferenceError:
                if summary.retryable:
                    self._log.info("The last try left %d rows that can be asked again", summary.retryable)
                    series_start = len(rounds)
                    self.directory.remove("summary.json")
        elif any("cancel" in attempt.facts for shards in rounds[-1].attempts.values() for attempt in shards):
            series_start = len(rounds)
        self.ledger.write_tries(series_start, deadline)
        self.more_time()

    # ---- jobs --------------------------------------------------------------------------------------------------

    def _drive(self, a_round: Round, record: JSON) -> Waiting | None:
        """Collect what has ended and create what may be created; None when every shard has ended."""
        live: list[str] = []
        unsent: list[Shard] = []
        for shard in a_round.shards:
            attempt = a_round.last(shard)
            if attempt is None or attempt.job_id is None:
                unsent.append(shard)
            elif attempt.end is None and not self._collected(shard, attempt, attempt.job_id):
                live.append(attempt.job_id)
        look_at: list[float] = []
        submitter = Submitter(
            self.directory,
            self.ledger,
            self.backend,
            self.options,
            run_key=record["run_key"],
            fingerprint=record["fingerprint"],
            input_file_id=self.input_file_id,
            look_first=self._look_first,
            stopped=self._stopped,
            clock=self._clock,
            read=self._read,
            log=self._log,
        )
        room = len(a_round.shards) if self.options.max_jobs_in_flight is None else self.options.max_jobs_in_flight
        for shard in unsent:
            if self.run_key is None:
                raise RunConflictError(f"{shard.name} in {self.directory.uri} has no job yet; its own task creates it")
            if len(live) + len(look_at) >= room:
                break
            outcome = submitter.submit(shard, a_round.last(shard))
            if isinstance(outcome, str):
                live.append(outcome)
            else:
                look_at.append(outcome)
        if not live and not look_at:
            return None
        deadline = float(self.ledger.tries()["deadline"] or 0)
        if self._clock() >= deadline:
            raise DeadlineError(
                f"The deadline has passed with {len(live)} jobs alive ({', '.join(live)}); they were left alone and "
                "may still be billed. A new try gives them more time and collects what they answer."
            )
        waits = len(live) + len(look_at) < len(unsent)
        return Waiting(tuple(live), WakeRule(deadline, min(look_at, default=None), on_any_end=waits))

    def _collected(self, shard: Shard, attempt: Attempt, job_id: str) -> bool:
        """Whether the job has ended; then its rows are collected."""
        job = self._read(lambda: self.backend.retrieve(job_id))
        if not job.status.is_terminal:
            return False
        own, now = not attempt.intent.get("attached"), self._clock()
        end = self._read(lambda: collecting.collect(self.directory, self.backend, shard, job, now, own=own))
        self.ledger.record(shard, attempt.number, "end", collecting.as_fact(end))
        collecting.tell(self._log, job, end)
        return True

    def _read(self, call: Callable[[], T]) -> T:
        """Carry out a call that pays nothing, again after a pause when the provider stumbles."""
        return read(call, self._pause, self._log)

    # ---- the end -----------------------------------------------------------------------------------------------

    def _finish(self, record: JSON) -> RunSummary:
        """Write results, failed requests and, last, the summary."""
        done = self.ledger.summary()
        if done is not None:
            return done
        rounds = self.ledger.rounds()
        summary = collecting.summarise(
            self.directory, self.backend, rounds, record, self._clock(), ours=self.run_key is not None
        )
        self.ledger.write_summary(summary)
        return summary
