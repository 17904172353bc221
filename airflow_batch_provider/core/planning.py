"""How requests are cut into shards: each within the provider's limits, none below its minimum, as even as can be.

Deterministic: the same sizes and limits give the same cuts.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from math import ceil
from types import MappingProxyType

from airflow_batch_provider.core.counts import LARGE_ROW, counted
from airflow_batch_provider.core.errors import InputError, Problem
from airflow_batch_provider.core.records import Admission, Limits, Shard
from airflow_batch_provider.core.sizes import job_limits
from airflow_batch_provider.core.validation import Group

_ANY = Admission()


def cut(
    sizes: Sequence[int],
    limits: Limits,
    tokens: Sequence[int] = (),
    max_tokens: int | None = None,
    lines: Sequence[int] = (),
) -> list[int] | None:
    """How many rows each shard takes, in order.

    :param sizes: bytes of each row's wire lines; each alone fits.
    :param tokens: input tokens of each row, required where ``max_tokens`` is given.
    :param max_tokens: tokens of one shard; a single row may have more.
    :param lines: wire lines of each row, which the limits count; one each where it is empty.
    :return: row counts that add up to ``len(sizes)``; None when no cut holds both the maximum and the minimum.
    """
    if not sizes:
        return []
    ends = _ends(lines) if lines else range(len(sizes) + 1)
    fewest = _fewest(sizes, limits, tokens, max_tokens, ends)
    if fewest is None:
        return None
    even = _fill(sizes, limits, tokens, max_tokens, ends, len(fewest))
    return even if len(even) == len(fewest) and _least(even, ends) >= limits.min_rows else fewest


def _ends(lines: Sequence[int]) -> Sequence[int]:
    """The wire lines before each row, and those of all rows last."""
    return array("L", accumulate(lines, initial=0))


def _least(counts: Sequence[int], ends: Sequence[int]) -> int:
    """The wire lines of the smallest shard."""
    edges = [ends[row] for row in accumulate(counts, initial=0)]
    return min(after - before for before, after in pairwise(edges))


def _fewest(
    sizes: Sequence[int], limits: Limits, tokens: Sequence[int], max_tokens: int | None, ends: Sequence[int]
) -> list[int] | None:
    """The fewest shards that hold every limit, however uneven; one pass."""
    best: list[int | None] = [0]
    """The fewest shards up to a row, None where no cut ends there."""
    starts = [0]
    candidates: deque[int] = deque()
    """Where a shard that ends here may start, each with fewer shards before it than those that come after."""
    first = size = queued = start = 0
    for end in range(1, len(sizes) + 1):
        size += sizes[end - 1]
        queued += tokens[end - 1] if max_tokens is not None else 0
        while end - first > 1 and (
            ends[end] - ends[first] > limits.max_rows
            or size > limits.max_bytes
            or (max_tokens is not None and queued > max_tokens)
        ):
            size -= sizes[first]
            queued -= tokens[first] if max_tokens is not None else 0
            first += 1
        while start < end and ends[end] - ends[start] >= limits.min_rows:
            if (known := best[start]) is not None:
                while candidates and (best[candidates[-1]] or 0) >= known:
                    candidates.pop()
                candidates.append(start)
            start += 1
        while candidates and candidates[0] < first:
            candidates.popleft()
        best.append((best[candidates[0]] or 0) + 1 if candidates else None)
        starts.append(candidates[0] if candidates else 0)
    if best[-1] is None:
        return None
    counts, end = [], len(sizes)
    while end:
        counts.append(end - starts[end])
        end = starts[end]
    return counts[::-1]


def _fill(
    sizes: Sequence[int],
    limits: Limits,
    tokens: Sequence[int],
    max_tokens: int | None,
    ends: Sequence[int],
    shards: int,
) -> list[int]:
    """Fill one shard after the other.

    :param shards: how many there shall be, of nearly equal wire lines; more come where bytes or tokens require it.
    """
    counts: list[int] = []
    position = 0
    while position < len(sizes):
        # A shard cut short by bytes pushes its rest evenly onto those that follow.
        target = min(limits.max_rows, ceil((ends[-1] - ends[position]) / max(1, shards - len(counts))))
        taken = size = queued = 0
        for row in range(position, len(sizes)):
            full = ends[row + 1] - ends[position] > target
            size += sizes[row]
            queued += tokens[row] if max_tokens is not None else 0
            if taken and (full or size > limits.max_bytes or (max_tokens is not None and queued > max_tokens)):
                break
            taken += 1
        counts.append(taken)
        position += taken
    return counts


def plan_shards(
    path: str,
    groups: Sequence[Group],
    limits: Limits,
    round_no: int,
    admission: Admission = _ANY,
    halved: Mapping[str | None, int] = MappingProxyType({}),
) -> list[Shard]:
    """The shards of one round, model after model in the order they first appear.

    :param path: how the error calls the file.
    :param admission: no shard has more tokens than may be enqueued at once.
    :param halved: the most rows of a shard, by model, where larger ones did not fit into the provider's queue; given up
        where the provider's minimum forbids it.
    :raises InputError: when a model has fewer rows than the provider's minimum, or none of the cuts holds.
    """
    shards: list[Shard] = []
    problems: list[Problem] = []
    for group in groups:
        most = admission.tokens_of(group.model)
        allowed = job_limits(group.endpoint, limits)
        smaller = replace(
            allowed, max_rows=max(limits.min_rows, min(allowed.max_rows, halved.get(group.model, 1 << 60)))
        )
        counts = _cut(group, smaller, most) or _cut(group, allowed, most)
        if counts is None:
            problems.append(Problem(None, "", _refusal(group, allowed, most)))
            continue
        position = 0
        for rows in counts:
            own = slice(position, position + rows)
            shards.append(_shard(group, own, round_no, len(shards)))
            position += rows
    if problems:
        raise InputError(path, problems)
    return shards


def _shard(group: Group, own: slice, round_no: int, index: int) -> Shard:
    caps, most = group.caps[own], group.most[own]
    return Shard(
        round_no,
        index,
        len(group.sizes[own]),
        sum(group.sizes[own]),
        group.model,
        group.endpoint,
        tokens=sum(group.tokens[own]),
        output_tokens=sum(cap for cap in caps if cap > 0),
        uncapped=caps.count(-1),
        variant=group.variant,
        most_tokens=sum(most),
        sound_tokens=sum(group.sound[own]),
        media_rows=sum(group.media[own]),
        unsized=sum(group.unsized[own]),
        large=tuple(row for row in zip(most, caps, group.sound[own], strict=True) if row[0] + row[2] > LARGE_ROW),
    )


def _cut(group: Group, limits: Limits, max_tokens: int | None) -> list[int] | None:
    return cut(group.sizes, limits, group.tokens, max_tokens, group.lines)


def _refusal(group: Group, limits: Limits, most: int | None) -> str:
    rows = counted(len(group.sizes), "row")
    who = f"model {group.model!r} on {group.endpoint}"
    if group.total_lines < limits.min_rows:
        return (
            f"{who} has {rows}; the provider requires at least {limits.min_rows:,} per job ({limits.source}); "
            "add rows, or send them on a connection without this minimum"
        )
    if most is not None and _cut(group, limits, None) is not None:
        return (
            f"{who} has {rows} of up to {sum(group.tokens):,} tokens; they cannot be split within both the "
            f"provider's minimum of {limits.min_rows} rows and max_enqueued_tokens={most:,}; raise max_enqueued_tokens"
        )
    return (
        f"{who} has {rows} of {sum(group.sizes):,} bytes; they cannot be split within both the provider's minimum of "
        f"{limits.min_rows} rows and its maximum of {limits.max_bytes:,} bytes per file ({limits.source}); "
        "shorten the requests"
    )
