"""B9, B10 and their kind: what a provider refuses after the upload, or would read as something else, is said before."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest
from airflow_batch_provider.dialects.families import CHAT
from tests.dialects.test_fact_uses import SCHEMA, format_of
from tests.dialects.test_spellings import CLAUDE, GEMINI, GEMINI_3, LLAMA, NOVA, VERTEX_CLAUDE, made

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def pdf(pages: int) -> JSON:
    content = b"%PDF-1.7\n" + b"".join(b"%d 0 obj <</Type /Page>> endobj\n" % number for number in range(pages))
    data = f"data:application/pdf;base64,{base64.b64encode(content).decode()}"
    return {"type": "file", "file": {"filename": "a.pdf", "file_data": data}}


def conversation(*messages: JSON) -> list[JSON]:
    return [{"role": "user", "content": "a"}, *messages]


@pytest.mark.parametrize("model", [CLAUDE, VERTEX_CLAUDE, NOVA, GEMINI])
def test_two_tools_of_one_name(model: str) -> None:
    """Every provider requires unique names; the row failed after the upload."""
    with pytest.raises(UntranslatableError, match=r"tools\[1\]\.function\.name"):
        made(model, tools=[TOOL, TOOL])


@pytest.mark.parametrize("model", [CLAUDE, VERTEX_CLAUDE, NOVA])
def test_two_calls_of_one_id(model: str) -> None:
    """Their results could not be told apart."""
    results = [{"role": "tool", "tool_call_id": "c", "content": text} for text in ("1", "2")]
    messages = conversation({"role": "assistant", "tool_calls": [CALL, CALL]}, *results)
    with pytest.raises(UntranslatableError, match="same id"):
        made(model, messages=messages, tools=[TOOL])


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("model", [CLAUDE, VERTEX_CLAUDE, NOVA, LLAMA, GEMINI])
def test_instructions_in_the_middle(model: str, role: str) -> None:
    """They went to the front without a word."""
    message: dict[str, Any] = {"role": role, "content": "s"}
    notes = made(
        model, messages=conversation({"role": "assistant", "content": "b"}, message, {"role": "user", "content": "c"})
    )[1]
    assert "moved to the front" in notes["body.messages[]"]
    assert "body.messages[]" not in made(model, messages=[message, *conversation()])[1]


@pytest.mark.parametrize(
    ("model", "most"),
    [
        (CLAUDE, 100),
        ("claude-opus-4-1", 100),
        (VERTEX_CLAUDE, 600),
        ("anthropic.claude-opus-4-8", 600),
        (GEMINI, 3000),
        (GEMINI_3, 900),
        ("gemini-3-pro-image-preview", 14),
        ("gemini-2.5-flash-image", 3),
        (LLAMA, 8),
        ("meta.llama3-2-90b-instruct-v1:0", 1),
    ],
)
def test_too_many_images(model: str, most: int) -> None:
    """The providers' pages on images: by model."""

    def messages(count: int) -> list[JSON]:
        return [{"role": "user", "content": [IMAGE] * count}]

    made(model, messages=messages(most))
    with pytest.raises(UntranslatableError, match=rf"at most {most} images.*not {most + 1}"):
        made(model, messages=messages(most + 1))


@pytest.mark.parametrize(("count", "noted"), [(20, False), (21, True)])
@pytest.mark.parametrize("model", [CLAUDE, VERTEX_CLAUDE])
def test_many_images_must_be_smaller(model: str, count: int, noted: bool) -> None:
    """Anthropic, "Vision": a smaller size beyond 20."""
    assert ("body.messages" in made(model, messages=[{"role": "user", "content": [IMAGE] * count}])[1]) == noted


@pytest.mark.parametrize(("model", "most"), [(CLAUDE, 100), (VERTEX_CLAUDE, 600)])
def test_documents_count_as_images_and_their_pages_have_a_limit(model: str, most: int) -> None:
    """ "too many images and documents: 105 + 0 > 100", "A maximum of 100 PDF pages may be provided."."""
    made(model, messages=[{"role": "user", "content": [IMAGE] * (most - 1) + [pdf(1)]}])
    with pytest.raises(UntranslatableError, match=f"at most {most} images and documents"):
        made(model, messages=[{"role": "user", "content": [IMAGE] * most + [pdf(1)]}])
    made(model, messages=[{"role": "user", "content": [pdf(most)]}])
    with pytest.raises(UntranslatableError, match=f"at most {most} pages of PDF"):
        made(model, messages=[{"role": "user", "content": [pdf(most), pdf(1)]}])


