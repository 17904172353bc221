"""Real databases, for the tests that load into one or prepare from one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_batch_provider.testing.postgres import postgres as real_postgres
from tests.airflow import databases
from tests.airflow.databases import Database


@pytest.fixture(scope="session")
def postgres_host() -> Iterator[str]:
    with real_postgres() as host:
        yield host


@pytest.fixture(params=databases.KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """SQLite, and PostgreSQL through each of the drivers that its hook may use."""
    if request.param == "sqlite":
        return databases.sqlite(tmp_path / "database.sqlite", monkeypatch)
    return databases.postgres(request.getfixturevalue("postgres_host"), request.param, monkeypatch)


@pytest.fixture(params=databases.KINDS[1:])
def postgres(request: pytest.FixtureRequest, postgres_host: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    """PostgreSQL alone, through each of its drivers."""
    return databases.postgres(postgres_host, request.param, monkeypatch)
