"""A run directory around a batch that was made elsewhere: by curl, another tool, another team.

The provider still has the uploaded file, so the run knows its rows, and everything after works as for a job of ours.
"""

from __future__ import annotations

from airflow_batch_provider.core.errors import PermanentError, RunConflictError
from airflow_batch_provider.run import BatchRun

INPUT = "attached.jsonl"


def fetch_input(run: BatchRun, handle: str) -> None:
    """Bring an uploaded file into the run directory and make it the run's input."""
    with run.directory.writer(INPUT) as out:
        for chunk in run.backend.download(handle):
            out.write(chunk)
    run.input_path = f"{run.directory.uri}/{INPUT}"


def attach(run: BatchRun, job_id: str) -> None:
    """Begin a run whose only job exists already.

    :param run: in a new directory, or in the one of an earlier attach of the same job.
    :param job_id: the provider's id.
    :raises NotFoundError: when the provider knows no such job.
    :raises RunConflictError: when the directory holds another job.
    :raises PermanentError: when the job holds several models or endpoints.
    """
    if not run.ledger.rounds():
        job = run.backend.retrieve(job_id)
        if job.input_id is None:
            raise PermanentError(f"Job {job_id} does not tell its input file, so its rows cannot be reconciled")
        fetch_input(run, job.input_id)
        run.begin(first_try=True)
    # From here on this is a run of somebody else's: it is read and finished, and nothing is ever created for it.
    run.run_key = None
    rounds = run.ledger.rounds()
    if len(rounds[0].shards) != 1:
        asked = ", ".join(f"{shard.model} on {shard.endpoint}" for shard in rounds[0].shards)
        raise PermanentError(f"Job {job_id} holds more than one run can fetch from one job: {asked}")
    shard = rounds[0].shards[0]
    known = rounds[0].last(shard)
    if known is None:
        run.ledger.record(shard, 1, "intent", {"token": "", "at": 0.0, "attached": True})
        run.ledger.record(shard, 1, "job", {"job_id": job_id, "console_url": run.backend.console_url(job_id)})
    elif known.job_id != job_id:
        raise RunConflictError(f"{run.directory.uri} holds job {known.job_id}, not {job_id}; give another output_path")
