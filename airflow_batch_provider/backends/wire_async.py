"""Asynchronous calls for the triggerer: one client per route, event loop and process, and nothing that blocks.

The official client is not used here: importing it alone takes most of a second, in which every trigger stands still.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

import httpx

from airflow_batch_provider.backends.wire_errors import from_status, from_transport

if TYPE_CHECKING:
    from airflow_batch_provider.backends.openai import Route

POLLS_AT_ONCE = 16
TIMEOUT = httpx.Timeout(30.0, connect=10.0)

_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Route, httpx.AsyncClient]]
_clients = weakref.WeakKeyDictionary()


async def call(route: Route, method: str, path: str) -> dict[str, Any]:
    """One call; the decoded JSON object.

    :raises BatchInferenceError: typed by what the answer means.
    """
    client = await _client(route)
    name = f"{method} {path}"
    try:
        response = await client.request(method, route.base_url + path, params=dict(route.query) or None)
    except httpx.HTTPError as error:
        raise from_transport(name, error) from error
    if not response.is_success:
        raise from_status(name, response.status_code, response.headers, response.content)
    try:
        data = response.json()
    except ValueError as error:
        raise from_transport(name, error) from error
    return data if isinstance(data, dict) else {}


async def _client(route: Route) -> httpx.AsyncClient:
    """The route's client on this loop; made in a thread, because reading the certificate store takes its time."""
    known = _clients.setdefault(asyncio.get_running_loop(), {})
    if route not in known:
        client = await asyncio.to_thread(_make_client, route)
        known.setdefault(route, client)
    return known[route]


def _make_client(route: Route) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=POLLS_AT_ONCE, max_keepalive_connections=POLLS_AT_ONCE)
    return httpx.AsyncClient(headers=dict(route.headers), timeout=TIMEOUT, limits=limits)
