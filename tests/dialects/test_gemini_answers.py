"""Gemini's answers in OpenAI's words."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from google.genai import types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.families import vertex_family
from airflow_batch_provider.dialects.gemini import GeminiDialect
from tests.dialects import laws
from tests.dialects.vertex_tools import GEMINI_2, GEMINI_3, request_of, said

HI = [{"role": "user", "content": "Hi"}]
BROAD = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def answer(output: JSON) -> JSON:
    found = GeminiDialect(vertex_family(GEMINI_2), GEMINI_2).answer(output)
    assert isinstance(found, dict), found
    assert orjson.loads(orjson.dumps(found)) == found
    return found


def message(output: JSON) -> tuple[JSON, str]:
    choice = answer(output)["choices"][0]
    return choice["message"], choice["finish_reason"]


def test_golden_answer() -> None:
    """A usual answer in OpenAI's words."""
    output = said("Hello")
    output["usageMetadata"] = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 4,
        "candidatesTokenCount": 9,
        "thoughtsTokenCount": 5,
        "cachedContentTokenCount": 3,
        "totalTokenCount": 28,
    }
    assert answer(output) == {
        "id": "chatcmpl-abc",
        "object": "chat.completion",
        "created": 1758317387,
        "model": GEMINI_2,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 14,
            "completion_tokens": 14,
            "total_tokens": 28,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
        "system_fingerprint": None,
    }


def test_thoughts_and_calls() -> None:
    """Thoughts are apart from the text; STOP with a call is tool_calls; its id is the same at every reading."""
    output = said("")
    output["candidates"][0]["content"]["parts"] = [
        {"text": "hmm", "thought": True},
        {"text": "Well, ", "functionCall": None},
        {"text": "see", "thought": False},
        {"functionCall": {"name": "f", "args": {"city": "Paris"}}, "thoughtSignature": "QUJD", "text": None},
        {"functionCall": {"name": "f", "args": {"city": "Paris"}}},
        {"functionCall": {"name": "g", "id": "own", "args": None}},
    ]
    said_message, finish = message(output)
    assert finish == "tool_calls"
    assert said_message["content"] == "Well, see"
    assert said_message["reasoning_content"] == "hmm"
    calls = said_message["tool_calls"]
    assert [call["function"] for call in calls] == [
        {"name": "f", "arguments": '{"city":"Paris"}'},
        {"name": "f", "arguments": '{"city":"Paris"}'},
        {"name": "g", "arguments": "{}"},
    ]
    assert len({call["id"] for call in calls}) == 3
    assert calls[2]["id"] == "own"
    assert calls[0]["extra_content"] == {"google": {"thought_signature": "QUJD"}}
    assert message(copy.deepcopy(output))[0] == said_message
    output["candidates"][0]["content"]["parts"] = [{"functionCall": {"name": "f"}}]
    assert message(output)[0]["content"] is None


def test_answered_call_goes_back() -> None:
    """A call as it was answered can be sent as history: name, arguments and signature come through."""
    output = said("")
    part = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "QUJD"}
    output["candidates"][0]["content"]["parts"] = [part]
    told = message(output)[0]
    body = {"messages": [*HI, told, {"role": "tool", "tool_call_id": told["tool_calls"][0]["id"], "content": "x"}]}
    assert request_of(body, GEMINI_3)["contents"][1]["parts"] == [part]


