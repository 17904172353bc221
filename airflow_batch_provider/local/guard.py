"""Who may call a server on loopback: programs that mean it, not pages in a browser.

Any page can make a browser call 127.0.0.1: with a form or ``text/plain``, which browsers send without a preflight
request, or under a name of its own that it lets resolve to 127.0.0.1 (DNS rebinding). So the Host must be one of ours,
a page of another origin is refused (Fetch standard: ``Origin``, ``Sec-Fetch-Site``), and bodies must say what they are.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_batch_provider.local.engines.base import error_body

_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not listened on
_UPLOAD = "/v1/files"


class Guard:
    """Lets only calls through that are addressed to this server, come from a program and carry the token.

    :param token: of every call but ``/health``; None for none.
    :param hosts: names and addresses beside those of loopback; ``0.0.0.0`` for every address, but no name.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode() if token else None
        self._hosts = _NAMES | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call."""
        if scope["type"] == "http":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return _refused(403, f"The Host {host!r} is not this server's; start it with --allow-host to allow it.")
        if not _is_same(headers, host):
            return _refused(403, "Calls from web pages are refused.")
        if self._expected is not None and scope["path"] != "/health":
            given = headers.get("authorization", "")
            if not hmac.compare_digest(given.encode("latin-1"), self._expected):
                said = "Incorrect API key provided." if given else "You didn't provide an API key"
                return _refused(401, said if given else f"{said} (Authorization: Bearer).", code="invalid_api_key")
        return _wrong_type(scope, headers)

    def _is_ours(self, host: str) -> bool:
        name = (urlsplit(f"//{host}").hostname or "") if _is_plain(host) else ""
        if name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address is never looked up, so no page can have it lead elsewhere.
        return address.is_loopback or bool(self._hosts & _EVERYWHERE)


def _is_plain(host: str) -> bool:
    return bool(host) and not set(host) & set("/@?#\\ ,")


def _is_same(headers: Mapping[str, str], host: str) -> bool:
    """Whether a call comes from no page, or from one of this server's own."""
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host}".lower():
        return False
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _wrong_type(scope: Scope, headers: Mapping[str, str]) -> Response | None:
    """The refusal of a body without a content type of its own, which browsers send without a preflight request."""
    if scope["method"] != "POST":
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    wanted = "multipart/form-data" if scope["path"] == _UPLOAD else "application/json"
    if kind == wanted or (not kind and not has_body):
        return None
    return _refused(415, f"The Content-Type must be {wanted}, not {kind or 'nothing'}.", code="unsupported_media_type")


def _refused(status: int, message: str, **more: Any) -> Response:
    return Response(orjson.dumps(error_body(message, **more)), status, media_type="application/json")


def kept_token(data_dir: Path) -> str:
    """The token of a data directory, made at its first start, so that clients survive a restart."""
    path = data_dir / "token"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    token = secrets.token_urlsafe(24)
    with os.fdopen(handle, "w") as file:
        file.write(token)
    return token
