"""Output lines of every endpoint, flat."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from airflow_batch_provider.core.answers import Answer, read_answer
from airflow_batch_provider.dialects.openai import read_line


def answered(body: Any, status: int = 200, error: Any = None) -> Answer:
    line = {"id": "x", "custom_id": "a", "response": {"status_code": status, "body": body}, "error": error}
    return read_answer(read_line(orjson.dumps(line)))


CHAT = {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "length"}


@pytest.mark.parametrize(
    ("body", "content", "finish_reason"),
    [
        ({"choices": [CHAT, {"message": {"content": "second"}}]}, "yes", "length"),
        ({"choices": [{"text": "yes", "finish_reason": "stop"}]}, "yes", "stop"),
        ({"choices": [{"message": {"content": [{"type": "text", "text": "y"}, {"text": "es"}]}}]}, "yes", None),
        (
            {"choices": [{"message": {"content": None, "tool_calls": []}, "finish_reason": "tool_calls"}]},
            None,
            "tool_calls",
        ),
        ({"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}, "", "stop"),
        ({"choices": []}, None, None),
        (
            {
                "status": "completed",
                "output": [
                    {"type": "reasoning", "summary": []},
                    {"type": "message", "content": [{"type": "output_text", "text": "y"}]},
                    {"type": "message", "content": [{"type": "output_text", "text": "es"}]},
                ],
            },
            "yes",
            "completed",
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": []},
            None,
            "max_output_tokens",
        ),
        ({"data": [{"embedding": [1.0, 0.5]}]}, "[1.0,0.5]", None),
        ({"data": [{"embedding": [1]}, {"embedding": "base64"}]}, '[[1],"base64"]', None),
        ({"results": [{"flagged": False}]}, '[{"flagged":false}]', None),
        ({"unknown": 1}, None, None),
        (None, None, None),
    ],
)
def test_content_of_every_endpoint(body: Any, content: str | None, finish_reason: str | None) -> None:
    """The text, vector or result of an answer is its content, whatever the endpoint."""
    answer = answered(body)
    assert (answer.content, answer.finish_reason) == (content, finish_reason)
    assert answer.response == (None if body is None else orjson.dumps(body).decode())


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2}, (3, 2)),
        ({"input_tokens": 3, "output_tokens": 2}, (3, 2)),
        ({"prompt_tokens": 3, "total_tokens": 3}, (3, None)),
        (None, (None, None)),
    ],
)
def test_tokens_by_either_name(usage: Any, tokens: tuple[int | None, int | None]) -> None:
    """Tokens are read under both of OpenAI's names; what is not told is not zero."""
    answer = answered({"usage": usage, "model": "m"})
    assert (answer.prompt_tokens, answer.completion_tokens, answer.model) == (*tokens, "m")


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (
            answered({"error": {"code": None, "type": "invalid_request_error", "message": "no"}}, 400),
            "invalid_request_error",
            "no",
        ),
        (answered(None, 500, {"code": "batch_expired", "message": "late"}), "batch_expired", "late"),
        (answered({"choices": [{"message": {"refusal": "I won't"}}]}), "refusal", "I won't"),
        (answered({"output": [{"content": [{"type": "refusal", "refusal": "I won't"}]}]}), "refusal", "I won't"),
        (answered({"choices": [CHAT]}), None, None),
    ],
)
def test_errors_and_refusals(answer: Answer, code: str | None, message: str | None) -> None:
    """Why there is no answer stands in code and message, a refusal too."""
    assert (answer.error_code, answer.error_message) == (code, message)


def test_a_row_without_response() -> None:
    """A row that was never answered has its id and error, and nothing made up."""
    line = b'{"id":null,"custom_id":"a","response":null,"error":{"code":"missing","message":"m"}}'
    assert read_answer(read_line(line)) == Answer("a", error_code="missing", error_message="m")


@pytest.mark.parametrize("line", [b"{", b"[]", b"{}", b'{"custom_id": null}', b"\xff"])
def test_what_is_no_output_line(line: bytes) -> None:
    """A line without an id is refused, not guessed at."""
    with pytest.raises(ValueError):  # noqa: PT011 - the caller says where
        read_answer(read_line(line))
