"""What the operators share: from arguments and context to a :class:`BatchRun`, and from typed errors to Airflow's."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.counts import read_share
from airflow_batch_provider.core.errors import (
    BatchInferenceError,
    BudgetError,
    ConfigurationError,
    DeadlineError,
    PermanentError,
    ProviderError,
    RetryableError,
    RunConflictError,
)
from airflow_batch_provider.core.identity import run_key
from airflow_batch_provider.core.polling import Waiting, Wake, Watch
from airflow_batch_provider.core.progress import Progress, summary_line, unusable_line
from airflow_batch_provider.core.reconciling import OVER_BUDGET, judge
from airflow_batch_provider.core.records import JSON, Job, RunOptions
from airflow_batch_provider.core.summary import RunSummary
from airflow_batch_provider.links.batch_inference import BatchInferenceLink
from airflow_batch_provider.operators.kill import KilledJobs, was_ended
from airflow_batch_provider.run.budget import cost_of, total_cost
from airflow_batch_provider.run.run import BatchRun, Done
from airflow_batch_provider.run.storage import RunDirectory, is_local, open_path
from airflow_batch_provider.triggers.batch_inference import BatchInferenceTrigger

try:
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowFailException  # type: ignore[no-redef]

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_batch_provider.hooks.base import BatchInferenceHook

ONE_MACHINE_EXECUTORS = frozenset({"LocalExecutor", "SequentialExecutor", "DebugExecutor"})
BACKSTOP_SECONDS = 600
"""How long after our own deadline Airflow ends the deferral, in case no triggerer is alive to do so."""
RUN_RECORD_VERSIONS = (1, 2)
KILL_SECONDS = 4.0
"""Airflow ends a killed task's process five seconds after it has told it."""


@contextlib.contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn errors that another try cannot help into the exception that Airflow does not retry."""
    try:
        with _quiet("httpx", "httpx2"):  # the clients of openai 2 and 3
            yield
    except PermanentError as error:
        # One exception with the whole way to it: a chain would print the same words and most of the way twice.
        told = AirflowFailException(f"{type(error).__name__}: {error}")
        raise told.with_traceback(_alone(error).__traceback__) from None
    except BatchInferenceError as error:
        raise _alone(error)  # noqa: B904 - it is the same error


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Keep a client's line for every call out of the log; whoever has set a level gets what they asked for."""
    loggers = [one for one in map(logging.getLogger, names) if one.level == logging.NOTSET]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger in loggers:
            logger.setLevel(logging.NOTSET)


def _alone(error: BatchInferenceError) -> BatchInferenceError:
    """Without the client library's own exception behind it, whose text may quote the keys that a server echoed and is
    printed with every traceback; ours says the same, keys left out."""
    last: BaseException = error
    while isinstance(behind := last.__cause__ or last.__context__, BatchInferenceError):
        last = behind
    last.__cause__ = last.__context__ = None
    return error


def checked_directory(path: str, *, allow_local_path: bool) -> RunDirectory:
    """The run directory, unless its next task may run on a machine that cannot see it.

    :raises ConfigurationError: for a local path where tasks may run on several machines.
    """
    where = open_path(path)
    if is_local(where) and not allow_local_path:
        from airflow.configuration import conf

        names = [part.split(":")[-1].split(".")[-1].strip() for part in conf.get("core", "executor").split(",")]
        several = [name for name in names if name not in ONE_MACHINE_EXECUTORS]
        if several:
            raise ConfigurationError(
                f"{path} is on this machine alone, but {', '.join(several)} may run the next try elsewhere. Use s3://, "
                "gs:// or abfs://, or set allow_local_path=True if every worker sees the same folder."
            )
    return RunDirectory(where)


