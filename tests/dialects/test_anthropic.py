"""The Anthropic dialect: messages and tools as the anthropic SDK types them, and the laws."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.anthropic import Anthropic
from airflow_batch_provider.dialects.claude_schema import ANSWER_TOOL
from airflow_batch_provider.dialects.families import vertex_family
from tests.dialects import laws
from tests.dialects.claude import (
    CLOSED,
    FOUR,
    FOUR_FIVE,
    FOUR_SIX,
    HELLO,
    MODELS,
    calling,
    dialect,
    echo,
    refused,
    request,
    result,
    text,
)
from tests.dialects.sdk_schemas import valid_anthropic

# ---- messages --------------------------------------------------------------------------------------------------------


def test_plain() -> None:
    """A plain line becomes one user turn, with the version and the max_tokens that Claude requires, and no model."""
    made = dialect()
    assert made.request({"model": "x", "messages": HELLO, "stream": False}) == {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [text("Hello")]}],
    }
    assert "4096" in made.notes["body.max_tokens"]


def test_vertex_has_its_own_version() -> None:
    """On Vertex the version is Vertex's."""
    made = Anthropic(vertex_family("claude-sonnet-4-5@20250929"), "m").request({"messages": HELLO})
    assert made["anthropic_version"] == "vertex-2023-10-16"


def test_system_messages_anywhere() -> None:
    """Every system and developer message arrives, in order."""
    messages = [{"role": "system", "content": "one"}, *HELLO, {"role": "developer", "content": [laws.text_part("two")]}]
    assert request(messages=messages)["system"] == [text("one"), text("two")]
    assert request(messages=messages[:2])["system"] == "one"


def test_turns_are_merged_and_the_user_begins() -> None:
    """Neighbours of one role make one turn; a conversation that the assistant begins is refused."""
    made = request(messages=[*HELLO, *HELLO, {"role": "assistant", "content": "a"}, *HELLO])
    assert [turn["role"] for turn in made["messages"]] == ["user", "assistant", "user"]
    assert made["messages"][0]["content"] == [text("Hello"), text("Hello")]
    assert "user" in refused("messages", messages=[{"role": "assistant", "content": "a"}, *HELLO])


def test_prefill() -> None:
    """The assistant may speak last where the model allows it, without white space at the end."""
    last = {"role": "assistant", "content": "So: "}
    assert request(FOUR, messages=[*HELLO, last])["messages"][-1]["content"] == [text("So:")]
    assert "user" in refused("messages", FOUR_SIX, messages=[*HELLO, last])


def test_images_and_files() -> None:
    """Images and PDFs come as base64, plain text as text; anything else is refused, as are addresses."""
    url = f"data:image/jpg;base64,{laws.PIXEL}"
    pdf = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}}
    plain = {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk="}}
    parts = [{"type": "image_url", "image_url": {"url": url, "detail": "high"}}, pdf, plain]
    blocks = request(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]
    assert blocks[0]["source"] == {"type": "base64", "media_type": "image/jpeg", "data": laws.PIXEL}
    assert blocks[1]["source"] == {"type": "base64", "media_type": "application/pdf", "data": "aGk="}
    assert blocks[1]["title"] == "a.pdf"
    assert blocks[2]["source"] == {"type": "text", "media_type": "text/plain", "data": "hi"}
    web = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}]
    assert "data: URL" in refused("messages[0].content[0].image_url.url", messages=web)
    for data in ("data:text/csv;base64,aGk=", "data:text/plain;base64,//8="):
        odd = [{"role": "user", "content": [{"type": "file", "file": {"file_data": data}}]}]
        refused("messages[0].content[0].file.file_data", messages=odd)


# ---- tools -----------------------------------------------------------------------------------------------------------


