"""The Anthropic dialect: Claude's answers as OpenAI's."""

from __future__ import annotations

import orjson
import pytest
from anthropic.types import Message

from airflow_batch_provider.dialects.dialect import Failure
from tests.dialects.claude import (
    HELLO,
    answer,
    dialect,
    echo,
    text,
)

# ---- answers ---------------------------------------------------------------------------------------------------------


def test_answer() -> None:
    """Texts are joined; id and model are Claude's."""
    found = answer([text("a"), text("b")])
    assert found["message"] == {"role": "assistant", "content": "ab", "refusal": None}
    assert found["finish_reason"] == "stop"
    assert found["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert (found["id"], found["model"]) == ("chatcmpl-msg_1", "claude")


def test_answer_with_tool_calls() -> None:
    """Tool calls have their ids and their arguments as text; without a text the content is null."""
    uses = [{"type": "tool_use", "id": f"t{n}", "name": "f", "input": {"x": n}} for n in (1, 2)]
    found = answer(uses, "tool_use")
    assert [call["id"] for call in found["message"]["tool_calls"]] == ["t1", "t2"]
    assert found["message"]["tool_calls"][1]["function"] == {"name": "f", "arguments": '{"x":2}'}
    assert found["message"]["content"] is None
    assert found["finish_reason"] == "tool_calls"
    assert answer([text("so"), *uses], "tool_use")["message"]["content"] == "so"


def test_answer_with_thinking() -> None:
    """Thoughts are reasoning_content; signed ones can be given back."""
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    details = {"input_tokens": 1, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 7}}
    found = answer([signed, hidden, text("a")], usage=details)
    assert found["message"]["content"] == "a"
    assert found["message"]["reasoning_content"] == "hm"
    assert found["message"]["thinking_blocks"] == [signed, hidden]
    assert found["usage"]["completion_tokens_details"] == {"reasoning_tokens": 7}


def test_refusal() -> None:
    """A refusal is one, with content null and finish reason content_filter."""
    found = answer([text("I can't.")], "refusal")
    assert (found["message"]["content"], found["message"]["refusal"]) == (None, "I can't.")
    assert found["finish_reason"] == "content_filter"
    told = answer([], "refusal", stop_details={"type": "refusal", "explanation": "bio"})
    assert told["message"]["refusal"] == "bio"
    assert answer([], "refusal")["message"]["refusal"]


def test_cached_tokens_are_prompt_tokens() -> None:
    """Claude counts tokens read from and written to a cache apart; OpenAI does not."""
    usage = answer(
        [],
        usage={"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 4},
    )["usage"]
    assert (usage["prompt_tokens"], usage["total_tokens"]) == (8, 10)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 3, "cache_write_tokens": 4}


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "pause_turn"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "stop"),
        ("something_new", "something_new"),
        (None, "stop"),
    ],
)
def test_finish_reasons(stop: str | None, finish: str) -> None:
    """Stop reasons are told in OpenAI's words; a new one is kept."""
    assert answer([text("a")], stop)["finish_reason"] == finish


def test_failures() -> None:
    """An error object is a failure with its HTTP status; anything else that is no message is one without."""
    error = {"type": "overloaded_error", "message": "Overloaded"}
    found = dialect().answer({"type": "error", "error": error})
    assert found == Failure(529, "Overloaded", "overloaded_error", True)
    bad = dialect().answer({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}})
    assert bad == Failure(400, "no", "invalid_request_error", False)
    assert isinstance(dialect().answer({"id": "x"}), Failure)
    assert isinstance(dialect().answer({"content": "text"}), Failure)


def test_sdk_message_is_read() -> None:
    """A Message of the SDK's own making is read."""
    message = Message.model_validate(echo(dialect().request({"messages": HELLO})))
    found = dialect().answer(orjson.loads(message.model_dump_json()))
    assert isinstance(found, dict)
    assert found["choices"][0]["message"]["content"] == "Hello"
