"""The files of a shard, read as they were written: whoever changed or cut one is named, and nothing is guessed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

import orjson

from airflow_batch_provider.core.jsonl import read_lines
from airflow_batch_provider.core.records import BatchResult, Shard
from airflow_batch_provider.dialects.openai import read_line
from airflow_batch_provider.run.storage import RunDirectory


def requests(directory: RunDirectory, shard: Shard) -> Iterator[tuple[str, bytes]]:
    """Id and line of each request, in order.

    :raises RunConflictError: when the file is gone, or is not what was written.
    """
    name = f"input/{shard.name}.jsonl"
    for number, raw in _lines(directory, name, shard.rows):
        try:
            custom_id = orjson.loads(raw)["custom_id"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise directory.changed(name, f"holds no request in line {number}") from None
        yield str(custom_id), raw


def results(directory: RunDirectory, shard: Shard, stream: BinaryIO | None = None) -> Iterator[BatchResult]:
    """The result of each request, in order.

    :param stream: the file, where it is open already.
    :raises RunConflictError: as :func:`requests`.
    """
    name = results_name(shard)
    for number, raw in _lines(directory, name, shard.rows, stream):
        result = read_line(raw)
        if result.custom_id is None:
            raise directory.changed(name, f"holds no result in line {number}")
        yield result


def results_name(shard: Shard) -> str:
    """The file of the results of a shard's job."""
    return f"collected/{shard.name}.jsonl"


def _lines(
    directory: RunDirectory, name: str, rows: int, stream: BinaryIO | None = None
) -> Iterator[tuple[int, bytes]]:
    number = 0
    with stream or directory.open(name) as opened:
        for number, raw in read_lines(opened):
            if number > rows:
                break
            yield number, raw
    if number != rows:
        raise directory.changed(name, f"has {'more' if number > rows else 'fewer'} lines than the {rows} written")


def open_wire(directory: RunDirectory, shard: Shard, name: str) -> BinaryIO:
    """A wire file from its beginning, of which it is sure that it is what was planned.

    :param name: of the file.
    :raises RunConflictError: as :func:`requests`.
    """
    stream = directory.open(name)
    if not shard.digest:
        return stream  # an earlier version planned it
    try:
        if _sha256(stream) != shard.digest:
            raise directory.changed(name, "was changed")
        stream.seek(0)
    except BaseException:
        stream.close()
        raise
    return stream


def digest(directory: RunDirectory, name: str) -> str:
    """SHA-256 of a file."""
    with directory.open(name) as stream:
        return _sha256(stream)


def _sha256(stream: BinaryIO) -> str:
    found = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        found.update(chunk)
    return found.hexdigest()
