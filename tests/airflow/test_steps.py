"""Submit, wait, fetch and cancel as tasks of their own, and what happens when a run is begun again."""

import json
import shutil
import time
from dataclasses import replace

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_batch_provider.core.errors import ProviderError
from airflow_batch_provider.hooks.base import BatchInferenceHook
from airflow_batch_provider.hooks.openai import OpenAIBatchHook
from airflow_batch_provider.operators import base
from airflow_batch_provider.operators.batch_inference import (
    BatchInferenceFetchOperator,
    BatchInferenceOperator,
    BatchInferenceSubmitOperator,
)
from airflow_batch_provider.run.ledger import Ledger
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.sensors.batch_inference import BatchInferenceSensor
from tests.airflow.world import TaskInstance, curl_batch, provider, request, resume, rows, write

POLL = {"poll_interval": 0.02}


@pytest.fixture
def fake(monkeypatch):
    with provider("openai_batch") as (made, connection):
        monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", json.dumps(connection))
        yield made


def task(folder, kind=BatchInferenceOperator, lines=4, **options):
    options.setdefault("input_path", write(folder / "in.jsonl", [request(n) for n in range(lines)]))
    made = {"task_id": "task", "output_path": str(folder / "run"), "conn_id": "provider", "retries": 3, **POLL}
    return kind(**{**made, **options})


def submit(folder, **options):
    return task(folder, BatchInferenceSubmitOperator, **options)


def first(try_number=1, **options):
    return {"ti": TaskInstance(try_number=try_number, **options)}


# ---- submit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
def test_submitting_ends_when_every_shard_has_its_job(tmp_path, fake, monkeypatch, deferrable):
    """A create that is refused for now is made later, by the submitting task; fetching would never make it."""
    monkeypatch.setattr("airflow_batch_provider.core.refusals._PAUSES", (0.3, 0.3))
    fake.faults.create_status = [429]
    told, triggers = resume(submit(tmp_path, deferrable=deferrable), first())
    assert [trigger.look_at is not None for trigger in triggers] == [True] * deferrable
    assert told == {"run_path": str(tmp_path / "run"), "batch_ids": [batch["id"] for batch in fake.batches]}
    fetch = BatchInferenceFetchOperator(task_id="fetch", run_path=told["run_path"], **POLL)
    assert resume(fetch, first())[0]["succeeded"] == 4
    assert len(fake.batches) == 1


def test_submitting_again_tells_the_same(tmp_path, fake):
    """Cleared before and after its jobs have ended, the task returns the same ids and creates nothing."""
    told = [submit(tmp_path).execute(first(number)) for number in (1, 2)]
    fetch = BatchInferenceFetchOperator(task_id="fetch", run_path=told[0]["run_path"], **POLL)
    resume(fetch, first())
    told.append(submit(tmp_path).execute(first(3)))
    assert told == [told[0]] * 3
    assert len(fake.creates) == 1


def test_several_models_are_several_jobs(tmp_path, fake):
    """One input with two models: two jobs, one set of results."""
    path = write(tmp_path / "two.jsonl", [request(n, model=f"m{n % 2}") for n in range(6)])
    told = submit(tmp_path, input_path=path).execute(first())
    assert sorted(told["batch_ids"]) == sorted(batch["id"] for batch in fake.batches)
    assert len(fake.batches) == 2
    resume(BatchInferenceSensor(task_id="wait", run_path=told["run_path"], **POLL), first())
    fetch = BatchInferenceFetchOperator(task_id="fetch", run_path=told["run_path"], **POLL)
    fetched, triggers = resume(fetch, first())
    assert (fetched["succeeded"], fetched["jobs"], triggers) == (6, 2, [])
    assert sorted(row[0] for row in rows(told["run_path"])) == [f"row-{n}" for n in range(6)]


