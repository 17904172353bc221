"""Rows per second of loading results into PostgreSQL: COPY and one upsert, beside INSERT of many rows a statement.

``python -m benchmarks.load [--rows 20000]`` prints ratios measured by turns, in one process and on one server.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

from airflow.providers.postgres.hooks.postgres import PostgresHook

from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.testing.postgres import postgres as real_postgres
from airflow_batch_provider.transfers.columns import Extras
from airflow_batch_provider.transfers.rows import EndedRun
from airflow_batch_provider.transfers.tables import PostgresTable, Table, Values

ROUNDS = 5


class InsertTable(PostgresTable):
    """The way that works with every driver: rows of values, 500 to a statement."""

    _compared = Table._compared

    def _fill(self, cursor: Any, rows: Iterator[Values]) -> int:
        count, one = 0, f"({', '.join(['%s'] * len(self.columns))})"
        while chunk := list(islice(rows, 500)):
            values = ", ".join([one] * len(chunk))
            statement = f"INSERT INTO {self.target} AS old ({self.names}) VALUES {values} {self._on_conflict()}"
            cursor.execute(statement, list(chain.from_iterable(chunk)))
            count += len(chunk)
        return count


def write_run(folder: Path, rows: int) -> EndedRun:
    choice = {"message": {"role": "assistant", "content": "word " * 60}, "finish_reason": "stop"}
    body = {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 140, "completion_tokens": 60}}
    (folder / "results").mkdir()
    with (folder / "results" / "part-r0-00000.jsonl").open("w") as out:
        for number in range(rows):
            response = {"status_code": 200, "request_id": "r", "body": body}
            out.write(json.dumps({"id": "x", "custom_id": f"row-{number}", "response": response, "error": None}) + "\n")
    record = {"version": 2, "run_key": "dag/task/run", "fingerprint": "", "input_path": "", "rows": rows, "begun_at": 0}
    (folder / "run.json").write_text(json.dumps({**record, "conn_id": "", "identity": {}, "options": {}}))
    (folder / "summary.json").write_text(json.dumps({"total": rows}))
    return EndedRun.read(RunDirectory(str(folder)))


def seconds(kind: type[PostgresTable], rows: list[Values] | Iterator[Values], *, fresh: bool) -> float:
    """How long one load takes, commit included."""
    with closing(PostgresHook("db").get_conn()) as connection, closing(connection.cursor()) as cursor:
        if fresh:
            cursor.execute("DROP TABLE IF EXISTS answers")
            connection.commit()
        started = time.perf_counter()
        kind('"answers"', Extras().columns).load(cursor, rows, create=True)
        connection.commit()
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder, real_postgres() as host:
        connection = {"conn_type": "postgres", "host": host, "login": "postgres", "schema": "postgres"}
        os.environ["AIRFLOW_CONN_DB"] = json.dumps(connection)
        run = write_run(Path(folder), rows)
        ready = list(run.rows(Extras(), lambda _: None))  # so that the databases' ways alone are compared
        for label, fresh in (("into a new table", True), ("again", False)):
            taken: dict[type[PostgresTable], list[float]] = {PostgresTable: [], InsertTable: []}
            for _ in range(ROUNDS):
                for kind, times in taken.items():
                    times.append(seconds(kind, ready, fresh=fresh))
            by_copy, by_insert = (statistics.median(times) for times in taken.values())
            print(
                f"{label:18}COPY {rows / by_copy:>9,.0f} rows/s   INSERT {rows / by_insert:>9,.0f} rows/s"
                f"   {by_insert / by_copy:5.2f} times as fast"
            )
        whole = seconds(PostgresTable, run.rows(Extras(), lambda _: None), fresh=True)
        print(f"{'with reading':18}COPY {rows / whole:>9,.0f} rows/s")


if __name__ == "__main__":
    main()
