"""A run directory around a batch that was created outside Airflow: by curl, another tool, another team.

The provider still has the uploaded file, so the run knows its rows, and everything after works as for a job of ours.
Where that file is gone (they are deleted, or expire; control-layer#1741) the rows are known by what comes back.

In the directory of a run, its own record has the rows, and no input is requested from the provider. A job that this
record names is read; one that it does not name is taken for a create whose answer was lost, where the ids that came
back are those of the rows that were sent. So a person can say which job it is where a provider keeps no mark of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from airflow_batch_provider.core.errors import (
    ConfigurationError,
    NotFoundError,
    PermanentError,
    RunConflictError,
)
from airflow_batch_provider.core.finding import Handle, fits
from airflow_batch_provider.core.jsonl import split_chunks
from airflow_batch_provider.core.records import Job, Shard
from airflow_batch_provider.dialects.base import Sent
from airflow_batch_provider.dialects.torn import decoded
from airflow_batch_provider.run import shard_files
from airflow_batch_provider.run.attempts import Attempt, Round, creates, newest
from airflow_batch_provider.run.facts import Intent, Made
from airflow_batch_provider.run.run import BatchRun

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

    :param run: in a new directory, or in one that holds the job: of an earlier attach, or of the run that made it.
    :param job_id: the provider's id.
    :raises NotFoundError: when the provider knows no such job.
    :raises RunConflictError: when the directory holds other jobs.
    :raises PermanentError: when the rows cannot be read from the job's file.
    """
    if not run.ledger.rounds():
        job = run.backend.retrieve(job_id)
        run.input_path = job.input_id or ""
        run.adopt(job_id, _snapshot(run, job))
    # From here on this is a run of somebody else's: it is read and finished, and nothing is ever created for it.
    run.run_key = None
    rounds = run.ledger.rounds()
    if any(attempt.job_id == job_id for _, attempt in creates(rounds)):
        return
    if run.is_around(job_id):
        shard = rounds[0].shards[0]
        run.ledger.record(shard, 1, Intent(attached=True))
        run.ledger.record(shard, 1, Made(job_id, console_url=run.backend.console_url(job_id)))
        return
    shard, attempt = _create_of(run, rounds, job_id)
    # A person says so, and the ids fit; neither proves that the job is ours to cancel.
    url = run.backend.console_url(job_id)
    run.ledger.record(shard, attempt.number, Made(job_id, run.clock(), found=True, borrowed=True, console_url=url))


def _create_of(run: BatchRun, rounds: Sequence[Round], job_id: str) -> tuple[Shard, Attempt]:
    """The create without an answer that made a job, by the ids of its rows."""
    held = sorted({job for a_round in rounds for job in a_round.job_ids()})
    holds = f"{run.directory.uri} holds job {', '.join(held) or 'of another run'}, not {job_id}"
    unsure = [(shard, last) for shard, last in newest(rounds) if last is not None and last.may_live]
    job = run.backend.retrieve(job_id) if unsure else None
    if job is None or job.input_id is not None:
        raise RunConflictError(f"{holds}; give another output_path")
    if not job.status.is_terminal:
        raise NotFoundError(
            f"Job {job_id} has not ended, and its provider does not name its input, so its rows are known only by its "
            "answers; run the task again when it has ended"
        )
    handles = [Handle(last.token, None, shard.rows, last.intent_at) for shard, last in unsure]
    made = [
        one for one, handle in zip(unsure, handles, strict=True) if fits(job, handle) and _answers(run, job, one[0])
    ]
    if len(made) != 1:
        raise RunConflictError(
            f"{holds}: it does not fit one create without an answer by the ids of its rows, their number and its time; "
            "give another output_path"
        )
    return made[0]


def _answers(run: BatchRun, job: Job, shard: Shard) -> bool:
    """Whether all that came back of a job has ids of this shard's rows."""
    known = {custom_id for custom_id, _ in shard_files.requests(run.directory, shard)}
    line_format = run.backend.line_format(shard.model, shard.endpoint)
    found = decoded(line_format, split_chunks(run.backend.outputs(job)), Sent(own=False))
    ids = {result.custom_id for result in found}
    return bool(ids) and ids <= known


def _snapshot(run: BatchRun, job: Job) -> Shard:
    """Write the job's requests as the only shard."""
    if job.input_id is None:
        return _known_by_answers(run, job, "the provider does not name its input file")
    try:
        return _known_by_input(run, job, job.input_id)
    except NotFoundError as error:
        return _known_by_answers(run, job, f"its input file is gone ({error})")


def _known_by_answers(run: BatchRun, job: Job, why: str) -> Shard:
    """A row for each id that came back; their requests are not known."""
    if not job.status.is_terminal:
        raise NotFoundError(
            f"Job {job.id} has not ended, and {why}, so its rows are known only by its answers; run the task again "
            "when it has ended"
        )
    endpoint = job.endpoint or _endpoint(run, job)
    line_format = run.backend.line_format(job.model, endpoint)
    shard = Shard(0, 0, 0, 0, job.model, endpoint)
    seen: set[str] = set()
    size = 0
    with run.directory.writer(f"input/{shard.name}.jsonl") as out:
        for result in decoded(line_format, split_chunks(run.backend.outputs(job)), Sent(own=False)):
            row = result.custom_id
            if row is None or row in seen:
                continue
            seen.add(row)
            line = orjson.dumps({"custom_id": row, "method": "POST", "url": endpoint, "body": {}}) + b"\n"
            size += out.write(line)
    if not seen:
        raise PermanentError(f"Job {job.id} returned no row, and {why}, so nothing is known of its rows")
    message = "Job %s: %s. Its rows are the %d that came back; those without an answer, and all requests, are unknown"
    run.log.warning(message, job.id, why, len(seen))
    return Shard(0, 0, len(seen), size, job.model, endpoint)


def _known_by_input(run: BatchRun, job: Job, handle: str) -> Shard:
    """Write the requests of the job's file, and beside them its lines as they were sent."""
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
                    f"{handle}, line {number} {what}, so the rows of job {job.id} cannot be distinguished"
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
