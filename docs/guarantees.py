"""Writes guarantees.md from what the backends say of themselves: ``python docs/guarantees.py``."""

from __future__ import annotations

from pathlib import Path

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.cli import backend_of
from airflow_batch_provider.connections import own_types

PAGE = Path(__file__).with_name("guarantees.md")
WAYS = {title: (row.name, behind) for row in own_types().values() for title, behind in row.ways.items()}
HEAD = """# Guarantees, provider by provider

This page is generated from the code by `make pages`; a test keeps it up to date.

A job is paid once it is accepted. The risk of paying twice is a create call whose answer was lost: a timeout, a broken
connection, a 409, a 5xx, or a process killed before it recorded the answer. Such a call is never repeated blindly, and
no SDK or gateway is allowed to retry it. The next process searches the provider for the job, by the handles below, and
follows this table (`core/submission.py`).

Every create has a token of two parts, `b...-c...`, in the name of the upload, in the job's name, and in its metadata,
label or tag. The first part is made of the run directory's own random id and the bytes that are sent: it proves that a
job is this run directory's **own**. The second is made of the run's key and the bytes: it proves that a job has the
**same** content, whoever created it. Times and similar names prove nothing, so the clocks of worker and provider need
not agree.

| the ledger has | the provider lists | then |
|---|---|---|
| nothing, and this process has planned it | | create |
| nothing | own jobs, not cancelled or failed | continue with the best, cancel and report the others |
| nothing | the same of others, not cancelled or failed | read one, the next if rows are open; never cancel |
| nothing | none of these | create; if the run directory was lost, only where the list is complete, else refuse |
| nothing, and a later round was planned | none of these | refuse: it was sent, and its open rows were sent again |
| the job's id | | continue with it |
| refused (4xx) | own jobs | continue with the best: a gateway may refuse a call that it has passed on |
| refused (4xx) | none, the list is incomplete, for less than the settle time | look again |
| refused (4xx) | none, else | create under the next number, when there is room |
| the intent only | own jobs | continue with the best, cancel and report the others |
| the intent only | none | where a create is repeatable: send the same call again |
| the intent only | none, for less than the settle time | look again |
| the intent only | none, and the list was not read to its end | refuse: such a list proves nothing |
| the intent only | none, after the settle time | `on_lost_create`: `"fail"` says what to check, `"resubmit"` creates |

The best is a completed job, then one that is alive, then one that expired. After the creates of a pass, and once more
at the end of a run, the list is read once to find second jobs of the same creates, which a gateway makes if it repeats
a call by itself. They are cancelled, and `summary.json` names them under `surplus` with the most they may cost. A job
counts as a second one only if one reading of the list shows both.

## A create whose answer was lost

| provider | a job is recognised by | an empty list means | remaining risk |
|---|---|---|---|
"""
LIMITS = """
## What one job may hold

The limits by which files are split; `max_jobs_in_flight` and `max_enqueued_tokens` of operator and connection add to
them.

| provider | endpoints | rows | bytes | fewest rows | jobs at once | window, hours | source |
|---|---|---|---|---|---|---|---|
"""
TAIL = """
## What no code can promise

* A run directory on a store without exclusive create (see [concepts](concepts.md)) does not keep two processes apart.
* Deleting the run directory, or a part of it, deletes the record of what was sent. A retry then searches for every
  planned job before it creates one; a task that runs for the first time does not. A job that is found is read if its
  content is exactly the same: if the order of the rows, a limit or the model has changed, the bytes are different, and
  everything is sent again. A cancelled or failed job is not used either, so its rows, and those of a later round, are
  sent again.
* With `on_lost_create="resubmit"` a job that the provider accepts only after the settle time may be a second one. The
  default, `"fail"`, never creates a second one. A second one that appears before the run ends is cancelled and
  reported.
* A provider or gateway that answers a create with 400, 401, 403, 404, 422, 425 or 429 says that it created no job. The
  list is searched for the create's token once before the next create. If such an answer was wrong and the list shows
  the job only later, the search for second jobs finds it; it is billed until then.
* The settle time is measured by the worker's clock from the moment before the create was sent. A clock that is set
  forward in between shortens it. Nothing else depends on a clock: the token is proof whatever time a job reports.
* If a process dies after sending a create and the run is never tried again, the job is billed and unknown. A retry, or
  clearing the task, finds it.
* A provider may bill a cancelled or failed job differently; the summary counts its answers.
"""


def _remains(backend: Backend) -> str:
    if backend.create_is_repeatable:
        return "nothing: if the recorded call is sent again, the answer is the same job"
    if backend.find_is_complete:
        return 'a job that appears after the settle time, and only with `on_lost_create="resubmit"`'
    return 'if the job is not found, `on_lost_create` decides; `"resubmit"` may create a second job'


def _absence(backend: Backend) -> str:
    if not backend.find_is_complete:
        return "unknown: the list may be incomplete"
    return f"no job exists, after {backend.find_settle_seconds / 60:g} minutes; all pages are read"


def page() -> str:
    """The page."""
    creates, limits = [], []
    for name, (conn_type, behind) in WAYS.items():
        backend = backend_of(conn_type, behind)
        creates.append(f"| {name} | {'; '.join(backend.handles)} | {_absence(backend)} | {_remains(backend)} |")
        held = backend.limits
        jobs = backend.admission.max_jobs or "any"
        window = f"{held.window_hours:g}"
        endpoints = ", ".join(f"`{each}`" for each in held.endpoints)
        figures = (endpoints, f"{held.max_rows:,}", f"{held.max_bytes:,}", str(held.min_rows), str(jobs), window)
        limits.append(f"| {name} | {' | '.join(figures)} | {held.source} |")
    return HEAD + "\n".join(creates) + "\n" + LIMITS + "\n".join(limits) + "\n" + TAIL


if __name__ == "__main__":
    PAGE.write_text(page())
