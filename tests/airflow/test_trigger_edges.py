"""The trigger where Airflow itself is in the way: whose task it is, what state it is in, connections that are away."""

import asyncio
import json
import time
from types import SimpleNamespace

import pytest
from airflow.sdk import BaseHook
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.module_loading import import_string

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.polling import Watch
from airflow_batch_provider.triggers import batch_inference
from airflow_batch_provider.triggers.batch_inference import BatchInferenceTrigger
from tests.airflow.world import curl_batch, provider, request


@pytest.fixture
def world(monkeypatch):
    with provider("openai_batch") as (fake, connection):
        monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", json.dumps(connection))
        fake.faults.hold_after_rows = 1
        yield fake, curl_batch(fake, [request(n) for n in range(3)])


@pytest.fixture
def states(monkeypatch):
    """What Airflow answers when asked for task states, and what it was asked."""
    told = SimpleNamespace(answer={}, asked=[])

    def get_task_states(**asked):
        told.asked.append(asked)
        if isinstance(told.answer, Exception):
            raise told.answer
        return told.answer

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(get_task_states))
    return told


def trigger(batch, map_index=-1, **changes):
    made = BatchInferenceTrigger(
        conn_id="provider", jobs=[batch], run_path="x", deadline=time.time() + 60, poll_interval=0.02, **changes
    )
    made.task_instance = SimpleNamespace(dag_id="dag", task_id="answer", run_id="run", map_index=map_index)
    return made


@pytest.mark.parametrize(
    ("map_index", "answer", "cancels"),
    [
        (-1, {"run": {"answer": "failed"}}, 1),
        (3, {"run": {"answer_3": "success", "answer_2": "deferred"}}, 1),
        (3, {"run": {"answer_3": "deferred", "answer": "failed"}}, 0),
        (-1, {"run": {"answer": None}}, 0),
        (-1, {"run": {}}, 0),
        (-1, {}, 0),
        (-1, {"run": {"answer": "moonlit"}}, 0),
        (-1, ConnectionError("Airflow's API is away"), 0),
    ],
    ids=["killed", "mapped killed", "mapped, a sibling killed", "cleared", "no task", "no run", "unknown", "no answer"],
)
async def test_the_task_that_was_killed(world, states, map_index, answer, cancels):
    """The state that counts is this task's own; whatever is not surely a kill leaves paid work alone."""
    fake, batch = world
    states.answer = answer
    await trigger(batch, map_index).on_kill()
    assert len(fake.calls("cancel")) == cancels
    assert states.asked == [{"dag_id": "dag", "task_ids": ["answer"], "run_ids": ["run"], "map_index": map_index}]


async def test_without_a_task_nothing_is_cancelled(world):
    """As in dag.test, where a trigger knows no task."""
    fake, batch = world
    one = trigger(batch)
    one.task_instance = None
    await one.on_kill()
    assert fake.calls("cancel") == []


async def test_a_state_that_does_not_come_is_not_waited_for(world, monkeypatch, capsys):
    """Airflow gives on_kill half a minute; asking takes a part of it at most."""
    fake, batch = world
    monkeypatch.setattr(batch_inference, "STATE_SECONDS", 0.05)

    class Slow(BatchInferenceTrigger):
        async def _task_state(self):
            await asyncio.sleep(60)

    await Slow(**trigger(batch).serialize()[1]).on_kill()
    assert fake.calls("cancel") == []
    assert "keep running" in capsys.readouterr().out


async def test_a_cancel_that_fails_is_told(world, states, capsys):
    """Nobody may believe that a job was stopped which still bills."""
    fake, batch = world
    fake.faults.cancel_status = [500]
    states.answer = {"run": {"answer": "failed"}}
    await trigger(batch).on_kill()
    told = capsys.readouterr().out
    assert batch in told
    assert "could not be cancelled and may still bill" in told


