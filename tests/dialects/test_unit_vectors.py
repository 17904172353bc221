"""Vectors have length 1, as OpenAI's have (B15)."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.base import Sent
from airflow_batch_provider.dialects.embeddings import embedding_list
from airflow_batch_provider.dialects.families import EMBEDDINGS, bedrock_family
from airflow_batch_provider.dialects.formats import bedrock_format
from airflow_batch_provider.testing.native_gemini import read_gemini_embedding
from tests.dialects.vertex_tools import answered, line_format, row

GEMINI = "gemini-embedding-001"
OLD = "text-embedding-005"
TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-v4:0"


def vertex(model: str, body: JSON, values: list[float], response: JSON) -> Any:
    made = line_format(model, EMBEDDINGS)
    line = orjson.loads(made.encode(row(body, "x", model, EMBEDDINGS), 0))
    output = {"instance": line, **response, "status": ""} if model == OLD else answered(line, response)
    return orjson.loads(made.decode(orjson.dumps(output), Sent(["x"], lambda: [orjson.dumps(line)])).line)


def bedrock(model: str, body: JSON, output: JSON) -> Any:
    made = bedrock_format(bedrock_family(model), model, EMBEDDINGS)
    line = orjson.loads(made.encode(row(body, "x", model, EMBEDDINGS), 0))
    record = {**line, "modelOutput": output}
    return orjson.loads(made.decode(orjson.dumps(record), Sent(["x"])).line)


def vector(line: JSON) -> Any:
    return line["response"]["body"]["data"][0]["embedding"]


@pytest.mark.parametrize("wish", ["float", "base64"])
def test_gemini_in_fewer_dimensions(wish: str) -> None:
    """B15: gemini-embedding-001 with ``dimensions`` comes back at length 1, in both encodings."""
    body = {"input": "hello", "dimensions": 768, "encoding_format": wish}
    line = vertex(GEMINI, body, [3.0, 4.0], {"tokenCount": "2", "embedding": {"values": [3.0, 4.0]}})
    found = vector(line)
    if wish == "base64":
        found = [round(number, 6) for number in struct.unpack("<2f", base64.b64decode(found))]
    assert found == [0.6, 0.8]


def test_the_fake_does_not_normalize_either() -> None:
    """Google's word, which the fake keeps by itself: 3072 dimensions have length 1, fewer have not."""
    reply = {"usage": {"prompt_tokens": 1}, "data": [{"embedding": [3.0, 4.0]}]}
    content = {"content": {"parts": [{"text": "a"}]}}
    lengths = {}
    for model, size in ((GEMINI, 768), (GEMINI, 3072), ("gemini-embedding-2", 768)):
        request = {**content, "embed_content_config": {"output_dimensionality": size}}
        values = read_gemini_embedding(model, request).write(reply)["embedding"]["values"]
        lengths[model, size] = round(math.hypot(*values), 9)
    assert lengths == {(GEMINI, 768): 0.7, (GEMINI, 3072): 1.0, ("gemini-embedding-2", 768): 1.0}


def test_others_of_the_kind() -> None:
    """B15: Google's older models, Titan and Cohere come back at length 1 as well."""
    predictions = [{"embeddings": {"statistics": {"token_count": 1, "truncated": False}, "values": [3, 4]}}]
    assert vector(vertex(OLD, {"input": "a"}, [3, 4], {"predictions": predictions})) == [0.6, 0.8]
    assert vector(bedrock(TITAN, {"input": "a"}, {"embedding": [3.0, 4.0], "inputTextTokenCount": 1})) == [0.6, 0.8]
    line = bedrock(COHERE, {"input": ["a", "b"], "dimensions": 256}, {"embeddings": {"float": [[3, 4], [0, 2]]}})
    assert [one["embedding"] for one in line["response"]["body"]["data"]] == [[0.6, 0.8], [0.0, 1.0]]


def test_raw_where_the_author_says_so() -> None:
    """Titan's own ``normalize: false`` is a wish for the raw vector."""
    answer = {"embedding": [3.0, 4.0], "inputTextTokenCount": 1}
    assert vector(bedrock(TITAN, {"input": "a", "normalize": False}, answer)) == [3.0, 4.0]


def test_a_cut_text_is_told() -> None:
    """B7: that Google cut a text is in the answer."""
    predictions = [{"embeddings": {"statistics": {"token_count": 1, "truncated": True}, "values": [1.0]}}]
    body = vertex(OLD, {"input": "a"}, [1.0], {"predictions": predictions})["response"]["body"]
    assert body["provider_fields"] == {"statistics": {"truncated": True}}
    response = {"tokenCount": "2", "embedding": {"values": [1.0], "statistics": {"truncated": True}}}
    assert vertex(GEMINI, {"input": "a"}, [1.0], response)["response"]["body"]["provider_fields"]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=64))
def test_length_and_direction(values: list[float]) -> None:
    """The length is 1 and the direction the same; a vector of length 1, or of none, stays bit by bit."""
    made = embedding_list([values], "m", 1, as_base64=False)
    assert isinstance(made, dict)
    found = made["data"][0]["embedding"]
    length = math.hypot(*values)
    if not length:
        assert found == values
        return
    assert math.isclose(math.hypot(*found), 1, abs_tol=2e-6)
    assert all(math.isclose(a * length, b, rel_tol=2e-6, abs_tol=1e-300) for a, b in zip(found, values, strict=True))
    again = embedding_list([found], "m", 1, as_base64=False)
    assert isinstance(again, dict)
    assert again["data"][0]["embedding"] == found


def test_huge_numbers_are_handed_on() -> None:
    """What has no length that a double holds is not touched."""
    assert embedding_list([[10**400]], "m", 1, as_base64=False) == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [10**400]}],
        "model": "m",
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
