"""OpenAI's lines on their way back, with every accent of a provider."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.records import OUTCOMES, BatchResult
from airflow_batch_provider.dialects.openai import error_line, read_line
from airflow_batch_provider.dialects.usage import read_usage

CHAT = "/v1/chat/completions"


def line(**changes: Any) -> bytes:
    whole = {
        "id": "batch_req_1",
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "r", "body": {"choices": [], "usage": {"prompt_tokens": 1}}},
        "error": None,
    }
    return json.dumps({**whole, **changes}).encode()


def responded(status: Any, body: Any, **changes: Any) -> BatchResult:
    return read_line(line(response={"status_code": status, "request_id": "r", "body": body}, **changes))


# ---- decode: the providers' own lines ------------------------------------------------------------------------------

OPENAI_OK = (
    b'{"id":"batch_req_wnaDys","custom_id":"request-2","response":{"status_code":200,"request_id":"req_c187b3","body":'
    b'{"id":"chatcmpl-9758Iw","object":"chat.completion","created":1711475054,"model":"gpt-4o-mini","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"2 + 2 equals 4."},"finish_reason":"stop"}],"usage":'
    b'{"prompt_tokens":24,"completion_tokens":15,"total_tokens":39},"system_fingerprint":null}},"error":null}'
)
AZURE_OK = (
    b'{"custom_id": "task-0", "response": {"body": {"choices": [{"content_filter_results": {"hate": {"filtered": '
    b'false, "severity": "safe"}}, "finish_reason": "stop", "index": 0, "logprobs": null, "message": {"content": '
    b'"Microsoft was founded on April 4, 1975.", "role": "assistant"}}], "created": 1722477079, "id": '
    b'"chatcmpl-9rFGJ9", "model": "gpt-4o-2024-05-13", "object": "chat.completion", "prompt_filter_results": '
    b'[{"prompt_index": 0}], "usage": {"completion_tokens": 24, "prompt_tokens": 27, "total_tokens": 51}}, '
    b'"request_id": "660b7424", "status_code": 200}, "error": null}'
)
PORTKEY_VERTEX_OK = (
    b'{"id": "batch-7284652661620604928-aOKVaZmJ", "custom_id": "request-1", "response": {"status_code": 200, '
    b'"request_id": "batch-7284652661620604928-aOKVaZmJ", "body": {"id": "chatcmpl-66109", "object": '
    b'"chat.completion", "created": 1771430797, "model": "gemini-3-flash-preview", "provider": "vertex-ai", '
    b'"choices": [{"message": {"role": "assistant", "content": "New York University ..."}}]}}}'
)
PORTKEY_BEDROCK_OK = (
    b'{"id": "msg_1", "custom_id": "request-3", "response": {"status_code": 200, "request_id": "msg_1", "body": '
    b'{"id": "msg_1", "object": "chat.completion", "created": 1771430797, "provider": "bedrock", "choices": '
    b'[{"message": {"role": "assistant", "content": "hi"}, "index": 0, "logprobs": null, "finish_reason": '
    b'"end_turn"}], "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}}}, "error": null}'
)


def test_openai_success_is_kept_byte_for_byte() -> None:
    """A line in OpenAI's own shape is not touched."""
    assert read_line(OPENAI_OK) == BatchResult("request-2", "succeeded", OPENAI_OK, None, Usage(24, 15))


def test_azure_success() -> None:
    """Azure leaves out the line's id; its filters' results stay."""
    result = read_line(AZURE_OK)
    assert (result.custom_id, result.outcome, result.usage) == ("task-0", "succeeded", Usage(27, 24))
    data = orjson.loads(result.line)
    assert list(data) == ["id", "custom_id", "response", "error"]
    assert data["id"] is None
    assert data["response"] == orjson.loads(AZURE_OK)["response"]


