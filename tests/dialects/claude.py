"""Claude's models, bodies and answers, for the tests of its dialect."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.anthropic import Anthropic
from airflow_batch_provider.dialects.families import bedrock_family
from tests.dialects import laws
from tests.dialects.sdk_schemas import valid_anthropic

OLD = "anthropic.claude-3-haiku-20240307-v1:0"
FOUR = "us.anthropic.claude-sonnet-4-20250514-v1:0"
FOUR_FIVE = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
FOUR_SIX = "anthropic.claude-opus-4-6-v1"
FOUR_SEVEN = "anthropic.claude-opus-4-7"
FIVE = "anthropic.claude-opus-5"
MODELS = [OLD, FOUR, FOUR_FIVE, FOUR_SIX, FOUR_SEVEN, FIVE]
HELLO: list[JSON] = [{"role": "user", "content": "Hello"}]
CLOSED = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/a"}},
    "required": ["a"],
    "additionalProperties": False,
    "$defs": {"a": {"type": "string"}},
}


def dialect(model: str = FOUR) -> Anthropic:
    return Anthropic(bedrock_family(model), model)


def request(model: str = FOUR, messages: list[JSON] | None = None, **options: Any) -> JSON:
    """The request for a body, checked against the SDK's types."""
    made = laws.translated(dialect(model), {"messages": messages or HELLO, **options})
    valid_anthropic(made)
    return made


def refused(field: str, model: str = FOUR, messages: list[JSON] | None = None, **options: Any) -> str:
    """The message with which a body is refused for a field."""
    with pytest.raises(UntranslatableError) as caught:
        dialect(model).request({"messages": messages or HELLO, **options})
    assert caught.value.field == f"body.{field}"
    return caught.value.message


def calling(*ids: str, **more: Any) -> JSON:
    """An assistant message that calls ``look_up``."""
    function = {"name": "look_up", "arguments": '{"word": "x"}'}
    calls = [{"id": call_id, "type": "function", "function": function} for call_id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def result(call_id: str, content: Any = "found") -> JSON:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def answer(content: Any, stop: str | None = "end_turn", *, model: str = FOUR, **more: Any) -> JSON:
    """The choice of the answer to a Message."""
    output = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": content}
    output |= {"stop_reason": stop, "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 5}} | more
    found = dialect(model).answer(output)
    assert isinstance(found, dict)
    return {**found["choices"][0], "usage": found["usage"], "id": found["id"], "model": found["model"]}


def text(said: str) -> JSON:
    return {"type": "text", "text": said}


def echo(made: JSON) -> JSON:
    said = "".join(block["text"] for block in made["messages"][-1]["content"] if block["type"] == "text")
    usage = {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": None}
    message = {"id": "msg_2", "type": "message", "role": "assistant", "model": "claude", "content": [text(said)]}
    return {**message, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
