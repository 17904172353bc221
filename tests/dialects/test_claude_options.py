"""The Anthropic dialect: options that depend on the model and on each other."""

from __future__ import annotations

import pytest

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.claude_schema import ANSWER_TOOL, is_native
from airflow_batch_provider.dialects.options import JSON_ONLY
from tests.dialects import laws
from tests.dialects.claude import (
    CLOSED,
    FIVE,
    FOUR,
    FOUR_FIVE,
    FOUR_SEVEN,
    FOUR_SIX,
    HELLO,
    OLD,
    answer,
    calling,
    dialect,
    refused,
    request,
    result,
    text,
)

# ---- options ---------------------------------------------------------------------------------------------------------


def test_simple_options() -> None:
    """max_tokens in both spellings, temperature, top_p, top_k, stop as a string or a list."""
    made = request(max_completion_tokens=7, max_tokens=5, temperature=0.5, top_p=0.9, top_k=3, stop="END")
    assert {name: made[name] for name in ("max_tokens", "temperature", "top_p", "top_k", "stop_sequences")} == {
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "stop_sequences": ["END"],
    }
    assert request(max_tokens=5)["max_tokens"] == 5


@pytest.mark.parametrize(
    ("model", "options", "field"),
    [
        (FOUR, {"temperature": 1.5}, "temperature"),
        (FOUR_FIVE, {"temperature": 0.5, "top_p": 0.9}, "top_p"),
        (FOUR_SEVEN, {"temperature": 0.5}, "temperature"),
        (FIVE, {"temperature": 0}, "temperature"),
        (FIVE, {"top_p": 0.9}, "top_p"),
        (FIVE, {"top_k": 5}, "top_k"),
        (FOUR, {"stop": " "}, "stop"),
        (FOUR, {"n": 2}, "n"),
        (FOUR, {"logprobs": True}, "logprobs"),
        (FOUR, {"presence_penalty": 1}, "presence_penalty"),
        (FOUR, {"frequency_penalty": 1}, "frequency_penalty"),
        (FOUR, {"logit_bias": {"1": 5}}, "logit_bias"),
        (FOUR, {"max_tokens": True}, "max_tokens"),
        (FOUR, {"banana": 1}, "banana"),
    ],
)
def test_what_changes_meaning_is_refused(model: str, options: JSON, field: str) -> None:
    """What this Claude does not take is an error of the row with the field's name."""
    refused(field, model, **options)


def test_what_claude_does_anyway_is_left_out() -> None:
    """Temperature 1 and top_p 1 mean nothing, so that models which refuse them are not told."""
    assert request(FIVE, temperature=1, top_p=1) == request(FIVE)
    assert "temperature" not in request(FOUR_FIVE, temperature=1, top_p=0.9)
    assert "top_p" not in request(FOUR_FIVE, temperature=0.5, top_p=1)


def test_cosmetics_are_noted() -> None:
    """What changes no meaning is left out and told by field."""
    made = dialect()
    made.request({"messages": HELLO, "max_tokens": 1, "seed": 1, "user": "u", "metadata": {}, "service_tier": "auto"})
    assert sorted(made.notes) == ["body.metadata", "body.seed", "body.service_tier", "body.user"]


def test_json_object() -> None:
    """JSON mode is an instruction after the author's."""
    wanted = {"type": "json_object"}
    assert request(response_format=wanted)["system"] == JSON_ONLY
    messages = [{"role": "system", "content": "a"}, *HELLO, {"role": "system", "content": "b"}]
    assert request(messages=messages, response_format=wanted)["system"] == [text("a"), text("b"), text(JSON_ONLY)]
    assert request(messages=messages[:2], response_format=wanted)["system"] == [text("a"), text(JSON_ONLY)]


def _schema(schema: JSON = CLOSED) -> JSON:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}


def test_json_schema_native() -> None:
    """Where the model has structured outputs, it is told the schema, definitions kept."""
    made = request(FOUR_SIX, response_format=_schema())
    assert made["output_config"] == {"format": {"type": "json_schema", "schema": CLOSED}}
    assert "tools" not in made


@pytest.mark.parametrize(("model", "schema"), [(FOUR, CLOSED), (FOUR_SIX, {"type": "object"}), (FOUR, {})])
def test_json_schema_by_tool(model: str, schema: JSON) -> None:
    """Where the model or the schema is not fit for it, a forced tool stands in, and its input is the content."""
    made = request(model, response_format=_schema(schema))
    assert made["tools"][0]["input_schema"] == {"type": "object", **schema}
    assert made["tool_choice"] == {"type": "tool", "name": ANSWER_TOOL, "disable_parallel_tool_use": True}
    found = answer(
        [text("Here:"), {"type": "tool_use", "id": "t", "name": ANSWER_TOOL, "input": {"a": "é"}}], "tool_use"
    )
    chatter = [{"index": 0, "part": {"type": "text", "text": "Here:"}}]
    told = {"role": "assistant", "content": '{"a":"é"}', "refusal": None, "provider_parts": chatter}
    assert found["message"] == told
    assert found["finish_reason"] == "stop"


def test_json_schema_beside_tools() -> None:
    """With tools the model may choose between them and the answer; a forced tool leaves no answer to shape."""
    made = request(FOUR, tools=[laws.TOOL], response_format=_schema())
    assert [tool["name"] for tool in made["tools"]] == ["look_up", ANSWER_TOOL]
    assert made["tool_choice"] == {"type": "any"}
    forced = request(FOUR, tools=[laws.TOOL], tool_choice="required", response_format=_schema())
    assert [tool["name"] for tool in forced["tools"]] == ["look_up"]
    none = request(FOUR, tools=[laws.TOOL], tool_choice="none", response_format=_schema())
    assert none["tool_choice"]["name"] == ANSWER_TOOL


