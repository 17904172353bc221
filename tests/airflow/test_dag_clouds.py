"""The DAGs of Bedrock and Vertex AI as they stand, in a real Airflow with the real client libraries, beside OpenAI."""

import contextlib
import json
import os
import sqlite3
from pathlib import Path

import pytest

from airflow_batch_provider.testing import FakeProvider
from airflow_batch_provider.testing.airflow_stack import base_env
from tests.airflow.clouds import cloud
from tests.airflow.dag_process import returned_by

ROOT = Path(__file__).parents[2]
ROWS = 150
RUN_ALL = """
import importlib, json, sys
from airflow_batch_provider.triggers import batch_inference
batch_inference.FIRST_LOOK_SECONDS = 1.0  # no scheduler here that could be outrun
returned = {}
for name in sys.argv[1:]:
    dag = importlib.import_module(name).answers.dag
    for conf in ({}, {"conn_id": "openai", "model": "m"}):
        run = dag.test(run_conf=conf)
        returned[f"{name} {conf.get('conn_id', 'cloud')}"] = [str(run.state), run.run_id]
"""
CLOUDS = {
    "bedrock_batch": "bedrock",
    "vertex_ai_batch": "vertex_ai",
    "claude_on_vertex_batch": "vertex_ai",
    "portkey_bedrock_batch": "portkey_bedrock",
    "portkey_vertex_batch": "portkey_vertex",
}
CONNECTIONS = {
    "bedrock": "bedrock_batch",
    "vertex_ai": "vertex_ai_batch",
    "portkey_bedrock": "portkey_bedrock",
    "portkey_vertex": "portkey_vertex",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory, migrate):
    """Every DAG, on its cloud and on OpenAI; what they left in the database, and the jobs they made."""
    folder = tmp_path_factory.mktemp("dags")
    source = folder / "reviews.csv"
    rows = (f'{n},"it is {n} times\nbetter, ""really"" grüß \u2028 ok"\n' for n in range(ROWS))
    source.write_text("id,text\n" + "".join(rows))
    database = folder / "results.sqlite"
    env = base_env(folder / "airflow", ROOT / "dags") | {
        "AIRFLOW_CONN_RESULTS_DB": json.dumps({"conn_type": "sqlite", "host": str(database)}),
        "AIRFLOW_VAR_QUICKSTART_SOURCE": str(source),
        "AIRFLOW_VAR_QUICKSTART_FOLDER": str(folder / "runs"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "dags")]),
    }
    with contextlib.ExitStack() as running:
        fakes = {}
        for name, conn_id in CONNECTIONS.items():
            fakes[name], connection = running.enter_context(cloud(name))
            env[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
        openai = running.enter_context(FakeProvider())
        env["AIRFLOW_CONN_OPENAI"] = json.dumps(
            {"conn_type": "openai_batch", "host": openai.base_url, "password": openai.api_key}
        )
        migrate(folder / "airflow")
        runs, printed = returned_by(RUN_ALL, env, *CLOUDS)
        jobs = {name: len(fake.batches) for name, fake in fakes.items()}
    return database, runs, jobs, printed[-8000:]


@pytest.mark.parametrize("name", CLOUDS)
def test_the_cloud_answers_as_openai_does(name, world):
    """prepare, answer (deferred), load: 150 rows, in the table equal to those of the OpenAI route."""
    database, runs, _, told = world
    rows = {}
    for route in ("cloud", "openai"):
        state, run_id = runs[f"{name} {route}"]
        assert state == "success", told
        rows[route] = table(database, name, run_id)
    assert len(rows["cloud"]) == ROWS
    assert rows["cloud"] == rows["openai"]
    assert "grüß \u2028 ok" in rows["cloud"][0][2]
    print(f"\n{name}: {len(rows['cloud'])} rows, equal to the OpenAI route's; first {rows['cloud'][0]}")


def test_each_run_made_one_job(world):
    """One job a run; two DAGs ask Vertex AI."""
    assert world[2] == {"bedrock": 1, "vertex_ai": 2, "portkey_bedrock": 1, "portkey_vertex": 1}


def table(database, name, run_id):
    columns = "custom_id, status_code, content, finish_reason, prompt_tokens, completion_tokens"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = f"SELECT {columns} FROM {name} WHERE run_key LIKE ? ORDER BY custom_id"
        rows = connection.execute(query, [f"{name}/answer/{run_id}/%"]).fetchall()
    # Claude's fake answers a schema by a tool, whose arguments are an object, the OpenAI one by plain text.
    return [(*row[:2], said(row[2]), *row[3:]) for row in rows]


def said(content):
    return json.loads(content)["text"] if content.startswith('{"text":') else content
