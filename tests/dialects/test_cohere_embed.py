"""Cohere's embeddings on Bedrock: up to 96 texts a record, OpenAI's list of vectors back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.base import Sent, token
from airflow_batch_provider.dialects.cohere_embed import CohereEmbeddings
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.families import EMBEDDINGS, bedrock_family
from airflow_batch_provider.dialects.formats import bedrock_format
from airflow_batch_provider.testing.native_embed import read_cohere
from tests.dialects import laws
from tests.dialects.test_joining import row

V3 = "cohere.embed-multilingual-v3"
V4 = "us.cohere.embed-v4:0"


def dialect(model: str = V3) -> CohereEmbeddings:
    return CohereEmbeddings(bedrock_family(model), model)


def request(model: str = V3, **body: Any) -> JSON:
    """The request, which the fake, written from AWS's page alone, takes."""
    made = laws.translated(dialect(model), {"input": "a", **body})
    read_cohere(model, made)
    return made


def refused(field: str, model: str = V3, **body: Any) -> str:
    with pytest.raises(UntranslatableError) as caught:
        dialect(model).request({"input": "a", **body})
    assert caught.value.field == f"body.{field}"
    return caught.value.message


def answer(output: JSON, model: str = V3, **asked: Any) -> JSON:
    found = dialect(model).answer({**output, "modelInput": {"texts": ["a"], **asked}})
    assert isinstance(found, dict)
    return found


def test_request() -> None:
    """Texts stay in order; an input_type is written where none is named, with a note."""
    assert request(input=["b", "a"], input_type="clustering") == {"texts": ["b", "a"], "input_type": "clustering"}
    one = dialect()
    assert one.request({"input": "a", "user": "u"})["input_type"] == "search_document"
    assert set(one.notes) == {"body.input_type", "body.user"}


def test_truncate() -> None:
    """Each version has words of its own for the end that is cut; the author may use either."""
    assert [request(V3, truncate=word)["truncate"] for word in ("NONE", "LEFT", "END")] == ["NONE", "START", "END"]
    assert [request(V4, truncate=word)["truncate"] for word in ("NONE", "LEFT", "END")] == ["NONE", "LEFT", "RIGHT"]


def test_dimensions() -> None:
    """v4 makes what it is asked for; v3 makes 1024, and asking for that is no request of its own."""
    assert request(V4, dimensions=256)["output_dimension"] == 256
    assert request(V3, dimensions=1024) == request(V3)
    refused("dimensions", V3, dimensions=256)
    for wrong in (1000, "256", True):
        refused("dimensions", V4, dimensions=wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_type", "query"),
        ("input_type", 1),
        ("truncate", "MIDDLE"),
        ("encoding_format", "int8"),
        ("images", ["x"]),
    ],
)
def test_options_that_are_refused(field: str, value: Any) -> None:
    """What has no equivalent is an error of the row with the field's name."""
    refused(field, **{field: value})


def test_inputs_that_are_refused() -> None:
    """Tokens, blank texts, and with v3 texts of more than 2,048 characters, told by their place."""
    refused("input", input=[1, 2])
    refused("input", input=" ")
    refused("input[1]", input=["a", ""])
    assert "2,048" in refused("input[1]", input=["a", "x" * 2049])
    assert request(V4, input="x" * 2049)["texts"] == ["x" * 2049]


@pytest.mark.parametrize("shape", ["list", "by type"])
def test_answer(shape: str) -> None:
    """Both shapes of vectors are read; tokens where they are told."""
    vectors = [[0.6, 0.8]]
    output = {"embeddings": vectors if shape == "list" else {"float": vectors}}
    body = answer({**output, "meta": {"billed_units": {"input_tokens": 7}}})
    assert body["data"] == [{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}]
    assert (body["object"], body["model"], body["usage"]["prompt_tokens"]) == ("list", V3, 7)
    assert answer(output)["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    assert answer(output, embedding_types=["float"])["data"][0]["embedding"] == "mpkZP83MTD8="


def test_too_few_vectors() -> None:
    """Vectors that do not fit the texts are a failure, never somebody else's vector."""
    found = dialect().answer({"embeddings": [[1.0]], "modelInput": {"texts": ["a", "b"]}})
    assert isinstance(found, Failure)
    assert "2 texts" in found.message


@given(st.lists(laws.TEXTS, min_size=1, max_size=96))
def test_no_text_is_lost(texts: list[str]) -> None:
    """Every text goes out in order, and its own vector comes back under the row's id."""
    made = bedrock_format(bedrock_family(V4), V4, EMBEDDINGS)
    record = orjson.loads(made.encode(row(texts, V4, "id 1"), 0))
    assert (record["recordId"], record["modelInput"]["texts"]) == (token(0), texts)
    vectors = [laws.vector_of(text) for text in texts]
    line = orjson.dumps({**record, "modelOutput": {"embeddings": vectors}})
    result = made.decode(line, Sent(["id 1"]))
    assert result.custom_id == "id 1"
    assert [one["embedding"] for one in orjson.loads(result.line)["response"]["body"]["data"]] == vectors


@given(
    st.dictionaries(
        st.sampled_from(["input", "dimensions", "encoding_format", "input_type", "truncate", "user", "x"]),
        laws.JSON_VALUES,
    )
)
def test_only_row_errors(body: JSON) -> None:
    """Nonsense is refused by field."""
    for model in (V3, V4):
        laws.raises_row_errors_only(dialect(model), body)


@given(laws.JSON_VALUES, laws.JSON_VALUES, laws.JSON_VALUES)
def test_anything_can_be_read(one: Any, other: Any, third: Any) -> None:
    """Any answer gives a body or a failure."""
    for vectors in (one, [one], {"float": one}, {"float": [other]}):
        laws.reads_anything(dialect(), {"embeddings": vectors, "modelInput": third, "meta": other})
        laws.reads_anything(dialect(), {"embeddings": vectors, "modelInput": {"texts": one, "embedding_types": 1}})