@pytest.mark.parametrize("given", [{}, {"input_path": "x.jsonl", "input_file_id": "file-1"}])
def test_submit_wants_one_input(tmp_path, fake, given):
    """A path or an uploaded file, not both and not neither."""
    wrong = BatchInferenceSubmitOperator(task_id="t", output_path=str(tmp_path / "run"), conn_id="provider", **given)
    with pytest.raises(AirflowFailException, match="give either input_path or input_file_id"):
        wrong.execute(first())
    assert fake.requests == []


# ---- wait ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_sensor_gives_up_at_its_timeout(tmp_path, fake, deferrable):
    """The jobs are left alone, and another try would not help."""
    fake.faults.hold_after_rows = 1
    batch = curl_batch(fake, [request(n) for n in range(3)])
    sensor = BatchInferenceSensor(
        task_id="wait", batch_id=batch, conn_id="provider", timeout=0.3, deferrable=deferrable, **POLL
    )
    with pytest.raises(AirflowFailException, match=r"did not end within 0\.3 s and are left running"):
        resume(sensor, first())
    assert fake.calls("cancel") == []


@pytest.mark.parametrize("by", ["run_path", "batch_id"])
def test_the_sensors_link_leads_to_the_job(tmp_path, fake, monkeypatch, by):
    """While it waits and after it, also when another process has resumed it."""
    row = OpenAIBatchHook.row
    wire = replace(row.wire, base_url=fake.base_url, console="https://console.test/{id}")
    monkeypatch.setattr(OpenAIBatchHook, "row", replace(row, wire=wire))
    told = submit(tmp_path).execute(first())
    batch_id = fake.batches[0]["id"]
    of = {"run_path": told["run_path"]} if by == "run_path" else {"batch_id": batch_id, "conn_id": "provider"}
    page = f"https://console.test/{batch_id}"
    waiting, ended = (BatchInferenceSensor(task_id="wait", **of, **POLL) for _ in range(2))
    link = waiting.operator_extra_links[0]
    fake.faults.hold_after_rows = 1
    waiting._jobs()
    assert link.get_link(waiting, ti_key=None) == page
    ended.execute_complete(first(), {"reason": "ended", "message": ""})
    assert link.get_link(ended, ti_key=None) == page


def test_a_sensor_looks_for_itself_without_an_event(tmp_path, fake):
    """No event is no proof that anything has ended."""
    fake.faults.hold_after_rows = 1
    batch = curl_batch(fake, [request(n) for n in range(3)])
    sensor = BatchInferenceSensor(task_id="wait", batch_id=batch, conn_id="provider", **POLL)
    with pytest.raises(TaskDeferred):
        sensor.execute_complete(first(), None)


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_wait_that_cannot_look_is_worth_another_try(tmp_path, fake, deferrable):
    """When looking fails too often the jobs live on, so the error is one that Airflow retries."""
    sensor = BatchInferenceSensor(
        task_id="wait", batch_id="batch_nowhere", conn_id="provider", deferrable=deferrable, **POLL
    )
    with pytest.raises(ProviderError, match="3 status requests in a row did not find a job"):
        resume(sensor, first())


def test_there_must_be_a_run_to_wait_for(tmp_path, fake):
    """A run_path that holds no run is told, with what to give instead."""
    for kind in (BatchInferenceSensor, BatchInferenceFetchOperator):
        with pytest.raises(AirflowFailException, match="set run_path to the XCom run_path of the submitting task"):
            kind(task_id="t", run_path=str(tmp_path)).execute(first())


def test_killing_a_sensor_cancels_only_when_told_to(tmp_path, fake, monkeypatch):
    """A sensor waits for what others own: by default killing it leaves the job alone."""
    fake.faults.hold_after_rows = 1
    batch = curl_batch(fake, [request(n) for n in range(3)])
    look = base._look

    def killed(*arguments):
        sensor.on_kill()
        return look(*arguments)

    monkeypatch.setattr(base, "_look", killed)
    for cancel, calls in ((False, 0), (True, 1)):
        sensor = BatchInferenceSensor(
            task_id="wait", batch_id=batch, conn_id="provider", deferrable=False, cancel_on_kill=cancel, **POLL
        )
        with pytest.raises(AirflowFailException, match="killed"):
            sensor.execute(first())
        assert len(fake.calls("cancel")) == calls