def test_portkey_successes() -> None:
    """A missing error is none, another provider's finish reason is OpenAI's."""
    vertex = read_line(PORTKEY_VERTEX_OK)
    assert (vertex.custom_id, vertex.outcome, vertex.usage) == ("request-1", "succeeded", Usage())
    assert orjson.loads(vertex.line)["error"] is None
    bedrock = read_line(PORTKEY_BEDROCK_OK)
    assert (bedrock.custom_id, bedrock.usage) == ("request-3", Usage(10, 2))
    assert orjson.loads(bedrock.line)["response"]["body"]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("raw", "custom_id", "outcome", "retryable"),
    [
        (
            (
                b'{"id": "batch_req_1", "custom_id": "request-7", "response": {"status_code": 400, "request_id": '
                b'"req_x", "body": {"error": {"message": "Unsupported value", "code": "x"}}}, "error": null}'
            ),
            "request-7",
            "failed",
            False,
        ),
        (
            (
                b'{"id": "batch_req_2", "custom_id": "request-8", "response": null, "error": {"code": "batch_expired", '
                b'"message": "This request could not be executed before the completion window expired."}}'
            ),
            "request-8",
            "expired",
            True,
        ),
        (
            (
                b'{"id": "batch_req_t1", "custom_id": "request-9", "response": null, "error": {"code": '
                b'"request_timeout", "message": "The underlying call to the model timed out."}}'
            ),
            "request-9",
            "failed",
            True,
        ),
        (
            b'{"id": "x", "custom_id": "c", "response": null, "error": {"code": "batch_cancelled", "message": "m"}}',
            "c",
            "cancelled",
            False,
        ),
        (
            (
                b'{"id": "batch-7284652661620604928-", "custom_id": "request-2", "response": {"request_id": '
                b'"batch-7284652661620604928-", "body": false}, "error": {"code": 3, "message": "bad"}}'
            ),
            "request-2",
            "failed",
            False,
        ),
        (
            b'{"custom_id": "v", "response": {"request_id": "x", "body": false}, "error": "Bad Request: {}"}',
            "v",
            "failed",
            False,
        ),
        (b'{"errorCode": 400, "errorMessage": "bad request"}', None, "failed", False),
        (b'{"custom_id": null, "response": {"status_code": 500, "body": {}}, "error": null}', None, "failed", False),
        (b'{"id": "request-3", "response": {"status_code": 200, "body": {"choices": []}}}', None, "invalid", False),
        (b'{"id": "x", "custom_id": 7, "response": null, "error": null}', "7", "invalid", False),
        (b'{"id": "x", "custom_id": true, "response": null, "error": null}', None, "invalid", False),
        (b'{"id": "x", "custom_id": null}', None, "invalid", False),
        (b'{"id": "x", "custom_id": "a"}', "a", "invalid", False),
        (b'{"custom_id": "a", "response": {"status_code": 200, "body": false}}', "a", "invalid", False),
        (b"[]", None, "invalid", False),
        (b'"a"', None, "invalid", False),
        (b"", None, "invalid", False),
        (b'{"id": "batch_req_cut", "custom_id": "req', None, "invalid", False),
    ],
)
def test_rows_without_an_answer(raw: bytes, custom_id: str | None, outcome: str, retryable: bool) -> None:
    """Every kind of failed row; a lost custom_id is never replaced by the provider's own id."""
    result = read_line(raw)
    assert (result.custom_id, result.outcome, result.retryable) == (custom_id, outcome, retryable)
    assert result.usage == Usage()
    if custom_id is None:
        assert result.line == raw


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((0, True), (400, False), (401, False), (404, False), (408, True), (409, True), (422, False), (429, True)),
        *((500, True), (502, True), (503, True), (529, True), ("429", True), ("500", True), (302, False)),
    ],
)
def test_statuses(status: Any, retryable: bool) -> None:
    """Success is 200 to 299 and nothing else; what is a matter of time is asked again."""
    result = responded(status, {"error": {"message": "m"}})
    assert (result.outcome, result.retryable) == ("failed", retryable)
    assert responded(status, {"choices": [{}], "usage": {"prompt_tokens": 9}}).outcome == "failed"


@pytest.mark.parametrize("status", [None, "", "x", [], {}, 10**30, "9" * 400])
def test_no_status(status: Any) -> None:
    """An answer without a status is no success."""
    assert responded(status, {"choices": []}).outcome == "invalid"


def test_error_inside_a_success() -> None:
    """200 with an error in place of an answer is a failure."""
    assert responded(200, {"error": {"message": "m"}}).outcome == "failed"
    assert responded(200, {"error": None, "output": []}).outcome == "succeeded"
    assert responded(200, {"error": {"message": "warning"}, "choices": [{}]}).outcome == "succeeded"


@pytest.mark.parametrize("none", [None, "", {}, False, 0, []])
def test_no_error(none: Any) -> None:
    """All spellings of no error are null."""
    result = read_line(line(error=none))
    assert result.outcome == "succeeded"
    assert orjson.loads(result.line)["error"] is None


