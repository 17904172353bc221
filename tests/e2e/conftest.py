"""Real processes for the end-to-end tests: Airflow's four, and the batch server. All are gone when a test ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from airflow_batch_provider.testing.airflow_stack import DATABASE, AirflowStack, base_env, run_airflow
from airflow_batch_provider.testing.postgres import OWNER, postgres, url
from airflow_batch_provider.testing.server_process import ServerProcess

# The loss of a worker or a triggerer is noticed in seconds, not in minutes.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "12",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
}

StartAirflow = Callable[..., AirflowStack]
StartServer = Callable[..., ServerProcess]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A real Airflow wants most of the machine for itself."""
    for item in items:
        if "metadata" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.airflow)


@pytest.fixture(scope="session")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Each call makes a new database with Airflow's tables in it, as SQLAlchemy's URL; migrated once for all tests."""
    home = tmp_path_factory.mktemp("migrated")
    with postgres() as host:
        run_airflow(base_env(home, home) | {DATABASE: url(host)}, "db", "migrate")
        numbers = itertools.count()

        def make() -> str:
            name = f"airflow_{next(numbers)}"
            with psycopg.connect(host=host, user=OWNER, dbname="template1", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {OWNER}")
            return url(host, name)

        yield make


@pytest.fixture
def start_airflow(tmp_path: Path, metadata: Callable[[], str]) -> Iterator[StartAirflow]:
    """``start_airflow(dags_folder, env)`` starts an Airflow of the test's own, healthy when it returns."""
    with ExitStack() as running:

        def start(dags: Path, env: Mapping[str, str] | None = None) -> AirflowStack:
            env = IMPATIENT | dict(env or {})
            return running.enter_context(AirflowStack(tmp_path / "airflow", dags, env, database=metadata()))

        yield start


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """``start_server(engine, *options)`` starts ``airflow-batch serve`` in a process of its own."""
    with ExitStack() as running:

        def start(engine: str = "echo", *options: str) -> ServerProcess:
            return running.enter_context(ServerProcess(tmp_path / "server", engine, *options))

        yield start
