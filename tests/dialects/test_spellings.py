"""B3, B5, B14, B16: how people write thinking and media, on every dialect alike; and small answers."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.media import Media
from airflow_batch_provider.core.records import JSON, BatchRequest
from airflow_batch_provider.dialects.families import CHAT, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format

HI: list[JSON] = [{"role": "user", "content": "a"}]
CLAUDE, ADAPTIVE = "anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-opus-4-6-v1"
NOVA, LLAMA, OSS = "amazon.nova-2-lite-v1:0", "meta.llama4-scout-17b-instruct-v1:0", "openai.gpt-oss-120b-1:0"
GEMINI, GEMINI_3, VERTEX_CLAUDE = "gemini-2.5-flash", "gemini-3-pro-preview", "claude-opus-4-6"
EVERY = [CLAUDE, ADAPTIVE, NOVA, LLAMA, OSS, GEMINI, GEMINI_3, VERTEX_CLAUDE]


def made(model: str, **body: Any) -> tuple[str, dict[str, str]]:
    """The wire line as text, and the notes."""
    if model.startswith(("gemini", "claude")):
        form = vertex_format(vertex_family(model), model, CHAT)
    else:
        form = bedrock_format(bedrock_family(model), model, CHAT)
    return form.encode(BatchRequest("row", CHAT, model, {"messages": HI, **body}, b"", 1), 0).decode(), form.notes


# ---- thinking ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
@pytest.mark.parametrize("model", EVERY)
def test_an_effort_in_the_spelling_of_responses(model: str, effort: str) -> None:
    """``reasoning: {"effort"}`` was "no such parameter" everywhere: it is the same request as ``reasoning_effort``."""
    assert made(model, reasoning={"effort": effort}) == made(model, reasoning_effort=effort)
    line, notes = made(model, reasoning={"effort": effort, "summary": "auto"})
    assert line == made(model, reasoning_effort=effort)[0]
    assert "body.reasoning.summary" in notes


@pytest.mark.parametrize(
    ("reasoning", "field"),
    [
        ("low", "body.reasoning:"),
        ({"effort": "huge"}, "body.reasoning.effort"),
        ({"max_tokens": 100}, "body.reasoning.max_tokens"),
        ({"enabled": True}, "body.reasoning.enabled"),
    ],
)
@pytest.mark.parametrize("model", EVERY)
def test_a_wrong_reasoning_is_refused_by_its_path(model: str, reasoning: Any, field: str) -> None:
    """The true reason, before the upload."""
    with pytest.raises(UntranslatableError, match=field):
        made(model, reasoning=reasoning)


@pytest.mark.parametrize("model", EVERY)
def test_two_efforts_that_differ(model: str) -> None:
    """One of them would be lost."""
    with pytest.raises(UntranslatableError, match=r"body\.reasoning\.effort"):
        made(model, reasoning={"effort": "low"}, reasoning_effort="high")


@pytest.mark.parametrize(
    ("model", "thinking", "written"),
    [
        (GEMINI, {"type": "enabled", "budget_tokens": 2000}, '"thinkingBudget":2000'),
        (GEMINI, {"type": "disabled"}, '"thinkingBudget":0'),
        (GEMINI, {"type": "adaptive"}, '"thinkingBudget":-1'),
        (GEMINI_3, {"type": "enabled", "budget_tokens": 2000}, '"thinkingBudget":2000'),
        (CLAUDE, {"type": "enabled", "budget_tokens": 2000}, '"budget_tokens":2000'),
        (VERTEX_CLAUDE, {"type": "adaptive"}, '"type":"adaptive"'),
    ],
)
def test_claudes_thinking(model: str, thinking: JSON, written: str) -> None:
    """``thinking`` is translated where the model has such a dial; Gemini had "no such parameter"."""
    assert written in made(model, thinking=thinking)[0]


@pytest.mark.parametrize(
    ("model", "thinking", "said"),
    [
        (GEMINI_3, {"type": "disabled"}, "cannot be kept from thinking"),
        (GEMINI, {"type": "enabled"}, "body.thinking.budget_tokens"),
        (GEMINI, {"type": "enabled", "budget_tokens": 50_000}, "body.thinking.budget_tokens"),
        ("gemini-2.0-flash", {"type": "enabled", "budget_tokens": 2000}, "does not think"),
        (OSS, {"type": "disabled"}, "write reasoning_effort"),
        (LLAMA, {"type": "enabled", "budget_tokens": 2000}, "no such setting"),
        (CLAUDE, {"type": "enabled", "budget_tokens": 1000}, "body.thinking.budget_tokens"),
    ],
)
def test_a_thinking_that_the_model_does_not_take(model: str, thinking: JSON, said: str) -> None:
    """The reason is the model's, not the parameter's name."""
    with pytest.raises(UntranslatableError, match=said):
        made(model, thinking=thinking)


@pytest.mark.parametrize(
    ("model", "body", "told"),
    [
        (GEMINI, {"max_tokens": 200}, True),
        (GEMINI, {"max_tokens": 200, "reasoning_effort": "none"}, False),
        (GEMINI, {"max_tokens": 2000, "thinking_config": {"thinking_budget": 4000}}, True),
        (GEMINI_3, {"max_tokens": 200}, True),
        (GEMINI_3, {"max_tokens": 4000}, False),
        ("gemini-2.0-flash", {"max_tokens": 20}, False),
        (ADAPTIVE, {"max_tokens": 200, "reasoning_effort": "low"}, True),
        ("anthropic.claude-opus-5", {"max_tokens": 200}, True),
        ("anthropic.claude-opus-5", {"max_tokens": 200, "reasoning_effort": "none"}, False),
        (CLAUDE, {"max_tokens": 200}, False),
    ],
)
def test_little_room_beside_thoughts(model: str, body: JSON, told: bool) -> None:
    """Thoughts count as output: an answer that they may use up whole is warned about before it is paid for."""
    notes = made(model, **body)[1]
    assert any("think" in note for name, note in notes.items() if name == "body.max_tokens") == told


# ---- media ---------------------------------------------------------------------------------------------------------

PNG = base64.b64encode(b"\x89PNG").decode()


def picture(url: str) -> list[JSON]:
    return [
        {"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]}
    ]


@pytest.mark.parametrize(
    "head", ["DATA:image/png;base64", "Data:IMAGE/PNG;Base64", "data:image/png;charset=utf-8;base64"]
)
@pytest.mark.parametrize("model", [CLAUDE, NOVA, LLAMA, GEMINI, VERTEX_CLAUDE])
def test_data_urls_in_any_case(model: str, head: str) -> None:
    """Schemes and media types are the same in any case (RFC 3986, RFC 2045)."""
    plain = made(model, messages=picture(f"data:image/png;base64,{PNG}"))
    assert made(model, messages=picture(f"{head},{PNG}")) == plain


@pytest.mark.parametrize("model", [CLAUDE, GEMINI, VERTEX_CLAUDE])
def test_a_data_url_without_base64(model: str) -> None:
    """RFC 2397: the text stands there, percent-encoded."""
    file = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;charset=utf-8,h%C3%A9%20llo"}}
    line = made(model, messages=[{"role": "user", "content": [{"type": "text", "text": "?"}, file]}])[0]
    assert "hé llo" in line or base64.b64encode("hé llo".encode()).decode() in line


@pytest.mark.parametrize("kind", ["image/svg+xml", "image/tiff", "image/x-icon", "IMAGE/SVG+XML"])
@pytest.mark.parametrize("model", [CLAUDE, NOVA, LLAMA, GEMINI, GEMINI_3, VERTEX_CLAUDE])
def test_a_picture_that_the_provider_refuses(model: str, kind: str) -> None:
    """Gemini's were not checked; each failed after the upload."""
    with pytest.raises(UntranslatableError, match="image"):
        made(model, messages=picture(f"data:{kind};base64,{PNG}"))


@pytest.mark.parametrize(
    "kind",
    [
        "application/msword",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/zip",
    ],
)
def test_a_document_that_gemini_refuses(kind: str) -> None:
    """With what to do; an object in a bucket, too."""
    file = {"type": "file", "file": {"filename": "a", "file_data": f"data:{kind};base64,{PNG}"}}
    with pytest.raises(UntranslatableError, match="to PDF"):
        made(GEMINI, messages=[{"role": "user", "content": [file]}])
    file = {"type": "file", "file": {"file_id": "gs://b/a", "format": kind}}
    with pytest.raises(UntranslatableError, match="to PDF"):
        made(GEMINI, messages=[{"role": "user", "content": [file]}])


def test_what_it_may_cost_in_any_case() -> None:
    """A picture in a ``DATA:`` URL is no text by its bytes."""
    body = {"messages": picture(f"DATA:image/png;base64,{PNG * 1000}")}
    assert Media.of(body, "gpt-4o").size > 4000
    assert len(orjson.dumps(body)) > 4000
