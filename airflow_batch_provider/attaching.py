"""A run directory around a batch that was made elsewhere: by curl, another tool, another team.

The provider still has the uploaded file, so the run knows its rows, and everything after works as for a job of ours.
"""

from __future__ import annotations

import orjson

from airflow_batch_provider.core.errors import ConfigurationError, PermanentError, RunConflictError
from airflow_batch_provider.core.jsonl import split_chunks
from airflow_batch_provider.core.records import Job, Shard
from airflow_batch_provider.run import BatchRun

INPUT = "attached.jsonl"
CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"


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
    :raises PermanentError: when the job's file does not tell its rows.
    """
    if not run.ledger.rounds():
        job = run.backend.retrieve(job_id)
        if job.input_id is None:
            raise PermanentError(f"Job {job_id} does not tell its input file, so its rows cannot be reconciled")
        run.input_path = job.input_id
        run.adopt(job_id, _snapshot(run, job, job.input_id))
    # From here on this is a run of somebody else's: it is read and finished, and nothing is ever created for it.
    run.run_key = None
    shard = run.ledger.rounds()[0].shards[0]
    known = run.ledger.rounds()[0].last(shard)
    if known is None:
        run.ledger.record(shard, 1, "intent", {"token": "", "at": 0.0, "attached": True})
        run.ledger.record(shard, 1, "job", {"job_id": job_id, "console_url": run.backend.console_url(job_id)})
    elif known.job_id != job_id:
        raise RunConflictError(f"{run.directory.uri} holds job {known.job_id}, not {job_id}; give another output_path")


def _snapshot(run: BatchRun, job: Job, handle: str) -> Shard:
    """Write the requests of the job's file as the only shard, and beside them its lines as they were sent."""
    endpoint = job.endpoint or _endpoint(run, job)
    row_of = run.backend.line_format(job.model, endpoint).row_of
    shard = Shard(0, 0, 0, 0, job.model, endpoint)
    seen: set[str] = set()
    size = 0
    rewritten = False
    with (
        run.directory.writer(f"input/{shard.name}.jsonl") as out,
        run.directory.writer(f"shards/{shard.name}.jsonl") as lines,
    ):
        for number, wire in enumerate(split_chunks(run.backend.download(handle)), start=1):
            row = row_of(wire)
            if row is None or row in seen:
                what = "has no id" if row is None else f"repeats the id {row!r}"
                raise PermanentError(
                    f"{handle}, line {number} {what}, so the rows of job {job.id} cannot be told apart"
                )
            seen.add(row)
            size += len(wire) + 1
            lines.write(wire + b"\n")
            line = orjson.loads(wire)
            if line.get("custom_id") != row or "body" not in line:
                rewritten = True
                line = {"custom_id": row, "method": "POST", "url": endpoint, "body": line}
            out.write(orjson.dumps(line) + b"\n")
    if not seen:
        raise PermanentError(f"{handle}, which is the input of job {job.id}, holds no rows; is it a folder?")
    return Shard(0, 0, len(seen), size, job.model, endpoint, rewritten=rewritten)


def _endpoint(run: BatchRun, job: Job) -> str:
    """What a job asks whose provider does not tell: its model knows."""
    try:
        run.backend.line_format(job.model, CHAT)
    except ConfigurationError:
        run.backend.line_format(job.model, EMBEDDINGS)
        return EMBEDDINGS
    return CHAT
