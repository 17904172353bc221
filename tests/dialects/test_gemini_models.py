"""What each Gemini model takes (B5), and Gemini's own parameters in an OpenAI body (B14)."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.families import CHAT, vertex_family
from airflow_batch_provider.dialects.formats import vertex_format
from airflow_batch_provider.dialects.gemini import GeminiDialect
from airflow_batch_provider.testing.native_gemini import read_gemini
from airflow_batch_provider.testing.native_shared import RefusedError
from tests.dialects.vertex_tools import request_of

HI = [{"role": "user", "content": "Hi"}]
MODELS = (
    *("gemini-2.0-flash", "gemini-2.0-flash-lite-001", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"),
    *("gemini-2.5-flash-image", "gemini-3-pro-preview", "gemini-3-pro-image-preview", "gemini-3-flash-preview"),
    *("gemini-3.1-pro-preview", "gemini-3.1-flash-lite", "gemini-3.5-flash", "gemini-3.5-flash-lite"),
    *("gemini-3.6-flash", "gemini-3.7-flash", "gemini-3.8-flash", "gemini-3.9-pro", "gemini-4-hydrogen"),
)
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def made(model: str, **body: Any) -> tuple[JSON, dict[str, str]]:
    dialect = GeminiDialect(vertex_family(model), model)
    return dialect.request({"messages": HI, **body}), dialect.notes


def refused(model: str, **body: Any) -> UntranslatableError:
    with pytest.raises(UntranslatableError) as caught:
        made(model, **body)
    return caught.value


VALUES: list[JSON] = [
    *({"reasoning_effort": effort} for effort in EFFORTS),
    *({"presence_penalty": value} for value in (0, 0.5)),
    {"frequency_penalty": -1},
    *({"top_k": value} for value in (1, 40, 64, 100)),
    *({"max_tokens": value} for value in (1, 8192, 8193, 65_535, 65_536, 100_000)),
    *({"thinking_config": {"thinking_budget": value}} for value in (-1, 0, 1, 127, 128, 512, 24_576, 32_768, 40_000)),
    *({"thinking_config": {"thinking_level": value}} for value in ("minimal", "low", "MEDIUM", "high", "ultra")),
    *({"modalities": value} for value in (["text"], ["text", "image"], ["image"])),
    {"messages": [*HI, {"role": "assistant", "content": "Well"}]},
    {"cached_content": "projects/1/locations/us-central1/cachedContents/2"},
]


@pytest.mark.parametrize("model", MODELS)
def test_the_provider_takes_what_is_written(model: str) -> None:
    """B5: whatever a row asks, the model takes what is written, or the row is refused before the upload; what is
    changed or left out is named in a warning."""
    for value in VALUES:
        try:
            request, notes = made(model, **value)
        except UntranslatableError as error:
            field = error.field
            named = field.partition("body.")[2].partition(".")[0].partition("[")[0]
            if named not in value:
                raise AssertionError((model, value, field)) from error
            continue
        try:
            read_gemini(model, request)
        except RefusedError as error:
            raise AssertionError((model, value, request, str(error))) from error
        config = str(request.get("generationConfig", {})).lower()
        [(name, told)] = value.items()
        if name == "reasoning_effort":
            same = {"xhigh": "high", "max": "high"}.get(told, told)
            assert "budget" in config or f"'{same}'" in config or notes or told == "none", (model, value)
        if name == "max_tokens":
            assert str(told) in config or notes


def test_unknown_models_get_the_cautious_choice() -> None:
    """B5: a newer model is not given the habits of an older one, and a warning says so."""
    for model in ("gemini-3.9-pro", "gemini-4-hydrogen", "gemini-5-flash", "gemini-flash-latest"):
        facts = vertex_family(model).facts
        assert not facts.known
        assert (facts.sampling, facts.penalties, facts.prefill, facts.efforts) == (
            "none",
            False,
            False,
            ("low", "high"),
        )
        assert vertex_format(vertex_family(model), model, CHAT).notes


def test_the_connection_knows_better() -> None:
    """B5: ``model_facts`` overrides a row of the table."""
    told = {"gemini-4*": {"penalties": True, "sampling": "both", "efforts": ["medium"], "thinking": "level"}}
    dialect = GeminiDialect(vertex_family("gemini-4-x", {}, told), "gemini-4-x")
    body = {"messages": HI, "presence_penalty": 1, "temperature": 0, "reasoning_effort": "low"}
    assert dialect.request(body)["generationConfig"] == {
        "presencePenalty": 1.0,
        "temperature": 0.0,
        "thinkingConfig": {"thinkingLevel": "MEDIUM"},
    }


def test_sampling_that_is_ignored_is_named() -> None:
    """B5: since Gemini 3.6 Flash temperature, top_p and top_k do nothing: left out, with a warning each."""
    request, notes = made("gemini-3.6-flash", temperature=0.2, top_p=0.5, top_k=3)
    assert "generationConfig" not in request
    assert notes.keys() == {"body.temperature", "body.top_p", "body.top_k"}
    assert made("gemini-3.5-flash", temperature=0)[0]["generationConfig"] == {"temperature": 0.0}


# ---- Gemini's own parameters ---------------------------------------------------------------------------------------

THINK = {"thinking_budget": 0}


@pytest.mark.parametrize(
    "more",
    [
        {"thinking_config": THINK},
        {"thinkingConfig": {"thinkingBudget": 0}},
        {"google": {"thinking_config": THINK}},
        {"extra_body": {"google": {"thinking_config": THINK}}},
        {"extra_body": {"thinking_config": THINK}},
        {"google:thinking_config": THINK},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
        {"extra_body": {"extra_body": {"google": {"thinking_config": THINK}}}},
    ],
)
def test_geminis_own_parameters(more: JSON) -> None:
    """B14: Gemini's parameters are understood wherever people write them."""
    assert request_of({"messages": HI, **more})["generationConfig"] == {"thinkingConfig": {"thinkingBudget": 0}}


