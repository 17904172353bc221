"""Facts of models: found by any spelling, cautious for the unknown, overridden by the connection's ``model_facts``."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.dialects.facts import Facts, check_model_facts
from airflow_batch_provider.dialects.facts.lookup import TABLES, plain_name
from airflow_batch_provider.dialects.families import CHAT, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format
from airflow_batch_provider.dialects.gateway import gateway_format

PROFILE = "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc123"
UNKNOWN = ["claude-opus-6", "claude-sonnet-5-9", "claude-opus-4-9", "claude-saga-1", "claude-haiku-6-5"]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("anthropic.claude-opus-4-1-20250805-v1:0", "claude-opus-4-1"),
        ("anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("anthropic.claude-opus-4-7", "claude-opus-4-7"),
        ("claude-opus-4-1@20250805", "claude-opus-4-1"),
        ("claude-opus-4-1@default", "claude-opus-4-1"),
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("anthropic.claude-3-haiku-20240307-v1:0:200k", "claude-3-haiku"),
        ("amazon.nova-pro-v1:0:300k", "nova-pro"),
        ("openai.gpt-oss-120b-1:0", "gpt-oss-120b-1"),
        ("mistral.mistral-large-2407-v1:0", "mistral-large-2407"),
        ("deepseek.r1-v1:0", "r1"),
        ("gemini-2.5-flash", "gemini-2.5-flash"),
        ("gemini-3-pro-preview", "gemini-3-pro-preview"),
    ],
)
def test_plain_names(model: str, name: str) -> None:
    """Maker, date and version say nothing of what a model takes."""
    assert plain_name(model) == name


@pytest.mark.parametrize("model", ["claude-opus-4-1", "claude-opus-4-6", "claude-haiku-4-5", "claude-opus-5"])
def test_every_spelling_finds_one_row(model: str) -> None:
    """Regions, ARNs, dates and versions lead to one row."""
    spelled = {"claude-opus-4-1": "-20250805-v1:0", "claude-opus-4-6": "-v1", "claude-haiku-4-5": "-20251001-v1:0"}
    bare = f"anthropic.{model}{spelled.get(model, '')}"
    arns = (
        f"arn:aws:bedrock:eu-west-1::foundation-model/{bare}",
        f"arn:aws:bedrock:us-east-1:1:inference-profile/us.{bare}",
    )
    found = [bedrock_family(name).facts for name in (bare, f"us.{bare}", f"global.{bare}", f"apac.{bare}", *arns)]
    assert all(facts == found[0] and facts.known for facts in found)


@pytest.mark.parametrize("model", UNKNOWN)
def test_an_unknown_claude_gets_what_none_refuses(model: str) -> None:
    """B1, B2: no habit of the nearest family: no native schema, no forced tool, no sampling; and a warning."""
    for facts in (bedrock_family(f"us.anthropic.{model}").facts, vertex_family(model).facts):
        assert not facts.known
        assert (facts.schema, facts.strict_tools, facts.forced_tools) == ("prompt", False, "never")
        assert (facts.sampling, facts.top_k, facts.prefill) == ("none", False, False)
    bedrock = f"us.anthropic.{model}"
    for format_ in (
        bedrock_format(bedrock_family(bedrock), bedrock, CHAT),
        vertex_format(vertex_family(model), model, CHAT),
        gateway_format("vertex_ai", model, CHAT),
    ):
        assert "model_facts" in format_.notes["model"]


def test_the_connection_knows_better() -> None:
    """``model_facts`` overrides a field for a model or a pattern, and the warning goes."""
    told = {
        "*claude-opus-6*": {"schema": "tool", "forced_tools": "always"},
        "us.anthropic.claude-opus-6": {"schema": "native"},
    }
    family = bedrock_family("us.anthropic.claude-opus-6", model_facts=told)
    assert (family.facts.schema, family.facts.forced_tools, family.facts.known) == ("native", "always", True)
    assert "model" not in bedrock_format(family, "us.anthropic.claude-opus-6", CHAT).notes
    assert bedrock_family("anthropic.claude-opus-6", model_facts=told).facts.schema == "tool"
    assert vertex_family("claude-opus-6", model_facts={"claude-opus-6": {"efforts": ["low"]}}).facts.efforts == ("low",)


def test_a_private_name_may_be_told_by_the_model_behind_it() -> None:
    """``model_families`` takes a family's name or a model's id, whose facts then hold."""
    assert (
        bedrock_family(PROFILE, {PROFILE: "anthropic.claude-opus-4-8"}).facts
        == bedrock_family("us.anthropic.claude-opus-4-8").facts
    )
    assert bedrock_family(PROFILE, {PROFILE: "claude-4.5"}).facts.thinking == "budget"
    assert not bedrock_family(PROFILE, {PROFILE: "claude-5"}).facts.known


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "object"),
        ({"m": "native"}, "'m'"),
        ({"m": {"schem": "native"}}, "'schem' of 'm' is unknown; known are"),
        ({"m": {"schema": "Native"}}, "schema of 'm' must be one of native, tool, prompt, none"),
        ({"m": {"strict_tools": "yes"}}, "strict_tools of 'm' must be true or false"),
        ({"m": {"max_output": 0}}, "max_output of 'm' must be a whole number above 0 or null"),
        ({"m": {"max_output": True}}, "max_output"),
        ({"m": {"efforts": "low"}}, "efforts of 'm' must be a list"),
        ({"m": {"efforts": ["low", "ultra"]}}, "efforts of 'm' must be a list of none, minimal, low"),
        ({"m": {"efforts": [["low"]]}}, "efforts of 'm' must be a list"),
        ({"m": {"max_temperature": "1"}}, "max_temperature of 'm' must be a number"),
        ({"m": {"max_temperature": -1}}, "max_temperature of 'm' must be a number of 0 or more"),
        ({"m": {"min_top_p": float("nan")}}, "min_top_p of 'm' must be a number"),
        ({"m": {"known": True}}, "'known' of 'm' is unknown"),
    ],
)
def test_model_facts_are_checked(given: Any, said: str) -> None:
    """A wrong name or type is an error that says which and what may stand there."""
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        check_model_facts(given)


def test_every_fact_can_be_overridden() -> None:
    """Any field's default is a value that the check takes."""
    told = {
        field.name: getattr(Facts(), field.name)
        for field in fields(Facts)
        if field.name not in ("source", "known", "given")
    }
    assert check_model_facts({"m": {**told, "max_output": None}})


def test_rows_have_sources() -> None:
    """A fact without its source is a belief."""
    for table in TABLES.values():
        for row in table:
            assert row.facts.source, row.models
