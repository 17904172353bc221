"""OpenAI's objects as plain JSON: files, batches, lists, lines, and refusals."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Any

from airflow_batch_provider.core.errors import RequestRejectedError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import error_body

TERMINAL = frozenset({"completed", "failed", "expired", "cancelled"})
DAY = 86_400


class ApiError(RequestRejectedError):
    """A call the server refuses, as it is reported to the client.

    :param kind: OpenAI's ``type``.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.http_status = status
        self.body = error_body(message, kind=kind, param=param, code=code)


def now() -> int:
    """Seconds since the epoch."""
    return int(time.time())


def new_id(prefix: str) -> str:
    """A fresh id."""
    return prefix + secrets.token_hex(16)


def derived_id(batch_id: str, what: str) -> str:
    """The id of a batch's output or error file. It follows from the batch, so that a server that was killed while it
    wrote the file finds it again."""
    return "file-" + hashlib.sha256(f"{batch_id}:{what}".encode()).hexdigest()[:32]


def file_object(file_id: str, *, filename: str, purpose: str, size: int, life: int | None = None) -> JSON:
    """A file.

    :param life: seconds until it expires, None for never.
    """
    created = now()
    return {
        "id": file_id,
        "object": "file",
        "bytes": size,
        "created_at": created,
        "expires_at": created + life if life is not None else None,
        "filename": filename,
        "purpose": purpose,
        "status": "processed",
        "status_details": None,
    }


def batch_object(request: JSON, window: float | None) -> JSON:
    """A batch that was just accepted.

    :param request: the checked body of the create call.
    :param window: seconds until it expires, None for never.
    """
    created = now()
    return {
        "id": new_id("batch_"),
        "object": "batch",
        "endpoint": request["endpoint"],
        "model": None,
        "errors": None,
        "input_file_id": request["input_file_id"],
        "completion_window": request["completion_window"],
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": created,
        "in_progress_at": None,
        "expires_at": created + (max(1, round(window)) if window is not None else DAY),
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "usage": None,
        "metadata": request.get("metadata"),
        "output_expires_after": request.get("output_expires_after"),
    }


def list_object(items: list[JSON], has_more: bool) -> JSON:
    """One page of a list."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }


def problem(code: str, message: str, *, line: int | None = None, param: str | None = None) -> JSON:
    """One entry of a batch's ``errors``."""
    return {"code": code, "message": message, "param": param, "line": line}


def output_line(custom_id: str, status: int, body: JSON) -> JSON:
    """The line of a row that was sent to the engine."""
    response = {"status_code": status, "request_id": new_id("req_"), "body": body}
    return {"id": new_id("batch_req_"), "custom_id": custom_id, "response": response, "error": None}


_UNRUN = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "The batch was cancelled before this request executed."),
}


def unrun_line(custom_id: str, status: str) -> JSON:
    """The line of a row that was not sent to the engine because the batch expired or was cancelled."""
    code, message = _UNRUN[status]
    error = {"code": code, "message": message}
    return {"id": new_id("batch_req_"), "custom_id": custom_id, "response": None, "error": error}


_SHORTEST_LIFE, _LONGEST_LIFE = 3_600, 2_592_000


def lifetime(expires_after: Any, name: str = "expires_after") -> int | None:
    """The seconds of an ``expires_after`` or ``output_expires_after``, None when there is none."""
    if expires_after is None:
        return None
    given = expires_after if isinstance(expires_after, dict) else {}
    seconds = str(given.get("seconds"))
    if given.get("anchor") != "created_at" or not seconds.isdecimal():
        raise ApiError(400, f"Invalid '{name}': expected an anchor 'created_at' and seconds.", param=name)
    if not _SHORTEST_LIFE <= int(seconds) <= _LONGEST_LIFE:
        message = f"Invalid '{name}': seconds must be from {_SHORTEST_LIFE} to {_LONGEST_LIFE}."
        raise ApiError(400, message, param=f"{name}.seconds")
    return int(seconds)


def check_metadata(metadata: Any) -> None:
    """Refuse metadata beyond 16 pairs of strings of 64 and 512 characters."""
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise ApiError(400, "Invalid type for 'metadata': expected an object.", param="metadata", code="invalid_type")
    if len(metadata) > 16:
        message = f"Invalid 'metadata': too many properties. Expected at most 16, got {len(metadata)}."
        raise ApiError(400, message, param="metadata", code="object_above_max_properties")
    for key, value in metadata.items():
        if len(key) > 64:
            raise ApiError(400, f"Invalid 'metadata': key {key[:20]!r}... is longer than 64.", param="metadata")
        if not isinstance(value, str) or len(value) > 512:
            message = f"Invalid 'metadata.{key}': expected a string of at most 512 characters."
            raise ApiError(400, message, param=f"metadata.{key}", code="invalid_type")
