"""Settings and fixtures that every test shares."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from airflow_batch_provider.backends import resuming
from airflow_batch_provider.testing.airflow_stack import base_env, run_airflow

# How fast examples are made says something of the machine's other guests, not of the code.
settings.register_profile("shared machine", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that breaks off is tried again at once: the pauses are real, and added up to minutes of a test run."""
    monkeypatch.setattr(resuming, "PAUSES", tuple(pause / 1000 for pause in resuming.PAUSES))


@pytest.fixture(scope="session")
def migrate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Puts an SQLite database with Airflow's tables into an Airflow home; made once for all processes of a test run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    home = shared / "migrated"
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "done").exists():
            run_airflow(base_env(home, home), "db", "migrate")
            (home / "done").touch()

    def put(into: Path) -> None:
        into.mkdir(parents=True, exist_ok=True)
        shutil.copy(home / "airflow.db", into)

    return put
