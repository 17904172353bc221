"""Every example DAG as it stands, in a real Airflow: on fakes of what it is made for, and on one local batch."""

import contextlib
import json
import os
import sqlite3
from pathlib import Path

import pytest

from airflow_batch_provider.testing.airflow_stack import base_env
from airflow_batch_provider.testing.routes import fake_route
from tests.airflow.dag_process import returned_by

ROOT = Path(__file__).parents[2]
ROWS = 12
RUN_ALL = """
import importlib, json, sys
from airflow_batch_provider.triggers import batch_inference
batch_inference.FIRST_LOOK_SECONDS = 1.0  # no scheduler here that could be outrun
returned = {}
for name, conf in json.loads(sys.argv[1]):
    run = importlib.import_module(name).answers.dag.test(run_conf=conf)
    returned[name] = [str(run.state), run.run_id]
"""
# DAG file: its table, and what its parameters are; conn_id is the connection it is written for, or any.
DAGS = {
    "openai_batch": ("openai_batch", {"model": "gpt-5-mini", "budget": 1}),
    "azure_openai_batch": ("azure_openai_batch", {"model": "m"}),
    "truefoundry_batch": ("truefoundry_batch", {"model": "m"}),
    "four_steps": ("four_steps", {"model": "m"}),
    "compare_models": ("compare_models", {"model": "m", "conn_id_b": "openai_batch", "model_b": "other"}),
    "embeddings_batch": ("embeddings_batch", {"model": "m"}),
    "structured_extraction": ("structured_extraction", {"model": "m"}),
}
PRICES = {"gpt-5-mini": {"input": 0.125, "output": 1.0}}
ROUTES = {"local_batch": "local", "openai_batch": "openai"} | {
    name: name.removesuffix("_batch") for name in ("azure_openai_batch", "truefoundry_batch")
}


@pytest.fixture(scope="module")
def world(tmp_path_factory, migrate):
    """Every DAG has run once; the database, the runs, and how many jobs each connection had."""
    folder = tmp_path_factory.mktemp("examples")
    source = folder / "reviews.csv"
    source.write_text("id,text\n" + "".join(f'{n},"it is {n} times better"\n' for n in range(20)))
    database = folder / "results.sqlite"
    env = base_env(folder / "airflow", ROOT / "dags") | {
        "AIRFLOW_CONN_RESULTS_DB": json.dumps({"conn_type": "sqlite", "host": str(database)}),
        "AIRFLOW_VAR_QUICKSTART_SOURCE": str(source),
        "AIRFLOW_VAR_QUICKSTART_FOLDER": str(folder / "runs"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "dags")]),
    }
    asked = [(name, {**params, "rows": ROWS}) for name, (_, params) in DAGS.items()]
    with contextlib.ExitStack() as running:
        fakes = {}
        for conn_id, route in ROUTES.items():
            made = running.enter_context(fake_route(route))
            fakes[conn_id] = made.fake
            connection = {**made.connection, "extra": {**made.connection["extra"], "prices": PRICES}}
            env[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
        migrate(folder / "airflow")
        runs, printed = returned_by(RUN_ALL, env, json.dumps(asked))
        jobs = {name: len(fake.batches) for name, fake in fakes.items()}
    return database, runs, jobs, printed[-8000:]


def rows(database, table, columns="custom_id, outcome, content"):
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY custom_id, model").fetchall()


@pytest.mark.parametrize("name", DAGS)
def test_it_runs_as_it_stands(name, world):
    """Prepared, asked, loaded: every row is in the DAG's table, and succeeded."""
    database, runs, _, told = world
    assert runs[name][0] == "success", told
    loaded = rows(database, DAGS[name][0])
    assert len(loaded) == (2 * ROWS if name == "compare_models" else ROWS)
    assert {outcome for _, outcome, _ in loaded} == {"succeeded"}
    assert loaded[0][0] == "review-0"


def test_what_is_special(world):
    """Both models side by side; vectors as JSON; one job a run and none more."""
    database, _, jobs, _ = world
    assert rows(database, "compare_models", "custom_id, model")[:2] == [("review-0", "m"), ("review-0", "other")]
    vector = json.loads(rows(database, "embeddings_batch")[0][2])
    assert all(isinstance(number, float) for number in vector)
    assert len(vector) > 1
    costs = {cost for (cost,) in rows(database, "openai_batch", "cost_usd")}
    assert all(cost > 0 for cost in costs)
    assert {cost for (cost,) in rows(database, "four_steps", "cost_usd")} == {None}
    assert jobs == {"local_batch": 4, "openai_batch": 2, "azure_openai_batch": 1, "truefoundry_batch": 1}
