"""Nova's own body: Converse's shapes with tools, checked by botocore; answers as OpenAI's."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.families import bedrock_family
from airflow_batch_provider.dialects.nova import Nova
from airflow_batch_provider.dialects.options import JSON_ONLY
from airflow_batch_provider.testing.native import read_native
from tests.dialects import laws
from tests.dialects.claude import calling, result
from tests.dialects.sdk_schemas import valid_converse

NOVA = "us.amazon.nova-lite-v1:0"
NOVA_2 = "global.amazon.nova-2-lite-v1:0"
HELLO: list[JSON] = [{"role": "user", "content": "Hello"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def dialect(model: str = NOVA) -> Nova:
    return Nova(bedrock_family(model), model)


def valid(made: JSON) -> None:
    """Botocore takes the request without what Nova puts elsewhere, and no tool says more than Nova hears."""
    made = copy.deepcopy(made)
    assert made.pop("schemaVersion") == "messages-v1"
    for name in ("topK", "reasoningConfig"):
        made.get("inferenceConfig", {}).pop(name, None)
    valid_converse(made)
    for tool in made.get("toolConfig", {}).get("tools", ()):
        schema = tool["toolSpec"]["inputSchema"]["json"]
        assert schema["type"] == "object"
        assert schema.keys() <= {"type", "properties", "required"}
    called = any("toolUse" in block for turn in made["messages"] for block in turn["content"])
    assert not called or made["toolConfig"]["tools"]


def request(model: str = NOVA, messages: list[JSON] | None = None, **options: Any) -> JSON:
    made = laws.translated(dialect(model), {"messages": messages or HELLO, **options})
    valid(made)
    return made


def refused(field: str, model: str = NOVA, messages: list[JSON] | None = None, **options: Any) -> str:
    with pytest.raises(UntranslatableError) as caught:
        dialect(model).request({"messages": messages or HELLO, **options})
    assert caught.value.field == f"body.{field}"
    return caught.value.message


def tool(name: str = "look_up", **function: Any) -> JSON:
    return {"type": "function", "function": {"name": name, **function}}


def named(name: str) -> JSON:
    return {"type": "function", "function": {"name": name}}


def answer(content: Any, stop: str = "end_turn", **usage: Any) -> JSON:
    counts = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15, **usage}
    output = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, "usage": counts}
    found = dialect().answer(output)
    assert isinstance(found, dict)
    return {**found["choices"][0], "usage": found["usage"]}


# ---- requests --------------------------------------------------------------------------------------------------------


def test_plain() -> None:
    """A plain chat line is one user turn and the schema's name."""
    assert request() == {"schemaVersion": "messages-v1", "messages": [{"role": "user", "content": [{"text": "Hello"}]}]}


def test_options() -> None:
    """top_k stands beside the other options, not below additionalModelRequestFields."""
    made = request(top_k=5, temperature=0, max_tokens=7, stop="x")
    assert made["inferenceConfig"] == {"topK": 5, "temperature": 0, "maxTokens": 7, "stopSequences": ["x"]}
    refused("temperature", temperature=1.5)
    refused("top_k", top_k=-1)
    refused("tools[0].function.name", tools=[tool("a b")])


def test_tools() -> None:
    """A function is a toolSpec; what Nova ignores at the top of a schema is left out with a note."""
    one = dialect()
    made = one.request({"messages": HELLO, "tools": [tool(parameters={**SCHEMA, "additionalProperties": False})]})
    valid(made)
    assert made["toolConfig"] == {"tools": [{"toolSpec": {"name": "look_up", "inputSchema": {"json": SCHEMA}}}]}
    assert "body.tools[].function.parameters.additionalProperties" in one.notes
    empty = request(tools=[tool(description="d")])["toolConfig"]["tools"][0]["toolSpec"]
    assert empty == {
        "name": "look_up",
        "description": "d",
        "inputSchema": {"json": {"type": "object", "properties": {}}},
    }


def test_definitions_are_written_out() -> None:
    """References, also below each other, become what they refer to; a property may be called $ref or $defs."""
    schema = {
        "properties": {"a": {"$ref": "#/$defs/a", "description": "d"}, "$ref": {"type": "string"}, "$defs": {}},
        "$defs": {"a": {"type": "array", "items": {"$ref": "#/definitions/b~1c"}}},
        "definitions": {"b/c": {"enum": [1]}},
    }
    made = request(tools=[tool(parameters=schema)])["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"]
    assert made["properties"] == {
        "a": {"type": "array", "items": {"enum": [1]}, "description": "d"},
        "$ref": {"type": "string"},
        "$defs": {},
    }


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "array"}, ".type"),
        ({"anyOf": [{}]}, ".anyOf"),
        ({"properties": {"a": {"$ref": "#"}}}, ""),
        ({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, ""),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, ""),
        ({"properties": {"a": {"$ref": "https://x/y"}}}, ""),
    ],
)
def test_schemas_that_are_refused(schema: JSON, field: str) -> None:
    """Rules that Nova would ignore, recursion and references to nowhere are errors of the row."""
    refused(f"tools[0].function.parameters{field}", tools=[tool(parameters=schema)])


