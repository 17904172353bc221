"""The operators, from arguments to results, by turns in worker and triggerer."""

import asyncio
import json
from dataclasses import replace

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_batch_provider.core.errors import ToleranceError
from airflow_batch_provider.operators.batch_inference import (
    BatchInferenceCancelOperator,
    BatchInferenceFetchOperator,
    BatchInferenceOperator,
    BatchInferenceSubmitOperator,
    BatchInferenceValidateOperator,
)
from airflow_batch_provider.sensors.batch_inference import BatchInferenceSensor
from airflow_batch_provider.testing import FaultPlan
from tests.airflow.world import CONNECTIONS, TaskInstance, curl_batch, provider, request, resume, rows, write


@pytest.fixture
def fake(monkeypatch):
    with provider("openai_batch") as (made, connection):
        monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", json.dumps(connection))
        yield made


def operator(folder, kind=BatchInferenceOperator, lines=5, **options):
    if kind is BatchInferenceOperator or "input_file_id" not in options:
        options.setdefault("input_path", write(folder / "in.jsonl", [request(n) for n in range(lines)]))
    arguments = {
        "task_id": "task",
        "output_path": str(folder / "run"),
        "conn_id": "provider",
        "poll_interval": 0.02,
        "retries": 3,
        **options,
    }
    return kind(**arguments)


def test_only_the_connection_changes(tmp_path, monkeypatch):
    """The same arguments on every connection give the same ids, statuses, answers, finish reasons and usage."""
    found = {}
    for name in CONNECTIONS:
        folder = tmp_path / name
        folder.mkdir()
        with provider(name) as (fake, connection):
            monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", json.dumps(connection))
            told, triggers = resume(operator(folder), {"ti": TaskInstance()})
            assert len(fake.creates) == 1
            assert len(triggers) == 1
        assert (told["total"], told["succeeded"]) == (5, 5)
        found[name] = rows(told["run_path"])
        print(f"\n{name}: {found[name][0]}")
    assert all(one == found["local_batch"] for one in found.values())
    assert [row[0] for row in found["local_batch"]] == [f"row-{n}" for n in range(5)]


def test_what_a_task_returns_and_pushes(tmp_path, fake):
    """Flat values, key by key; run_path is pushed before the task defers."""
    task = operator(tmp_path)
    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as caught:
        task.execute({"ti": ti})
    assert ti.pushed == {"run_path": str(tmp_path / "run")}
    assert caught.value.timeout.total_seconds() > 26 * 3600
    path, kwargs = caught.value.trigger.serialize()
    assert path == "airflow_batch_provider.triggers.batch_inference.BatchInferenceTrigger"
    assert fake.api_key not in json.dumps(kwargs)
    event = asyncio.run(anext(caught.value.trigger.run())).payload
    assert len(json.dumps(event)) < 1000
    told = operator(tmp_path).execute_complete({"ti": ti}, event)
    assert ti.pushed == told
    assert task.multiple_outputs
    for key in ("total", "succeeded", "failed", "missing", "input_tokens", "output_tokens", "rounds", "jobs"):
        assert isinstance(told[key], int), key
    assert told["cost_usd"] is None
    assert all(not isinstance(value, (dict, list)) for value in told.values())


def test_waiting_in_the_worker(tmp_path, fake):
    """Without deferring, the same decisions; one create."""
    told = operator(tmp_path, deferrable=False).execute({"ti": TaskInstance()})
    assert told["succeeded"] == 5
    assert len(fake.creates) == 1


def test_not_waiting(tmp_path, fake):
    """wait_for_completion=False returns once the jobs exist, and never defers."""
    told = operator(tmp_path, wait_for_completion=False).execute({"ti": TaskInstance()})
    assert told == {"run_path": str(tmp_path / "run"), "batch_ids": [fake.batches[0]["id"]]}


def test_steps_apart(tmp_path, fake):
    """Submit, wait and fetch as three tasks give what the one operator gives."""
    submit = operator(tmp_path, kind=BatchInferenceSubmitOperator)
    told = submit.execute({"ti": TaskInstance()})
    sensor = BatchInferenceSensor(task_id="wait", run_path=told["run_path"], poll_interval=0.02)
    resume(sensor, {"ti": TaskInstance()})
    fetch = BatchInferenceFetchOperator(task_id="fetch", run_path=told["run_path"], poll_interval=0.02)
    fetched, triggers = resume(fetch, {"ti": TaskInstance(run_id="another")})
    assert (fetched["succeeded"], triggers) == (5, [])
    assert len(fake.creates) == 1
    again, _ = resume(sensor, {"ti": TaskInstance()})
    assert again["run_path"] == told["run_path"]


