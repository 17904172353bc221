"""Gemini's bodies on Vertex AI, read as OpenAI's and answered in their own.

Written from Google's documents, on purpose without the package's own dialects: what one side gets wrong the other side
shall not get wrong the same way. Sources: Vertex AI REST, GenerateContentRequest and its response; Google, "Get
batch text embeddings".
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import CHAT, EMBEDDINGS
from airflow_batch_provider.testing.native_bodies import check_gemini_body
from airflow_batch_provider.testing.native_gemini_rules import check_model
from airflow_batch_provider.testing.native_keys import check_gemini_keys
from airflow_batch_provider.testing.native_shared import Native, refuse

_FIELDS = frozenset(
    {
        *("contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "safetySettings", "labels"),
        *("cachedContent", "modelArmorConfig"),
    }
)
_PARTS = frozenset({"text", "inlineData", "fileData", "functionCall", "functionResponse"})
_BESIDE = frozenset({"thought", "thoughtSignature", "videoMetadata"})
_OPAQUE = frozenset(
    {"args", "response", "labels", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema"}
)
"""What the names below these belong to is the author's."""
_STOPS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


def read_gemini(model: str, request: JSON) -> Native:
    """A generateContent request.

    :raises RefusedError: with what Gemini says of it.
    """
    request = _camel(request)
    for name in sorted(set(request) - _FIELDS):
        raise refuse(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    check_gemini_keys(request)
    contents = request.get("contents")
    if not isinstance(contents, list) or not contents:
        raise refuse("Unable to submit request because at least one contents field is required.")
    messages: list[JSON] = [
        {"role": "system", "content": str(part.get("text") or "")}
        for part in (request.get("systemInstruction") or {}).get("parts") or []
    ]
    messages += [_turn(turn) for turn in contents]
    check_model(model, request)
    check_gemini_body(model, request)
    config = request.get("generationConfig") or {}
    most = config.get("maxOutputTokens")
    if most is not None and (type(most) is not int or most < 1):
        raise refuse("Unable to submit request because it has a maxOutputTokens value of less than 1.")
    temperature = config.get("temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        raise refuse("Unable to submit request because it has a temperature value out of the supported range.")
    if len(config.get("stopSequences") or []) > 5:
        raise refuse("Unable to submit request because it has too many stopSequences.")
    body: JSON = {"model": model, "messages": messages, "max_tokens": most, "temperature": temperature}
    return Native(
        CHAT, {name: value for name, value in body.items() if value is not None}, functools.partial(_write, model)
    )


def _camel(value: Any) -> Any:
    """Names as REST writes them: snake_case is taken, too."""
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): item for name, item in value.items()}
    return {name: item if name in _OPAQUE else _camel(item) for name, item in named.items()}


def _turn(turn: Any) -> JSON:
    role = turn.get("role", "user")
    if role not in ("user", "model"):
        raise refuse("Please use a valid role: user, model.")
    parts = turn.get("parts")
    if not isinstance(parts, list) or not parts:
        raise refuse("Unable to submit request because it must have at least one parts field.")
    return {"role": "assistant" if role == "model" else role, "content": [_part(part) for part in parts]}


def _part(part: JSON) -> JSON:
    kinds = set(part) - _BESIDE
    if len(kinds) != 1 or not kinds <= _PARTS:
        raise refuse(f"Unable to submit request because a part must have one initialized field, not {sorted(kinds)}.")
    if "text" in part:
        return {"type": "text", "text": part["text"]}
    if "fileData" in part:
        if not part["fileData"].get("mimeType"):
            raise refuse("Unable to submit request because it has an empty mimeType.")
        if not str(part["fileData"].get("fileUri", "")).startswith("gs://"):
            raise refuse("Cannot fetch content from the provided URL.")
    if "inlineData" in part and not part["inlineData"].get("mimeType"):
        raise refuse("Unable to submit request because it has an empty mimeType.")
    if "functionResponse" in part:
        answer = part["functionResponse"]
        if not answer.get("name") or not isinstance(answer.get("response"), dict):
            raise refuse("Invalid functionResponse: name and an object as response are required.")
        return {"type": "text", "text": json.dumps(answer["response"])}
    return {"type": next(iter(kinds))}


def _write(model: str, answer: JSON) -> JSON:
    choice = answer["choices"][0]
    message = choice["message"]
    parts: list[JSON] = [{"text": message["content"]}] if message.get("content") else []
    for call in message.get("tool_calls") or []:
        arguments = json.loads(call["function"]["arguments"] or "{}")
        parts.append({"functionCall": {"name": call["function"]["name"], "args": arguments}})
    usage = answer["usage"]
    return {
        "candidates": [
            {
                "content": {"role": "model", **({"parts": parts} if parts else {})},
                "finishReason": _STOPS.get(choice["finish_reason"], "OTHER"),
                "avgLogprobs": -0.2,
                "score": -19.4,
            }
        ],
        "createTime": "2026-09-02T20:08:00.000000Z",
        "modelVersion": model,
        "responseId": hashlib.sha256(str(message).encode()).hexdigest()[:22],
        "usageMetadata": {
            "promptTokenCount": usage["prompt_tokens"],
            "candidatesTokenCount": usage["completion_tokens"],
            "totalTokenCount": usage["total_tokens"],
            "trafficType": "ON_DEMAND",
        },
    }


def read_gemini_embedding(model: str, request: JSON) -> Native:
    """An embedContent request.

    :raises RefusedError: with what the service says of it.
    """
    for name in sorted(set(request) - {"content", "embed_content_config", "embedContentConfig"}):
        raise refuse(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    parts = (request.get("content") or {}).get("parts")
    if not isinstance(parts, list) or len(parts) != 1 or not parts[0].get("text"):
        raise refuse("The content must hold one text.")

    config = request.get("embed_content_config") or request.get("embedContentConfig") or {}
    size = config.get("output_dimensionality", config.get("outputDimensionality", 3072))
    # Google, "Embeddings": gemini-embedding-001 normalizes the 3072 dimensions alone, gemini-embedding-2 all.
    length = 1.0 if size == 3072 or "001" not in model else 0.7

    def write(answer: JSON) -> JSON:
        count = str(answer["usage"]["prompt_tokens"])
        found = answer["data"][0]["embedding"]
        scale = length / math.hypot(*found)
        return {"tokenCount": count, "embedding": {"values": [number * scale for number in found]}}

    return Native(EMBEDDINGS, {"model": model, "input": parts[0]["text"]}, write)
