"""Lines with a raw line feed in a text, or written over several lines, are put together again, or their own row alone
is in doubt."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from airflow_batch_provider.core.records import BatchResult
from airflow_batch_provider.dialects.base import LineFormat, Sent, token
from airflow_batch_provider.dialects.openai import OpenAIFormat
from airflow_batch_provider.dialects.torn import decoded
from tests.dialects.test_answer_beside_error import CLAUDE, of_bedrock

CHAT = "/v1/chat/completions"
MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"
TEXTS = ["hel\nlo", "\n", "a {\n} b", 'say "x\ny"', "\\\n", "{\n", "}\n{", "one\n\ntwo\n", '{"custom_id": "r-2"\n}']


def openai_line(custom_id: Any, text: str) -> bytes:
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    return orjson.dumps({"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None})


def raw(line: bytes) -> bytes:
    r"""The line as a server writes it that forgets to escape line feeds, but not those behind a backslash."""
    return line.replace(b"\\\\", b"\0").replace(b"\\n", b"\n").replace(b"\0", b"\\\\")


def read(form: LineFormat, data: bytes, ids: list[str]) -> list[BatchResult]:
    return [*decoded(form, [line for line in data.split(b"\n") if line], Sent(ids or None))]


def content(result: BatchResult) -> Any:
    return json.loads(result.line)["response"]["body"]["choices"][0]["message"]["content"]


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_a_line_feed_in_an_answer(text: str) -> None:
    """Before: the row was unreadable, and its other half put every row without a line in doubt."""
    form = OpenAIFormat(None, CHAT)
    lines = [openai_line("r-1", "first"), raw(openai_line("r-2", text)), openai_line("r-3", "last")]
    results = read(form, b"\n".join(lines), [])
    assert [(one.custom_id, one.outcome) for one in results] == [(f"r-{n}", "succeeded") for n in (1, 2, 3)]
    # An empty line is skipped before.
    assert content(results[1]) == text.replace("\n\n", "\n").removesuffix("\n") + ("\n" if text.endswith("\n") else "")


def test_each_row_torn() -> None:
    form = OpenAIFormat(None, CHAT)
    data = b"\n".join(raw(openai_line(f"r-{n}", "a\nb\nc")) for n in range(20))
    assert [content(one) for one in read(form, data, [])] == ["a\nb\nc"] * 20


def test_lines_that_are_indented() -> None:
    form = OpenAIFormat(None, CHAT)
    data = b"\n".join(json.dumps(json.loads(openai_line(f"r-{n}", "a {")), indent=1).encode() for n in range(5))
    assert [one.custom_id for one in read(form, data, [])] == [f"r-{n}" for n in range(5)]


def test_records_with_the_id_at_their_end() -> None:
    answer = {**CLAUDE, "content": [{"type": "text", "text": "a\nb"}]}
    lines = [
        raw(orjson.dumps({"modelInput": {}, "modelOutput": answer, "recordId": token(position)}))
        for position in range(3)
    ]
    results = read(of_bedrock(MODEL), b"\n".join(lines), ["x", "y", "z"])
    assert [(one.custom_id, content(one)) for one in results] == [("x", "a\nb"), ("y", "a\nb"), ("z", "a\nb")]


def test_what_stays_torn_is_in_doubt_alone() -> None:
    """The half of a line, whichever it is, in OpenAI's shape and in a provider's."""
    good = [openai_line("r-1", "x"), openai_line("r-3", "x")]
    halves = raw(openai_line("r-2", "a\nb")).split(b"\n")
    results = read(OpenAIFormat(None, CHAT), b"\n".join([good[0], halves[0], good[1]]), [])
    assert [(one.custom_id, one.outcome, one.retryable) for one in results] == [
        ("r-1", "succeeded", False),
        ("r-2", "invalid", False),
        ("r-3", "succeeded", False),
    ]
    broken = [halves[0], b"lost", halves[1][:-9]]
    results = read(OpenAIFormat(None, CHAT), b"\n".join([good[0], *broken, good[1]]), [])
    assert [(one.custom_id, one.outcome) for one in results] == [
        ("r-1", "succeeded"),
        ("r-2", "invalid"),
        ("r-3", "succeeded"),
    ]
    assert all(piece.decode() in json.loads(results[1].line)["error"]["message"] for piece in broken)
    record = orjson.dumps({"recordId": token(1), "modelInput": {}, "modelOutput": CLAUDE})
    [cut] = read(of_bedrock(MODEL), record[:-40], ["x", "y"])
    assert (cut.custom_id, cut.outcome, cut.retryable) == ("y", "invalid", False)


def test_two_torn_lines_are_not_one() -> None:
    halves = [raw(openai_line(f"r-{n}", "a\nb")).split(b"\n")[0] for n in (1, 2)]
    results = read(OpenAIFormat(None, CHAT), b"\n".join(halves), [])
    assert [(one.custom_id, one.outcome) for one in results] == [("r-1", "invalid"), ("r-2", "invalid")]


@pytest.mark.parametrize("line", [b"garbage", b"[1]", b"{}", b"{", b"{{", b"}", b'"', b"null", b"<html>"])
def test_lines_that_are_none(line: bytes) -> None:
    """Each is told by itself, and the good ones around it are read."""
    form = OpenAIFormat(None, CHAT)
    results = read(form, b"\n".join([line, openai_line("r-1", "x"), line, openai_line("r-2", "y"), line]), [])
    assert [one.custom_id for one in results] == [None, "r-1", None, "r-2", None]


# ---- ids as numbers ------------------------------------------------------------------------------------------------

LONG = "123456789012345678901234567890"


@pytest.mark.parametrize("custom_id", ["7", "-7", str(2**64), LONG, f"-{LONG}", "1" * 400])
def test_ids_that_came_back_as_numbers(custom_id: str) -> None:
    """Before: one of more than 64 bits was a float, so the line had no id."""
    line = openai_line("@", "yes").replace(b'"@"', custom_id.encode())
    [result] = read(OpenAIFormat(None, CHAT), line, [])
    assert (result.custom_id, result.outcome, content(result)) == (custom_id, "succeeded", "yes")
    assert json.loads(result.line)["custom_id"] == custom_id
    for name in ("recordId", "custom_id", "key", "requestId"):
        record = orjson.dumps({name: "@", "modelOutput": CLAUDE, "response": CLAUDE}).replace(
            b'"@"', custom_id.encode()
        )
        form = of_bedrock(MODEL) if name == "recordId" else vertex()
        for sent in (Sent([custom_id], own=False), Sent(own=False)):
            assert form.decode(record, sent).custom_id == custom_id
        assert form.row_of(record) == custom_id


def vertex() -> LineFormat:
    from airflow_batch_provider.dialects.families import vertex_family
    from airflow_batch_provider.dialects.formats import vertex_format

    model = "claude-sonnet-4-5@20250929"
    return vertex_format(vertex_family(model), model, CHAT)


@pytest.mark.parametrize("number", ["1.5", "1e30", "true", "null", "[1]"])
def test_what_is_no_id(number: str) -> None:
    line = openai_line("@", "yes").replace(b'"@"', number.encode())
    [result] = read(OpenAIFormat(None, CHAT), line, [])
    assert (result.custom_id, result.outcome) == (None, "invalid")


def test_a_torn_id_is_nobodys() -> None:
    """Before: what is left of a torn id counted as a foreign row's, and the row was sent and paid again."""
    data = openai_line("row-1", "x").replace(b'"row-1"', b'"ro\n')
    assert [one.custom_id for one in read(OpenAIFormat(None, CHAT), data, ["row-1"])] == [None, None]
