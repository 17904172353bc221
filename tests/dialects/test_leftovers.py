"""B7: what a provider answered is in the result, whatever kind of part it is.

The answers are made from the providers' own types (google-genai, anthropic, botocore), every member filled with a mark
of its own; a mark that is not found in the result was dropped.
"""

from __future__ import annotations

import base64
import enum
import itertools
import types as python_types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import botocore.session
import orjson
import pytest
from anthropic.types import ContentBlock, Message
from anthropic.types.beta import BetaContentBlock
from google.genai import types
from pydantic import BaseModel

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.claude_schema import ANSWER_TOOL
from airflow_batch_provider.dialects.dialect import Dialect
from airflow_batch_provider.dialects.families import CHAT, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format
from airflow_batch_provider.dialects.translated import TranslatedFormat

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
GEMINI = "gemini-2.5-flash"
LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"
NOVA = "us.amazon.nova-pro-v1:0"
DEEPEST = 6


def dialect(model: str) -> Dialect:
    if model == GEMINI:
        made = vertex_format(vertex_family(model), model, CHAT)
    else:
        made = bedrock_format(bedrock_family(model), model, CHAT)
    assert isinstance(made, TranslatedFormat)
    return made.dialect


def answer(model: str, output: JSON) -> JSON:
    found = dialect(model).answer(output)
    assert isinstance(found, dict), found
    return found


class Maker:
    """Makes one value of a type, with a mark in every text and number."""

    def __init__(self) -> None:
        self._count = itertools.count(100_001)

    def value(self, kind: Any, depth: int = 0) -> Any:
        origin = get_origin(kind)
        if origin in (Union, python_types.UnionType):
            options = [one for one in get_args(kind) if one is not type(None)]
            return self.value(options[0], depth)
        if origin is Literal:
            return get_args(kind)[0]
        if origin is not None and origin not in (list, dict):
            return self.value(get_args(kind)[0], depth)
        if origin is list:
            return [self.value(get_args(kind)[0], depth)]
        if origin is dict or kind is dict:
            return {"key": self._text()}
        return self._plain(kind, depth)

    def _plain(self, kind: Any, depth: int) -> Any:
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return list(kind)[-1].value
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return self.model(kind, depth + 1)
        if kind is bool:
            return True
        if kind in (int, float):
            return next(self._count)
        if kind is bytes:
            return base64.b64encode(self._text().encode()).decode()
        return self._text()

    def _text(self) -> str:
        return f"mark {next(self._count)}"

    def model(self, kind: type[BaseModel], depth: int = 0) -> JSON:
        if depth > DEEPEST:
            return {"deep": self._text()}
        return {
            field.serialization_alias or field.alias or name: self.value(field.annotation, depth)
            for name, field in kind.model_fields.items()
        }

    def shape(self, shape: Any, depth: int = 0) -> Any:
        """A value of botocore's shapes; the first member of a union."""
        match shape.type_name:
            case "structure" if depth > DEEPEST:
                return {"deep": self._text()}
            case "structure":
                members = list(shape.members.items())
                union = getattr(shape, "is_tagged_union", False)
                return {name: self.shape(one, depth + 1) for name, one in (members[:1] if union else members)}
            case "list":
                return [self.shape(shape.member, depth + 1)]
            case "map":
                return {"key": self.shape(shape.value, depth + 1)}
            case "boolean":
                return True
            case "blob":
                return base64.b64encode(self._text().encode()).decode()
            case "integer" | "long" | "float" | "double":
                return next(self._count)
            case _:
                return shape.enum[0] if getattr(shape, "enum", None) else self._text()


