"""Claude's Messages body, as Bedrock takes it with InvokeModel."""

from __future__ import annotations

import functools
import json
from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import CHAT
from airflow_batch_provider.testing.native_bodies import check_claude_body
from airflow_batch_provider.testing.native_claude_rules import bare_claude, check_rules
from airflow_batch_provider.testing.native_keys import check_claude_keys
from airflow_batch_provider.testing.native_shared import Native, refuse

_REQUIRED = frozenset({"anthropic_version", "max_tokens", "messages"})
_OPTIONAL = frozenset({"anthropic_beta", "metadata", "output_config", "stop_sequences", "system", "temperature"})
_FIELDS = _REQUIRED | _OPTIONAL | {"thinking", "tool_choice", "tools", "top_k", "top_p"}
_BLOCKS = frozenset({"document", "image", "redacted_thinking", "text", "thinking", "tool_result", "tool_use"})
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def read_claude(model: str, name: str, request: JSON, cloud: str = "bedrock") -> Native:
    """A request of Claude's.

    :param name: the model's bare id, empty where it is not known.
    :param cloud: ``bedrock`` or ``vertex``, which differ in what they refuse.
    :raises RefusedError: with what Claude says of it.
    """
    if request.get("anthropic_version") != "bedrock-2023-05-31":
        raise refuse("anthropic_version: Field required")
    for key in sorted(set(request) - _FIELDS):
        raise refuse(f"{key}: Extra inputs are not permitted")
    check_claude_keys(request)
    most = request.get("max_tokens")
    if type(most) is not int or most < 1:
        raise refuse("max_tokens: Field required" if most is None else "max_tokens: must be greater than or equal to 1")
    messages: list[JSON] = [{"role": "system", "content": text} for text in _system(request.get("system"))]
    turns = request.get("messages")
    if not isinstance(turns, list) or not turns:
        raise refuse("messages: at least one message is required")
    if not 0 <= request.get("temperature", 1) <= 1:
        raise refuse("temperature: range: 0..1")
    check_rules(cloud, name, request)
    check_claude_body(bare_claude(name), request)
    for number, turn in enumerate(turns):
        messages += _turn(turn, f"messages.{number}")
    body: JSON = {"model": model, "messages": messages, "max_tokens": most}
    body |= {key: request[key] for key in ("temperature", "top_p") if key in request}
    if request.get("stop_sequences"):
        body["stop"] = request["stop_sequences"]
    if request.get("tools"):
        body["tools"] = [_tool(tool) for tool in request["tools"]]
    return Native(CHAT, body, functools.partial(_write, model, _forced(request)))


def _system(system: Any) -> list[str]:
    if system is None:
        return []
    if isinstance(system, str):
        return [system]
    texts = [str(block.get("text") or "") for block in system]
    if not all(texts):
        raise refuse("system: text content blocks must be non-empty")
    return texts


def _turn(turn: JSON, where: str) -> list[JSON]:
    """A turn as messages: what tools have answered is a message each."""
    role, content = turn.get("role"), turn.get("content")
    if role not in ("user", "assistant"):
        raise refuse(f"{where}.role: Input should be 'user' or 'assistant'")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        raise refuse(f"{where}: all messages must have non-empty content")
    parts: list[JSON] = []
    answers: list[JSON] = []
    calls: list[JSON] = []
    for number, block in enumerate(content):
        kind = block.get("type")
        if kind not in _BLOCKS:
            raise refuse(f"{where}.content.{number}: Input tag {kind!r} does not match any of the expected tags")
        if kind == "tool_result":
            answers.append({"role": "tool", "tool_call_id": block["tool_use_id"], "content": _result(block)})
        elif kind == "tool_use":
            function = {"name": block["name"], "arguments": json.dumps(block["input"])}
            calls.append({"id": block["id"], "type": "function", "function": function})
        elif kind in ("text", "image"):
            parts.append(_part(block, f"{where}.content.{number}"))
    message: JSON = {"role": role, "content": parts, **({"tool_calls": calls} if calls else {})}
    return answers + ([message] if parts or calls else [])


def _part(block: JSON, where: str) -> JSON:
    if block["type"] == "text":
        if not block.get("text"):
            raise refuse("messages: text content blocks must be non-empty")
        return {"type": "text", "text": block["text"]}
    source = block.get("source") or {}
    if source.get("type") != "base64" or not source.get("data"):
        raise refuse(f"{where}.image.source: URL sources are not supported")
    return {"type": "image_url", "image_url": {"url": f"data:{source.get('media_type')};base64,..."}}


def _result(block: JSON) -> str:
    content = block.get("content") or ""
    return content if isinstance(content, str) else " ".join(str(item.get("text") or "") for item in content)


def _tool(tool: JSON) -> JSON:
    if "name" not in tool or (tool.get("type", "custom") == "custom" and "input_schema" not in tool):
        raise refuse("tools.0.custom.input_schema: Field required")
    return {"type": "function", "function": {"name": tool["name"], "parameters": tool.get("input_schema") or {}}}


def _forced(request: JSON) -> str | None:
    """The tool that the model must call."""
    choice = request.get("tool_choice") or {}
    names = [tool.get("name") for tool in request.get("tools") or []]
    if choice.get("type") == "tool":
        if choice.get("name") not in names:
            raise refuse(f"tool_choice.name: {choice.get('name')!r} is none of the tools")
        return str(choice["name"])
    return str(names[0]) if choice.get("type") == "any" and names else None


def _write(model: str, forced: str | None, answer: JSON) -> JSON:
    choice = answer["choices"][0]
    message = choice["message"]
    content: list[JSON] = []
    stop = _STOPS.get(choice["finish_reason"], "end_turn")
    calls = message.get("tool_calls") or []
    if forced and not calls:
        content.append(
            {"type": "tool_use", "id": f"toolu_{answer['id']}", "name": forced, "input": called_with(message)}
        )
        stop = "tool_use"
    elif message.get("content"):
        content.append({"type": "text", "text": message["content"]})
    for call in calls:
        arguments = json.loads(call["function"]["arguments"] or "{}")
        content.append({"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": arguments})
    usage = answer["usage"]
    return {
        "id": f"msg_bdrk_{str(answer['id'])[-24:]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": usage["completion_tokens"],
        },
    }


def called_with(message: JSON) -> JSON:
    """A forced tool's input by an engine that knows no tools: its text, as an object."""
    text = str(message.get("content") or "")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"text": text}
