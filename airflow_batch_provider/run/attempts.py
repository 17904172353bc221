"""What the ledger knows of a run: its rounds, the creates of each shard, and how their jobs ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.reconciling import why_failed
from airflow_batch_provider.core.records import JSON, JobError, JobStatus, Outcome, Refusal, Shard
from airflow_batch_provider.core.submission import LastCreate

Fact: TypeAlias = Literal["intent", "job", "refused", "cancel", "lost", "end", "twin", "doubt"]


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended.

    :param job_id: empty for rows that were given up before a job was made of them.
    :param outcomes: rows by outcome.
    :param usage: tokens of all its answers.
    :param unmetered: answers of which the provider told no tokens, so that nobody knows what they cost.
    :param cost_usd: of all its answers, at the prices of its day; None where nobody knew.
    :param lost: rows whose answer is gone at the provider; they may have been billed.
    :param lines: output lines ``received``, of them ``duplicates``, ``foreign`` (ids not asked), ``nameless`` (no id).
    """

    job_id: str
    status: str
    raw_status: str
    ended_at: float
    outcomes: dict[Outcome, int]
    usage: Usage
    errors: tuple[JobError, ...] = ()
    lines: dict[str, int] = field(default_factory=dict)
    unmetered: int = 0
    cost_usd: float | None = None
    lost: int = 0

    @property
    def was_not_asked(self) -> bool:
        """Whether the job failed as a whole, or there was none."""
        return not self.job_id or self.status == JobStatus.FAILED.value


@dataclass(slots=True)
class Attempt:
    """One create of one shard, as far as it got.

    :param twins: ``{job_id, status, cancelled}`` of each second job of the same create.
    :param doubted: whether a look at its job once found less than there should be.
    """

    number: int
    facts: dict[Fact, JSON] = field(default_factory=dict)
    twins: list[JSON] = field(default_factory=list)
    doubted: bool = False

    @property
    def intent(self) -> JSON:
        """``{token, at, input_id, request}``; of a job that was found without its record ``{token, at, job_id,
        borrowed, surplus}``; empty when lost."""
        return self.facts.get("intent", {})

    @property
    def is_forgotten(self) -> bool:
        """Whether a doubt in its job is all that is left: which job that was, and whose, is gone with its record."""
        return self.doubted and not self.facts and not self.twins

    @property
    def made_nothing(self) -> bool:
        """Whether the provider is known to have made no job of it: it was refused, or given up before it was sent."""
        return ("refused" in self.facts or "given_up" in self.intent) and self.job_id is None

    @property
    def job_id(self) -> str | None:
        """The provider's id, None while it is not known."""
        job_id = self.facts.get("job", self.intent).get("job_id")
        return None if job_id is None else str(job_id)

    @property
    def is_borrowed(self) -> bool:
        """Whether the job was not made by this directory, so that it is read and never cancelled."""
        return bool(self.facts.get("job", self.intent).get("borrowed"))

    @property
    def open_surplus(self) -> list[str]:
        """Further jobs of the create that were found with its job, and of which none is known to be cancelled yet."""
        done = {twin["job_id"] for twin in self.twins}
        return [one for one in self.facts.get("job", self.intent).get("surplus", []) if one not in done]

    @property
    def may_live(self) -> bool:
        """Whether nobody knows what became of the create: it may have made a job that bills."""
        return self.end is None and self.job_id is None and not self.made_nothing and bool(self.intent)

    @property
    def end(self) -> End | None:
        """How it ended, None while it lives; what is lost has ended, until a later try finds it."""
        data = self.facts.get("end") or self.facts.get("lost")
        if data is None:
            return None
        errors = tuple(JobError(**error) for error in data["errors"])
        return End(**{**data, "usage": Usage(**data["usage"]), "errors": errors})

    @property
    def is_lost(self) -> bool:
        """Whether its job or answers are gone, and its rows were not sent again."""
        return "lost" in self.facts and "end" not in self.facts

    def as_last(self) -> LastCreate:
        """What the decision table wants to know."""
        at = float(self.intent.get("at", 0.0))
        return LastCreate(self.number, at, self.job_id, refused=self.made_nothing)


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
    max_tokens: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)

    def over_quota(self) -> list[Shard]:
        """The shards that did not fit into the provider's queue, so that nothing of them was asked."""
        ends = ((shard, attempt.end) for shard in self.shards if (attempt := self.last(shard)) and attempt.end)
        return [shard for shard, end in ends if end.was_not_asked and why_failed(end.errors) is Refusal.FULL]

    def ends(self) -> list[End]:
        """How its creates ended, as far as they have."""
        return [end for attempts in self.attempts.values() for attempt in attempts if (end := attempt.end)]

    def job_ids(self) -> set[str]:
        """All its jobs, as far as they are known."""
        return {one.job_id for attempts in self.attempts.values() for one in attempts if one.job_id}

    def last(self, shard: Shard) -> Attempt | None:
        """The newest create of a shard."""
        attempts = self.attempts.get(shard.name)
        return attempts[-1] if attempts else None

    def last_refusal(self, shards: Sequence[Shard]) -> str:
        """The provider's words of the last refusal of a create of these shards, as a sentence after a space; empty
        where there was none."""
        facts = [last.facts.get("refused") for shard in shards if (last := self.last(shard))]
        newest = max((fact for fact in facts if fact), key=lambda fact: float(fact["at"]), default=None)
        if newest is None:
            return ""
        times = newest.get("times", 1)
        return f" Last refusal{f' (of {times} in a row)' if times > 1 else ''}: {newest['error']}."


def unended(rounds: Sequence[Round]) -> Round:
    """The round to go on with: the last one, or an earlier one of which a part of the record was deleted since."""
    for a_round in rounds:
        for shard in a_round.shards:
            last = a_round.last(shard)
            if last is None or last.end is None:
                return a_round
    return rounds[-1]
