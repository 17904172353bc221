"""Rule 9 as a table: which end of a task cancels its jobs, in the worker and in the triggerer, and what is told."""

import asyncio
import contextlib
import json
import threading
import time
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.execution_time.context import set_current_context
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_batch_provider.core.errors import RetryableError
from airflow_batch_provider.operators import base
from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator
from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.testing.routes import fake_route
from airflow_batch_provider.triggers.batch_inference import BatchInferenceTrigger
from tests.airflow.world import TaskInstance, resume, rows, write
from tests.patience import PATIENCE

KILLED = ("failed", "success", "skipped", "removed")
# deferred: the trigger moves to another triggerer; None, scheduled, queued, restarting: cleared; running: an evicted
# pod or execution_timeout; up_for_retry: Airflow lost the worker.
ALIVE = ("deferred", None, "scheduled", "queued", "restarting", "running", "up_for_retry")
HANG_SECONDS = 7.0


@pytest.fixture
def state(monkeypatch):
    """What Airflow says of the task: ``state.now``."""
    told = SimpleNamespace(now="running")

    def get_task_states(**asked):
        if isinstance(told.now, Exception):
            raise told.now
        return {asked["run_ids"][0]: {asked["task_ids"][0]: told.now}}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(get_task_states))
    return told


@contextlib.contextmanager
def world(name, monkeypatch, tmp_path, **faults):
    with fake_route(name, FaultPlan(hold_after_rows=2, silent_unrun=True, **faults)) as route:
        monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", route.connection_json)
        write(tmp_path / "in.jsonl", [line(n, route.model) for n in range(max(5, route.min_rows))])
        yield route