def test_submit_an_uploaded_file(tmp_path, fake):
    """A file that is at the provider already is not uploaded again, and its rows are known all the same."""
    batch = curl_batch(fake, [request(n) for n in range(3)])
    (file_id,) = {one["input_file_id"] for one in fake.batches if one["id"] == batch}
    uploads = len(fake.calls("upload"))
    submit = operator(tmp_path, kind=BatchInferenceSubmitOperator, input_file_id=file_id)
    told = submit.execute({"ti": TaskInstance()})
    assert len(fake.calls("upload")) == uploads
    fetch = BatchInferenceFetchOperator(task_id="f", run_path=told["run_path"], poll_interval=0.02)
    assert resume(fetch, {"ti": TaskInstance()})[0]["succeeded"] == 3


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_batch_made_by_curl(tmp_path, fake, deferrable):
    """A batch that this package never made is awaited and fetched, its books balanced; twice changes nothing."""
    batch = curl_batch(fake, [request(n) for n in range(4)])
    sensor = BatchInferenceSensor(
        task_id="wait", batch_id=batch, conn_id="provider", poll_interval=0.02, deferrable=deferrable
    )
    resume(sensor, {"ti": TaskInstance()})
    for _ in range(2):
        fetch = BatchInferenceFetchOperator(
            task_id="fetch",
            batch_id=batch,
            conn_id="provider",
            output_path=str(tmp_path / "fetched"),
            deferrable=deferrable,
            poll_interval=0.02,
        )
        told, _ = resume(fetch, {"ti": TaskInstance()})
        assert (told["total"], told["succeeded"]) == (4, 4)
    assert [row[0] for row in rows(told["run_path"])] == [f"row-{n}" for n in range(4)]
    assert len(fake.creates) == 1


def test_cancel(tmp_path, fake):
    """Live jobs of a run, or one batch by its id, are asked to stop; what they answered can be fetched."""
    fake.faults.hold_after_rows = 2
    told = operator(tmp_path, wait_for_completion=False).execute({"ti": TaskInstance()})
    cancel = BatchInferenceCancelOperator(task_id="cancel", run_path=told["run_path"])
    assert cancel.execute({"ti": TaskInstance()}) == told["batch_ids"]
    fetch = BatchInferenceFetchOperator(task_id="f", run_path=told["run_path"], poll_interval=0.02, error_tolerance=0.9)
    fetched, _ = resume(fetch, {"ti": TaskInstance()})
    assert fetched["succeeded"] + fetched["cancelled"] == 5
    assert fetched["succeeded"] >= 2
    by_id = BatchInferenceCancelOperator(task_id="c", batch_id=told["batch_ids"][0], conn_id="provider")
    assert by_id.execute({"ti": TaskInstance()}) == told["batch_ids"]


def test_validate_asks_nobody(tmp_path, fake):
    """The offline check knows rows, shards and models, and makes no call."""
    path = write(tmp_path / "in.jsonl", [request(1), request(2, model="n")])
    check = BatchInferenceValidateOperator(task_id="v", input_path=path, conn_id="provider")
    told = check.execute({"ti": TaskInstance()})
    assert (told["rows"], told["shards"], told["models"]) == (2, 2, ["m", "n"])
    bad = BatchInferenceValidateOperator(task_id="v", input_path=write(tmp_path / "bad", [{}]), conn_id="provider")
    with pytest.raises(AirflowFailException, match="line 1, custom_id: missing"):
        bad.execute({"ti": TaskInstance()})
    assert fake.requests == []


@pytest.mark.parametrize(
    ("path", "folder"), [("run", "run/map-00007"), ("run/{{ ti.map_index }}", "run/{{ ti.map_index }}")]
)
def test_mapped_tasks_have_folders_of_their_own(tmp_path, fake, path, folder):
    """Unless output_path mentions map_index, a mapped task adds its index."""
    task = operator(tmp_path, deferrable=False, output_path=str(tmp_path / path))
    assert task.execute({"ti": TaskInstance(map_index=7)})["run_path"] == str(tmp_path / folder)


