"""Real processes for the end-to-end tests: Airflow's four, and the batch server. All are gone when a test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from airflow_batch_provider.testing.airflow_stack import AirflowStack
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
    """A real Airflow wants the machine for itself."""
    for item in items:
        if "start_airflow" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.alone)


@pytest.fixture
def start_airflow(tmp_path: Path) -> Iterator[StartAirflow]:
    """``start_airflow(dags_folder, env)`` starts an Airflow of the test's own, healthy when it returns."""
    with ExitStack() as running:

        def start(dags: Path, env: Mapping[str, str] | None = None) -> AirflowStack:
            return running.enter_context(AirflowStack(tmp_path / "airflow", dags, IMPATIENT | dict(env or {})))

        yield start


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """``start_server(engine, *options)`` starts ``airflow-batch serve`` in a process of its own."""
    with ExitStack() as running:

        def start(engine: str = "echo", *options: str) -> ServerProcess:
            return running.enter_context(ServerProcess(tmp_path / "server", engine, *options))

        yield start