class RunOperator(BaseOperator):
    """Base of the operators that drive a run; it adds waiting, resuming and killing.

    :param conn_id: the connection, whose type decides the backend.
    :param deferrable: wait in the triggerer; False keeps the worker's slot.
    :param poll_interval: seconds between looks.
    :param cancel_on_kill: cancel the jobs when the task is marked failed, success or skipped while it runs or waits.
    """

    operator_extra_links = (BatchInferenceLink(),)
    multiple_outputs = True

    def __init__(
        self,
        *,
        conn_id: str | None = None,
        deferrable: bool = True,
        poll_interval: float = 60.0,
        cancel_on_kill: bool = True,
        wait_for_completion: bool = True,
        error_tolerance: float | str = 0.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self.wait_for_completion = wait_for_completion
        self.error_tolerance = error_tolerance
        self.console_url: str | None = None
        self._killed = False
        self._ended_by_hand = False
        self._cancels = False
        self._run: BatchRun | None = None
        self._watched: tuple[Backend, Sequence[str]] | None = None

    def resumed(self, context: Context) -> BatchRun:
        """The run to go on with after waiting."""
        raise TypeError(f"{type(self).__name__} does not wait")

    def follow(self, run_path: str, conn_id: str | None = None) -> BatchRun:
        """A run that some task submitted, to be read and finished but never extended.

        :raises RunConflictError: when there is none.
        """
        directory = RunDirectory(run_path)
        record = directory.read_json("run.json")
        if record is None:
            raise RunConflictError(f"There is no run in {run_path}; give the run_path that the submitting task pushed")
        if (version := record.get("version")) not in RUN_RECORD_VERSIONS:
            raise RunConflictError(f"{run_path} was written by another version of this package ({version})")
        self.conn_id = conn_id or record["conn_id"]
        return self.open(directory, RunOptions(on_unusable=record["options"].get("on_unusable", "keep")))

    def open(self, directory: RunDirectory, options: RunOptions, **identity: Any) -> BatchRun:
        """A run on this operator's connection."""
        if not self.conn_id:
            raise ConfigurationError("conn_id is missing; name the connection of the provider")
        self._run = BatchRun(
            directory,
            self.hook(self.conn_id).backend,
            options,
            conn_id=self.conn_id,
            stopped=lambda: self._killed,
            log=self.log,
            **identity,
        )
        return self._run

    @staticmethod
    def hook(conn_id: str) -> BatchInferenceHook:
        """The hook that the connection's type asks for."""
        from airflow_batch_provider.hooks.base import BatchInferenceHook

        return BatchInferenceHook.for_conn_id(conn_id)

    # ---- going on ----------------------------------------------------------------------------------------------

    def go_on(self, run: BatchRun) -> JSON:
        """Advance the run as far as it goes: return what it became, defer, or wait here."""
        while True:
            outcome = self._advanced(run)
            self._remember(run)
            if not self.wait_for_completion and (isinstance(outcome, Done) or outcome.all_sent):
                return submitted(run)
            if isinstance(outcome, Done):
                return self.ended(outcome.summary)
            if self.deferrable:
                self.wait_deferred(run.directory.uri, outcome)
            wake = self.wait_here(run.backend, outcome)
            heed(wake.reason, wake.message)

    def _advanced(self, run: BatchRun) -> Waiting | Done:
        """What became of the run; a job that was being created while the task was killed is cancelled too."""
        try:
            outcome = run.advance()
        except PermanentError:
            self._end_when_killed()
            raise
        finally:
            if self._cancels:
                KilledJobs(self.log, run, None).cancel(KILL_SECONDS)
        if isinstance(outcome, Waiting):
            self._end_when_killed()
        return outcome

    def ended(self, summary: RunSummary) -> JSON:
        """Push and judge what a run became."""
        self.log.info("%s", summary_line(summary))
        if unusable := unusable_line(summary):
            self.log.warning("%s", unusable)
        flat = summary.flat()
        self._context_push(flat)
        judge(summary, read_share("error_tolerance", self.error_tolerance))
        return flat

    def _context_push(self, flat: JSON) -> None:
        """Push before judging, so that what is downstream of a failure can still read what there is."""
        if self._ti is not None:
            for key, value in flat.items():
                self._ti.xcom_push(key=key, value=value)

    _ti: Any = None

    def wait_deferred(self, run_path: str, waiting: Waiting) -> None:
        """Free the worker until the trigger fires; does not return.

        Airflow's own timeout comes later than our deadline, because it would end the task without collecting.
        """
        rule = waiting.rule
        seconds = max(0.0, rule.deadline - time.time()) + BACKSTOP_SECONDS
        self.defer(
            trigger=BatchInferenceTrigger(
                conn_id=str(self.conn_id),
                jobs=waiting.jobs,
                run_path=run_path,
                deadline=rule.deadline,
                poll_interval=self.poll_interval,
                cancel_on_kill=self.cancel_on_kill,
                look_at=rule.look_at,
                on_any_end=rule.on_any_end,
                spent_usd=self._spent_usd,
                borrowed=waiting.borrowed,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=seconds),
        )

    def execute_complete(self, context: Context, event: JSON | None = None) -> JSON:
        """Go on after the trigger fired.

        :param event: ``{"v": 1, "run_path", "reason", "message"}``; None is taken as "look for yourself".
        """
        with airflow_errors():
            self._ti = context["ti"]
            run = self.resumed(context)
            if event and event["run_path"] != run.directory.uri:
                raise RunConflictError(
                    f"The event is for {event['run_path']}, this task's output_path now gives {run.directory.uri}; "
                    "restore the path it was submitted with"
                )
            if event:
                heed(event["reason"], event["message"])
            return self.go_on(run)

    def wait_here(self, backend: Backend, waiting: Waiting) -> Wake:
        """Wait in the worker, by the same decisions as the trigger."""
        watch = Watch(waiting.rule, self.poll_interval, time.time(), Progress(self._spent_usd))
        while True:
            self._watched = backend, waiting.jobs
            seen = _look(backend, waiting.jobs)
            self._end_when_killed()
            if isinstance(seen, PermanentError):
                backend = self._read_anew(backend)
            decision = watch.after(seen, time.time(), random.random())  # noqa: S311
            for warning in watch.warnings:
                self.log.warning(warning)
            if watch.news:
                self.log.info(watch.news)
            if isinstance(decision, Wake):
                return decision
            self._sleep(decision.seconds)

    def _read_anew(self, backend: Backend) -> Backend:
        """The backend by the connection as it is now: its key may have been rotated during a long wait."""
        if not self.conn_id:
            return backend
        try:
            fresh = self.hook(self.conn_id).backend
        except Exception as error:  # noqa: BLE001 - it may be back at the next look
            self.log.warning("Connection %r cannot be read: %s", self.conn_id, error)
            return backend
        if self._run:
            self._run.backend = fresh
        return fresh

    def _sleep(self, seconds: float) -> None:
        """In small steps, because Python goes on sleeping after the signal that killed the task."""
        until = time.time() + seconds
        while (left := until - time.time()) > 0:
            time.sleep(min(left, 1.0))
            self._end_when_killed()

    def _end_when_killed(self) -> None:
        if self._killed and self._ended_by_hand:
            raise PermanentError("The task was killed")
        if self._killed:
            raise RetryableError(
                "The worker was told to stop; the jobs were left alone, and a new try goes on with them"
            )

    _spent_usd: float | None = None

    def _remember(self, run: BatchRun) -> None:
        """What the link and the progress line tell: the newest job's page, and what the ended jobs cost."""
        costs: list[float | None] = []
        for a_round in run.ledger.rounds():
            for shard in a_round.shards:
                attempts = a_round.attempts.get(shard.name, [])
                costs += [cost_of(run.backend, shard, end) for end in (one.end for one in attempts) if end]
                job = attempts[-1].facts.get("job") if attempts else None
                if job and job.get("console_url"):
                    self.console_url = job["console_url"]
        self._spent_usd = total_cost(costs)

    def on_kill(self) -> None:
        """Create nothing more, and cancel what lives; Airflow gives five seconds."""
        self._killed = True
        until = time.monotonic() + KILL_SECONDS
        self._ended_by_hand = was_ended(self.log)
        self._cancels = self._ended_by_hand and self.cancel_on_kill
        jobs = KilledJobs(self.log, self._run, self._watched)
        if self._cancels:
            jobs.cancel(until - time.monotonic())
        else:
            why = "cancel_on_kill is False" if self._ended_by_hand else "Nobody ended the task"
            jobs.leave(until - time.monotonic(), why)


def heed(reason: str, message: str) -> None:
    """Raise what a wait could not get over.

    :raises ProviderError: when looking at the jobs failed too often; they were left alone.
    """
    if reason == "polling_failed":
        raise ProviderError(message, ambiguous=False)


def submitted(run: BatchRun) -> JSON:
    """What a task that does not wait returns, however often it is run again.

    :raises BudgetError: when jobs were not created for want of money; ``DeadlineError`` for want of time.
    """
    if (stopped := run.ledger.tries()["stopped"]) is not None:
        error = BudgetError if stopped.startswith(OVER_BUDGET) else DeadlineError
        raise error(f"Stopped by {stopped}. Not every row was sent; clear this task to send the rest.")
    shards = (attempts for a_round in run.ledger.rounds() for attempts in a_round.attempts.values())
    batch_ids = [attempt.job_id for attempts in shards for attempt in attempts if attempt.job_id]
    return {"run_path": run.directory.uri, "batch_ids": batch_ids}


def _look(backend: Backend, job_ids: Sequence[str]) -> list[Job] | BatchInferenceError:
    try:
        return [backend.retrieve(job_id) for job_id in job_ids]
    except BatchInferenceError as error:
        return error


def path_of(output_path: str, context: Context, *, own_folder: bool) -> str:
    """The run directory of a task; a mapped one has its own.

    :param own_folder: whether the author's template tells mapped tasks apart already.
    """
    path = output_path.rstrip("/")
    map_index = getattr(context["ti"], "map_index", -1)
    if own_folder or map_index is None or map_index < 0:
        return path
    return f"{path}/map-{map_index:05d}"


def key_of(context: Context) -> str:
    """Who the task's run is; the same for every try."""
    ti: Any = context["ti"]
    return run_key(ti.dag_id, ti.task_id, ti.run_id, -1 if ti.map_index is None else ti.map_index)
