"""What a worker does with its jobs in the seconds between SIGTERM and SIGKILL."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.errors import BatchInferenceError
from airflow_batch_provider.run.reading import Logger
from airflow_batch_provider.triggers.batch_inference import FINISH, KILLED_STATES, jobs, task_state

if TYPE_CHECKING:
    from airflow_batch_provider.core.records import Shard
    from airflow_batch_provider.run.run import BatchRun

CANCELS_AT_ONCE = 40
"""A thousand cancels of 100 ms in the four seconds there are."""
STATE_SECONDS = 2.0


def was_ended(log: Logger) -> bool:
    """Whether somebody ended the task that runs here: marked it failed, success or skipped.

    The same signal comes when a pod is evicted, the task is cleared, or Airflow's API is away; then its state is
    another or not told, and paid work is left alone.
    """
    from airflow.sdk import get_current_context

    try:
        ti = get_current_context()["ti"]
    except (RuntimeError, LookupError):
        return True  # no signal of Airflow's: whoever calls on_kill outside of a task means it
    told: list[str | None] = []
    asking = threading.Thread(target=_ask, args=(ti, told, log), daemon=True)
    asking.start()
    asking.join(STATE_SECONDS)
    if told and told[0] in KILLED_STATES:
        return True
    log.warning("The process was told to end while the task is %s", told[0] if told else "in a state nobody told")
    return False


def _ask(ti: Any, told: list[str | None], log: Logger) -> None:
    try:
        told.append(task_state(ti))
    except Exception as error:  # noqa: BLE001 - not knowing is an answer too
        log.warning("The task's state is unknown: %s: %s", type(error).__name__, error)


class KilledJobs:
    """The live jobs of a task that must end within seconds.

    They are cancelled side by side, so that one answer that does not come keeps no other job alive.

    :param run: the run whose live jobs are meant, with the record that tells the next try of it; or
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
        """Cancel, and tell what is being cancelled and what may still bill; returns in time, whoever does not answer.

        :param seconds: Airflow kills the process five seconds after it asked it to end.
        """
        until = time.monotonic() + seconds
        if not self._known(until):
            return
        helpers = min(CANCELS_AT_ONCE, len(self._waiting))
        self._join([threading.Thread(target=self._work, daemon=True) for _ in range(helpers)], until)
        if self._open:
            left = sorted(self._open)
            self._log.error(
                "There was no time to cancel %s, which may still bill (%g s): %s. %s",
                jobs(len(left)),
                seconds,
                left,
                FINISH,
            )
        if self._cancelled:
            ids = sorted(self._cancelled)
            self._log.warning("The task was killed: cancelling %s: %s", jobs(len(ids)), ids)

    def leave(self, seconds: float, why: str) -> None:
        """Tell what lives on.

        :param why: why nothing is cancelled.
        """
        if self._known(time.monotonic() + seconds) and self._open:
            left = sorted(self._open)
            self._log.warning("%s: jobs %s are left alone and may still bill; a new try goes on with them", why, left)

    def _known(self, until: float) -> bool:
        self._join([threading.Thread(target=self._list, daemon=True)], until)
        if not self._listed:
            self._log.error("The task was killed, and its jobs could not be listed; they may still bill")
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
                    told = "A create of %s is under way or its answer was lost; its job may bill: the next try finds it"
                    self._log.error(told, shard.name)
                elif attempt.is_borrowed:
                    told = "Job %s was made by another run directory and is left alone; it may still bill"
                    self._log.warning(told, attempt.job_id)
                elif "cancel" not in attempt.facts:
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
            self._run.ledger.record(shard, number, "cancel", {"at": time.time()})
