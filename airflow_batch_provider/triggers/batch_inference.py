"""Waits for jobs in the triggerer. It is asynchronous throughout: a blocking call would stall every other trigger.

The class path and the keyword arguments are public API: deferrals outlive deployments, so arguments of older and newer
versions are taken as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.counts import counted
from airflow_batch_provider.core.errors import BatchInferenceError, PermanentError, ProviderError
from airflow_batch_provider.core.polling import Wait, WakeRule, Watch
from airflow_batch_provider.core.progress import Progress
from airflow_batch_provider.core.records import Job
from airflow_batch_provider.hooks.base import BatchInferenceHook
from airflow_batch_provider.run.facts import Cancel
from airflow_batch_provider.run.ledger import Ledger
from airflow_batch_provider.run.storage import RunDirectory

KILLED_STATES = frozenset({"failed", "success", "skipped", "removed"})
KILL_SECONDS = 29.0
"""Airflow gives on_kill 30 seconds ([triggerer] on_kill_timeout); what reading the state leaves of them is for
cancelling, but for the last ones, in which the run directory is written."""
STATE_SECONDS = 18.0
CANCEL_SECONDS = 4.0
NOTE_SECONDS = 3.0
CANCELS_AT_ONCE = 16
"""More would wait for a connection and use up the seconds of their own cancel meanwhile."""
FINISH = "Run BatchInferenceCancelOperator with this run_path to cancel them, or clear the task to wait for them."
SPREAD_SECONDS = 1.0
# A task that resumes before the scheduler has read the end of its deferral is failed as "state mismatch"
# (github.com/apache/airflow issues 71580 and 72716, open in 3.3.1); a trigger must not fire at once.
FIRST_LOOK_SECONDS = 5.0
_early: list[asyncio.Future[None]] = []


class BatchInferenceTrigger(BaseTrigger):
    """Fires when all jobs have ended, or the wake rule says so.

    :param conn_id: the connection; its secrets are read here and never travel.
    :param jobs: ids of the live jobs.
    :param run_path: the run directory, which comes back in the event.
    :param deadline: absolute, seconds since the epoch, so that a restart of the triggerer does not move it.
    :param poll_interval: seconds between looks.
    :param cancel_on_kill: whether to cancel the jobs when the deferred task is marked failed, success or skipped.
    :param look_at: when to wake for a create whose answer was lost.
    :param on_any_end: wake when one job has ended, because a shard waits for its slot.
    :param spent_usd: what the run has cost so far, shown in the progress line; None while it is unknown.
    :param borrowed: those of the jobs that are not to be cancelled, because another run directory created them.
    """

    def __init__(
        self,
        *,
        conn_id: str,
        jobs: Sequence[str],
        run_path: str,
        deadline: float,
        poll_interval: float = 60.0,
        cancel_on_kill: bool = True,
        look_at: float | None = None,
        on_any_end: bool = False,
        spent_usd: float | None = None,
        borrowed: Sequence[str] = (),
        schema_version: int = 1,
        **_of_other_versions: Any,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.jobs = list(jobs)
        self.borrowed = list(borrowed)
        self.run_path = run_path
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self.look_at = look_at
        self.on_any_end = on_any_end
        self.spent_usd = spent_usd
        self.schema_version = schema_version
        self._backend: Backend | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Ids and names only: Airflow keeps this in clear text."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "schema_version": self.schema_version,
                "conn_id": self.conn_id,
                "jobs": self.jobs,
                "borrowed": self.borrowed,
                "run_path": self.run_path,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "cancel_on_kill": self.cancel_on_kill,
                "look_at": self.look_at,
                "on_any_end": self.on_any_end,
                "spent_usd": self.spent_usd,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, decide, wait; one event ``{"v": 1, "run_path", "reason", "message"}``."""
        rule = WakeRule(self.deadline, self.look_at, self.on_any_end)
        watch = Watch(rule, self.poll_interval, time.time(), Progress(self.spent_usd))
        self._call_early()
        # A restarted triggerer starts all its triggers in one step of the event loop; spread them.
        spread = random.uniform(0, min(SPREAD_SECONDS, self.poll_interval / 4))  # noqa: S311
        await asyncio.sleep(min(FIRST_LOOK_SECONDS, self.poll_interval) + spread)
        while True:
            decision = watch.after(await self._look(), time.time(), random.random())  # noqa: S311
            for warning in watch.warnings:
                self.log.warning(warning)
            if watch.news:
                self.log.info(watch.news)
            if not isinstance(decision, Wait):
                yield TriggerEvent(
                    {"v": 1, "run_path": self.run_path, "reason": decision.reason, "message": decision.message[:500]}
                )
                return
            await asyncio.sleep(decision.seconds)

    def _call_early(self) -> None:
        """A triggerer sets up its API client with the first call (3.3: 8 s, on a busy machine over 18 s): more time
        than ``on_kill`` has. So the first wait of a process makes a call while nothing depends on the answer."""

        async def call() -> None:
            with contextlib.suppress(Exception):
                await self._task_state()

        if self.task_instance is not None and not _early:
            _early.append(asyncio.ensure_future(call()))

    async def _look(self) -> list[Job] | BatchInferenceError:
        try:
            backend = await self._known_backend()
            return await backend.apoll(self.jobs)
        except BatchInferenceError as error:
            if isinstance(error, PermanentError):
                # The key may have been rotated: read the connection anew before the next look.
                self._backend = None
            return error
        except Exception as error:  # noqa: BLE001 - a trigger that dies leaves paid jobs behind; the deadline bounds it
            return ProviderError(f"The jobs could not be read: {type(error).__name__}: {error}", ambiguous=False)

    async def _known_backend(self) -> Backend:
        if self._backend is None:
            try:
                hook = await BatchInferenceHook.afor_conn_id(self.conn_id)
            except BatchInferenceError:
                raise
            except Exception as error:
                # Airflow's own API was away, or the connection is; either may be back before the jobs have ended.
                message = f"Connection {self.conn_id!r} cannot be read: {error}"
                raise ProviderError(message, ambiguous=False) from error
            self._backend = hook.backend
        return self._backend

    async def on_kill(self) -> None:
        """Cancel the jobs of a task that a user ended; Airflow 3.3 and later call this.

        It is also called when the trigger only moves to another triggerer and when the task is cleared, and then the
        jobs must go on: the task's own state shows which it was.
        """
        until = time.monotonic() + KILL_SECONDS
        if not self.cancel_on_kill:
            self.log.info("cancel_on_kill is False: %s keep running (and billing)", self._what_lives())
            return
        try:
            state = await asyncio.wait_for(self._task_state(), STATE_SECONDS)
        except Exception as error:  # noqa: BLE001 - not knowing means leaving paid work alone
            reason = f"{type(error).__name__}: {error}"
            self.log.warning("The task's state could not be read (%s): %s keep running", reason, self._what_lives())
            return
        if state not in KILLED_STATES:
            self.log.info("The task is %s: %s keep running", state or "cleared", self._what_lives())
            return
        cancelled = await self._cancel(until - NOTE_SECONDS)
        what = f"cancelling {counted(len(cancelled), 'job')}: {cancelled}" if cancelled else "no job was cancelled"
        self.log.warning("The task was set to %s: %s", state, what)
        if self.look_at is not None:
            self.log.error(
                "A create call without an answer may have created a job that bills; clear the task to search for it"
            )
        if cancelled:
            await self._note(cancelled)

    def _what_lives(self) -> str:
        lost = " and what a create call without an answer may have created" if self.look_at is not None else ""
        return f"jobs {self.jobs}{lost}"

    async def _cancel(self, until: float) -> list[str]:
        """The jobs whose cancel the provider took; one that cannot be cancelled must not keep the others alive.

        :param until: when to stop, on the clock of ``time.monotonic``.
        """
        unreachable = ""
        backend: Backend | None = None
        try:
            backend = await asyncio.wait_for(self._known_backend(), CANCEL_SECONDS)
        except Exception as error:  # noqa: BLE001 - logged for each job
            unreachable = str(error) or f"the connection could not be read within {CANCEL_SECONDS:g} s"
        waiting = deque(job_id for job_id in self.jobs if job_id not in self.borrowed)
        cancelled: list[str] = []

        async def one(job_id: str, seconds: float) -> None:
            try:
                if backend is None:
                    raise PermanentError(unreachable)
                await asyncio.wait_for(backend.acancel([job_id]), seconds)
            except Exception as error:  # noqa: BLE001 - whatever it was, the log must name what may bill
                reason = str(error) or f"no answer in {seconds:g} s"
                self.log.error("Job %s could not be cancelled and may still bill: %s", job_id, reason)
            else:
                cancelled.append(job_id)

        async def work() -> None:
            while waiting and (left := until - time.monotonic()) > 0:
                await one(waiting.popleft(), min(CANCEL_SECONDS, left))

        await asyncio.gather(*(work() for _ in range(CANCELS_AT_ONCE)))
        if waiting:
            self.log.error(
                "%s could not be cancelled in time and may still bill: %s. %s",
                counted(len(waiting), "job"),
                [*waiting],
                FINISH,
            )
        done = set(cancelled)
        return [job_id for job_id in self.jobs if job_id in done]

    async def _note(self, job_ids: Sequence[str]) -> None:
        """Record it for the next try: rows of a job that we cancelled are sent again without counting as a round."""
        try:
            await asyncio.wait_for(asyncio.to_thread(note_cancelled, self.run_path, job_ids), NOTE_SECONDS)
        except Exception as error:  # noqa: BLE001 - the jobs are cancelled, whatever becomes of the note
            reason = f"{type(error).__name__}: {error}"
            self.log.warning("Jobs %s were cancelled; recording it in %s failed: %s", job_ids, self.run_path, reason)

    async def _task_state(self) -> str | None:
        if self.task_instance is None:
            raise PermanentError("the trigger has no task")
        return await asyncio.to_thread(task_state, self.task_instance)


def task_state(ti: Any) -> str | None:
    """What Airflow says now of the task that a task instance belongs to; None for one that is cleared or gone."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    mapped = ti.map_index is not None and ti.map_index >= 0
    key = f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id
    state = states.get(ti.run_id, {}).get(key)
    return None if state is None else str(getattr(state, "value", state))


def note_cancelled(run_path: str, job_ids: Sequence[str]) -> None:
    """Record in a run directory that these jobs were cancelled by us; jobs of others are passed over.

    :param run_path: empty where there is no run, as for a batch created outside Airflow.
    """
    if not run_path:
        return
    ledger = Ledger(RunDirectory(run_path))
    for shard, attempt in ledger.open_attempts():
        if attempt.job_id in job_ids:
            ledger.record(shard, attempt.number, Cancel(time.time()))
