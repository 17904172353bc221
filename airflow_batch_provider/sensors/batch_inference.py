"""Waits for jobs that another task, or another tool, submitted."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from airflow_batch_provider.core.errors import ConfigurationError, DeadlineError, ProviderError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.operators.base import RunOperator, heed
from airflow_batch_provider.operators.errors import airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_batch_provider.backends.base import Backend

DAY = 24 * 3600.0


class BatchInferenceSensor(RunOperator):
    """Succeeds when every job has ended, with or without success; the fetch operator reports the outcome.

    :param run_path: the run directory of a submitting task; or
    :param batch_id: the provider's id of a batch created outside Airflow, with ``conn_id``.
    :param timeout: the longest wait in seconds; then the task fails and the jobs are left running.
    """

    template_fields = ("run_path", "batch_id", "conn_id")

    def __init__(
        self,
        *,
        run_path: str | None = None,
        batch_id: str | None = None,
        timeout: float = 7 * DAY,
        cancel_on_kill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(cancel_on_kill=cancel_on_kill, **kwargs)
        self.run_path = run_path
        self.batch_id = batch_id
        self.timeout = timeout

    def execute(self, context: Context) -> JSON:
        """Wait, in the triggerer or here."""
        from airflow_batch_provider.core.polling import Waiting, WakeRule

        with airflow_errors():
            backend, jobs = self._jobs()
            waiting = Waiting(tuple(jobs), WakeRule(time.time() + self.timeout))
            if jobs and self.deferrable:
                self.wait_deferred(self.run_path or "", waiting)
            if jobs:
                wake = self.wait_here(backend, waiting)
                self._ended(wake.reason, wake.message)
            return {"run_path": self.run_path, "batch_id": self.batch_id}

    def execute_complete(self, context: Context, event: JSON | None = None) -> JSON:
        """End after the trigger fired.

        :param event: as in :meth:`RunOperator.execute_complete`; None is taken as "read the jobs now".
        """
        if event is None:
            return self.execute(context)
        with contextlib.suppress(Exception):  # for the link alone, which must not end what has gone well
            self._jobs()
        with airflow_errors():
            self._ended(event["reason"], event["message"])
            return {"run_path": self.run_path, "batch_id": self.batch_id}

    def _jobs(self) -> tuple[Backend, list[str]]:
        if bool(self.run_path) == bool(self.batch_id):
            raise ConfigurationError("give either run_path, or batch_id with conn_id")
        if self.run_path:
            run = self.follow(self.run_path, self.conn_id)
            self._remember(run)
            return run.backend, run.live_jobs()
        if not self.conn_id:
            raise ConfigurationError("conn_id is missing; set it to the connection of batch_id")
        backend = self.hook(self.conn_id).backend
        self.console_url = backend.console_url(str(self.batch_id))
        return backend, [str(self.batch_id)]

    def _ended(self, reason: str, message: str) -> None:
        heed(reason, message)
        # A run's own task or the fetch decides about a job that is gone; for a batch alone only this task does.
        if reason == "look_again" and self.batch_id:
            raise ProviderError(message, ambiguous=False)
        if reason == "deadline":
            raise DeadlineError(
                f"The jobs did not end within {self.timeout:g} s and are left running; clear the task to keep waiting"
            )
