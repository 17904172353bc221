"""What the fakes refuse of Nova's, Cohere's and Google's older bodies, as the services' pages have it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batch_provider.testing.native import read_native
from airflow_batch_provider.testing.native_embed import read_instance
from airflow_batch_provider.testing.native_shared import RefusedError

NOVA = "us.amazon.nova-lite-v1:0"
TURN = {"role": "user", "content": [{"text": "hi"}]}
TOOL = {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
USE = {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}]}
RESULT = {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "x"}]}}]}
FILE = {"document": {"format": "txt", "name": "a", "source": {"bytes": "aGk="}}}


def tools(**more: Any) -> dict[str, Any]:
    return {"tools": [TOOL], **more}


def answer(content: str | None) -> dict[str, Any]:
    """An engine's answer."""
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    return {"id": "1", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


def test_nova_takes_tools() -> None:
    """A conversation with tools is read; a forced tool is called, whatever the engine says; no null is written."""
    request = {"messages": [TURN, USE, RESULT], "toolConfig": tools(), "inferenceConfig": {"topK": 1}}
    assert read_native(NOVA, "InvokeModel", request).body["messages"][-1]["content"][0]["text"] == "x"
    for choice in ({"tool": {"name": "f"}}, {"any": {}}):
        native = read_native(NOVA, "InvokeModel", {"messages": [TURN], "toolConfig": tools(toolChoice=choice)})
        told = native.write(answer('{"a": 1}'))
        [block] = told["output"]["message"]["content"]
        assert block["toolUse"]["input"] == {"a": 1}
        assert list(block) == ["toolUse"]
        assert told["stopReason"] == "tool_use"


SCHEMA = {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "title": "t"}}}}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"messages": [TURN], "schemaVersion": "v2"}, "schemaVersion"),
        ({"messages": [TURN], "additionalModelRequestFields": {}}, "extraneous"),
        ({"messages": [TURN], "toolConfig": {"tools": [SCHEMA]}}, "top level"),
        ({"messages": [TURN, USE, RESULT]}, "toolConfig"),
        ({"messages": [TURN, USE, TURN], "toolConfig": tools()}, "toolResult"),
        ({"messages": [{"role": "user", "content": [FILE, {"text": "x"}]}]}, "documents"),
        ({"messages": [TURN], "toolConfig": tools(toolChoice={"tool": {"name": "g"}})}, "none of the tools"),
        (
            {"messages": [TURN], "inferenceConfig": {"topP": 1, "reasoningConfig": {"maxReasoningEffort": "high"}}},
            "unset",
        ),
    ],
)
def test_nova_refuses(request_: dict[str, Any], said: str) -> None:
    """What Nova's pages exclude is refused with a word of why."""
    with pytest.raises(RefusedError, match=said):
        read_native(NOVA, "InvokeModel", request_)


@pytest.mark.parametrize(
    ("model", "request_", "said"),
    [
        ("cohere.embed-english-v3", {"texts": ["a"]}, "input_type"),
        ("cohere.embed-english-v3", {"texts": [], "input_type": "clustering"}, "texts"),
        ("cohere.embed-english-v3", {"texts": ["a"] * 97, "input_type": "clustering"}, "96"),
        ("cohere.embed-english-v3", {"texts": ["a" * 2049], "input_type": "clustering"}, "2048"),
        ("cohere.embed-english-v3", {"texts": ["a"], "input_type": "clustering", "truncate": "LEFT"}, "truncate"),
        ("cohere.embed-english-v3", {"texts": ["a"], "input_type": "clustering", "output_dimension": 256}, "extran"),
        ("cohere.embed-v4:0", {"texts": [1], "input_type": "clustering"}, "String"),
        ("cohere.embed-v4:0", {"texts": ["a"], "input_type": "clustering", "output_dimension": 7}, "output_dim"),
    ],
)
def test_cohere_refuses(model: str, request_: dict[str, Any], said: str) -> None:
    """What Cohere's pages exclude is refused with a word of why."""
    with pytest.raises(RefusedError, match=said):
        read_native(model, "InvokeModel", request_)


def test_instances() -> None:
    """An instance needs a text, and knows nothing beside its task and its title."""
    for wrong in ({}, {"content": " "}, {"content": "a", "custom_id": "x"}):
        with pytest.raises(RefusedError):
            read_instance("text-embedding-005", wrong)
