"""B10: keys that OpenAI's types do not know: those that other tools write, and any other."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.families import CHAT
from tests.dialects.laws import IMAGE, TOOL, text_part
from tests.dialects.sdk_keys import CALL, PDF
from tests.dialects.test_keys import CHAT_MODELS, line_format, names, outcome, refused_around

CLAUDE, CLAUDE_VERTEX = "bedrock anthropic.claude-haiku-4-5-20251001-v1:0", "vertex_ai claude-haiku-4-5"
MARK = {"type": "ephemeral", "ttl": "1h"}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}


def user(content: Any, **keys: Any) -> JSON:
    return {"model": "m", "messages": [{"role": "user", "content": content, **keys}]}


def said(**keys: Any) -> JSON:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes.", **keys}]
    return {"model": "m", "messages": [*messages, {"role": "user", "content": "Go on"}]}


OTHERS: list[tuple[str, JSON, JSON]] = [
    ("messages[].content[].cache_control", user([{**text_part("a"), "cache_control": MARK}]), user([text_part("a")])),
    (
        "messages[].content[].cache_control",
        {"model": "m", "messages": [{"role": "system", "content": [{**text_part("s"), "cache_control": MARK}]}]}
        | {
            "messages": [
                {"role": "system", "content": [{**text_part("s"), "cache_control": MARK}]},
                *said()["messages"],
            ]
        },
        {"model": "m", "messages": [{"role": "system", "content": [text_part("s")]}, *said()["messages"]]},
    ),
    ("messages[].cache_control", user("a", cache_control=MARK), user("a")),
    (
        "messages[].content[].cache_control",
        user([{**IMAGE, "cache_control": MARK}, text_part("a")]),
        user([IMAGE, text_part("a")]),
    ),
    (
        "messages[].content[].citations",
        user([{**FILE, "citations": {"enabled": True}}, text_part("a")]),
        user([FILE, text_part("a")]),
    ),
    ("tools[].cache_control", user("a") | {"tools": [{**TOOL, "cache_control": MARK}]}, user("a") | {"tools": [TOOL]}),
    ("messages[].thinking_blocks", said(thinking_blocks=[THOUGHT]), said()),
    ("messages[].reasoning_content", said(reasoning_content="Hm."), said()),
    ("messages[].reasoning_details", said(reasoning_details=[{"text": "Hm."}]), said()),
    ("messages[].annotations", said(annotations=[{"type": "url_citation"}]), said()),
    ("messages[].provider_specific_fields", said(provider_specific_fields={"a": 1}), said()),
    ("messages[].prefix", said(prefix=True), said()),
    ("messages[].id", said(id="msg_1"), said()),
]


@pytest.mark.parametrize("name", CHAT_MODELS)
@pytest.mark.parametrize(("path", "body", "without"), OTHERS, ids=[f"{i}-{row[0]}" for i, row in enumerate(OTHERS)])
def test_keys_of_other_tools(name: str, path: str, body: JSON, without: JSON) -> None:
    """B10: what LiteLLM, OpenRouter, DeepSeek and Claude's users write is written, noted or refused by its path."""
    found = outcome(name, CHAT, body)
    if found.lines is None:
        assert names(path, found.named[0]) or refused_around(path, found.named[0]), found
        return
    noted = f"body.{path}" in found.named and "(first in body.messages[" in found.text.replace("tools[", "messages[")
    assert noted or found.lines != outcome(name, CHAT, without).lines, found


def test_marks_for_claude_on_vertex() -> None:
    """B10: Claude's cache marks and wishes for citations are written where Claude takes them in batches."""
    parts = [{**FILE, "citations": {"enabled": True}}, {**text_part("Read."), "cache_control": MARK}]
    body = {**user(parts), "tools": [{**TOOL, "cache_control": MARK}]}
    body["messages"] = [
        {"role": "system", "content": [text_part("one"), {**text_part("two"), "cache_control": MARK}]},
        {**body["messages"][0]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "It is.", "cache_control": MARK},
        {"role": "user", "content": "Go on.", "cache_control": MARK},
    ]
    lines = outcome(CLAUDE_VERTEX, CHAT, body).lines
    assert lines is not None
    made = orjson.loads(lines)["request"]
    assert made["system"][1] == {"type": "text", "text": "two", "cache_control": MARK}
    assert made["messages"][0]["content"][0]["citations"] == {"enabled": True}
    assert made["messages"][0]["content"][1]["cache_control"] == MARK
    assert [block.get("cache_control") for block in made["messages"][2]["content"]] == [MARK, MARK]
    assert made["tools"][0]["cache_control"] == MARK


