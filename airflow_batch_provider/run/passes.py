"""What one pass over the shards of a round finds, and what it sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_batch_provider.core.errors import BatchInferenceError, LostCreateError, PermanentError
from airflow_batch_provider.core.records import Shard
from airflow_batch_provider.run.submitter import Unsure


@dataclass(slots=True)
class Sending:
    """What one pass has sent.

    :param jobs: ids by shard.
    :param look_at: when to look again.
    :param unsure: creates of which a look must find the outcome.
    """

    live: list[Shard]
    jobs: dict[str, str]
    look_at: list[float] = field(default_factory=list)
    lost: list[LostCreateError] = field(default_factory=list)
    created: list[Shard] = field(default_factory=list)
    unsure: list[tuple[Shard, Unsure]] = field(default_factory=list)

    def take(self, shard: Shard, send: Callable[[], str | float | Unsure | None]) -> None:
        """Send one shard, and note what came of it."""
        try:
            outcome = send()
        except LostCreateError as error:
            self.lost.append(error)
            return
        if isinstance(outcome, str):
            self.jobs[shard.name] = outcome
            self.live.append(shard)
            self.created.append(shard)
        elif isinstance(outcome, Unsure):
            self.unsure.append((shard, outcome))
        elif outcome is not None:
            self.look_at.append(outcome)


@dataclass(slots=True)
class Pass:
    """What one pass over the shards has found so far.

    :param live: shards that have their place in the provider's queue.
    :param jobs: ids of live jobs by shard.
    :param look_at: when to look again for what was not found, or not answered.
    :param errors: why jobs could not be read; they are looked at again while others are waited for.
    :param borrowed: ids of jobs that another run directory made.
    """

    live: list[Shard] = field(default_factory=list)
    unsent: list[Shard] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)
    look_at: list[float] = field(default_factory=list)
    errors: list[BatchInferenceError] = field(default_factory=list)
    borrowed: set[str] = field(default_factory=set)

    @property
    def worst(self) -> BatchInferenceError:
        """What a person must mend comes before what passes by itself."""
        return next((error for error in self.errors if isinstance(error, PermanentError)), self.errors[0])
