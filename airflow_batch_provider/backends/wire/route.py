"""Whom a call on OpenAI's wire goes to, and what that provider takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from airflow_batch_provider.backends.wire.checks import mended
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.provider_facts import ProviderFacts
from airflow_batch_provider.core.redaction import header_secrets

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"


@dataclass(frozen=True)
class Route:
    """Where to send and how to sign.

    :param base_url: without a slash at its end; paths like ``/batches`` are appended.
    :param headers: sent with every call; their values are secrets and are never shown.
    :param query: sent with every call, e.g. ``(("api-version", "2024-10-21"),)``.
    """

    base_url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = ()

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Header values that nothing may show; a provider's name or a version is none."""
        return tuple(header_secrets(self.headers))

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", mended(self.base_url))
        for name, value in self.headers:
            # HTTP libraries quote the whole value when they refuse it.
            if not (value.isascii() and value.isprintable() and value == value.strip() and name.isascii() and name):
                raise ConfigurationError(
                    f"The value of header {name!r} contains a character that is not allowed in headers, such as a line "
                    "break or a typographic dash; enter the key again"
                )


@dataclass(frozen=True)
class WireFacts:
    """What one OpenAI-shaped provider takes, as a connection reaches it.

    :param name: the connection type.
    :param provider: what is known of the provider.
    :param missing: fields of the route that are missing, as sentences with their remedy.
    :param ascii_only: escape everything else in uploads.
    :param output_endpoint: results come from ``/batches/{id}/output``.
    :param console: the provider's page of a batch, with ``{id}``.
    :param identity: who receives it beyond the base URL: organization, project, provider behind a gateway.
    :param extra_body: added to every create call.
    :param takes_expiry: whether uploads are sent with ``expires_after`` where the run does not say otherwise.
    :param checks_chat: whether chat requests are checked by the rules of OpenAI's own service.
    """

    name: str
    provider: ProviderFacts
    missing: tuple[str, ...] = ()
    ascii_only: bool = False
    output_endpoint: bool = False
    console: str | None = None
    identity: Mapping[str, str] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    takes_expiry: bool = False
    checks_chat: bool = False
