"""OpenAI's answers, as every dialect writes them from its provider's."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from airflow_batch_provider.core.records import JSON


def completion(
    *,
    answer_id: str,
    model: str,
    text: str | None,
    finish: str,
    usage: JSON,
    created: int = 0,
    refusal: str | None = None,
    reasoning: str | None = None,
    calls: list[JSON] | None = None,
) -> JSON:
    """An OpenAI chat completion with one choice.

    :param created: seconds since the epoch; 0 where the provider's line tells no time.
    :param reasoning: given as ``reasoning_content``, the field's common extension.
    :param calls: as :func:`tool_call` makes them.
    """
    message: JSON = {"role": "assistant", "content": text, "refusal": refusal}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    return {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage,
        "system_fingerprint": None,
    }


def tool_call(call_id: str, name: str, arguments: Any) -> JSON:
    """One entry of a message's ``tool_calls``."""
    text = orjson.dumps(arguments if arguments is not None else {}).decode()
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def usage(
    prompt: Any, completion_tokens: Any, *, cached: Any = None, cache_write: Any = None, reasoning: Any = None
) -> JSON:
    """OpenAI's usage; what the provider did not tell is left out.

    :param prompt: all input tokens, cached ones included.
    :param completion_tokens: all output tokens, reasoning included.
    """
    asked, made = count(prompt), count(completion_tokens)
    told: JSON = {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}
    details = {"cached_tokens": count(cached), "cache_write_tokens": count(cache_write)}
    if any(details.values()):
        told["prompt_tokens_details"] = {name: number for name, number in details.items() if number}
    if count(reasoning):
        told["completion_tokens_details"] = {"reasoning_tokens": count(reasoning)}
    return told


def count(value: Any) -> int:
    """A number of tokens, 0 for what is none."""
    try:
        return min(max(0, int(value)), 2**53)
    except (TypeError, ValueError, OverflowError):
        return 0


def object_of(value: Any) -> JSON:
    """A JSON object that may be missing, null or something else in a provider's answer."""
    return value if isinstance(value, dict) else {}


def objects_of(value: Any) -> list[JSON]:
    """The objects of an array that may be missing, null or something else in a provider's answer."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def made_id(output: JSON) -> str:
    """An id for an answer that came without one: the same answer, the same id."""
    return "chatcmpl-" + hashlib.blake2b(orjson.dumps(output), digest_size=12).hexdigest()


def finish_reason(word: str, calls: list[JSON]) -> str:
    """OpenAI's finish reason; an answer that calls tools stopped for them, one that calls none did not.

    :param word: the provider's reason in OpenAI's words.
    """
    if calls:
        return "tool_calls" if word == "stop" else word
    return "stop" if word == "tool_calls" else word
