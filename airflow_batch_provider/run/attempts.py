"""What the ledger knows of a run: its rounds, the creates of each shard, and how their jobs ended."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_batch_provider.core.reconciling import why_failed
from airflow_batch_provider.core.records import Refusal, Shard
from airflow_batch_provider.core.submission import LastCreate
from airflow_batch_provider.run.facts import Cancel, End, Intent, Made, Refused, Twin


@dataclass(slots=True)
class Attempt:
    """One create of one shard, as far as it got.

    :param lost: in the shape of an end: its job, or the answers, are gone until a later try finds them.
    :param ended: how its job ended, for good.
    :param twins: each second job of the same create.
    :param doubted: whether a look at its job once found less than there should be.
    """

    number: int
    intent: Intent | None = None
    job: Made | None = None
    refused: Refused | None = None
    cancel: Cancel | None = None
    lost: End | None = None
    ended: End | None = None
    twins: list[Twin] = field(default_factory=list)
    doubted: bool = False

    @property
    def is_forgotten(self) -> bool:
        """Whether a doubt in its job is all that is left: which job that was, and whose, is gone with its record."""
        facts = (self.intent, self.job, self.refused, self.cancel, self.lost, self.ended)
        return self.doubted and not self.twins and all(fact is None for fact in facts)

    @property
    def token(self) -> str:
        """The name of the create at the provider; empty where it has none, or its intent is gone."""
        return self.intent.token if self.intent else ""

    @property
    def input_id(self) -> str | None:
        """The upload of the create."""
        return self.intent.input_id if self.intent else None

    @property
    def intent_at(self) -> float:
        """When the create was fenced, seconds since the epoch."""
        return self.intent.at if self.intent else 0.0

    @property
    def is_given_up(self) -> bool:
        """Whether its rows were given up before they were sent."""
        return self.intent is not None and self.intent.given_up is not None

    @property
    def made_nothing(self) -> bool:
        """Whether the provider is known to have made no job of it: it was refused, or given up before it was sent."""
        return (self.refused is not None or self.is_given_up) and self.job_id is None

    @property
    def _source(self) -> Made | Intent | None:
        """What names the job; an intent does where the job was found without its record."""
        return self.job or self.intent

    @property
    def job_id(self) -> str | None:
        """The provider's id, None while it is not known."""
        return self._source.job_id if self._source else None

    @property
    def console_url(self) -> str | None:
        """The provider's page of the job."""
        return self.job.console_url if self.job else None

    @property
    def is_borrowed(self) -> bool:
        """Whether the job is not proven to be this directory's, so that it is read and never cancelled."""
        return self._source is not None and self._source.borrowed

    @property
    def same(self) -> Sequence[str]:
        """Further jobs of the same bytes, which may answer what this borrowed one has left open."""
        return self.intent.same if self.intent else ()

    @property
    def is_beside(self) -> bool:
        """Whether its job is read for the rows that another job of the same bytes has left open."""
        return self.number > 1 and self.intent is not None and self.intent.borrowed

    @property
    def open_surplus(self) -> list[str]:
        """Further jobs of the create that were found with its job, and of which none is known to be cancelled yet."""
        done = {twin.job_id for twin in self.twins}
        return [one for one in self._source.surplus if one not in done] if self._source else []

    @property
    def may_live(self) -> bool:
        """Whether what became of the create is unknown: it may have made a job that bills."""
        return self.end is None and self.job_id is None and not self.made_nothing and self.intent is not None

    @property
    def end(self) -> End | None:
        """How it ended, None while it lives; what is lost has ended, until a later try finds it."""
        return self.ended or self.lost

    @property
    def is_lost(self) -> bool:
        """Whether its job or answers are gone, and its rows were not sent again."""
        return self.lost is not None and self.ended is None

    def as_last(self) -> LastCreate:
        """What the decision table needs to know."""
        return LastCreate(self.number, self.intent_at, self.job_id, refused=self.made_nothing)


@dataclass(slots=True)
class Round:
    """One sending: its shards and their attempts, by shard name.

    :param not_before: when its first job may be created, seconds since the epoch; 0 for at once.
    :param max_tokens: enqueued input tokens by model, where the round before did not fit into the provider's queue.
    :param forgotten: shards that had a job of which a doubt is all that is left in the record.
    """

    number: int
    shards: list[Shard]
    planned_at: float
    not_before: float = 0.0
    max_tokens: Mapping[str, int] = field(default_factory=dict)
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)

    def add(self, shard: str, attempt: Attempt) -> None:
        """Take in what is known of a shard's next create."""
        attempts = self.attempts.setdefault(shard, [])
        if attempt.is_forgotten:
            self.forgotten.add(shard)
            return
        if attempt.refused is not None and attempt.refused.first is not None:
            # It stands for earlier refusals, whatever is left of their files.
            attempts[:] = [one for one in attempts if one.number < attempt.refused.first]
        attempts.append(attempt)

    def last(self, shard: Shard) -> Attempt | None:
        """The newest create of a shard."""
        attempts = self.attempts.get(shard.name)
        return attempts[-1] if attempts else None

    def creates(self) -> Iterator[tuple[Shard, Attempt]]:
        """Every create with its shard, those of a shard oldest first."""
        return ((shard, attempt) for shard in self.shards for attempt in self.attempts.get(shard.name, ()))

    def over_quota(self) -> list[Shard]:
        """The shards that did not fit into the provider's queue, so none of their rows ran."""
        ends = ((shard, attempt.end) for shard in self.shards if (attempt := self.last(shard)) and attempt.end)
        return [shard for shard, end in ends if end.was_not_asked and why_failed(end.errors) is Refusal.FULL]

    def ends(self) -> list[End]:
        """How its creates ended, as far as they have."""
        return [end for _, attempt in self.creates() if (end := attempt.end)]

    def job_ids(self) -> set[str]:
        """All its jobs, as far as they are known."""
        return {attempt.job_id for _, attempt in self.creates() if attempt.job_id}

    def last_refusal(self, shards: Sequence[Shard]) -> str:
        """The provider's words of the last refusal of a create of these shards, as a sentence after a space; empty
        where there was none."""
        refusals = [last.refused for shard in shards if (last := self.last(shard)) and last.refused]
        newest = max(refusals, key=lambda refused: refused.at, default=None)
        if newest is None:
            return ""
        times = f" (of {newest.times} in a row)" if newest.times > 1 else ""
        return f" Last refusal{times}: {newest.error}."


def creates(rounds: Iterable[Round]) -> Iterator[tuple[Shard, Attempt]]:
    """Every create of a run with its shard, the first round first."""
    return itertools.chain.from_iterable(a_round.creates() for a_round in rounds)


def newest(rounds: Iterable[Round]) -> Iterator[tuple[Shard, Attempt | None]]:
    """Every shard of a run with its newest create, None where there is none yet."""
    return ((shard, a_round.last(shard)) for a_round in rounds for shard in a_round.shards)


def unended(rounds: Sequence[Round]) -> Round:
    """The round to go on with: the last one, or an earlier one of which a part of the record was deleted since."""
    open_rounds = (shard.round for shard, last in newest(rounds) if last is None or last.end is None)
    return rounds[next(open_rounds, -1)]
