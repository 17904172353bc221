"""Waits for jobs in the triggerer. Asynchronous to the bone: one blocking call here would stall every other trigger.

The class path and the keyword arguments are public API: deferrals outlive deployments, so arguments of older and newer
versions are taken as they come.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.errors import BatchInferenceError, PermanentError, ProviderError
from airflow_batch_provider.core.polling import Wait, WakeRule, decide
from airflow_batch_provider.core.progress import Progress
from airflow_batch_provider.core.records import Job, JobStatus
from airflow_batch_provider.hooks.base import BatchInferenceHook

KILLED_STATES = frozenset({"failed", "success", "skipped", "removed"})
STATE_SECONDS = 10.0
SPREAD_SECONDS = 1.0
# A task that resumes before the scheduler has read the end of its deferral is failed as "state mismatch"
# (github.com/apache/airflow issues 71580 and 72716, open in 3.3.1); a trigger must not fire at once.
FIRST_LOOK_SECONDS = 5.0


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
        schema_version: int = 1,
        **_of_other_versions: Any,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.jobs = list(jobs)
        self.run_path = run_path
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self.look_at = look_at
        self.on_any_end = on_any_end
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
                "run_path": self.run_path,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "cancel_on_kill": self.cancel_on_kill,
                "look_at": self.look_at,
                "on_any_end": self.on_any_end,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, decide, wait; one event ``{"v": 1, "run_path", "reason", "message"}``."""
        rule = WakeRule(self.deadline, self.look_at, self.on_any_end)
        started = time.time()
        progress = Progress()
        unknown: set[str] = set()
        failures = 0
        # A restarted triggerer starts all its triggers in one step of the event loop; spread them.
        spread = random.uniform(0, min(SPREAD_SECONDS, self.poll_interval / 4))  # noqa: S311
        await asyncio.sleep(min(FIRST_LOOK_SECONDS, self.poll_interval) + spread)
        while True:
            seen = await self._look()
            if isinstance(seen, BatchInferenceError):
                failures += 1
                self.log.warning("Look %d at the jobs failed: %s", failures, seen)
            else:
                failures = 0
                self._tell(seen, progress, unknown)
            decision = decide(
                seen,
                rule=rule,
                now=time.time(),
                started=started,
                poll_interval=self.poll_interval,
                failures=failures,
            )
            if not isinstance(decision, Wait):
                yield TriggerEvent(
                    {"v": 1, "run_path": self.run_path, "reason": decision.reason, "message": decision.message[:500]}
                )
                return
            await asyncio.sleep(decision.seconds)

    async def _look(self) -> list[Job] | BatchInferenceError:
        try:
            backend = await self._known_backend()
            return await backend.apoll(self.jobs)
        except BatchInferenceError as error:
            if isinstance(error, PermanentError):
                # The key may have been rotated: read the connection anew before the next look.
                self._backend = None
            return error

    async def _known_backend(self) -> Backend:
        if self._backend is None:
            try:
                hook = await BatchInferenceHook.afor_conn_id(self.conn_id)
            except BatchInferenceError:
                raise
            except Exception as error:
                # Airflow's own API was away, or the connection is; either may be back before the jobs have ended.
                told = f"Connection {self.conn_id!r} cannot be read: {error}"
                raise ProviderError(told, ambiguous=False) from error
            self._backend = hook.backend
        return self._backend

    def _tell(self, jobs: Sequence[Job], progress: Progress, unknown: set[str]) -> None:
        line = progress.line(jobs, time.time())
        if line:
            self.log.info(line)
        for job in jobs:
            if job.status is JobStatus.UNKNOWN and job.id not in unknown:
                unknown.add(job.id)
                self.log.warning("Job %s has the unknown status %r; waiting on", job.id, job.raw_status)

    async def on_kill(self) -> None:
        """Cancel the jobs of a task that somebody ended; Airflow 3.3 and later call this.

        It is also called when the trigger only moves to another triggerer and when the task is cleared, and then the
        jobs must live: the task's own state tells which it was.
        """
        if not self.cancel_on_kill:
            return
        try:
            state = await asyncio.wait_for(self._task_state(), STATE_SECONDS)
        except Exception as error:  # noqa: BLE001 - not knowing means leaving paid work alone
            self.log.warning("The task's state is unknown (%s); jobs %s are left alone", error, self.jobs)
            return
        if state not in KILLED_STATES:
            self.log.info("The task is %s; jobs %s are left alone", state, self.jobs)
            return
        try:
            backend = await self._known_backend()
            await backend.acancel(self.jobs)
        except BatchInferenceError as error:
            self.log.error("Jobs %s could not be cancelled and may still bill: %s", self.jobs, error)
        else:
            self.log.warning("The task was set to %s: jobs %s are being cancelled", state, self.jobs)

    async def _task_state(self) -> str | None:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti = self.task_instance
        if ti is None:
            raise PermanentError("the trigger knows no task")
        states = await asyncio.to_thread(
            RuntimeTaskInstance.get_task_states,
            dag_id=ti.dag_id,
            task_ids=[ti.task_id],
            run_ids=[ti.run_id],
            map_index=ti.map_index,
        )
        mapped = ti.map_index is not None and ti.map_index >= 0
        key = f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id
        state = states.get(ti.run_id, {}).get(key)
        return None if state is None else str(getattr(state, "value", state))
