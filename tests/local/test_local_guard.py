"""X16: a server on loopback takes calls of programs that mean it, and of no page in a browser."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest

from airflow_batch_provider.local.app import create_app
from airflow_batch_provider.local.engines.echo import EchoEngine
from airflow_batch_provider.local.policy import Policy
from airflow_batch_provider.local.server import LocalServer
from airflow_batch_provider.local.store import Store
from tests.local.serving import Process, served

CHAT = b'{"messages": [{"role": "user", "content": "hi"}]}'
JSON = {"content-type": "application/json"}


def status(base_url: str, method: str, path: str, headers: dict[str, str], content: bytes = b"") -> int:
    with httpx.Client(trust_env=False) as client:
        return client.request(method, f"{base_url}{path}", headers=headers, content=content).status_code


def base_of(client: object) -> str:
    return str(client.base_url).rstrip("/")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"host": "localhost:8900"}, 200),
        ({"host": "LOCALHOST"}, 200),
        ({"host": "127.0.0.1"}, 200),
        ({"host": "127.9.9.9:1"}, 200),
        ({"host": "[::1]:8900"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "evil.example:8900"}, 403),
        ({"host": "localhost.evil.example"}, 403),
        ({"host": "127.0.0.1.nip.io"}, 403),
        ({"host": "127.0.0.1@evil.example"}, 403),
        ({"host": "169.254.169.254"}, 403),
        ({"host": ""}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 200),
    ],
)
def test_who_is_let_in(tmp_path: Path, headers: dict[str, str], expected: int) -> None:
    """X16: by Host, Origin and Sec-Fetch-Site, for reading and for writing, also where no token is asked for."""
    with served(tmp_path) as client:
        base = base_of(client)
        for path in ("/files", "/models", "/batches"):
            assert status(base, "GET", path, headers) == expected
        assert status(base, "POST", "/chat/completions", {**JSON, **headers}, CHAT) == expected


def test_one_own_origin(tmp_path: Path) -> None:
    """X16: a page of this very server, should there be one, is no stranger."""
    with served(tmp_path) as client:
        host = base_of(client).removesuffix("/v1").removeprefix("http://")
        assert status(base_of(client), "GET", "/files", {"origin": f"http://{host}"}) == 200


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ("/chat/completions", "text/plain", 415),
        ("/chat/completions", "application/x-www-form-urlencoded", 415),
        ("/chat/completions", "", 415),
        ("/chat/completions", "application/json; charset=utf-8", 200),
        ("/batches", "text/plain;charset=UTF-8", 415),
        ("/batches/batch_1/cancel", "text/plain", 415),
        ("/batches", "application/json", 400),
        ("/files", "text/plain", 415),
        ("/files", "application/json", 415),
    ],
)
def test_bodies_say_what_they_are(tmp_path: Path, path: str, kind: str, expected: int) -> None:
    """X16: what a browser sends without asking first is refused; so is a body of no type."""
    with served(tmp_path) as client:
        headers = {"content-type": kind} if kind else {}
        assert status(base_of(client), "POST", path, headers, CHAT) == expected


def test_a_cancel_without_a_body(tmp_path: Path) -> None:
    """X16: what has no body needs no type."""
    with served(tmp_path) as client:
        assert status(base_of(client), "POST", "/batches/batch_1/cancel", {}) == 404


def test_hosts_that_are_allowed(tmp_path: Path) -> None:
    """X16: a name that is given; with 0.0.0.0 every address, and still no other name."""
    for hosts, allowed, refused in (
        (("batch.internal",), "batch.internal:80", "10.1.2.3"),
        (("0.0.0.0",), "10.1.2.3:8900", "evil.example"),
    ):
        app = create_app(Store(tmp_path / hosts[0]), EchoEngine(), Policy(hosts=hosts))
        with LocalServer(app) as server:
            assert status(server.base_url, "GET", "/files", {"host": allowed}) == 200
            assert status(server.base_url, "GET", "/files", {"host": refused}) == 403


def test_a_token_is_made_and_kept(tmp_path: Path) -> None:
    """X16: without any option calls need a token, which is printed, and the same after a restart."""
    tokens = []
    for _ in range(2):
        with Process(tmp_path, "--engine", "echo", "--own-token") as process:
            assert status(process.base_url, "GET", "/files", {}) == 401
            assert process._process.stdout is not None
            token = process._process.stdout.readline().split()[1]
            assert status(process.base_url, "GET", "/files", {"authorization": f"Bearer {token}"}) == 200
            tokens.append(token)
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) >= 32
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
