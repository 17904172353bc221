"""The lines that a task writes into its log while it waits and at its end.

What matters comes first and paths come last: Airflow's log cuts a line at the edge of the window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_batch_provider.core.answers import UNUSABLE
from airflow_batch_provider.core.counts import Usage, counted
from airflow_batch_provider.core.records import Job, Quality
from airflow_batch_provider.core.summary import RunSummary

QUIET_SECONDS = 10.0
HEARTBEAT_SECONDS = 600.0


@dataclass(slots=True)
class Progress:
    """Remembers what was said, so that a line is written when there is news and now and then when there is none.

    :param spent_usd: what the jobs that have ended before this wait cost; None while it is unknown.
    """

    spent_usd: float | None = None
    _said_at: float | None = None
    _said: tuple[object, ...] = ()
    _start: tuple[float, int] | None = None

    def line(self, jobs: Sequence[Job], now: float) -> str | None:
        """What to say after a look at all jobs, None for nothing.

        :param now: seconds since the epoch.
        """
        done = sum((job.counts.completed or 0) + (job.counts.failed or 0) for job in jobs)
        failed = sum(job.counts.failed or 0 for job in jobs)
        total = sum(job.counts.total or 0 for job in jobs)
        states = Counter(job.status.value for job in jobs)
        if self._start is None:
            self._start = (now, done)
        news = (done, failed, tuple(sorted(states.items())))
        if self._said_at is not None:
            silence = now - self._said_at
            if silence < QUIET_SECONDS or (news == self._said and silence < HEARTBEAT_SECONDS):
                return None
        self._said_at, self._said = now, news
        job_states = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        share = f" ({done / total:.1%})" if total else ""
        known = f"{total:,}" if total else "?"
        pace = self._pace(done, total, now)
        return f"{done:,}/{known} requests done{share}, {failed:,} failed{pace}; jobs: {job_states}{self._cost(jobs)}"

    def _pace(self, done: int, total: int, now: float) -> str:
        began, before = self._start or (now, done)
        if now <= began:
            return ""
        rate = max(0, done - before) / (now - began)
        left = f", about {_span((total - done) / rate)} left" if rate and total > done else ""
        return f"; {_rate(rate)}{left}"

    def _cost(self, jobs: Sequence[Job]) -> str:
        """Tokens where the provider counts them while a job runs; money only for what has ended before this wait."""
        used = sum((job.usage for job in jobs if job.usage), Usage())
        tokens = f"; {used.input_tokens:,} input and {used.output_tokens:,} output tokens" if used != Usage() else ""
        return f"{tokens}; cost so far {self.spent_usd:,.4f} USD" if self.spent_usd else tokens


_ANSWERS: dict[Quality, str] = {
    "empty": "empty",
    "cut": "cut off",
    "refused": "refused by the model",
    "filtered": "stopped by a content filter",
    "tool_calls": "with tool calls only",
    "media": "with images or audio only",
}


def summary_line(summary: RunSummary) -> str:
    """What a run became."""
    outcomes = (
        ", ".join(f"{count:,} {name}" for name, count in summary.outcomes.items() if count) or "no rows were sent"
    )
    tokens = f"{summary.usage.input_tokens:,} input and {summary.usage.output_tokens:,} output tokens"
    rows = f"{counted(summary.total, 'row')}: {outcomes}{_answers(summary)}"
    return f"{rows}; {tokens}; {_total_cost(summary)}; all in {summary.run_path}"


def _answers(summary: RunSummary) -> str:
    """How many answers are no plain text, as a parenthesis; nothing where all are."""
    counts = [f"{count:,} {_ANSWERS[name]}" for name, count in summary.answers.items() if count]
    return f" (of these {', '.join(counts)})" if counts else ""


def unusable_line(summary: RunSummary) -> str | None:
    """What to do about answers that are of no use, None where there are none."""
    counts = [f"{summary.answers[name]:,} {_ANSWERS[name]}" for name in UNUSABLE if summary.answers.get(name)]
    if not counts:
        return None
    cut = summary.answers.get("cut")
    remedy = "Raise max_tokens, which includes what the model spends on reasoning. " if cut else ""
    of_all = counted(summary.outcomes["succeeded"], "succeeded row")
    return (
        f"Not usable, of {of_all}: {', '.join(counts)}. {remedy}To count "
        'such rows as failed, set on_unusable="invalid".'
    )


def _total_cost(summary: RunSummary) -> str:
    if summary.cost_usd is not None:
        return f"cost {summary.cost_usd:,.4f} USD"
    return f"cost unknown ({summary.cost_unknown or 'no price or no count of tokens'})"


def _rate(per_second: float) -> str:
    """In the unit in which there is something to read."""
    if per_second >= 0.1 or not per_second:
        return f"{per_second:,.1f} requests/s"
    if per_second * 60 >= 0.1:
        return f"{per_second * 60:,.1f} requests/min"
    return f"{per_second * 3600:,.1f} requests/h"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
