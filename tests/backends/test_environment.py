"""A14, A18: an odd environment or address is a typed error that says what to change, in worker and triggerer alike."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_batch_provider.backends.redirects import read_elsewhere
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.core.errors import ConfigurationError, NotFoundError
from airflow_batch_provider.testing import FakeProvider
from airflow_batch_provider.testing.routes import FakeRoute, fake_route
from tests.backends.scripted import Scripted, answer
from tests.facts import azure_backend, wire_facts

KEY = "sk-Env7Key2Mark9"
ODD = {
    "ALL_PROXY": "socks://:pa55word-77@127.0.0.1:1",
    "HTTPS_PROXY": "nonsense://pa55word-77",
    "HTTP_PROXY": "::::pa55word-77",
    "SSL_CERT_FILE": "/no/such/certificates.pem",
    "NO_PROXY": "[::1",
}


def backend_at(url: str) -> OpenAIBackend:
    return OpenAIBackend(Route(url, (("Authorization", f"Bearer {KEY}"),)), wire_facts())


@pytest.mark.parametrize("name", ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "SSL_CERT_FILE"])
def test_an_odd_environment_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A14: every client that is made; the variable is named, its value, which may hold a password, is not."""
    monkeypatch.setenv(name, ODD[name])
    backend = backend_at("https://127.0.0.1:9/v1")
    calls: list[Any] = [
        lambda: backend.retrieve("b"),
        lambda: asyncio.run(backend.apoll(["b"])),
        lambda: asyncio.run(backend.acancel(["b"])),
        lambda: list(backend.download("f")),
        lambda: list(read_elsewhere("GET /f", "https://a/f", "https://b/f", {})),
        backend.probe,
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=name) as caught:
            call()
        assert "pa55word" not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_no_proxy_cannot_break_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A14: whatever NO_PROXY holds, the answer is one, or a typed error."""
    monkeypatch.setenv("NO_PROXY", ODD["NO_PROXY"])
    with Scripted(answer("200 OK", b'{"id": "b", "status": "completed"}', "Content-Type: application/json")) as server:
        try:
            assert backend_at(server.base_url).retrieve("b").id == "b"
            assert asyncio.run(backend_at(server.base_url).apoll(["b"]))[0].id == "b"
        except ConfigurationError as error:
            assert "NO_PROXY" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_PROFILE", "no-such-profile"), ("AWS_CONFIG_FILE", "broken"), ("AWS_CA_BUNDLE", "/no/such.pem")],
)
def test_an_odd_aws_environment(name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A14: without keys of the connection's own, boto3 takes the worker's; what it cannot read is named."""
    if value == "broken":
        (tmp_path / "config").write_text("[profile\nnonsense")
        value = str(tmp_path / "config")
    with fake_route("bedrock") as route, Scripted(answer("200 OK")) as server:
        url = server.base_url.removesuffix("/v1").replace("http:", "https:")
        connection = {**route.connection, "extra": {**route.connection["extra"], "bedrock_url": url}}
        if name != "AWS_CA_BUNDLE":
            connection.pop("login")
            connection.pop("password")
        monkeypatch.setenv(name, value)
        backend = FakeRoute("bedrock", None, connection, route.model, 1).backend()
        for call in (lambda: backend.retrieve("j"), lambda: asyncio.run(backend.apoll(["j"]))):
            with pytest.raises(ConfigurationError, match=name):
                call()
        backend.close()