def marks(value: Any) -> Iterator[str]:
    """The texts and numbers in a value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from marks(item)
    elif isinstance(value, list):
        for item in value:
            yield from marks(item)
    elif not isinstance(value, bool):
        yield str(value)


def assert_kept(given: Any, found: JSON) -> None:
    text = orjson.dumps(found).decode()
    # Arguments of calls are JSON within a text.
    told = text + text.replace('\\"', '"')
    # "direct" is how a call is made that no server tool made.
    lost = [mark for mark in marks(given) if mark != "direct" and orjson.dumps(mark).decode().strip('"') not in told]
    assert not lost, (lost, found)


# ---- Gemini --------------------------------------------------------------------------------------------------------


def gemini(part: JSON, **candidate: Any) -> JSON:
    content = {"role": "model", "parts": [{"text": "Well."}, part]}
    return {"candidates": [{"content": content, "finishReason": "STOP", **candidate}], "responseId": "r"}


@pytest.mark.parametrize("name", types.Part.model_fields)
def test_every_part_of_gemini(name: str) -> None:
    """B7: each kind of part that google-genai knows comes through."""
    field = types.Part.model_fields[name]
    part = {field.alias or name: Maker().value(field.annotation)}
    found = answer(GEMINI, gemini(part))
    if name != "thought":
        assert_kept(part, found)
    if name not in ("text", "thought"):
        assert_kept(part, answer(GEMINI, gemini({**part, "thought": True})))


@pytest.mark.parametrize("name", sorted(types.Candidate.model_fields.keys() - {"content", "finish_reason", "index"}))
def test_everything_around_geminis_parts(name: str) -> None:
    """B7: grounding, citations, safety ratings, log probabilities."""
    field = types.Candidate.model_fields[name]
    given = {field.alias or name: Maker().value(field.annotation)}
    assert_kept(given, answer(GEMINI, gemini({"text": "x"}, **given)))


def test_everything_of_geminis_response() -> None:
    """B7: members of the response and of its usage; other candidates; what is newer than the SDK."""
    maker = Maker()
    fields = types.GenerateContentResponse.model_fields
    read = {"candidates", "create_time", "parsed", "sdk_http_response", "automatic_function_calling_history"}
    given = {fields[name].alias or name: maker.value(fields[name].annotation) for name in fields.keys() - read}
    others = [{"content": {"parts": [{"text": "the other"}]}}]
    output = gemini({"hologram": {"data": "AA"}}) | given | {"fromTheFuture": "yes"}
    output["candidates"] += others
    usage = output.pop("usageMetadata")
    found = answer(GEMINI, {**output, "usageMetadata": usage})
    total = usage.pop("totalTokenCount")
    thoughts = usage.pop("thoughtsTokenCount")
    # These are summed, for OpenAI counts tools with the prompt and thoughts with the answer.
    assert found["usage"]["prompt_tokens"] == usage.pop("promptTokenCount") + usage.pop("toolUsePromptTokenCount")
    assert found["usage"]["completion_tokens"] == usage.pop("candidatesTokenCount") + thoughts
    assert total
    for details in ("promptTokensDetails", "toolUsePromptTokensDetails", "candidatesTokensDetails"):
        usage.pop(details)
    assert_kept([given, usage, "hologram", "AA", "the other", "yes", thoughts], {**found, "hologram": "hologram"})
    assert found["choices"][0]["message"]["provider_parts"] == [{"index": 1, "part": {"hologram": {"data": "AA"}}}]


# ---- Claude --------------------------------------------------------------------------------------------------------


def blocks(union: Any) -> list[type[BaseModel]]:
    return list(get_args(get_args(union)[0]))


@pytest.mark.parametrize("kind", [*blocks(ContentBlock), *blocks(BetaContentBlock)], ids=lambda kind: kind.__name__)
def test_every_block_of_claude(kind: type[BaseModel]) -> None:
    """B7: each content block that anthropic knows comes through, citations of a text too."""
    block = Maker().model(kind)
    output = {"id": "m", "type": "message", "model": "c", "content": [{"type": "text", "text": "Well."}, block]}
    assert_kept(block, answer(CLAUDE, output))


def test_everything_around_claudes_blocks() -> None:
    """B7: stop sequence, container, tier and tools' use, which is billed."""
    given = Maker().model(Message)
    given |= {"content": [{"type": "tool_use", "id": "t", "name": "f"}], "stop_reason": "tool_use"}
    usage = given["usage"]
    found = answer(CLAUDE, given)
    cached, written = usage.pop("cache_read_input_tokens"), usage.pop("cache_creation_input_tokens")
    assert found["usage"]["prompt_tokens"] == usage.pop("input_tokens") + cached + written
    assert_kept(
        [
            {name: item for name, item in given.items() if name not in ("type", "stop_reason", "content")},
            cached,
            written,
        ],
        found,
    )