def line(number, model):
    body = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": f"say {number}"}]}
    return {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def operator(tmp_path, **options):
    return BatchInferenceOperator(
        task_id="task",
        input_path=str(tmp_path / "in.jsonl"),
        output_path=str(tmp_path / "run"),
        conn_id="provider",
        poll_interval=0.1,
        retries=3,
        allow_local_path=True,
        **options,
    )


def deferred(task, ti):
    """The trigger a task waits in, as the triggerer makes it."""
    with pytest.raises(TaskDeferred) as waits:
        task.execute({"ti": ti})
    trigger = BatchInferenceTrigger(**waits.value.trigger.serialize()[1])
    trigger.task_instance = ti
    return trigger


def killed_in_worker(task, ti):
    """The task, told to end while it waits in the worker.

    :return: the error it ends with, and how long ``on_kill`` took.
    """
    took = []

    def looks(*arguments):
        began = time.monotonic()
        task.on_kill()
        took.append(time.monotonic() - began)
        return []

    with pytest.MonkeyPatch.context() as patch, set_current_context({"ti": ti}):
        patch.setattr(base, "_look", looks)
        with pytest.raises((AirflowFailException, RetryableError)) as ended:
            task.execute({"ti": ti})
    return ended.value, took[0]


def job_of(route):
    (job,) = route.fake.batches
    return job.get("id") or job.get("jobArn") or job["name"]


@pytest.mark.parametrize("cancel", [True, False], ids=["cancel", "leave"])
@pytest.mark.parametrize("where", ["worker", "triggerer"])
@pytest.mark.parametrize("now", [*KILLED, *ALIVE])
def test_which_end_cancels(now, where, cancel, monkeypatch, tmp_path, state, capsys):
    """A task that somebody ended takes its job along, if it may; any other end leaves it alone; both are told."""
    with world("openai", monkeypatch, tmp_path) as route:
        ti = TaskInstance()
        if where == "worker":
            task = operator(tmp_path, deferrable=False, cancel_on_kill=cancel)
            state.now = now
            error, took = killed_in_worker(task, ti)
            # What Airflow itself started anew must be tried again; what a person ended must not.
            assert isinstance(error, AirflowFailException) == (now in KILLED)
            assert took < 5
        else:
            trigger = deferred(operator(tmp_path, cancel_on_kill=cancel), ti)
            state.now = now
            asyncio.run(trigger.on_kill())
        cancels = 1 if cancel and now in KILLED else 0
        assert len(route.fake.calls("cancel")) == cancels
        assert len(route.fake.batches) == 1
        told = capsys.readouterr().out
        job = job_of(route)
    said = "cancelling 1 job" if cancels else "keep running"
    assert any(job in each and said in each for each in told.splitlines()), told
    assert len(list((tmp_path / "run" / "ledger").glob("*.cancel.json"))) == cancels


@pytest.mark.parametrize("where", ["worker", "triggerer"])
@pytest.mark.parametrize("name", ["bedrock", "vertex_ai"])
def test_the_clouds_cancel_too(name, where, monkeypatch, tmp_path, state):
    """One cancel of the one job, by the cloud's own call."""
    with world(name, monkeypatch, tmp_path) as route:
        ti = TaskInstance()
        if where == "worker":
            task = operator(tmp_path, deferrable=False)
            state.now = "failed"
            killed_in_worker(task, ti)
        else:
            trigger = deferred(operator(tmp_path), ti)
            state.now = "failed"
            asyncio.run(trigger.on_kill())
        assert len(route.fake.calls("cancel")) == 1
        assert len(route.fake.batches) == 1


@pytest.mark.parametrize("where", ["worker", "triggerer"])
@pytest.mark.parametrize("name", ["openai", "bedrock", "vertex_ai"])
def test_a_provider_that_hangs_holds_nobody_up(name, where, monkeypatch, tmp_path, state, capsys):
    """Airflow kills the process after five seconds; before that the log says which job may still bill."""
    with world(name, monkeypatch, tmp_path) as route:
        ti = TaskInstance()
        state.now = "failed"
        if where == "worker":
            task = operator(tmp_path, deferrable=False)
            original = task.wait_here

            def slowly(*arguments):
                route.fake.faults.latency = HANG_SECONDS
                return original(*arguments)

            task.wait_here = slowly
            _, took = killed_in_worker(task, ti)
        else:
            trigger = deferred(operator(tmp_path), ti)
            route.fake.faults.latency = HANG_SECONDS
            began = time.monotonic()
            asyncio.run(on_kill(trigger, tell := []))
            took = tell[0] - began
        assert took < 5
        told = capsys.readouterr().out
        job = job_of(route)
        assert any(job in each and "may still bill" in each for each in told.splitlines()), told
        route.fake.faults.latency = 0.0


async def on_kill(trigger, tell):
    await trigger.on_kill()
    tell.append(time.monotonic())


@pytest.mark.parametrize("where", ["worker", "triggerer"])
def test_one_job_that_cannot_be_cancelled_spares_no_other(where, monkeypatch, tmp_path, state, capsys):
    """Three jobs, one cancel answered with 500: the other two end, and the log names the one that may bill."""
    with world("openai", monkeypatch, tmp_path, cancel_status=[500]) as route:
        write(tmp_path / "in.jsonl", [line(n, model=f"model-{n}") for n in range(3)])
        ti = TaskInstance()
        state.now = "failed"
        if where == "worker":
            killed_in_worker(operator(tmp_path, deferrable=False), ti)
        else:
            asyncio.run(deferred(operator(tmp_path), ti).on_kill())
        assert len(route.fake.calls("cancel")) == 3
        told = capsys.readouterr().out
        alive = [batch["id"] for batch in route.fake.batches if not batch["cancelling_at"]]
        assert len(alive) == 1
    lines = [each for each in told.splitlines() if "may still bill" in each]
    assert len(lines) == 1
    assert alive[0] in lines[0]
    assert "cancelling 2 jobs" in told
    assert len(list((tmp_path / "run" / "ledger").glob("*.cancel.json"))) == 2


@pytest.mark.parametrize("now", ["failed", "running"])
def test_nothing_is_created_after_the_kill(now, monkeypatch, tmp_path, state, capsys):
    """Killed inside the first of three creates: no second one; the one under way is cancelled, or goes on living."""
    with world("openai", monkeypatch, tmp_path, slow_accept=[1.0]) as route:
        write(tmp_path / "in.jsonl", [line(n, model=f"model-{n}") for n in range(3)])
        task = operator(tmp_path)
        ti = TaskInstance()
        state.now = now

        def kill():
            while not route.fake.batches:
                time.sleep(0.01)
            task.on_kill()

        killer = threading.Thread(target=kill)
        with set_current_context({"ti": ti}):
            killer.start()
            with pytest.raises((AirflowFailException, RetryableError)) as ended:
                task.execute({"ti": ti})
            killer.join()
        assert isinstance(ended.value, AirflowFailException) == (now == "failed")
        assert len(route.fake.creates) == 1
        assert len(route.fake.calls("cancel")) == (now == "failed")
    assert "has no answer yet" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["worker", "triggerer"])
