"""What can be found wrong with an address or an option before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_batch_provider.core.errors import ConfigurationError

MAX_METADATA = 16
_TYPES: dict[str, tuple[type, str]] = {
    "completion_window": (str, "a string"),
    "file_name": (str, "a string"),
    "metadata": (dict, "an object"),
    "extra_body": (dict, "an object"),
    "output_expires_after": (dict, "an object"),
    "delete_inputs": (bool, "True or False"),
    "expires_after": (int, "a number of seconds"),
}


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


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse ``backend_options`` of the wrong type, and metadata that the provider would refuse.

    :raises ConfigurationError: naming the option.
    """
    for name, value in options.items():
        wanted, expected = _TYPES.get(name, (object, ""))
        if value is not None and not isinstance(value, wanted):
            raise ConfigurationError(f"backend_options {name} must be {expected}, not {type(value).__name__}")
    if "input_file_id" in (options.get("extra_body") or {}):
        raise ConfigurationError("backend_options extra_body may not hold input_file_id, the run uploads its own file")
    metadata = {**((options.get("extra_body") or {}).get("metadata") or {}), **(options.get("metadata") or {})}
    if len(metadata) >= MAX_METADATA:
        raise ConfigurationError(f"backend_options metadata takes at most {MAX_METADATA - 1} pairs, one is ours")
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str) or len(key) > 64 or len(value) > 512:
            raise ConfigurationError(
                f"backend_options metadata {key!r}: keys have at most 64 characters, values are strings of at most 512"
            )
