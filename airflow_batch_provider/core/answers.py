"""What an author needs from an output line, flat: the content of the answer, why it ended, what it used, what went
wrong.

Shapes: OpenAI's API reference for chat completions, responses, completions, embeddings and moderations. "Answered" is
not "usable": a model may spend all its tokens on reasoning and say nothing, be cut off, refuse, or only call a tool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from airflow_batch_provider.core.finish_words import MALFORMED, quality_of
from airflow_batch_provider.core.records import JSON, BatchResult, Content, Quality
from airflow_batch_provider.core.refusals import words_of

UNUSABLE: dict[Quality, tuple[str, str]] = {
    "refused": ("refused", "The model refused: {refusal}"),
    "filtered": ("filtered", "A content filter stopped the answer (finish_reason {finish_reason})."),
    "cut": (
        "cut_off",
        "The answer was cut off before its end (finish_reason {finish_reason}); a token limit includes reasoning.",
    ),
    "empty": ("empty", "The answer has no content (finish_reason {finish_reason})."),
}
"""Code and message of a row whose answer cannot be used; where several hold, the first is the reason."""

UNUSABLE_CODES = frozenset(code for code, _ in UNUSABLE.values())

MADE = ("choices", "output", "data", "results")
"""Where the bodies of chat and completions, responses, embeddings and moderations hold what was made."""
UNFINISHED = ("failed", "cancelled", "queued", "in_progress")
"""A response's ``status`` that is no answer (OpenAI API reference, the response object)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One output line of any endpoint.

    :param content: see ``core.records.Content``; None without answer.
    :param finish_reason: see ``core.records.Content``.
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


def read_answer(result: BatchResult) -> Answer:
    """One line in OpenAI's output format, flat.

    :raises ValueError: when it has no ``custom_id``.
    """
    if result.custom_id is None:
        raise ValueError("not an output line")
    response = _dict(result.data.get("response"))
    raw_body = response.get("body")
    body = _dict(raw_body)
    content = result.content
    code, message = fault_of(result.data)
    usage = _dict(body.get("usage"))
    return Answer(
        custom_id=result.custom_id,
        status_code=_int(response.get("status_code")),
        content=content.text,
        finish_reason=content.finish_reason,
        error_code=code or ("refusal" if content.refusal else None),
        error_message=message or content.refusal,
        model=_str(body.get("model")),
        prompt_tokens=_int(usage.get("prompt_tokens", usage.get("input_tokens"))),
        completion_tokens=_int(usage.get("completion_tokens", usage.get("output_tokens"))),
        response=None if raw_body is None else orjson.dumps(raw_body).decode(),
    )


