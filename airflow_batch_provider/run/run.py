"""One author's run, from plan to results, over any number of processes.

:meth:`BatchRun.advance` looks at the run directory and does all that can be done without waiting. Whoever calls it, an
operator, a resumed operator, a retry after ``kill -9`` or the command line, calls the same method; crash anywhere and
call it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from airflow_batch_provider.core.errors import BatchInferenceError, ConfigurationError, RunConflictError
from airflow_batch_provider.core.identity import new_directory_id
from airflow_batch_provider.core.polling import Waiting
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.core.records import Shard
from airflow_batch_provider.core.summary import RunSummary
from airflow_batch_provider.run import place, results, staging
from airflow_batch_provider.run.attempts import Round, unended
from airflow_batch_provider.run.context import RunContext
from airflow_batch_provider.run.driver import Driver
from airflow_batch_provider.run.facts import RunRecord, Tries
from airflow_batch_provider.run.fetcher import Fetcher
from airflow_batch_provider.run.ledger import VERSIONS, Ledger, recorded
from airflow_batch_provider.run.looker import Looker
from airflow_batch_provider.run.planner import Planner
from airflow_batch_provider.run.submitter import Submitter

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done:
    """The run has ended; results, failed requests and summary are written."""

    summary: RunSummary


@dataclass(slots=True)
class BatchRun(RunContext):
    """One run in its directory, which is the context of its own parts."""

    _was_lost: bool = field(init=False, default=False)

    # ---- the life of a run -------------------------------------------------------------------------------------

    def begin(self, *, first_try: bool) -> None:
        """Open the run directory for a new try: plan it, or make sure that it is ours and re-arm what has ended.

        :param first_try: False for a retry or a cleared task, for which a missing directory is suspicious: jobs may
            live whose ledger is lost, so every planned create is looked for at the provider first.
        :raises InputError: with every problem of the file, before anything is sent.
        :raises RunConflictError: when the directory belongs to another run, input or provider.
        """
        archived = self._go_on_archiving()
        record = self.ledger.run()
        rounds = self.ledger.rounds()
        if record is not None:
            self._check_ours(record)
            if self._changed(record):
                record, rounds, first_try = None, [], True
        elif archived:
            first_try = True  # nothing was sent since the run before was put away
        if not rounds and not first_try and not self.ledger.is_unsent():
            message = "The record of %s is gone on a later try: its jobs are searched for before any is created"
            self.log.warning(message, self.directory.uri)
            self._was_lost = True
        if record is None or not rounds:
            self._plan_first_round(record)
        else:
            self._rearm(record)
        self.ledger.keep()

    def advance(self) -> Waiting | Done:
        """Do all that can be done without waiting: submit, look, collect, plan the next round, or finish.

        :raises BatchInferenceError: why it cannot go on, typed by what the caller should do; what was answered so
            far is in ``results/``, with a summary that says what is open.
        """
        self._go_on_archiving()
        record, rounds = self.ledger.run(), self.ledger.rounds()
        if record is None or not rounds:
            raise self._no_run()
        self._check_ours(record)
        try:
            outcome = self._advanced(record, rounds)
        except BatchInferenceError as error:
            self._write_so_far(record, error)
            raise
        self.ledger.keep()
        return outcome

    def _advanced(self, record: RunRecord, rounds: list[Round]) -> Waiting | Done:
        while True:
            if (summary := self.ledger.summary()) is not None:
                return Done(summary)
            driven = unended(rounds)
            waiting = self._driver(record).drive(driven, is_followed=len(rounds) > driven.number + 1)
            if waiting is not None:
                return waiting
            rounds = self.ledger.rounds()
            if rounds[-1].number > driven.number:
                continue  # it was an earlier one, or another process has planned the next round meanwhile
            if self.run_key is None or not Planner(self).next(rounds):
                return Done(self._finish(record))
            rounds = self.ledger.rounds()

    def live_jobs(self) -> list[str]:
        """Ids of the jobs that were created and have not been collected."""
        return [attempt.job_id for _, attempt in self.ledger.open_attempts() if attempt.job_id]

    def more_time(self) -> None:
        """Give a new try a deadline of its own, where the last one has passed."""
        self._renew(tries := self.ledger.tries(), tries)

    def _renew(self, known: Tries, tries: Tries) -> None:
        """Record what a new try changes, with a deadline that has not passed.

        :param known: what is recorded.
        """
        if tries.deadline is None or self.clock() >= tries.deadline:
            tries = replace(tries, deadline=self.clock() + Planner(self).timeout())
        if tries != known:
            self.ledger.write_tries(tries)

    def cancel(self) -> list[str]:
        """Request the provider to cancel every live job; their finished rows are collected by the next try.

        :return: the ids of the jobs to cancel.
        """
        return Fetcher(self).cancel()

    # ---- whose directory it is ---------------------------------------------------------------------------------

    def _check_ours(self, record: RunRecord) -> None:
        where = self.directory.uri
        if self.run_key is not None and record.run_key != self.run_key:
            raise RunConflictError(
                f"{where} holds the run {record.run_key!r}, this task is {self.run_key!r}; give every run its own "
                "output_path, e.g. with {{ run_id }} in it"
            )
        elsewhere = record.identity != dict(self.backend.identity)
        moved = self.run_key is not None and place.is_elsewhere(self.directory, record)
        if (elsewhere or moved) and (self.ledger.open_attempts() or self.ledger.summary() is None):
            if elsewhere:
                raise self._elsewhere(record, "until the run has ended")
            place.settle(self.directory, record, self.log)

    def _no_run(self) -> RunConflictError:
        return RunConflictError(
            f"There is no run in {self.directory.uri}; it was deleted or never planned. Restore it, or clear the "
            "task to look for its jobs at the provider and begin anew."
        )

    def _elsewhere(self, record: RunRecord, how_long: str) -> RunConflictError:
        return RunConflictError(
            f"{self.directory.uri} was begun at {dict(record.identity)}, the connection now names "
            f"{dict(self.backend.identity)}; switch it back {how_long}, or use another output_path"
        )

    def _changed(self, record: RunRecord) -> bool:
        """Whether the input changed and the run begins anew."""
        report = Planner(self).inspect(self.input_path)
        if report.fingerprint == record.fingerprint:
            return False
        if self.options.on_changed_input == "fail":
            raise RunConflictError(
                f"{self.input_path}, or its model or endpoint, changed since {self.directory.uri} was begun. "
                'Restore it, use another output_path, or set on_changed_input="restart" to keep what was answered '
                "under history/ and send every row again."
            )
        for shard, attempt in self.ledger.open_attempts():
            if attempt.job_id is None:
                Submitter(self, self._looker(record)).forget(shard, [attempt])
                continue
            look = Fetcher(self).look(shard, attempt, attempt.job_id)
            if isinstance(look, BatchInferenceError):
                raise look
            if look not in (True, False):
                self.log.error("The answers of job %s are not kept: they were not found", attempt.job_id)
        self.cancel()
        self.directory.archive(f"{record.fingerprint[:8]}-{int(self.clock())}")
        self.ledger = Ledger(self.directory)
        self.log.warning("The input changed: the run in %s was moved to its history/", self.directory.uri)
        return True

    def _go_on_archiving(self) -> bool:
        """Whether a run was being archived when its process died; then that is done now."""
        where = self.directory.go_on_archiving()
        if where is not None:
            self.ledger = Ledger(self.directory)
            self.log.warning("An earlier process was archiving the run before; it is in %s now", where)
        return where is not None

    # ---- rounds ------------------------------------------------------------------------------------------------

    def _plan_first_round(self, record: RunRecord | None) -> None:
        planner = Planner(self)
        if record is None and not self._was_lost:
            self.ledger.note_unsent()
        report, planned = planner.first(self.input_path)
        if record is None:
            self._record(report.fingerprint, report.rows)
        elif self._was_lost:
            self.ledger.note_lost()
        if self.ledger.rounds():
            return  # another process has planned it meanwhile; its files are not to be written over
        shards = planner.stage(self.input_path, report, planned)
        if self.input_file_id and (len(shards) != 1 or shards[0].rewritten):
            raise ConfigurationError(
                f"{self.input_file_id} is not what one job would be sent: it has several models or endpoints, is too "
                "large, or its lines need to be written anew; give input_path instead"
            )
        self.log.info("Rows: %d, shards: %d, from %s", report.rows, len(shards), self.input_path)
        planner.open(0, shards, 0)

    def _record(self, fingerprint: str, rows: int) -> None:
        """Write ``run.json``, or make sure that the one that is there is ours."""
        record = RunRecord(
            version=max(VERSIONS),
            id=new_directory_id(),
            uri=self.directory.uri,
            run_key=str(self.run_key),
            fingerprint=fingerprint,
            conn_id=self.conn_id,
            identity=dict(self.backend.identity),
            input_path=self.input_path,
            rows=rows,
            look_first=self._was_lost,
            options=recorded(self.options),
            begun_at=self.clock(),
        )
        if not self.ledger.begin(record):
            self._check_ours(self.ledger.run() or record)

    def adopt(self, job_id: str, shard: Shard) -> None:
        """Begin a run around a job that exists already; what it was sent, the shard, is written."""
        self._record(_around(job_id), shard.rows)
        Planner(self).open(0, [shard], 0)

    def is_around(self, job_id: str) -> bool:
        """Whether the run was begun by :meth:`adopt` of this job."""
        record = self.ledger.run()
        return record is not None and record.fingerprint == _around(job_id)

    def _rearm(self, record: RunRecord) -> None:
        """Give a new try what it needs: time, and fresh rounds where the last try gave up or was killed."""
        tries = self.ledger.tries()
        rounds = self.ledger.rounds()
        series_start, stopped = tries.series_start, tries.stopped
        found = [
            Fetcher(self).found_again(shard, attempt, attempt.job_id)
            for shard, attempt in self.ledger.lost_attempts(rounds)
            if attempt.job_id
        ]
        summary = self.ledger.summary()
        if summary is not None:
            try:
                judge(summary, self.options.error_tolerance)
            except BatchInferenceError:
                if summary.retryable or (summary.lost and self.options.on_lost_job == "resubmit"):
                    self.log.info("Rows that the last try left to send again: %d", summary.retryable)
                    if record.identity != dict(self.backend.identity):
                        raise self._elsewhere(record, "to send them") from None
                    place.settle(self.directory, record, self.log)
                    # In this order: killed in between, the next try finds the summary and does the same.
                    tries = Tries(len(rounds), tries.deadline)
                    self.ledger.write_tries(tries)
                    self.directory.remove("summary.json")
                    series_start, stopped = tries.series_start, None
            if any(found):
                self.directory.remove("summary.json")
        elif stopped is None and any(attempt.cancel for _, attempt in rounds[-1].creates()):
            series_start = len(rounds)
        self._renew(tries, Tries(series_start, tries.deadline, stopped))

    def _driver(self, record: RunRecord) -> Driver:
        submitter = None if self.run_key is None else Submitter(self, self._looker(record))
        return Driver(self, submitter, Fetcher(self), record.look_first or self.ledger.was_lost())

    def _looker(self, record: RunRecord) -> Looker:
        return Looker(self, record.run_key, self.ledger.directory_id(record))

    # ---- the end -----------------------------------------------------------------------------------------------

    def _finish(self, record: RunRecord) -> RunSummary:
        """Write results, failed requests and, last, the summary."""
        done = self.ledger.summary()
        if done is not None:
            return done
        rounds = self.ledger.rounds()
        if self.run_key is not None:
            made = [(shard, a_round.attempts.get(shard.name, [])) for a_round in rounds for shard in a_round.shards]
            self._looker(record).look_for_twins([one for one in made if one[1]])
            if self.options.backend_options.get("delete_inputs"):
                staging.delete_uploads(self.backend, rounds, self.input_file_id, self.log)
        return self._write(record, self.ledger.tries().stopped, {})

    def _write(self, record: RunRecord, stopped: str | None, pending: Mapping[str, str]) -> RunSummary:
        summary = results.summarise(
            self.directory,
            self.backend,
            self.ledger.rounds(),
            record,
            self.clock(),
            ours=self.run_key is not None,
            stopped=stopped,
            helps=results.wanted(self.options, results.helps_next_try),
            pending=pending,
        )
        self.ledger.write_summary(summary)
        return summary

    def _write_so_far(self, record: RunRecord, error: BatchInferenceError) -> None:
        """Write what was answered in a run that an error stops; the rest is named open, and a later try goes on."""
        if self.stopped():
            return  # of the seconds that a killed task has, every one is needed to cancel
        try:
            rounds = self.ledger.rounds()
            if not any(a_round.ends() for a_round in rounds) or self.ledger.summary() is not None:
                return
            summary = self._write(record, f"{type(error).__name__}: {error}", results.pending(rounds))
            message = "Answered so far: %d of %d, in %s/results; the next try continues with the rest"
            self.log.info(message, summary.outcomes["succeeded"], summary.total, self.directory.uri)
        except (BatchInferenceError, OSError) as other:
            self.log.warning("What was answered so far could not be written to results/: %s", other)


def _around(job_id: str) -> str:
    """In place of the fingerprint of an input."""
    return f"job {job_id}"