def test_json_schema_refusals() -> None:
    """A schema that is none, or beside a prefill; beside a thinking that forbids the forced tool it is native."""
    refused("response_format.json_schema.schema", response_format={"type": "json_schema", "json_schema": {"name": "n"}})
    prefill = [*HELLO, {"role": "assistant", "content": "{"}]
    refused("response_format", FOUR_FIVE, messages=prefill, response_format=_schema())
    assert "format" in request(FOUR_SIX, response_format=_schema(), reasoning_effort="low")["output_config"]


@pytest.mark.parametrize(
    ("schema", "native"),
    [
        (CLOSED, True),
        ({"type": "string"}, True),
        ({"type": "object", "properties": {}}, False),
        ({"type": "array", "items": {"type": "integer", "minimum": 1}}, False),
        ({"anyOf": [{"type": "object", "additionalProperties": False}, {"type": "null"}]}, True),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]}}}, False),
        ({"$ref": "https://x.example/schema"}, False),
        ({"$ref": "#/$defs/none"}, False),
        ({"type": "object", "properties": {"minimum": {"type": "string"}}, "additionalProperties": False}, True),
    ],
)
def test_native_schemas(schema: JSON, native: bool) -> None:
    """Structured outputs take closed objects, no bounds and no recursion."""
    assert is_native(schema) is native


# ---- thinking --------------------------------------------------------------------------------------------------------


def test_effort_as_a_budget() -> None:
    """An effort is a budget below max_tokens, which grows by it where no one names it."""
    made = request(FOUR, reasoning_effort="medium")
    assert made["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert made["max_tokens"] == 4096 + 2048
    assert request(FOUR, reasoning_effort="max", max_tokens=4000)["thinking"]["budget_tokens"] == 2000
    assert request(FOUR, reasoning_effort="high", max_tokens=1500)["thinking"]["budget_tokens"] == 1024
    refused("reasoning_effort", FOUR, reasoning_effort="low", max_tokens=1024)
    assert "thinking" not in request(FOUR, reasoning_effort="none")


def test_effort_as_effort() -> None:
    """Newer models are told the effort and think as they like; xhigh is high where it is unknown."""
    made = request(FOUR_SIX, reasoning_effort="medium")
    assert made["thinking"] == {"type": "adaptive"}
    assert made["output_config"] == {"effort": "medium"}
    assert made["max_tokens"] == 32_768
    efforts = {
        effort: request(FIVE, reasoning_effort=effort)["output_config"]["effort"] for effort in ("minimal", "xhigh")
    }
    assert efforts == {"minimal": "low", "xhigh": "xhigh"}
    assert request(FOUR_SIX, reasoning_effort="xhigh")["output_config"] == {"effort": "high"}
    both = request(FOUR_SIX, reasoning_effort="low", response_format=_schema())["output_config"]
    assert set(both) == {"effort", "format"}


def test_effort_of_a_model_that_does_not_think() -> None:
    """Older models are not told, and it is noted."""
    made = dialect(OLD)
    assert "thinking" not in made.request({"messages": HELLO, "reasoning_effort": "high"})
    assert "body.reasoning_effort" in made.notes


def test_thinking_as_claude_writes_it() -> None:
    """The extension ``thinking`` is passed on, checked; newer models decide the budget by themselves."""
    given_budget = {"type": "enabled", "budget_tokens": 2000}
    assert request(FOUR, thinking=given_budget, max_tokens=3000)["thinking"] == given_budget
    assert request(FOUR, thinking=given_budget)["max_tokens"] == 4096 + 2000
    assert request(FIVE, thinking=given_budget)["thinking"] == {"type": "adaptive"}
    assert "thinking" not in request(FOUR, thinking={"type": "disabled"}, reasoning_effort="high")
    refused("thinking.budget_tokens", FOUR, thinking={"type": "enabled", "budget_tokens": 1000})
    refused("thinking.budget_tokens", FOUR, thinking=given_budget, max_tokens=2000)
    refused("thinking.type", FOUR, thinking={"type": "adaptive"})
    refused("thinking.type", FOUR, thinking=True)
    refused("thinking", OLD, thinking=given_budget)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"top_p": 0.5}, "top_p"),
        ({"top_k": 5}, "top_k"),
        ({"tools": [laws.TOOL], "tool_choice": "required"}, "tool_choice"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "a"}]}, "messages"),
        ({"tools": [laws.TOOL], "messages": [*HELLO, calling("a"), result("a")]}, "messages"),
    ],
)
def test_thinking_and_its_rules(options: JSON, field: str) -> None:
    """What a thinking Claude refuses is refused by field."""
    refused(field, FOUR, reasoning_effort="low", **options)


def test_thinking_beside_what_it_allows() -> None:
    """Temperature 1, a wide top_p, tools by choice and tool loops with their signed thoughts."""
    request(FOUR, reasoning_effort="low", temperature=1, top_p=0.95, tools=[laws.TOOL], tool_choice="auto")
    thoughts = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "thinking", "thinking": "unsigned"}]
    messages = [*HELLO, calling("a", thinking_blocks=thoughts), result("a")]
    made = request(FOUR, reasoning_effort="low", tools=[laws.TOOL], messages=messages)
    assert made["messages"][1]["content"][0] == thoughts[0]
    assert [block["type"] for block in made["messages"][1]["content"]] == ["thinking", "tool_use"]
