"""B10, B6: the fakes refuse keys and names as the providers do, so that what a dialect adds wrongly is seen in runs."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.native import read_native
from airflow_batch_provider.testing.native_gemini import read_gemini
from airflow_batch_provider.testing.native_shared import RefusedError

CLAUDE = "anthropic.claude-haiku-4-5-20251001-v1:0"
LLAMA = "meta.llama3-1-8b-instruct-v1:0"
TEXT = {"type": "text", "text": "a"}


def claude(**keys: Any) -> JSON:
    base = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5}
    return {**base, "messages": [{"role": "user", "content": [TEXT]}], **keys}


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        (claude(messages=[{"role": "user", "content": [TEXT], "name": "Ana"}]), "messages.0.name"),
        (
            claude(messages=[{"role": "user", "content": [{**TEXT, "detail": "low"}]}]),
            "messages.0.content.0.text.detail",
        ),
        (claude(system=[{**TEXT, "name": "x"}]), "system.0.name"),
        (claude(tools=[{"name": "a", "input_schema": {}, "parameters": {}}]), "tools.0.custom.parameters"),
        (claude(tool_choice={"type": "auto", "mode": "x"}), "tool_choice.mode"),
    ],
)
def test_claude(request_: JSON, where: str) -> None:
    """B10: Claude's own words for a key it does not know, wherever it stands."""
    read_native(CLAUDE, "InvokeModel", claude())
    with pytest.raises(RefusedError, match=f"^{where}: Extra inputs are not permitted$"):
        read_native(CLAUDE, "InvokeModel", request_)


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ({"contents": [{"role": "user", "parts": [{"text": "a", "cacheControl": {}}]}]}, "cacheControl"),
        ({"contents": [{"role": "user", "name": "Ana", "parts": [{"text": "a"}]}]}, "name"),
        ({"contents": [], "generationConfig": {"thinkingConfig": {"effort": "low"}}}, "effort"),
        ({"contents": [], "tools": [{"functionDeclarations": [{"name": "a", "strict": True}]}]}, "strict"),
    ],
)
def test_gemini(request_: JSON, name: str) -> None:
    """B10: Google's own words for a name it does not know, wherever it stands."""
    with pytest.raises(RefusedError, match=f'Unknown name "{name}" at '):
        read_gemini("gemini-2.5-flash", request_)


@pytest.mark.parametrize("name", ["Invoice  12  March", "a_b", "a\u3000b", "ä", " a", "a.pdf"])
def test_converse_document_names(name: str) -> None:
    """B6: AWS's words for the name of a document."""

    def asked(*names: str) -> JSON:
        source = {"bytes": b"aGk="}
        documents = [{"document": {"format": "pdf", "name": one, "source": source}} for one in names]
        return {"messages": [{"role": "user", "content": [*documents, {"text": "Read."}]}]}

    read_native(LLAMA, "Converse", asked("Invoice 12 (March)", "[b]-c"))
    with pytest.raises(RefusedError, match="can only contain alphanumeric"):
        read_native(LLAMA, "Converse", asked(name))
    with pytest.raises(RefusedError, match="duplicate"):
        read_native(LLAMA, "Converse", asked("a", "a"))
