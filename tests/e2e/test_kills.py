"""kill -9 in a real Airflow: the triggerer while deferred, a worker inside a create, the server in mid-batch."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from airflow_batch_provider.testing import FakeProvider
from airflow_batch_provider.testing.airflow_stack import AirflowStack, Run
from airflow_batch_provider.testing.processes import until
from airflow_batch_provider.testing.server_process import ServerProcess
from tests.patience import PATIENCE

DAG_FILE = """
from datetime import timedelta

from airflow.sdk import DAG

from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator

with DAG(dag_id="killed", schedule=None, params={{"conn_id": "provider"}}):
    BatchInferenceOperator(
        task_id="answer",
        input_path={input_path!r},
        output_path={output_path!r} + "/{{{{ run_id }}}}",
        conn_id="{{{{ params.conn_id }}}}",
        poll_interval=1,
        retries=3,
        retry_delay=timedelta(seconds=1),
    )
"""
ROWS = 40
JOB_SECONDS = 30.0


def test_each_kill_ends_with_one_job_and_every_row_once(tmp_path, start_airflow, start_server):
    """Three runs, each killed once at its worst moment; one batch each, all rows, and the task a success."""
    requests = tmp_path / "requests.jsonl"
    with requests.open("w") as out:
        for number in range(ROWS):
            body = {"model": "m", "messages": [{"role": "user", "content": f"say {number}"}]}
            line = {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
            out.write(json.dumps(line) + "\n")
    dags = tmp_path / "dags"
    dags.mkdir()
    text = DAG_FILE.format(input_path=str(requests), output_path=str(tmp_path / "runs"))
    (dags / "killed.py").write_text(text)
    with FakeProvider(flavor="openai", rules={"run_seconds": JOB_SECONDS}) as fake:
        connection = {"conn_type": "openai_batch", "host": fake.base_url, "password": fake.api_key}
        server = start_server("echo", "--latency", "0.25", "--slots", "1")
        connections = {"AIRFLOW_CONN_PROVIDER": connection, "AIRFLOW_CONN_SERVER": server.connection()}
        airflow = start_airflow(dags, {name: json.dumps(fields) for name, fields in connections.items()})
        triggerer = kill_the_triggerer_while_deferred(airflow, fake)
        worker = kill_the_worker_inside_create(airflow, fake)
        served = kill_the_server_in_mid_batch(airflow, server)
        for number, run in enumerate((triggerer, worker)):
            assert airflow.wait(run, timeout=PATIENCE) == "success", airflow.log(run, "answer")
            check(tmp_path / "runs" / run.run_id, fake.batches[number]["id"])
        assert len(fake.batches) == 2
        assert "Found job" in airflow.log(worker, "answer")
        assert airflow.wait(served, timeout=PATIENCE) == "success", airflow.log(served, "answer")
        (batch,) = batches_of(server)
        check(tmp_path / "runs" / served.run_id, batch["id"])
        for name, run in (("triggerer", triggerer), ("worker", worker), ("server", served)):
            number = airflow.task_instance(run, "answer")["try_number"]
            print(f"\nkilled {name}: 1 batch, {ROWS} rows, ended in try {number}")


def kill_the_triggerer_while_deferred(airflow: AirflowStack, fake: FakeProvider) -> Run:
    run = airflow.trigger("killed")
    airflow.wait_for_task(run, "answer", ["deferred"])
    until(lambda: len(fake.calls("poll")) > 2, PATIENCE, "the trigger to poll")
    airflow.kill("triggerer")
    airflow.restart("triggerer")
    return run


def kill_the_worker_inside_create(airflow: AirflowStack, fake: FakeProvider) -> Run:
    fake.faults.slow_accept = [20.0]
    run = airflow.trigger("killed")
    until(lambda: len(fake.batches) == 2, PATIENCE, "the provider to accept the second batch")
    airflow.kill_task(run, "answer", worker=True)
    return run


def kill_the_server_in_mid_batch(airflow: AirflowStack, server: ServerProcess) -> Run:
    run = airflow.trigger("killed", {"conn_id": "server"})

    def half_done() -> bool:
        batches = batches_of(server)
        return bool(batches) and batches[0]["request_counts"]["completed"] >= 5

    until(half_done, PATIENCE, "the server to answer some rows")
    assert batches_of(server)[0]["status"] == "in_progress"
    server.kill()
    server.start()
    return run


def batches_of(server: ServerProcess) -> list[dict]:
    headers = {"Authorization": f"Bearer {server.token}"}
    return httpx.get(f"{server.url}/batches", headers=headers, timeout=10).json()["data"]


def check(folder: Path, batch_id: str) -> None:
    """One job in the ledger, the one at the provider; every custom_id once; the books balanced."""
    jobs = [json.loads(path.read_bytes())["job_id"] for path in (folder / "ledger").glob("*.job.json")]
    assert jobs == [batch_id]
    answered = [
        json.loads(line)["custom_id"]
        for part in sorted((folder / "results").iterdir())
        for line in part.read_bytes().split(b"\n")[:-1]
    ]
    assert answered == [f"row-{number}" for number in range(ROWS)]
    assert json.loads((folder / "summary.json").read_bytes())["outcomes"]["succeeded"] == ROWS