def test_too_many_documents() -> None:
    """ "You can't include more than 5 documents in a request." (generative-ai-use-cases#1685)."""
    say: JSON = {"type": "text", "text": "Read"}
    made(LLAMA, messages=[{"role": "user", "content": [say, *[pdf(1)] * 5]}])
    messages = conversation({"role": "user", "content": [say, *[pdf(1)] * 5]}, {"role": "assistant", "content": "b"})
    with pytest.raises(UntranslatableError, match="at most 5 documents"):
        made(LLAMA, messages=[*messages, {"role": "user", "content": [say, pdf(1)]}])


@pytest.mark.parametrize("part", [IMAGE, pdf(1)])
@pytest.mark.parametrize("model", [CLAUDE, VERTEX_CLAUDE, LLAMA])
def test_media_of_the_assistant(model: str, part: JSON) -> None:
    """AWS, "API restrictions": images and documents only if the role is user."""
    messages = conversation({"role": "assistant", "content": [part]}, {"role": "user", "content": "c"})
    with pytest.raises(UntranslatableError, match=r"messages\[1\]\.content\[0\].*user message"):
        made(model, messages=messages)


def test_gemini_takes_back_its_pictures() -> None:
    """A picture that it has made is a part of its turn."""
    messages = conversation({"role": "assistant", "content": [IMAGE]}, {"role": "user", "content": "c"})
    assert "inlineData" in made("gemini-2.5-flash-image", messages=messages)[0]


# ---- tools -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "name", "fate"),
    [
        *((model, "get-weather_2", "taken") for model in (CLAUDE, VERTEX_CLAUDE, NOVA, GEMINI)),
        *((model, "w" * 64, "taken") for model in (CLAUDE, VERTEX_CLAUDE, NOVA, GEMINI)),
        *((model, "w" * 65, fate) for model, fate in ((CLAUDE, "taken"), (NOVA, "refused"), (GEMINI, "refused"))),
        *((model, "w" * 129, "refused") for model in (CLAUDE, VERTEX_CLAUDE)),
        *((model, "a.b:c", fate) for model, fate in ((CLAUDE, "refused"), (NOVA, "refused"), (GEMINI, "taken"))),
        *((model, "2nd", fate) for model, fate in ((CLAUDE, "taken"), (NOVA, "taken"), (GEMINI, "refused"))),
        *((model, "gr\u00fc\u00df", "refused") for model in (CLAUDE, VERTEX_CLAUDE, NOVA, GEMINI)),
    ],
)
def test_names_of_tools(model: str, name: str, fate: str) -> None:
    """The rules of the providers, of declarations and of calls alike."""
    tool = {"type": "function", "function": {**TOOL["function"], "name": name}}  # type: ignore[dict-item]
    call = {**CALL, "function": {"name": name, "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "c", "content": "1"}
    declared = {"tools": [tool]}
    called = {"tools": [TOOL], "messages": conversation({"role": "assistant", "tool_calls": [call]}, result)}
    fields = {"tools": r"tools\[0\]\.function\.name", "messages": r"messages\[1\]\.tool_calls\[0\]\.function\.name"}
    for field, body in (("tools", declared), ("messages", called)):
        if fate == "taken":
            assert name in made(model, **body)[0]
        else:
            with pytest.raises(UntranslatableError, match=fields[field]):
                made(model, **body)


ANSWER = {"role": "tool", "tool_call_id": "c", "content": "1"}
CALLS = {"role": "assistant", "tool_calls": [CALL]}


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (conversation(CALLS), "the last message calls tools"),
        (conversation(CALLS, {"role": "user", "content": "b"}), "one tool message right after"),
        (conversation(CALLS, ANSWER, ANSWER), "one tool message right after"),
        (conversation({**ANSWER, "name": "f"}), "one tool message right after"),
        (
            conversation(CALLS, ANSWER, {"role": "assistant", "content": "b"}, ANSWER),
            "one tool message right after",
        ),
        (
            conversation({"role": "assistant", "tool_calls": [CALL, {**CALL, "id": "d"}]}, ANSWER),
            "one tool message right after",
        ),
    ],
)
@pytest.mark.parametrize("model", [CLAUDE, VERTEX_CLAUDE, NOVA, GEMINI, GEMINI_3])
def test_calls_without_results_and_results_without_calls(model: str, messages: list[JSON], said: str) -> None:
    """Claude and Nova require a result of each call, Gemini as many results as calls."""
    with pytest.raises(UntranslatableError, match=said):
        made(model, messages=messages, tools=[TOOL])


