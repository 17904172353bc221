"""Asynchronous calls for the triggerer: one client per route, event loop and process, and nothing that blocks.

The official client is not used here: importing it alone takes most of a second, in which every trigger waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import anyio
import httpx

from airflow_batch_provider.backends.environment import making
from airflow_batch_provider.backends.wire.errors import from_status, from_transport
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.core.errors import ProviderError

POLLS_AT_ONCE = 16
TIMEOUT = httpx.Timeout(30.0, connect=10.0, pool=None)

_clients: dict[asyncio.AbstractEventLoop, dict[Route, asyncio.Task[httpx.AsyncClient]]] = {}


async def call(route: Route, method: str, path: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """One call; the decoded JSON object.

    :param headers: of this call alone, such as a token that changes by the hour.
    :raises BatchInferenceError: typed by what the answer means.
    """
    client = await _client(route)
    name = f"{method} {path}"
    try:
        response = await client.request(
            method, route.base_url + path, params=dict(route.query) or None, headers=headers
        )
    except httpx.HTTPError as error:
        raise from_transport(name, error) from error
    if not response.is_success:
        url = route.base_url + path
        raise from_status(name, response.status_code, response.headers, response.content, url)
    try:
        data = response.json()
    except ValueError as error:
        raise from_transport(name, error) from error
    if not isinstance(data, dict):
        raise ProviderError(f"{name}: the answer is not a JSON object: {str(data)[:200]!r}")
    return data


async def _client(route: Route) -> httpx.AsyncClient:
    """The route's client on this loop; made in a thread, because reading the certificate store takes its time, and
    once, however many calls wait for it."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        for closed in [other for other in _clients if other.is_closed()]:
            del _clients[closed]
    known = _clients.setdefault(loop, {})
    if route not in known:
        known[route] = asyncio.ensure_future(asyncio.to_thread(_make_client, route))
    try:
        return await asyncio.shield(known[route])
    except Exception:
        known.pop(route, None)
        raise


def _make_client(route: Route) -> httpx.AsyncClient:
    # httpx loads anyio's event-loop backend with its first connection, which would be on the triggerer's loop.
    anyio.run(anyio.sleep, 0)
    limits = httpx.Limits(max_connections=POLLS_AT_ONCE, max_keepalive_connections=POLLS_AT_ONCE)
    certificates = route.base_url.startswith("https:")
    with making("The HTTP client"):
        return httpx.AsyncClient(
            headers=dict(route.headers), verify=certificates, timeout=TIMEOUT, limits=limits, follow_redirects=False
        )
