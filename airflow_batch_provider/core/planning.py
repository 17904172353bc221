"""How requests are cut into shards: each within the provider's limits, none below its minimum, as even as can be.

Deterministic: the same sizes and limits give the same cuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from airflow_batch_provider.core.errors import InputError, Problem
from airflow_batch_provider.core.records import Limits, Shard
from airflow_batch_provider.core.validation import Group


def cut(sizes: Sequence[int], limits: Limits) -> list[int] | None:
    """How many rows each shard takes, in order.

    :param sizes: bytes of each wire line; each alone fits.
    :return: row counts that add up to ``len(sizes)``; None when no cut holds both the maximum and the minimum.
    """
    if not sizes:
        return []
    fewest = max(ceil(len(sizes) / limits.max_rows), ceil(sum(sizes) / limits.max_bytes))
    most = max(fewest, len(sizes) // max(1, limits.min_rows))
    for count in range(fewest, most + 1):
        counts = _cut_into(sizes, count, limits)
        if counts is not None:
            return counts if min(counts) >= limits.min_rows else None
    return None


def _cut_into(sizes: Sequence[int], count: int, limits: Limits) -> list[int] | None:
    """Exactly ``count`` shards of nearly equal rows, None when a limit of bytes stands against it."""
    counts: list[int] = []
    position = 0
    for left in range(count, 0, -1):
        # Rounded down, so that a shard cut short by bytes pushes its rest evenly onto those that follow.
        target = min(limits.max_rows, ceil((len(sizes) - position) / left))
        taken = size = 0
        while taken < target and size + sizes[position + taken] <= limits.max_bytes:
            size += sizes[position + taken]
            taken += 1
        if taken == 0:
            return None
        counts.append(taken)
        position += taken
    return counts if position == len(sizes) else None


def plan_shards(path: str, groups: Sequence[Group], limits: Limits, round_no: int) -> list[Shard]:
    """The shards of one round, model after model in the order they first appear.

    :param path: how the error calls the file.
    :raises InputError: when a model has fewer rows than the provider's minimum, or none of the cuts holds.
    """
    shards: list[Shard] = []
    problems: list[Problem] = []
    for group in groups:
        counts = cut(group.sizes, limits)
        if counts is None:
            problems.append(Problem(None, "", _refusal(group, limits)))
            continue
        position = 0
        for rows in counts:
            size = sum(group.sizes[position : position + rows])
            shard = Shard(round_no, len(shards), rows, size, group.model, group.endpoint, variant=group.variant)
            shards.append(shard)
            position += rows
    if problems:
        raise InputError(path, problems)
    return shards


def _refusal(group: Group, limits: Limits) -> str:
    rows = len(group.sizes)
    who = f"model {group.model!r} on {group.endpoint}"
    if rows < limits.min_rows:
        return (
            f"{who} has {rows} rows, the provider takes no fewer than {limits.min_rows} a job ({limits.source}); "
            "add rows, or ask this model on another connection"
        )
    return (
        f"{who} has {rows} rows of {sum(group.sizes):,} bytes; no cut holds both the provider's minimum of "
        f"{limits.min_rows} rows and its maximum of {limits.max_bytes:,} bytes a file ({limits.source}); "
        "shorten the requests"
    )
