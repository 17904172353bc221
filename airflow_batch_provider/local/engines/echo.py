"""An engine that returns the prompt: the same input always gives the same answer, byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, ClassVar

from typing_extensions import override

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines import base
from airflow_batch_provider.local.engines.base import Engine, Reply, error_body

_CREATED = 1_700_000_000
_DIMENSIONS = 8


class EchoEngine(Engine):
    """Deterministic answers, counted in words.

    :param latency: seconds every answer takes.
    """

    name: ClassVar[str] = "echo"

    def __init__(self, latency: float = 0.0) -> None:
        self._latency = latency

    @override
    async def answer(self, endpoint: str, body: JSON) -> Reply:
        if self._latency:
            await asyncio.sleep(self._latency)
        try:
            return Reply(200, _ANSWERS[endpoint](body, str(body.get("model") or "echo")))
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            return Reply(400, error_body(f"The request's body is not valid for {endpoint}: {error!r}"))

    @override
    async def models(self) -> list[str]:
        return ["echo"]


def _text(content: Any) -> str:
    """The text of a message's content, of which the parts that are not text are left out."""
    if content is None or isinstance(content, str):
        return content or ""
    return " ".join(part["text"] for part in content if isinstance(part.get("text"), str))


def _last_user(messages: list[JSON]) -> str:
    said = [_text(message.get("content")) for message in messages if message.get("role") == "user"]
    return said[-1] if said else _text(messages[-1].get("content"))


def _words(*texts: str) -> int:
    return sum(len(text.split()) for text in texts)


def _id(prefix: str, *parts: str) -> str:
    return prefix + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _chat(body: JSON, model: str) -> JSON:
    text = _last_user(body["messages"])
    asked = _words(*(_text(message.get("content")) for message in body["messages"]))
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": _id("chatcmpl-", model, text),
        "object": "chat.completion",
        "created": _CREATED,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _chat_usage(asked, _words(text)),
        "system_fingerprint": None,
    }


def _completion(body: JSON, model: str) -> JSON:
    prompt = body["prompt"]
    prompts = [prompt] if isinstance(prompt, str) else [str(item) for item in prompt]
    return {
        "id": _id("cmpl-", model, *prompts),
        "object": "text_completion",
        "created": _CREATED,
        "model": model,
        "choices": [
            {"index": index, "text": text, "logprobs": None, "finish_reason": "stop"}
            for index, text in enumerate(prompts)
        ],
        "usage": _chat_usage(_words(*prompts), _words(*prompts)),
    }


def _chat_usage(asked: int, answered: int) -> JSON:
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def _embeddings(body: JSON, model: str) -> JSON:
    given = body["input"]
    texts = [given] if isinstance(given, str) else [str(item) for item in given]
    count = _words(*texts)
    return {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(text)} for index, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }


def _vector(text: str) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    raw = [byte / 127.5 - 1 for byte in digest[:_DIMENSIONS]]
    norm = sum(value * value for value in raw) ** 0.5 or 1.0
    return [round(value / norm, 6) for value in raw]


def _response(body: JSON, model: str) -> JSON:
    given = body["input"]
    text = given if isinstance(given, str) else _last_user(given)
    asked = _words(text, str(body.get("instructions") or ""))
    answered = _words(text)
    content = {"type": "output_text", "text": text, "annotations": []}
    message = {
        "type": "message",
        "id": _id("msg_", model, text),
        "status": "completed",
        "role": "assistant",
        "content": [content],
    }
    return {
        "id": _id("resp_", model, text),
        "object": "response",
        "created_at": _CREATED,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [message],
        "usage": {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": answered,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + answered,
        },
    }


def _moderation(body: JSON, model: str) -> JSON:
    given = body["input"]
    texts = [given] if isinstance(given, str) else list(given)
    result = {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 0.0}}
    return {"id": _id("modr-", model, repr(texts)), "model": model, "results": [dict(result) for _ in texts]}


_ANSWERS = {
    base.CHAT: _chat,
    base.COMPLETIONS: _completion,
    base.EMBEDDINGS: _embeddings,
    base.RESPONSES: _response,
    base.MODERATIONS: _moderation,
}
