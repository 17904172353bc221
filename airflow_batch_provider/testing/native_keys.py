"""The keys that providers know in their requests, by their own documents; every other is refused in their words.

Written from Anthropic's OpenAPI (RequestTextBlock and its siblings, Tool, ToolChoice; "Extra inputs are not permitted")
and Google's REST reference of Vertex AI (Content, Part, GenerationConfig, FunctionDeclaration, ToolConfig; "Cannot find
field"), on purpose without the package's own tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.native_shared import refuse

Known: TypeAlias = "Mapping[str, Any]"
"""Key -> the keys below it; None for what is the author's own."""

_CACHE: Known = {"cache_control": {"type": None, "ttl": None}}
_SOURCE = dict.fromkeys(("type", "media_type", "data", "url", "content"))
_CLAUDE_BLOCKS: dict[str, Known] = {
    "text": {"text": None, "citations": None, **_CACHE},
    "image": {"source": _SOURCE, **_CACHE},
    "document": {"source": _SOURCE, "title": None, "context": None, "citations": {"enabled": None}, **_CACHE},
    "thinking": {"thinking": None, "signature": None},
    "redacted_thinking": {"data": None},
    "tool_use": {"id": None, "name": None, "input": None, **_CACHE},
    "tool_result": {"tool_use_id": None, "content": None, "is_error": None, **_CACHE},
}
_CLAUDE_TOOL: Known = {**dict.fromkeys(("type", "name", "description", "input_schema", "strict")), **_CACHE}
_CLAUDE_CHOICE: Known = dict.fromkeys(("type", "name", "disable_parallel_tool_use"))
_CLAUDE_OUTPUT: Known = {"effort": None, "format": {"type": None, "schema": None}}
_GEMINI_PART: Known = {
    "text": None,
    "thought": None,
    "thoughtSignature": None,
    "mediaResolution": None,
    "videoMetadata": None,
    "inlineData": dict.fromkeys(("mimeType", "data", "displayName")),
    "fileData": dict.fromkeys(("mimeType", "fileUri", "displayName")),
    "functionCall": dict.fromkeys(("id", "name", "args")),
    "functionResponse": dict.fromkeys(("id", "name", "response", "parts")),
}
_GEMINI_FUNCTION = dict.fromkeys(
    ("name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema", "behavior")
)
_GEMINI_CONFIG = dict.fromkeys(
    (
        *("temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "seed", "routingConfig"),
        *("presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs", "responseMimeType", "responseSchema"),
        *("responseJsonSchema", "responseModalities", "mediaResolution", "speechConfig", "audioTimestamp"),
        *("imageConfig", "enableAffectiveDialog"),
    )
)
_GEMINI: Known = {
    "contents": {"role": None, "parts": _GEMINI_PART},
    "systemInstruction": {"role": None, "parts": _GEMINI_PART},
    "generationConfig": {
        **_GEMINI_CONFIG,
        "thinkingConfig": dict.fromkeys(("includeThoughts", "thinkingBudget", "thinkingLevel")),
    },
    "toolConfig": {
        "functionCallingConfig": dict.fromkeys(("mode", "allowedFunctionNames", "streamFunctionCallArguments")),
        "retrievalConfig": None,
    },
    "safetySettings": dict.fromkeys(("category", "threshold", "method")),
}
_GEMINI_TOOL: Known = {"functionDeclarations": _GEMINI_FUNCTION}


def check_claude_keys(request: JSON) -> None:
    """Refuse what Claude knows nowhere below the top level of a request.

    :raises RefusedError: with what Claude says of it.
    """
    for number, turn in enumerate(_list(request.get("messages"))):
        _claude(turn, {"role": None, "content": None}, f"messages.{number}")
        for at, block in enumerate(_list(turn.get("content"))):
            kind = block.get("type")
            if kind in _CLAUDE_BLOCKS:
                _claude(block, {"type": None, **_CLAUDE_BLOCKS[kind]}, f"messages.{number}.content.{at}.{kind}")
    for at, block in enumerate(_list(request.get("system"))):
        _claude(block, {"type": None, **_CLAUDE_BLOCKS["text"]}, f"system.{at}")
    for at, tool in enumerate(_list(request.get("tools"))):
        _claude(tool, _CLAUDE_TOOL, f"tools.{at}.custom")
    _claude(request.get("tool_choice"), _CLAUDE_CHOICE, "tool_choice")
    _claude(request.get("output_config"), _CLAUDE_OUTPUT, "output_config")


def check_gemini_keys(request: JSON) -> None:
    """Refuse what Gemini knows nowhere below the top level of a request.

    :param request: with names as REST writes them.
    :raises RefusedError: with what Gemini says of it.
    """
    for name, known in _GEMINI.items():
        _gemini(request.get(name), known, name)
    for at, tool in enumerate(_list(request.get("tools"))):
        if isinstance(tool, dict) and "functionDeclarations" in tool:
            _gemini(tool, _GEMINI_TOOL, f"tools[{at}]")


def _claude(value: Any, known: Known | None, where: str) -> None:
    if not isinstance(value, dict) or known is None:
        return
    for name, item in value.items():
        if name not in known:
            raise refuse(f"{where}.{name}: Extra inputs are not permitted")
        _claude(item, known[name], f"{where}.{name}")


def _gemini(value: Any, known: Known | None, where: str) -> None:
    for at, item in enumerate(value if isinstance(value, list) else ()):
        _gemini(item, known, f"{where}[{at}]")
    if not isinstance(value, dict) or known is None:
        return
    for name, item in value.items():
        if name not in known:
            raise refuse(f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}': Cannot find field.")
        _gemini(item, known[name], f"{where}.{name}")


def _list(value: Any) -> list[Any]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
