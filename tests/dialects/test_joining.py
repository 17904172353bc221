"""Rows of several wire lines: each text goes out once, and all answers are one again, or the row has failed."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.reconciling import Books
from airflow_batch_provider.core.records import JSON, BatchRequest
from airflow_batch_provider.dialects.base import LineFormat, Sent, token
from airflow_batch_provider.dialects.families import EMBEDDINGS, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format
from airflow_batch_provider.dialects.joining import Parts, join
from airflow_batch_provider.dialects.openai import error_line, read_line
from tests.dialects.laws import vector_of

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-english-v3"
GEMINI = "gemini-embedding-001"
OLD = "text-embedding-005"
PER_RECORD = {TITAN: 1, COHERE: 96, GEMINI: 1, OLD: 1}
TEXTS = st.text(min_size=1, max_size=12).filter(str.strip)


def line_format(model: str) -> LineFormat:
    if model in (TITAN, COHERE):
        return bedrock_format(bedrock_family(model), model, EMBEDDINGS)
    return vertex_format(vertex_family(model), model, EMBEDDINGS)


def row(given_input: Any, model: str, custom_id: str = "x", **more: Any) -> BatchRequest:
    return BatchRequest(custom_id, EMBEDDINGS, model, {"input": given_input, **more}, b"", 1)


def answered(model: str, wire: bytes) -> bytes:
    """The provider's output line, with one token a text."""
    line = orjson.loads(wire)
    if model == TITAN:
        return orjson.dumps(
            {**line, "modelOutput": {"embedding": vector_of(line["modelInput"]["inputText"]), "inputTextTokenCount": 1}}
        )
    if model == COHERE:
        vectors = [vector_of(text) for text in line["modelInput"]["texts"]]
        told = {"embeddings": vectors, "meta": {"billed_units": {"input_tokens": len(vectors)}}}
        return orjson.dumps({**line, "modelOutput": told})
    if model == GEMINI:
        text = line["request"]["content"]["parts"][0]["text"]
        return orjson.dumps({**line, "response": {"tokenCount": "1", "embedding": {"values": vector_of(text)}}})
    told = {"embeddings": {"statistics": {"token_count": 1}, "values": vector_of(line["content"])}}
    return orjson.dumps({"instance": line, "predictions": [told], "status": ""})


def collected(
    model: str, requests: list[BatchRequest], change: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
) -> list[JSON]:
    """The rows' results, when the output lines are changed on their way.

    :param change: reorders, drops and doubles.
    """
    made = line_format(model)
    wires: list[bytes] = []
    for request in requests:
        wires += made.encode(request, len(wires)).split(b"\n")
    parts = Parts((request.custom_id, len(made.split(request.body))) for request in requests)
    assert len(parts.ids) == len(wires)
    sent, books, kept = Sent(parts.ids, lambda: iter(wires)), Books(parts.ids), []
    for line in change([answered(model, wire) for wire in wires]):
        result = made.decode(line, sent)
        if books.enter(result, len(kept)):
            kept.append(result.line)
    lines = [error_line(part, "missing", "gone") if place is None else kept[place] for part, place in books.places()]
    results = [orjson.loads(line) for line in parts.joined(lines)]
    assert [result["custom_id"] for result in results] == [request.custom_id for request in requests]
    return results


