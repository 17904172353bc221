"""Over all rounds, which result of a row counts, by reading every file once.

The result of a row's last round counts, because a row is only sent again when it had no answer. So the last round is
read first, and what an earlier one says of a row that came already is passed over. Where the first round is to be
written first, what is taken is put aside on disk meanwhile.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import BinaryIO, TypeAlias, cast

from airflow_batch_provider.core.reconciling import NOT_COLLECTED
from airflow_batch_provider.core.records import BatchResult, Shard
from airflow_batch_provider.dialects.openai import error_line, read_line
from airflow_batch_provider.run import shard_files
from airflow_batch_provider.run.storage import RunDirectory

Raw: TypeAlias = "Callable[[], bytes]"
"""The request of a row. Its file is opened when the first one is needed: most rows succeed, and none is."""


class _Requests:
    """The requests of a shard, in ascending order of their places."""

    def __init__(self, directory: RunDirectory, shard: Shard) -> None:
        self._lines = shard_files.requests(directory, shard)
        self._next = 0

    def at(self, place: int) -> bytes:
        """The request at a place; the same one may not be read twice."""
        skipped, self._next = place - self._next, place + 1
        return next(itertools.islice(self._lines, skipped, None))[1]


def latest_results(
    directory: RunDirectory,
    rounds: Sequence[Sequence[Shard]],
    asked: Counter[str],
    *,
    pending: Mapping[str, str] = MappingProxyType({}),
    passed_over: Collection[str] = (),
) -> Iterator[tuple[Shard, Iterator[tuple[Raw, BatchResult]]]]:
    """Every shard with those of its rows whose latest result it has, the last round first; over all shards every
    row comes once. The rows of a shard are to be read to their end before the next one is taken.

    :param asked: empty; when the last row is read, how often each was sent again.
    :param pending: shards that are not collected yet, and what is to be said of their rows.
    :param passed_over: shards of which no row is needed.
    """
    newest_first = [shard for shards in reversed(rounds) for shard in shards]
    read = [shard for shard in newest_first if shard.name not in passed_over and shard.name not in pending]
    with contextlib.closing(
        directory.open_in_turn((shard_files.results_name(shard), shard.size) for shard in read)
    ) as streams:
        for shard in newest_first:
            if shard.name in passed_over:
                if shard.round:
                    asked.update(custom_id for custom_id, _ in shard_files.requests(directory, shard))
                continue
            reason = pending.get(shard.name)
            if reason is None:
                found = _rows(directory, shard, next(streams))
            else:
                found = _pending_rows(directory, shard, reason)
            yield shard, _last(found, asked, again=shard.round > 0)


def _last(
    found: Iterator[tuple[Raw, BatchResult]], asked: Counter[str], *, again: bool
) -> Iterator[tuple[Raw, BatchResult]]:
    for raw, result in found:
        custom_id = str(result.custom_id)
        is_last = custom_id not in asked
        if again:
            asked[custom_id] += 1
        if is_last:
            yield raw, result


def _rows(directory: RunDirectory, shard: Shard, stream: BinaryIO) -> Iterator[tuple[Raw, BatchResult]]:
    requests = _Requests(directory, shard)
    for place, result in enumerate(shard_files.results(directory, shard, stream)):
        yield functools.partial(requests.at, place), result


def _pending_rows(directory: RunDirectory, shard: Shard, reason: str) -> Iterator[tuple[Raw, BatchResult]]:
    for custom_id, raw in shard_files.requests(directory, shard):
        yield functools.partial(bytes, raw), read_line(error_line(custom_id, NOT_COLLECTED, reason))


class Aside:
    """Lines that come last round first, and are read first round first."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._rounds: list[tuple[int, int]] = []

    def write(self, round_no: int, *lines: bytes) -> None:
        """Put lines of a round aside; those of one round come together."""
        if not self._rounds or self._rounds[-1][0] != round_no:
            self._rounds.append((round_no, self._stream.tell()))
        for line in lines:
            self._stream.write(line)
            self._stream.write(b"\n")

    def __bool__(self) -> bool:
        return bool(self._rounds)

    def lines(self) -> Iterator[bytes]:
        """All of them, as often as they are read; nothing may be written any more."""
        self._stream.seek(0, 2)
        end = self._stream.tell()
        for _, start in reversed(self._rounds):
            self._stream.seek(start)
            left = end - start
            while left:
                line = self._stream.readline()
                left -= len(line)
                yield line[:-1]
            end = start


@contextlib.contextmanager
def aside() -> Iterator[Aside]:
    """A place on the worker's disk without a name, which is gone when the block ends."""
    with tempfile.TemporaryFile(prefix="airflow-batch-") as stream:
        yield Aside(cast(BinaryIO, stream))
