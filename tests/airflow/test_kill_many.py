"""X23: a task with a thousand live jobs is killed; every second there is cancels, and what is left is named."""

import asyncio
import logging
import threading
import time

import pytest

from airflow_batch_provider.operators.kill import KilledJobs
from airflow_batch_provider.triggers import batch_inference
from airflow_batch_provider.triggers.batch_inference import BatchInferenceTrigger

JOBS = [f"job-{number}" for number in range(1000)]


class Slow:
    """A provider that takes its time for each cancel.

    :param most: how many calls it serves at once; the others wait.
    """

    def __init__(self, seconds, most):
        self.seconds = seconds
        self.cancelled = []
        self._room = threading.Semaphore(most)
        self._most = most

    def cancel(self, job_id):
        with self._room:
            time.sleep(self.seconds)
            self.cancelled.append(job_id)

    async def acancel(self, job_ids):
        self._places = getattr(self, "_places", None) or asyncio.Semaphore(self._most)
        async with self._places:
            await asyncio.sleep(self.seconds)
            self.cancelled += job_ids


def kill_trigger(backend, jobs):
    trigger = BatchInferenceTrigger(conn_id="c", jobs=jobs, run_path="", deadline=time.time() + 900)
    trigger._backend = backend

    async def state():
        return "failed"

    trigger._task_state = state
    asyncio.run(trigger.on_kill())


@pytest.mark.alone
def test_a_thousand_jobs_are_cancelled_by_the_triggerer(capsys):
    backend = Slow(0.1, 16)
    kill_trigger(backend, JOBS)
    assert sorted(backend.cancelled) == sorted(JOBS)
    log = capsys.readouterr().out
    assert "cancelling 1,000 jobs" in log
    assert "may still bill" not in log


@pytest.mark.alone
def test_a_thousand_jobs_are_cancelled_by_the_worker(caplog):
    backend = Slow(0.1, 1000)
    KilledJobs(logging.getLogger("worker"), None, (backend, JOBS)).cancel(4.0)
    assert sorted(backend.cancelled) == sorted(JOBS)
    assert "cancelling 1,000 jobs" in caplog.text
    assert "may still bill" not in caplog.text


def test_what_there_is_no_time_for_is_named_with_the_remedy(caplog, capsys, monkeypatch):
    monkeypatch.setattr(batch_inference, "KILL_SECONDS", batch_inference.NOTE_SECONDS + 0.5)
    backend = Slow(0.2, 16)
    kill_trigger(backend, JOBS[:200])
    log = capsys.readouterr().out
    assert 0 < len(backend.cancelled) < 200
    assert "could not be cancelled in time and may still bill" in log
    assert "BatchInferenceCancelOperator" in log
    for job in JOBS[:200]:
        assert f"'{job}'" in log or f"Job {job} could not be cancelled and may still bill" in log

    backend = Slow(0.2, 1000)
    KilledJobs(logging.getLogger("worker"), None, (backend, JOBS)).cancel(0.5)
    assert "could not be cancelled within" in caplog.text
    assert "'job-999'" in caplog.text
