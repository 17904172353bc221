"""Every argument that an operator accepts is used by it; every other is refused as Airflow refuses unknown ones."""

import contextlib
import importlib
import inspect
import json

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_batch_provider.operators import (
    BatchInferenceCancelOperator,
    BatchInferenceFetchOperator,
    BatchInferenceOperator,
    BatchInferencePrepareOperator,
    BatchInferenceSubmitOperator,
    BatchInferenceValidateOperator,
)
from airflow_batch_provider.sensors import BatchInferenceSensor
from airflow_batch_provider.transfers import BatchResultsToSqlOperator
from tests.airflow.world import TaskInstance, curl_batch, provider, request, resume, write

POLL = {"poll_interval": 0.02}
GUARDS = {
    "timeout": 600,
    "max_cost_usd": 9,
    "expected_output_tokens": 9,
    "max_jobs_in_flight": 1,
    "max_enqueued_tokens": 999,
}
WAITS = {"deferrable": False, "poll_interval": 1.0, "cancel_on_kill": True}
ENDS = {"wait_for_completion": False, "error_tolerance": 0.5}
NEEDED = {
    BatchInferenceOperator: {"input_path": "in.jsonl", "output_path": "run", "conn_id": "provider"},
    BatchInferenceSubmitOperator: {"input_path": "in.jsonl", "output_path": "run", "conn_id": "provider"},
    BatchInferenceValidateOperator: {"input_path": "in.jsonl", "conn_id": "provider"},
    BatchInferencePrepareOperator: {"output_path": "in.jsonl", "source": "rows.csv", "prompt": "{{ row.text }}"},
    BatchResultsToSqlOperator: {"run_path": "run", "sql_conn_id": "db", "table": "answers"},
}
REFUSED = [
    (BatchInferenceSubmitOperator, {"rounds": 3, "wait_for_completion": False}),
    (BatchInferenceFetchOperator, {"wait_for_completion": False, "rounds": 3}),
    (BatchInferenceSensor, {**ENDS, "rounds": 3, "allow_local_path": True}),
    (BatchInferenceCancelOperator, {**WAITS, **ENDS}),
    (BatchInferenceValidateOperator, {**WAITS, **ENDS, "rounds": 3}),
    (BatchInferencePrepareOperator, {"conn_id": "provider", **WAITS}),
    (BatchResultsToSqlOperator, {"conn_id": "provider", **WAITS}),
]


@pytest.fixture
def fake(monkeypatch):
    with provider("openai_batch") as (made, connection):
        connection["extra"] = {**connection.get("extra", {}), "prices": {"*": {"input": 1, "output": 1}}}
        monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", json.dumps(connection))
        yield made


def accepted(kind: type[BaseOperator]) -> set[str]:
    """The arguments of an operator that are not Airflow's own."""
    own = kind.__mro__[: kind.__mro__.index(BaseOperator)]
    names = {name for one in own if "__init__" in vars(one) for name in inspect.signature(one.__init__).parameters}
    refused = {"rounds", "wait_for_completion"} if kind is BatchInferenceSubmitOperator else set()
    return names - {"self", "kwargs"} - refused


def watched(kind: type[BaseOperator], read: set[str]) -> type[BaseOperator]:
    """The operator, noting in ``read`` what is read of it once it was made."""

    class Watched(kind):
        def __getattribute__(self, name):
            if "task_id" in object.__getattribute__(self, "__dict__") and made:
                read.add(name)
            return super().__getattribute__(name)

    made: list[bool] = []
    Watched.is_made = staticmethod(lambda: made.append(True))
    return Watched


def uses(kind, *cases, held=False):
    """What an operator reads of itself while it works, over all cases of its arguments."""
    read: set[str] = set()
    for arguments in cases:
        watched_kind = watched(kind, read)
        task = watched_kind(task_id="t", retries=3, **arguments)
        watched_kind.is_made()
        with contextlib.suppress(TaskDeferred):  # of a job that is held
            task.execute({"ti": TaskInstance()}) if held else resume(task, {"ti": TaskInstance()})
    return read


