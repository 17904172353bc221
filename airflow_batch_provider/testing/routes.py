"""A fake provider with the Airflow connection to it, for every way a batch can go.

::

    with fake_route("bedrock", FaultPlan(expire_after_rows=850)) as route:
        monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", route.connection_json)
        ...
    assert len(route.fake.creates) == 2
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batch_provider.connections import connection_types
from airflow_batch_provider.connections.base import Fake
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.faults import FaultPlan

if TYPE_CHECKING:
    from airflow_batch_provider.backends.base import Backend
    from airflow_batch_provider.testing.bedrock import FakeBedrock
    from airflow_batch_provider.testing.vertex import FakeVertex

_FAKES: dict[str, tuple[str, Fake]] = {
    route: (row.name, fake) for row in connection_types().values() for route, fake in row.routes.items()
}
ROUTES = tuple(_FAKES)
"""Every way: a provider directly, or a gateway and what is behind it. Made of the rows of the connection types."""
DISTINCT = tuple(name for name, (_, fake) in _FAKES.items() if fake.same_as is None)
"""The ways that run through code of their own: for tests that take long."""


@dataclass(frozen=True)
class FakeRoute:
    """A fake that runs, and how to reach it.

    :param name: one of :data:`ROUTES`.
    :param fake: the fake; it has ``faults``, ``requests``, ``creates``, ``batches`` and ``calls(kind)``.
    :param connection: the fields of an Airflow connection to it.
    :param model: one that it answers for.
    :param min_rows: the fewest rows it takes in a job.
    """

    name: str
    fake: Any
    connection: JSON
    model: str
    min_rows: int

    @property
    def connection_json(self) -> str:
        """The connection as Airflow reads it from an ``AIRFLOW_CONN_...`` variable."""
        return json.dumps(self.connection)

    def backend(self) -> Backend:
        """A backend of its own, made by the connection's hook."""
        from airflow.sdk import Connection

        from airflow_batch_provider.hooks.base import hook_class

        fields = {**self.connection, "extra": json.dumps(self.connection.get("extra", {}))}
        made = Connection(conn_id=self.name, **fields)
        return hook_class(self.name, made.conn_type)(self.name, connection=made).backend


@contextlib.contextmanager
def start_wire(fake: Fake, conn_type: str, faults: FaultPlan | None, rules: JSON) -> Iterator[tuple[Any, JSON]]:
    """A fake on OpenAI's wire; see :class:`~airflow_batch_provider.connections.base.Fake`."""
    from airflow_batch_provider.testing.provider import FakeProvider

    own = {**rules}
    engine = own.pop("engine", None)
    with FakeProvider(fake.flavor, faults, engine=engine, rules=own, **fake.options) as made:
        host = made.origin if fake.flavor == "azure" else made.base_url
        yield made, {"conn_type": conn_type, "host": host, "password": made.api_key, "extra": {**fake.extra}}


def bedrock_connection(fake: FakeBedrock, **extra: str) -> JSON:
    """The connection to a fake Bedrock.

    :param extra: fields of the connection's extra to change.
    """
    key, secret = fake.credentials
    own = {
        "region": fake.region,
        "bucket": fake.bucket,
        "role_arn": fake.role_arn,
        "bedrock_url": fake.bedrock_url,
        "s3_url": fake.s3_url,
    }
    return {"conn_type": "bedrock_batch", "login": key, "password": secret, "extra": {**own, **extra}}


def vertex_connection(fake: FakeVertex, **extra: str) -> JSON:
    """The connection to a fake Vertex AI.

    :param extra: fields of the connection's extra to change.
    """
    own = {
        "project": fake.project,
        "region": fake.region,
        "bucket": fake.bucket,
        "token": fake.token,
        "vertex_url": fake.vertex_url,
        "storage_url": fake.storage_url,
    }
    return {"conn_type": "vertex_ai_batch", "extra": {**own, **extra}}


@contextlib.contextmanager
def start_bedrock(_fake: Fake, _conn_type: str, faults: FaultPlan | None, rules: JSON) -> Iterator[tuple[Any, JSON]]:
    """A fake Bedrock with its S3."""
    from airflow_batch_provider.testing.bedrock import FakeBedrock

    with FakeBedrock(faults, **rules) as made:
        yield made, bedrock_connection(made)


@contextlib.contextmanager
def start_vertex_ai(_fake: Fake, _conn_type: str, faults: FaultPlan | None, rules: JSON) -> Iterator[tuple[Any, JSON]]:
    """A fake Vertex AI with its Cloud Storage."""
    from airflow_batch_provider.testing.vertex import FakeVertex

    with FakeVertex(faults, **rules) as made:
        yield made, vertex_connection(made)


@contextlib.contextmanager
def fake_route(name: str, faults: FaultPlan | None = None, **rules: Any) -> Iterator[FakeRoute]:
    """A fake provider on a free loopback port, for as long as the ``with`` block lasts.

    :param name: one of :data:`ROUTES`.
    :param faults: what it does wrong; may be changed while it runs.
    :param rules: of ``bedrock`` and ``vertex_ai``, the arguments of their fakes; of all others, ``engine`` and fields
        of :class:`~airflow_batch_provider.local.policy.Policy`.
    :raises ConfigurationError: when there is no such route.
    """
    if name not in _FAKES:
        raise ConfigurationError(f"There is no route {name!r}; there are {', '.join(ROUTES)}")
    conn_type, fake = _FAKES[name]
    module, _, function = fake.start.rpartition(".")
    start = getattr(importlib.import_module(module), function)
    with start(fake, conn_type, faults, rules) as (made, connection):
        yield FakeRoute(name, made, connection, fake.model, int(rules.get("min_records", fake.min_rows)))
