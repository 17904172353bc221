"""Which shards may be sent now, so that a provider's queue is filled and not overfilled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from airflow_batch_provider.core.records import Admission, Shard


def admit(unsent: Iterable[Shard], live: Iterable[Shard], limits: Admission) -> list[Shard]:
    """The shards that fit beside those that live, in order.

    :param live: sent, or about to be; their jobs have not ended.
    :return: a shard that is larger than the limit goes when nothing of its model lives, for waiting helps it no more.
    """
    queued: Counter[str | None] = Counter()
    alive: Counter[str | None] = Counter()
    for shard in live:
        queued[shard.model] += shard.tokens
        alive[shard.model] += 1
    admitted: list[Shard] = []
    for shard in unsent:
        if limits.max_jobs is not None and alive.total() >= limits.max_jobs:
            break
        most = limits.tokens_of(shard.model)
        if most is not None and alive[shard.model] and queued[shard.model] + shard.tokens > most:
            continue
        queued[shard.model] += shard.tokens
        alive[shard.model] += 1
        admitted.append(shard)
    return admitted


def waves(shards: Sequence[Shard], limits: Admission) -> list[list[Shard]]:
    """The shards as they are sent, if all jobs of a wave end before the next begins."""
    left, sent = list(shards), []
    while left:
        wave = admit(left, (), limits)
        sent.append(wave)
        gone = {shard.name for shard in wave}
        left = [shard for shard in left if shard.name not in gone]
    return sent