def test_a_local_folder_needs_one_machine(tmp_path, fake, monkeypatch):
    """Where workers may be other machines, a local run directory is refused, unless they share it."""
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor,airflow.providers.celery.executors.CeleryExecutor")
    with pytest.raises(AirflowFailException, match=r"CeleryExecutor may run(.|\n)*allow_local_path=True"):
        operator(tmp_path).execute({"ti": TaskInstance()})
    assert fake.requests == []
    told = operator(tmp_path, deferrable=False, allow_local_path=True).execute({"ti": TaskInstance()})
    assert told["succeeded"] == 5


def test_retries_are_recommended(tmp_path, fake, capsys):
    """Without retries nobody resumes a killed run; the log says so."""
    operator(tmp_path, retries=0, deferrable=False).execute({"ti": TaskInstance()})
    assert "retries=0: if the worker dies" in capsys.readouterr().out


def test_tolerance_is_judged_after_everything_landed(tmp_path, fake):
    """Too many failures fail the task, permanently where nothing can help, after results and XCom are there."""
    fake.faults.fail_rows = {"row-1": 400}
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match=r"RowsFailedError: 1 of 5 rows did not succeed"):
        resume(operator(tmp_path), {"ti": ti})
    assert (ti.pushed["succeeded"], ti.pushed["failed"]) == (4, 1)
    told, _ = resume(operator(tmp_path, error_tolerance=0.2), {"ti": TaskInstance(try_number=2)})
    assert told["failed"] == 1
    assert len(fake.creates) == 1


def test_what_a_retry_can_help_stays_retryable(tmp_path, fake):
    """Rows that expired fail the try, and Airflow may retry it."""
    fake.faults.expire_after_rows = 3
    with pytest.raises(ToleranceError):
        resume(operator(tmp_path, rounds=1), {"ti": TaskInstance()})
    fake.faults.expire_after_rows = None
    told, _ = resume(operator(tmp_path, rounds=1), {"ti": TaskInstance(try_number=2)})
    assert told["succeeded"] == 5


def test_clearing_is_free_and_a_changed_input_is_told(tmp_path, fake):
    """The same input again: no call that pays. Another input: an error, or anew on request."""
    resume(operator(tmp_path), {"ti": TaskInstance()})
    told, triggers = resume(operator(tmp_path), {"ti": TaskInstance(try_number=2)})
    assert (told["succeeded"], triggers, len(fake.creates)) == (5, [], 1)
    with pytest.raises(AirflowFailException, match="RunConflictError"):
        resume(operator(tmp_path, lines=6), {"ti": TaskInstance(try_number=3)})
    told, _ = resume(operator(tmp_path, lines=6, on_changed_input="restart"), {"ti": TaskInstance(try_number=4)})
    assert (told["succeeded"], len(fake.creates)) == (6, 2)


def test_resuming_elsewhere_is_refused(tmp_path, fake):
    """An event of another run directory, or a directory that is gone, never creates anything."""
    with pytest.raises(TaskDeferred):
        operator(tmp_path).execute({"ti": TaskInstance()})
    event = {"v": 1, "run_path": "elsewhere", "reason": "jobs_ended", "message": ""}
    with pytest.raises(AirflowFailException, match="The event is for elsewhere"):
        operator(tmp_path).execute_complete({"ti": TaskInstance()}, event)
    gone = operator(tmp_path, output_path=str(tmp_path / "gone"))
    with pytest.raises(AirflowFailException, match="There is no run in"):
        gone.execute_complete({"ti": TaskInstance()}, None)
    assert len(fake.creates) == 1


