"""Gemini's answers as OpenAI's chat completions."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import orjson

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.completion import (
    completion,
    count,
    made_id,
    object_of,
    objects_of,
    token_total,
    tool_call,
    usage,
)
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.finish_words import GEMINI, finish_reason, native_word
from airflow_batch_provider.dialects.leftovers import Leftovers, unread
from airflow_batch_provider.dialects.media import Media

_COUNTED = (
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "cachedContentTokenCount",
    "totalTokenCount",
    "promptTokensDetails",
    "toolUsePromptTokensDetails",
    "candidatesTokensDetails",
)
"""The members of ``usageMetadata`` that OpenAI's usage tells."""


def read_answer(output: JSON, model: str) -> JSON | Failure:
    """One ``GenerateContentResponse``; any member may be null or missing.

    :param model: named where the answer names none.
    """
    candidates = output.get("candidates")
    first = candidates[0] if isinstance(candidates, list) and candidates else None
    left = Leftovers(
        **unread(output, "candidates", "createTime", "modelVersion", "responseId", "usageMetadata", "promptFeedback"),
        candidates=_around(candidates) if isinstance(candidates, list) else candidates,
        promptFeedback=unread(output.get("promptFeedback")),
        usageMetadata=unread(output.get("usageMetadata"), *_COUNTED),
    )
    if not isinstance(first, dict):
        reason = _blocked(output.get("promptFeedback"))
        if reason is None:
            return Failure(None, "The line came back without an answer.", retryable=True)
        return left.into(_written(output, model, None, "content_filter", refusal=reason))
    texts, thoughts, calls, media = _parts(first.get("content"), str(output.get("responseId") or ""), left)
    word = first.get("finishReason")
    finish = finish_reason(GEMINI, word, calls)
    text: str | None = "".join(texts)
    refusal = None
    if not text:
        if finish == "content_filter" and not media:
            refusal = str(first.get("finishMessage") or f"The answer was withheld: {word}.")
        text = None if calls or refusal else ""
    more = {"refusal": refusal, "reasoning": "".join(thoughts), "calls": calls, "media": media}
    return left.into(_written(output, model, text, finish, **more))


def _blocked(feedback: Any) -> str | None:
    reason = object_of(feedback).get("blockReason")
    return str(feedback.get("blockReasonMessage") or f"The prompt was blocked: {reason}.") if reason else None


def _around(candidates: list[Any]) -> list[JSON]:
    """What stands around the parts of the first candidate, and all other candidates whole."""
    first, *others = candidates or [None]
    content = unread(object_of(first).get("content"), "parts", "role")
    word = native_word(object_of(first).get("finishReason"))
    around = unread({**unread(first, "content", "finishReason", "index"), "content": content, "finishReason": word})
    return [around, *others] if around or others else []


def _parts(content: Any, response_id: str, left: Leftovers) -> tuple[list[str], list[str], list[JSON], JSON]:
    """Texts, thoughts, tool calls, and media; what is none of them stays in ``left``."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[JSON] = []
    media = Media()
    given = object_of(content).get("parts")
    for index, part in enumerate(given if isinstance(given, list) else ()):
        if not isinstance(part, dict):
            left.part(index, part)
            continue
        thought = part.get("thought") is True
        rest = unread(part, "thought")
        if isinstance(part.get("text"), str):
            (thoughts if thought else texts).append(part["text"])
            rest.pop("text", None)
        function = object_of(part.get("functionCall"))
        if function.get("name"):
            calls.append(_call(function, part.get("thoughtSignature"), response_id, len(calls)))
            rest.pop("thoughtSignature", None)
            rest |= {"functionCall": unread(function, "name", "args", "id")}
        blob = object_of(part.get("inlineData"))
        # A sketch among the thoughts is not the picture that was asked for.
        if not thought and media.take(blob.get("mimeType"), blob.get("data")):
            rest |= {"inlineData": unread(blob, "mimeType", "data")}
        if rest := unread(rest):
            left.part(index, {**rest, "thought": True} if thought else rest)
    return texts, thoughts, calls, media.fields()


def _call(function: JSON, signature: Any, response_id: str, index: int) -> JSON:
    """A tool call; Gemini mostly gives calls no id, so one is made that is the same at every reading.

    The signature travels where Google's own OpenAI-compatible endpoint puts it.
    """
    call_id = function.get("id")
    if not isinstance(call_id, str) or not call_id:
        content = orjson.dumps([response_id, index, function], option=orjson.OPT_SORT_KEYS)
        call_id = "call_" + hashlib.blake2b(content, digest_size=12).hexdigest()
    made = tool_call(call_id, str(function["name"]), function.get("args"))
    if isinstance(signature, str) and signature:
        made["extra_content"] = {"google": {"thought_signature": signature}}
    return made


def _written(output: JSON, model: str, text: str | None, finish: str, **more: Any) -> JSON:
    counts = object_of(output.get("usageMetadata"))
    return completion(
        answer_id=f"chatcmpl-{output['responseId']}" if output.get("responseId") else made_id(output),
        model=str(output.get("modelVersion") or model),
        text=text,
        finish=finish,
        created=_seconds(output.get("createTime")),
        # Gemini counts the results of its own tools apart from the prompt, and thoughts apart from the answer.
        usage=usage(
            token_total(counts, "promptTokenCount", "toolUsePromptTokenCount"),
            # A count of 0 is left out, as protocol buffers do in JSON.
            token_total({"none": 0, **counts}, "none", "candidatesTokenCount", "thoughtsTokenCount"),
            cached=counts.get("cachedContentTokenCount"),
            reasoning=counts.get("thoughtsTokenCount"),
            prompt_kinds=_kinds(counts.get("promptTokensDetails"), counts.get("toolUsePromptTokensDetails")),
            completion_kinds=_kinds(counts.get("candidatesTokensDetails")),
        ),
        **more,
    )


def _kinds(*details: Any) -> JSON:
    """Tokens by modality, by OpenAI's names; nothing for text alone, which needs no telling.

    ``ModalityTokenCount`` of google-genai: ``{"modality": "IMAGE", "tokenCount": 1290}``.
    """
    found: JSON = {}
    for detail in (entry for listed in details for entry in objects_of(listed)):
        name = f"{str(detail.get('modality')).lower()}_tokens"
        found[name] = found.get(name, 0) + count(detail.get("tokenCount"))
    return found if found.keys() - {"text_tokens"} else {}


def _seconds(stamp: Any) -> int:
    """An RFC 3339 time as seconds since the epoch, 0 for anything else; fractions may have nine digits."""
    if not isinstance(stamp, str):
        return 0
    zone = stamp[-6:] if stamp[-6:-5] in ("+", "-") else "+00:00"
    try:
        return max(0, int(datetime.fromisoformat(stamp[:19] + zone).timestamp()))
    except (ValueError, OverflowError):
        return 0
