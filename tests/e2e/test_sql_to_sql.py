"""From a table to a table: PostgreSQL, the prepare operator, a batch server's process, and PostgreSQL again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator, BatchInferencePrepareOperator
from airflow_batch_provider.testing.postgres import postgres
from airflow_batch_provider.transfers.results_to_sql import BatchResultsToSqlOperator
from tests.airflow import databases
from tests.airflow.world import TaskInstance
from tests.e2e.conftest import StartServer

ROWS = 1000
# xmin is the transaction that wrote a row: not even one that changed nothing may have touched it.
ANSWERS = "SELECT xmin::text, * FROM answers ORDER BY custom_id"


@pytest.fixture(scope="module")
def postgres_host() -> Iterator[str]:
    with postgres() as host:
        yield host


def execute(task: Any) -> Any:
    return task.execute({"ti": TaskInstance()})


@pytest.mark.parametrize("driver", databases.KINDS[1:])
def test_from_table_to_table(
    driver: str, postgres_host: str, start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 rows of a table come back as 1,000 answered rows; the whole way again adds no row, job or change."""
    database = databases.postgres(postgres_host, driver, monkeypatch)
    database.query("CREATE TABLE reviews (id INTEGER PRIMARY KEY, text TEXT, facts JSONB, written DATE, stars NUMERIC)")
    database.query(
        "INSERT INTO reviews SELECT id, 'it''s \\ number ' || id || E'\\t\\n\u2028', jsonb_build_object('id', id), "
        f"date '2026-01-01' + id, CASE WHEN id % 10 > 0 THEN id / 2.0 END FROM generate_series(1, {ROWS}) AS id"
    )
    server = start_server("echo")
    connection = server.connection() | {"extra": {"prices": {"*": {"input": 1, "output": 2}}}}
    monkeypatch.setenv("AIRFLOW_CONN_LOCAL", json.dumps(connection))
    prepare = BatchInferencePrepareOperator(
        task_id="prepare",
        sql="SELECT id, text, facts, written, stars FROM reviews WHERE id <= %s ORDER BY id",
        parameters=[ROWS],
        sql_conn_id="db",
        custom_id="review-{{ row.id }}",
        prompt="{{ row.text }}|{{ row.facts }}|{{ row.written }}|{{ row.stars }}",
        output_path=str(tmp_path / "requests.jsonl"),
        allow_local_path=True,
    )
    answer = BatchInferenceOperator(
        task_id="answer",
        input_path=prepare.output_path,
        output_path=str(tmp_path / "run"),
        conn_id="local",
        model="echo",
        deferrable=False,
        poll_interval=0.2,
        allow_local_path=True,
    )
    load = BatchResultsToSqlOperator(
        task_id="load", run_path=str(tmp_path / "run"), sql_conn_id="db", table="answers", parse_json=True
    )
    loaded = []
    for _ in range(2):  # the whole way, and the whole way again
        execute(prepare)
        summary = execute(answer)
        assert (summary["total"], summary["succeeded"], summary["jobs"]) == (ROWS, ROWS, 1)
        assert execute(load) == ROWS
        loaded.append(database.query(ANSWERS))
    assert execute(load) == ROWS
    loaded.append(database.query(ANSWERS))
    assert len(loaded[0]) == ROWS
    assert loaded[1] == loaded[2] == loaded[0]
    check(database, summary["cost_usd"])


def check(database: databases.Database, cost: float) -> None:
    """Every source row has its own answer, and what the rows cost is what the run did."""
    ((own, routes, jobs, total),) = database.query(
        "SELECT count(*) FILTER (WHERE position(text IN content) > 0), array_agg(DISTINCT route), "
        "count(DISTINCT job_id), sum(cost_usd) FROM reviews JOIN answers ON custom_id = 'review-' || id"
    )
    assert (own, routes, jobs) == (ROWS, ["local_batch"], 1)
    assert float(total) == pytest.approx(cost)
    assert cost > 0
    ((content,),) = database.query("SELECT content FROM answers WHERE custom_id = 'review-10'")
    assert '|{"id":10}|2026-01-11|' in content
