"""What became of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.records import JSON, QUALITIES, Outcome, Quality


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What became of a run; ``summary.json`` is exactly this.

    :param outcomes: rows by outcome; they add up to ``total``.
    :param retryable: unsuccessful rows that a new try would send again.
    :param withdrawn: those of them for whose sake no try is begun: cancelled, or never sent.
    :param usage: tokens of every answer of every round, whether or not it counts in the end.
    :param cost_usd: of every answer of every round, at batch prices; None while it is unknown, which is not nothing.
    :param cost_unknown: why it is unknown.
    :param reasons: why rows did not succeed, the commonest first, with their numbers.
    :param jobs: ``{"id", "shard", "model", "status", "rows", "succeeded", "cost_usd", "cost_unknown", "console_url"}``
        of each.
    :param by_round: ``{"round", "jobs", "rows", "succeeded", "input_tokens", "output_tokens", "cost_usd"}`` of each.
    :param job_errors: first reasons of jobs that failed as a whole.
    :param answers: of the rows that succeeded, how many are ``empty``, ``cut``, ``refused``, ``filtered``, or answered
        by ``tool_calls`` or ``media`` alone; an answer may count in several.
    :param surplus: what may be billed beside ``jobs``: second jobs of one create, and creates whose answer was lost for
        good. ``{"id": job or null, "token", "shard", "status", "cancelled", "most_usd": upper end or null}`` of each;
        it is not in ``cost_usd``.
    :param stopped: why the run ended with rows that were never sent or were cancelled: the budget or the deadline;
        or the error that stopped it, while ``open`` names shards.
    :param lost: ``{"id", "shard", "rows", "code", "message"}`` of each job that is gone at the provider, or whose
        answers are; ``rows`` of it have no answer.
    :param open: shards whose answers are still to come: the run was stopped by an error, and a later try goes on.
    """

    run_key: str
    run_path: str
    total: int
    outcomes: Mapping[Outcome, int]
    retryable: int
    rounds: int
    usage: Usage
    cost_usd: float | None
    reasons: Mapping[str, int]
    jobs: tuple[JSON, ...]
    job_errors: tuple[str, ...]
    begun_at: float
    ended_at: float
    by_round: tuple[JSON, ...] = ()
    stopped: str | None = None
    withdrawn: int = 0
    answers: Mapping[Quality, int] = field(default_factory=dict)
    surplus: tuple[JSON, ...] = ()
    lost: tuple[JSON, ...] = ()
    open: tuple[str, ...] = ()
    cost_unknown: str | None = None

    def flat(self) -> JSON:
        """One level of plain values, for XCom."""
        return {
            "run_path": self.run_path,
            "total": self.total,
            **{str(name): count for name, count in self.outcomes.items()},
            **{str(name): self.answers.get(name, 0) for name in QUALITIES},
            "rounds": self.rounds,
            "jobs": len(self.jobs),
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "cost_usd": self.cost_usd,
            "cost_unknown": self.cost_unknown,
            "seconds": round(self.ended_at - self.begun_at, 3),
        }