def test_citations_beside_a_schema() -> None:
    """B10: Claude refuses citations beside a schema, so the row is refused before it is paid for."""
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    wish = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    body = {**user([{**FILE, "citations": {"enabled": True}}, text_part("a")]), "response_format": wish}
    assert "citations" in outcome(CLAUDE, CHAT, body).text


def test_notes_do_not_grow_with_the_rows() -> None:
    """B10: one note for a key, wherever in the arrays it stands, names its first place."""
    made = line_format(CLAUDE, CHAT)
    dialect: Any = made.dialect  # type: ignore[attr-defined]
    for number in range(50):
        parts = [text_part("a")] * number + [{**text_part("b"), "cache_control": MARK}]
        dialect.request({**user(parts, name=f"speaker {number}"), "max_tokens": 5})
    assert sorted(made.notes) == ["body.messages[].content[].cache_control", "body.messages[].name"]
    assert "first in body.messages[0].content[0].cache_control" in made.notes["body.messages[].content[].cache_control"]


def _objects(value: Any, path: str = "body") -> list[tuple[str, JSON]]:
    """Every object of a body whose names are not the author's own, with its path."""
    found: list[tuple[str, JSON]] = []
    if isinstance(value, dict):
        found.append((path, value))
        for name, item in value.items():
            if name not in ("parameters", "schema", "metadata"):
                found += _objects(item, f"{path}.{name}")
    for index, item in enumerate(value if isinstance(value, list) else ()):
        found += _objects(item, f"{path}[{index}]")
    return found


WHOLE: JSON = {
    "model": "m",
    "messages": [
        {"role": "system", "content": [text_part("s")]},
        {"role": "user", "content": [text_part("a")]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": [text_part("t")]},
        {"role": "user", "content": [IMAGE, text_part("b")]},
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function"}]}},
}
WHOLE["tool_choice"]["allowed_tools"]["tools"][0]["function"] = {"name": "look_up"}
PLAIN: JSON = {
    "model": "m",
    "messages": [{"role": "system", "content": [text_part("s")]}, *said()["messages"]],
    "stream_options": {"include_usage": True},
}
TEXT_ONLY = ("bedrock qwen", "vertex_ai meta/llama-3.3")
TAKES_TOOLS = [name for name in CHAT_MODELS if not name.startswith(("gateway", "bedrock us.meta", "bedrock mistral"))]


@given(st.data())
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_any_key_at_any_depth(data: st.DataObject) -> None:
    """B10: a key that nobody knows, in any object of a request, is sent or named by its path, in every dialect."""
    name = data.draw(st.sampled_from(CHAT_MODELS))
    body = copy.deepcopy(data.draw(st.sampled_from([WHOLE, PLAIN] if name in TAKES_TOOLS else [PLAIN])))
    if name.startswith(TEXT_ONLY):
        body["messages"][-1]["content"] = [text_part("b")]
    if "gateway" not in name and not ("gemini-2" in name and "tools" in body):
        body["response_format"] = {"type": "json_object"}
    path, place = data.draw(st.sampled_from(_objects(body)))
    key = data.draw(st.text("abz_.-[]é", min_size=1, max_size=8).map("x_".__add__))
    value = data.draw(st.sampled_from(["needle", True, 7, {"needle": 1}, ["needle"]]))
    clean = outcome(name, CHAT, body).lines
    assert clean is not None
    place[key] = value
    made = line_format(name, CHAT)
    found = outcome(name, CHAT, body)
    if found.lines is not None:
        around = any(f"{path}.".startswith(f"{told}.") for told in found.named)
        assert found.lines != clean or around, (path, key, made.notes)
        return
    assert f"{path}.{key}" == found.named[0], found.text
