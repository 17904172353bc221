"""Hooks of the connection types that are nothing but a row: OpenAI's wire at another address.

A class for each, such as ``AcmeBatchHook`` of ``acme_batch``, is created when it is first used: Airflow requires one
class for every connection type.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route, WireFacts
from airflow_batch_provider.connections import connection_types
from airflow_batch_provider.connections.base import PLAIN_HOOKS, ConnectionType, Wire
from airflow_batch_provider.connections.settings import ExtraSettings, Settings
from airflow_batch_provider.hooks.base import BatchInferenceHook, base_url, password

_made: dict[str, type[PlainHook]] = {}


class PlainHook(BatchInferenceHook):
    """A hook that is made of its row alone."""

    def make_backend(self, connection: Any, settings: Any) -> OpenAIBackend:
        """The password as a bearer token, settings as headers."""
        wire = self.row.wire
        if wire is None:
            raise TypeError(f"{type(self).__name__}: its connection type has no wire")
        url, key = _address(wire, connection), password(connection)
        own = not wire.base_url or url == wire.base_url  # what answers elsewhere may cost what it likes
        facts = WireFacts(
            self.row.name,
            self.row.known if own else replace(self.row.known, price_list=None),
            missing=tuple(_missing(self.row, settings, {"host": url, "password": key})),
            console=wire.console if own else None,
            identity={name: getattr(settings, name) or "" for name in wire.identity},
            takes_expiry=wire.takes_expiry and own,
            checks_chat=wire.checks_chat and own,
            ascii_only=wire.ascii_only,
            output_endpoint=wire.output_endpoint,
            extra_body=settings.extra_body if isinstance(settings, ExtraSettings) else {},
        )
        headers = {"Authorization": f"Bearer {key}" if key else None}
        headers |= {header: getattr(settings, name) for header, name in wire.headers.items()}
        if isinstance(settings, ExtraSettings):
            headers |= settings.extra_headers
        route = Route(url, tuple((name, value) for name, value in headers.items() if value))
        return OpenAIBackend(route, facts, settings.models())


def _address(wire: Wire, connection: Any) -> str:
    url = base_url(connection, wire.base_url, wire.scheme)
    return f"{url}{wire.path}" if url and "/" not in url.partition("://")[2] else url


def _missing(row: ConnectionType, settings: Settings, given: dict[str, str]) -> list[str]:
    standard = [each.missing for name, each in row.standard.items() if each.missing and not given.get(name)]
    return [*standard, *row.missing(settings)]


def __getattr__(name: str) -> Any:
    if name not in _made:
        rows = [row for row in connection_types().values() if row.hook_path == f"{PLAIN_HOOKS}.{name}"]
        if not rows:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        _made[name] = plain_hook(rows[0])
    return _made[name]


def plain_hook(row: ConnectionType) -> type[PlainHook]:
    """The hook class of a row."""
    name = row.hook_path.rpartition(".")[2]
    return type(name, (PlainHook,), {"row": row, "__module__": __name__, "__doc__": row.label})