@pytest.mark.parametrize(("kind", "arguments"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_an_argument_without_effect_is_refused(kind, arguments):
    """H1: each of them alone is a TypeError that names it, as Airflow raises for an argument that it does not know."""
    for name, value in arguments.items():
        with pytest.raises(TypeError, match=rf"Invalid arguments were passed to {kind.__name__}[\s\S]*'{name}'"):
            kind(task_id="t", **NEEDED.get(kind, {}), **{name: value})


def test_every_accepted_argument_is_read(tmp_path, fake, monkeypatch):
    """H1: what the constructor takes, the work of some task reads; nothing is taken and forgotten."""
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "db")}))
    (tmp_path / "rows.csv").write_text("text\nhello\n")
    path = write(tmp_path / "in.jsonl", [request(n) for n in range(2)])
    whole = {"input_path": path, "conn_id": "provider", **GUARDS, **POLL}
    ran = str(tmp_path / "run")
    sent = str(tmp_path / "sent")
    batch = curl_batch(fake, [request(0)])
    of_sql = {"sql": "SELECT 1 AS text", "sql_conn_id": "db", "output_path": str(tmp_path / "sql.jsonl")}
    cases = {
        BatchInferencePrepareOperator: [
            {
                "source": str(tmp_path / "rows.csv"),
                "prompt": "{{ row.text }}",
                "output_path": str(tmp_path / "p.jsonl"),
            },
            {**of_sql, "prompt": "{{ row.text }}", "limit": 1},
        ],
        BatchInferenceValidateOperator: [{"input_path": path, "conn_id": "provider", "expected_output_tokens": 9}],
        BatchInferenceOperator: [{**whole, "output_path": ran}],
        BatchInferenceSubmitOperator: [{**whole, "output_path": sent, "input_path": several(tmp_path)}],
        BatchInferenceSensor: [
            {"run_path": sent, **POLL},
            {"batch_id": batch, "conn_id": "provider", **POLL},
        ],
        BatchInferenceFetchOperator: [
            {"run_path": sent, **POLL},
        ],
        BatchInferenceCancelOperator: [{"run_path": sent}, {"batch_id": batch, "conn_id": "provider"}],
        BatchResultsToSqlOperator: [{"run_path": ran, "sql_conn_id": "db", "table": "answers"}],
    }
    assert {kind.__name__ for kind in cases} == public()
    unread = {kind.__name__: accepted(kind) - uses(kind, *given) for kind, given in cases.items()}
    fake.faults.hold_after_rows = 0
    of_batch = {"batch_id": curl_batch(fake, [request(0)]), "conn_id": "provider", "output_path": str(tmp_path / "own")}
    unread["BatchInferenceFetchOperator"] -= uses(BatchInferenceFetchOperator, of_batch, held=True)
    assert {name: missing for name, missing in unread.items() if missing} == {}


def several(folder) -> str:
    """A file of two models: two jobs, of which one waits for the other where one may be alive."""
    return write(folder / "two.jsonl", [request(n, model=f"m{n % 2}") for n in range(4)])


def public() -> set[str]:
    return {
        name
        for package in ("operators", "sensors", "transfers")
        for name in importlib.import_module(f"airflow_batch_provider.{package}").__all__
    }


def test_an_output_path_without_a_batch_is_refused(tmp_path, fake):
    """H1: the results of a run are written where the run is; another output_path would be ignored."""
    fetch = BatchInferenceFetchOperator(task_id="f", run_path=str(tmp_path / "run"), output_path=str(tmp_path / "out"))
    with pytest.raises(AirflowFailException, match="output_path goes with batch_id"):
        fetch.execute({"ti": TaskInstance()})
    assert fake.requests == []
