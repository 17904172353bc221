"""Two sides know what Claude's models refuse: the package's facts, and the fake's own copy of the providers' words.

Neither is made of the other. Here is every fact that only one of them knows, with the reason; a new difference fails.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.facts import Facts, facts_of
from airflow_batch_provider.dialects.facts.lookup import Cloud
from airflow_batch_provider.testing.native_bodies import check_gemini_body, most_media
from airflow_batch_provider.testing.native_claude_rules import ceiling, refusals, thinks_by_itself
from airflow_batch_provider.testing.native_shared import RefusedError

MODELS = (
    *("claude-3-opus", "claude-3-haiku", "claude-3-5-sonnet", "claude-3-5-haiku", "claude-3-7-sonnet"),
    *("claude-sonnet-4", "claude-opus-4", "claude-opus-4-1"),
    *("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-6", "claude-sonnet-4-6"),
    *("claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-sonnet-5", "claude-fable-5", "claude-mythos-5"),
    *("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-1", "claude-mythos-5-1"),
    *("claude-fable-5-2", "claude-opus-6"),
)
ONE_SIDED = {
    # Nothing is lost by not sending these, and one report says that they are refused: the fake takes them, we do not
    # send them.
    ("bedrock", "claude-sonnet-4-6", "output_config.format"): "ours: fills answers up with blanks (vercel/ai#17881)",
    # An effort beside a budget is not sent at all, so which levels Opus 4.5 takes is not in our facts.
    ("bedrock", "claude-opus-4-5", "output_config.effort"): "ours: a budget is sent instead of an effort",
    ("vertex", "claude-opus-4-5", "output_config.effort"): "ours: a budget is sent instead of an effort",
    # Deprecated there, and replaced by adaptive thinking in what we send.
    **{
        (cloud, model, "thinking.type=enabled"): "ours: adaptive thinking is sent instead of a deprecated budget"
        for cloud in ("bedrock", "vertex")
        for model in ("claude-opus-4-6", "claude-sonnet-4-6")
    },
    # The unknown model gets less than any known one is refused.
    **{
        (cloud, "claude-opus-6", what): "ours: the cautious choice for an unknown model"
        for cloud in ("bedrock", "vertex")
        for what in ("output_config.effort=xhigh", "output_config.effort=max")
    },
    # 64,000 or 128,000: sources disagree; the fake refuses by the smaller, as we send by it.
}


def _refused_by(facts: Facts) -> Iterator[str]:
    """What our facts say is refused, in the fake's spelling."""
    yield from ("output_config.format",) if facts.schema != "native" else ()
    yield from ("tools.strict",) if not facts.strict_tools else ()
    yield from ("tool_choice forced",) if facts.forced_tools == "never" else ()
    yield from ("tool_choice forced, thinking",) if facts.forced_tools != "always" else ()
    yield from ("temperature, top_p",) if facts.sampling != "both" else ()
    yield from ("temperature", "top_p") if facts.sampling == "none" else ()
    yield from ("top_k",) if not facts.top_k else ()
    yield from ("prefill",) if not facts.prefill else ()
    yield from ("thinking.type=enabled",) if facts.thinking != "budget" else ()
    yield from ("thinking.type=adaptive",) if facts.thinking != "adaptive" else ()
    yield from ("thinking.type=disabled",) if facts.thinking_off in ("never", "between_tools") else ()
    yield from ("thinking.type=between_tools",) if facts.thinking_off != "between_tools" else ()
    if facts.efforts:
        yield from (f"output_config.effort={level}" for level in ("xhigh", "max") if level not in facts.efforts)
    else:
        yield "output_config.effort"


def _differences(cloud: Cloud, model: str) -> set[tuple[str, str, str]]:
    ours, theirs = set(_refused_by(facts_of(cloud, model))), set(refusals(cloud, model))
    if "output_config.effort" in ours | theirs:
        # Who takes no effort takes no level of it.
        ours, theirs = ({what for what in side if "effort=" not in what} for side in (ours, theirs))
    return {(cloud, model, what) for what in ours ^ theirs}


def test_facts_that_only_one_side_knows() -> None:
    """B1 to B4: both sides refuse the same, but for what is written here with its reason."""
    clouds: tuple[Cloud, ...] = ("bedrock", "vertex")
    found = {difference for cloud in clouds for model in MODELS for difference in _differences(cloud, model)}
    assert found == set(ONE_SIDED)
    assert all(ONE_SIDED.values())


@pytest.mark.parametrize("model", MODELS)
def test_ceilings_and_defaults(model: str) -> None:
    """B3: both sides know the most output tokens and which models think by themselves."""
    for cloud in ("bedrock", "vertex"):
        facts = facts_of(cloud, model)
        assert facts.thinks_unasked == thinks_by_itself(model)
        assert facts.max_output == ceiling(model)
        assert facts.max_images == most_media(model)


@pytest.mark.parametrize(
    "model",
    [
        *("gemini-2.0-flash", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-flash-image"),
        *("gemini-3-pro-preview", "gemini-3-pro-image-preview", "gemini-3-flash-preview", "gemini-3.1-flash-image"),
        *("gemini-3.1-pro-preview", "gemini-3.5-flash", "gemini-3.6-flash", "gemini-4-flash", "gemini-4-flash-image"),
    ],
)
def test_what_gemini_takes_beside_each_other(model: str) -> None:
    """Both sides know the most images, and which models take JSON beside tools; the unknown one is sent none."""
    facts = facts_of("vertex", model)
    asked: JSON = {
        "contents": [{"role": "user", "parts": [{"text": "a"}]}],
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "generationConfig": {"responseMimeType": "application/json"},
    }
    try:
        check_gemini_body(model, asked)
    except RefusedError:
        assert not facts.json_beside_tools
    else:
        assert facts.json_beside_tools or not facts.known
    assert facts.max_images == most_media(model)


@pytest.mark.parametrize(
    "model", ["llama3-2-90b-instruct", "llama4-scout-17b-instruct", "llama3-1-70b", "pixtral-large"]
)
def test_images_of_converse(model: str) -> None:
    """Both sides know the most images."""
    assert facts_of("bedrock", model).max_images == most_media(model)