@pytest.mark.parametrize("model", PER_RECORD)
@given(
    inputs=st.lists(TEXTS | st.lists(TEXTS, min_size=1, max_size=5), min_size=1, max_size=5),
    chance=st.randoms(use_true_random=False),
)
def test_every_text_has_its_vector(model: str, inputs: list[Any], chance: Any) -> None:
    """Whatever the order of the answers, doubled ones among them: data[index] is the vector of text index, usage is
    summed, and every row comes once."""
    requests = [row(given_input, model, f"id {number}") for number, given_input in enumerate(inputs)]

    def change(lines: list[bytes]) -> list[bytes]:
        lines = [*lines, chance.choice(lines)] if model != OLD else lines[:]
        chance.shuffle(lines)
        return lines

    for request, result in zip(requests, collected(model, requests, change), strict=True):
        texts = request.body["input"]
        texts = [texts] if isinstance(texts, str) else texts
        body = result["response"]["body"]
        assert [item["index"] for item in body["data"]] == list(range(len(texts)))
        assert [item["embedding"] for item in body["data"]] == [vector_of(text) for text in texts]
        assert body["usage"] == {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        assert body["model"] == model
        assert (result["response"]["status_code"], result["error"]) == (200, None)


@pytest.mark.parametrize(("model", "texts"), [(TITAN, 3), (COHERE, 250), (GEMINI, 3), (OLD, 3)])
def test_a_lost_part_fails_its_row_alone(model: str, texts: int) -> None:
    """One part missing: the row is missing, to be asked again whole; its neighbours are answered."""
    requests = [row([f"{name} {number}" for number in range(texts)], model, name) for name in "abc"]
    parts = -(-texts // PER_RECORD[model])
    found = collected(model, requests, lambda lines: lines[: parts + 1] + lines[parts + 2 :])
    assert [read_line(orjson.dumps(line)).outcome for line in found] == ["succeeded", "missing", "succeeded"]
    assert read_line(orjson.dumps(found[1])).retryable


def test_lines_and_limits() -> None:
    """Cohere takes 96 texts a record, the others one; the tokens count lines."""
    made = line_format(COHERE)
    lines = made.encode(row(["x"] * 97, COHERE), 5).split(b"\n")
    assert [orjson.loads(line)["recordId"] for line in lines] == [token(5), token(6)]
    assert [len(orjson.loads(line)["modelInput"]["texts"]) for line in lines] == [96, 1]
    assert len(made.split({"input": ["x"] * 96})) == 1
    assert len(line_format(TITAN).split({"input": ["x"] * 96})) == 96
    assert len(line_format(TITAN).encode(row(["x"] * 3, TITAN), 0)) == len(
        line_format(TITAN).encode(row(["x"] * 3, TITAN), 9_999)
    )


@pytest.mark.parametrize("model", PER_RECORD)
def test_a_bad_text_is_told_by_its_place(model: str) -> None:
    """The error names the text among all of the row's; token numbers are refused as ever."""
    for bad in (" ", 5, None):
        with pytest.raises(UntranslatableError) as caught:
            line_format(model).encode(row([*["x"] * 97, bad, "y"], model), 0)
        assert caught.value.field == "body.input[97]"
    for tokens in ([1, 2], [[1], [2]], []):
        with pytest.raises(UntranslatableError) as caught:
            line_format(model).encode(row(tokens, model), 0)
        assert caught.value.field == "body.input"
    with pytest.raises(UntranslatableError) as caught:
        line_format(model).encode(row(["x", "y"], model, dimensions=0), 0)
    assert caught.value.field == "body.dimensions"


@pytest.mark.parametrize("model", [TITAN, COHERE, GEMINI])
def test_base64(model: str) -> None:
    """The wish for base64 is every part's."""
    [result] = collected(model, [row(["ab", "c"], model, encoding_format="base64")])
    found = [base64.b64decode(item["embedding"]) for item in result["response"]["body"]["data"]]
    assert found == [struct.pack(f"<{len(text) + 1}f", *vector_of(text)) for text in ("ab", "c")]


def failed(status: int, message: str) -> bytes:
    body = {"error": {"message": message, "type": "t", "param": None, "code": None}}
    return orjson.dumps({"id": "i", "custom_id": "p", "response": {"status_code": status, "body": body}, "error": None})


def test_a_reason_for_good_comes_first() -> None:
    """A part that failed for good keeps the row from being asked again in vain; otherwise the first reason is told."""
    later, never = failed(503, "later"), failed(400, "never")
    assert not read_line(join("x", [later, never])).retryable
    assert b"never" in join("x", [later, never])
    expired = error_line("p", "batch_expired", "late")
    assert read_line(join("x", [expired, later])).outcome == "expired"
    assert orjson.loads(join("x", [expired, later]))["custom_id"] == "x"


def test_a_part_without_data_is_no_answer() -> None:
    """A part that is called a success and holds no vector fails the row."""
    good = orjson.dumps({"custom_id": "p", "response": {"status_code": 200, "body": {"data": [{"index": 0}]}}})
    for data in (None, [], ["x"]):
        bad = orjson.dumps({"custom_id": "p", "response": {"status_code": 200, "body": {"data": data}}})
        assert read_line(join("x", [good, bad])).outcome == "failed"


@given(st.lists(st.tuples(st.text(max_size=4) | st.sampled_from(["\0", "\x000", "\0\x001"]), st.integers(1, 3))))
def test_ids_of_parts_are_nobodys(rows: list[tuple[str, int]]) -> None:
    """Whatever the rows are called, every line has an id of its own, and rows of one line keep theirs."""
    named = dict(rows)
    parts = Parts(named.items())
    assert len(set(parts.ids)) == len(parts.ids) == sum(named.values())
    alone = [custom_id for custom_id, lines in named.items() if lines == 1]
    assert [part for part in parts.ids if part in named] == alone
