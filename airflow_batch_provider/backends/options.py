"""The names and types of a run's ``backend_options``, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_batch_provider.core.errors import ConfigurationError

_STRING, _OBJECT = (str, "a string"), (dict, "an object")
_KINDS: dict[str, tuple[type, str]] = {
    "completion_window": _STRING,
    "delete_inputs": (bool, "True or False"),
    "expires_after": (int, "a number of seconds"),
    "extra_body": _OBJECT,
    "file_name": _STRING,
    "job_name": _STRING,
    "kms_key_id": _STRING,
    "labels": _OBJECT,
    "metadata": _OBJECT,
    "output_expires_after": _OBJECT,
    "output_prefix": _STRING,
    "output_uri": _STRING,
    "role_arn": _STRING,
    "tags": _OBJECT,
    "timeout_hours": (int, "a whole number"),
}


def check_options(conn_type: str, options: Mapping[str, Any], known: frozenset[str]) -> None:
    """Refuse unknown options and those of the wrong type.

    :param known: the names that the backend takes.
    :raises ConfigurationError: naming the option.
    """
    unknown = sorted(set(options) - known)
    if unknown:
        raise ConfigurationError(
            f"backend_options {', '.join(unknown)} are unknown to {conn_type}; known are {', '.join(sorted(known))}"
        )
    for name, value in options.items():
        wanted, expected = _KINDS.get(name, (object, ""))
        # True is an int in Python.
        if value is not None and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
            raise ConfigurationError(f"backend_options {name} must be {expected}, not {type(value).__name__}")
