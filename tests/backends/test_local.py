"""The embedded server, which has no faults to order: the promises an honest server can show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.hooks.local import LocalBatchHook
from airflow_batch_provider.local.app import create_app
from airflow_batch_provider.local.engines.echo import EchoEngine
from airflow_batch_provider.local.policy import Policy
from airflow_batch_provider.local.server import LocalServer
from airflow_batch_provider.local.store import Store
from airflow_batch_provider.testing.calls import Call, kind_of
from tests.backends.contract import KEY
from tests.backends.wire_contract import WireContract


class World:
    """The server itself, with a record of its calls."""

    def __init__(self, folder: Path, engine: EchoEngine, **rules: Any) -> None:
        self.requests: list[Call] = []
        self.faults = SimpleNamespace()  # it obeys none
        app = create_app(Store(folder), engine, Policy(**{"token": KEY, "grace": 1.0, **rules}))

        async def recording(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                call = Call.of(scope)
                call.kind = kind_of(call.method, call.parts("/v1") or [])
                self.requests.append(call)
                if call.kind == "create":
                    receive = await self._body(call, receive)
            await app(scope, receive, send)

        self.server = LocalServer(recording)
        self.origin = self.server.origin

    async def _body(self, call: Call, receive: Any) -> Any:
        import orjson

        message = await receive()
        call.body = orjson.loads(message["body"])

        async def again() -> Any:
            return message

        return again

    @property
    def creates(self) -> list[Call]:
        return self.calls("create")

    def calls(self, kind: str) -> list[Call]:
        return [call for call in self.requests if call.kind == kind]


class TestLocal(WireContract):
    """The contract on ``airflow-batch serve``."""

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        host = f"{base or world.origin}/v1"
        connection = Connection(conn_id="c", conn_type="local_batch", host=host, password=key)
        return LocalBatchHook("c", connection=connection).backend

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
        world = World(tmp_path_factory.mktemp("local"), EchoEngine(), slots=8)
        with world.server:
            yield world

    def test_no_model_needed(self, backend: OpenAIBackend) -> None:
        """The server has one model."""
        assert backend.limits.model_required is False

    def test_missing_host(self) -> None:
        """There is no address to guess."""
        backend = LocalBatchHook("c", connection=Connection(conn_id="c", conn_type="local_batch")).backend
        with pytest.raises(ConfigurationError, match="host is missing"):
            backend.check_route([], [], {})


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, EchoEngine(latency=0.05), slots=2)
    with world.server:
        yield world


async def test_cancel_keeps_what_was_answered(slow: World) -> None:
    """A job cancelled from the triggerer keeps its answers and names the other rows."""
    contract = TestLocal()
    backend = contract.make(slow)
    job = contract.send(backend, 60)
    contract.until(backend, job, lambda seen: (seen.counts.completed or 0) >= 2)
    await backend.acancel([job.id])
    job = contract.until(backend, job)
    assert job.status is JobStatus.CANCELLED
    rows = contract.rows(backend, job)
    assert len(rows) == 60
    assert 2 <= sum(row["response"] is not None for row in rows.values()) < 60
    backend.close()


def test_without_token(tmp_path: Path) -> None:
    """A server without a token takes a connection without a password, which sends no Authorization."""
    world = World(tmp_path, EchoEngine(), token=None)
    with world.server:
        backend = TestLocal().make(world, "")
        backend.probe()
        backend.close()
    assert "authorization" not in world.requests[-1].headers
