"""One HTTP call as a fake sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from airflow_batch_provider.core.records import JSON


@dataclass(slots=True)
class Call:
    """A call that reached the fake.

    :param path: as it was sent, still percent-encoded, without query.
    :param headers: names in lower case.
    :param kind: what it asks for: ``upload``, ``create``, ``poll``, ``list``, ``cancel``, ``download``, ``output``,
        ``delete``, ``other``; empty when it was refused before that was known.
    :param body: the JSON sent; None for uploads and empty bodies.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    kind: str = ""
    body: Any = None

    @classmethod
    def of(cls, scope: Any) -> Call:
        """From an ASGI scope."""
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        return cls(scope["method"], scope["raw_path"].decode(), query, headers)

    @property
    def bearer(self) -> str | None:
        """The token of ``Authorization``."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else None

    def parts(self, base: str) -> list[str] | None:
        """What follows the base path, each part decoded once; None when the path is below another base."""
        if not self.path.startswith(base + "/"):
            return None
        return [unquote(part) for part in self.path[len(base) + 1 :].split("/")]


def kind_of(method: str, parts: list[str]) -> str:
    """What a call below the base path asks for."""
    match method, parts:
        case "POST", ["files"]:
            return "upload"
        case "POST", ["batches"]:
            return "create"
        case "GET", ["batches"]:
            return "list"
        case "GET", ["batches", _]:
            return "poll"
        case "POST", ["batches", _, "cancel"]:
            return "cancel"
        case "GET", ["batches", _, "output"]:
            return "output"
        case "GET", ["files", _, "content"]:
            return "download"
        case "DELETE", ["files", _]:
            return "delete"
    return "other"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the application or of the fake itself."""

    status: int
    content: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)

    @classmethod
    def of(cls, status: int, body: JSON, **headers: str) -> Answer:
        """A JSON answer."""
        more = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
        return cls(status, orjson.dumps(body), ((b"content-type", b"application/json"), *more))

    @property
    def json(self) -> Any:
        """The decoded body."""
        return orjson.loads(self.content)