def test_a_schema_that_grows_is_refused() -> None:
    """Definitions that double at every level are refused, not written out for ever."""
    defs = {f"d{n}": {"items": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)} | {"d30": {}}
    assert "large" in refused(
        "tools[0].function.parameters",
        tools=[tool(parameters={"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": defs})],
    )


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", None),
        ("required", {"any": {}}),
        (named("look_up"), {"tool": {"name": "look_up"}}),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named("look_up")]}}, {"any": {}}),
    ],
)
def test_tool_choice(choice: Any, told: JSON | None) -> None:
    """OpenAI's choices are Nova's; allowed tools alone are sent."""
    config = request(tools=[tool(), tool("other")], tool_choice=choice)["toolConfig"]
    assert config.get("toolChoice") == told
    assert len(config["tools"]) == (1 if isinstance(choice, dict) and choice["type"] == "allowed_tools" else 2)


def test_no_tool_may_be_called() -> None:
    """``none`` sends no tools; where the history has called some, Nova cannot be kept from it."""
    assert "toolConfig" not in request(tools=[tool()], tool_choice="none")
    history = [*HELLO, calling("a"), result("a"), {"role": "user", "content": "x"}]
    refused("tool_choice", messages=history, tools=[tool()], tool_choice="none")
    assert "write them here" in refused("tools", messages=history)


def test_history() -> None:
    """Calls and results keep their ids, results stand first in the user's turn, blank ones in an object."""
    said = {"role": "user", "content": "more"}
    history = [*HELLO, calling("a", "b:c"), said, result("b:c", " "), result("a")]
    turns = request(messages=history, tools=[tool()])["messages"]
    uses = [block["toolUse"]["toolUseId"] for block in turns[1]["content"]]
    found = [block["toolResult"] for block in turns[2]["content"][:2]]
    assert uses[0] == "a"
    assert [one["toolUseId"] for one in found] == [uses[1], "a"]
    assert [one["content"] for one in found] == [[{"json": {"output": " "}}], [{"text": "found"}]]
    assert turns[2]["content"][2] == {"text": "more"}


@pytest.mark.parametrize(
    "messages",
    [
        [*HELLO, calling("a")],
        [*HELLO, calling("a"), {"role": "user", "content": "x"}],
        [*HELLO, calling("a", "b"), result("a")],
    ],
)
def test_calls_without_results(messages: list[JSON]) -> None:
    """Every call needs its result."""
    refused("messages", messages=messages, tools=[tool()])


def test_files_are_converses() -> None:
    """A file is refused with the remedy: the family that asks by Converse."""
    part = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGVsbG8="}}
    message = refused("messages[0].content[0].file", messages=[{"role": "user", "content": [part]}])
    assert "nova-converse" in message
    assert bedrock_family(NOVA, {NOVA: "nova-converse"}).invocation == "Converse"


def test_effort() -> None:
    """Nova 2 thinks by levels, with high effort without sampling and bound; Nova 1 not at all, with a note."""
    assert request(NOVA_2, reasoning_effort="minimal", max_tokens=9)["inferenceConfig"] == {
        "maxTokens": 9,
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"},
    }
    high = request(NOVA_2, reasoning_effort="xhigh", temperature=None)["inferenceConfig"]["reasoningConfig"]
    assert high["maxReasoningEffort"] == "high"
    for name, value in {"temperature": 0.5, "top_p": 0.5, "max_tokens": 9, "max_completion_tokens": 9}.items():
        assert "medium" in refused(name, NOVA_2, reasoning_effort="high", **{name: value})
    assert request(NOVA_2, reasoning_effort="none") == request(NOVA_2)
    one = dialect()
    one.request({"messages": HELLO, "reasoning_effort": "high", "tools": [tool()], "parallel_tool_calls": False})
    assert set(one.notes) == {"body.reasoning_effort", "body.parallel_tool_calls"}


def test_formats() -> None:
    """JSON mode is an instruction; a schema is a forced tool, or one of several where others may be called."""
    assert request(response_format={"type": "json_object"})["system"] == [{"text": JSON_ONLY}]
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "description": "d"}}
    config = request(response_format=wanted)["toolConfig"]
    assert config["toolChoice"] == {"tool": {"name": "json_schema_answer"}}
    assert config["tools"][0]["toolSpec"]["inputSchema"] == {"json": SCHEMA}
    both = request(response_format=wanted, tools=[tool()])["toolConfig"]
    assert (len(both["tools"]), both["toolChoice"]) == (2, {"any": {}})
    forced = request(response_format=wanted, tools=[tool()], tool_choice="required")["toolConfig"]
    assert (len(forced["tools"]), forced["toolChoice"]) == (1, {"any": {}})
    refused("response_format.json_schema.schema.oneOf", response_format={
        "type": "json_schema", "json_schema": {"name": "n", "schema": {"oneOf": []}}
    })  # fmt: skip


