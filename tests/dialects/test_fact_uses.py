"""B1, B5: facts of unknown models are said to be unknown, and what a connection says is acted on or refused."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from airflow_batch_provider.core.errors import ConfigurationError, UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest
from airflow_batch_provider.dialects.fact_uses import USES
from airflow_batch_provider.dialects.facts import Facts
from airflow_batch_provider.dialects.families import CHAT, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format

CLAUDE, GEMINI = "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "gemini-2.5-flash"
LLAMA, NOVA, QWEN = "us.meta.llama4-scout-17b-instruct-v1:0", "us.amazon.nova-pro-v1:0", "qwen.qwen3-32b-v1:0"
MODELS = {"anthropic": CLAUDE, "gemini": GEMINI, "converse": LLAMA, "nova": NOVA, "openai": QWEN}


def format_of(model: str, facts: JSON | None = None) -> Any:
    told = {model: facts} if facts else None
    if not re.match(r"(?:[a-z-]+\.)?[a-z0-9]+\.[a-z]", model):
        return vertex_format(vertex_family(model, model_facts=told), model, CHAT)
    return bedrock_format(bedrock_family(model, model_facts=told), model, CHAT)


def outcome(model: str, facts: JSON | None, body: JSON) -> tuple[Any, ...]:
    """What becomes of a body: the request and the notes, or the refusal."""
    form = format_of(model, facts)
    try:
        wire = form.encode(BatchRequest("row", CHAT, model, body, b"", 1), 0)
    except UntranslatableError as error:
        return ("refused", str(error))
    return wire, sorted(form.notes.items())


# ---- unknown models ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        *("gemini-3.7-flash-lite", "gemini-2.5-ultra", "gemini-3-nano", "gemini-4-flash-image", "gemini-2.9-flash"),
        *("gpt-oss-2-200b-maas", "qwen4-next-80b", "qwen3.5-max", "llama-5-scout", "deepseek-v4", "claude-opus-6"),
        *("openai.gpt-oss-2-v1:0", "qwen.qwen4-32b-v1:0", "deepseek.v3.9-v1:0", "us.meta.llama5-70b-instruct-v1:0"),
        *("moonshotai.kimi-k3", "minimax.minimax-m3", "mistral.devstral-3-200b", "ai21.jamba-2-large-v1:0"),
        *("writer.palmyra-x6-v1:0", "amazon.nova-3-pro-v1:0", "kr.anthropic.claude-opus-6", "cohere.command-r-2-v1:0"),
    ],
)
def test_an_unknown_model_is_said_to_be_unknown(model: str) -> None:
    """B5: these took their neighbour's row without a word."""
    assert "model_facts" in format_of(model).notes["model"]


@pytest.mark.parametrize(
    "model",
    [
        *("gemini-2.5-flash", "gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash-lite-001", "gemini-3-pro-preview"),
        *("gemini-2.5-flash-image", "gemini-3-pro-image-preview", "gemini-2.0-flash-lite-001", "gemini-3.7-flash"),
        *("gpt-oss-120b-maas", "qwen3-coder-480b-a35b-instruct-maas", "llama-4-maverick-17b-128e-instruct-maas"),
        *("openai.gpt-oss-20b-1:0", "openai.gpt-oss-safeguard-20b", "qwen.qwen3-32b-v1:0", "deepseek.v3-v1:0"),
        *("deepseek.v3.1", "us.deepseek.r1-v1:0", "moonshot.kimi-k2-thinking", "moonshotai.kimi-k2.5"),
        *("minimax.minimax-m2", "meta.llama3-1-70b-instruct-v1:0", "us.meta.llama3-2-90b-instruct-v1:0"),
        *("mistral.mistral-large-2407-v1:0", "mistral.ministral-3-8b-instruct", "mistral.magistral-small-2509"),
        *("ai21.jamba-1-5-large-v1:0", "cohere.command-r-plus-v1:0", "us.writer.palmyra-x5-v1:0", "claude-opus-4-8"),
    ],
)
def test_a_known_model_is_not(model: str) -> None:
    """Dates, states and sizes make no other model."""
    assert "model" not in format_of(model).notes


@pytest.mark.parametrize("region", ["us", "us-gov", "eu", "apac", "amer", "au", "ca", "jp", "kr", "global", "mx-new"])
def test_any_geography(region: str) -> None:
    """A geography that AWS adds is none of the model's name."""
    bare = "anthropic.claude-opus-4-6-v1"
    named = f"{region}.{bare}"
    arn = f"arn:aws-us-gov:bedrock:us-gov-west-1:111122223333:inference-profile/{named}"
    assert bedrock_family(named).facts == bedrock_family(arn).facts == bedrock_family(bare).facts


def test_a_maker_with_a_dot_in_its_model_is_no_geography() -> None:
    """``deepseek.v3.1`` and ``qwen.qwen3.5``."""
    assert bedrock_family("deepseek.v3.1").name == bedrock_family("qwen.qwen3.5-max").name == "open"


