"""A model invocation job of Amazon Bedrock as a :class:`~airflow_batch_provider.core.records.Job`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_batch_provider.core.records import Job, JobError, JobStatus, RequestCounts

TOKEN_KEY = "airflow-batch-token"  # noqa: S105 - a name, not a secret


def read_job(item: Mapping[str, Any], statuses: Mapping[str, JobStatus]) -> Job:
    """Normalise the answer of GetModelInvocationJob, or a summary of ListModelInvocationJobs, which has the same
    fields; a status that is missing or new becomes ``unknown``.

    :param statuses: Bedrock's words.
    """
    raw = str(item.get("status") or "")
    status = statuses.get(raw, JobStatus.UNKNOWN)
    arn = str(item.get("jobArn") or "")
    token = item.get("clientRequestToken")
    return Job(
        id=arn,
        status=status,
        raw_status=raw,
        counts=read_counts(item),
        created_at=_seconds(item.get("submitTime")),
        ended_at=_seconds(item.get("endTime")) if status.is_terminal else None,
        input_id=_uri(item, "inputDataConfig", "s3InputDataConfig"),
        outputs=_outputs(item, arn),
        errors=_errors(item, status),
        # Tags are not returned with a job; the request's own token is.
        metadata={TOKEN_KEY: str(token)} if token else {},
        name=item.get("jobName") or None,
        model=item.get("modelId") or None,
    )


def read_counts(item: Mapping[str, Any]) -> RequestCounts:
    """Rows as a job reports them, and its manifest (AWS, "View the results of batch inference"); what is left out is
    not known."""
    names = ("totalRecordCount", "successRecordCount", "errorRecordCount")
    return RequestCounts(*(_count(item.get(name)) for name in names))


def _outputs(item: Mapping[str, Any], arn: str) -> tuple[str, ...]:
    """Bedrock tells the prefix; below it, each job has a folder of its own. A prefix that other tools left without a
    slash at its end is used as it is [live users] or given one [AWS' pages]."""
    prefix = _uri(item, "outputDataConfig", "s3OutputDataConfig")
    job_id = arn.rpartition("/")[2]
    if not prefix or not job_id:
        return ()
    return (f"{prefix}{job_id}/",) if prefix.endswith("/") else (f"{prefix}/{job_id}/", f"{prefix}{job_id}/")


def _uri(item: Mapping[str, Any], outer: str, inner: str) -> str | None:
    return ((item.get(outer) or {}).get(inner) or {}).get("s3Uri") or None


def _errors(item: Mapping[str, Any], status: JobStatus) -> tuple[JobError, ...]:
    """Other ends have a message too, which says nothing is wrong or that rows are missing."""
    message = item.get("message")
    return (JobError(str(message)),) if message and status in (JobStatus.FAILED, JobStatus.EXPIRED) else ()


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _seconds(value: Any) -> float | None:
    return value.timestamp() if isinstance(value, datetime) else None
