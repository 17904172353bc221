"""The line that a waiting task writes into its log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_batch_provider.core.records import Job

QUIET_SECONDS = 10.0
HEARTBEAT_SECONDS = 600.0


@dataclass(slots=True)
class Progress:
    """Remembers what was said, so that a line is written when there is news and now and then when there is none."""

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
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        share = f" ({done / total:.1%})" if total else ""
        known = f"{total:,}" if total else "?"
        return f"{done:,}/{known} requests done{share}, {failed:,} failed; jobs: {told}{self._pace(done, total, now)}"

    def _pace(self, done: int, total: int, now: float) -> str:
        began, before = self._start or (now, done)
        if now <= began or done <= before:
            return ""
        rate = (done - before) / (now - began)
        left = f", about {_span((total - done) / rate)} left" if total > done else ""
        return f"; {rate:,.1f} requests/s{left}"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