# ---- fetch ---------------------------------------------------------------------------------------------------------


def test_fetching_never_creates(tmp_path, fake):
    """Rows that a new round could help stay as they are: only the submitting task pays."""
    fake.faults.expire_after_rows = 2
    fake.faults.jobs = 1
    told = submit(tmp_path).execute(first())
    fetch = BatchInferenceFetchOperator(task_id="fetch", run_path=told["run_path"], error_tolerance=0.5, **POLL)
    fetched, _ = resume(fetch, first())
    assert (fetched["succeeded"], fetched["expired"], len(fake.creates)) == (2, 2, 1)
    again = submit(tmp_path).execute(first(2))
    assert len(again["batch_ids"]) == 2, "clearing the submitting task asks the open rows again"
    fetched, _ = resume(BatchInferenceFetchOperator(task_id="fetch", run_path=told["run_path"], **POLL), first())
    assert (fetched["total"], fetched["succeeded"]) == (4, 4)


def test_mapped_fetches_have_folders_of_their_own(tmp_path, fake):
    """One fetch operator mapped over batches made elsewhere, one output_path."""
    folders = []
    for index in range(2):
        fetch = BatchInferenceFetchOperator(
            task_id="fetch",
            batch_id=curl_batch(fake, [request(index)]),
            conn_id="provider",
            output_path=str(tmp_path / "out"),
            **POLL,
        )
        folders.append(resume(fetch, first(map_index=index))[0]["run_path"])
    assert folders == [f"{tmp_path}/out/map-00000", f"{tmp_path}/out/map-00001"]


def test_a_folder_holds_one_batch(tmp_path, fake):
    """Another batch into the same folder is refused, and the first one's results stay."""
    made = [curl_batch(fake, [request(n)]) for n in range(2)]
    both = [
        BatchInferenceFetchOperator(
            task_id="fetch", batch_id=batch, conn_id="provider", output_path=str(tmp_path / "out"), **POLL
        )
        for batch in made
    ]
    told, _ = resume(both[0], first())
    with pytest.raises(AirflowFailException, match=f"holds job {made[0]}, not {made[1]}"):
        resume(both[1], first())
    assert [row[0] for row in rows(told["run_path"])] == ["row-0"]


# ---- again ---------------------------------------------------------------------------------------------------------


def test_a_new_try_without_its_folder_finds_the_job(tmp_path, fake):
    """The run directory is lost, the job is not: it is found at the provider instead of made again."""
    with pytest.raises(TaskDeferred):
        task(tmp_path).execute(first())
    shutil.rmtree(tmp_path / "run")
    told, _ = resume(task(tmp_path), first(2))
    assert (told["succeeded"], len(fake.creates), len(fake.calls("upload"))) == (4, 1, 1)


def test_resuming_without_the_folder_is_an_error(tmp_path, fake):
    """After the trigger fired, a missing directory is never taken as a reason to create."""
    with pytest.raises(TaskDeferred):
        task(tmp_path).execute(first())
    shutil.rmtree(tmp_path / "run")
    event = {"v": 1, "run_path": str(tmp_path / "run"), "reason": "jobs_ended", "message": ""}
    with pytest.raises(AirflowFailException, match="There is no run in"):
        task(tmp_path).execute_complete(first(), event)
    assert len(fake.creates) == 1


def test_a_restart_keeps_what_was_answered(tmp_path, fake):
    """on_changed_input="restart": the old run is under history/, whole; the new one asks everything."""
    told, _ = resume(task(tmp_path), first())
    before = rows(told["run_path"])
    resume(task(tmp_path, lines=5, on_changed_input="restart"), first(2))
    (kept,) = (tmp_path / "run" / "history").iterdir()
    assert rows(kept) == before
    assert len(rows(tmp_path / "run")) == 5
    assert len(fake.creates) == 2


