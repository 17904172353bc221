"""B8: answers whose model broke its own format are sent again in the next round, and what they cost counts."""

import orjson
import pytest

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.records import Refusal
from airflow_batch_provider.dialects.base import Sent, token
from airflow_batch_provider.dialects.families import CHAT, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format
from airflow_batch_provider.dialects.openai import read_line


def gemini(reason, parts):
    """Words of pydantic-ai#631 and langgraph#6574: no parts, a finish reason, tokens of the prompt."""
    candidate = {
        "content": {"role": "model", "parts": parts},
        "finishReason": reason,
        "finishMessage": "Malformed call",
    }
    counts = {"promptTokenCount": 9, "candidatesTokenCount": 4}
    response = {"candidates": [candidate], "usageMetadata": counts}
    model = "gemini-2.5-flash"
    line = {"custom_id": token(0), "request": {}, "response": response, "status": ""}
    return vertex_format(vertex_family(model), model, CHAT), line


def converse(reason, parts):
    output = {
        "output": {"message": {"role": "assistant", "content": parts}},
        "stopReason": reason,
        "usage": {"inputTokens": 9, "outputTokens": 4},
    }
    model = "us.meta.llama4-scout-17b-instruct-v1:0"
    return bedrock_format(bedrock_family(model), model, CHAT), {"recordId": token(0), "modelOutput": output}


@pytest.mark.parametrize("parts", [[], [{"text": "I shall call f"}]])
@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (gemini, "MALFORMED_FUNCTION_CALL"),
        (gemini, "MALFORMED_RESPONSE"),
        (gemini, "UNEXPECTED_TOOL_CALL"),
        (converse, "malformed_model_output"),
        (converse, "malformed_tool_use"),
    ],
)
def test_asked_again(write, reason, parts):
    """Before: succeeded, "", stop. Nothing of the answer is lost, its tokens count, and it reads back the same."""
    form, line = write(reason, parts)
    result = form.decode(orjson.dumps(line), Sent(["row"]))
    assert (result.custom_id, result.outcome, result.refusal) == ("row", "failed", Refusal.PASSING)
    assert result.usage == Usage(9, 4)
    assert orjson.loads(result.line)["error"]["code"] == reason.lower()
    message = orjson.loads(result.line)["response"]["body"]["choices"][0]["message"]
    assert (message["content"] or "") == "".join(part["text"] for part in parts)
    assert read_line(result.line) == result


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "malformed_tool_use"])
def test_behind_a_gateway(reason):
    """A gateway hands the provider's raw word on in OpenAI's shape."""
    choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": reason}
    body = {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
    line = {"id": "x", "custom_id": "row", "response": {"status_code": 200, "body": body}, "error": None}
    result = read_line(orjson.dumps(line))
    assert (result.outcome, result.refusal, result.usage) == ("failed", Refusal.PASSING, Usage(9, 4))
    assert read_line(result.line) == result
