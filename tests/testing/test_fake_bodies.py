"""What the fakes refuse of conversations, tools and media, in the providers' words."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.native import read_native
from airflow_batch_provider.testing.native_gemini import read_gemini
from airflow_batch_provider.testing.native_shared import RefusedError

CLAUDE, LATER = "anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic.claude-opus-4-8"
NOVA, LLAMA = "amazon.nova-lite-v1:0", "meta.llama4-scout-17b-instruct-v1:0"
SAID = {"role": "user", "content": [{"type": "text", "text": "a"}]}
SEEN = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
USED = {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "f", "input": {}}]}
TOLD = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "1"}]}
UNPAIRED = "number of function response parts is equal"


def claude(*turns: JSON, tools: tuple[str, ...] = ("f",)) -> JSON:
    made = [{"name": name, "input_schema": {"type": "object"}} for name in tools]
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": [*turns], "tools": made}


@pytest.mark.parametrize(
    ("model", "request_", "said"),
    [
        (CLAUDE, claude(SAID, tools=("a.b",)), "tools.0.custom.name: String should match pattern"),
        (CLAUDE, claude(SAID, tools=("a" * 129,)), "tools.0.custom.name: String should match pattern"),
        (CLAUDE, claude(SAID, tools=("a", "a")), "names must be unique"),
        (CLAUDE, claude(SAID, USED), "messages.1: `tool_use` ids were found without `tool_result` blocks"),
        (CLAUDE, claude(SAID, USED, SAID), "messages.1: `tool_use` ids were found without `tool_result` blocks"),
        (CLAUDE, claude(SAID, {**USED, "content": USED["content"] * 2}, TOLD), "ids must be unique"),  # type: ignore[operator]
        (CLAUDE, claude(SAID, USED, {**TOLD, "content": TOLD["content"] * 2}), "unexpected `tool_use_id`"),  # type: ignore[operator]
        (CLAUDE, claude(TOLD), "unexpected `tool_use_id`"),
        (CLAUDE, claude({"role": "user", "content": [SEEN] * 101}), "too many images and documents: 101 + 0 > 100"),
        (LATER, claude({"role": "user", "content": [SEEN] * 601}), "too many images and documents: 601 + 0 > 600"),
        (CLAUDE, claude(SAID, {"role": "assistant", "content": [SEEN]}, SAID), "only permitted in user"),
    ],
)
def test_claude(model: str, request_: JSON, said: str) -> None:
    """Anthropic's errors, as they are reported."""
    with pytest.raises(RefusedError, match=re.escape(said)):
        read_native(model, "InvokeModel", request_)


def test_claude_takes_the_rest() -> None:
    """What is at the limits, and a conversation in order."""
    read_native(CLAUDE, "InvokeModel", claude(SAID, USED, TOLD, tools=("a" * 128,)))
    read_native(LATER, "InvokeModel", claude({"role": "user", "content": [SEEN] * 600}))


CALL, DONE = (
    {"functionCall": {"name": "f", "args": {"a": 1}}},
    {"functionResponse": {"name": "f", "response": {"a": 1}}},
)
PICTURE = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}


def gemini(*turns: tuple[str, list[JSON]], tools: tuple[str, ...] = ("f",), **config: Any) -> JSON:
    contents = [{"role": role, "parts": parts} for role, parts in (("user", [{"text": "a"}]), *turns)]
    declared = [{"functionDeclarations": [{"name": name} for name in tools]}]
    return {"contents": contents, "tools": declared, "generationConfig": config}


@pytest.mark.parametrize(
    ("model", "request_", "said"),
    [
        ("gemini-2.5-pro", gemini(tools=("2nd",)), "Must start with a letter or an underscore"),
        ("gemini-2.5-pro", gemini(tools=("a" * 65,)), "maximum length of 64"),
        ("gemini-2.5-pro", gemini(tools=("a", "a")), "Duplicate function declaration found: a"),
        ("gemini-3-pro-preview", gemini(("model", [CALL])), UNPAIRED),
        ("gemini-2.5-pro", gemini(("model", [CALL, CALL]), ("user", [DONE])), UNPAIRED),
        ("gemini-2.5-pro", gemini(("user", [DONE])), "immediately after a function call turn"),
        (
            "gemini-2.5-pro",
            {"contents": [{"role": "model", "parts": [CALL]}, {"role": "user", "parts": [DONE]}]},
            "function call turn comes immediately after a user turn",
        ),
        ("gemini-2.5-pro", gemini(responseMimeType="application/json"), "Function calling with a response mime type"),
        (
            "gemini-2.0-flash",
            {**gemini(responseMimeType="application/json"), "tools": [{"googleSearch": {}}]},
            "Tool use with a response mime type",
        ),
        ("gemini-2.5-flash-image", gemini(("user", [PICTURE] * 4)), "more than 3 images"),
    ],
)
def test_gemini(model: str, request_: JSON, said: str) -> None:
    """Google's errors, as they are reported."""
    with pytest.raises(RefusedError, match=re.escape(said)):
        read_gemini(model, request_)


def test_gemini_takes_the_rest() -> None:
    """A conversation in order, names with dots, JSON beside tools since Gemini 3."""
    read_gemini("gemini-2.5-pro", gemini(("model", [CALL, CALL]), ("user", [DONE, DONE]), tools=("a.b:c-d",)))
    read_gemini("gemini-3-pro-preview", gemini(responseMimeType="application/json"))


HELLO = {"role": "user", "content": [{"text": "a"}]}
SIGHT = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}


def file(number: int) -> JSON:
    return {"document": {"format": "txt", "name": f"a{number}", "source": {"bytes": "AAAA"}}}


def nova(*names: str) -> JSON:
    schema = {"json": {"type": "object", "properties": {}}}
    return {
        "messages": [HELLO],
        "toolConfig": {"tools": [{"toolSpec": {"name": name, "inputSchema": schema}} for name in names]},
    }


@pytest.mark.parametrize(
    ("model", "kind", "request_", "said"),
    [
        (NOVA, "InvokeModel", nova("a.b"), "regular expression pattern: [a-zA-Z0-9_-]+"),
        (NOVA, "InvokeModel", nova("a" * 65), "length less than or equal to 64"),
        (NOVA, "InvokeModel", nova("a", "a"), "already defined at toolConfig.tools"),
        (
            LLAMA,
            "Converse",
            {"messages": [{"role": "user", "content": [{"text": "a"}, *map(file, range(6))]}]},
            "more than 5 documents",
        ),
        (LLAMA, "Converse", {"messages": [{"role": "user", "content": [SIGHT] * 9}]}, "at most 8 images"),
        (
            LLAMA,
            "Converse",
            {"messages": [HELLO, {"role": "assistant", "content": [SIGHT]}, HELLO]},
            "only supported for the user role",
        ),
    ],
)
def test_bedrock(model: str, kind: str, request_: JSON, said: str) -> None:
    """Bedrock's errors, as they are reported."""
    with pytest.raises(RefusedError, match=re.escape(said)):
        read_native(model, kind, request_)