def test_tools() -> None:
    """Functions become tools; one without parameters gets an empty schema."""
    made = request(tools=[laws.TOOL, {"type": "function", "function": {"name": "now"}}])
    schema = laws.TOOL["function"]["parameters"]  # type: ignore[index]
    assert made["tools"] == [
        {"name": "look_up", "description": "Looks a word up.", "input_schema": schema},
        {"name": "now", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in made


def test_strict_tools() -> None:
    """strict is passed on where the model has it and the schema allows it."""
    function = {"name": "f", "parameters": CLOSED, "strict": True}
    assert request(FOUR_FIVE, tools=[{"type": "function", "function": function}])["tools"][0]["strict"] is True
    assert "strict" not in request(FOUR, tools=[{"type": "function", "function": function}])["tools"][0]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", None),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "look_up"}}, {"type": "tool", "name": "look_up"}),
    ],
)
def test_tool_choice(choice: Any, told: Any) -> None:
    """Every tool_choice has its word."""
    assert request(tools=[laws.TOOL], tool_choice=choice).get("tool_choice") == told


def test_allowed_tools() -> None:
    """allowed_tools leaves only those tools, with its mode."""
    tools = [laws.TOOL, {"type": "function", "function": {"name": "now"}}]
    allowed = [{"type": "function", "function": {"name": "now"}}]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": allowed}}
    made = request(tools=tools, tool_choice=choice)
    assert [tool["name"] for tool in made["tools"]] == ["now"]
    assert made["tool_choice"] == {"type": "any"}


def test_bad_tools_are_refused() -> None:
    """Tools that are no functions, have no name or one with odd characters, and choices that name none."""
    refused("tools[0].type", tools=[{"type": "custom", "custom": {"name": "x"}}])
    refused("tools[0].function.name", tools=[{"type": "function", "function": {}}])
    refused("tools[0].function.name", tools=[{"type": "function", "function": {"name": "a b"}}])
    refused("tools[0].function.parameters", tools=[{"type": "function", "function": {"name": "a", "parameters": []}}])
    refused("tool_choice.function.name", tools=[laws.TOOL], tool_choice={"type": "function", "function": {"name": "x"}})
    refused("tool_choice", tool_choice="required")
    refused("tool_choice", tools=[laws.TOOL], tool_choice="sometimes")


def test_parallel_tool_calls() -> None:
    """parallel_tool_calls: false is told with the choice, whatever it is."""
    assert request(tools=[laws.TOOL], parallel_tool_calls=False)["tool_choice"] == {
        "type": "auto",
        "disable_parallel_tool_use": True,
    }
    named = {"type": "function", "function": {"name": "look_up"}}
    assert request(tools=[laws.TOOL], tool_choice=named, parallel_tool_calls=False)["tool_choice"] == {
        "type": "tool",
        "name": "look_up",
        "disable_parallel_tool_use": True,
    }
    none = request(tools=[laws.TOOL], tool_choice="none", parallel_tool_calls=False)["tool_choice"]
    assert none == {"type": "none"}
    assert "tool_choice" not in request(tools=[laws.TOOL], parallel_tool_calls=True)


def test_calls_and_results() -> None:
    """A call is a tool_use after the text; all results of a turn are in one user turn, before what the user adds."""
    call = calling("a", "b", content="Looking.")
    messages = [*HELLO, call, result("b"), {"role": "user", "content": "and?"}, result("a", [laws.text_part("x")])]
    made = request(messages=messages, tools=[laws.TOOL])["messages"]
    assert [block["type"] for block in made[1]["content"]] == ["text", "tool_use", "tool_use"]
    assert made[1]["content"][1] == {"type": "tool_use", "id": "a", "name": "look_up", "input": {"word": "x"}}
    assert [block["type"] for block in made[2]["content"]] == ["tool_result", "tool_result", "text"]
    assert made[2]["content"][0] == {"type": "tool_result", "tool_use_id": "b", "content": "found"}
    assert made[2]["content"][1] == {"type": "tool_result", "tool_use_id": "a", "content": "x"}


