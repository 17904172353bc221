"""What can be told to be wrong with an address or an option before anything is sent."""

from __future__ import annotations

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
}


def check_address(base_url: str) -> None:
    """Refuse what is no address of an HTTP server; an empty one is a missing field and told as such elsewhere.

    :raises ConfigurationError: without the address where it holds a password.
    """
    if not base_url:
        return
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(f"The base URL {base_url!r} is no URL: {error}") from None
    if "@" in parts.netloc:
        raise ConfigurationError("The base URL holds a user name or password; enter the key as the password instead")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"The base URL {base_url!r} is no http or https URL")


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse ``backend_options`` of the wrong type, and metadata that the provider would refuse.

    :raises ConfigurationError: naming the option.
    """
    for name, value in options.items():
        wanted, told = _TYPES.get(name, (object, ""))
        if value is not None and not isinstance(value, wanted):
            raise ConfigurationError(f"backend_options {name} must be {told}, not {type(value).__name__}")
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
