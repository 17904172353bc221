"""One round as far as it goes now: collect what has ended, give up what must not be sent, create what may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from airflow_batch_provider import collecting, staging
from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core import submission
from airflow_batch_provider.core.admission import admit
from airflow_batch_provider.core.errors import (
    AccountError,
    BudgetError,
    DeadlineError,
    LostCreateError,
    RunConflictError,
)
from airflow_batch_provider.core.polling import WakeRule
from airflow_batch_provider.core.reconciling import OVER_BUDGET, OVER_QUOTA, TOO_LATE
from airflow_batch_provider.core.records import RunOptions, Shard
from airflow_batch_provider.ledger import Attempt, Ledger, Round
from airflow_batch_provider.storage import RunDirectory
from airflow_batch_provider.submitting import Logger, Read, Submitter, full_refusals

QUEUE_TRIES = 5
"""How often a job alone may be refused by a full queue before it is halved."""
CANCEL_SECONDS = 3600.0
"""How long jobs may take to stop; OpenAI's guide says up to ten minutes."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing more can be done now.

    :param jobs: ids of the live jobs.
    :param rule: when to call ``advance`` again.
    """

    jobs: tuple[str, ...]
    rule: WakeRule

    @property
    def all_sent(self) -> bool:
        """Whether every shard has its job."""
        return self.rule.look_at is None and not self.rule.on_any_end


@dataclass(slots=True)
class Driver:
    """Drives the rounds of one run.

    :param submitter: creates jobs; None for those who only read a run.
    :param cancel: asks the provider to stop every live job.
    :param clock: seconds since the epoch.
    :param read: carries out calls that pay nothing.
    """

    directory: RunDirectory
    ledger: Ledger
    backend: Backend
    options: RunOptions
    submitter: Submitter | None
    cancel: Callable[[], object]
    clock: Callable[[], float]
    read: Read
    log: Logger

    def drive(self, a_round: Round) -> Waiting | None:
        """Do what can be done now.

        :return: what to wait for; None when every shard has ended.
        :raises DeadlineError: when the deadline has passed and jobs are left alone.
        :raises LostCreateError: for all creates whose answer was lost and cannot be made up for.
        """
        while isinstance(outcome := self._pass(a_round), bool):
            if not outcome:
                return None
            a_round = self.ledger.rounds()[a_round.number]
        return outcome

    def _pass(self, a_round: Round) -> Waiting | bool:
        """Go over all shards once.

        :return: what to wait for; else whether there is more to do at once.
        """
        live: list[Shard] = []
        unsent: list[Shard] = []
        jobs: dict[str, str] = {}
        for shard in a_round.shards:
            attempt = a_round.last(shard)
            if attempt is not None and attempt.end is not None:
                continue
            if attempt is None or attempt.job_id is None:
                unsent.append(shard)
            elif not self.collected(shard, attempt, attempt.job_id):
                live.append(shard)
                jobs[shard.name] = attempt.job_id
        if (live or unsent) and self.clock() >= float(self.ledger.tries()["deadline"] or 0):
            return self._late(a_round, jobs, unsent) or False
        if unsent and self.submitter is None:
            name = unsent[0].name
            raise RunConflictError(f"{name} in {self.directory.uri} has no job yet; its own task creates it")
        waiting = self._not_now(a_round, unsent, live)
        look_at = self._send(a_round, [shard for shard in unsent if shard.name not in waiting], live, jobs)
        if waiting and self.clock() < a_round.not_before:
            look_at.append(a_round.not_before)
        if not jobs and not look_at:
            return bool(waiting)  # what was given up has made room
        deadline = float(self.ledger.tries()["deadline"] or 0)
        return Waiting(tuple(jobs.values()), WakeRule(deadline, min(look_at, default=None), on_any_end=bool(waiting)))

    def _send(self, a_round: Round, shards: list[Shard], live: list[Shard], jobs: dict[str, str]) -> list[float]:
        """Create what may be created.

        :param jobs: ids by shard; the new ones are added.
        :return: when to look again for those whose create was not answered.
        """
        look_at: list[float] = []
        lost: list[LostCreateError] = []
        refused: AccountError | None = None
        for shard in shards:
            try:
                outcome = self._sent(a_round, shard, live)
            except LostCreateError as error:
                lost.append(error)
                continue
            except AccountError as error:
                refused = error
                break  # the others would be refused, too
            if isinstance(outcome, str):
                jobs[shard.name] = outcome
                live.append(shard)
            elif outcome is not None:
                look_at.append(outcome)
        if lost and not look_at:
            # All at once, for a person checks every one before allowing for second creates.
            raise LostCreateError("\n".join(str(error) for error in lost))
        if refused and not look_at and not jobs:
            raise refused
        return look_at

    def _sent(self, a_round: Round, shard: Shard, live: list[Shard]) -> str | float | None:
        """The id of a shard's job, when to look again, or None when it was given up."""
        assert self.submitter is not None
        if self._never_fits(a_round, shard, live):
            return None
        try:
            return self.submitter.submit(shard, a_round.last(shard))
        except BudgetError as error:
            reason = str(error)
        self.log.error("%s is not sent: %s", shard.name, reason)
        tries = self.ledger.tries()
        self.ledger.write_tries(tries["series_start"], tries["deadline"], f"{OVER_BUDGET}: {reason}")
        fenced = self._give_up(a_round, shard, OVER_BUDGET, reason)
        return None if fenced else self.clock() + submission.LOOK_AGAIN_SECONDS

    def collected(self, shard: Shard, attempt: Attempt, job_id: str) -> bool:
        """Whether the job has ended; then its rows are collected."""
        job = self.read(lambda: self.backend.retrieve(job_id))
        if not job.status.is_terminal:
            return False
        own, now = not attempt.intent.get("attached"), self.clock()
        for _ in range(2):
            end = self.read(
                lambda: collecting.collect(
                    self.directory, self.backend, shard, job, now, own=own, on_unusable=self.options.on_unusable
                )
            )
            if end.lines["received"] >= min(shard.rows, (job.counts.completed or 0) + (job.counts.failed or 0)):
                break  # an answer that was cut at the end of a line looks whole; a second look tells
        self.ledger.record_end(shard, attempt.number, end)
        collecting.tell(self.log, job, end)
        return True

    def _not_now(self, a_round: Round, unsent: list[Shard], live: list[Shard]) -> set[str]:
        """The unsent shards that must wait for time or room."""
        if self.clock() < a_round.not_before:
            return {shard.name for shard in unsent}
        allowed = staging.admission(self.backend, self.options)
        smaller = replace(allowed, max_tokens={**allowed.max_tokens, **a_round.max_tokens})
        # A create without an answer may have made a job, so it has its place in the queue.
        begun = [shard for shard in unsent if a_round.last(shard) is not None]
        fresh = [shard for shard in unsent if a_round.last(shard) is None]
        admitted = {shard.name for shard in admit(fresh, [*live, *begun], smaller)}
        return {shard.name for shard in fresh if shard.name not in admitted}

    # ---- giving up ---------------------------------------------------------------------------------------------

    def _never_fits(self, a_round: Round, shard: Shard, live: list[Shard]) -> bool:
        """Whether the queue stays too full for a shard, even alone; then it is given up, to be halved."""
        attempts = a_round.attempts.get(shard.name, [])
        refusals = [attempt for attempt in attempts if "refused" in attempt.facts]
        if not all(attempt.made_nothing for attempt in attempts) or any(other.model == shard.model for other in live):
            return False  # it may have a job, or there is something to wait for
        if sum(map(full_refusals, refusals)) < QUEUE_TRIES:
            return False
        words = refusals[-1].facts["refused"]["error"]
        return self._give_up(a_round, shard, OVER_QUOTA, f"The provider's queue stayed full: {words}")

    def _give_up(self, a_round: Round, shard: Shard, code: str, reason: str) -> bool:
        """End a shard without a job; False when another process is creating one."""
        last = a_round.last(shard)
        number = last.number + 1 if last else 1
        if not self.ledger.claim(shard, number, {"given_up": code, "at": self.clock()}):
            return False
        end = collecting.give_up(self.directory, shard, code, reason, self.clock())
        return self.ledger.record_end(shard, number, end)

    def _late(self, a_round: Round, jobs: dict[str, str], unsent: list[Shard]) -> Waiting | None:
        """The deadline has passed.

        :return: with ``on_deadline="cancel"``, the wait for the jobs to stop; None when there was none.
        :raises DeadlineError: when jobs are left alone.
        """
        tries = self.ledger.tries()
        lost = [shard.name for shard in unsent if (last := a_round.last(shard)) and not last.made_nothing]
        unsure = f" Whether {', '.join(lost)} became jobs is unknown; the next try looks for them." if lost else ""
        ended = any(attempt.end for attempts in a_round.attempts.values() for attempt in attempts)
        told = f"{len(jobs)} {_jobs(len(jobs))} running ({', '.join(jobs.values())})" if jobs else "no job running"
        if self.options.on_deadline == "fail" or tries["stopped"] or self.submitter is None:
            if tries["stopped"] and self.options.on_deadline == "cancel":
                self.cancel()
            if jobs:
                they = "it was" if len(jobs) == 1 else "they were"
                left = "asked to stop" if tries["stopped"] else "left alone"
                what = f"The deadline passed with {told}; {they} {left} and may be billed."
            elif lost or ended:
                what = "The deadline passed; no job is known to be running."
            else:
                what = "The deadline passed before anything was sent: no job is running and nothing is billed."
            raise DeadlineError(
                f"{what}{unsure}{_unsent(a_round, unsent)} Clear the task to give it more time; it collects what is "
                "answered meanwhile."
            )
        self.cancel()
        if lost:
            raise DeadlineError(f"The deadline passed with {told}; they are being cancelled.{unsure}")
        for shard in unsent:
            reason = f"The deadline passed before this request was sent.{_refusal(a_round, [shard])}"
            if not self._give_up(a_round, shard, TOO_LATE, reason):
                raise DeadlineError(f"The deadline passed while another process creates {shard.name}.")
        were = "was" if len(jobs) == 1 else "were"
        reason = f"{TOO_LATE}: {len(jobs)} {_jobs(len(jobs))} {were} cancelled.{_unsent(a_round, unsent)}"
        self.log.warning("The deadline passed with %s; they are being cancelled", told)
        deadline = self.clock() + CANCEL_SECONDS
        self.ledger.write_tries(tries["series_start"], deadline, reason)
        return Waiting(tuple(jobs.values()), WakeRule(deadline)) if jobs else None


def _jobs(count: int) -> str:
    return "job" if count == 1 else "jobs"


def _unsent(a_round: Round, shards: list[Shard]) -> str:
    """How many shards are unsent, and the provider's words where it refused them; empty for none."""
    if not shards:
        return ""
    noun = "shard is" if len(shards) == 1 else "shards are"
    return f" {len(shards)} {noun} unsent.{_refusal(a_round, shards)}"


def _refusal(a_round: Round, shards: list[Shard]) -> str:
    """The last refusal of a create of these shards; empty where there was none."""
    facts = [last.facts.get("refused") for shard in shards if (last := a_round.last(shard))]
    newest = max((fact for fact in facts if fact), key=lambda fact: float(fact["at"]), default=None)
    if newest is None:
        return ""
    times = newest.get("times", 1)
    return f" Last refusal{f' (of {times} in a row)' if times > 1 else ''}: {newest['error']}."
