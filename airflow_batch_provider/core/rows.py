"""The author's data, row by row, from CSV or JSON Lines; what cannot be read is a problem with its line number."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal, NoReturn, TypeAlias, cast

from airflow_batch_provider.core.counts import counted
from airflow_batch_provider.core.encoding import not_text, not_utf8
from airflow_batch_provider.core.errors import ConfigurationError, InputError, Problem
from airflow_batch_provider.core.jsonl import decompress, read_lines

RowFormat: TypeAlias = Literal["csv", "jsonl"]
NumberedRow: TypeAlias = "tuple[int, Row | Problem]"

_FORMATS: dict[str, tuple[RowFormat, str]] = {
    ".csv": ("csv", ","),
    ".tsv": ("csv", "\t"),
    ".jsonl": ("jsonl", ""),
    ".ndjson": ("jsonl", ""),
}
_HEAD = 64
_LARGEST_FIELD = 1 << 30
"""Python stops at 128 KB a field, which a document in a column exceeds."""


class Row(dict[str, Any]):
    """One row of the author's data by column name."""


def format_of(path: str) -> tuple[RowFormat, str]:
    """Format and usual delimiter of a file, by its name.

    :raises ConfigurationError: when the name says neither.
    """
    name = path.lower().removesuffix(".gz")
    for suffix, known in _FORMATS.items():
        if name.endswith(suffix):
            return known
    raise ConfigurationError(
        f"{path!r}: the format is not clear from the file name; use a name that ends in .csv, .tsv, .jsonl or "
        '.ndjson (or with .gz after it), or give source_format="csv" or "jsonl"'
    )


def read_rows(stream: BinaryIO, path: str, source_format: RowFormat, delimiter: str = ",") -> Iterator[NumberedRow]:
    """Every row with the number of the line on which it begins, or what is wrong with it. Blank lines are not rows.

    :param stream: the file, gzipped or not; read as it goes.
    :param path: how messages call the file.
    :param delimiter: of CSV.
    :raises InputError: when the file as a whole cannot be read.
    """
    try:
        text = decompress(stream)
        if foreign := not_text(cast(io.BufferedReader, text).peek(_HEAD)[:_HEAD]):
            _refuse(path, foreign)
        yield from _read_csv(text, path, delimiter) if source_format == "csv" else _read_json_lines(text)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        _refuse(path, f"the gzip file is damaged or cut off ({error})", error)


def _refuse(path: str, message: str, error: Exception | None = None) -> NoReturn:
    raise InputError(path, [Problem(None, "", message)]) from error


def _read_csv(stream: BinaryIO, path: str, delimiter: str) -> Iterator[NumberedRow]:
    csv.field_size_limit(max(csv.field_size_limit(), _LARGEST_FIELD))
    text = io.TextIOWrapper(cast(io.BufferedReader, stream), encoding="utf-8-sig", newline="")
    # Strict: a quote that is never closed would otherwise swallow the rest of the file as one field.
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
    except (csv.Error, UnicodeDecodeError) as error:
        _refuse(path, f"the header is {_unreadable(error)}", error)
    if not header:
        _refuse(path, "the file has no header; its first line must name the columns")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        _refuse(path, f"the header names columns twice: {', '.join(map(repr, repeated))}")
    while True:
        begins = reader.line_num + 1
        try:
            values = next(reader, None)
        except (csv.Error, UnicodeDecodeError) as error:
            yield begins, Problem(begins, "", f"{_unreadable(error)}; the rest of the file was not read")
            return
        if values is None:
            return
        if len(values) == len(header):
            yield begins, Row(zip(header, values, strict=True))
        elif values:
            fields = counted(len(values), "field")
            message = f"{fields}, but the header names {len(header)}; quote fields that contain {delimiter!r}"
            yield begins, Problem(begins, "", message)


def _unreadable(error: csv.Error | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        # Text is decoded ahead of the line that is read.
        return f"not UTF-8 here or a few lines on (byte {error.object[error.start]:#04x}, {error.reason}); convert it"
    return f"not CSV ({error})"


def _read_json_lines(stream: BinaryIO) -> Iterator[NumberedRow]:
    for number, raw in read_lines(stream):
        if raw.strip():
            yield number, _json_row(number, raw)


def _json_row(number: int, raw: bytes) -> Row | Problem:
    try:
        # Not orjson, which turns an id of more than 64 bits into a float.
        value = json.loads(raw, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        return Problem(number, "", not_utf8(raw) or str(error))
    except RecursionError:
        return Problem(number, "", "nested too deeply")
    except ValueError as error:
        return Problem(number, "", f"not JSON ({error})")
    if not isinstance(value, dict):
        return Problem(number, "", f"a JSON {type(value).__name__}; every line must be an object")
    return Row(value)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
