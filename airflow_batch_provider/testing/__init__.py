"""Fake providers with faults, for the tests of this package and of your own DAGs; see ``docs/testing.md``.

::

    with fake_route("bedrock", FaultPlan(cut_after_accept=1)) as route:
        monkeypatch.setenv("AIRFLOW_CONN_MY_PROVIDER", route.connection_json)
        ...
    assert len(route.fake.batches) == 1

What needs an SDK or a server is imported when it is first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from airflow_batch_provider.testing.calls import Call
from airflow_batch_provider.testing.faults import FaultPlan, Said
from airflow_batch_provider.testing.routes import ROUTES, FakeRoute, fake_route

if TYPE_CHECKING:
    from airflow_batch_provider.testing.bedrock import BedrockFaults, FakeBedrock
    from airflow_batch_provider.testing.provider import FakeProvider
    from airflow_batch_provider.testing.vertex import FakeVertex, VertexFaults

__all__ = [
    "ROUTES",
    "BedrockFaults",
    "Call",
    "FakeBedrock",
    "FakeProvider",
    "FakeRoute",
    "FakeVertex",
    "FaultPlan",
    "Said",
    "VertexFaults",
    "fake_route",
]

_LATER = {
    "BedrockFaults": "bedrock",
    "FakeBedrock": "bedrock",
    "FakeProvider": "provider",
    "FakeVertex": "vertex",
    "VertexFaults": "vertex",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
