"""OpenAI's lines on their way out."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.records import BatchRequest
from airflow_batch_provider.dialects.openai import OpenAIFormat

CHAT = "/v1/chat/completions"
FORMAT = OpenAIFormat(None, CHAT)


def request(raw: bytes, model: str | None = None, endpoint: str = CHAT) -> BatchRequest:
    data = orjson.loads(raw)
    return BatchRequest(data["custom_id"], endpoint, model, data["body"], raw, 1)


SPACED = (
    b'{"custom_id": "request-1",  "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o-mini", '
    b'"n": 1.0, "big": 123456789012345678901234567890, "messages": [{"role": "user", "content": "\\u00e9 \xc3\xa9 '
    b'\xe2\x80\xa8"}]}}'
)


@pytest.mark.parametrize("model", [None, "gpt-4o-mini"])
def test_pass_through(model: str | None) -> None:
    """A line that already is what the provider wants goes byte for byte."""
    assert OpenAIFormat(model, CHAT).encode(request(SPACED, model), 0) is not None
    assert OpenAIFormat(model, CHAT).encode(request(SPACED, model), 0) == SPACED


def test_model_is_written() -> None:
    """The resolved model wins over the body's, in its place, and nothing else of the body changes."""
    done = orjson.loads(OpenAIFormat("other", CHAT).encode(request(SPACED, "other"), 0))
    asked = orjson.loads(SPACED)["body"]
    assert done["body"] == {**asked, "model": "other"}
    assert list(done["body"]) == list(asked)


def test_short_lines_are_completed() -> None:
    """Lines without method, url and model get them."""
    raw = b'{"custom_id": "a", "body": {"messages": []}}'
    done = OpenAIFormat("m", CHAT).encode(request(raw, "m"), 0)
    assert orjson.loads(done) == {
        "custom_id": "a",
        "method": "POST",
        "url": CHAT,
        "body": {"model": "m", "messages": []},
    }
    assert orjson.loads(FORMAT.encode(request(raw), 0))["body"] == {"messages": []}


@pytest.mark.parametrize(
    "change",
    [{"url": "/chat/completions"}, {"method": "post"}, {"error": "x"}, {"extra": 1}, {"url": None}],
)
def test_other_fields_are_rewritten(change: dict[str, Any]) -> None:
    """Another url or method is brought in line, and fields that are none of a request's, such as error, are dropped."""
    raw = json.dumps({**orjson.loads(SPACED), **change}).encode()
    done = orjson.loads(FORMAT.encode(request(raw), 0))
    assert done == {**orjson.loads(SPACED), "method": "POST", "url": CHAT}


def test_azures_url() -> None:
    """The url is the provider's spelling."""
    assert (
        orjson.loads(OpenAIFormat(None, "/chat/completions").encode(request(SPACED), 0))["url"] == "/chat/completions"
    )


def test_ascii_only() -> None:
    """Where a gateway breaks UTF-8, everything else is escaped, and a line in ASCII goes as it is."""
    escaped = OpenAIFormat(None, CHAT, ascii_only=True)
    assert escaped.encode(request(SPACED), 0).isascii()
    assert orjson.loads(escaped.encode(request(SPACED), 0)) == orjson.loads(SPACED)
    plain = b'{"custom_id":"a", "method":"POST", "url":"/v1/chat/completions", "body":{"x":"\\u00e9"}}'
    assert escaped.encode(request(plain), 0) == plain


BODIES = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
        # Half a surrogate pair is no JSON text.
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@given(BODIES, st.none() | st.text("abc\u00e9", min_size=1, max_size=5), st.booleans(), st.booleans())
def test_encode_keeps_the_meaning(body: dict[str, Any], model: str | None, ascii_only: bool, whole: bool) -> None:
    """Whatever the body, the wire line is one line that says the same, but for the model."""
    body.pop("model", None)
    body = json.loads(json.dumps(body).encode("utf-8", "replace"))
    given_line = {"custom_id": "é", "body": body, **({"method": "POST", "url": CHAT} if whole else {})}
    raw = json.dumps(given_line, ensure_ascii=False).encode()
    made = OpenAIFormat(model, CHAT, ascii_only=ascii_only).encode(BatchRequest("é", CHAT, model, body, raw, 1), 0)
    assert b"\n" not in made
    assert made.isascii() or not ascii_only
    expected = {**body, "model": model} if model else body
    assert json.loads(made) == {"custom_id": "é", "method": "POST", "url": CHAT, "body": expected}
