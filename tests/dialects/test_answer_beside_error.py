"""An answer that came beside an error was paid: it is handed out, and no round or try sends its row again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.records import JSON, BatchResult, Refusal
from airflow_batch_provider.dialects.base import LineFormat, Sent, token
from airflow_batch_provider.dialects.families import CHAT, EMBEDDINGS, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format
from airflow_batch_provider.dialects.gateway import gateway_format
from airflow_batch_provider.dialects.openai import read_line

COUNTED = {"prompt_tokens": 9, "completion_tokens": 4}
CHOSEN = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
CHAT_BODY = {"choices": [CHOSEN], "usage": COUNTED}
MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]}
BODIES: dict[str, JSON] = {
    "chat": CHAT_BODY,
    "completions": {"choices": [{"index": 0, "text": "yes", "finish_reason": "stop"}], "usage": COUNTED},
    "responses": {"status": "completed", "output": [MESSAGE], "usage": {"input_tokens": 9, "output_tokens": 4}},
    "embeddings": {"data": [{"index": 0, "embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 9}},
    "tool calls": {
        "choices": [
            {
                "index": 0,
                "message": {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
                "finish_reason": "tool_calls",
            }
        ],
        "usage": COUNTED,
    },
}
ERRORS: list[Any] = [
    {"code": "server_error", "message": "The server had an error"},
    {"code": "batch_expired", "message": "expired"},
    {"code": 503, "message": "overloaded"},
    {"message": "rate limit exceeded"},
    "timeout",
]


def written(body: JSON, error: Any, status: Any = 200) -> BatchResult:
    line = {"id": "b", "custom_id": "a", "response": {"status_code": status, "body": body}, "error": error}
    return read_line(orjson.dumps(line))


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_openai_lines(body: JSON, error: Any) -> None:
    """Beside the response and inside its body alike; the provider's words stay on the line."""
    for result in (written(body, error), written({**body, "error": error}, None), written(body, error, None)):
        assert (result.outcome, result.refusal, result.retryable) == ("succeeded", None, False)
        assert result.usage.input_tokens == 9
        line = orjson.loads(result.line)
        assert line["error"] or line["response"]["body"]["error"]
        assert read_line(result.line) == result


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": None}, "finish_reason": None}]},
        {"status": "failed", "output": [MESSAGE]},
        {"data": [{"embedding": None}]},
        {"id": "x"},
        {},
    ],
    ids=repr,
)
def test_no_answer_beside_an_error(body: JSON) -> None:
    """Nothing was answered, so the error decides as it does alone."""
    result = written(body, ERRORS[0])
    assert (result.outcome, result.refusal) == ("failed", Refusal.PASSING)


def test_status_of_an_error() -> None:
    """An HTTP error is none of a good answer's."""
    assert written(CHAT_BODY, ERRORS[0], 500).refusal is Refusal.PASSING


def test_broken_answer_beside_an_error() -> None:
    """A model that broke its own format has not answered."""
    choice = {"index": 0, "message": {"content": "I call"}, "finish_reason": "malformed_function_call"}
    assert written({"choices": [choice]}, ERRORS[0]).refusal is Refusal.PASSING


CLAUDE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "yes"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 9, "output_tokens": 4},
}
SAID = {"message": {"role": "assistant", "content": [{"text": "yes"}]}}
CONVERSE = {"output": SAID, "stopReason": "end_turn", "usage": {"inputTokens": 9, "outputTokens": 4}}
GEMINI = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "yes"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4},
}
BEDROCK = {
    "us.anthropic.claude-sonnet-4-20250514-v1:0": CLAUDE,
    "us.amazon.nova-lite-v1:0": CONVERSE,
    "us.meta.llama3-3-70b-instruct-v1:0": CONVERSE,
    "openai.gpt-oss-20b-1:0": CHAT_BODY,
    "amazon.titan-embed-text-v2:0": {"embedding": [0.6, 0.8], "inputTextTokenCount": 9},
    "cohere.embed-v4:0": {"embeddings": {"float": [[0.6, 0.8]]}, "response_type": "embeddings_by_type"},
}
AWS_ERRORS: list[JSON] = [
    {"error": {"errorCode": 500, "errorMessage": "Internal"}},
    {"error": {"errorCode": 429, "errorMessage": "Too many requests", "retryable": True}},
    {"error": {"expired": True}},
    {"errorCode": 503, "errorMessage": "Service unavailable"},
]


def decoded(form: LineFormat, line: JSON) -> BatchResult:
    return form.decode(orjson.dumps(line), Sent(["row"]))


def of_bedrock(model: str) -> LineFormat:
    family = bedrock_family(model)
    return bedrock_format(family, model, family.endpoint)


@pytest.mark.parametrize("error", AWS_ERRORS, ids=repr)
@pytest.mark.parametrize("model", BEDROCK)
def test_bedrock_records(model: str, error: JSON) -> None:
    """``modelOutput`` beside ``error``; and an error alone, or beside an output that is none, stays one."""
    record = {"recordId": token(0), "modelInput": {}, "modelOutput": BEDROCK[model]}
    alone, result = (decoded(of_bedrock(model), {**record, **more}) for more in ({}, error))
    assert (result.custom_id, result.outcome, result.refusal) == ("row", "succeeded", None)
    assert result.usage == alone.usage
    assert orjson.loads(result.line)["error"]["message"]
    assert read_line(result.line) == result
    for output in ({}, None, {"errorCode": 500, "errorMessage": "Internal"}, {"message": "Too many requests"}):
        failed = decoded(of_bedrock(model), {**record, "modelOutput": output, **error})
        assert failed.outcome in ("failed", "expired")
        assert failed.line == decoded(of_bedrock(model), {"recordId": token(0), **error}).line


