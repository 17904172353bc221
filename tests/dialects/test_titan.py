"""The Titan dialect: one text a record, OpenAI's embeddings back."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest, BatchResult
from airflow_batch_provider.dialects.base import Sent, token
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.families import EMBEDDINGS, bedrock_family
from airflow_batch_provider.dialects.formats import bedrock_format
from airflow_batch_provider.dialects.titan import TitanEmbeddings
from tests.dialects import laws

MODEL = "amazon.titan-embed-text-v2:0"


def dialect() -> TitanEmbeddings:
    return TitanEmbeddings(bedrock_family(MODEL), MODEL)


def refused(field: str, **body: Any) -> str:
    with pytest.raises(UntranslatableError) as caught:
        dialect().request({"input": "a", **body})
    assert caught.value.field == f"body.{field}"
    return caught.value.message


def roundtrip(body: JSON, vector: list[float], *, echoed: bool = True) -> BatchResult:
    """The result of a record that Bedrock answered, in its envelope."""
    made = bedrock_format(bedrock_family(MODEL), MODEL, EMBEDDINGS)
    record = orjson.loads(made.encode(BatchRequest("id 1", EMBEDDINGS, MODEL, body, b"", 1), 0))
    assert record["recordId"] == token(0)
    output = {"embedding": vector, "embeddingsByType": {"float": vector}, "inputTextTokenCount": 3}
    line = {**record, "modelOutput": output} if echoed else {"recordId": record["recordId"], "modelOutput": output}
    return made.decode(orjson.dumps(line), Sent(["id 1"]))


def embedding(result: BatchResult) -> Any:
    assert result.outcome == "succeeded"
    return orjson.loads(result.line)["response"]["body"]["data"][0]["embedding"]


def test_request() -> None:
    """One text, or a list of one, with dimensions; vectors have length one, as OpenAI's have."""
    assert dialect().request({"model": "x", "input": "a"}) == {"inputText": "a", "normalize": True}
    body = {"input": ["a"], "dimensions": 256, "normalize": False, "encoding_format": "float"}
    assert dialect().request(body) == {"inputText": "a", "dimensions": 256, "normalize": False}


@pytest.mark.parametrize("given_input", [["a", "b"], [1, 2], [[1], [2]], "", " ", None, [], 5, "x" * 50_001])
def test_inputs_that_are_refused(given_input: Any) -> None:
    """Several texts, tokens and no text are errors of the row."""
    refused("input", input=given_input)


def test_remedies() -> None:
    """The errors say what to do."""
    assert "cut it" in refused("input", input="x" * 50_001)
    assert "text itself" in refused("input", input=[1, 2])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dimensions", 1536),
        ("dimensions", True),
        ("dimensions", "256"),
        ("encoding_format", "binary"),
        ("normalize", "yes"),
        ("input_type", "query"),
    ],
)
def test_options_that_are_refused(field: str, value: Any) -> None:
    """What Titan does not make is an error of the row with the field's name."""
    refused(field, **{field: value})


def test_user_is_noted() -> None:
    """user changes nothing and is noted."""
    made = dialect()
    made.request({"input": "a", "user": "u"})
    assert list(made.notes) == ["body.user"]


def test_answer() -> None:
    """OpenAI's list of one embedding, with the tokens."""
    result = roundtrip({"input": "a"}, [0.6, -0.8])
    body = orjson.loads(result.line)["response"]["body"]
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.6, -0.8]}],
        "model": MODEL,
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert result.custom_id == "id 1"
    assert result.usage.input_tokens == 3


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_base64_is_little_endian_floats(vector: list[float]) -> None:
    """The wish for base64 comes back with the echoed request; its bytes are 32-bit floats, little end first."""
    found = embedding(roundtrip({"input": "a", "encoding_format": "base64", "normalize": False}, vector))
    assert list(struct.unpack(f"<{len(vector)}f", base64.b64decode(found))) == vector


def test_without_echo_there_are_floats() -> None:
    """A line that lost its request still has its vector, as floats."""
    body = {"input": "a", "encoding_format": "base64"}
    assert embedding(roundtrip(body, [-1.0], echoed=False)) == [-1.0]


def test_vector_by_type() -> None:
    """The vector is found by type where it stands nowhere else."""
    found = dialect().answer({"embeddingsByType": {"float": [1.0]}})
    assert isinstance(found, dict)
    assert found["data"][0]["embedding"] == [1.0]


@pytest.mark.parametrize("vector", [None, [], "x", [None], [True], ["1"]])
def test_no_vector_is_a_failure(vector: Any) -> None:
    """An answer without numbers is a failure."""
    assert isinstance(dialect().answer({"embedding": vector}), Failure)


def test_numbers_beyond_a_float_are_a_failure() -> None:
    """A number that 32 bits cannot hold fails the row, not the run."""
    output = {"embedding": [1e300], "modelInput": {"embeddingTypes": ["float"], "normalize": False}}
    assert isinstance(dialect().answer(output), Failure)


@given(st.dictionaries(st.sampled_from(["input", "dimensions", "encoding_format", "user", "x"]), laws.JSON_VALUES))
def test_only_row_errors(body: JSON) -> None:
    """Nonsense is refused by field."""
    laws.raises_row_errors_only(dialect(), body)


@given(laws.JSON_VALUES, laws.JSON_VALUES)
def test_anything_can_be_read(one: Any, other: Any) -> None:
    """Any answer gives a body or a failure."""
    for vector in (one, [one, other]):
        output = {"embedding": vector, "embeddingsByType": other, "modelInput": one, "inputTextTokenCount": other}
        laws.reads_anything(dialect(), output)
        laws.reads_anything(dialect(), {**output, "modelInput": {"embeddingTypes": 1}})
