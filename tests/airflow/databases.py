"""Real databases behind Airflow connections."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow.providers.postgres.hooks.postgres import PostgresHook

KINDS = ("sqlite", "psycopg", "psycopg2")
"""SQLite, and PostgreSQL through each of the drivers that its hook may use."""


class Database:
    """One database under test, as its Airflow connection ``db`` and as itself."""

    def __init__(self, connect: Any, mark: str) -> None:
        self._connect = connect
        self.mark = mark

    @property
    def is_postgres(self) -> bool:
        return self.mark == "%s"

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(sql.replace("?", self.mark), values) if values else cursor.execute(sql)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return rows

    def many(self, sql: str, rows: list[Any]) -> None:
        with closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.executemany(sql.replace("?", self.mark), rows)
            connection.commit()


def sqlite(path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return Database(lambda: sqlite3.connect(path), "?")


def postgres(host: str, driver: str, monkeypatch: pytest.MonkeyPatch, **extra: str) -> Database:
    """PostgreSQL with no table, and its connection served by one driver."""
    connection = {"conn_type": "postgres", "host": host, "login": "postgres", "schema": "postgres", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps(connection))
    monkeypatch.setattr("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", driver == "psycopg")
    with closing(PostgresHook("db").get_conn()) as made:
        assert type(made).__module__.split(".")[0] == driver
    database = Database(lambda: psycopg.connect(host=host, user="postgres", dbname="postgres"), "%s")
    database.query("DROP SCHEMA IF EXISTS warehouse CASCADE")
    database.query("DROP SCHEMA public CASCADE")
    database.query("CREATE SCHEMA public")
    return database
