"""One Airflow with marked connections of every kind, and everything that it and the runs keep and print."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.testing.airflow_stack import base_env
from airflow_batch_provider.testing.routes import fake_route
from tests.airflow.dag_process import returned_by
from tests.marked import connection_of, scan_folder

ROOT = Path(__file__).parents[2]
DAG_FILE = """
from airflow.sdk import DAG

from airflow_batch_provider.operators.batch_inference import (
    BatchInferenceFetchOperator,
    BatchInferenceOperator,
    BatchInferenceSubmitOperator,
)
from airflow_batch_provider.transfers.results_to_sql import BatchResultsToSqlOperator

PARAMS = {"conn_id": "x", "rows": "x", "model": "m"}
SENT = {
    "input_path": "{{ params.rows }}",
    "output_path": "RUNS/{{ params.conn_id }}/{{ task.task_id }}",
    "conn_id": "{{ params.conn_id }}",
    "model": "{{ params.model }}",
    "allow_local_path": True,
}

with DAG(dag_id="secrets", schedule=None, params=PARAMS) as both:
    for name in ("deferred", "working"):
        BatchInferenceOperator(task_id=name, deferrable=name == "deferred", poll_interval=0.2, **SENT)

with DAG(dag_id="loaded", schedule=None, params=PARAMS) as loaded:
    answered = BatchInferenceOperator(task_id="answer", rounds=1, poll_interval=0.2, error_tolerance=0.9, **SENT)
    BatchResultsToSqlOperator(
        task_id="load", run_path=answered.output["run_path"], sql_conn_id="results", table="{{ params.conn_id }}"
    )

with DAG(dag_id="failing", schedule=None, params=PARAMS) as failing:
    submitted = BatchInferenceSubmitOperator(task_id="submit", **SENT)
    BatchInferenceFetchOperator(task_id="fetch", run_path=submitted.output["run_path"], poll_interval=0.2)
"""
RUN_ALL = """
import json, sys
from airflow.sdk.definitions import dag as inline
from airflow_batch_provider.core.redaction import Redactor
from airflow_batch_provider.triggers.batch_inference import BatchInferenceTrigger
from airflow_batch_provider.run import reading
import secret_dag

reading.READ_PAUSES = (0.01, 0.01, 0.01)
asked, open_doors = json.loads(sys.argv[1])
if open_doors:
    made = Redactor.__init__
    Redactor.__init__ = lambda self, secrets: made(self, ())
serialize, run_inline = BatchInferenceTrigger.serialize, inline._run_inline_trigger

def serialized(self):
    kept = serialize(self)
    print("\\nTRIGGER", json.dumps(kept))
    return kept

def seen(trigger, *more):
    event = run_inline(trigger, *more)
    print("\\nEVENT", json.dumps(event and event.payload))
    return event

BatchInferenceTrigger.serialize = serialized
inline._run_inline_trigger = seen
returned = {}
for name, (dag, model, rows) in asked.items():
    run = getattr(secret_dag, dag).test(run_conf={"conn_id": name, "model": model, "rows": rows})
    returned[name] = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
"""


@dataclass(frozen=True)
class Asked:
    """One run of one DAG through a connection of its own.

    :param route: a route's name.
    :param dag: the DAG's name in the file.
    :param faults: of the provider.
    """

    route: str
    dag: str = "both"
    faults: FaultPlan | None = None


def line(number, model):
    body = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": f"say {number}"}]}
    return json.dumps({"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})


class World:
    """Runs, by the id of their connection.

    :param asked: what is run.
    :param right: whether the keys are.
    :param open_doors: for a control, nothing takes secrets out of what a provider sends.
    """

    def __init__(self, folder, migrate, asked, *, right=True, open_doors=False):
        self.folder = folder
        dags = folder / "dags"
        dags.mkdir()
        (dags / "secret_dag.py").write_text(DAG_FILE.replace("RUNS", str(folder / "runs")))
        migrate(folder / "airflow")
        env = base_env(folder / "airflow", dags) | {
            "AIRFLOW_CONN_RESULTS": json.dumps({"conn_type": "sqlite", "host": str(folder / "results.db")}),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(dags)]),
        }
        with contextlib.ExitStack() as running:
            confs, self.routes = {}, {}
            for conn_id, one in asked.items():
                route = running.enter_context(fake_route(one.route, one.faults))
                rows = folder / f"{conn_id}.jsonl"
                rows.write_text("".join(line(n, route.model) + "\n" for n in range(max(3, route.min_rows))))
                env[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection_of(route, right=right))
                confs[conn_id] = (one.dag, route.model, str(rows))
                self.routes[conn_id] = route
            self.states, self.printed = returned_by(RUN_ALL, env, json.dumps([confs, open_doors]))
            self.sent = {name: [str(call.headers) for call in r.fake.requests] for name, r in self.routes.items()}
        (folder / "printed.txt").write_text(self.printed)

    def found(self):
        return scan_folder(self.folder)

    def told(self, word):
        """What was printed behind a word, line by line."""
        return [one.split("\n")[0] for one in self.printed.split(f"\n{word} ")[1:]]

    def cells(self, table, database="airflow/airflow.db"):
        """All rows of a table as one text."""
        with contextlib.closing(sqlite3.connect(self.folder / database)) as connection:
            return "\n".join(str(row) for row in connection.execute(f"SELECT * FROM {table}"))
