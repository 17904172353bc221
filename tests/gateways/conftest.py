"""One gateway and one front for the whole session, a hook from a connection, and a line per route at the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_batch_provider.hooks.base import BatchInferenceHook
from airflow_batch_provider.hooks.portkey import PortkeyBatchHook
from tests.gateways.harness import INSTALL, PROGRAM, Front, Gateway

_told: dict[str, dict[str, None]] = {}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What went through the gateway, route by route."""
    if _told:
        terminalreporter.section("through the real Portkey gateway")
    for route, facts in _told.items():
        terminalreporter.write_line(f"portkey -> {route}: {'; '.join(facts)}")


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The running gateway."""
    if not PROGRAM.is_file() or shutil.which("node") is None:
        pytest.fail(INSTALL, pytrace=False)
    folder = tmp_path_factory.mktemp("gateway")
    with Front(folder) as front, Gateway(folder, front) as running:
        yield running


@pytest.fixture
def front(gateway: Gateway) -> Iterator[Front]:
    """The front, with nobody played yet; at the end no call may have gone to a host that nobody plays."""
    gateway.front.play({})
    yield gateway.front
    strays = [f"{call.method} {call.host}{call.path}" for call in gateway.front.strays]
    gateway.front.play({})
    assert strays == []


@pytest.fixture
def connect(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., PortkeyBatchHook]]:
    """Declares a ``portkey_batch`` connection to the gateway and gives its hook."""
    made: list[PortkeyBatchHook] = []

    def make(password: str = "", **extra: Any) -> PortkeyBatchHook:
        connection = {"conn_type": "portkey_batch", "host": gateway.url, "password": password, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_THROUGH_GATEWAY", json.dumps(connection))
        hook = BatchInferenceHook.for_conn_id("through_gateway")
        assert isinstance(hook, PortkeyBatchHook)
        made.append(hook)
        return hook

    yield make
    for hook in made:
        hook.backend.close()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes a fact for the route's line at the end; the route is the module's ``ROUTE``."""

    def note(fact: str) -> None:
        _told.setdefault(request.module.ROUTE, {})[fact] = None

    return note