def test_error_shapes() -> None:
    """Codes and messages become text, a bare text a message."""
    assert orjson.loads(read_line(line(error={"code": 8, "message": None})).line)["error"] == {
        "code": "8",
        "message": "",
    }
    assert orjson.loads(read_line(line(error="boom")).line)["error"] == {"code": None, "message": "boom"}
    assert read_line(line(response=None, error={"code": "429", "message": "m"})).retryable


def test_body_as_text() -> None:
    """A body written as JSON text is read; other text is a message."""
    result = responded(200, '{"choices": [], "usage": {"prompt_tokens": 4}}')
    assert (result.outcome, result.usage) == ("succeeded", Usage(4))
    assert orjson.loads(result.line)["response"]["body"]["usage"] == {"prompt_tokens": 4}
    assert responded(500, "oops").outcome == "failed"
    assert orjson.loads(responded(500, "oops").line)["response"]["body"] == {"error": {"message": "oops"}}


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (b'"cut \\ud83d"', "cut \ufffd"),
        (b'"cut \xff"', "cut \ufffd"),
        (b"NaN", None),
        (b"-Infinity", None),
        (b"1e400", None),
    ],
)
def test_strangers_to_json(raw: bytes, content: Any) -> None:
    """An answer that was paid is not lost for half a character or a NaN in it; the line kept is clean JSON."""
    whole = line(response={"status_code": 200, "request_id": "r", "body": {"choices": [], "text": "@"}})
    result = read_line(whole.replace(b'"@"', raw))
    assert (result.custom_id, result.outcome) == ("a", "succeeded")
    assert orjson.loads(result.line)["response"]["body"]["text"] == content


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("tool_use", "tool_calls"),
        ("STOP", "stop"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("guardrail_intervened", "content_filter"),
        ("newWord", "newWord"),
        (None, None),
    ],
)
def test_finish_reasons(theirs: str | None, ours: str | None) -> None:
    """Other providers' words, as gateways pass them on, are OpenAI's; a new one is kept."""
    result = responded(200, {"choices": [{"finish_reason": theirs}]})
    assert orjson.loads(result.line)["response"]["body"]["choices"][0]["finish_reason"] == ours


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 24, "completion_tokens": 15, "total_tokens": 39}, Usage(24, 15)),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 6,
                "prompt_tokens_details": {"cached_tokens": 3},
                "completion_tokens_details": {"reasoning_tokens": 4},
            },
            Usage(5, 6, 3, 4),
        ),
        (
            {
                "input_tokens": 5,
                "output_tokens": 6,
                "input_tokens_details": {"cached_tokens": 3},
                "output_tokens_details": {"reasoning_tokens": 4},
            },
            Usage(5, 6, 3, 4),
        ),
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8)),
        ({"prompt_tokens": "8"}, Usage(8)),
        ({"prompt_tokens": 5_000, "completion_tokens": 200_000}, Usage(5_000, 200_000)),
        ({"prompt_tokens": -1, "completion_tokens": None}, Usage()),
        ({"prompt_tokens": 5, "completion_tokens": None}, Usage()),
        ({"prompt_tokens": 5, "completion_tokens": -3}, Usage()),
        ({"prompt_tokens": [5], "completion_tokens": 3}, Usage()),
        ({"prompt_tokens": 1e30, "completion_tokens": 3}, Usage()),
        ({"prompt_tokens": True, "completion_tokens": 3}, Usage()),
        ({"prompt_tokens": 5.0, "completion_tokens": "3"}, Usage(5, 3)),
        ({"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": -1}}, Usage()),
        ({"prompt_tokens": 1, "prompt_tokens_details": None, "completion_tokens_details": [1]}, Usage(1)),
        ({}, Usage()),
        (None, Usage()),
        ("x", Usage()),
    ],
)
def test_usage(usage: Any, read: Usage) -> None:
    """Chat, completions, responses and embeddings count under their own names."""
    assert read_usage({"usage": usage}) == read
    assert responded(200, {"usage": usage}).usage == read
    assert responded(400, {"usage": usage}).usage == Usage()


def test_usage_of_no_body() -> None:
    """Moderations tell none."""
    assert read_usage(None) == read_usage({}) == read_usage([1]) == Usage()


@pytest.mark.parametrize(
    ("code", "outcome", "retryable"),
    [
        ("missing", "missing", True),
        ("batch_failed", "failed", False),
        ("batch_expired", "expired", True),
        ("batch_cancelled", "cancelled", False),
        ("new_code", "failed", False),
    ],
)
def test_our_own_lines(code: str, outcome: str, retryable: bool) -> None:
    """The lines written for rows without one are read back as what they say, unchanged."""
    made = error_line("é", code, "why")
    result = read_line(made)
    assert (result.custom_id, result.outcome, result.retryable, result.line) == ("é", outcome, retryable, made)


