"""Embeddings by Gemini."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.base import Sent
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.families import vertex_family
from airflow_batch_provider.dialects.gemini_embed import GeminiEmbedDialect
from tests.dialects import laws
from tests.dialects.vertex_tools import EMBEDDINGS, answered, check_import, line_format, row

MODEL = "gemini-embedding-001"
VECTOR = [-0.48, 0.6, 0.64]
RESPONSE = {"tokenCount": "2", "embedding": {"values": VECTOR}}


def dialect() -> GeminiEmbedDialect:
    return GeminiEmbedDialect(vertex_family(MODEL), MODEL)


def wire(body: JSON, position: int = 0) -> JSON:
    line: JSON = orjson.loads(line_format(MODEL, EMBEDDINGS).encode(row(body, "x", MODEL, EMBEDDINGS), position))
    types.Content.model_validate(line["request"]["content"])
    types.EmbedContentConfig.model_validate(line["request"].get("embed_content_config", {}))
    check_import([line])
    return line


@pytest.mark.parametrize("given", ["Hello World", ["Hello World"]])
def test_golden_line(given: Any) -> None:
    """One text, with what Gemini can be told about it, under its official key."""
    body = {
        "model": "m",
        "input": given,
        "dimensions": 768,
        "task_type": "RETRIEVAL_DOCUMENT",
        "title": "t",
        "user": "u",
    }
    assert wire(body) == {
        "key": "r0000000000",
        "request": {
            "content": {"parts": [{"text": "Hello World"}]},
            "embed_content_config": {
                "output_dimensionality": 768,
                "task_type": "RETRIEVAL_DOCUMENT",
                "title": "t",
            },
        },
    }
    assert wire({"input": given})["request"].keys() == {"content"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": ["a", "b"]}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": [[1], [2]]}, "input"),
        ({"input": []}, "input"),
        ({"input": " "}, "input"),
        ({}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": "many"}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "truncate": True}, "truncate"),
        ({"input": "a", "title": 5}, "title"),
    ],
)
def test_refused(body: JSON, field: str) -> None:
    """Several texts, tokens and what is unknown are errors that name their field."""
    with pytest.raises(UntranslatableError) as caught:
        dialect().request(body)
    assert caught.value.field == f"body.{field}"


def test_cosmetic_fields() -> None:
    """What changes no vector is left out with a note."""
    one = dialect()
    one.request({"input": "a", "user": "u", "metadata": None})
    assert one.notes.keys() == {"body.user"}


@pytest.mark.parametrize("wish", [None, "float", "base64"])
def test_round(wish: str | None) -> None:
    """The vector comes back under the row's id, in the encoding the row asked for, though only the key is echoed."""
    one = line_format(MODEL, EMBEDDINGS)
    line = wire({"input": "a", "encoding_format": wish}, 1)
    line["request"] = {}
    result = one.decode(orjson.dumps(answered(line, dict(RESPONSE))), Sent(["first", "second"]))
    assert (result.custom_id, result.outcome, result.usage.input_tokens) == ("second", "succeeded", 2)
    body = orjson.loads(result.line)["response"]["body"]
    expected = base64.b64encode(struct.pack("<3f", *VECTOR)).decode() if wish == "base64" else VECTOR
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": expected}],
        "model": MODEL,
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }


@pytest.mark.parametrize("wish", ["float", "base64"])
def test_failed_row(wish: str) -> None:
    """A failed row is found whatever it wished for."""
    line = wire({"input": "a", "encoding_format": wish})
    status = 'Bad Request: {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}'
    result = line_format(MODEL, EMBEDDINGS).decode(orjson.dumps(answered(line, {}, status)), Sent(["first"]))
    assert (result.custom_id, result.outcome) == ("first", "failed")
    assert orjson.loads(result.line)["response"]["status_code"] == 400


@given(st.dictionaries(st.sampled_from(["input", "dimensions", "encoding_format", "x", "user"]), laws.JSON_VALUES))
def test_rows_are_refused_by_name(body: JSON) -> None:
    """Whatever a body holds, only errors of the row come of it."""
    laws.raises_row_errors_only(dialect(), body)


@given(
    st.dictionaries(
        st.sampled_from(["embedding", "tokenCount", "usageMetadata"]),
        laws.JSON_VALUES | st.fixed_dictionaries({"values": laws.JSON_VALUES | st.lists(st.floats(allow_nan=False))}),
    )
)
def test_anything_is_read(output: JSON) -> None:
    """Whatever comes as an answer, it is read without an exception."""
    laws.reads_anything(dialect(), output)


def test_no_vector() -> None:
    """An answer without a vector is a failure."""
    assert isinstance(dialect().answer({"tokenCount": "2", "embedding": None}), Failure)
