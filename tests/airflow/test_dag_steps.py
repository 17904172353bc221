"""Steps apart and mapped tasks in a real Airflow: what is handed on by XCom, and what the logs never hold."""

import json
import sqlite3
from contextlib import closing

import pytest

from airflow_batch_provider.testing.airflow_stack import base_env
from tests.airflow.dag_process import returned_by
from tests.airflow.world import provider, request, write

DAG_FILE = """
from airflow.sdk import DAG

from airflow_batch_provider.operators.batch_inference import (
    BatchInferenceFetchOperator,
    BatchInferenceOperator,
    BatchInferenceSubmitOperator,
)
from airflow_batch_provider.sensors.batch_inference import BatchInferenceSensor
from airflow_batch_provider.transfers.results_to_sql import BatchResultsToSqlOperator

FOLDER = "{{ var.value.folder }}"
POLL = {"poll_interval": 0.05}
SENT = {"conn_id": "provider", "output_path": FOLDER + "/{{ dag.dag_id }}/{{ run_id }}", "retries": 3}
TABLE = {"task_id": "load", "sql_conn_id": "results", "table": "{{ dag.dag_id }}"}

with DAG("steps", schedule=None):
    submitted = BatchInferenceSubmitOperator(
        task_id="submit",
        input_path=FOLDER + "/0.jsonl",
        backend_options={"metadata": {"dag": "{{ dag.dag_id }}"}},
        **SENT,
    )
    waited = BatchInferenceSensor(task_id="wait", run_path=submitted.output["run_path"], **POLL)
    fetched = BatchInferenceFetchOperator(task_id="fetch", run_path=waited.output["run_path"], **POLL)
    BatchResultsToSqlOperator(run_path=fetched.output["run_path"], **TABLE)

with DAG("mapped", schedule=None):
    answers = BatchInferenceOperator.partial(task_id="answer", **SENT, **POLL).expand(
        input_path=[f"{FOLDER}/{number}.jsonl" for number in range(2)]
    )
    BatchResultsToSqlOperator.partial(**TABLE).expand(run_path=answers.output.map(lambda told: told["run_path"]))
"""

RUNNER = """
import sys

sys.path.insert(0, sys.argv[1])
from steps_dag import answers, submitted

returned = {}
for dag in (submitted.dag, answers.dag):
    run = dag.test()
    tasks = [[ti.task_id, ti.map_index, str(ti.state)] for ti in run.get_task_instances()]
    returned[dag.dag_id] = [str(run.state), run.run_id, sorted(tasks)]
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory, migrate):
    """Both DAGs, run once.

    :return: the folder, the states told, the creates and the log of everything.
    """
    folder = tmp_path_factory.mktemp("steps")
    (folder / "dags").mkdir()
    (folder / "dags" / "steps_dag.py").write_text(DAG_FILE)
    for number in range(2):
        write(folder / f"{number}.jsonl", [request(10 * number + row) for row in range(3)])
    with provider("openai_batch") as (fake, connection):
        env = base_env(folder / "airflow", folder / "dags") | {
            "AIRFLOW_CONN_PROVIDER": json.dumps(connection),
            "AIRFLOW_CONN_RESULTS": json.dumps({"conn_type": "sqlite", "host": str(folder / "results.db")}),
            "AIRFLOW_VAR_FOLDER": str(folder),
        }
        migrate(folder / "airflow")
        states, printed = returned_by(RUNNER, env, str(folder / "dags"))
        return folder, states, fake.creates, printed


def answered(folder, table):
    with closing(sqlite3.connect(folder / "results.db")) as connection:
        query = f"SELECT run_key, custom_id, outcome FROM {table} ORDER BY run_key, custom_id"
        return connection.execute(query).fetchall()


def test_steps_hand_on_the_run_by_xcom(ended):
    """submit, wait, fetch and load find the run by what the task before returned; templates are rendered."""
    folder, states, creates, output = ended
    state, run_id, tasks = states["steps"]
    assert state == "success", output[-4000:]
    assert tasks == [[name, -1, "success"] for name in ("fetch", "load", "submit", "wait")]
    key = f"steps/submit/{run_id}/-1"
    assert answered(folder, "steps") == [(key, f"row-{n}", "succeeded") for n in range(3)]
    assert creates[0].body["metadata"]["dag"] == "steps"


def test_mapped_tasks_are_runs_of_their_own(ended):
    """One operator mapped over two files: two run keys, two folders, and the loader maps over both."""
    folder, states, creates, output = ended
    state, run_id, tasks = states["mapped"]
    assert state == "success", output[-4000:]
    assert tasks == [[name, index, "success"] for name in ("answer", "load") for index in range(2)]
    expected = [
        (f"mapped/answer/{run_id}/{n}", f"row-{10 * n + row}", "succeeded") for n in range(2) for row in range(3)
    ]
    assert answered(folder, "mapped") == expected
    assert sorted(path.name for path in (folder / "mapped" / run_id).iterdir()) == ["map-00000", "map-00001"]
    assert len(creates) == 3


def test_the_logs_tell_how_far_and_no_secret(ended):
    """Every wait was deferred and told its progress; the key is nowhere."""
    _, _, creates, output = ended
    assert output.count("running trigger in line") >= 3
    assert output.count("3/3 requests done") >= 3
    key = creates[0].headers["authorization"].removeprefix("Bearer ")
    assert len(key) > 3
    assert key not in output