# ---- decode: anything ------------------------------------------------------------------------------------------------

NAMES = [
    *("id", "status_code", "request_id", "body", "choices", "finish_reason", "usage", "code", "message", "error"),
    *("prompt_tokens", "cached_tokens", "input_tokens_details"),
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES) | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
LINES = st.fixed_dictionaries(
    {}, optional={"id": ANYTHING, "custom_id": ANYTHING | st.just("a"), "response": ANYTHING, "error": ANYTHING}
)


def check(result: BatchResult, raw: bytes) -> None:
    assert result.outcome in OUTCOMES
    if result.custom_id is None:
        assert result.outcome in ("invalid", "failed")
        assert result.line == raw
        return
    data = orjson.loads(result.line)
    assert list(data) == ["id", "custom_id", "response", "error"]
    assert data["custom_id"] == result.custom_id
    assert b"\n" not in result.line
    assert read_line(result.line) == result


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    """No bytes whatever raise."""
    raw = raw.replace(b"\n", b"")
    check(read_line(raw), raw)


@given(LINES)
def test_any_line(data: dict[str, Any]) -> None:
    """No JSON whatever raises; what comes out is in OpenAI's shape, and reading it again changes nothing."""
    raw = json.dumps(data).encode()
    result = read_line(raw)
    check(result, raw)
    assert (result.custom_id is None) == (type(data.get("custom_id")) not in (str, int))


@given(ANYTHING, ANYTHING, ANYTHING)
def test_any_answer(status: Any, body: Any, error: Any) -> None:
    """The row's id is never lost, whatever the answer is."""
    raw = line(response={"status_code": status, "body": body}, error=error)
    result = read_line(raw)
    check(result, raw)
    assert result.custom_id == "a"


# ---- answers in odd envelopes --------------------------------------------------------------------------------------

ANSWER = {
    "choices": [{"index": 0, "message": {"content": "yes"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}


@pytest.mark.parametrize(
    "error",
    [{"code": None, "message": None}, {"message": ""}, {}, [], "", None, False],
    ids=repr,
)
@pytest.mark.parametrize("status", [200, "200", 200.0, "200 OK", None, 201])
def test_an_answer_is_one_however_it_is_wrapped(status: Any, error: Any) -> None:
    """A16, A21: an error that says nothing, or a status that is none, does not have a paid answer paid again."""
    for body in (ANSWER, {**ANSWER, "error": error}, json.dumps(ANSWER)):
        result = responded(status, body, error=error)
        assert (result.outcome, result.usage) == ("succeeded", Usage(3, 2))
        assert json.loads(result.line)["error"] is None


def test_an_answer_without_an_envelope_is_one() -> None:
    """A21: some servers write the body where the response is wanted."""
    result = read_line(line(response=ANSWER))
    assert (result.outcome, result.usage) == ("succeeded", Usage(3, 2))
    assert json.loads(result.line)["response"]["body"] == ANSWER


@pytest.mark.parametrize("name", ["output", "data", "results"])
def test_what_was_made_is_an_answer_at_every_endpoint(name: str) -> None:
    """A16: responses, embeddings and moderations as chat."""
    assert responded(None, {name: [{}], "error": {"code": None}}).outcome == "succeeded"
    assert responded(200, {name: [{}], "error": {"code": "server_error"}}).outcome == "failed"
    assert responded(429, {name: [{}]}).outcome == "failed"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_response_that_failed_is_no_answer_whatever_its_error_leaves_out(status: str) -> None:
    """A16: an error of nulls is none, so the status tells."""
    result = responded(200, {"status": status, "output": [], "error": {"code": None, "message": None}})
    assert (result.outcome, json.loads(result.line)["error"]["code"]) == ("failed", f"response_{status}")


@pytest.mark.parametrize(
    "error",
    [
        [{"code": "rate_limit_exceeded", "message": "slow down"}],
        {"error": {"code": "rate_limit_exceeded", "message": "slow down"}},
        {"error": [{"code": "rate_limit_exceeded", "message": "slow down"}]},
    ],
)
def test_an_error_is_read_in_every_nesting(error: Any) -> None:
    """A21: code and message reach the table from a list or an object within."""
    result = read_line(line(response=None, error=error))
    assert json.loads(result.line)["error"] == {"code": "rate_limit_exceeded", "message": "slow down"}
    assert result.retryable
