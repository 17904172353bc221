"""The servers that clients which are not ours come to, each on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from airflow_batch_provider.testing import FakeProvider, FaultPlan
from airflow_batch_provider.testing.server_process import ServerProcess
from tests.clients.servers import Watched


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """``airflow-batch serve``, as anybody starts it."""
    with ServerProcess(tmp_path_factory.mktemp("server"), "echo") as server:
        yield server


@pytest.fixture
def server(served: ServerProcess) -> Iterator[Watched]:
    """The server, as it is seen from now on."""
    watched = Watched(served.url, served.token)
    yield watched
    watched.close()


@pytest.fixture
def faulty() -> Iterator[Callable[[FaultPlan], Watched]]:
    """``faulty(plan)`` starts a server of the test's own with these faults."""
    with ExitStack() as running:

        def start(faults: FaultPlan) -> Watched:
            fake = running.enter_context(FakeProvider("openai", faults))
            watched = Watched(fake.base_url, fake.api_key)
            running.callback(watched.close)
            return watched

        yield start
