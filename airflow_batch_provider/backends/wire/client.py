"""The official ``openai`` client, tamed: no key comes from the environment, nothing is retried, any path is streamed.

This module imports the SDK and is therefore imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
from openai._types import Omit

from airflow_batch_provider.backends.environment import making
from airflow_batch_provider.backends.redirects import REDIRECTS, read_elsewhere
from airflow_batch_provider.backends.resuming import Head, head_of, range_headers, resumed
from airflow_batch_provider.backends.wire.errors import from_sdk
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.core.errors import ProviderError

RAW_STREAM = {"X-Stainless-Raw-Response": "stream"}
"""What the SDK itself sets, and sends, for ``with_streaming_response``."""


class _Client(openai.OpenAI):
    """Signs by the route's headers alone.

    The SDK fills organisation, project, key and further headers from ``OPENAI_*`` variables where none are given; a
    worker's environment must not decide who pays.
    """

    _route_headers: dict[str, str]
    _token: Callable[[], str] | None = None
    """Asked before every call, where a key is not what signs."""

    @property
    def auth_headers(self) -> dict[str, str]:
        return {}

    @property
    def default_headers(self) -> dict[str, str | Omit]:
        defaults: dict[str, str | Omit] = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": self.user_agent,
            "Authorization": Omit(),
        }
        if self._token is not None:
            defaults["Authorization"] = f"Bearer {self._token()}"
        given = {name.lower() for name in self._route_headers}
        return {**{name: defaults[name] for name in defaults if name.lower() not in given}, **self._route_headers}

    def _validate_headers(self, *_: Any) -> None:
        """Nothing to check: the route was checked before."""

    def copy(self, **changes: Any) -> _Client:
        """Like the SDK's, with the same route."""
        made = super().copy(**changes)
        made._route_headers, made._token = self._route_headers, self._token
        return made

    with_options = copy


def make_client(route: Route, timeout: float, token: Callable[[], str] | None = None) -> openai.OpenAI:
    """A client for one route.

    :param token: gives a bearer token that is valid now; called before every call.
    """
    with making("The HTTP client"):
        client = _Client(
            base_url=route.base_url,
            api_key="unused",
            default_query=dict(route.query),
            max_retries=0,
            timeout=timeout,
            # The SDK's own follows redirects, with every header but Authorization.
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )
    client._route_headers, client._token = dict(route.headers), token
    return client


def stream(client: openai.OpenAI, path: str) -> Iterator[bytes]:
    """The bytes of any GET, in chunks; a file that the provider keeps elsewhere is read there, without our headers, and
    what breaks off goes on where it stopped.

    :raises ProviderError: also when the answer ends before its announced length.
    """
    return resumed(f"GET {path}", lambda offset, first: _answer(client, path, range_headers(offset, first)))


def _answer(client: openai.OpenAI, path: str, ranges: dict[str, str]) -> Iterator[Head | bytes]:
    """One answer: its head, then its bytes."""
    name = f"GET {path}"
    try:
        answer: Any = client.get(path, cast_to=object, options={"headers": {**RAW_STREAM, "Accept": "*/*", **ranges}})
        response = answer.http_response
        try:
            yield head_of(response.status_code, response.headers)
            yield from response.iter_bytes()
        finally:
            response.close()
    except _transport_errors() as error:
        raise ProviderError(f"{name}: the answer broke off ({error})", ambiguous=False) from error
    except openai.APIError as error:
        seen = getattr(error, "response", None)
        if seen is not None and seen.status_code == 416 and ranges:
            yield head_of(416, seen.headers)
            return
        if seen is None or seen.status_code not in REDIRECTS or not seen.headers.get("location"):
            raise from_sdk(name, error) from error
        url, location = str(seen.request.url), seen.headers["location"]
    else:
        return
    yield from read_elsewhere(name, url, location, {"accept": "*/*", **ranges})


def _transport_errors() -> tuple[type[Exception], ...]:
    """The base errors of the HTTP libraries that versions 2 and 3 of the SDK use."""
    import httpx

    try:
        import httpx2
    except ImportError:
        return (httpx.HTTPError,)
    return (httpx.HTTPError, httpx2.HTTPError)
