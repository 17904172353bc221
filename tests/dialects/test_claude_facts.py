"""What Claude is asked, by model and cloud: no line that passes our checks is refused by the model it is sent to."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.anthropic import Anthropic
from airflow_batch_provider.dialects.claude_schema import ANSWER_TOOL, WRAPPED_TOOL
from airflow_batch_provider.dialects.families import bedrock_family, vertex_family
from airflow_batch_provider.testing.native_claude import read_claude
from airflow_batch_provider.testing.native_claude_schema import check_schema
from airflow_batch_provider.testing.native_shared import RefusedError

HELLO = [{"role": "user", "content": "Pull the contact out of: Ana, ana@example.org"}]
CONTACT = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "email": {"type": "string"}},
    "required": ["name", "email"],
    "additionalProperties": False,
}
BOUNDED = {**CONTACT, "properties": {**CONTACT["properties"], "tags": {"type": "array", "maxItems": 3}}}  # type: ignore[dict-item]
EITHER = {"anyOf": [CONTACT, {"type": "object", "properties": {"none": {"type": "boolean"}}}]}
SPACED = {"type": "object", "properties": {"Account Number": {"type": "string"}}, "required": ["Account Number"]}
RECURSIVE = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}}
SCHEMAS = (CONTACT, BOUNDED, EITHER, SPACED, RECURSIVE, {"type": "array", "items": {"type": "string"}})
ODD = [
    {**CONTACT, "properties": {**CONTACT["properties"], "email": more}}  # type: ignore[dict-item]
    for more in (
        {"type": "string", "format": "color"},
        {"type": "string", "pattern": "^(?=a).*$"},
        {"type": "string", "minLength": 2},
        {"type": "array", "items": {"type": "string"}, "minItems": 2},
        {"enum": [{"a": 1}, "b"]},
        {"const": ["a"]},
        {"type": "object", "properties": {}},
    )
]
MODELS = (
    *("claude-3-haiku-20240307-v1:0", "claude-3-5-sonnet-20241022-v2:0", "claude-3-7-sonnet-20250219-v1:0"),
    *("claude-sonnet-4-20250514-v1:0", "claude-opus-4-1-20250805-v1:0", "claude-haiku-4-5-20251001-v1:0"),
    *("claude-sonnet-4-5-20250929-v1:0", "claude-opus-4-5-20251101-v1:0", "claude-opus-4-6-v1", "claude-sonnet-4-6"),
    *("claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-sonnet-5", "claude-fable-5", "claude-opus-5-5"),
    *("claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-1", "claude-mythos-5-1", "claude-opus-7"),
)
TOOL = {"type": "function", "function": {"name": "weather", "strict": True, "parameters": CONTACT}}


def schema(given: Any) -> JSON:
    return {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": given}}


def dialect(cloud: str, model: str) -> Anthropic:
    if cloud == "bedrock":
        return Anthropic(bedrock_family(f"us.anthropic.{model}"), model)
    return Anthropic(vertex_family(model.partition("-v")[0]), model)


def sent(cloud: str, model: str, **options: Any) -> JSON:
    """The request, which the fake of the cloud has read."""
    body = {"messages": HELLO, "max_tokens": 2000, **options}
    made = dialect(cloud, model).request({name: value for name, value in body.items() if value is not None})
    read_claude(model, model, {**made, "anthropic_version": "bedrock-2023-05-31"}, cloud)
    return made


FORMATS = (None, *(schema(given) for given in SCHEMAS))
TOOLS: tuple[JSON, ...] = (
    {},
    {"tools": [TOOL]},
    {"tools": [TOOL], "tool_choice": "required"},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
    {"tools": [TOOL], "tool_choice": "none"},
)
THOUGHTS: tuple[JSON, ...] = (
    {},
    *({"reasoning_effort": effort} for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max")),
    *({"thinking": {"type": kind}} for kind in ("disabled", "adaptive", "between_tools")),
    {"thinking": {"type": "enabled", "budget_tokens": 1500}},
)
SAMPLING: tuple[JSON, ...] = (
    *({}, {"temperature": 0.2, "top_p": 0.9}, {"temperature": 1, "top_p": 1}, {"top_k": 5}),
    *({"max_tokens": 1_000_000}, {"max_tokens": None}),
)


@pytest.mark.parametrize("cloud", ["bedrock", "vertex"])
@pytest.mark.parametrize("model", MODELS)
def test_what_passes_is_taken(cloud: str, model: str) -> None:
    """B1 to B4, B9: every combination is refused before the upload or taken by the model."""
    taken = 0
    shaped = itertools.product(FORMATS, TOOLS, THOUGHTS, SAMPLING[:1])
    for format_, tools, thoughts, sampling in (*shaped, *itertools.product((None,), TOOLS[:1], THOUGHTS, SAMPLING)):
        options = {**tools, **thoughts, **sampling, **({"response_format": format_} if format_ else {})}
        with contextlib.suppress(UntranslatableError):
            sent(cloud, model, **options)
            taken += 1
    assert taken > 50


# ---- schemas ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    ["claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-sonnet-5", "claude-haiku-4-5-20251001-v1:0"],
)
def test_a_schema_where_structured_outputs_are_refused(model: str) -> None:
    """B1: the forced tool, where Bedrock answers "output_config.format: Extra inputs are not permitted"."""
    made = sent("bedrock", model, response_format=schema(CONTACT))
    assert "output_config" not in made
    assert made["tool_choice"] == {"type": "tool", "name": ANSWER_TOOL, "disable_parallel_tool_use": True}


@pytest.mark.parametrize("model", ["claude-sonnet-4-5-20250929-v1:0", "claude-opus-4-6-v1"])
def test_a_schema_where_they_are_known_to_work(model: str) -> None:
    """B1: native on Bedrock; on Vertex AI, where an organization must allow them first, a tool."""
    assert sent("bedrock", model, response_format=schema(CONTACT))["output_config"]["format"]["schema"] == CONTACT
    assert sent("vertex", model, response_format=schema(CONTACT))["tool_choice"]["name"] == ANSWER_TOOL


@pytest.mark.parametrize("given", ODD)
def test_a_schema_that_structured_outputs_refuse(given: JSON) -> None:
    """It goes by a tool; the fake refuses it where it is native."""
    assert sent("bedrock", "claude-opus-4-6-v1", response_format=schema(given))["tool_choice"]["name"] == ANSWER_TOOL
    with pytest.raises(RefusedError, match=r"output_config\.format\.schema"):
        check_schema(given)


@pytest.mark.parametrize("cloud", ["bedrock", "vertex"])
@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1", "claude-mythos-5-1"])
def test_forced_tools_are_never_sent_to_who_refuses_them(cloud: str, model: str) -> None:
    """B2: a schema by a tool that is asked for in words, with a warning; a forced call is refused by name."""
    made = dialect(cloud, model)
    told = made.request({"messages": HELLO, "max_tokens": 200, "response_format": schema(BOUNDED)})
    assert "tool_choice" not in told
    assert told["tools"][0]["name"] == ANSWER_TOOL
    assert ANSWER_TOOL in told["system"]
    assert "not enforced" in made.notes["body.response_format"]
    with pytest.raises(UntranslatableError, match=r"force a tool call.*model_facts") as caught:
        sent(cloud, model, tools=[TOOL], tool_choice="required")
    assert caught.value.field == "body.tool_choice"


def test_a_forced_tool_beside_a_model_that_thinks_by_itself() -> None:
    """B2, B3: Bedrock takes both; by Anthropic's documents they exclude each other, so thinking goes, noted."""
    assert "thinking" not in sent("bedrock", "claude-opus-5", tools=[TOOL], tool_choice="required")
    made = dialect("vertex", "claude-opus-5")
    told = made.request({"messages": HELLO, "tools": [TOOL], "tool_choice": "required"})
    assert told["thinking"] == {"type": "disabled"}
    assert "switched off" in made.notes["body.thinking"]


