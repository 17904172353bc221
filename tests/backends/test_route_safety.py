"""No key goes to another host than its own, no message quotes it, and no create is called unsent that may have been."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref

import httpx
import pytest

from airflow_batch_provider.backends.wire import calls
from airflow_batch_provider.backends.wire.errors import from_transport
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import CHAT, Route
from airflow_batch_provider.core.errors import AuthenticationError, ConfigurationError
from tests.backends.scripted import free_port
from tests.facts import azure_backend, truefoundry_backend, wire_facts

KEY = "secret-key-4be1"


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("https://res.openai.azure.com", "https://res.openai.azure.com/openai/v1"),
        ("https://res.openai.azure.com/", "https://res.openai.azure.com/openai/v1"),
        ("https://openai-prod.openai.azure.com", "https://openai-prod.openai.azure.com/openai/v1"),
        ("https://openai.azure.example.com/openai/v1/", "https://openai.azure.example.com/openai/v1"),
        ("https://res.openai.azure.com/openai/deployments/d?api-version=1", "https://res.openai.azure.com/openai/v1"),
        ("https://proxy.example.com/azure/openai", "https://proxy.example.com/azure/openai/v1"),
        ("https://proxy.example.com/openaix", "https://proxy.example.com/openaix/openai/v1"),
    ],
)
def test_azure_addresses(endpoint: str, base: str) -> None:
    """Whatever address of the resource is pasted, its host is kept, also where its name begins with ``openai``."""
    assert azure_backend(endpoint, KEY).route.base_url == base
    assert azure_backend(endpoint, KEY, api_version="2024-10-21").route.base_url == base.removesuffix("/v1")


def test_azure_version_v1() -> None:
    """``v1`` as version means the v1 API, which takes no version."""
    assert azure_backend("https://r", KEY, api_version="v1").route == azure_backend("https://r", KEY).route


def test_an_earlier_error_says_nothing() -> None:
    """A timeout met while a refused connection was being handled may have been carried out: it is ambiguous."""
    error = httpx.ReadTimeout("this call")
    error.__context__ = httpx.ConnectError("the call before")
    assert from_transport("POST /batches", error).ambiguous is True


def test_create_after_a_refused_connection() -> None:
    """The same through the official client: only its own causes are looked at."""
    backend = OpenAIBackend(Route(f"http://127.0.0.1:{free_port()}/v1"), wire_facts())
    try:
        raise httpx.ReadTimeout("the call before")
    except httpx.ReadTimeout:
        with pytest.raises(Exception, match="no answer") as caught:
            backend.create({})
    assert caught.value.ambiguous is False  # type: ignore[attr-defined]
    backend.close()


@pytest.mark.parametrize("prefix", ["", "Bearer "])
def test_an_echoed_key_is_not_quoted(prefix: str) -> None:
    """Some servers answer with the key they refuse; the message has stars in its place, and still the rest."""
    from airflow_batch_provider.backends.wire.errors import from_status

    route = Route("https://x/v1", (("x-any", f"{prefix}{KEY}"), ("x-tfy-provider-name", "openai-main")))
    body = json.dumps({"error": {"message": f"bad key {prefix}{KEY} for openai-main", "code": "no"}}).encode()
    error = from_status("GET /batches", 401, {}, body)
    OpenAIBackend(route, wire_facts()).redactor.error(error)
    assert type(error) is AuthenticationError
    assert KEY not in str(error)
    assert "*** for openai-main" in str(error)
    assert KEY not in repr(route)


def test_endpoints() -> None:
    """An endpoint that the provider takes no batches for is refused by name; both spellings of a good one pass."""
    azure = azure_backend("https://r", KEY)
    azure.check_route(["m"], [CHAT, "/chat/completions", "/v1/responses"], {})
    with pytest.raises(
        ConfigurationError, match=r"does not support batches for /v1/embeddings; it supports /v1/chat/completions"
    ):
        azure.check_route(["m"], ["/v1/embeddings"], {})
    truefoundry_backend("https://x/api/llm", KEY, "p").check_route(["m"], ["/v1/embeddings"], {})


def test_clients_of_closed_loops_are_let_go() -> None:
    """A process that runs many event loops keeps the clients of the living ones only."""
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []
    for _ in range(4):
        loop = asyncio.new_event_loop()
        loops.append(weakref.ref(loop))
        loop.run_until_complete(calls._client(Route("http://127.0.0.1:9/v1")))
        loop.close()
        del loop
    gc.collect()
    assert sum(loop() is not None for loop in loops) <= 1


async def test_one_client_for_each_route() -> None:
    """Calls at the same time share the client of their route; another key has its own."""
    routes = [Route("http://127.0.0.1:9/v1", (("Authorization", f"Bearer {key}"),)) for key in ("a", "a", "b")]
    clients = await asyncio.gather(*(calls._client(route) for route in routes))
    assert clients[0] is clients[1]
    assert clients[0] is not clients[2]
    assert [client.headers["authorization"] for client in clients] == ["Bearer a", "Bearer a", "Bearer b"]
