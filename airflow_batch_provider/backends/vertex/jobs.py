"""A batch prediction job, as Vertex AI's REST reports it, as a :class:`~airflow_batch_provider.core.records.Job`.

Shapes: google.cloud.aiplatform.v1, BatchPredictionJob and JobState; counts are strings and may be ``"-1"``; the output
directory is reported for failed and cancelled jobs, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_batch_provider.backends.wire.jobs import to_int, to_seconds
from airflow_batch_provider.core.records import JSON, Job, JobError, JobStatus, RequestCounts

TOKEN_LABEL = "airflow-batch-token"  # noqa: S105 - a name, not a secret


def read_job(payload: Mapping[str, Any], statuses: Mapping[str, JobStatus]) -> Job:
    """Normalise a job; a state that is missing or new becomes ``unknown``.

    :param statuses: Google's words.
    """
    state = str(payload.get("state") or "")
    uris = _at(payload, "inputConfig", "gcsSource").get("uris")
    labels = payload.get("labels")
    model = payload.get("model")
    return Job(
        id=str(payload.get("name") or ""),
        status=statuses.get(state, JobStatus.UNKNOWN),
        raw_status=state,
        counts=_counts(payload),
        created_at=to_seconds(payload.get("createTime")),
        ended_at=to_seconds(payload.get("endTime")),
        input_id=str(uris[0]) if isinstance(uris, list) and uris else None,
        outputs=_outputs(payload),
        errors=tuple(_errors(payload)),
        metadata={str(name): str(value) for name, value in labels.items()} if isinstance(labels, dict) else {},
        name=payload.get("displayName") or None,
        model=str(model).rpartition("/models/")[2] or str(model) if model else None,
    )


def _at(value: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        found = value.get(name)
        value = found if isinstance(found, dict) else {}
    return value


def _counts(payload: Mapping[str, Any]) -> RequestCounts:
    """Zeros are left out, as in all JSON of protocol buffers; -1 is Google's word for not known."""
    stats = payload.get("completionStats")
    if not isinstance(stats, dict):
        return RequestCounts()
    names = ("successfulCount", "failedCount", "incompleteCount")
    done, failed, left = (to_int(stats.get(name, 0)) for name in names)
    total = None if done is None or failed is None or left is None else done + failed + left
    return RequestCounts(total, done, failed)


def _outputs(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """The directory of the job; before it is reported, the prefix that was requested, where that is the job's own.

    Below a prefix that jobs of others share, their rows would be taken for this job's.
    """
    folder = _at(payload, "outputInfo").get("gcsOutputDirectory")
    if not folder:
        prefix = str(_at(payload, "outputConfig", "gcsDestination").get("outputUriPrefix") or "")
        token = _at(payload, "labels").get(TOKEN_LABEL)
        folder = prefix if token and str(token) in prefix.lower() else None
    return (str(folder).rstrip("/") + "/",) if folder else ()


def _errors(payload: Mapping[str, Any]) -> list[JobError]:
    failures = payload.get("partialFailures")
    found: list[JSON] = [item for item in failures if isinstance(item, dict)] if isinstance(failures, list) else []
    error = payload.get("error")
    if isinstance(error, dict) and (error.get("message") or error.get("code")):
        found.insert(0, error)
    return [
        JobError(str(item.get("message") or item), None if item.get("code") is None else str(item["code"]))
        for item in found
    ]