# ---- answers ---------------------------------------------------------------------------------------------------------


def use(name: str, given: JSON) -> JSON:
    return {"toolUse": {"toolUseId": "t", "name": name, "input": given}}


def test_answer_by_schema() -> None:
    """The forced tool's input is the content, chatter beside it is dropped, and it is no call."""
    found = answer([{"text": "Sure:"}, use("json_schema_answer", {"a": "é"})], "tool_use")
    told = {"role": "assistant", "content": '{"a":"é"}', "refusal": None}
    assert found["message"] == {**told, "provider_parts": [{"part": {"text": "Sure:"}}]}
    assert found["finish_reason"] == "stop"
    cut = answer([use("json_schema_answer", {})], "max_tokens")
    assert cut["finish_reason"] == "length"
    both = answer([use("json_schema_answer", {}), use("f", {})], "tool_use")
    assert [call["function"]["name"] for call in both["message"]["tool_calls"]] == ["f"]
    assert both["finish_reason"] == "tool_calls"


def test_cached_tokens() -> None:
    """Cached tokens are counted under Nova's names and under Converse's."""
    for names in (("cacheReadInputTokenCount", "cacheWriteInputTokenCount"), ("cacheReadInputTokens",)):
        counts = dict(zip(names, (3, 4), strict=False))
        assert answer([], **counts)["usage"]["prompt_tokens"] == 10 + sum(counts.values())


# ---- laws ------------------------------------------------------------------------------------------------------------


@st.composite
def bodies(draw: st.DrawFn) -> JSON:
    """Bodies as Nova takes them: a history that calls tools declares them."""
    body = draw(laws.chat_bodies())
    if laws.ids_of(body)[0]:
        body["tools"] = [copy.deepcopy(laws.TOOL), tool("other-tool"), tool("third_1")]
        assume(body.get("tool_choice") != "none")
    return body


def texts_in(made: JSON) -> tuple[list[str], list[str]]:
    turns = []
    for turn in made["messages"]:
        for block in turn["content"]:
            if "toolResult" in block:
                turns += [part["text"] for part in block["toolResult"]["content"]]
            elif "text" in block:
                turns.append(block["text"])
    return [part["text"] for part in made.get("system", ())], turns


def echo(made: JSON) -> JSON:
    said = "".join(part.get("text", "") for part in made["messages"][-1]["content"])
    usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5, "cacheReadInputTokenCount": 0}
    return {"output": {"message": {"role": "assistant", "content": [{"text": said}]}}, "usage": usage}


@given(bodies())
def test_no_text_is_lost(body: JSON) -> None:
    """Every text and result arrives, in order, every id too, and botocore takes the request."""
    laws.keeps_texts(dialect(), body, texts_in)
    made = dialect().request(body)
    valid(made)
    blocks = [block for turn in made["messages"] for block in turn["content"]]
    calls = [block["toolUse"]["toolUseId"] for block in blocks if "toolUse" in block]
    results = [block["toolResult"]["toolUseId"] for block in blocks if "toolResult" in block]
    assert (calls, results) == laws.ids_of(body)


@given(bodies())
def test_meaning_is_kept(body: JSON) -> None:
    """What the model echoes is what the author hears."""
    laws.keeps_meaning(dialect(), body, echo)


@settings(max_examples=300)
@given(laws.wild_bodies())
def test_only_row_errors(body: JSON) -> None:
    """Nonsense is refused by field, never by an exception of another kind."""
    laws.raises_row_errors_only(dialect(), body)
    laws.raises_row_errors_only(dialect(NOVA_2), body)


@given(laws.JSON_VALUES)
def test_only_row_errors_of_schemas(schema: Any) -> None:
    """Whatever a schema holds, it is translated or refused."""
    body = {"messages": HELLO, "tools": [tool(parameters={"properties": schema, "items": schema})]}
    laws.raises_row_errors_only(dialect(), body)


@given(laws.JSON_VALUES, laws.JSON_VALUES)
def test_anything_can_be_read(content: Any, usage: Any) -> None:
    """Any answer gives a body or a failure."""
    for blocks in (content, [content], [use("json_schema_answer", content)]):
        laws.reads_anything(dialect(), {"output": {"message": {"content": blocks}}, "usage": usage})
    assert isinstance(dialect().answer({}), Failure)


def test_more_than_nova_gives() -> None:
    """B3: the ceiling is sent instead of more, which AWS refuses, and noted; a newer Nova gets no habit of another."""
    for model, most in (("us.amazon.nova-pro-v1:0", 10_000), ("us.amazon.nova-2-lite-v1:0", 65_535)):
        made = Nova(bedrock_family(model), model)
        request = made.request({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100_000})
        assert request["inferenceConfig"]["maxTokens"] == most
        assert f"{most:,}" in made.notes["body.max_tokens"]
        read_native(model, "InvokeModel", request)
    facts = bedrock_family("us.amazon.nova-3-pro-v1:0").facts
    assert (facts.known, facts.thinking, facts.max_output) == (False, "none", None)
