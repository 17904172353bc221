"""A16: "answered" and "usable" told apart, whatever the endpoint; A7: the final answer of a response is its text."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from airflow_batch_provider.core.answers import read_answer, read_content
from airflow_batch_provider.dialects.openai import read_line, without_unusable

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"score": 1}'}}


def line(body: Any, status: int = 200, error: Any = None) -> bytes:
    response = {"status_code": status, "request_id": "r", "body": body}
    return orjson.dumps({"id": "x", "custom_id": "a", "response": response, "error": error})


def chat(finish_reason: str | None = "stop", **message: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    return {"choices": [{"index": 0, "finish_reason": finish_reason, "message": message}], "usage": usage}


def response(*output: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"object": "response", "status": status, "output": [*output], **more}


def message(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": text}], **more}


@pytest.mark.parametrize(
    ("body", "text", "qualities"),
    [
        (chat(content="yes"), "yes", set()),
        (chat("length", content=""), "", {"cut", "empty"}),
        (chat("length", content=None, reasoning_content="hmm"), None, {"cut", "empty"}),
        (chat("length", content="The ans"), "The ans", {"cut"}),
        (chat(content="  \n"), "  \n", {"empty"}),
        (chat("content_filter", content=""), "", {"filtered", "empty"}),
        (chat("content_filter", content="so far"), "so far", {"filtered"}),
        (chat(content=None, refusal="I can't help"), None, {"refused"}),
        (chat("tool_calls", content=None, tool_calls=[CALL]), '{"score": 1}', {"tool_calls"}),
        (
            chat("tool_calls", content=None, tool_calls=[CALL, CALL]),
            '[{"name":"f","arguments":"{\\"score\\": 1}"},{"name":"f","arguments":"{\\"score\\": 1}"}]',
            {"tool_calls"},
        ),
        (
            chat("tool_calls", content=None, tool_calls=[{"type": "custom", "custom": {"name": "c", "input": "a b"}}]),
            "a b",
            {"tool_calls"},
        ),
        (chat("tool_calls", content="I will look", tool_calls=[CALL]), "I will look", set()),
        (chat("function_call", content=None, function_call={"name": "f", "arguments": "{}"}), "{}", {"tool_calls"}),
        (chat(content=None, audio={"data": "UklG", "transcript": "hello"}), "hello", {"media"}),
        (chat(content="", images=[{"image_url": {"url": "data:image/png;base64,AA=="}}]), "", {"media"}),
        ({"choices": []}, None, {"empty"}),
        ({"choices": [{"text": "", "finish_reason": "length"}]}, "", {"cut", "empty"}),
        ({"choices": [*chat(content="a")["choices"], *chat("length", content="")["choices"]]}, "a", {"cut"}),
        ({"data": [{"embedding": [0.1]}]}, "[0.1]", set()),
        ({"data": []}, None, {"empty"}),
        ({"data": [{"embedding": []}]}, None, {"empty"}),
        ({"results": [{"flagged": False}]}, '[{"flagged":false}]', set()),
        # A7: what a model says on its way is not its answer; openai-python#3859, langchain4j#6399.
        (
            response(message("Hm.", phase="commentary"), {"type": "reasoning"}, message("42", phase="final_answer")),
            "42",
            set(),
        ),
        (response(message("Let me see.", phase="commentary"), message("42")), "42", set()),
        (response(message("4", phase="final_answer"), message("2", phase="final_answer")), "42", set()),
        (response(message("a"), message("b")), "ab", set()),
        (
            response(
                message("Let me see.", phase="commentary"),
                status="incomplete",
                incomplete_details={"reason": "max_output_tokens"},
            ),
            None,
            {"cut", "empty"},
        ),
        (
            response({"type": "function_call", "name": "f", "arguments": '{"a": 1}'}, status="completed"),
            '{"a": 1}',
            {"tool_calls"},
        ),
        (
            response({"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}),
            None,
            {"refused"},
        ),
        (response({"type": "image_generation_call", "result": "AA=="}), None, {"media"}),
    ],
)  # fmt: skip
def test_what_an_answer_is(body: Any, text: str | None, qualities: set[str]) -> None:
    content = read_content(body)
    assert (content.text, set(content.qualities)) == (text, qualities)
    result = read_line(line(body))
    assert (result.outcome, set(result.qualities)) == ("succeeded", qualities)
    assert read_answer(result).content == text


@pytest.mark.parametrize("status", ["failed", "cancelled", "queued", "in_progress"])
def test_a_response_without_an_answer_is_no_success(status: str) -> None:
    """A16: neither is one that does not say why; it is asked again."""
    result = read_line(line(response(status=status)))
    assert (result.outcome, result.retryable) == ("failed", True)
    answer = read_answer(read_line(result.line))
    assert answer.error_code == f"response_{status}"
    assert status in str(answer.error_message)
    named = read_line(line(response(status=status, error={"code": "invalid_prompt", "message": "m"})))
    assert read_answer(read_line(named.line)).error_code == "invalid_prompt"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (chat("length", content=""), "cut_off", "token limit"),
        (chat(content=""), "empty", "no content"),
        (chat(content=None, refusal="I can't"), "refused", "I can't"),
        (chat("content_filter", content="x"), "filtered", "content filter"),
    ],
)
def test_rows_that_cannot_be_used_end_invalid_with_their_answer(body: Any, code: str, said: str) -> None:
    """The answer stays in the line, its tokens are counted, and reading the line again says the same."""
    before = read_line(line(body))
    result = without_unusable(before)
    assert (result.outcome, result.retryable, result.usage) == ("invalid", False, before.usage)
    assert before.usage.output_tokens == 7
    assert read_line(result.line) == result
    assert orjson.loads(result.line)["response"] == orjson.loads(before.line)["response"]
    answer = read_answer(read_line(result.line))
    assert answer.error_code == code
    assert said in str(answer.error_message)


@pytest.mark.parametrize("body", [chat(content="yes"), chat("tool_calls", content=None, tool_calls=[CALL])])
def test_rows_that_can_be_used_are_left_as_they_are(body: Any) -> None:
    result = read_line(line(body))
    assert without_unusable(result) is result


@pytest.mark.parametrize(
    ("body", "status", "error", "code", "message"),
    [
        ({"statusCode": 429, "message": "Rate limit is exceeded."}, 429, None, "429", "Rate limit is exceeded."),
        ({"statusCode": 429, "message": "Rate limit is exceeded."}, 0, None, "429", "Rate limit is exceeded."),
        (None, 0, None, None, "The provider gave no reason (HTTP status 0)."),
        ({}, 502, None, None, "The provider gave no reason (HTTP status 502)."),
        ("upstream connect error", 503, None, None, "upstream connect error"),
        ('{"error": {"code": "x", "message": "in a text"}}', 500, None, "x", "in a text"),
        ({"error": {"code": "c", "message": "m"}}, 400, None, "c", "m"),
        ({"error": {"code": None, "type": "t", "message": "m"}}, 400, None, "t", "m"),
        ({"error": {"message": '{"error": {"code": 404, "message": "inner"}}'}}, 400, None, None, None),
        ({"error": "plain"}, 400, None, None, "plain"),
        ({"detail": "Not Found"}, 404, None, None, "Not Found"),
        ({"detail": [{"loc": ["body"], "msg": "required", "type": "missing"}]}, 422, None, "missing", "required"),
        ([{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "g"}}], 400, None, "400", "g"),
        ({"__type": "ValidationException", "message": "aws"}, 400, None, "ValidationException", "aws"),
        ({"Message": "aws too"}, 403, None, None, "aws too"),
        ({"title": "Too Many", "detail": "later"}, 429, None, "Too Many", "later"),
        ({"errors": [{"code": "e1", "message": "first"}]}, 400, None, "e1", "first"),
        (None, None, {"code": "batch_expired", "message": "late"}, "batch_expired", "late"),
        ({"error": {"code": "c", "message": "m"}}, 400, {"code": "", "message": ""}, "c", "m"),
    ],
)  # fmt: skip
def test_every_message_of_a_provider_reaches_the_table(body, status, error, code, message) -> None:
    """A21: status 0 and bodies that are not OpenAI's (tidyverse/ellmer#830) lose neither code nor message."""
    data = {"id": None, "custom_id": "a", "response": {"status_code": status, "body": body}, "error": error}
    if status is None:
        data["response"] = None
    for raw in (orjson.dumps(data), read_line(orjson.dumps(data)).line):
        answer = read_answer(read_line(raw))
        if message is None:
            assert "inner" in str(answer.error_message)
        else:
            assert (answer.error_code, answer.error_message) == (code, message)
