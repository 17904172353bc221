"""B8 and its kind: what a provider says of the end of an answer is kept, and never becomes a good end."""

from __future__ import annotations

from typing import Any, get_args

import anthropic.types as claude_types
import botocore.session
import orjson
import pytest
from anthropic.types.beta import BetaStopReason
from google.genai import types as gemini_types

from airflow_batch_provider.core.records import BatchResult, Refusal
from airflow_batch_provider.dialects.base import Sent, token
from airflow_batch_provider.dialects.families import CHAT, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format
from airflow_batch_provider.dialects.openai import read_line, without_unusable

GOOD = {"stop", "tool_calls", "end_turn", "stop_sequence", "tool_use", "finish_reason_unspecified"}
"""Words of an end that the model chose; of all others something is to be said."""


def _converse_words() -> list[str]:
    return list(botocore.session.get_session().get_service_model("bedrock-runtime").shape_for("StopReason").enum)


def claude(word: Any, content: Any) -> BatchResult:
    model = "us.anthropic.claude-opus-4-6-v1"
    usage = {"input_tokens": 9, "output_tokens": 4}
    output = {"type": "message", "role": "assistant", "content": content, "stop_reason": word, "usage": usage}
    line = {"recordId": token(0), "modelOutput": output}
    return bedrock_format(bedrock_family(model), model, CHAT).decode(orjson.dumps(line), Sent(["row"]))


def claude_on_vertex(word: Any, content: Any) -> BatchResult:
    model = "claude-opus-4-6"
    usage = {"input_tokens": 9, "output_tokens": 4}
    output = {"type": "message", "role": "assistant", "content": content, "stop_reason": word, "usage": usage}
    line = {"custom_id": token(0), "request": {}, "response": output, "status": ""}
    return vertex_format(vertex_family(model), model, CHAT).decode(orjson.dumps(line), Sent(["row"]))


def _of_converse(model: str, word: Any, content: Any) -> BatchResult:
    message = None if content is None else {"role": "assistant", "content": content}
    output = {"output": {"message": message}, "stopReason": word, "usage": {"inputTokens": 9, "outputTokens": 4}}
    line = {"recordId": token(0), "modelOutput": output}
    return bedrock_format(bedrock_family(model), model, CHAT).decode(orjson.dumps(line), Sent(["row"]))


def converse(word: Any, content: Any) -> BatchResult:
    return _of_converse("us.meta.llama4-scout-17b-instruct-v1:0", word, content)


def nova(word: Any, content: Any) -> BatchResult:
    return _of_converse("us.amazon.nova-pro-v1:0", word, content)


def gemini(word: Any, content: Any) -> BatchResult:
    model = "gemini-2.5-flash"
    parts = None if content is None else {"role": "model", "parts": [{"text": part["text"]} for part in content]}
    candidate = {"content": parts, "finishReason": word}
    counts = {"promptTokenCount": 9, "candidatesTokenCount": 4}
    response = {"candidates": [candidate], "usageMetadata": counts}
    line = {"custom_id": token(0), "request": {}, "response": response, "status": ""}
    return vertex_format(vertex_family(model), model, CHAT).decode(orjson.dumps(line), Sent(["row"]))


CLAUDE_WORDS = sorted({*get_args(claude_types.StopReason), *get_args(BetaStopReason)})
GEMINI_WORDS = [
    *(reason.value for reason in gemini_types.FinishReason),
    "MODEL_ARMOR",
    "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE",
]
NEW = "a_new_word"
EVERY = [
    *((read, word) for read in (claude, claude_on_vertex) for word in (*CLAUDE_WORDS, NEW)),
    *((read, word) for read in (converse, nova) for word in (*_converse_words(), NEW)),
    *((gemini, word) for word in (*GEMINI_WORDS, NEW.upper())),
]
TEXT = [{"type": "text", "text": "so far"}]


def body_of(result: BatchResult) -> Any:
    return orjson.loads(result.line)["response"]["body"]


