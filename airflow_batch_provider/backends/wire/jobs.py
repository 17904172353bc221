"""A batch object of any OpenAI-shaped provider as a :class:`~airflow_batch_provider.core.records.Job`.

Azure writes capital statuses, ISO times and empty strings; gateways write milliseconds, counts as strings or null, and
percent-encoded ids. The official client passes all of it through unchecked, so it is read here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.records import JSON, Job, JobError, JobStatus, RequestCounts
from airflow_batch_provider.dialects.usage import read_usage

_ENDED = ("completed_at", "failed_at", "expired_at", "cancelled_at")
_MILLISECONDS_ABOVE = 1e11
_FILE_IDS = ("id", "file_id", "data")
"""Where a file object, or a list of them as OpenAI's servers write one, has its id."""
_WORD_END = re.compile(r"(?<=[a-z])(?=[A-Z])")


def plain_word(status: str) -> str:
    """A status in the one form of all its spellings, such as ``PartiallyCompleted`` of a gateway over Bedrock."""
    return _WORD_END.sub("_", status).lower().replace("-", "_")


def read_job(batch: Mapping[str, Any], statuses: Mapping[str, JobStatus]) -> Job:
    """Normalise a batch object; a status that is missing or new is ``unknown``, unless all else says that it ended.

    :param statuses: the provider's words, by :func:`plain_word`.
    """
    raw = str(batch.get("status") or "")
    status = statuses.get(plain_word(raw), JobStatus.UNKNOWN)
    metadata = batch.get("metadata")
    files = {name: batch.get(name) for name in ("output_file_id", "error_file_id")}
    usage = read_usage(batch) if batch.get("usage") else None
    counts = _counts(batch.get("request_counts"))
    outputs = tuple(handle for file in files.values() for handle in dict.fromkeys(_handles(file)))
    unread = "; ".join(f"{name} is {_shown(file)}" for name, file in files.items() if file and not _handles(file))
    if (
        status is JobStatus.UNKNOWN
        and (outputs or unread)
        and to_seconds(batch.get("completed_at"))
        and _is_whole(counts)
    ):
        status = JobStatus.COMPLETED
    return Job(
        id=unquote(str(batch.get("id") or "")),
        status=status,
        raw_status=raw,
        counts=counts,
        created_at=to_seconds(batch.get("created_at")),
        ended_at=_ended_at(batch, status),
        input_id=next(iter(_handles(batch.get("input_file_id"))), None),
        outputs=outputs,
        unread=unread,
        errors=tuple(read_errors(batch.get("errors"))),
        metadata={str(k): str(v) for k, v in metadata.items()} if isinstance(metadata, dict) else {},
        usage=usage if usage != Usage() else None,
        endpoint=batch.get("endpoint") or None,
        model=batch.get("model") or None,
    )


def _counts(payload: Any) -> RequestCounts:
    counts = payload if isinstance(payload, dict) else {}
    total, completed, failed = (to_int(counts.get(name)) for name in ("total", "completed", "failed"))
    if completed is not None or failed is not None:
        # Portkey adds Vertex AI's word for "unknown", -1, to the total.
        total = max(total or 0, (completed or 0) + (failed or 0))
    return RequestCounts(total, completed, failed)


def _is_whole(counts: RequestCounts) -> bool:
    """Whether every row is counted as done, and there is one."""
    return bool(counts.total) and (counts.completed or 0) + (counts.failed or 0) == counts.total


def _ended_at(batch: Mapping[str, Any], status: JobStatus) -> float | None:
    # Portkey tells the end of a job on Bedrock as finalizing_at, and of one that runs an end before the epoch or none.
    names = (*_ENDED, "finalizing_at") if status.is_terminal else _ENDED
    return next((seconds for name in names if (seconds := to_seconds(batch.get(name)))), None)


def _handles(value: Any) -> list[str]:
    """The ids of files: of one, of several in a list, or of file objects; none for what is no id."""
    if isinstance(value, list):
        return [handle for item in value for handle in _handles(item)] if _is_flat(value) else []
    if isinstance(value, dict):
        return _handles(next((value[name] for name in _FILE_IDS if value.get(name)), None))
    if type(value) is int:
        return [str(value)]
    return [unquote(value)] if isinstance(value, str) and value else []


def _is_flat(files: list[Any]) -> bool:
    """Whether every entry of a list is a file or nothing; one that cannot be read must not hide behind others."""
    return all(not item or (not isinstance(item, list) and _handles(item)) for item in files)


def _shown(value: Any) -> str:
    return repr(value)[:200]


def read_errors(errors: Any) -> list[JobError]:
    """The batch's ``errors``: ``{"object": "list", "data": [{"code", "message", "line", "param"}]}``."""
    data = errors
    if isinstance(errors, dict):
        data = errors.get("data", None if errors.get("object") == "list" else errors)
    found: list[JobError] = []
    for item in data if isinstance(data, list) else [data] if data else ():
        error: JSON = item if isinstance(item, dict) else {"message": str(item)}
        code = error.get("code")
        message = str(error.get("message") or code or error)
        code_text = None if code is None else str(code)
        found.append(JobError(message, code_text, to_int(error.get("line")), error.get("param") or None))
    return found


def to_seconds(value: Any) -> float | None:
    """Seconds since the epoch from seconds, milliseconds, digits in a string, or an ISO time; None for nothing."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return _iso_seconds(value)
    if not isinstance(value, (int, float)) or not 0 < value < math.inf:
        return None
    return value / 1000 if value > _MILLISECONDS_ABOVE else float(value)


def _iso_seconds(text: str) -> float | None:
    # Azure writes seven digits of a second, Python 3.10 reads six.
    head, dot, tail = text.replace("Z", "+00:00").partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    try:
        moment = datetime.fromisoformat(head + (f".{tail[:digits][:6]:0<6}{tail[digits:]}" if dot else ""))
    except ValueError:
        return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    return seconds if seconds > 0 else None


def to_int(value: Any) -> int | None:
    """A count from a number or a string of digits; None for null, negative or unreadable."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number >= 0 else None
