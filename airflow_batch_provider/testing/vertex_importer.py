"""Vertex AI's importer of Gemini batches, as strict as it was seen: one type per path over the whole file."""

from __future__ import annotations

import re
from typing import Any

import orjson

_HEAD = "Failed to import data. Please check 'Prepare input' section of the batch predictions documentation. "
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_DEEPEST = 15


class ImportRefusedError(Exception):
    """The whole file is refused."""


def import_problem(lines: list[bytes]) -> str | None:
    """Why the file cannot be imported, None when it can."""
    kinds: dict[str, str] = {}
    try:
        for line in lines:
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                raise ImportRefusedError(f"Invalid JSON: {line[:60]!r}") from None
            _object(value, "", 1, kinds)
    except ImportRefusedError as error:
        return _HEAD + str(error)
    return None


def _object(value: Any, path: str, depth: int, kinds: dict[str, str]) -> None:
    if not isinstance(value, dict):
        raise ImportRefusedError(f"A line must be a JSON object. Field: {path}")
    if not value:
        raise ImportRefusedError(f"Cannot store struct '{path}' with no fields")
    if depth > _DEEPEST:
        text = f"Schema nested too deeply, at least {depth} compared to the maximum allowed level of {_DEEPEST}"
        raise ImportRefusedError(text)
    for name, item in value.items():
        if not _NAME.fullmatch(name):
            raise ImportRefusedError(f'Invalid field name "{name}"')
        below = f"{path}.{name}" if path else name
        if item is None:
            raise ImportRefusedError(f"Only optional fields can be set to NULL. Field: {name}")
        if isinstance(item, list):
            _kind(below, "array", kinds)
            for element in item:
                if element is None:
                    raise ImportRefusedError(f"Only optional fields can be set to NULL. Field: {name}")
                if isinstance(element, list):
                    raise ImportRefusedError(f"Nested arrays not allowed. Field: {name}")
                _value(element, f"{below}[]", depth, kinds)
        else:
            _value(item, below, depth, kinds)


def _value(item: Any, path: str, depth: int, kinds: dict[str, str]) -> None:
    _kind(path, "object" if isinstance(item, dict) else _SCALARS[type(item)], kinds)
    if isinstance(item, dict):
        _object(item, path, depth + 1, kinds)


_SCALARS = {str: "string", bool: "boolean", int: "number", float: "number"}


def _kind(path: str, kind: str, kinds: dict[str, str]) -> None:
    known = kinds.setdefault(path, kind)
    if known != kind:
        path = path.replace("[]", "")
        if "array" in (known, kind):
            raise ImportRefusedError(f"Repeated field must be imported as a JSON array. Field: {path}.")
        raise ImportRefusedError(f"Could not convert value of type {kind} to {known}. Field: {path}.")


def retyped(value: Any) -> Any:
    """A string as the importer gives it back: what looks like a number has become one."""
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    return value
