"""What operators that wait for jobs share: waiting in the worker or in the triggerer, resuming, being killed.

What only a running task needs is imported where it is used, for a DAG file is parsed again and again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_batch_provider.core.counts import read_share
from airflow_batch_provider.core.errors import (
    BatchInferenceError,
    BudgetError,
    DeadlineError,
    PermanentError,
    ProviderError,
    RetryableError,
    RunConflictError,
)
from airflow_batch_provider.core.records import JSON, Job
from airflow_batch_provider.links.batch_inference import BatchInferenceLink
from airflow_batch_provider.operators.connected import ConnectedOperator
from airflow_batch_provider.operators.errors import airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_batch_provider.backends.base import Backend
    from airflow_batch_provider.core.polling import Waiting, Wake
    from airflow_batch_provider.core.summary import RunSummary
    from airflow_batch_provider.run.run import BatchRun, Done

BACKSTOP_SECONDS = 600
"""How long after our own deadline Airflow ends the deferral, in case no triggerer is alive to do so."""
KILL_SECONDS = 4.0
"""Airflow ends a killed task's process five seconds after it has signalled it."""


class RunOperator(ConnectedOperator):
    """Base of the operators that wait for jobs; it adds waiting, resuming and killing.

    :param deferrable: wait in the triggerer; False keeps the worker's slot.
    :param poll_interval: seconds between looks at the jobs.
    :param cancel_on_kill: cancel the jobs when the task is marked failed, success or skipped while it runs or waits.
    """

    operator_extra_links = (BatchInferenceLink(),)
    multiple_outputs = True
    wait_for_completion = True
    error_tolerance: float | str = 0.0
    """What an operator without an argument of that name goes by."""

    def __init__(
        self,
        *,
        conn_id: str | None = None,
        deferrable: bool = True,
        poll_interval: float = 60.0,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(conn_id=conn_id, **kwargs)
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self.console_url: str | None = None
        self._ended_by_hand = False
        self._cancels = False
        self._watched: tuple[Backend, Sequence[str]] | None = None

    def resumed(self, context: Context) -> BatchRun:
        """The run to go on with after waiting."""
        raise TypeError(f"{type(self).__name__} does not wait")

    # ---- going on ----------------------------------------------------------------------------------------------

    def go_on(self, run: BatchRun) -> JSON:
        """Advance the run as far as it goes: return what it became, defer, or wait here."""
        from airflow_batch_provider.run.run import Done

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
        from airflow_batch_provider.core.polling import Waiting
        from airflow_batch_provider.operators.kill import KilledJobs

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
        from airflow_batch_provider.core.progress import summary_line, unusable_line
        from airflow_batch_provider.core.reconciling import judge

        self.log.info("%s", summary_line(summary))
        if unusable := unusable_line(summary):
            self.log.warning("%s", unusable)
        flat = summary.flat()
        self._context_push(flat)
        judge(summary, read_share("error_tolerance", self.error_tolerance))
        return flat

    def _context_push(self, flat: JSON) -> None:
        """Push before judging, so that tasks downstream of a failure can read the counts."""
        if self._ti is not None:
            for key, value in flat.items():
                self._ti.xcom_push(key=key, value=value)

    _ti: Any = None

    def wait_deferred(self, run_path: str, waiting: Waiting) -> None:
        """Free the worker until the trigger fires; does not return.

        Airflow's own timeout comes later than our deadline, because it would end the task without collecting.
        """
        from airflow_batch_provider.triggers.batch_inference import BatchInferenceTrigger

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

        :param event: ``{"v": 1, "run_path", "reason", "message"}``; None is taken as "read the jobs now".
        """
        with airflow_errors():
            self._ti = context["ti"]
            run = self.resumed(context)
            if event and event["run_path"] != run.directory.uri:
                raise RunConflictError(
                    f"The event is for {event['run_path']}, but output_path is now {run.directory.uri}; "
                    "restore the output_path that the task began with"
                )
            if event:
                heed(event["reason"], event["message"])
            return self.go_on(run)

    def wait_here(self, backend: Backend, waiting: Waiting) -> Wake:
        """Wait in the worker, by the same decisions as the trigger."""
        from airflow_batch_provider.core.polling import Wake, Watch
        from airflow_batch_provider.core.progress import Progress

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
        except Exception as error:  # noqa: BLE001 - it may be readable at the next look
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
                "The worker was stopped, the task was not; its jobs keep running (and billing), and the next try picks "
                "them up"
            )

    _spent_usd: float | None = None

    def _remember(self, run: BatchRun) -> None:
        """Keep what the link and the progress line show: the newest job's page, and what the ended jobs cost."""
        from airflow_batch_provider.run.attempts import creates
        from airflow_batch_provider.run.budget import cost_of, total_cost

        costs: list[float | None] = []
        for shard, attempt in creates(run.ledger.rounds()):
            if attempt.end:
                costs.append(cost_of(run.backend, shard, attempt.end))
            self.console_url = attempt.console_url or self.console_url
        self._spent_usd = total_cost(costs)

    def on_kill(self) -> None:
        """Create nothing more, and cancel what lives; Airflow gives five seconds."""
        from airflow_batch_provider.operators.kill import KilledJobs, was_ended

        self._killed = True
        until = time.monotonic() + KILL_SECONDS
        self._ended_by_hand = was_ended(self.log)
        self._cancels = self._ended_by_hand and self.cancel_on_kill
        jobs = KilledJobs(self.log, self._run, self._watched)
        if self._cancels:
            jobs.cancel(until - time.monotonic())
        else:
            why = "cancel_on_kill is False" if self._ended_by_hand else "The worker was stopped, the task was not"
            jobs.leave(until - time.monotonic(), why)


def heed(reason: str, message: str) -> None:
    """Raise the error of a wait that ended without a result.

    :raises ProviderError: when reading the jobs failed too often; they were left running.
    """
    if reason == "polling_failed":
        raise ProviderError(message, ambiguous=False)


def submitted(run: BatchRun) -> JSON:
    """What a task that does not wait returns, however often it is run again.

    :raises BudgetError: when the budget kept jobs from being created; ``DeadlineError`` when the deadline did.
    """
    from airflow_batch_provider.core.reconciling import OVER_BUDGET
    from airflow_batch_provider.run.attempts import creates

    if (stopped := run.ledger.tries().stopped) is not None:
        error = BudgetError if stopped.startswith(OVER_BUDGET) else DeadlineError
        raise error(f"Stopped by {stopped}. Not every row was sent; clear this task to send the rest.")
    batch_ids = [attempt.job_id for _, attempt in creates(run.ledger.rounds()) if attempt.job_id]
    return {"run_path": run.directory.uri, "batch_ids": batch_ids}


def _look(backend: Backend, job_ids: Sequence[str]) -> list[Job] | BatchInferenceError:
    try:
        return [backend.retrieve(job_id) for job_id in job_ids]
    except BatchInferenceError as error:
        return error