FINISHES = {
    **dict.fromkeys(["STOP", "FINISH_REASON_UNSPECIFIED"], "stop"),
    # Without an equivalent: not a good end, so not told as one.
    **{word: word.lower() for word in ("OTHER", "TOO_MANY_TOOL_CALLS", "NO_IMAGE")},
    # B8: no answers, so they are not told as a good end; see test_malformed.py.
    **{word: word.lower() for word in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL")},
    **dict.fromkeys(["MAX_TOKENS", "CONTINUATION"], "length"),
    **dict.fromkeys(["SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"], "content_filter"),
    **dict.fromkeys(["IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"], "content_filter"),
    **dict.fromkeys(["IMAGE_OTHER", "MODEL_ARMOR"], "content_filter"),
}


def test_every_finish_reason() -> None:
    """This table holds every finish reason of both of Google's clients."""
    from google.cloud.aiplatform_v1.types import Candidate

    told = {reason.name for reason in types.FinishReason} | {reason.name for reason in Candidate.FinishReason}
    assert told == FINISHES.keys()


@pytest.mark.parametrize(("word", "finish"), [*FINISHES.items(), ("NEW_REASON", "new_reason"), (None, "stop")])
def test_finish_reasons(word: str | None, finish: str) -> None:
    """Each finish reason in OpenAI's words, with the text that was made until then."""
    told, found = message(said("so far", finishReason=word))
    assert (found, told["content"], told["refusal"]) == (finish, "so far", None)


def test_withheld_answer() -> None:
    """An answer that was withheld whole has no content, and says why."""
    told, finish = message(said("", finishReason="SAFETY", content=None))
    assert finish == "content_filter"
    assert told["content"] is None
    assert "SAFETY" in told["refusal"]


@pytest.mark.parametrize("content", [None, {}, {"role": "model"}, {"parts": None}, {"parts": []}])
def test_answer_without_parts(content: Any) -> None:
    """All tokens spent on thinking: an empty text, cut at the length."""
    told, finish = message(said("", finishReason="MAX_TOKENS", content=content))
    assert (told["content"], told["refusal"], finish) == ("", None, "length")


@pytest.mark.parametrize("candidates", [{}, {"candidates": None}, {"candidates": []}])
def test_blocked_prompt(candidates: JSON) -> None:
    """A blocked prompt is answered as OpenAI answers it: 200, content_filter, and the refusal's text."""
    feedback = {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": None, "safetyRatings": None}
    output = {**candidates, "promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 4}}
    told, finish = message(output)
    assert finish == "content_filter"
    assert told["content"] is None
    assert "PROHIBITED_CONTENT" in told["refusal"]
    assert answer(output)["usage"] == {"prompt_tokens": 4, "completion_tokens": 0, "total_tokens": 4}


def test_no_answer() -> None:
    """A response without candidates and without a reason is a failure that a new try may cure."""
    found = GeminiDialect(vertex_family(GEMINI_2), GEMINI_2).answer({"usageMetadata": {}, "promptFeedback": None})
    assert isinstance(found, Failure)
    assert found.retryable


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("2025-09-19T21:29:47Z", 1758317387),
        ("2025-09-19T21:29:47.123456789Z", 1758317387),
        ("2025-09-19T23:29:47.000+02:00", 1758317387),
        ("yesterday", 0),
        (None, 0),
        (5, 0),
        ("0001-01-01T00:00:00+23:59", 0),
    ],
)
def test_created(stamp: Any, seconds: int) -> None:
    """createTime as seconds, 0 for what is no time."""
    assert answer({**said("x"), "createTime": stamp})["created"] == seconds


_MEMBERS = ["candidates", "content", "parts", "text", "thought", "functionCall", "name", "args", "id", "finishReason"]
_MEMBERS += ["promptFeedback", "blockReason", "usageMetadata", "promptTokenCount", "createTime", "responseId"]
ANSWERS = st.recursive(
    laws.JSON_VALUES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(_MEMBERS), inner, max_size=5),
    max_leaves=12,
)


@settings(BROAD, max_examples=300)
@given(st.dictionaries(st.sampled_from(_MEMBERS), ANSWERS))
def test_anything_is_read(output: JSON) -> None:
    """Whatever comes as an answer, it is read without an exception."""
    laws.reads_anything(GeminiDialect(vertex_family(GEMINI_2), GEMINI_2), output)


@given(st.dictionaries(st.sampled_from([*types.GenerateContentResponse.model_fields]), st.none()))
def test_nulls_everywhere(output: JSON) -> None:
    """Nulls for members that were not used change nothing."""
    usual = said("x")
    assert answer({**output, **usual}) == answer(usual)
