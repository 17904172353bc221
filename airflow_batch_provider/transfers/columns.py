"""The columns of the table of results, and those that the author adds from an answer's JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.transfers.tables import IDENTIFIER

COLUMNS = {
    "run_key": "TEXT NOT NULL",
    "custom_id": "TEXT NOT NULL",
    "outcome": "TEXT NOT NULL",
    "status_code": "INTEGER",
    "content": "TEXT",
    "finish_reason": "TEXT",
    "error_code": "TEXT",
    "error_message": "TEXT",
    "prompt_tokens": "BIGINT",
    "completion_tokens": "BIGINT",
    "cost_usd": "NUMERIC",
    "model": "TEXT",
    "route": "TEXT",
    "job_id": "TEXT",
    "response": "TEXT",
    "loaded_at": "TEXT NOT NULL",
}
JSON_COLUMN = "content_json"
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_JSON = object()


@dataclass(frozen=True, slots=True)
class Extras:
    """The columns that the author adds to :data:`COLUMNS`.

    :param parse_json: ``content_json``.
    :param paths: of fields of the answer's JSON, by column.
    """

    parse_json: bool = False
    paths: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def checked(cls, *, parse_json: bool, json_fields: Mapping[str, str] | None) -> Extras:
        """From the operator's arguments.

        :raises ConfigurationError: when a column's name or a path is not valid.
        """
        fields = json_fields or {}
        taken = {*COLUMNS, JSON_COLUMN}
        for column, path in fields.items():
            if not IDENTIFIER.fullmatch(column) or column.lower() in taken:
                raise ConfigurationError(
                    f"json_fields: {column!r} is not a valid column name; use letters, digits and _, at most 63, no "
                    f"digit first, and none of {', '.join(sorted(taken))}"
                )
            if not isinstance(path, str) or not all(path.split(".")):
                raise ConfigurationError(
                    f'json_fields: {column!r} requires a path in the answer, e.g. "result.score" or "items.0"'
                )
            taken.add(column.lower())
        return cls(parse_json, {column: path.split(".") for column, path in fields.items()})

    @property
    def columns(self) -> dict[str, str]:
        """All columns of the table with their types."""
        names = [*([JSON_COLUMN] if self.parse_json else []), *self.paths]
        return COLUMNS | dict.fromkeys(names, "TEXT")

    def values(self, content: str | None) -> Iterator[str | None]:
        """Their values."""
        if self.parse_json:
            yield _json_or_none(content)
        if self.paths:
            answer = _parsed(content)
            for path in self.paths.values():
                yield _cell(_at(answer, path))


def clean(text: str | None) -> str | None:
    """Without NUL, which PostgreSQL cannot store in any type of text."""
    return text.replace("\x00", "\ufffd") if text else text


def clean_json(text: str | None) -> str | None:
    r"""Without ``\u0000``, which JSONB refuses; ``\\u0000`` is a backslash and a word."""
    return _ESCAPED_NUL.sub("\\1\ufffd", text) if text and "\\u0000" in text else text


def _json_or_none(text: str | None) -> str | None:
    try:
        orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return None
    return clean_json(text)


def _parsed(text: str | None) -> Any:
    if not text:
        return _NOT_JSON
    try:
        # Not orjson, which turns an id of more than 64 bits into a float.
        return json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _cell(value: Any) -> str | None:
    """Text as it is, null and what is not there as NULL, everything else as JSON."""
    if value is None or value is _NOT_JSON:
        return None
    text = value if isinstance(value, str) else clean_json(json.dumps(value, ensure_ascii=False))
    return clean(_SURROGATE.sub("\ufffd", text or ""))