def test_the_console_link_is_right_after_resuming(tmp_path, fake, monkeypatch):
    """The provider's page of the job, read from the ledger by whoever ran the segment."""
    from airflow_batch_provider.hooks.openai import OpenAIBatchHook

    row = OpenAIBatchHook.row
    wire = replace(row.wire, base_url=fake.base_url, console="https://console.test/{id}")
    monkeypatch.setattr(OpenAIBatchHook, "row", replace(row, wire=wire))
    task = operator(tmp_path)
    with pytest.raises(TaskDeferred) as caught:
        task.execute({"ti": TaskInstance()})
    page = f"https://console.test/{fake.batches[0]['id']}"
    link = task.operator_extra_links[0]
    assert link.get_link(task, ti_key=None) == page
    event = asyncio.run(anext(caught.value.trigger.run())).payload
    fresh = operator(tmp_path)
    assert link.get_link(fresh, ti_key=None) == ""
    fresh.execute_complete({"ti": TaskInstance()}, event)
    assert link.get_link(fresh, ti_key=None) == page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rounds": 0}, "rounds must be a whole number of rounds, 1 or more"),
        ({"error_tolerance": 5}, "error_tolerance must be a share"),
        ({"max_jobs_in_flight": 0}, "max_jobs_in_flight must be a whole number"),
        ({"max_enqueued_tokens": 0}, "max_enqueued_tokens must be a whole number"),
        ({"max_cost_usd": "ten"}, "max_cost_usd must be a number of US dollars"),
        ({"max_cost_usd": -1}, "max_cost_usd must be a number of US dollars"),
        ({"error_tolerance": "all"}, "error_tolerance must be a share"),
        ({"on_deadline": "stop"}, "on_deadline must be one of fail, cancel"),
        ({"conn_id": ""}, "conn_id is missing"),
        ({"backend_options": {"tier": "x"}}, "backend_options tier"),
    ],
)
def test_wrong_arguments_are_told_before_any_call(tmp_path, fake, options, said):
    """An argument that cannot work is an error with its name."""
    with pytest.raises(AirflowFailException, match=said):
        operator(tmp_path, **options).execute({"ti": TaskInstance()})
    assert fake.requests == []


GUARDS = ("max_cost_usd", "expected_output_tokens", "max_jobs_in_flight", "max_enqueued_tokens", "timeout")


@pytest.mark.parametrize("rendered", ["", " ", "None", "null", "nan", "inf", "1e999", "-1", "0", "{}", None, [], True])
@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_that_renders_to_nothing_is_an_error(tmp_path, fake, name, rendered):
    """X14: a template that renders to nothing, or to what is not a number above 0, does not remove the guard."""
    task = operator(tmp_path, **{name: "{{ var.value.limit }}"})
    assert name in task.template_fields
    setattr(task, name, rendered)  # as Airflow's rendering does, also to an object where templates render natively
    with pytest.raises(AirflowFailException, match=f"{name} must be a (whole )?number of"):
        task.execute({"ti": TaskInstance()})
    assert fake.requests == []


def test_a_guard_that_renders_to_a_number_holds(tmp_path, fake):
    """X14: the text of a number is the number."""
    texts = {"expected_output_tokens": "100", "max_jobs_in_flight": "2", "max_enqueued_tokens": "5e3", "rounds": "3"}
    task = operator(tmp_path, error_tolerance="0.5", timeout=" 90.5 ", deferrable=False, **texts)
    assert task.execute({"ti": TaskInstance()})["succeeded"] == 5
    options = task._run.options
    assert (options.expected_output_tokens, options.max_jobs_in_flight, options.max_enqueued_tokens) == (100, 2, 5000)
    assert (options.rounds, options.error_tolerance, options.timeout) == (3, 0.5, 90.5)


@pytest.mark.parametrize("kind", [BatchInferenceFetchOperator, BatchInferenceCancelOperator, BatchInferenceSensor])
def test_steps_want_a_run_or_a_batch(fake, kind):
    """Neither and both are refused."""
    for arguments in ({}, {"run_path": "x", "batch_id": "y"}):
        with pytest.raises(AirflowFailException, match="give either run_path, or batch_id"):
            kind(task_id="t", **arguments).execute({"ti": TaskInstance()})


def test_killing_a_waiting_worker_cancels(tmp_path, fake):
    """on_kill of a synchronous task stops further creates and cancels what lives."""
    fake.faults.hold_after_rows = 1
    task = operator(tmp_path, deferrable=False)
    original = task.wait_here

    def killed_while_waiting(*arguments):
        task.on_kill()
        return original(*arguments)

    task.wait_here = killed_while_waiting
    with pytest.raises(AirflowFailException, match="killed"):
        task.execute({"ti": TaskInstance()})
    assert [call.kind for call in fake.requests].count("cancel") == 1
    assert len(fake.batches) == 1


@pytest.mark.parametrize("faults", [FaultPlan(cut_after_accept=1)])
def test_a_lost_answer_defers_and_is_found(tmp_path, monkeypatch, faults):
    """Cut after accept, through the operator: found, not repeated."""
    with provider("openai_batch", faults) as (fake, connection):
        monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", json.dumps(connection))
        told, _ = resume(operator(tmp_path), {"ti": TaskInstance()})
        assert (told["succeeded"], len(fake.creates), len(fake.batches)) == (5, 1, 1)
