"""A provider that quotes what it was sent, keys included, in every text that it sends back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from airflow_batch_provider.testing.calls import Answer, Call

_NAMES = """
id object status state type role purpose custom_id custom_key key recordId name jobArn jobName displayName
input_file_id output_file_id error_file_id first_id last_id finish_reason stop_reason stopReason finishReason
s3Uri uris gcsOutputDirectory outputUriPrefix predictionsFormat instancesFormat submitTime lastModifiedTime endTime
createTime updateTime startTime created_at completed_at failed_at expired_at cancelled_at in_progress_at expires_at
finalizing_at cancelling_at create_at url method endpoint completion_window clientRequestToken nextToken nextPageToken
airflow_batch_token airflow-batch-token airflow_batch_row requestId
completed failed total successfulCount failedCount incompleteCount
"""
_KEPT = frozenset(_NAMES.split())
"""What a client cannot do without: ids, states, times, addresses and counts."""


def text_of(call: Call) -> str:
    """What is quoted of a call: every header as it came, and a body of JSON."""
    headers = " ".join(f"{name}: {value}" for name, value in call.headers.items())
    return f"{headers} {orjson.dumps(call.body).decode()}" if call.body else headers


def echoed(answer: Answer, text: str) -> Answer:
    """The answer with the text after every string that is free."""
    return replace(answer, content=content(answer.content, text))


def content(data: bytes, text: str) -> bytes:
    """As :func:`echoed`, of JSON or of lines of JSON; anything else is left as it is."""
    try:
        return orjson.dumps(_value(orjson.loads(data), text))
    except orjson.JSONDecodeError:
        return b"".join(line(one, text) + b"\n" for one in data.split(b"\n") if one) if data.endswith(b"\n") else data


def line(data: bytes, text: str) -> bytes:
    """As :func:`echoed`, of one line."""
    try:
        return orjson.dumps(_value(orjson.loads(data), text))
    except orjson.JSONDecodeError:
        return data


def _value(value: Any, text: str) -> Any:
    if isinstance(value, Mapping):
        return {name: member if _is_kept(name, member) else _value(member, text) for name, member in value.items()}
    if isinstance(value, list):
        return [_value(member, text) for member in value]
    return f"{value} {text}" if isinstance(value, str) else value


def _is_kept(name: str, member: Any) -> bool:
    members = member if isinstance(member, list) else [member]
    return name in _KEPT and not any(isinstance(one, Mapping) for one in members)