VERTEX: dict[str, JSON] = {
    "claude-sonnet-4-5@20250929": {"response": CLAUDE},
    "gemini-2.5-flash": {"response": GEMINI},
    "gemini-embedding-001": {"response": {"embedding": {"values": [0.6, 0.8]}}},
    "text-embedding-005": {"predictions": [{"embeddings": {"values": [0.6, 0.8], "statistics": {"token_count": 9}}}]},
}
GOOGLE_ERRORS: list[JSON] = [
    {"status": 'Bad Request: {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}'},
    {"status": "RESOURCE_EXHAUSTED"},
    {"status": "JOB_STATE_SUCCEEDED"},
    {"status": {"code": 14, "message": "unavailable"}},
    {"error": {"code": 500, "message": "internal", "status": "INTERNAL"}},
]


@pytest.mark.parametrize("error", GOOGLE_ERRORS, ids=repr)
@pytest.mark.parametrize("model", VERTEX)
def test_vertex_lines(model: str, error: JSON) -> None:
    """``response`` or ``predictions`` beside a ``status``."""
    family = vertex_family(model)
    form = vertex_format(family, model, family.endpoint)
    line = {"custom_id": token(0), "key": token(0), "status": "", **VERTEX[model]}
    alone, result = (decoded(form, {**line, **more}) for more in ({}, error))
    assert (alone.outcome, result.custom_id, result.outcome) == ("succeeded", "row", "succeeded")
    assert (result.refusal, result.usage) == (None, alone.usage)
    assert read_line(result.line) == result
    failed = decoded(form, {"custom_id": token(0), "key": token(0), "response": {}, "predictions": [], **error})
    assert failed.outcome == "failed"


def test_prediction_through_a_gateway() -> None:
    """Google's older embeddings, as a gateway hands them on."""
    form = gateway_format("vertex_ai", "gemini-embedding-001", EMBEDDINGS)
    predictions = VERTEX["text-embedding-005"]["predictions"]
    line = {"instance": {"content": "x", "requestId": token(0)}, "predictions": predictions, "status": "INTERNAL"}
    result = decoded(form, line)
    assert (result.outcome, result.usage) == ("succeeded", Usage(9))
    assert orjson.loads(result.line)["error"]["message"] == "INTERNAL"
    assert decoded(form, {**line, "predictions": []}).outcome == "failed"


def test_gateway_record() -> None:
    """A record of Bedrock that a gateway hands on as it is."""
    form = gateway_format("bedrock", "us.anthropic.claude-sonnet-4-20250514-v1:0", CHAT)
    result = decoded(form, {"recordId": token(0), "modelOutput": CLAUDE, **AWS_ERRORS[0]})
    assert (result.outcome, result.usage) == ("succeeded", Usage(9, 4))


@pytest.mark.parametrize("said", [{}, [], "", None, {"errorCode": None, "errorMessage": None}, {"code": 200}])
def test_errors_that_say_nothing(said: Any) -> None:
    """An answer beside them is one without an error."""
    model = "us.anthropic.claude-sonnet-4-20250514-v1:0"
    result = decoded(of_bedrock(model), {"recordId": token(0), "modelOutput": CLAUDE, "error": said})
    assert (result.outcome, orjson.loads(result.line)["error"]) == ("succeeded", None)
    nothing = decoded(of_bedrock(model), {"recordId": token(0), "modelOutput": None, "error": said})
    assert nothing.refusal is Refusal.PASSING


@pytest.mark.parametrize(
    ("model", "line", "answer"),
    [
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "modelOutput", CLAUDE),
        ("gemini-2.5-flash", "response", GEMINI),
    ],
)
def test_answers_in_another_shape(model: str, line: str, answer: JSON) -> None:
    """One in a list is read; what cannot be read may have been paid, so it is told and not sent again."""
    form = of_bedrock(model) if line == "modelOutput" else vertex_format(vertex_family(model), model, CHAT)
    for found in ([answer], orjson.dumps(answer).decode(), orjson.dumps([answer]).decode()):
        result = decoded(form, {"recordId": token(0), "custom_id": token(0), line: found})
        assert (result.outcome, result.usage) == ("succeeded", Usage(9, 4))
    for found in ([answer, answer], [1], 7, True):
        result = decoded(form, {"recordId": token(0), "custom_id": token(0), line: found})
        assert (result.custom_id, result.outcome, result.refusal) == ("row", "invalid", Refusal.REQUEST)
        assert orjson.loads(result.line)["error"]["code"] == "unreadable_answer"
    for found in (None, {}, [], "", 0, False):
        result = decoded(form, {"recordId": token(0), "custom_id": token(0), line: found})
        assert (result.outcome, result.refusal) == ("failed", Refusal.PASSING)
