"""Lines that OpenAI writes most of: in its exact shape, one choice with a text, no error.

Each is read at a glance; all others by :func:`~airflow_batch_provider.dialects.openai.read_loaded`.
"""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.core.finish_words import said_by
from airflow_batch_provider.core.records import BatchResult, Content
from airflow_batch_provider.dialects.usage import read_tier, read_usage

_LINE = ("id", "custom_id", "response", "error")
_RESPONSE = ("status_code", "request_id", "body")
_WORDS = frozenset({"stop", "length", "tool_calls", "content_filter"})
_FEW_BRACKETS = 250
"""A line with no more is not nested deeper than orjson writes, which is 254 levels."""


def plain_result(data: Any, line: bytes) -> BatchResult | None:
    """The result of such a line, which is the one of ``read_loaded``; None for any other line.

    :param data: the line's JSON.
    """
    if type(data) is not dict or tuple(data) != _LINE or data["error"] is not None:
        return None
    custom_id, response = data["custom_id"], data["response"]
    if type(custom_id) is not str or type(response) is not dict or tuple(response) != _RESPONSE:
        return None
    status, body = response["status_code"], response["body"]
    if type(status) is not int or status != 200 or type(body) is not dict or body.get("error") is not None:
        return None
    choices = body.get("choices")
    if "output" in body or type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
        return None
    reason, message = choices[0].get("finish_reason"), choices[0].get("message")
    if type(reason) is not str or reason not in _WORDS or type(message) is not dict or "text" in choices[0]:
        return None
    text = message.get("content")
    if type(text) is not str or not text or text.isspace() or message.get("refusal") is not None:
        return None
    if line.count(b"{") + line.count(b"[") > _FEW_BRACKETS:
        return None
    model = body.get("model")
    return BatchResult(
        custom_id,
        "succeeded",
        line,
        None,
        read_usage(body),
        model if type(model) is str else None,
        read_tier(body),
        data,
        Content(text, reason, None, said_by(reason)),
    )
