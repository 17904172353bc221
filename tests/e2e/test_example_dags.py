"""`airflow backfill create` over the example DAG, with a real scheduler: a run directory a day, no day paid twice."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from functools import partial
from pathlib import Path

from airflow_batch_provider.testing import FakeProvider
from airflow_batch_provider.testing.airflow_stack import run_airflow
from airflow_batch_provider.testing.processes import until
from tests.architecture.measure import ROOT

DAYS, ROWS = int(os.environ.get("BACKFILL_DAYS", "2")), 5
DAG_ID = "backfill_reviews"


def test_each_day_once(tmp_path: Path, start_airflow) -> None:
    """A run directory and a job for each day, every row in the table; reprocessed, all ends well and no job is made.

    ``BACKFILL_DAYS=14`` takes a fortnight, which is three to four minutes.
    """
    source = tmp_path / "reviews"
    source.mkdir()
    days = [f"2026-01-{day:02d}" for day in range(1, DAYS + 1)]
    for day in days:
        rows = (f'{day}/{number},"it is {number} times better"\n' for number in range(ROWS))
        (source / f"{day}.csv").write_text("id,text\n" + "".join(rows))
    dags = tmp_path / "dags"
    dags.mkdir()
    shutil.copy(ROOT / "dags" / f"{DAG_ID}.py", dags)
    database = tmp_path / "results.sqlite"
    with FakeProvider() as fake:
        airflow = start_airflow(
            dags,
            {
                "AIRFLOW_CONN_LOCAL_BATCH": json.dumps(
                    {"conn_type": "local_batch", "host": fake.base_url, "password": fake.api_key}
                ),
                "AIRFLOW_CONN_RESULTS_DB": json.dumps({"conn_type": "sqlite", "host": str(database)}),
                "AIRFLOW_VAR_REVIEWS_BY_DAY": str(source),
                "AIRFLOW_VAR_QUICKSTART_FOLDER": str(tmp_path / "runs"),
            },
        )
        until(lambda: airflow.parsed(DAG_ID), 60, "the DAG to be parsed")
        first = backfill(airflow, days)
        assert sorted(path.name for path in (tmp_path / "runs" / DAG_ID).iterdir()) == days
        assert len(fake.batches) == DAYS
        loaded = table(database)
        assert [custom_id for custom_id, _ in loaded] == [f"{day}/{n}" for day in days for n in range(ROWS)]
        assert {outcome for _, outcome in loaded} == {"succeeded"}
        creates = len(fake.creates)
        second = backfill(airflow, days, "--reprocess-behavior", "completed")
        assert len(fake.batches) == DAYS
        assert len(fake.creates) == creates
        assert table(database) == loaded
    print(f"\nbackfill: {DAYS} days in {first:.0f} s, again in {second:.0f} s; {DAYS} jobs, {len(loaded)} rows")


def backfill(airflow, days: list[str], *more: str) -> float:
    """Create a backfill and wait until all its runs have succeeded.

    :return: seconds.
    """
    # The scheduler notes the end of a backfill some time after that of its runs, and takes no other before.
    told = partial(airflow.call, "GET", "/backfills", dag_id=DAG_ID)
    until(lambda: all(each["completed_at"] for each in told()["backfills"]), 90, "the backfill before to be noted")
    before = {run["dag_run_id"]: run["last_scheduling_decision"] for run in runs_of(airflow, days)}
    arguments = ["--dag-id", DAG_ID, "--from-date", days[0], "--to-date", days[-1], "--max-active-runs", "4", *more]
    run_airflow(airflow.env, "backfill", "create", *arguments)
    seconds = [0.0]

    def ended() -> bool:
        airflow.processes.check()
        seconds[0] += 1
        runs = runs_of(airflow, days)
        anew = [run for run in runs if run["last_scheduling_decision"] != before.get(run["dag_run_id"])]
        assert "failed" not in {run["state"] for run in runs}
        return len(anew) == len(days) and {run["state"] for run in anew} == {"success"}

    until(ended, 280, "all days to succeed", pause=1)
    return seconds[0]


def runs_of(airflow, days: list[str]) -> list[dict]:
    """The DAG runs of these days."""
    found = airflow.call("GET", f"/dags/{DAG_ID}/dagRuns", limit=100)["dag_runs"]
    return [run for run in found if (run["logical_date"] or "")[:10] in days]


def table(database: Path) -> list[tuple[str, str]]:
    """What is loaded."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(f"SELECT custom_id, outcome FROM {DAG_ID} ORDER BY custom_id").fetchall()
