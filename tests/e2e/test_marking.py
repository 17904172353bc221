"""Tasks marked, cleared and interrupted in a real Airflow: who cancels the job, who leaves it alone."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import psycopg

from airflow_batch_provider.testing import FakeProvider, FaultPlan
from airflow_batch_provider.testing.airflow_stack import DATABASE, AirflowStack, Run
from airflow_batch_provider.testing.processes import until
from tests.patience import PATIENCE

DAG_FILE = """
from datetime import timedelta

from airflow.sdk import DAG

from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator

for name, options in {{"deferred": {{}}, "working": {{"deferrable": False}}, "late": {{"timeout": {timeout}}}}}.items():
    with DAG(dag_id=name, schedule=None, params={{"conn_id": "held"}}) as dag:
        BatchInferenceOperator(
            task_id="answer",
            input_path={input_path!r},
            output_path={output_path!r} + "/" + name + "/{{{{ run_id }}}}",
            conn_id="{{{{ params.conn_id }}}}",
            poll_interval=2,
            retries=3,
            retry_delay=timedelta(seconds=1),
            **options,
        )
    globals()[name] = dag
"""
ROWS = 6
TIMEOUT = 60.0
LATE_SECONDS = 300.0  # what a busy machine needs to notice; a triggerer alone takes half a minute to be replaced
JOB_SECONDS = 45.0


def test_marked_cleared_and_restarted(tmp_path, start_airflow):
    """Marked failed: the job is cancelled. Cleared: it lives and the task ends with it. A restart moves no deadline."""
    dags = tmp_path / "dags"
    dags.mkdir()
    requests = tmp_path / "requests.jsonl"
    requests.write_text("".join(line(number) + "\n" for number in range(ROWS)))
    fields = {"input_path": str(requests), "output_path": str(tmp_path / "runs"), "timeout": TIMEOUT}
    (dags / "marking.py").write_text(DAG_FILE.format(**fields))
    held_forever = FaultPlan(hold_after_rows=2)
    with FakeProvider(faults=held_forever) as held, FakeProvider(rules={"run_seconds": JOB_SECONDS}) as slow:
        airflow = start_airflow(dags, {"AIRFLOW_CONN_HELD": connection(held), "AIRFLOW_CONN_SLOW": connection(slow)})
        wanted = [("deferred", "held"), ("deferred", "slow"), ("working", "held"), ("working", "slow")]
        runs = [airflow.trigger(dag_id, {"conn_id": conn_id}) for dag_id, conn_id in wanted]
        marked, cleared, worker, restarted = runs
        marked_job, cleared_job, worker_job, restarted_job = (waits_for_job(airflow, tmp_path, run) for run in runs)
        # A trigger that the triggerer has not begun to run learns nothing of its end: each has looked at its job.
        all_jobs = {marked_job, cleared_job, worker_job, restarted_job}
        until(lambda: all_jobs <= looked_at(held, slow), PATIENCE, "a look at each job")

        mark_failed(airflow, marked)
        mark_failed(airflow, worker)
        airflow.clear(cleared, ["answer"])
        airflow.clear(restarted, ["answer"])
        until(lambda: cancelled(held) == {marked_job, worker_job}, PATIENCE, "the cancels of the two marked tasks")

        # Only now, and read while no triggerer runs: one that meets the deadline deletes what is looked at here.
        late = airflow.trigger("late", {"conn_id": "held"})
        late_job = waits_for_job(airflow, tmp_path, late)
        airflow.processes.stop("triggerer", grace=15)
        deadline = kept_deadline(airflow, late_job)
        assert ledger_deadline(tmp_path, late) == deadline
        airflow.restart("triggerer")

        for run, job in ((cleared, cleared_job), (restarted, restarted_job)):
            assert airflow.wait(run, timeout=PATIENCE) == "success", airflow.log(run, "answer")
            assert jobs_of(tmp_path, run) == [job]
        assert (len(slow.batches), slow.calls("cancel")) == (2, [])
        assert airflow.wait(late, timeout=TIMEOUT + LATE_SECONDS) == "failed"
        assert "DeadlineError" in airflow.log(late, "answer")
        ended = datetime.fromisoformat(airflow.task_instance(late, "answer")["end_date"].replace("Z", "+00:00"))
        assert deadline <= ended.timestamp() < deadline + LATE_SECONDS
        assert ledger_deadline(tmp_path, late) == deadline
        assert cancelled(held) == {marked_job, worker_job}
        assert len(held.batches) == 3
        for run in (marked, worker):
            assert airflow.task_instance(run, "answer")["state"] == "failed"
            assert "cancelling 1 job" in airflow.log(run, "answer")
        lateness = ended.timestamp() - deadline
        print(f"\n2 marked: 2 cancels; 2 cleared: 0 cancels, 2 batches; deadline met after {lateness:.1f} s")


def line(number: int) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": f"say {number}"}]}
    return json.dumps({"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})


def waits_for_job(airflow: AirflowStack, tmp_path: Path, run: Run) -> str:
    """The run's one job, once its task waits for it."""
    job = until(lambda: jobs_of(tmp_path, run), PATIENCE, f"the job of {run}")[0]
    airflow.wait_for_task(run, "answer", ["running"] if run.dag_id == "working" else ["deferred"])
    return job


def connection(fake: FakeProvider) -> str:
    return json.dumps({"conn_type": "openai_batch", "host": fake.base_url, "password": fake.api_key})


def mark_failed(airflow: AirflowStack, run: Run) -> None:
    path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}/taskInstances/answer"
    airflow.call("PATCH", path, {"new_state": "failed"})


def folder_of(tmp_path: Path, run: Run) -> Path:
    return tmp_path / "runs" / run.dag_id / run.run_id


def ledger_deadline(tmp_path: Path, run: Run) -> float:
    return json.loads((folder_of(tmp_path, run) / "ledger/tries.json").read_bytes())["deadline"]


def jobs_of(tmp_path: Path, run: Run) -> list[str]:
    """The jobs that the ledger knows."""
    facts = (folder_of(tmp_path, run) / "ledger").glob("*.job.json")
    return [json.loads(path.read_bytes())["job_id"] for path in facts]


def cancelled(fake: FakeProvider) -> set[str]:
    return {call.path.split("/")[-2] for call in fake.calls("cancel")}


def looked_at(*fakes: FakeProvider) -> set[str]:
    return {call.path.split("/")[-1] for fake in fakes for call in fake.calls("poll")}


def kept_deadline(airflow: AirflowStack, job: str) -> float:
    """What the metadata database keeps of the trigger that waits for a job."""
    with psycopg.connect(airflow.env[DATABASE].replace("+psycopg2", "")) as database:
        rows = database.execute("SELECT kwargs FROM trigger WHERE kwargs LIKE %s", [f"%{job}%"]).fetchall()
    kwargs = json.loads(rows[0][0])
    return float(kwargs.get("__var", kwargs)["deadline"])