@pytest.mark.parametrize("rounds", [1, 2])
def test_killed_then_cleared(rounds, where, monkeypatch, tmp_path, state):
    """The next try asks again exactly the rows that were not answered, and that does not count as a round."""
    with world("openai", monkeypatch, tmp_path) as route:
        ti = TaskInstance()
        state.now = "failed"
        if where == "worker":
            task = operator(tmp_path, deferrable=False, rounds=rounds)
            wait_for_rows(task, route)
            killed_in_worker(task, ti)
        else:
            trigger = deferred(operator(tmp_path, rounds=rounds), ti)
            until_two_rows(route)
            asyncio.run(trigger.on_kill())
        route.fake.faults.hold_after_rows = None
        route.fake.faults.silent_unrun = False
        state.now = "running"
        told, _ = resume(operator(tmp_path, rounds=rounds), {"ti": TaskInstance(try_number=2)})
        assert told["succeeded"] == 5
        assert len(route.fake.batches) == 2
        totals = [batch["request_counts"]["total"] for batch in route.fake.batches]
        asked_again = {each["custom_id"] for each in uploaded(tmp_path / "run", 1)}
    assert totals == [5, 3]
    answered_first = {json.loads(raw)["custom_id"] for raw in succeeded(tmp_path / "run", 0)}
    assert len(answered_first) == 2
    assert asked_again == {f"row-{n}" for n in range(5)} - answered_first
    assert {row[0] for row in rows(tmp_path / "run")} == {f"row-{n}" for n in range(5)}


def wait_for_rows(task, route):
    original = task.wait_here

    def later(*arguments):
        until_two_rows(route)
        return original(*arguments)

    task.wait_here = later


def until_two_rows(route):
    until = time.monotonic() + PATIENCE
    backend, job = route.backend(), job_of(route)
    while (backend.retrieve(job).counts.completed or 0) < 2:
        assert time.monotonic() < until
        time.sleep(0.02)


def uploaded(run, round_number):
    """The requests of a round, from the run directory."""
    (path,) = [*(run / "shards").glob(f"r{round_number}-*"), *(run / "input").glob(f"r{round_number}-*")]
    return [json.loads(raw) for raw in path.read_bytes().split(b"\n")[:-1]]


def succeeded(run, round_number):
    (path,) = (run / "collected").glob(f"r{round_number}-*")
    return [raw for raw in path.read_bytes().split(b"\n")[:-1] if json.loads(raw).get("response")]


def test_a_lost_create_is_told(monkeypatch, tmp_path, state, capsys):
    """A trigger that waits for a lost create knows no job to cancel; the log says that one may bill."""
    with world("openai", monkeypatch, tmp_path):
        one = BatchInferenceTrigger(
            conn_id="provider", jobs=[], run_path=str(tmp_path / "run"), deadline=time.time() + 60, look_at=1.0
        )
        one.task_instance = TaskInstance()
        state.now = "failed"
        asyncio.run(one.on_kill())
    assert "without an answer may have created a job that bills" in capsys.readouterr().out


def test_a_run_directory_that_is_away_does_not_stop_the_cancel(monkeypatch, tmp_path, state, capsys):
    """The note for the next try is a courtesy; the cancel is what counts."""
    with world("openai", monkeypatch, tmp_path) as route:
        trigger = deferred(operator(tmp_path), TaskInstance())
        trigger.run_path = "nowhere://run"
        state.now = "failed"
        asyncio.run(trigger.on_kill())
        assert len(route.fake.calls("cancel")) == 1
    assert "recording it in" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["worker", "triggerer"])
def test_not_knowing_leaves_paid_work_alone(where, monkeypatch, tmp_path, state, capsys):
    """Airflow's API is away: the job lives, and the log names it."""
    with world("openai", monkeypatch, tmp_path) as route:
        ti = TaskInstance()
        if where == "worker":
            task = operator(tmp_path, deferrable=False)
            state.now = ConnectionError("away")
            assert isinstance(killed_in_worker(task, ti)[0], RetryableError)
        else:
            trigger = deferred(operator(tmp_path), ti)
            state.now = ConnectionError("away")
            asyncio.run(trigger.on_kill())
        assert route.fake.calls("cancel") == []
        assert job_of(route) in capsys.readouterr().out