def test_calls_without_results_are_refused() -> None:
    """Every call has one result, right after it."""
    both = calling("a", "b")
    refused("messages", messages=[*HELLO, both, result("a")], tools=[laws.TOOL])
    refused("messages", messages=[*HELLO, both], tools=[laws.TOOL])
    refused("messages", messages=[*HELLO, both, result("a"), result("b"), result("b")], tools=[laws.TOOL])
    refused("messages[1].tool_call_id", messages=[*HELLO, result("a")], tools=[laws.TOOL])
    broken = calling("a")
    broken["tool_calls"][0]["function"] = {"name": "look_up", "arguments": "{"}
    refused("messages[1].tool_calls[0].function.arguments", messages=[*HELLO, broken], tools=[laws.TOOL])


def test_history_of_tools_without_tools() -> None:
    """Tools of the history are declared, as Claude wants, and may not be called, as the author means."""
    made = request(messages=[*HELLO, calling("a"), result("a")])
    assert made["tools"] == [{"name": "look_up", "input_schema": {"type": "object"}}]
    assert made["tool_choice"] == {"type": "none"}


def test_odd_ids_still_match() -> None:
    """Ids that Claude would refuse are replaced, alike in the call and its result."""
    made = request(messages=[*HELLO, calling("fc:1|ü"), result("fc:1|ü", "")], tools=[laws.TOOL])["messages"]
    used = made[1]["content"][0]["id"]
    assert used == made[2]["content"][0]["tool_use_id"]
    assert used.startswith("toolu_")
    assert used.isascii()


# ---- laws ------------------------------------------------------------------------------------------------------------


def texts_in(made: JSON) -> tuple[list[str], list[str]]:
    system = made.get("system", [])
    turns = []
    for turn in made["messages"]:
        for block in turn["content"]:
            turns += (
                [block["text"]]
                if block["type"] == "text"
                else [block["content"]]
                if block["type"] == "tool_result"
                else []
            )
    return [system] if isinstance(system, str) else [part["text"] for part in system], turns


@settings(max_examples=200)
@given(laws.chat_bodies())
def test_no_text_and_no_id_is_lost(body: JSON) -> None:
    """Every text and every id arrives, in order, roles alternate and the SDK takes the request."""
    if "tools" not in body:
        body.pop("tool_choice", None)
    laws.keeps_texts(dialect(), body, texts_in)
    made = dialect().request(body)
    valid_anthropic(made)
    blocks = [block for turn in made["messages"] for block in turn["content"]]
    calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    assert (calls, results) == laws.ids_of(body)
    roles = [turn["role"] for turn in made["messages"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


@given(laws.chat_bodies())
def test_meaning_is_kept(body: JSON) -> None:
    """What the model echoes is what the author hears."""
    laws.keeps_meaning(dialect(), body, echo)


@settings(max_examples=300)
@given(laws.wild_bodies())
def test_only_row_errors(body: JSON) -> None:
    """Nonsense is refused by field, never by an exception of another kind, whatever the model."""
    for model in MODELS:
        laws.raises_row_errors_only(dialect(model), body)


@given(laws.JSON_VALUES, laws.JSON_VALUES)
def test_anything_can_be_read(content: Any, other: Any) -> None:
    """Any answer gives a body or a failure."""
    blocks = [
        content,
        {"type": "tool_use", "name": ANSWER_TOOL, "input": content},
        {"type": "tool_use", "input": other},
    ]
    blocks += [{"type": "thinking", "thinking": content, "signature": other}, {"text": other}]
    for found in (content, [content], blocks):
        output = {"content": found, "usage": other, "stop_reason": other, "stop_details": content, "id": other}
        laws.reads_anything(dialect(), output)
        laws.reads_anything(dialect(), {**output, "stop_reason": "refusal", "usage": {"input_tokens": other}})
    laws.reads_anything(dialect(), {"type": "error", "error": content})
    laws.reads_anything(dialect(), {"type": "error", "error": {"type": content, "message": other}})
