"""Every route is a fake that runs and a connection that reaches it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

import airflow_batch_provider.testing as public
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.hooks.base import BatchInferenceHook
from airflow_batch_provider.testing import ROUTES, BedrockFaults, FakeRoute, FaultPlan, VertexFaults, fake_route
from tests.backends.tools import known_by
from tests.patience import PATIENCE

HEAVY = (
    "boto3",
    "botocore",
    "google.cloud.storage",
    "google.auth",
    "moto",
    "openai",
    "starlette",
    "uvicorn",
    "airflow",
)


def test_importing_costs_nothing() -> None:
    """The package, its names listed and its plans made, loads no SDK, no server and no Airflow."""
    code = f"""
import sys
import airflow_batch_provider.testing as testing
testing.FaultPlan(), testing.fake_route, testing.ROUTES, sorted(testing.__all__)
print("LOADED", [name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "LOADED []" in done.stdout, done.stdout + done.stderr


def test_every_public_name_is_there() -> None:
    """What is listed can be had, and what is not listed is told as any module tells it."""
    assert [name for name in public.__all__ if getattr(public, name, None) is None] == []
    with pytest.raises(AttributeError, match="no attribute 'FakeMoon'"):
        _ = public.FakeMoon


def test_an_unknown_route_is_named() -> None:
    """A slip of the pen is told with what there is."""
    with pytest.raises(ConfigurationError, match=r"no route 'bedrok'; there are .*bedrock"), fake_route("bedrok"):
        pass


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest):
    with fake_route(request.param) as made:
        yield made


def test_the_connection_reaches_the_fake(route: FakeRoute, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an environment variable it is a connection whose hook finds the fake well."""
    monkeypatch.setenv("AIRFLOW_CONN_MY_PROVIDER", route.connection_json)
    assert json.loads(route.connection_json) == route.connection
    well, said = BatchInferenceHook.for_conn_id("my_provider").test_connection()
    assert well, said
    assert route.fake.requests
    assert route.fake.batches == []


def test_reset_ends_all_faults(route: FakeRoute) -> None:
    """A plan that is set while the fake runs works at once, and ends at once."""
    backend = route.backend()
    route.fake.faults.list_status = [429] * 3
    route.fake.faults.latency = 60.0
    route.fake.faults.reset()
    assert route.fake.faults == type(route.fake.faults)()
    begun = time.monotonic()
    backend.find([known_by("nobody")])
    assert time.monotonic() - begun < 30
    assert len(route.fake.calls("list")) == 1
    backend.close()


@pytest.mark.parametrize("name", ROUTES)
def test_minimum_and_rules(name: str) -> None:
    """Bedrock takes a hundred rows or more wherever it stands; rules reach the fake."""
    assert {True: 100, False: 1}[name.endswith("bedrock")] == _minimum(name)
    if name == "bedrock":
        assert _minimum(name, min_records=5) == 5


def _minimum(name: str, **rules: int) -> int:
    with fake_route(name, **rules) as route:
        return route.min_rows


@pytest.mark.parametrize(("name", "kind"), [("bedrock", BedrockFaults), ("vertex_ai", VertexFaults)])
def test_clouds_take_every_plan(name: str, kind: type[FaultPlan]) -> None:
    """Without a plan a cloud has one of its own kind; the plan given is the plan that works."""
    with fake_route(name) as route:
        assert type(route.fake.faults) is kind
    plan = FaultPlan(list_status=[503])
    with fake_route(name, plan) as route:
        assert route.fake.faults is plan
