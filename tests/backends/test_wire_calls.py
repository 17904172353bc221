"""Answers that no honest server gives, through the official client and through the triggerer's."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator

import httpx
import pytest

from airflow_batch_provider.backends.wire import calls
from airflow_batch_provider.backends.wire import openai as module
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.core.errors import (
    BatchInferenceError,
    ConfigurationError,
    ProviderError,
)
from tests.backends.scripted import Scripted, answer
from tests.facts import wire_facts

BODY = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
JSON = "Content-Type: application/json"


@pytest.fixture
def ask() -> Iterator[Callable[[Scripted], OpenAIBackend]]:
    made: list[OpenAIBackend] = []

    def make(server: Scripted) -> OpenAIBackend:
        made.append(OpenAIBackend(Route(server.base_url, (("Authorization", "Bearer k"),)), wire_facts("x")))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.mark.parametrize(
    "reply",
    [
        answer("200 OK", b"<html>welcome</html>", "Content-Type: text/html"),
        answer("200 OK", b"[1]", JSON),
        answer("200 OK", b"null", JSON),
        answer("200 OK", b'{"id": "batch_1"', JSON),
        answer("200 OK", b"\xff\xfe", JSON),
        answer("200 OK", b'{"id": "batch_1"}', JSON, length=100),
        answer("200 OK", b'{"id": ""}', JSON),
        answer("200 OK", b'{"object": "batch"}', JSON),
        answer("200 OK", b"", JSON),
        answer("204 No Content"),
        b"",
        b"nonsense\r\n\r\n",
    ],
    ids=lambda reply: repr(reply[-20:]),
)
def test_unclear_create(ask: Callable[[Scripted], OpenAIBackend], reply: bytes) -> None:
    """An answer to create that names no batch is ambiguous, and the call was sent once."""
    with Scripted(reply) as server:
        with pytest.raises(ProviderError, match="POST /batches") as caught:
            ask(server).create(BODY)
        assert caught.value.ambiguous is True
        assert len(server.requests) == 1
        assert server.requests[0].startswith(b"POST /v1/batches ")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_redirected_create(ask: Callable[[Scripted], OpenAIBackend], status: str) -> None:
    """A create is not carried to another address, with or without its key."""
    with (
        Scripted(answer("200 OK", b'{"id": "batch_1"}', JSON)) as other,
        Scripted(answer(status, b"", f"Location: {other.base_url}/batches")) as server,
    ):
        with pytest.raises(ConfigurationError, match=r"HTTP 30.*redirect was not followed"):
            ask(server).create(BODY)
        assert len(server.requests) == 1
        assert other.requests == []


@pytest.mark.parametrize(
    "reply",
    [
        answer("200 OK", b"<html>welcome</html>", "Content-Type: text/html"),
        answer("200 OK", b"{}", JSON),
        answer("200 OK", b'{"id": null}', JSON),
        answer("200 OK", b"[]", JSON),
        answer("200 OK", b"{", JSON),
        b"",
    ],
    ids=lambda reply: repr(reply[-20:]),
)
def test_unclear_upload(ask: Callable[[Scripted], OpenAIBackend], reply: bytes) -> None:
    """An upload without a file id is an error that a retry may help."""
    with Scripted(reply) as server:
        with pytest.raises(ProviderError, match="POST /files"):
            ask(server).upload_file("x.jsonl", io.BytesIO(b"{}\n"))
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        answer("200 OK", b"<html>welcome</html>", "Content-Type: text/html"),
        answer("200 OK", b"[1]", JSON),
        answer("200 OK", b"{", JSON),
        answer("200 OK", b'{"id": "b"}', JSON, length=100),
        answer("302 Found", b"", "Location: http://127.0.0.1:9/"),
        b"",
    ],
    ids=lambda reply: repr(reply[-20:]),
)
async def test_unclear_poll(ask: Callable[[Scripted], OpenAIBackend], reply: bytes) -> None:
    """What is no batch is an error of ours for the triggerer, never a batch without a name."""
    with Scripted(reply) as server:
        with pytest.raises(BatchInferenceError, match="GET /batches/b"):
            await ask(server).apoll(["b"])
        assert len(server.requests) == 1


async def test_silence(ask: Callable[[Scripted], OpenAIBackend], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never answers may have done it all the same."""
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(calls, "TIMEOUT", httpx.Timeout(0.2))
    with Scripted(None) as server:
        with pytest.raises(ProviderError, match="POST /batches") as caught:
            ask(server).create(BODY)
        assert caught.value.ambiguous is True
        with pytest.raises(ProviderError, match="GET /batches/b") as caught:
            await ask(server).apoll(["b"])
        assert len(server.requests) == 2


def test_download_that_breaks_off(ask: Callable[[Scripted], OpenAIBackend]) -> None:
    """Fewer bytes than announced are an error."""
    with (
        Scripted(answer("200 OK", b"12345", length=10)) as server,
        pytest.raises(ProviderError, match="GET /files/f/content"),
    ):
        list(ask(server).download("f"))


def test_one_client_a_route(ask: Callable[[Scripted], OpenAIBackend], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many polls begin at once, one client is made for each route and event loop."""
    made: list[Route] = []
    real = calls._make_client

    def counting(route: Route) -> httpx.AsyncClient:
        made.append(route)
        return real(route)

    monkeypatch.setattr(calls, "_make_client", counting)

    async def poll(backend: OpenAIBackend) -> None:
        await asyncio.gather(*(backend.apoll(["b"]) for _ in range(20)))

    with Scripted(answer("200 OK", b'{"id": "b"}', JSON)) as server:
        asyncio.run(poll(ask(server)))
        assert len(made) == 1
        asyncio.run(poll(ask(server)))
        assert len(made) == 2


async def test_a_client_that_could_not_be_made(
    ask: Callable[[Scripted], OpenAIBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure to make the client is not kept for ever."""

    def failing(route: Route) -> httpx.AsyncClient:
        raise OSError("no certificates")

    with Scripted(answer("200 OK", b'{"id": "b"}', JSON)) as server:
        backend = ask(server)
        with monkeypatch.context() as patch:
            patch.setattr(calls, "_make_client", failing)
            with pytest.raises(OSError, match="no certificates"):
                await backend.apoll(["b"])
        assert [job.id for job in await backend.apoll(["b"])] == ["b"]