@pytest.mark.parametrize("model", [GEMINI, GEMINI_3])
def test_results_go_by_their_calls(model: str) -> None:
    """Gemini knows them by place, where the calls have one name: these were swapped."""
    calls = [{**CALL, "id": name, "function": {"name": "f", "arguments": f'{{"a": "{name}"}}'}} for name in "xy"]
    results = [{**ANSWER, "tool_call_id": name, "content": f"of {name}"} for name in "yx"]
    line = made(model, messages=conversation({"role": "assistant", "tool_calls": calls}, *results), tools=[TOOL])[0]
    assert line.index("of x") < line.index("of y")


def test_gemini_wants_the_user_before_a_call() -> None:
    """ "function call turn comes immediately after a user turn" (gemini-cli#11814)."""
    with pytest.raises(UntranslatableError, match="user message before"):
        made(GEMINI, messages=[CALLS, ANSWER], tools=[TOOL])


@pytest.mark.parametrize("format_", [{"type": "json_object"}, SCHEMA])
@pytest.mark.parametrize("tool", [TOOL, {"google_search": {"exclude_domains": ["a.b"]}}])
@pytest.mark.parametrize(("model", "fate"), [(GEMINI, "refused"), ("gemini-2.0-flash", "refused"), (GEMINI_3, "taken")])
def test_json_beside_tools(model: str, fate: str, tool: JSON, format_: JSON) -> None:
    """ "Function calling with a response mime type: 'application/json' is unsupported" before Gemini 3."""
    if fate == "taken":
        assert "application/json" in made(model, tools=[tool], response_format=format_)[0]
    else:
        with pytest.raises(UntranslatableError, match=r"body\.response_format.*tools"):
            made(model, tools=[tool], response_format=format_)
    made(model, tools=[tool], response_format={"type": "text"})


@pytest.mark.parametrize(
    ("model", "part", "fate"),
    [
        ("gpt-oss-120b-maas", IMAGE, "refused"),
        ("llama-3.3-70b-instruct-maas", IMAGE, "refused"),
        ("qwen3-next-80b-a3b-instruct-maas", IMAGE, "refused"),
        ("deepseek-v3.1-maas", IMAGE, "refused"),
        ("llama-4-maverick-17b-128e-instruct-maas", IMAGE, "warned"),
        ("llama-4-maverick-17b-128e-instruct-maas", pdf(1), "refused"),
        ("qwen.qwen3-32b-v1:0", IMAGE, "refused"),
        ("deepseek.v3.1", IMAGE, "refused"),
        ("qwen.qwen3-vl-235b-a22b", IMAGE, "silent"),
    ],
)
def test_media_of_open_models(model: str, part: JSON, fate: str) -> None:
    """Vertex AI's batches are for text; on Bedrock Qwen3 VL alone of these sees."""
    form = format_of(model)
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, part]}]}
    raw = orjson.dumps({"custom_id": "row", "method": "POST", "url": CHAT, "body": body})
    request = BatchRequest("row", CHAT, model, body, raw, 1)
    if fate == "refused":
        with pytest.raises(UntranslatableError, match=r"body\.messages\[0\]\.content\[1\].*takes text only"):
            form.encode(request, 0)
    else:
        form.encode(request, 0)
        assert ("body.messages[].content[]" in form.notes) == (fate == "warned")