@pytest.mark.parametrize("prefix", ["bedrock/", "bedrock/converse/", "bedrock/us-east-1/", "amazon-bedrock/"])
def test_an_id_as_other_tools_write_it(prefix: str) -> None:
    """AWS refuses it, so the error says what to write."""
    with pytest.raises(ConfigurationError, match=r"write 'us\.anthropic\.claude-opus-4-6-v1'"):
        bedrock_family(f"{prefix}us.anthropic.claude-opus-4-6-v1")


# ---- model_facts ---------------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "a",
        "schema": {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    },
}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
IMAGE = {
    "messages": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
    ]
}
PROBES: dict[str, tuple[Any, JSON]] = {
    "schema": ("prompt", {"response_format": SCHEMA}),
    "strict_tools": (True, {}),
    "forced_tools": ("never", {"tools": TOOLS, "tool_choice": "required"}),
    "sampling": ("none", {"temperature": 0.5}),
    "max_temperature": (0.4, {"temperature": 0.5}),
    "min_top_p": (0.9, {"top_p": 0.5}),
    "top_k": (False, {"top_k": 5}),
    "max_top_k": (3, {"top_k": 5}),
    "top_k_field": ("k", {"top_k": 5}),
    "penalties": (True, {"presence_penalty": 0.5}),
    "thinking": ("none", {"reasoning_effort": "medium"}),
    "thinks_unasked": (True, {"tools": TOOLS, "tool_choice": "required", "max_tokens": 500}),
    "thinking_off": ("never", {"reasoning_effort": "none"}),
    "efforts": (["low"], {"reasoning_effort": "high"}),
    "min_budget": (2000, {"reasoning_effort": "low"}),
    "max_budget": (1100, {"reasoning_effort": "high"}),
    "max_output": (100, {"max_tokens": 300}),
    "default_output": (77, {}),
    "prefill": (False, {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
    "images": (False, IMAGE),
    "max_images": (1, {"messages": [{"role": "user", "content": IMAGE["messages"][0]["content"] * 2}]}),
    "json_beside_tools": (True, {"tools": TOOLS, "response_format": SCHEMA}),
    "system": (False, {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]}),
    "media_out": (True, {"modalities": ["text", "image"]}),
}
"""A value that differs from the tables, and a body that it must make another request of."""
BEGIN: dict[tuple[str, str], JSON] = {
    ("anthropic", "efforts"): {"thinking": "adaptive", "efforts": ["low", "high"]},
    ("anthropic", "strict_tools"): {"strict_tools": False},
    ("gemini", "thinks_unasked"): {"thinks_unasked": False},
    ("openai", "images"): {"images": True},
    ("nova", "thinking"): {"thinking": "level"},
    ("converse", "top_k"): {"top_k_field": "top_k"},
    ("converse", "max_top_k"): {"top_k_field": "top_k"},
}
"""What else the connection says, where a fact matters only beside another."""
STRICT = {
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "strict": True, "parameters": SCHEMA["json_schema"]["schema"]},  # type: ignore[index]
        }
    ]
}


@pytest.mark.parametrize("name", [field.name for field in fields(Facts) if field.name in PROBES])
@pytest.mark.parametrize("dialect", sorted(MODELS))
def test_every_fact_is_acted_on_or_refused(dialect: str, name: str) -> None:
    """B5: ``model_facts`` for forced_tools, system, schema and top_k did nothing for Gemini, others elsewhere."""
    model = MODELS[dialect]
    value, more = PROBES[name]
    if name not in USES[dialect]:  # type: ignore[index]
        with pytest.raises(ConfigurationError, match=rf"{name} has no meaning"):
            format_of(model, {name: value})
        return
    body = {"messages": [{"role": "user", "content": "a"}], **(STRICT if name == "strict_tools" else more)}
    begin = BEGIN.get((dialect, name), {})
    assert outcome(model, {**begin, name: value}, body) != outcome(model, begin or None, body)


def test_every_fact_is_probed() -> None:
    """A new field needs a probe."""
    assert PROBES.keys() == {field.name for field in fields(Facts)} - {"source", "known", "given"}


@pytest.mark.parametrize(
    ("model", "facts", "said"),
    [
        (GEMINI, {"schema": "tool"}, "schema of 'gemini-2.5-flash' must be one of native, none, prompt"),
        (GEMINI, {"thinking": "adaptive"}, "must be one of budget, level, none"),
        (GEMINI, {"thinking_off": "between_tools"}, "must be one of absent, never"),
        (CLAUDE, {"thinking": "level"}, "must be one of adaptive, budget, none"),
        (LLAMA, {"schema": "tool"}, "must be one of native, none, prompt"),
        ("gpt-oss-120b-maas", {"efforts": ["low"]}, "leave out efforts"),
    ],
)
def test_a_word_without_a_meaning_there(model: str, facts: JSON, said: str) -> None:
    """An adaptive Gemini had a budget written."""
    with pytest.raises(ConfigurationError, match=said):
        format_of(model, facts)