def test_a_thinking_model_is_offered_the_answer_tool() -> None:
    """B2: thinking that was asked for stays, and the tool is not forced."""
    made = sent("bedrock", "claude-sonnet-4-20250514-v1:0", reasoning_effort="low", response_format=schema(CONTACT))
    assert made["thinking"]["type"] == "enabled"
    assert "tool_choice" not in made
    none = sent("bedrock", "claude-opus-5-5", tools=[TOOL], tool_choice="none", response_format=schema(BOUNDED))
    assert none["tool_choice"] == {"type": "none"}
    assert '"maxItems":3' in none["system"]


@pytest.mark.parametrize("given", [EITHER, SPACED, RECURSIVE, {"type": "array", "items": {"type": "string"}}])
def test_a_schema_that_no_tool_may_have_is_wrapped(given: JSON) -> None:
    """B9: the answer is one member of the tool's input, and comes back without it."""
    made = sent("bedrock", "claude-opus-4-8", response_format=schema(given))
    assert made["tool_choice"]["name"] == made["tools"][0]["name"] == WRAPPED_TOOL
    use = {"type": "tool_use", "id": "t", "name": WRAPPED_TOOL, "input": {"answer": [1, "é"]}}
    told = dialect("bedrock", "claude-opus-4-8").answer({"content": [use], "stop_reason": "tool_use", "usage": {}})
    assert isinstance(told, dict)
    [choice] = told["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ('[1,"é"]', "stop")
    assert "tool_calls" not in choice["message"]


def test_a_recursive_root_cannot_be_wrapped() -> None:
    """B9: a reference to the whole schema would mean the wrapper."""
    with pytest.raises(UntranslatableError, match="#"):
        sent("bedrock", "claude-opus-4-8", response_format=schema({"type": "array", "items": {"$ref": "#"}}))


# ---- tools -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["anyOf", "oneOf", "allOf"])
def test_combined_tool_schemas(name: str) -> None:
    """B9: refused before the upload, by field."""
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", name: [{"required": ["a"]}]}},
    }
    with pytest.raises(UntranslatableError, match="not at the top") as caught:
        sent("vertex", "claude-sonnet-4-6", tools=[tool])
    assert caught.value.field == f"body.tools[0].function.parameters.{name}"
    inside = {"type": "object", "properties": {"a": {name: [{"type": "string"}]}}}
    sent("vertex", "claude-sonnet-4-6", tools=[{"type": "function", "function": {"name": "f", "parameters": inside}}])


