"""What a worker does with its jobs in the seconds between SIGTERM and SIGKILL."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.counts import counted
from airflow_batch_provider.core.errors import BatchInferenceError
from airflow_batch_provider.run.facts import Cancel
from airflow_batch_provider.run.reading import Logger
from airflow_batch_provider.triggers.batch_inference import FINISH, KILLED_STATES, task_state

if TYPE_CHECKING:
    from airflow_batch_provider.core.records import Shard
    from airflow_batch_provider.run.run import BatchRun

CANCELS_AT_ONCE = 40
"""A thousand cancels of 100 ms in the four seconds there are."""
STATE_SECONDS = 2.0


def was_ended(log: Logger) -> bool:
    """Whether the task that runs here was ended by a user: marked failed, success or skipped.

    The same signal comes when a pod is evicted, the task is cleared, or Airflow's API is unavailable; then its state is
    another or unknown, and paid work is left running.
    """
    from airflow.sdk import get_current_context

    try:
        ti = get_current_context()["ti"]
    except (RuntimeError, LookupError):
        return True  # called outside of a task, not by a signal of Airflow
    states: list[str | None] = []
    reading = threading.Thread(target=_read_state, args=(ti, states, log), daemon=True)
    reading.start()
    reading.join(STATE_SECONDS)
    if not states:
        log.warning("The worker was stopped and the task's state could not be read; its jobs are left running")
    elif states[0] in KILLED_STATES:
        return True
    else:
        log.warning("The worker was stopped while the task is %s; its jobs are left running", states[0] or "cleared")
    return False


def _read_state(ti: Any, states: list[str | None], log: Logger) -> None:
    try:
        states.append(task_state(ti))
    except Exception as error:  # noqa: BLE001 - an unknown state leaves the jobs running
        log.warning("Airflow did not report the task's state: %s: %s", type(error).__name__, error)


class KilledJobs:
    """The live jobs of a task that must end within seconds.

    They are cancelled in parallel, so that one cancel call without an answer delays no other.

    :param run: the run whose live jobs are meant; each cancel is recorded in it for the next try; or
    :param watched: a backend and the ids of jobs that belong to no run.
    """

    def __init__(self, log: Logger, run: BatchRun | None, watched: tuple[Backend, Sequence[str]] | None) -> None:
        self._log = log
        self._run = run
        self._watched = watched
        self._listed = False
        self._waiting: list[tuple[str, Shard | None, int]] = []
        self._open: set[str] = set()
        self._cancelled: list[str] = []

    def cancel(self, seconds: float) -> None:
        """Cancel, and log what is being cancelled and what may still bill; returns in time, with or without answers.

        :param seconds: how long it may take; Airflow kills the process five seconds after its signal.
        """
        until = time.monotonic() + seconds
        if not self._known(until):
            return
        helpers = min(CANCELS_AT_ONCE, len(self._waiting))
        self._join([threading.Thread(target=self._work, daemon=True) for _ in range(helpers)], until)
        if self._open:
            left = sorted(self._open)
            self._log.error(
                "%s could not be cancelled within %g s and may still bill: %s. %s",
                counted(len(left), "job"),
                seconds,
                left,
                FINISH,
            )
        if self._cancelled:
            ids = sorted(self._cancelled)
            self._log.warning("The task was killed: cancelling %s: %s", counted(len(ids), "job"), ids)

    def leave(self, seconds: float, why: str) -> None:
        """Log the jobs that are left running.

        :param why: why nothing is cancelled.
        """
        if self._known(time.monotonic() + seconds) and self._open:
            left = sorted(self._open)
            self._log.warning("%s: jobs %s keep running (and billing); the next try picks them up", why, left)

    def _known(self, until: float) -> bool:
        self._join([threading.Thread(target=self._list, daemon=True)], until)
        if not self._listed:
            self._log.error(
                "The task was killed and its run directory could not be read; its jobs may still run and bill"
            )
        return self._listed

    @staticmethod
    def _join(threads: Sequence[threading.Thread], until: float) -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _list(self) -> None:
        found: list[tuple[str, Shard | None, int]] = []
        if self._run:
            for shard, attempt in self._run.ledger.open_attempts():
                if attempt.job_id is None:
                    message = (
                        "The create call of %s has no answer yet; its job may bill, and the next try searches for it"
                    )
                    self._log.error(message, shard.name)
                elif attempt.is_borrowed:
                    message = "Job %s may have been created by another run and is left running; it may still bill"
                    self._log.warning(message, attempt.job_id)
                elif attempt.cancel is None:
                    found.append((attempt.job_id, shard, attempt.number))
        elif self._watched:
            found = [(job_id, None, 0) for job_id in self._watched[1]]
        self._waiting, self._open = found, {job_id for job_id, _, _ in found}
        self._listed = True

    def _work(self) -> None:
        while True:
            try:
                job_id, shard, number = self._waiting.pop(0)
            except IndexError:
                return
            self._cancel(job_id, shard, number)

    def _cancel(self, job_id: str, shard: Shard | None, number: int) -> None:
        backend = self._run.backend if self._run else self._watched[0] if self._watched else None
        if backend is None:
            return
        try:
            backend.cancel(job_id)
        except BatchInferenceError as error:
            self._open.discard(job_id)
            self._log.error("Job %s could not be cancelled and may still bill: %s", job_id, error)
            return
        self._open.discard(job_id)
        self._cancelled.append(job_id)
        if self._run and shard is not None:
            self._run.ledger.record(shard, number, Cancel(time.time()))
