"""What OpenAI's own service refuses of a chat request after the upload: rows that would come back as errors 400.

Sources: OpenAI, API reference, FunctionObject (names; vercel/ai#1972, home-assistant/core#121325); "An assistant
message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'" (BerriAI/litellm#28995);
"messages with role 'tool' must be a response to a preceding message with 'tool_calls'" (microsoft/promptflow#3130);
API reference, ``response_format``: JSON mode requires the word JSON in the messages.
"""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.core.records import JSON, BatchRequest
from airflow_batch_provider.dialects.facts.tool_names import OPENAI
from airflow_batch_provider.dialects.openai import OpenAIFormat
from airflow_batch_provider.dialects.options import check_tool_name, refuse


class OpenAIChatFormat(OpenAIFormat):
    """OpenAI's lines of chat, for OpenAI's own service and Azure's."""

    def encode(self, request: BatchRequest, position: int) -> bytes:
        """The wire line; see :class:`~airflow_batch_provider.dialects.base.LineFormat`."""
        check_chat(request.body)
        return super().encode(request, position)


def check_chat(body: JSON) -> None:
    """Refuse what OpenAI refuses whatever the model; shapes that are none of OpenAI's are its own to judge.

    :raises UntranslatableError: naming the field.
    """
    tools = body.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(name := _name(tool), str):
            check_tool_name(name, OPENAI, f"tools[{index}].function.name")
    messages = body["messages"]
    if any(message.get("tool_calls") or message.get("role") == "tool" for message in messages):
        _check_calls(messages)
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_object" and not _says_json(messages):
        raise refuse("response_format", "json_object requires the word JSON in a message; say that JSON is wanted")


def _check_calls(messages: list[JSON]) -> None:
    waiting: list[Any] = []
    place = 0
    for index, message in enumerate(messages):
        if message.get("role") == "tool":
            call_id = message.get("tool_call_id")
            if call_id not in waiting:
                said = f"{call_id!r} is not the id of a call of the message before"
                raise refuse(f"messages[{index}].tool_call_id", f"{said}; put tool messages right after it, one a call")
            waiting.remove(call_id)
            continue
        _check_answered(waiting, place)
        calls = message.get("tool_calls")
        for number, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(name := _name(call), str):
                check_tool_name(name, OPENAI, f"messages[{index}].tool_calls[{number}].function.name")
            waiting.append(call.get("id") if isinstance(call, dict) else None)
        place = index
    _check_answered(waiting, place)


def _check_answered(waiting: list[Any], place: int) -> None:
    if waiting:
        raise refuse(f"messages[{place}].tool_calls", "every tool call needs one tool message right after its message")


def _name(entry: Any) -> Any:
    function = entry.get("function") if isinstance(entry, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _says_json(messages: list[JSON]) -> bool:
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [content]
        for part in parts:
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str) and "json" in text.lower():
                return True
    return False
