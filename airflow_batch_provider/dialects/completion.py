"""OpenAI's answers, as every dialect writes them from its provider's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from airflow_batch_provider.core.counts import read_count
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
    media: JSON | None = None,
) -> JSON:
    """An OpenAI chat completion with one choice.

    :param text: None for an empty one beside media.
    :param created: seconds since the epoch; 0 where the provider's line has no time.
    :param reasoning: given as ``reasoning_content``, the field's common extension.
    :param calls: as :func:`tool_call` makes them.
    :param media: what :meth:`airflow_batch_provider.dialects.media.Media.fields` gives.
    """
    message: JSON = {"role": "assistant", "content": text, "refusal": refusal}
    if media:
        message |= {"content": text or None, **media}
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
    prompt: int | None,
    completion_tokens: int | None,
    *,
    cached: Any = None,
    cache_write: Any = None,
    reasoning: Any = None,
    prompt_kinds: Mapping[str, int] | None = None,
    completion_kinds: Mapping[str, int] | None = None,
) -> JSON:
    """OpenAI's usage; what the provider did not report, or reported as something that is not a count, is left out.

    :param prompt: all input tokens, cached ones included; None where they are unknown.
    :param completion_tokens: all output tokens, reasoning included; None where they are unknown.
    :param prompt_kinds: tokens of media among the input, by OpenAI's names (``image_tokens``, ``audio_tokens`` ...).
    :param completion_kinds: the same of the output; media are billed at prices of their own.
    """
    known = {"prompt_tokens": prompt, "completion_tokens": completion_tokens}
    members: JSON = {name: number for name, number in known.items() if number is not None}
    if prompt is not None and completion_tokens is not None:
        members["total_tokens"] = prompt + completion_tokens
    details = {"cached_tokens": count(cached), "cache_write_tokens": count(cache_write), **(prompt_kinds or {})}
    if any(details.values()):
        members["prompt_tokens_details"] = {name: number for name, number in details.items() if number}
    details = {"reasoning_tokens": count(reasoning), **(completion_kinds or {})}
    if any(details.values()):
        members["completion_tokens_details"] = {name: number for name, number in details.items() if number}
    return members


def token_total(counts: JSON, needed: str, *parts: str) -> int | None:
    """A total that a provider reports in parts, None where it cannot be known.

    :param needed: the part that is always reported.
    :param parts: those that a provider leaves out, or writes as null, when they are 0.
    """
    numbers = [
        read_count(counts.get(needed)),
        *(read_count(counts[name]) for name in parts if counts.get(name) is not None),
    ]
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def count(value: Any) -> int:
    """A number, 0 for what is none; for details, whose absence means nothing."""
    return read_count(value) or 0


def object_of(value: Any) -> JSON:
    """A JSON object that may be missing, null or something else in a provider's answer."""
    return value if isinstance(value, dict) else {}


def objects_of(value: Any) -> list[JSON]:
    """The objects of an array that may be missing, null or something else in a provider's answer."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def made_id(output: JSON) -> str:
    """An id for an answer that came without one: the same answer, the same id."""
    return "chatcmpl-" + hashlib.blake2b(orjson.dumps(output), digest_size=12).hexdigest()
