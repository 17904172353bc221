"""The files of a shard, read as they were written: whoever changed or cut one is named, and nothing is guessed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

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


def results(directory: RunDirectory, shard: Shard) -> Iterator[BatchResult]:
    """The result of each request, in order.

    :raises RunConflictError: as :func:`requests`.
    """
    name = f"collected/{shard.name}.jsonl"
    for number, raw in _lines(directory, name, shard.rows):
        result = read_line(raw)
        if result.custom_id is None:
            raise directory.changed(name, f"holds no result in line {number}")
        yield result


def _lines(directory: RunDirectory, name: str, rows: int) -> Iterator[tuple[int, bytes]]:
    number = 0
    with directory.open(name) as stream:
        for number, raw in read_lines(stream):
            if number > rows:
                break
            yield number, raw
    if number != rows:
        raise directory.changed(name, f"has {'more' if number > rows else 'fewer'} lines than the {rows} written")


def check_wire(directory: RunDirectory, shard: Shard, name: str) -> None:
    """Make sure that a wire file is what was planned, before it is uploaded.

    :param name: of the file.
    :raises RunConflictError: as :func:`requests`.
    """
    if not shard.digest:
        return  # an earlier version planned it
    if digest(directory, name) != shard.digest:
        raise directory.changed(name, "was changed")


def digest(directory: RunDirectory, name: str) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with directory.open(name) as stream:
        while chunk := stream.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()