@pytest.mark.parametrize("content", [None, [], TEXT], ids=["null", "empty", "text"])
@pytest.mark.parametrize(("read", "word"), EVERY)
def test_no_word_is_lost(read: Any, word: str, content: Any) -> None:
    """B8: an unknown word was ``stop`` and lost; an answer without content but with a word was a failure without
    usage. Every word stands in the line, is no good end unless it is one, and what was paid counts."""
    result = read(word, content)
    assert result.custom_id == "row"
    assert (result.usage.input_tokens, result.usage.output_tokens) == (9, 4)
    finish = body_of(result)["choices"][0]["finish_reason"]
    assert (finish in ("stop", "tool_calls")) == (word.lower() in GOOD)
    said = {"end_turn": "stop", "max_tokens": "length", "tool_use": "stop"}.get(word.lower(), word.lower())
    assert f'"{said}"'.encode() in result.line.lower()
    assert read_line(result.line) == result


@pytest.mark.parametrize("content", [None, [], TEXT], ids=["null", "empty", "text"])
@pytest.mark.parametrize(
    ("read", "word", "quality"),
    [
        (claude, "refusal", "filtered"),
        (claude_on_vertex, "refusal", "filtered"),
        (claude, "pause_turn", "cut"),
        (claude, "compaction", "cut"),
        (claude, "model_context_window_exceeded", "cut"),
        (converse, "guardrail_intervened", "filtered"),
        (converse, "content_filtered", "filtered"),
        (nova, "guardrail_intervened", "filtered"),
        (converse, "model_context_window_exceeded", "cut"),
        *((gemini, word, "filtered") for word in GEMINI_WORDS if word.startswith("IMAGE_")),
        *((gemini, word, "filtered") for word in ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "SPII")),
        *((gemini, word, "filtered") for word in ("PROHIBITED_CONTENT", "MODEL_ARMOR")),
        *((gemini, word, "cut") for word in ("OTHER", "TOO_MANY_TOOL_CALLS", "CONTINUATION", "MAX_TOKENS")),
        (gemini, "NO_IMAGE", "empty"),
    ],
)
def test_what_a_word_says(read: Any, word: str, quality: str, content: Any) -> None:
    """An answer is what its word says, final, and unusable where the author wants to know."""
    result = read(word, content)
    assert result.outcome == "succeeded"
    assert quality in result.qualities
    assert without_unusable(result).outcome == "invalid"


@pytest.mark.parametrize("word", ["malformed_model_output", "malformed_tool_use"])
@pytest.mark.parametrize("read", [converse, nova])
def test_malformed_without_a_message_is_sent_again(read: Any, word: str) -> None:
    """B8: it was final, and its tokens did not count."""
    result = read(word, None)
    assert (result.outcome, result.refusal) == ("failed", Refusal.PASSING)
    assert orjson.loads(result.line)["error"]["code"] == word


def test_a_claude_that_refused_is_answered() -> None:
    """Content null or [] with ``refusal`` is a refusal that was paid for, with the reason that Claude gives."""
    for content in (None, []):
        message = body_of(claude("refusal", content))["choices"][0]["message"]
        assert (message["content"], message["refusal"]) == (None, "The model refused to answer.")
    model = "us.anthropic.claude-opus-4-6-v1"
    line = {"recordId": token(0), "modelOutput": {"type": "message", "role": "assistant", "content": None}}
    assert bedrock_format(bedrock_family(model), model, CHAT).decode(orjson.dumps(line), Sent(["row"])).outcome == (
        "failed"
    )


@pytest.mark.parametrize(
    ("word", "finish"),
    [("SAFETY", "content_filter"), ("guardrail_intervened", "content_filter"), ("STOP", "stop"), ("length", "length")],
)
def test_a_gateway_that_hands_the_word_on(word: str, finish: str) -> None:
    """The word stays beside OpenAI's, where OpenAI's says less."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": word}
    line = {"custom_id": "row", "response": {"status_code": 200, "body": {"choices": [choice]}}, "error": None}
    result = read_line(orjson.dumps(line))
    found = body_of(result)["choices"][0]
    assert found["finish_reason"] == finish
    assert found.get("native_finish_reason") == (word if finish == "content_filter" else None)
    assert read_line(result.line) == result