@pytest.mark.parametrize("name", ["Account Number", "rule_name[]", "", "a" * 65, "größe"])
def test_names_of_properties(name: str) -> None:
    """B9: names that Claude refuses are refused before the upload; inside a property it takes any."""
    outer = {"type": "object", "properties": {name: {"type": "string"}}}
    with pytest.raises(UntranslatableError, match="rename") as caught:
        sent("bedrock", "claude-opus-5", tools=[{"type": "function", "function": {"name": "f", "parameters": outer}}])
    assert caught.value.field == "body.tools[0].function.parameters.properties"
    inner = {"type": "object", "properties": {"a": outer}}
    sent("bedrock", "claude-opus-5", tools=[{"type": "function", "function": {"name": "f", "parameters": inner}}])


def test_strict_tools() -> None:
    """B1: ``strict`` only where it is taken, else a note."""
    assert sent("bedrock", "claude-haiku-4-5-20251001-v1:0", tools=[TOOL])["tools"][0]["strict"] is True
    for cloud, model in (
        ("bedrock", "claude-opus-4-8"),
        ("bedrock", "claude-opus-5-5"),
        ("vertex", "claude-opus-4-6-v1"),
    ):
        made = dialect(cloud, model)
        assert "strict" not in made.request({"messages": HELLO, "tools": [TOOL]})["tools"][0]
        assert "strict" in made.notes["body.tools[].function.strict"]


