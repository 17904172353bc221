"""B9, B10 and their kind: what a provider refuses after the upload, or would read as something else, is said before."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from tests.dialects.test_spellings import CLAUDE, GEMINI, LLAMA, NOVA, VERTEX_CLAUDE, made

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


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


@pytest.mark.parametrize(("count", "fate"), [(20, "silent"), (21, "noted"), (600, "noted"), (601, "refused")])
@pytest.mark.parametrize("model", [CLAUDE, VERTEX_CLAUDE])
def test_many_images(model: str, count: int, fate: str) -> None:
    """Anthropic, "Vision": 600 a request, and a smaller size beyond 20."""
    messages = [{"role": "user", "content": [IMAGE] * count}]
    if fate == "refused":
        with pytest.raises(UntranslatableError, match="600 images"):
            made(model, messages=messages)
    else:
        assert ("body.messages" in made(model, messages=messages)[1]) == (fate == "noted")
