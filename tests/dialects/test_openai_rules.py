"""What OpenAI refuses of a chat request is said before the upload, and the fake refuses it in OpenAI's words."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import orjson
import pytest

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest
from airflow_batch_provider.dialects.families import CHAT, EMBEDDINGS
from airflow_batch_provider.dialects.openai_rules import OpenAIChatFormat, check_chat
from airflow_batch_provider.testing.native_openai import refusal_of_chat
from tests.facts import wire_facts

HI = {"role": "user", "content": "a"}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "1"}


def tool(name: str) -> JSON:
    return {"type": "function", "function": {"name": name}}


def calls(*ids: str, name: str = "f") -> JSON:
    made = [{"id": call, "type": "function", "function": {"name": name, "arguments": "{}"}} for call in ids]
    return {"role": "assistant", "tool_calls": made}


def body(*messages: JSON, **more: Any) -> JSON:
    return {"messages": [HI, *messages], **more}


UNANSWERED = "must be followed by tool messages"
ALONE = "must be a response to a preceding message"


@pytest.mark.parametrize(
    ("given", "field", "theirs"),
    [
        (body(tools=[tool("a.b")]), "tools[0].function.name", "does not match pattern"),
        (body(tools=[tool("f"), tool("w" * 65)]), "tools[1].function.name", "string too long"),
        (body(calls("c")), "messages[1].tool_calls", UNANSWERED),
        (body(calls("c"), HI, RESULT), "messages[1].tool_calls", UNANSWERED),
        (body(calls("c", "d"), RESULT), "messages[1].tool_calls", UNANSWERED),
        (body(RESULT), "messages[1].tool_call_id", ALONE),
        (body(calls("c"), RESULT, RESULT), "messages[3].tool_call_id", ALONE),
        (body(response_format={"type": "json_object"}), "response_format", "must contain the word 'json'"),
    ],
)
def test_refused(given: JSON, field: str, theirs: str) -> None:
    """These came back as errors 400, hours after the upload."""
    with pytest.raises(UntranslatableError, match=re.escape(f"body.{field}")):
        check_chat(given)
    assert theirs in str(refusal_of_chat(given))


@pytest.mark.parametrize(
    "given",
    [
        body(),
        body(tools=[tool("a-B_1"), {"type": "custom", "custom": {"name": "c"}}]),
        body(calls("c", "d"), {**RESULT, "tool_call_id": "d"}, RESULT, HI, calls("c"), RESULT),
        body(
            {"role": "system", "content": [{"type": "text", "text": "Give Json."}]},
            response_format={"type": "json_object"},
        ),
        body(tools="what", response_format="text"),
    ],
)
def test_taken(given: JSON) -> None:
    """What OpenAI takes, and what only OpenAI can judge."""
    check_chat(given)
    if isinstance(given.get("tools", []), list):
        assert refusal_of_chat(given) is None


@pytest.mark.parametrize("checks", [True, False])
def test_only_where_openai_itself_answers(checks: bool) -> None:
    """A compatible service judges by itself."""
    backend = OpenAIBackend(Route("http://127.0.0.1:9/v1"), wire_facts(checks_chat=checks))
    raw = orjson.dumps({"custom_id": "r", "method": "POST", "url": CHAT, "body": body(RESULT)})
    request = BatchRequest("r", CHAT, None, body(RESULT), raw, 1)
    with pytest.raises(UntranslatableError) if checks else contextlib.nullcontext():
        backend.line_format(None, CHAT).encode(request, 0)
    assert not isinstance(backend.line_format(None, EMBEDDINGS), OpenAIChatFormat)