def test_google_credentials_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A14: the file that GOOGLE_APPLICATION_CREDENTIALS names is missing."""
    with fake_route("vertex_ai") as route:
        extra = {name: value for name, value in route.connection["extra"].items() if name != "token"}
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
        backend = FakeRoute("vertex_ai", None, {**route.connection, "extra": extra}, route.model, 1).backend()
        for call in (lambda: backend.retrieve("1"), lambda: asyncio.run(backend.apoll(["1"]))):
            with pytest.raises(ConfigurationError, match="GOOGLE_APPLICATION_CREDENTIALS"):
                call()


def test_google_certificates_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A14: requests reads REQUESTS_CA_BUNDLE at the first call."""
    with fake_route("vertex_ai") as route:
        extra = {**route.connection["extra"], "vertex_url": "https://127.0.0.1:9"}
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
        backend = FakeRoute("vertex_ai", None, {**route.connection, "extra": extra}, route.model, 1).backend()
        with pytest.raises(ConfigurationError, match="REQUESTS_CA_BUNDLE"):
            backend.retrieve("1")


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://api.openai.com/", "https://api.openai.com/v1"),
        ("https://eu.api.openai.com", "https://eu.api.openai.com/v1"),
        ("https://api.portkey.ai", "https://api.portkey.ai/v1"),
        ("https://gw.example.com/v1/chat/completions", "https://gw.example.com/v1"),
        ("https://gw.example.com/v1/batches/", "https://gw.example.com/v1"),
        ("https://gw.example.com//v1//", "https://gw.example.com/v1"),
        (" https://gw.example.com/v1\n", "https://gw.example.com/v1"),
        ("https://gw.example.com/api/llm/responses", "https://gw.example.com/api/llm"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://gw.example.com", "https://gw.example.com"),
    ],
)
def test_addresses_are_mended(given: str, base: str) -> None:
    """A18: what people paste along is taken off, in the one place that worker and triggerer share."""
    assert Route(given).base_url == base


@pytest.mark.parametrize(
    "given",
    [
        "https://gw.example.com/v1?api-version=1&sig=s3cr3tSig77",
        "https://gw.example.com/v1#x",
        "https://gw example.com/v1",
        "https://gw.example.com/my path",
        "gw.example.com/v1",
        "ftp://gw.example.com",
        "https://",
        "https://host:port/v1",
        "https://me:pw@gw.example.com/v1",
    ],
)
def test_addresses_that_cannot_be_mended(given: str) -> None:
    """A18: refused before anything is sent, and no signature is quoted."""
    with pytest.raises(ConfigurationError) as caught:
        Route(given)
    assert "s3cr3tSig77" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "path", "query"),
    [
        (None, "/openai/v1", ()),
        ("v1", "/openai/v1", ()),
        ("V1 ", "/openai/v1", ()),
        ("preview", "/openai/v1", (("api-version", "preview"),)),
        ("latest", "/openai/v1", (("api-version", "latest"),)),
        ("2024-10-21", "/openai", (("api-version", "2024-10-21"),)),
        ("2025-04-01-preview", "/openai", (("api-version", "2025-04-01-preview"),)),
    ],
)
def test_azure_versions(version: str | None, path: str, query: Any) -> None:
    """A18 (openai/openai-python#2584): preview and latest are versions of the v1 API, not of the dated one."""
    route = azure_backend("https://r.openai.azure.com", KEY, api_version=version).route
    assert (route.base_url, route.query) == (f"https://r.openai.azure.com{path}", query)


@pytest.mark.parametrize("version", ["2024", "v2", "stable", "21-10-2024"])
def test_azure_versions_that_are_none(version: str) -> None:
    """A18: refused with the remedy, before anything is sent."""
    with pytest.raises(ConfigurationError, match=r"api_version .* is unknown; leave it empty"):
        azure_backend("https://r.openai.azure.com", KEY, api_version=version).check_route([], [], {})


def test_check_says_that_v1_is_missing() -> None:
    """A18 (hermes-agent#65617): a base URL without /v1 answers 404 to everything; the check says what to add."""
    with FakeProvider() as fake:
        backend = OpenAIBackend(Route(fake.origin, (("Authorization", f"Bearer {fake.api_key}"),)), wire_facts())
        with pytest.raises(ConfigurationError, match=rf"check the connection's host: most .* {fake.origin}/v1"):
            backend.probe()
        with pytest.raises(NotFoundError):
            backend.retrieve("b")
        backend.close()
