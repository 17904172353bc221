"""A fake provider with the Airflow connection to it, for every way a batch can go.

::

    with fake_route("bedrock", FaultPlan(expire_after_rows=850)) as route:
        monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", route.connection_json)
        ...
    assert len(route.fake.creates) == 2
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.faults import FaultPlan

if TYPE_CHECKING:
    from airflow_batch_provider.backends.base import Backend
    from airflow_batch_provider.testing.bedrock import FakeBedrock
    from airflow_batch_provider.testing.vertex import FakeVertex

ROLE = "arn:aws:iam::123456789012:role/BatchRole"
CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
LLAMA = "meta.llama3-1-8b-instruct-v1:0"
GEMINI = "gemini-2.5-flash"

_Maker: TypeAlias = "Callable[[FaultPlan | None, JSON], contextlib.AbstractContextManager[tuple[Any, JSON, str]]]"


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


def _wire(flavor: Any, conn_type: str, extra: JSON, model: str = "m", **options: Any) -> _Maker:
    @contextlib.contextmanager
    def make(faults: FaultPlan | None, rules: JSON) -> Iterator[tuple[Any, JSON, str]]:
        from airflow_batch_provider.testing.provider import FakeProvider

        own = {**rules}
        engine = own.pop("engine", None)
        with FakeProvider(flavor, faults, engine=engine, rules=own, **options) as fake:
            host = fake.origin if flavor == "azure" else fake.base_url
            yield fake, {"conn_type": conn_type, "host": host, "password": fake.api_key, "extra": extra}, model

    return make


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
def _bedrock(faults: FaultPlan | None, rules: JSON) -> Iterator[tuple[Any, JSON, str]]:
    from airflow_batch_provider.testing.bedrock import FakeBedrock

    with FakeBedrock(faults, **rules) as fake:
        yield fake, bedrock_connection(fake), LLAMA


@contextlib.contextmanager
def _vertex_ai(faults: FaultPlan | None, rules: JSON) -> Iterator[tuple[Any, JSON, str]]:
    from airflow_batch_provider.testing.vertex import FakeVertex

    with FakeVertex(faults, **rules) as fake:
        yield fake, vertex_connection(fake), GEMINI


_AWS = {"aws_region": "us-east-1", "aws_s3_bucket": "fake-bucket", "role_arn": ROLE}
_AWS_KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "fake-key"}
_GOOGLE = {"behind": "vertex_ai", "vertex_region": "us-central1", "vertex_storage_bucket_name": "fake-bucket"}


_MAKERS: dict[str, _Maker] = {
    "local": _wire("openai", "local_batch", {}),
    "openai": _wire("openai", "openai_batch", {}),
    "azure_openai": _wire("azure", "azure_openai_batch", {}),
    "truefoundry": _wire("truefoundry", "truefoundry_batch", {"provider_name": "openai-main"}),
    "portkey": _wire("portkey", "portkey_batch", {"virtual_key": "vk-openai"}),
    "portkey_slug": _wire("portkey", "portkey_batch", {"provider": "@team-openai"}),
    "bedrock": _bedrock,
    "vertex_ai": _vertex_ai,
    "portkey_bedrock": _wire(
        "portkey", "portkey_batch", {"provider": "bedrock", **_AWS, **_AWS_KEYS}, CLAUDE, behind="bedrock"
    ),
    "portkey_vertex": _wire(
        "portkey", "portkey_batch", {"provider": "@vertexai", **_GOOGLE}, GEMINI, behind="vertex-ai"
    ),
    "truefoundry_bedrock": _wire(
        "truefoundry",
        "truefoundry_batch",
        {"provider_name": "bedrock-main", "behind": "bedrock", **_AWS},
        CLAUDE,
        behind="bedrock",
    ),
    "truefoundry_vertex": _wire(
        "truefoundry",
        "truefoundry_batch",
        {"provider_name": "vertex-main", **_GOOGLE},
        GEMINI,
        behind="vertex-ai",
    ),
}

ROUTES = tuple(_MAKERS)
"""Every way: a provider directly, or a gateway and what is behind it."""


@contextlib.contextmanager
def fake_route(name: str, faults: FaultPlan | None = None, **rules: Any) -> Iterator[FakeRoute]:
    """A fake provider on a free loopback port, for as long as the ``with`` block lasts.

    :param name: one of :data:`ROUTES`.
    :param faults: what it does wrong; may be changed while it runs.
    :param rules: of ``bedrock`` and ``vertex_ai``, the arguments of their fakes; of all others, ``engine`` and fields
        of :class:`~airflow_batch_provider.local.policy.Policy`.
    :raises ConfigurationError: when there is no such route.
    """
    if name not in _MAKERS:
        raise ConfigurationError(f"There is no route {name!r}; there are {', '.join(ROUTES)}")
    minimum = 100 if name.endswith("bedrock") else 1
    with _MAKERS[name](faults, rules) as (fake, connection, model):
        yield FakeRoute(name, fake, connection, model, int(rules.get("min_records", minimum)))