def test_another_connection_while_jobs_live_is_refused(tmp_path, fake, monkeypatch):
    """The live job belongs to the old provider; asking the new one would pay twice."""
    fake.faults.hold_after_rows = 1
    with pytest.raises(TaskDeferred):
        task(tmp_path).execute(first())
    with provider("openai_batch") as (other, connection):
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
        with pytest.raises(AirflowFailException, match="switch it back until the run has ended"):
            task(tmp_path, conn_id="other").execute(first(2))
        assert other.requests == []


@pytest.mark.parametrize("name", ["on_lost_create", "on_changed_input"])
def test_a_misspelt_choice_is_refused(tmp_path, fake, name):
    """A slip of the pen must not choose the value that pays again."""
    with pytest.raises(AirflowFailException, match=f"{name} must be one of fail, .*, not 'fial'"):
        task(tmp_path, **{name: "fial"}).execute(first())
    assert fake.requests == []


def test_the_deadline_leaves_the_jobs_alone(tmp_path, fake):
    """Past the deadline the task fails without cancelling; a new try has time again and collects."""
    fake.faults.hold_after_rows = 1
    with pytest.raises(AirflowFailException, match="deadline passed with 1 job running"):
        resume(task(tmp_path, timeout=0.2), first())
    assert fake.calls("cancel") == []
    began = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        task(tmp_path, timeout=600).execute(first(2))
    assert deferred.value.trigger.deadline >= began + 600
    assert len(fake.creates) == 1


def test_fetching_past_the_deadline_has_time_again(tmp_path, fake):
    """What the submitting task allowed has passed; a task that only fetches waits on."""
    fake.faults.hold_after_rows = 1
    told = submit(tmp_path, timeout=3600).execute(first())
    ledger = Ledger(RunDirectory(told["run_path"]))
    ledger.write_tries(replace(ledger.tries(), deadline=time.time() - 1))
    fetch = BatchInferenceFetchOperator(task_id="fetch", run_path=told["run_path"], **POLL)
    with pytest.raises(TaskDeferred) as deferred:
        fetch.execute(first())
    assert deferred.value.trigger.deadline > time.time() + 3600


def test_an_attach_that_was_killed_is_begun_again(tmp_path, fake):
    """Killed between run.json and the plan; the next try plans."""
    batch = curl_batch(fake, [request(n) for n in range(3)])
    out = tmp_path / "out"
    arguments = {"task_id": "f", "batch_id": batch, "conn_id": "provider", "output_path": str(out), **POLL}
    resume(BatchInferenceFetchOperator(**arguments), first())
    for path in out.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "run.json":
            path.unlink()
    told, _ = resume(BatchInferenceFetchOperator(**arguments), first(2))
    assert (told["succeeded"], len(fake.creates)) == (3, 1)


def test_fetching_a_job_that_failed_whole_creates_nothing(tmp_path, monkeypatch):
    """Several models in one file, which the provider refused: its reason is told, and nothing is ever asked again."""
    with provider("portkey_virtual_key") as (fake, connection):
        monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", json.dumps(connection))
        hook = BatchInferenceHook.for_conn_id("provider")
        job = hook.create(hook.upload(write(tmp_path / "x.jsonl", [request(n, model=f"m{n}") for n in range(2)])))
        fetch = BatchInferenceFetchOperator(
            task_id="f", batch_id=job.id, conn_id="provider", output_path=str(tmp_path / "out"), **POLL
        )
        for number in (1, 2):
            with pytest.raises(AirflowFailException, match=r"line 2: The model 'm1' differs"):
                resume(fetch, first(number))
        assert len(fake.creates) == 1


def test_a_foreign_file_without_ids(tmp_path, fake):
    """A batch whose rows cannot be told apart is refused by line, and the folder stays as it was."""
    lines = [request(1), request(1)]
    fetch = BatchInferenceFetchOperator(
        task_id="f", batch_id=curl_batch(fake, lines), conn_id="provider", output_path=str(tmp_path / "out"), **POLL
    )
    with pytest.raises(AirflowFailException, match=r"line 2 repeats the id 'row-1'"):
        resume(fetch, first())
    assert not (tmp_path / "out" / "run.json").exists()
