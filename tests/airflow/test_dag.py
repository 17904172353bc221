"""The quickstart DAG as it stands, in a real Airflow, on every connection type; only ``conn_id`` changes."""

import contextlib
import json
import os
import sqlite3
from pathlib import Path

from airflow_batch_provider.testing.airflow_stack import base_env
from tests.airflow.dag_process import returned_by
from tests.airflow.world import CONNECTIONS, provider

ROOT = Path(__file__).parents[2]
RUN_ALL = """
import json, os, sys
from airflow.models import Connection
from airflow.utils.session import create_session
from airflow_batch_provider.triggers import batch_inference
with create_session() as session:
    session.add(Connection(conn_id="in_database", **json.loads(os.environ["IN_DATABASE"])))
batch_inference.FIRST_LOOK_SECONDS = 1.0  # no scheduler here that could be outrun
from quickstart import answers
returned = {}
for name in sys.argv[1:]:
    conn_id = "in_database" if name == "local_batch" else name
    run = answers.dag.test(run_conf={"conn_id": conn_id, "model": "m", "rows": 12})
    returned[name] = [str(run.state), run.run_id]
"""


def test_one_dag_file_on_every_connection(tmp_path, migrate):
    """prepare, validate, answer (deferred), load: equal rows in the table, whoever answered."""
    source = tmp_path / "reviews.csv"
    source.write_text("id,text\n" + "".join(f'{n},"it is {n} times\nbetter, ""really"""\n' for n in range(20)))
    database = tmp_path / "results.sqlite"
    env = base_env(tmp_path / "airflow", ROOT / "dags") | {
        "AIRFLOW_CONN_RESULTS_DB": json.dumps({"conn_type": "sqlite", "host": str(database)}),
        "AIRFLOW_VAR_QUICKSTART_SOURCE": str(source),
        "AIRFLOW_VAR_QUICKSTART_FOLDER": str(tmp_path / "runs"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "dags")]),
    }
    with contextlib.ExitStack() as running:
        fakes = {}
        for name in CONNECTIONS:
            fakes[name], connection = running.enter_context(provider(name))
            env[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)
        # As a connection that was made in the UI lies.
        local = json.loads(env.pop("AIRFLOW_CONN_LOCAL_BATCH"))
        env["IN_DATABASE"] = json.dumps({**local, "extra": json.dumps(local["extra"])})
        migrate(tmp_path / "airflow")
        states, printed = returned_by(RUN_ALL, env, *CONNECTIONS)
        assert {name: len(fake.batches) for name, fake in fakes.items()} == dict.fromkeys(CONNECTIONS, 1)
    assert [state for state, _ in states.values()] == ["success"] * len(CONNECTIONS), printed[-3000:]
    tables = {name: table(database, run_id) for name, (_, run_id) in states.items()}
    assert len(tables["local_batch"]) == 12
    assert tables["local_batch"][0][0] == "review-0"
    assert 'it is 0 times\nbetter, "really"' in tables["local_batch"][0][3]
    for name in CONNECTIONS:
        print(f"\n{name}: {len(tables[name])} rows")
        assert tables[name] == tables["local_batch"], name


def table(database, run_id):
    columns = "custom_id, outcome, status_code, content, finish_reason, prompt_tokens, completion_tokens"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = f"SELECT {columns} FROM review_sentiment WHERE run_key LIKE ? ORDER BY custom_id"
        return connection.execute(query, [f"quickstart/answer/{run_id}/%"]).fetchall()
