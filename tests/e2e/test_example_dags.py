"""Example DAGs that want a real scheduler: a backfill of many days, and two DAGs joined by an asset."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from airflow_batch_provider.testing import FakeProvider
from airflow_batch_provider.testing.airflow_stack import AirflowStack, Run, run_airflow
from airflow_batch_provider.testing.processes import until
from tests.architecture.measure import ROOT
from tests.e2e.conftest import IMPATIENT
from tests.patience import PATIENCE

DAYS, ROWS = int(os.environ.get("BACKFILL_DAYS", "2")), 5
DAG_ID = "backfill_reviews"


@dataclass
class World:
    """One Airflow with the example DAGs, and what they ask and fill."""

    airflow: AirflowStack
    fake: FakeProvider
    folder: Path
    days: list[str]

    def table(self, name: str) -> list[tuple[str, str]]:
        """What is loaded."""
        with contextlib.closing(sqlite3.connect(self.folder / "results.sqlite")) as connection:
            return connection.execute(f"SELECT custom_id, outcome FROM {name} ORDER BY custom_id").fetchall()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, metadata: Callable[[], str]) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("examples")
    source = folder / "reviews"
    source.mkdir()
    days = [f"2026-01-{day:02d}" for day in range(1, DAYS + 1)]
    for day in days:
        rows = (f'{day}/{number},"it is {number} times better"\n' for number in range(ROWS))
        (source / f"{day}.csv").write_text("id,text\n" + "".join(rows))
    dags = folder / "dags"
    dags.mkdir()
    for name in (DAG_ID, "submit_here_fetch_there"):
        shutil.copy(ROOT / "dags" / f"{name}.py", dags)
    with FakeProvider() as fake:
        env = IMPATIENT | {
            "AIRFLOW_CONN_LOCAL_BATCH": json.dumps(
                {"conn_type": "local_batch", "host": fake.base_url, "password": fake.api_key}
            ),
            "AIRFLOW_CONN_RESULTS_DB": json.dumps({"conn_type": "sqlite", "host": str(folder / "results.sqlite")}),
            "AIRFLOW_VAR_REVIEWS_BY_DAY": str(source),
            "AIRFLOW_VAR_QUICKSTART_SOURCE": str(source / f"{days[0]}.csv"),
            "AIRFLOW_VAR_QUICKSTART_FOLDER": str(folder / "runs"),
        }
        with AirflowStack(folder / "airflow", dags, env, database=metadata()) as airflow:
            yield World(airflow, fake, folder, days)


def test_two_dags_joined_by_an_asset(world: World) -> None:
    """The one submits and ends; the asset's event starts the other, which fetches that run and loads it."""
    airflow, before = world.airflow, len(world.fake.batches)
    sent = airflow.trigger("submit_here")
    assert airflow.wait(sent, timeout=PATIENCE) == "success", airflow.log(sent, "submit")
    started = partial(airflow.call, "GET", "/dags/fetch_there/dagRuns")
    told = until(lambda: started()["dag_runs"], PATIENCE, "the asset to start the other DAG")
    fetched = Run("fetch_there", told[0]["dag_run_id"])
    assert airflow.wait(fetched, timeout=PATIENCE) == "success", airflow.log(fetched, "fetch")
    assert len(world.fake.batches) == before + 1
    assert world.table("fetched_there") == [(f"review-{world.days[0]}/{n}", "succeeded") for n in range(ROWS)]


def test_each_day_once(world: World) -> None:
    """A run directory and a job for each day, every row in the table; reprocessed, all ends well and no job is made.

    ``BACKFILL_DAYS=14`` takes a fortnight, which is three to four minutes.
    """
    airflow, fake, days = world.airflow, world.fake, world.days
    until(lambda: airflow.parsed(DAG_ID), PATIENCE, "the DAG to be parsed")
    before = len(fake.batches)
    first = backfill(airflow, days)
    assert sorted(path.name for path in (world.folder / "runs" / DAG_ID).iterdir()) == days
    assert len(fake.batches) == before + DAYS
    loaded = world.table(DAG_ID)
    assert [custom_id for custom_id, _ in loaded] == [f"{day}/{n}" for day in days for n in range(ROWS)]
    assert {outcome for _, outcome in loaded} == {"succeeded"}
    creates = len(fake.creates)
    second = backfill(airflow, days, "--reprocess-behavior", "completed")
    assert len(fake.batches) == before + DAYS
    assert len(fake.creates) == creates
    assert world.table(DAG_ID) == loaded
    print(f"\nbackfill: {DAYS} days in {first:.0f} s, again in {second:.0f} s; {DAYS} jobs, {len(loaded)} rows")


def backfill(airflow, days: list[str], *more: str) -> float:
    """Create a backfill and wait until all its runs have succeeded.

    :return: seconds.
    """
    # The scheduler notes the end of a backfill some time after that of its runs, and takes no other before.
    told = partial(airflow.call, "GET", "/backfills", dag_id=DAG_ID)
    until(
        lambda: all(each["completed_at"] for each in told()["backfills"]), PATIENCE, "the backfill before to be noted"
    )
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

    until(ended, PATIENCE, "all days to succeed", pause=1)
    return seconds[0]


def runs_of(airflow, days: list[str]) -> list[dict]:
    """The DAG runs of these days."""
    found = airflow.call("GET", f"/dags/{DAG_ID}/dagRuns", limit=100)["dag_runs"]
    return [run for run in found if (run["logical_date"] or "")[:10] in days]