def fault_of(line: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Code and message of what went wrong with a row, in whatever shape a provider wrote them; empty for an answer.

    :param line: an output line in OpenAI's format.
    """
    error = _dict(line.get("error"))
    response = _dict(line.get("response"))
    status, body = response.get("status_code"), response.get("body")
    if _is_good(status):
        body = _dict(body).get("error")  # the Responses API and gateways put a failure into the body of a 200
    words = words_of(body) if body else None
    code = _str(error.get("code") or error.get("type")) or (words.code if words else None)
    message = _str(error.get("message")) or (words.message if words else None)
    if message is None and (error or (response and not body and not _is_good(status))):
        message = "The provider gave no reason" + (f" (HTTP status {status})." if status is not None else ".")
    return code, message


def read_content(body: JSON) -> Content:
    """What a body says, by the fields that each endpoint's answer has."""
    if "choices" in body:
        return _of_choices([*_dicts(body["choices"])])
    if "output" in body:
        return _of_response(body)
    if "data" in body:
        vectors = [item.get("embedding") for item in _dicts(body["data"])]
        if not vectors or not all(vectors):
            return Content(qualities=frozenset({"empty"}))
        return Content(orjson.dumps(vectors[0] if len(vectors) == 1 else vectors).decode())
    if "results" in body:
        return Content(orjson.dumps(body["results"]).decode())
    return Content() if body else Content(qualities=frozenset({"empty"}))


def holds_answer(body: Any) -> bool:
    """Whether a body holds an answer that can be handed out, whatever error is beside it: it was paid, and sending
    the row again would pay it twice."""
    made = [body.get(name) for name in MADE] if isinstance(body, dict) else []
    if not any(isinstance(items, list) and any(items) for items in made):
        return False
    return body.get("status") not in UNFINISHED and not malformed(body) and "empty" not in read_content(body).qualities


def malformed(body: Any) -> str | None:
    """The first finish reason of an answer that says it is none."""
    reasons = (choice.get("finish_reason") for choice in _dicts(_dict(body).get("choices")))
    return next((word.lower() for word in reasons if isinstance(word, str) and word.lower() in MALFORMED), None)


def unusable(content: Content) -> tuple[str, str] | None:
    """Why an answer cannot be used, as code and message; None where it can."""
    for quality, (code, message) in UNUSABLE.items():
        if quality in content.qualities:
            refusal = content.refusal or content.text or "it gave no reason"
            return code, message.format(refusal=refusal, finish_reason=content.finish_reason)
    return None


def _of_choices(choices: Sequence[JSON]) -> Content:
    """The first choice; of several, one that was cut or filtered decides."""
    read = [_of_choice(choice) for choice in choices]
    if not read:
        return Content(qualities=frozenset({"empty"}))
    some = {quality for one in read for quality in one.qualities & {"cut", "filtered"}}
    every = frozenset.intersection(*(one.qualities for one in read))
    return Content(read[0].text, read[0].finish_reason, read[0].refusal, every | some)


def _of_choice(choice: JSON) -> Content:
    message = _dict(choice.get("message"))
    text = choice.get("text") if "text" in choice else message.get("content")
    media = bool(message.get("images"))
    if isinstance(text, list):
        media = media or any("text" not in part and "refusal" not in part for part in _dicts(text))
        text = "".join(str(part["text"]) for part in _dicts(text) if "text" in part)
    audio = _dict(message.get("audio"))
    calls = [
        _call(_dict(call.get("function")) or _dict(call.get("custom"))) for call in _dicts(message.get("tool_calls"))
    ]
    if message.get("function_call"):
        calls.append(_call(_dict(message["function_call"])))
    reason = _str(choice.get("finish_reason"))
    return _content(
        _str(text), calls, reason, _str(message.get("refusal")), transcript=_str(audio.get("transcript")),
        media=media or bool(audio),
    )  # fmt: skip


def _of_response(body: JSON) -> Content:
    """The final answer: a model may comment on its way to it (``phase: "commentary"``; openai-python#3859)."""
    items = [*_dicts(body["output"])]
    messages = [
        item for item in items if item.get("type", "message") == "message" and item.get("phase") != "commentary"
    ]
    final = [item for item in messages if item.get("phase") == "final_answer"]
    parts = [part for item in final or messages for part in _dicts(item.get("content"))]
    texts = [str(part["text"]) for part in parts if part.get("type") == "output_text" and "text" in part]
    refusals = [str(part["refusal"]) for part in parts if part.get("type") == "refusal" and "refusal" in part]
    calls = [_call(item) for item in items if item.get("type") in ("function_call", "custom_tool_call")]
    media = any(item.get("type") == "image_generation_call" and item.get("result") for item in items)
    reason = _dict(body.get("incomplete_details")).get("reason") or body.get("status")
    text = "".join(texts) if texts else None
    return _content(text, calls, _str(reason), "".join(refusals) or None, transcript=None, media=media)


def _content(
    text: str | None,
    calls: Sequence[JSON],
    reason: str | None,
    refusal: str | None,
    *,
    transcript: str | None,
    media: bool,
) -> Content:
    said = bool(text and text.strip())
    qualities: set[Quality] = set()
    quality = quality_of(reason)
    if quality is not None and not (quality == "empty" and media):
        qualities.add(quality)
    if not said:
        if calls:
            qualities.add("tool_calls")
            text = calls[0]["arguments"] if len(calls) == 1 else orjson.dumps(calls).decode()
        elif media or transcript:
            qualities.add("media")
            text = transcript or text
        elif refusal:
            qualities.add("refused")
        else:
            qualities.add("empty")
    return Content(text, reason, refusal, frozenset(qualities))


def _call(call: JSON) -> JSON:
    """``{"name", "arguments"}`` of a call of a function, or of a custom tool, whose input is plain text."""
    arguments = call.get("arguments", call.get("input"))
    text = arguments if isinstance(arguments, str) or arguments is None else orjson.dumps(arguments).decode()
    return {"name": call.get("name"), "arguments": text}


def _is_good(status: Any) -> bool:
    return isinstance(status, int) and 200 <= status < 300


def _dict(value: Any) -> JSON:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> Iterator[JSON]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def _str(value: Any) -> str | None:
    return None if value is None else str(value)


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
