"""Writes guarantees.md from what the backends say of themselves: ``python docs/guarantees.py``."""

from __future__ import annotations

from pathlib import Path

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.cli import backend_of
from airflow_batch_provider.connections import own_types

PAGE = Path(__file__).with_name("guarantees.md")
WAYS = {title: (row.name, behind) for row in own_types().values() for title, behind in row.ways.items()}
HEAD = """# Guarantees, provider by provider

This page is generated from the code by `make pages`; a test holds the two together.

A job is paid for once it is accepted. What threatens to pay twice is a create whose answer was lost: a timeout, a cut
connection, a 409, a 5xx, or a process killed between sending and writing down. The create is never sent again blindly,
and no SDK or gateway is allowed to retry it. The next process looks for the job at the provider, by the handles below,
and goes by this table (`core/submission.py`).

Every create has a name of two parts, `b...-c...`, which stands in the name of the upload, in the job's name, and in its
metadata, label or tag. The first part is made of the run directory's own random id and the bytes that are sent: it
proves that a job is **own**. The second is made of the run and the bytes: it proves that a job asks the **same**,
whoever made it. No time and no likeness of names proves anything, so the clocks of worker and provider need not agree.

| the ledger says | the provider shows | then |
|---|---|---|
| nothing, and this process has planned it | | create |
| nothing | own, not cancelled or failed | go on with the best, cancel and report other own ones |
| nothing | the same of others, not cancelled or failed | read one, then the next if rows are open; never cancel |
| nothing | none of these | create; after a lost directory only where the list is whole, else refuse |
| nothing, and a later round was planned | none of these | refuse: it was sent, and what it left open is asked already |
| the job's id | | go on with it |
| refused (4xx) | own | go on with the best: a gateway may refuse what it has passed on |
| refused (4xx) | none, the list is not whole, for less than the settle time | look again |
| refused (4xx) | none, else | create under the next number, when there is room |
| intent alone | own | go on with the best, cancel and report the others |
| intent alone | none | where a create is repeatable: send the same call again |
| intent alone | none, for less than the settle time | look again |
| intent alone | none, and the list broke off | refuse: such a list proves nothing |
| intent alone | none, after the settle time | `on_lost_create`: `"fail"` says what to check, `"resubmit"` creates |

The best is a job that was answered, then one that is alive, then one that expired. After the creates of a pass, and
once more at the end of a run, one reading of the list looks for second jobs of the same creates, as a gateway makes
them that repeats a call by itself: they are cancelled, and `summary.json` names them under `surplus` with the most they
may cost.
A job is only taken for a second one where one reading of the list shows both.

## A create whose answer was lost

| provider | a job is known by | an empty list means | what remains |
|---|---|---|---|
"""
LIMITS = """
## What one job may hold

The limits that files are cut by; `max_jobs_in_flight` and `max_enqueued_tokens` of operator and connection add to them.

| provider | rows | bytes | fewest rows | jobs at once | window, hours | source |
|---|---|---|---|---|---|---|
"""
TAIL = """
## What no code can promise

* A run directory on a store without exclusive create (see [concepts](concepts.md)) does not fence two processes.
* Deleting the run directory, or a part of it, deletes the memory. A retry then looks for every planned job before it
  creates one; a task that is run for the first time does not. What is found is read if it asks exactly the same bytes:
  with the rows in another order, another `limits` or another model the bytes are others, and everything is asked anew.
  A cancelled or failed job is not taken up either, so what it answered, and what a later round was asking, is asked
  again.
* With `on_lost_create="resubmit"` a job that the provider accepts only after the settle time may be a second one. The
  default, `"fail"`, never creates a second one. A second one that shows before the run ends is cancelled and reported.
* A provider or gateway that answers a create with 400, 401, 403, 404, 422, 425 or 429 says that it made nothing. One
  look by the create's name comes before the next create; a job that such an answer hides, and that the list shows only
  later, is found by the looks for second jobs, and is billed until then.
* The settle time is measured by the worker's clock from the moment before the create was sent. A clock that is set
  forward in between shortens it. Nothing else goes by a clock: what a name proves holds whatever time a job tells.
* A job made by a process that dies between sending the create and the first look, in a run that nobody tries again, is
  billed and unknown. A retry, or clearing the task, finds it.
* What a provider bills for a cancelled or failed job is the provider's affair; the summary counts what was answered.
"""


def _remains(backend: Backend) -> str:
    if backend.create_is_repeatable:
        return "nothing: the recorded call, sent again, is answered with the same job"
    if backend.find_is_complete:
        return 'a job that shows later than the settle time, and then only with `on_lost_create="resubmit"`'
    return 'every lost answer that is not found ends in `on_lost_create`; `"resubmit"` may create a second job'


def _absence(backend: Backend) -> str:
    if not backend.find_is_complete:
        return "unknown: the list is not known to be whole"
    return f"absent, after {backend.find_settle_seconds / 60:g} minutes; all pages are read"


def page() -> str:
    """The page."""
    creates, limits = [], []
    for name, (conn_type, behind) in WAYS.items():
        backend = backend_of(conn_type, behind)
        creates.append(f"| {name} | {'; '.join(backend.handles)} | {_absence(backend)} | {_remains(backend)} |")
        held = backend.limits
        jobs = backend.admission.max_jobs or "any"
        window = f"{held.window_hours:g}"
        figures = (f"{held.max_rows:,}", f"{held.max_bytes:,}", str(held.min_rows), str(jobs), window)
        limits.append(f"| {name} | {' | '.join(figures)} | {held.source} |")
    return HEAD + "\n".join(creates) + "\n" + LIMITS + "\n".join(limits) + "\n" + TAIL


if __name__ == "__main__":
    PAGE.write_text(page())
