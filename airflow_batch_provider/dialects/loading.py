"""JSON of lines that others wrote, mended where a paid answer can be saved by it."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
from typing import Any

import orjson

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.base import ID_FIELDS

_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_DIGITS = 300
_IDS = (*ID_FIELDS, "recordId")


def load_line(line: bytes) -> Any:
    """A line's JSON, mended where a paid answer can be saved by it, None where it is none."""
    return load(line)[0]


def load(line: bytes) -> tuple[Any, bool]:
    """The line's JSON, None where it is none, and whether it had to be mended: half a surrogate pair of a cut answer,
    ``NaN``, broken UTF-8, numbers beyond a double and the comma of a list are strangers to JSON Lines, but the row was
    answered and paid."""
    try:
        return _exact_ids(orjson.loads(line), line)
    except orjson.JSONDecodeError:
        pass
    try:
        data = json.loads(
            line.decode("utf-8", "replace").rstrip(", "),
            parse_constant=lambda _: None,
            parse_float=_finite,
            parse_int=_whole,
        )
        text = json.dumps(data, ensure_ascii=False)
        return _exact_ids(orjson.loads(_SURROGATE.sub("\ufffd", text)), line)[0], True
    except (ValueError, RecursionError):
        return None, False


def _exact_ids(data: Any, line: bytes | str) -> tuple[Any, bool]:
    """The same with its ids as texts where they are whole numbers of more than 64 bits: orjson keeps 17 digits of them.

    :return: also whether there were any.
    """
    if not isinstance(data, dict):
        return data, False
    long = [name for name in _IDS if type(data.get(name)) is float]
    if not long:
        return data, False
    exact: JSON = {}
    with contextlib.suppress(ValueError, RecursionError):
        exact = json.loads(line, parse_int=str)
    texts = {name: exact[name] for name in long if isinstance(exact.get(name), str)}
    return {**data, **texts} if texts else data, bool(texts)


def _whole(text: str) -> int | float:
    """A whole number; of one that no double holds, its size alone."""
    return int(text) if len(text) < _MOST_DIGITS else math.copysign(sys.float_info.max, -1 if text[0] == "-" else 1)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None
