"""What an author wants of an output line, flat: the text of the answer, why it ended, what it used, what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from airflow_batch_provider.core.records import JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """One output line of any endpoint.

    :param content: text of a chat, response or completion; JSON of vectors or moderation results; None without answer.
    :param finish_reason: why a text ended; of responses the status, or why it is incomplete.
    :param response: the body as JSON, whole.
    """

    custom_id: str
    status_code: int | None = None
    content: str | None = None
    finish_reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    response: str | None = None


def read_answer(line: bytes) -> Answer:
    """One line in OpenAI's output format, flat.

    :raises ValueError: when it is not such a line.
    """
    data = _dict(orjson.loads(line))
    custom_id = _str(data.get("custom_id"))
    if custom_id is None:
        raise ValueError("not an output line")
    response = _dict(data.get("response"))
    raw_body = response.get("body")
    body = _dict(raw_body)
    content, finish_reason, refusal = _content(body)
    error = _dict(data.get("error")) or _dict(body.get("error"))
    usage = _dict(body.get("usage"))
    return Answer(
        custom_id=custom_id,
        status_code=_int(response.get("status_code")),
        content=content,
        finish_reason=finish_reason,
        error_code=_str(error.get("code") or error.get("type")) or ("refusal" if refusal else None),
        error_message=_str(error.get("message")) or refusal,
        model=_str(body.get("model")),
        prompt_tokens=_int(usage.get("prompt_tokens", usage.get("input_tokens"))),
        completion_tokens=_int(usage.get("completion_tokens", usage.get("output_tokens"))),
        response=None if raw_body is None else orjson.dumps(raw_body).decode(),
    )


def _content(body: JSON) -> tuple[str | None, str | None, str | None]:
    """Text, finish reason and refusal, by the fields that each endpoint's answer has."""
    if "choices" in body:
        return _of_choice(next(_dicts(body["choices"]), {}))
    if "output" in body:
        return _of_response(body)
    if "data" in body:
        vectors = [item.get("embedding") for item in _dicts(body["data"])]
        return orjson.dumps(vectors[0] if len(vectors) == 1 else vectors).decode(), None, None
    if "results" in body:
        return orjson.dumps(body["results"]).decode(), None, None
    return None, None, None


def _of_choice(choice: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    message = _dict(choice.get("message"))
    text = choice.get("text") if "text" in choice else message.get("content")
    if isinstance(text, list):
        text = "".join(str(part["text"]) for part in _dicts(text) if "text" in part)
    return _str(text), _str(choice.get("finish_reason")), _str(message.get("refusal"))


def _of_response(body: JSON) -> tuple[str | None, str | None, str | None]:
    parts = [part for item in _dicts(body["output"]) for part in _dicts(item.get("content"))]
    texts = [str(part["text"]) for part in parts if part.get("type") == "output_text" and "text" in part]
    refusals = [str(part["refusal"]) for part in parts if part.get("type") == "refusal" and "refusal" in part]
    reason = _dict(body.get("incomplete_details")).get("reason") or body.get("status")
    return "".join(texts) if texts else None, _str(reason), "".join(refusals) or None


def _dict(value: Any) -> JSON:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> Iterator[JSON]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def _str(value: Any) -> str | None:
    return None if value is None else str(value)


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
