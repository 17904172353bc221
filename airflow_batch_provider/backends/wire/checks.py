"""What can be found wrong with an address or an option before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import Life

MAX_METADATA = 16
_CALLS = re.compile(r"(?:/chat/completions|/completions|/responses|/embeddings|/moderations|/batches|/files|/models)$")
_WITH_V1 = frozenset({"api.openai.com", "eu.api.openai.com", "us.api.openai.com", "api.portkey.ai"})
"""Hosts whose API is below ``/v1``: OpenAI's, also by region, and Portkey's."""


def mended(base_url: str) -> str:
    """The address that calls are appended to: without what people paste along, such as ``/chat/completions``.

    :raises ConfigurationError: for what is not an address, and for a query.
    """
    base_url = base_url.strip()
    check_address(base_url)
    if not base_url:
        return ""
    parts = urlsplit(base_url)
    path = _CALLS.sub("", re.sub("/{2,}", "/", parts.path).rstrip("/")).rstrip("/")
    if not path and parts.hostname in _WITH_V1:
        path = "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def check_address(base_url: str) -> None:
    """Refuse what is not the address of an HTTP server; an empty one is a missing field and reported elsewhere.

    :raises ConfigurationError: without the address where it holds a password or a key.
    """
    if not base_url:
        return
    shown = base_url.partition("?")[0].partition("#")[0]
    if re.search(r"\s", base_url):
        raise ConfigurationError(f"The base URL {shown!r} contains a space or a line break; remove it")
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(f"The base URL {shown!r} is not a valid URL: {error}") from None
    if "@" in parts.netloc:
        raise ConfigurationError(
            "The base URL contains a user name or password; set the key as the connection's password instead"
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"The base URL {shown!r} is not an http or https URL")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"The base URL {shown!r} has a query or fragment; remove it")


def check_values(
    options: Mapping[str, Any], life: Life | None = None, of_connection: Mapping[str, Any] | None = None
) -> None:
    """Refuse metadata, or a life of files, that the provider would refuse.

    :param life: how long the provider keeps files.
    :param of_connection: the connection's ``extra_body``, which is sent too.
    :raises ConfigurationError: naming the option.
    """
    check_life("expires_after", options.get("expires_after"), life)
    extra = {**(of_connection or {}), **(options.get("extra_body") or {})}
    for given in (options, extra) if life is not None else ():
        if given.get("output_expires_after"):
            check_life("output_expires_after seconds", _seconds(given["output_expires_after"]), life)
    if "input_file_id" in extra:
        raise ConfigurationError("extra_body may not hold input_file_id: the run uploads its own file; remove it")
    given_metadata = extra.get("metadata") or {}
    if not isinstance(given_metadata, dict):
        raise ConfigurationError(f"extra_body metadata must be an object, not {type(given_metadata).__name__}")
    metadata = {**given_metadata, **(options.get("metadata") or {})}
    if len(metadata) >= MAX_METADATA:
        raise ConfigurationError(f"backend_options metadata takes at most {MAX_METADATA - 1} pairs, one is ours")
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str) or len(key) > 64 or len(value) > 512:
            raise ConfigurationError(
                f"backend_options metadata {key!r}: keys have at most 64 characters, values are strings of at most 512"
            )


def check_life(name: str, seconds: int | None, life: Life | None) -> None:
    """Refuse a life of files that the provider would refuse.

    :param life: how long it keeps files, None if unknown.
    :raises ConfigurationError: naming the option.
    """
    if seconds is None:
        return
    if isinstance(seconds, bool) or seconds < 1:
        raise ConfigurationError(f"backend_options {name} must be a number of seconds above 0, not {seconds!r}")
    if life is not None and not life.least <= seconds <= life.most:
        raise ConfigurationError(
            f"backend_options {name} must be {life.least} to {life.most} seconds ({_said(life.least)} to "
            f"{_said(life.most)}), not {seconds} ({life.source})"
        )


def _seconds(expiry: Any) -> int:
    """The seconds of ``{"anchor": "created_at", "seconds"}``.

    :raises ConfigurationError: for any other shape.
    """
    given = expiry if isinstance(expiry, dict) else {}
    seconds = given.get("seconds")
    if given.keys() != {"anchor", "seconds"} or given["anchor"] != "created_at" or type(seconds) is not int:
        raise ConfigurationError(
            'backend_options output_expires_after must be {"anchor": "created_at", "seconds": NUMBER}, not '
            f"{expiry!r:.200}"
        )
    return seconds


def _said(seconds: int) -> str:
    days, hours = seconds // 86_400, seconds // 3_600
    return f"{days} days" if days else f"{hours} hour{'' if hours == 1 else 's'}"
