"""What a Claude answer holds beyond OpenAI's format: citations, server tools and their results, unknown blocks.

Sources: ``ContentBlock`` and ``Usage`` of anthropic 2.12; the block types of its beta namespace come the same way.
"""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.claude_schema import ANSWER_TOOLS
from airflow_batch_provider.dialects.completion import object_of
from airflow_batch_provider.dialects.finish_words import native_word
from airflow_batch_provider.dialects.leftovers import Leftovers, unread

_READ: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "thinking": ("thinking", "signature"),
    "redacted_thinking": ("data",),
    "tool_use": ("id", "name", "input"),
}
"""The members of a block that the completion tells, by the block's type."""
_COUNTED = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_DIRECT = {"type": "direct"}
"""``caller`` of a tool call that the model made itself, as it does without server tools."""


def claude_leftovers(output: JSON) -> Leftovers:
    """What no member of a completion holds.

    :param output: a Message.
    """
    usage = object_of(output.get("usage"))
    details = unread(usage.get("output_tokens_details"), "thinking_tokens")
    left = Leftovers(
        **unread(output, "id", "content", "model", "role", "stop_reason", "type", "usage"),
        stop_reason=native_word(output.get("stop_reason")),
        usage=unread({**unread(usage, *_COUNTED), "output_tokens_details": details}),
    )
    blocks: list[Any] = output.get("content") or []
    answers = [index for index, block in enumerate(blocks) if _is_answer(block)]
    for index, block in enumerate(blocks):
        if not isinstance(block, dict):
            left.part(index, block)
            continue
        kind = str(block.get("type"))
        # The content of a forced tool's answer is the tool's input, without the words around it.
        shown = not answers or index == answers[0] or (kind != "text" and index not in answers)
        rest = unread(block, "type", *(_READ.get(kind, ()) if shown else ()))
        if rest.get("caller") == _DIRECT:
            del rest["caller"]
        if rest:
            left.part(index, {"type": kind, **rest})
    return left


def _is_answer(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "tool_use" and block.get("name") in ANSWER_TOOLS
