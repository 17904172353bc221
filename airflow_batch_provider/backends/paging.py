"""A provider's list of jobs, page by page, without believing what a page says of itself.

Lists have been seen to give empty pages that say there is more (BerriAI/litellm#38738), to ignore where to go on or to
show the same jobs again and again and never end (BerriAI/litellm#37150), and to show one job twice. So a job comes
once, progress is checked, and what cannot be shown to be the whole list is said to be broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from airflow_batch_provider.core.records import Job

MOST_PAGES = 1000
"""More than this is taken for a list without an end: 100,000 jobs at the least that any provider shows on a page."""
MOST_EMPTY = 20
"""Empty pages one after the other; AWS and Google allow for some before a list ends."""


class Page(NamedTuple):
    """One page.

    :param following: the parameter of the next page; None where the page names none.
    :param more: whether the page says that there is a next one.
    :param unreadable: how many of its entries are not jobs.
    """

    jobs: list[Job]
    following: str | None
    more: bool
    unreadable: int = 0


class Pages(Iterator[Job]):
    """All jobs of a list, each once, in the list's order.

    :param fetch: gets the page that a cursor names, None for the first.
    :param limit: so many jobs at most.
    """

    def __init__(self, fetch: Callable[[str | None], Page], limit: int | None = None) -> None:
        self._fetch = fetch
        self._limit = limit
        self._known: set[str] = set()
        self._jobs = (job for page in self.pages() for job in page)
        self.broken = ""
        """Why the list is not known to be whole; empty as long as it is."""

    def __next__(self) -> Job:
        return next(self._jobs)

    def pages(self) -> Iterator[list[Job]]:
        """The same, page by page; pages without new jobs are left out."""
        cursor: str | None = None
        asked: set[str] = set()
        empty = 0
        for _ in range(MOST_PAGES):
            page = self._fetch(cursor)
            fresh = self._fresh(page)
            if fresh:
                yield fresh
            if self._limit is not None and len(self._known) >= self._limit:
                return
            if not page.more:
                return
            if page.following is None or page.following in asked:
                self.broken = self.broken or "a page says that there are more and does not say where"
                return
            empty = 0 if fresh else empty + 1
            if page.jobs and not fresh:
                self.broken = "the next page repeats the page before it"
                return
            if empty > MOST_EMPTY:
                self.broken = f"{empty} pages in a row were empty"
                return
            cursor = page.following
            asked.add(cursor)
        self.broken = f"it did not end after {MOST_PAGES} pages"

    def _fresh(self, page: Page) -> list[Job]:
        """The jobs of a page that no page showed before; one without an id is no job."""
        here: dict[str, Job] = {}
        for job in page.jobs:
            if job.id and job.id not in self._known:
                # Shown twice, the later state counts: an end is not undone.
                here[job.id] = job if job.id not in here or job.status.is_terminal else here[job.id]
        if page.unreadable or not all(job.id for job in page.jobs):
            self.broken = self.broken or "a page contains entries that cannot be read"
        if self._known and any(job.id in self._known for job in page.jobs):
            self.broken = self.broken or "its pages overlap, so jobs may be left out"
        fresh = list(here.values())
        if self._limit is not None:
            fresh = fresh[: self._limit - len(self._known)]
        self._known |= {job.id for job in fresh}
        return fresh
