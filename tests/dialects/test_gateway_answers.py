"""What comes back through a gateway, translated by it or not."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from airflow_batch_provider.core.records import BatchRequest, BatchResult
from airflow_batch_provider.dialects.base import Sent, token
from airflow_batch_provider.dialects.gateway import gateway_format
from tests.dialects.test_gateway import CHAT, CLAUDE, EMBED, GEMINI, WAYS


def test_embeddings_back() -> None:
    """A prediction is found by its id wherever it stands, or else by its text, one row each."""
    line_format = gateway_format("vertex_ai", "gemini-embedding-001", EMBED)
    bodies = [{"model": "gemini-embedding-001", "input": text} for text in ("same", "same", "other")]
    wire = [line_format.encode(BatchRequest("x", EMBED, "m", body, b"", 1), at) for at, body in enumerate(bodies)]
    sent = Sent(["a", "b", "c"], lambda: wire)
    predictions = [{"embeddings": {"values": [0.6, 0.8], "statistics": {"token_count": 3}}}]
    lines: list[dict[str, Any]] = [
        {"instance": {"content": "other", "requestId": token(2)}, "predictions": predictions, "status": ""},
        {"instance": {"content": "same"}, "predictions": predictions, "status": ""},
        {"instance": {"content": "same"}, "predictions": [], "status": "Bad"},
        {"instance": {"content": "stranger"}, "predictions": predictions, "status": ""},
    ]
    results = [line_format.decode(orjson.dumps(line), sent) for line in lines]
    assert [(one.custom_id, one.outcome) for one in results] == [
        ("c", "succeeded"),
        ("a", "succeeded"),
        ("b", "failed"),
        (None, "invalid"),
    ]
    assert json.loads(results[0].line)["response"]["body"]["data"][0]["embedding"] == [0.6, 0.8]
    assert results[0].usage.input_tokens == 3


def decoded(provider: Any, model: str, line: dict[str, Any]) -> BatchResult:
    return gateway_format(provider, model, CHAT).decode(orjson.dumps(line), Sent(["row a"]))


def test_translated_lines() -> None:
    """Portkey's accent becomes OpenAI's: finish words, an empty string for no error, false for no body."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "max_tokens"}
    response = {"status_code": 200, "request_id": "r", "body": {"choices": [choice]}}
    good = decoded("bedrock", CLAUDE, {"id": "i", "custom_id": token(0), "response": response, "error": ""})
    assert (good.custom_id, good.outcome) == ("row a", "succeeded")
    line = json.loads(good.line)
    assert (line["custom_id"], line["error"]) == ("row a", None)
    assert line["response"]["body"]["choices"][0]["finish_reason"] == "length"
    told = 'Bad Request: {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}'
    bad = decoded(
        "vertex_ai",
        GEMINI,
        {"id": "i", "custom_id": token(0), "response": {"request_id": "i", "body": False}, "error": told},
    )
    assert (bad.custom_id, bad.outcome) == ("row a", "failed")
    bare = decoded("bedrock", CLAUDE, {"errorCode": 400, "errorMessage": "no"})
    assert (bare.custom_id, bare.outcome) == (None, "failed")


def test_raw_lines() -> None:
    """A provider's own line is read by our own dialect, each line by itself."""
    answer = {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}
    raw = {"requestId": token(0), "request": {"contents": []}, "response": answer, "status": ""}
    good = decoded("vertex_ai", GEMINI, raw)
    assert (good.custom_id, good.outcome) == ("row a", "succeeded")
    assert json.loads(good.line)["response"]["body"]["choices"][0]["message"]["content"] == "hi"
    blocked = decoded("vertex_ai", GEMINI, {**raw, "response": {"promptFeedback": {"blockReason": "SAFETY"}}})
    assert json.loads(blocked.line)["response"]["body"]["choices"][0]["finish_reason"] == "content_filter"
    failed = decoded("vertex_ai", GEMINI, {**raw, "response": {}, "status": 'Too Many: {"error": {"code": 429}}'})
    assert (failed.custom_id, failed.outcome, failed.retryable) == ("row a", "failed", True)
    output = {"id": "m", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "usage": {}}
    record = decoded("bedrock", CLAUDE, {"recordId": token(0), "modelInput": {}, "modelOutput": output})
    assert (record.custom_id, record.outcome) == ("row a", "succeeded")


@pytest.mark.parametrize("line", [b"", b"null", b"[]", b'{"custom_id": [3]}', b"{", b'"x"', b'{"status": 1}'])
def test_lines_that_are_none(line: bytes) -> None:
    """They are nobody's, and break nothing."""
    for provider, model in WAYS:
        result = gateway_format(provider, model, CHAT).decode(line, Sent(["a"]))  # type: ignore[arg-type]
        assert (result.custom_id, result.outcome) == (None, "invalid")