async def test_airflow_away_is_borne(world, monkeypatch):
    """A connection that cannot be read now may be read at the next look; the wait survives."""
    fake, _ = world
    fake.faults.hold_after_rows = None
    read, failures = BaseHook.aget_connection, [RuntimeError("503"), RuntimeError("503")]

    async def stumbling(conn_id):
        if failures:
            raise failures.pop()
        return await read(conn_id)

    monkeypatch.setattr(BaseHook, "aget_connection", stumbling)
    other = curl_batch(fake, [request(9)])
    event = (await asyncio.wait_for(anext(trigger(other).run()), 20)).payload
    assert (event["reason"], failures) == ("jobs_ended", [])


@pytest.mark.parametrize("wrong", [ValueError("Unknown scheme for proxy URL"), ImportError("socksio"), RuntimeError()])
async def test_what_no_one_foresaw_does_not_end_the_wait(world, monkeypatch, capsys, wrong):
    """A14: an exception of no known type in a look, as of a client that an odd environment breaks, is logged and the
    next look goes on; a trigger that died would leave a paid batch behind."""
    fake, _ = world
    fake.faults.hold_after_rows = None
    look, failures = OpenAIBackend.apoll, [wrong, wrong]

    async def stumbling(self, job_ids):
        if failures:
            raise failures.pop()
        return await look(self, job_ids)

    monkeypatch.setattr(OpenAIBackend, "apoll", stumbling)
    event = (await asyncio.wait_for(anext(trigger(curl_batch(fake, [request(9)])).run()), 20)).payload
    assert (event["reason"], failures) == ("jobs_ended", [])
    printed = capsys.readouterr().out
    assert "Look 2 at the jobs failed: ProviderError: " in printed
    assert type(wrong).__name__ in printed


@pytest.mark.parametrize("stays", [False, True])
async def test_an_odd_environment_of_the_triggerer(stays, world, monkeypatch, capsys):
    """A14: a proxy that only the triggerer has is named; mended, the wait goes on; for good, the task is woken with
    the reason, and nothing was cancelled."""
    fake, _ = world
    fake.faults.hold_after_rows = None
    batch = curl_batch(fake, [request(9)])
    monkeypatch.setenv("ALL_PROXY", "socks://:pa55word-77@127.0.0.1:1")
    decide = Watch.after

    def mended(self, seen, now, jitter):
        if isinstance(seen, ConfigurationError) and not stays:
            monkeypatch.delenv("ALL_PROXY", raising=False)
        return decide(self, seen, now, jitter)

    monkeypatch.setattr(Watch, "after", mended)
    event = (await asyncio.wait_for(anext(trigger(batch).run()), 20)).payload
    assert event["reason"] == ("polling_failed" if stays else "jobs_ended")
    printed = capsys.readouterr().out
    assert "ALL_PROXY" in printed
    assert "pa55word" not in printed + json.dumps(event)
    assert not fake.calls("cancel")
    assert stays == ("ALL_PROXY" in event["message"])


async def test_one_job_of_two_wakes_a_waiting_shard(world, monkeypatch):
    """While a shard waits for a slot, the end of any job wakes the task."""
    monkeypatch.setattr("airflow_batch_provider.core.polling.SLOT_WAKE_SECONDS", 0.0)
    fake, held = world
    fake.faults.jobs = 1
    ended = curl_batch(fake, [request(9)])
    one = trigger(held, on_any_end=True)
    one.jobs.append(ended)
    event = (await asyncio.wait_for(anext(one.run()), 20)).payload
    assert event["reason"] == "slot_free"


async def test_airflow_can_make_it_from_what_it_keeps(world):
    """Class path and arguments are all that is kept: no key in them, none in the event, however wrong things go."""
    fake, _ = world
    path, kwargs = trigger("batch_nowhere").serialize()
    event = (await asyncio.wait_for(anext(import_string(path)(**kwargs).run()), 20)).payload
    kept = json.dumps([path, kwargs, event])
    assert fake.api_key not in kept
    assert event["reason"] == "look_again"
    assert len(json.dumps(event)) < 1000
