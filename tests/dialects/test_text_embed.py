"""Google's embeddings before Gemini: instances without an id, whose echo tells the row."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchResult
from airflow_batch_provider.dialects.base import Sent
from airflow_batch_provider.dialects.families import EMBEDDINGS, vertex_family
from airflow_batch_provider.dialects.text_embed import TextEmbedDialect
from airflow_batch_provider.testing.native_embed import read_instance
from tests.dialects import laws
from tests.dialects.test_joining import answered, row
from tests.dialects.vertex_tools import check_import, line_format

MODEL = "text-embedding-005"


def dialect() -> TextEmbedDialect:
    return TextEmbedDialect(vertex_family(MODEL), MODEL)


def wire(**body: Any) -> JSON:
    """The line, which the fake, written from Google's page alone, takes."""
    line: JSON = orjson.loads(line_format(MODEL, EMBEDDINGS).encode(row("Hello", MODEL)._replace(body=body), 3))
    check_import([line])
    read_instance(MODEL, line)
    return line


def read(lines: list[JSON], line: JSON) -> BatchResult:
    """An output line against the wire lines that were sent."""
    ids = [f"id {number}" for number in range(len(lines))]
    return line_format(MODEL, EMBEDDINGS).decode(orjson.dumps(line), Sent(ids, lambda: map(orjson.dumps, lines)))


def test_request() -> None:
    """A line is the instance and nothing else; 768 dimensions are what the models make anyway."""
    assert wire(input="Hello", dimensions=768, encoding_format="float", user="u") == {"content": "Hello"}
    assert wire(input=["Hello"], task_type="CLUSTERING", title="t") == {
        "content": "Hello",
        "task_type": "CLUSTERING",
        "title": "t",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dimensions", 256),
        ("dimensions", True),
        ("encoding_format", "base64"),
        ("encoding_format", "x"),
        ("title", 5),
        ("truncate", True),
        ("input", [1, 2]),
        ("input", ""),
    ],
)
def test_refused(field: str, value: Any) -> None:
    """What an instance cannot say is an error of the row with the field's name."""
    with pytest.raises(UntranslatableError) as caught:
        dialect().request({"input": "a", field: value})
    assert caught.value.field == f"body.{field}"


def test_equal_texts_are_answered_in_turn() -> None:
    """Two rows of one text get an answer each; a third answer is nobody's; another task is another text."""
    lines = [{"content": "a"}, {"content": "a"}, {"content": "a", "task_type": "CLUSTERING"}]
    sent = Sent(["x", "y", "z"], lambda: map(orjson.dumps, lines))
    made = line_format(MODEL, EMBEDDINGS)
    order = [lines[2], lines[0], lines[1], lines[0]]
    found = [made.decode(answered(MODEL, orjson.dumps(line)), sent).custom_id for line in order]
    assert found == ["z", "x", "y", None]


def test_failed_rows() -> None:
    """A status is the row's error, an answer without a prediction is asked again."""
    instance = {"content": "a"}
    status = 'Bad Request: {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}'
    bad = read([instance], {"instance": instance, "predictions": [], "status": status})
    assert (bad.custom_id, bad.outcome, bad.retryable) == ("id 0", "failed", False)
    none = read([instance], {"instance": instance, "predictions": [], "status": ""})
    assert (none.custom_id, none.outcome, none.retryable) == ("id 0", "failed", True)
    broken = read([instance], {"instance": instance, "predictions": [{"embeddings": {}}], "status": ""})
    assert broken.outcome == "failed"


def test_ids_of_other_tools() -> None:
    """A file of somebody else's may carry an id beside the content, there and back."""
    made = line_format(MODEL, EMBEDDINGS)
    line = orjson.dumps({"content": "a", "requestId": "mine"})
    assert made.row_of(line) == "mine"
    assert made.row_of(b'{"content": "a"}') is None
    assert made.decode(answered(MODEL, line), Sent(["mine"], own=False)).custom_id == "mine"


@given(st.lists(laws.TEXTS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_every_row_gets_its_vector(texts: list[str], chance: Any) -> None:
    """Whatever the order, the vector of a row is that of its text, from the importer's reordered echo too."""
    lines = [{"content": text, "task_type": "CLUSTERING"} for text in texts]
    sent = Sent([str(number) for number in range(len(texts))], lambda: map(orjson.dumps, lines))
    outputs = [answered(MODEL, orjson.dumps(dict(reversed(line.items())))) for line in lines]
    chance.shuffle(outputs)
    found = {}
    for line in outputs:
        result = line_format(MODEL, EMBEDDINGS).decode(line, sent)
        found[result.custom_id] = orjson.loads(result.line)["response"]["body"]["data"][0]["embedding"]
    expected = {str(number): laws.vector_of(text) for number, text in enumerate(texts)}
    assert found == expected


@given(
    st.dictionaries(st.sampled_from(["input", "dimensions", "encoding_format", "title", "user", "x"]), laws.JSON_VALUES)
)
def test_only_row_errors(body: JSON) -> None:
    """Nonsense is refused by field."""
    laws.raises_row_errors_only(dialect(), body)


@given(laws.JSON_VALUES, laws.JSON_VALUES, laws.JSON_VALUES)
def test_anything_can_be_read(one: Any, other: Any, third: Any) -> None:
    """Whatever comes back, it is read without an exception."""
    made = line_format(MODEL, EMBEDDINGS)
    for predictions in (one, [one], [{"embeddings": other}], [{"embeddings": {"values": one, "statistics": other}}]):
        for instance in (third, {"content": "a"}):
            line = {"instance": instance, "predictions": predictions, "status": other}
            made.decode(orjson.dumps(line), Sent(["a"], lambda: [b'{"content": "a"}']))
            laws.reads_anything(dialect(), line)
