"""The harness itself: the gateway is the one that is pinned, it stays on loopback, and nothing is left of it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import httpx
import psutil
import pytest

from airflow_batch_provider.testing import FakeProvider
from tests.gateways.harness import HERE, INSTALLED, Front, Gateway, forward

ROUTE = "harness"


def test_the_pinned_versions_are_installed(gateway):
    """What runs is what ``package.json`` names, the two pins that npm would not choose by itself included."""
    asked = json.loads((HERE / "package.json").read_text())
    pins = {**asked["dependencies"], **asked["overrides"]}
    manifests = {name: INSTALLED / "node_modules" / name / "package.json" for name in pins}
    assert {name: json.loads(path.read_text())["version"] for name, path in manifests.items()} == pins


def test_it_listens_on_loopback_only(gateway):
    """The gateway would bind every interface; behind the guard it binds 127.0.0.1."""
    sockets = [found for process in gateway.processes() for found in process.net_connections("inet")]
    listening = {found.laddr for found in sockets if found.status == psutil.CONN_LISTEN}
    assert {(address.ip, address.port) for address in listening} == {("127.0.0.1", gateway.port)}


def test_nothing_leaves_loopback(gateway, front):
    """A host that nobody plays is asked at the front, and a port that is not HTTPS is refused before a connection."""
    sign = {"x-portkey-provider": "openai", "authorization": "Bearer k"}
    elsewhere = {**sign, "x-portkey-custom-host": "http://www.example.com/v1"}
    answer = httpx.get(f"{gateway.url}/batches", headers=elsewhere)
    assert "guard: no way to www.example.com:80" in answer.text
    assert front.calls == []
    answer = httpx.get(f"{gateway.url}/batches", headers=sign)
    assert answer.status_code == 502
    assert [call.host for call in front.strays] == ["api.openai.com"]
    front.play({})


def test_nothing_is_left(tmp_path: Path, gateway):
    """At the end there is no process, and both ports are free."""
    with FakeProvider() as fake, Front(tmp_path) as front, Gateway(tmp_path, front) as other:
        front.play({"api.openai.com": forward(fake.origin)})
        processes = other.processes()
        assert processes
        sign = {"x-portkey-provider": "openai", "authorization": f"Bearer {fake.api_key}"}
        assert httpx.get(f"{other.url}/batches", headers=sign).status_code == 200
    assert not any(process.is_running() for process in processes)
    for port in (front.port, other.port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
