"""Cells of a database, as drivers hand them out, in the few types that templates and JSON know."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Set
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypeAlias

Plain: TypeAlias = "str | int | float | Decimal | list[Any] | dict[str, Any] | None"


def plain(value: Any) -> Plain:
    """A cell as a template sees it.

    NULL is None, which templates write as nothing; text and numbers are kept, a ``Decimal`` exactly; dates and times
    become ISO 8601; JSON, arrays and records lists and dicts, which templates write as JSON; bytes base64; everything
    else (UUID, interval, address) the text that it has.

    :raises TypeError: for a value without a text of its own.
    """
    if value is None or type(value) in (str, int, float, bool, Decimal):
        return value  # type: ignore[no-any-return]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, Set)):
        return [plain(item) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, (str, int, float, Decimal)):
        return value
    if callable(getattr(value, "read", None)):  # a large object, e.g. Oracle's CLOB
        return plain(value.read())
    kind: Any = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:  # its text would be an address in memory
        raise TypeError(f"a {kind.__name__} has no text; cast the column to text in the SELECT")
    return str(value)
