"""The trigger: what travels, when it fires, what it cancels, and that it never blocks."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.triggers.batch_inference import BatchInferenceTrigger
from tests.airflow.world import curl_batch, provider, request
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]


def trigger(jobs, **changes):
    arguments = {
        "conn_id": "provider",
        "jobs": jobs,
        "run_path": "runs/x",
        "deadline": time.time() + 60,
        "poll_interval": 0.02,
        **changes,
    }
    return BatchInferenceTrigger(**arguments)


async def fire(one, seconds=20.0):
    return (await asyncio.wait_for(anext(one.run()), seconds)).payload


@pytest.fixture
def world(request, monkeypatch):
    marker = request.node.get_closest_marker("fake")
    with provider("openai_batch", FaultPlan(**(marker.kwargs if marker else {}))) as (fake, connection):
        monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", json.dumps(connection))
        yield fake, curl_batch(fake, [line(n) for n in range(3)])


def line(number):
    return request(number)


def test_arguments_travel(world):
    """What is serialized makes the same trigger, also with arguments of a later version and without newer ones."""
    _, batch = world
    path, kwargs = trigger([batch], look_at=5.0, on_any_end=True, cancel_on_kill=False).serialize()
    assert path == "airflow_batch_provider.triggers.batch_inference.BatchInferenceTrigger"
    assert BatchInferenceTrigger(**{**kwargs, "of_a_later_version": 1}).serialize() == (path, kwargs)
    oldest = {name: kwargs[name] for name in ("conn_id", "jobs", "run_path", "deadline")}
    assert BatchInferenceTrigger(**oldest).jobs == [batch]
    assert json.loads(json.dumps(kwargs)) == kwargs


async def test_fires_when_all_jobs_have_ended(world):
    """The event is small and names the run directory and the reason."""
    _, batch = world
    assert await fire(trigger([batch])) == {"v": 1, "run_path": "runs/x", "reason": "jobs_ended", "message": ""}


@pytest.mark.fake(hold_after_rows=1)
@pytest.mark.parametrize(("name", "reason"), [("deadline", "deadline"), ("look_at", "look_again")])
async def test_fires_at_absolute_times(world, name, reason):
    """Deadline and look-again are points in time, so a restarted trigger fires no later."""
    _, batch = world
    at = time.time() + 0.6
    one = trigger([batch], **{name: at})
    with pytest.raises(asyncio.TimeoutError):
        await fire(one, seconds=0.2)
    restarted = BatchInferenceTrigger(**one.serialize()[1])
    assert (await fire(restarted))["reason"] == reason
    assert time.time() - at < 1


@pytest.mark.fake(poll_status=[500, 502, 429, 500])
async def test_a_burst_of_errors_is_borne(world):
    """Failed looks are logged and tried again."""
    fake, batch = world
    assert (await fire(trigger([batch])))["reason"] == "jobs_ended"
    assert fake.faults.poll_status == []


async def test_a_job_that_is_not_there_ends_the_wait(world):
    """404 is no failure of the wait: after three looks the run looks for itself which job is gone (A3)."""
    event = await fire(trigger(["batch_nowhere"]))
    assert event["reason"] == "look_again"
    assert "HTTP 404" in event["message"]
    assert len(json.dumps(event)) < 1000


@pytest.mark.fake(unknown_status_polls=5, lying_counts=True)
async def test_an_unknown_status_is_waited_for_and_told_once(world, capsys):
    """A word nobody has heard of is neither success nor failure, unless the counts cover every row."""
    _, batch = world
    assert (await fire(trigger([batch])))["reason"] == "jobs_ended"
    assert capsys.readouterr().out.count("unknown status 'awaiting_moonrise'") == 1


async def test_progress_is_in_the_log(world, capsys):
    """Counts and statuses, in the task's log."""
    _, batch = world
    await fire(trigger([batch]))
    assert "/3 requests done" in capsys.readouterr().out


async def test_a_rotated_key_is_read_again(world, monkeypatch):
    """After a refusal the connection is read anew, so that a wait survives a change of key."""
    fake, batch = world
    good = os.environ["AIRFLOW_CONN_PROVIDER"]
    monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", good.replace(fake.api_key, "sk-old"))
    waiting = asyncio.create_task(fire(trigger([batch], poll_interval=0.2)))
    while not fake.calls("poll"):  # noqa: ASYNC110 - the fake lives in a thread
        await asyncio.sleep(0.01)
    monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", good)
    assert (await waiting)["reason"] == "jobs_ended"


@pytest.mark.fake(hold_after_rows=1)
@pytest.mark.parametrize(
    ("state", "cancels"),
    [
        ("failed", 1),
        ("success", 1),
        ("skipped", 1),
        ("removed", 1),
        ("deferred", 0),
        ("queued", 0),
        ("running", 0),
        (None, 0),
        (RuntimeError("no answer"), 0),
    ],
)
async def test_only_a_killed_task_cancels(world, state, cancels):
    """Airflow calls on_kill also for a cleared or reassigned task; those jobs must live."""
    fake, batch = world

    class Asked(BatchInferenceTrigger):
        async def _task_state(self):
            if isinstance(state, Exception):
                raise state
            return state

    one = Asked(**trigger([batch]).serialize()[1])
    await one.on_kill()
    assert len(fake.calls("cancel")) == cancels
    one.cancel_on_kill = False
    await one.on_kill()
    assert len(fake.calls("cancel")) == cancels


@pytest.mark.alone
def test_a_hundred_waiting_runs_do_not_stall_the_loop():
    """100 runs, answers of a second: the loop never stands still for as long as one of them, on a busy machine too."""
    command = [sys.executable, "benchmarks/triggers.py", "--latency", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE)
    told = done.stdout.strip().splitlines()[-1]
    print(f"\n{told}")
    assert float(told.rsplit(" ", 2)[1]) < 500
