"""What OpenAI refuses of a chat request, in its words: the fake's own copy, written from the reports of errors.

Sources: vercel/ai#1972 and home-assistant/core#121325 (names of functions), BerriAI/litellm#28995 and
microsoft/promptflow#3130 (calls and tool messages), OpenAI's API reference (JSON mode).
"""

from __future__ import annotations

import json
import re

from airflow_batch_provider.core.records import JSON


def refusal_of_chat(body: JSON) -> str | None:
    """Why the row is an error 400, None for one that is taken."""
    for number, tool in enumerate(body.get("tools") or []):
        name = (tool.get("function") or {}).get("name", "")
        if len(name) > 64:
            return (
                f"Invalid 'tools[{number}].function.name': string too long. Expected a string with maximum length 64."
            )
        if tool.get("type") == "function" and not re.fullmatch(r"[a-zA-Z0-9_-]+", name):
            return (
                f"Invalid 'tools[{number}].function.name': string does not match pattern. Expected a string that "
                "matches the pattern '^[a-zA-Z0-9_-]+$'."
            )
    open_calls: set[str] = set()
    for message in body.get("messages") or []:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in open_calls:
                return "Invalid parameter: messages with role 'tool' must be a response to a preceding message."
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            break
        else:
            open_calls = {call["id"] for call in message.get("tool_calls") or []}
    if open_calls:
        return (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(open_calls)}"
        )
    wanted = (body.get("response_format") or {}).get("type")
    if wanted == "json_object" and "json" not in json.dumps(body.get("messages")).lower():
        return "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    return None
