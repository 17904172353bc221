"""Which rows are sent together and when: the first round from the author's file, each later one from what is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_batch_provider.core.counts import counted
from airflow_batch_provider.core.errors import BudgetError, InputError
from airflow_batch_provider.core.planning import plan_shards
from airflow_batch_provider.core.reconciling import OVER_BUDGET
from airflow_batch_provider.core.records import Shard
from airflow_batch_provider.core.validation import Group, Report, Rules
from airflow_batch_provider.run import results, staging
from airflow_batch_provider.run.attempts import Round
from airflow_batch_provider.run.budget import Budget
from airflow_batch_provider.run.context import RunContext
from airflow_batch_provider.run.facts import Tries
from airflow_batch_provider.run.latest import Aside

WINDOW_SLACK_HOURS = 2
QUEUE_PAUSE_SECONDS, LONGEST_QUEUE_PAUSE_SECONDS = 300.0, 3600.0
"""How long a full queue is given to empty; doubled each time. OpenAI's counter is seen to lag behind failed batches."""


@dataclass(slots=True)
class Planner:
    """Plans the rounds of one run."""

    run: RunContext

    def rules(self) -> Rules:
        """What a line is read against."""
        models = replace(self.run.backend.models, override=self.run.options.model)
        return Rules(models=models, limits=self.run.backend.limits, endpoint=self.run.options.endpoint)

    def inspect(self, input_path: str) -> Report:
        """Read the author's file once.

        :raises InputError: with every problem.
        """
        report = staging.inspect(input_path, staging.file_source(input_path), self.rules(), self.run.backend)
        report.raise_for_problems()
        return report

    def first(self, input_path: str) -> tuple[Report, list[Shard]]:
        """Check the author's file and cut it, without writing.

        :raises InputError: with every problem of the file.
        :raises BudgetError: when it may cost more than ``max_cost_usd``, or its cost is unknown.
        """
        self.run.backend.check_route([self.rules().models.resolve(None)], [], self.run.options.backend_options)
        report = self.inspect(input_path)
        for warning in report.warnings:
            self.run.log.warning("%s: %s", input_path, warning)
        models = [group.model for group in report.groups]
        endpoints = sorted({group.endpoint for group in report.groups})
        self.run.backend.check_route(models, endpoints, self.run.options.backend_options)
        allowed = staging.admission_of(self.run.backend, self.run.options)
        shards = plan_shards(input_path, report.groups, self.run.backend.limits, 0, allowed)
        try:
            refusal = Budget(self.run.backend, self.run.options).refusal(shards, list)
        except BudgetError as error:
            line = "" if report.uncapped is None else f" The first without max_tokens is line {report.uncapped}."
            first = line if report.unsized is None else f" The first is {report.unsized}."
            raise BudgetError(f"{input_path}: {error}{first}") from None
        if refusal:
            raise BudgetError(f"{input_path}: {refusal}. Nothing was sent; raise it, or send fewer rows.")
        return report, shards

    def stage(self, input_path: str, report: Report, shards: Sequence[Shard]) -> list[Shard]:
        """Write the files of the first round."""
        return self._stage(input_path, staging.file_source(input_path), report, shards)

    def _stage(self, label: str, source: staging.Source, report: Report, shards: Sequence[Shard]) -> list[Shard]:
        with self.run.directory.together():
            return staging.stage(self.run.directory, label, source, self.rules(), self.run.backend, report, shards)

    def next(self, rounds: Sequence[Round]) -> bool:
        """Plan the rows that a resend can fix as one more round; False when nothing remains or no round does."""
        tries = self.run.ledger.tries()
        series_start, number, over = tries.series_start, len(rounds), rounds[-1].over_quota()
        # What did not fit into the provider's queue was not asked and counts for nothing.
        sendings = sum(len(a_round.over_quota()) < len(a_round.shards) for a_round in rounds[series_start:])
        spent = number > series_start and sendings >= self.run.options.rounds
        if tries.stopped or (spent and not over):
            return False
        wanted = results.wanted(
            self.run.options, results.helps_next_try if number == series_start else results.helps_now
        )
        if spent:
            wanted = results.did_not_fit
        sent = [a_round.shards for a_round in rounds]
        with results.remainder(self.run.directory, sent, wanted, results.answered(rounds)) as left:
            return bool(left) and self._plan_again(rounds, left, tries)

    def _plan_again(self, rounds: Sequence[Round], left: Aside, tries: Tries) -> bool:
        """Plan the next round of the rows that are left."""
        series_start, number, over = tries.series_start, len(rounds), rounds[-1].over_quota()

        def source() -> staging.Lines:
            return enumerate(left.lines(), start=1)

        label = f"{self.run.directory.uri} (what round {number - 1} left open)"
        report = self._enough(staging.inspect(label, source, self.rules(), self.run.backend))
        if not report.groups:
            return False
        halved = {shard.model: max(1, shard.rows // 2) for shard in sorted(over, key=lambda shard: shard.rows)}
        allowed = staging.admission_of(self.run.backend, self.run.options)
        planned = plan_shards(label, report.groups, self.run.backend.limits, number, allowed, halved)
        if refusal := self._refusal(planned, rounds):
            self.run.log.error("Round %d is not sent: %s", number, refusal)
            self.run.ledger.write_tries(replace(tries, stopped=f"{OVER_BUDGET}: {refusal}"))
            return False
        if len(self.run.ledger.rounds()) > number:
            return True  # another process has planned it meanwhile; its files are not to be written over
        shards = self._stage(label, source, report, planned)
        if self.run.options.on_lost_job == "resubmit":
            self.run.ledger.settle_lost()
        rows = counted(sum(shard.rows for shard in shards), "row")
        self.run.log.info("Round %d sends %s again in %s", number, rows, counted(len(shards), "shard"))
        if over:
            self._open_after_pause(rounds, shards, set(halved))
        else:
            self.open(number, shards, series_start)
        return True

    def _refusal(self, shards: Sequence[Shard], rounds: Sequence[Round]) -> str | None:
        try:
            return Budget(self.run.backend, self.run.options).refusal(shards, lambda: rounds)
        except BudgetError as error:
            return str(error)

    def open(self, number: int, shards: Sequence[Shard], series_start: int) -> None:
        """Begin a round whose files are written, with a deadline of its own."""
        now = self.run.clock()
        self.run.ledger.write_tries(Tries(series_start, now + self.timeout()))
        self._plan(number, [*shards], now)

    def timeout(self) -> float:
        """Seconds that a round may take."""
        if self.run.options.timeout is not None:
            return self.run.options.timeout
        return (self.run.backend.window_hours(self.run.options.backend_options) + WINDOW_SLACK_HOURS) * 3600

    def _enough(self, report: Report) -> Report:
        """Without the models of which too few rows are left for a job."""
        minimum = self.run.backend.limits.min_rows
        for group in report.groups:
            if group.total_lines < minimum:
                message = "%s of model %s cannot be sent again: the provider requires at least %d in a job"
                self.run.log.warning(message, counted(len(group.sizes), "row"), group.model, minimum)
        report.groups = [group for group in report.groups if group.total_lines >= minimum and self._fits(group)]
        return report

    def _fits(self, group: Group) -> bool:
        """Whether there is a cut; where there is none the rows stay open, and what was answered is written all the
        same."""
        try:
            plan_shards(self.run.directory.uri, [group], self.run.backend.limits, 0)
        except InputError as error:
            self.run.log.error("Not sent again: %s", error)
            return False
        return True

    def _open_after_pause(self, rounds: Sequence[Round], shards: Sequence[Shard], models: set[str | None]) -> None:
        """Begin a round of smaller shards, one after the other, when the queue has had time; the deadline stays."""
        full = 0
        while full < len(rounds) and rounds[-1 - full].over_quota():
            full += 1
        pause = min(LONGEST_QUEUE_PAUSE_SECONDS, QUEUE_PAUSE_SECONDS * 2.0 ** (full - 1))
        models = models & {shard.model for shard in shards}
        most = {model or "": max(shard.tokens for shard in shards if shard.model == model) for model in models}
        now = self.run.clock()
        self.run.log.warning(
            "The provider's queue was too full: smaller jobs of at most %s tokens follow in %.0f s", most, pause
        )
        self._plan(len(rounds), [*shards], now, now + pause, most)

    def _plan(self, number: int, shards: list[Shard], *rest: Any) -> None:
        if self.run.ledger.plan(number, shards, *rest):
            self.run.planned.add(number)
