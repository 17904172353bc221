"""What Vertex AI's importer for Gemini batches accepts: it reads the file as BigQuery reads a table.

Every path of a line becomes a column with one type over the whole file. A line that breaks a rule fails the whole job
before a single row ran. Rules: errors seen live; columns a table: BigQuery's
quotas; names alike but for their case, lists of lists, integers beside floats: BigQuery's rules for columns, taken at
their strictest, since Google documents none of this for batches.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from airflow_batch_provider.core.records import JSON

MAX_DEPTH = 15
MAX_COLUMNS = 10_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}", re.ASCII)
_KINDS: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "float", dict: "object"}

Columns: TypeAlias = "dict[str, str]"
"""Path in lower case -> the name as it was written and the type, e.g. ``"request.a[].B" -> "B object"``."""


class NotImportableError(Exception):
    """A value that the importer takes in no file.

    :param path: where it is.
    :param reason: what is wrong, with the remedy.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


def columns(value: JSON, path: str = "", depth: int = 0) -> Columns:
    """The columns that a value takes; integers beside floats of the same column become floats, in place.

    :param path: where the value is, for messages.
    :param depth: names above it.
    :raises NotImportableError: naming the path.
    """
    seen: Columns = {}
    mixed: set[str] = set()
    _object(value, path, path.lower(), depth, seen, mixed)
    if mixed:
        _widen(value, path.lower(), mixed)
        for column in mixed:
            seen[column] = seen[column].rpartition(" ")[0] + " float"
    return seen


def _object(value: JSON, path: str, column: str, depth: int, seen: Columns, mixed: set[str]) -> None:
    if not value:
        raise NotImportableError(path, "an empty object has no columns; leave it out")
    if depth >= MAX_DEPTH:
        raise NotImportableError(path, f"nested more than {MAX_DEPTH} levels deep; flatten it")
    for name, item in value.items():
        below = f"{path}.{name}" if path else name
        if not _NAME.fullmatch(name):
            rule = "may have letters, digits and underscores only and begin with no digit"
            raise NotImportableError(below, f"a name becomes a column: it {rule}; rename it")
        key = f"{column}.{name.lower()}" if column else name.lower()
        if isinstance(item, list):
            _note(seen, mixed, key, f"{name} array", below)
            for index, element in enumerate(item):
                _value(element, f"{below}[{index}]", f"{key}[]", "", depth + 1, seen, mixed)
        else:
            _value(item, below, key, name, depth + 1, seen, mixed)


def _value(item: Any, path: str, key: str, name: str, depth: int, seen: Columns, mixed: set[str]) -> None:
    kind = _KINDS.get(type(item))
    if kind is None:
        what = "null" if item is None else "a list inside a list"
        raise NotImportableError(path, f"{what} has no column type; leave it out or write it as text")
    _note(seen, mixed, key, f"{name} {kind}", path)
    if kind == "object":
        _object(item, path, key, depth, seen, mixed)


def _note(seen: Columns, mixed: set[str], key: str, found: str, path: str) -> None:
    known = seen.setdefault(key, found)
    if known == found:
        return
    name, _, kind = found.rpartition(" ")
    known_name, _, known_kind = known.rpartition(" ")
    if name != known_name:
        raise NotImportableError(path, f"{known_name!r} and {name!r} are one column, whose names differ in case only")
    if {kind, known_kind} != {"integer", "float"}:
        raise NotImportableError(path, f"{kind} here and {known_kind} elsewhere in one column; write one type, or text")
    mixed.add(key)


def _widen(value: JSON, column: str, mixed: set[str]) -> None:
    for name, item in value.items():
        key = f"{column}.{name.lower()}" if column else name.lower()
        if isinstance(item, list):
            for index, element in enumerate(item):
                if isinstance(element, dict):
                    _widen(element, f"{key}[]", mixed)
                elif f"{key}[]" in mixed:
                    item[index] = float(element)
        elif isinstance(item, dict):
            _widen(item, key, mixed)
        elif key in mixed:
            value[name] = float(item)


def pruned(value: Any, depth: int = 0) -> Any:
    """A copy without the nulls and empty objects that the importer takes nowhere; None for nothing left.

    Elements of lists are kept, so that none moves; what is nested too deeply is left for :func:`columns` to refuse.
    """
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, dict):
        kept = {name: made for name, item in value.items() if (made := pruned(item, depth + 1)) is not None}
        return kept or None
    if isinstance(value, list):
        return [item if (made := pruned(item, depth + 1)) is None else made for item in value]
    return value