def test_words_around_an_answer_by_tool() -> None:
    """B7: content is the tool's input alone; what Claude and Nova said beside it is not lost."""
    use = {"id": "t", "name": ANSWER_TOOL, "input": {"a": 1}}
    second = {"id": "u", "name": ANSWER_TOOL, "input": {"a": 2}}
    text = {"type": "text", "text": "Here:"}
    tools = [{"type": "tool_use", **use}, {"type": "tool_use", **second}]
    message = answer(CLAUDE, {"content": [text, *tools], "stop_reason": "tool_use"})["choices"][0]["message"]
    assert message["content"] == '{"a":1}'
    assert message["provider_parts"] == [{"index": 0, "part": text}, {"index": 2, "part": tools[1]}]
    nova = [{"text": "Here:"}]
    nova += [{"toolUse": {"toolUseId": one["id"], "name": one["name"], "input": one["input"]}} for one in (use, second)]
    output = {"output": {"message": {"role": "assistant", "content": nova}}, "stopReason": "tool_use"}
    message = answer(NOVA, output)["choices"][0]["message"]
    assert message["content"] == '{"a":1}'
    assert message["provider_parts"] == [
        {"part": {"text": "Here:"}},
        {"part": {"toolUse": {"name": ANSWER_TOOL, "arguments": '{"a":2}'}}},
    ]


# ---- Converse ------------------------------------------------------------------------------------------------------

CONVERSE = botocore.session.get_session().get_service_model("bedrock-runtime")


def converse(block: JSON) -> JSON:
    message = {"role": "assistant", "content": [{"text": "Well."}, block]}
    return {"output": {"message": message}, "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 2}}


@pytest.mark.parametrize("model", [LLAMA, NOVA])
@pytest.mark.parametrize("name", CONVERSE.shape_for("ContentBlock").members)
def test_every_block_of_converse(model: str, name: str) -> None:
    """B7: each member of the union that botocore knows comes through; batches write the others as null."""
    shape = CONVERSE.shape_for("ContentBlock").members[name]
    block = {name: Maker().shape(shape)}
    nulls = dict.fromkeys(CONVERSE.shape_for("ContentBlock").members)
    assert_kept(block, answer(model, converse({**nulls, **block})))


def test_everything_around_converses_blocks() -> None:
    """B7: metrics, trace, the model's own fields."""
    members = CONVERSE.shape_for("ConverseResponse").members
    given = {name: Maker().shape(members[name]) for name in members if name not in ("output", "stopReason", "usage")}
    assert_kept(given, answer(LLAMA, converse({"text": "x"}) | given))


def test_cited_text_of_converse_is_content() -> None:
    """B7: the words of a ``citationsContent`` are the answer's own, and its citations are kept."""
    cited = {"content": [{"text": "Paris."}], "citations": [{"title": "Atlas"}]}
    message = answer(LLAMA, converse({"citationsContent": cited}))["choices"][0]["message"]
    assert message["content"] == "Well.Paris."
    assert message["provider_parts"] == [
        {"index": 1, "part": {"citationsContent": {"citations": [{"title": "Atlas"}]}}}
    ]


# ---- nothing of it where there is nothing ----------------------------------------------------------------------------


def test_plain_answers_stay_plain() -> None:
    """An answer that is read whole gets no member more."""
    for model, output in [
        (GEMINI, {"candidates": [{"content": {"parts": [{"text": "x", "fileData": None}]}, "finishReason": "STOP"}]}),
        (CLAUDE, {"content": [{"type": "text", "text": "x", "citations": None}], "usage": {"output_tokens": 1}}),
        (LLAMA, {"output": {"message": {"content": [{"text": "x", "image": None}]}}, "usage": {"inputTokens": 1}}),
    ]:
        found = answer(model, output)
        assert "provider_fields" not in found
        assert found["choices"][0]["message"].keys() == {"role", "content", "refusal"}