def test_own_parameters_that_pass() -> None:
    """B14: labels, safety settings and parts of the generation config go through, in REST's names."""
    request = request_of(
        {
            "messages": HI,
            "labels": {"team": "x"},
            "google": {"safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]},
            "media_resolution": "MEDIA_RESOLUTION_LOW",
            "audio_timestamp": True,
            "routing_config": {"nothing": None},
            "tools": [{"google_search": {"exclude_domains": ["a.com"]}}],
        }
    )
    assert made("gemini-2.5-flash", labels={"team": "x"})[0]["labels"] == {"team": "x"}
    assert request["safetySettings"][0]["threshold"] == "OFF"
    config = {"mediaResolution": "MEDIA_RESOLUTION_LOW", "audioTimestamp": True}
    assert request["generationConfig"] == config
    assert request["tools"] == [{"googleSearch": {"excludeDomains": ["a.com"]}}]


@pytest.mark.parametrize(
    ("more", "field", "reason"),
    [
        ({"cached_content": "c"}, "cached_content", "do not accept cached content"),
        (
            {"extra_body": {"google": {"cached_content": "c"}}},
            "extra_body.google.cached_content",
            "not accept cached content",
        ),
        ({"tools": [{"google_search": {}}]}, "tools[0].google_search", "takes no empty object"),
        ({"tools": [{"googleSearch": {}}]}, "tools[0].google_search", "exclude_domains"),
        ({"tools": [{"type": "url_context"}]}, "tools[0].url_context", "there is none"),
        ({"tools": [{"code_execution": {}}]}, "tools[0].code_execution", "there is none"),
        ({"tools": [{"google_search": {"a": 1}}, {"type": "function"}]}, "tools", "not both"),
        ({"labels": {"Team": "x"}}, "labels.Team", "lower-case"),
        ({"labels": {"airflow_batch_row": "x"}}, "labels.airflow_batch_row", "choose another name"),
        ({"google": {"nonsense": 1}}, "nonsense", "does not support this parameter"),
        ({"response_schema": {}}, "response_schema", "response_format"),
        ({"thinking_config": THINK, "google": {"thinking_config": {"thinking_budget": 5}}}, "google.", "given twice"),
        ({"thinking_config": {"thinking_level": "low"}}, "thinking_config.thinking_level", "takes thinking_budget"),
        ({"thinking_config": THINK, "reasoning_effort": "low"}, "reasoning_effort", "remove one of them"),
    ],
)
def test_true_reasons(more: JSON, field: str, reason: str) -> None:
    """B14: what a batch cannot take is refused for the reason it has, at the place where it was written."""
    error = refused("gemini-2.5-flash", **more)
    assert error.field.startswith(f"body.{field}")
    assert reason in error.message


def test_a_label_that_is_no_column_is_refused() -> None:
    """B14: the importer makes a column of a label's name."""
    with pytest.raises(UntranslatableError) as caught:
        request_of({"messages": HI, "labels": {"cost-center": "x"}})
    assert caught.value.field == "body.labels.cost-center"


# ---- media ---------------------------------------------------------------------------------------------------------


def test_modalities_are_translated() -> None:
    """B7: pictures and sound are asked for in Gemini's words; a model of text alone refuses them by name."""
    for asked, words in ((["text", "image"], ["TEXT", "IMAGE"]), (["image"], ["IMAGE"])):
        request, _ = made("gemini-2.5-flash-image", modalities=asked)
        assert request["generationConfig"] == {"responseModalities": words}
    request, _ = made("gemini-2.5-flash-preview-tts", modalities=["audio"], audio={"voice": "Kore", "format": "pcm16"})
    voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}
    assert request["generationConfig"] == {"responseModalities": ["AUDIO"], "speechConfig": voice}
    assert "answers in text only" in refused("gemini-2.5-flash", modalities=["text", "image"]).message
    assert refused("gemini-2.5-flash-image", modalities=["video"]).field == "body.modalities"


def test_every_pair_of_options_is_taken_or_refused() -> None:
    """B5: two options of a row do not undo each other."""
    pairs: list[tuple[JSON, JSON]] = list(product(VALUES[:9], VALUES[9:19]))
    for first, second in pairs:
        try:
            request, _ = made("gemini-2.5-flash", **{**first, **second})
        except UntranslatableError:
            continue
        read_gemini("gemini-2.5-flash", request)