# ---- thinking and output ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "off"),
    [
        ("claude-sonnet-4-6", None),
        ("claude-opus-4-8", None),
        ("claude-opus-5", {"type": "disabled"}),
        ("claude-sonnet-5", {"type": "disabled"}),
        ("claude-haiku-5-5", {"type": "disabled"}),
        ("claude-sonnet-5-5", {"type": "between_tools"}),
    ],
)
def test_off_says_off(model: str, off: JSON | None) -> None:
    """B3: "none" and "disabled" are on the wire where silence means thinking."""
    for asked in ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}):
        made = sent("bedrock", model, **asked)
        assert made.get("thinking") == off
        assert "output_config" not in made


@pytest.mark.parametrize("model", ["claude-fable-5", "claude-opus-5-5", "claude-mythos-5-1", "claude-opus-7"])
def test_off_is_refused_where_it_cannot_be(model: str) -> None:
    """B3: a model that always thinks is not asked silently."""
    with pytest.raises(UntranslatableError, match="cannot be kept from thinking"):
        sent("bedrock", model, reasoning_effort="none")


@pytest.mark.parametrize("cloud", ["bedrock", "vertex"])
def test_room_for_thoughts_and_answer(cloud: str) -> None:
    """B3: a request without a bound leaves room for both on a model that thinks, within the model's own bound."""
    made = dialect(cloud, "claude-sonnet-5")
    assert made.request({"messages": HELLO})["max_tokens"] == 32_768
    assert "32768" in made.notes["body.max_tokens"]
    assert sent(cloud, "claude-opus-4-8", max_tokens=None, reasoning_effort="high")["max_tokens"] == 32_768
    assert sent(cloud, "claude-opus-4-1-20250805-v1:0", max_tokens=None, reasoning_effort="max")["max_tokens"] == 20_480
    assert sent(cloud, "claude-3-haiku-20240307-v1:0", max_tokens=None)["max_tokens"] == 4096


def test_more_than_a_model_gives() -> None:
    """B3: the ceiling is sent instead, which changes no answer, and noted."""
    made = dialect("bedrock", "claude-opus-4-1-20250805-v1:0")
    assert made.request({"messages": HELLO, "max_tokens": 100_000})["max_tokens"] == 32_000
    assert "32,000" in made.notes["body.max_tokens"]


@pytest.mark.parametrize(
    ("model", "sent_as"),
    [
        ("claude-opus-4-6-v1", {"xhigh": "high", "max": "max", "minimal": "low", "medium": "medium"}),
        ("claude-opus-4-8", {"xhigh": "xhigh", "max": "max", "minimal": "low", "medium": "medium"}),
        ("claude-opus-7", {"xhigh": "high", "max": "high", "minimal": "low", "medium": "medium"}),
    ],
)
def test_levels_of_effort(model: str, sent_as: dict[str, str]) -> None:
    """B3: a level that the model takes; another is changed to the next below, noted."""
    for effort, level in sent_as.items():
        made = dialect("bedrock", model)
        assert made.request({"messages": HELLO, "reasoning_effort": effort})["output_config"] == {"effort": level}
        assert ("body.reasoning_effort" in made.notes) == (effort != level)


def test_one_of_temperature_and_top_p() -> None:
    """B4: Opus 4.1 takes one of them; a row with both is refused by name."""
    with pytest.raises(UntranslatableError, match="not both") as caught:
        sent("bedrock", "claude-opus-4-1-20250805-v1:0", temperature=0.2, top_p=0.9)
    assert caught.value.field == "body.top_p"
    assert sent("vertex", "claude-opus-4-1-20250805-v1:0", temperature=0.2)["temperature"] == 0.2
    both = sent("bedrock", "claude-sonnet-4-20250514-v1:0", temperature=0.2, top_p=0.9)
    assert (both["temperature"], both["top_p"]) == (0.2, 0.9)


def test_top_k() -> None:
    """B3: within AWS's bounds on Bedrock."""
    assert sent("bedrock", "claude-sonnet-4-20250514-v1:0", top_k=500)["top_k"] == 500
    with pytest.raises(UntranslatableError, match="500 at most"):
        sent("bedrock", "claude-sonnet-4-20250514-v1:0", top_k=501)
    with pytest.raises(UntranslatableError, match="not accept top_k"):
        sent("vertex", "claude-opus-5", top_k=5)
