"""Lines for Vertex AI, family by family: the right body in the right envelope, and no id lost."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import ConfigurationError, UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.base import LineFormat, Sent
from tests.dialects import laws
from tests.dialects.vertex_tools import (
    CHAT,
    EMBEDDINGS,
    GEMINI_2,
    GEMINI_3,
    answered,
    echoed,
    line_format,
    row,
    said,
    shuffled,
)

CLAUDE = "claude-sonnet-4-5@20250929"
LLAMA = "meta/llama-4-maverick-17b-128e-instruct-maas"
EMBEDDING = "gemini-embedding-001"
HI = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}
FAILED = 'Bad Request: {"error": {"code": 400, "message": "Please use a valid role.", "status": "INVALID_ARGUMENT"}}'
IDS = st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=6, unique=True)


def wires(
    one: LineFormat, ids: list[str], bodies: list[JSON], model: str = GEMINI_2, endpoint: str = CHAT
) -> list[JSON]:
    pairs = enumerate(zip(ids, bodies, strict=True))
    return [orjson.loads(one.encode(row(body, key, model, endpoint), at)) for at, (key, body) in pairs]


def sent(ids: list[str], lines: list[JSON]) -> Sent:
    return Sent(ids, lambda: [orjson.dumps(line) for line in lines])


def asks(texts: list[str]) -> list[JSON]:
    return [{"messages": [{"role": "user", "content": text}]} for text in texts]


def contents(result_line: bytes) -> Any:
    return orjson.loads(result_line)["response"]["body"]["choices"][0]["message"]["content"]


# ---- which format ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [GEMINI_2, GEMINI_3, "publishers/google/models/gemini-2.0-flash-001"])
def test_gemini(model: str) -> None:
    """Gemini's lines carry the token twice: beside the request and as its label."""
    (line,) = wires(line_format(model), ["a"], [HI], model)
    assert line == {
        "custom_id": "r0000000000",
        "request": {
            "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
            "generationConfig": {"maxOutputTokens": 50},
            "labels": {"airflow_batch_row": "r0000000000"},
        },
    }


def test_claude() -> None:
    """Claude's lines have the token as custom_id and Vertex AI's version, no model, no label."""
    (line,) = wires(line_format(CLAUDE), ["a"], [HI], CLAUDE)
    assert line["custom_id"] == "r0000000000"
    assert line["request"]["anthropic_version"] == "vertex-2023-10-16"
    assert line["request"]["max_tokens"] == 50
    assert not {"model", "stream", "labels"} & line["request"].keys()


@pytest.mark.parametrize(
    ("model", "endpoint"),
    [
        (LLAMA, CHAT),
        ("openai/gpt-oss-120b-maas", CHAT),
        ("qwen/qwen3-235b", CHAT),
        ("intfloat/multilingual-e5-large", EMBEDDINGS),
    ],
)
def test_open_models(model: str, endpoint: str) -> None:
    """Open models take OpenAI's lines as they are, with the model's id and our token."""
    body = HI if endpoint == CHAT else {"input": "Hi"}
    (line,) = wires(line_format(model, endpoint), ["a"], [body], model, endpoint)
    assert line == {"custom_id": "r0000000000", "method": "POST", "url": endpoint, "body": {**body, "model": model}}


@pytest.mark.parametrize(
    ("model", "endpoint"), [(GEMINI_2, EMBEDDINGS), (EMBEDDING, CHAT), (CLAUDE, EMBEDDINGS), (LLAMA, "/v1/responses")]
)
def test_wrong_endpoint(model: str, endpoint: str) -> None:
    """What a family does not serve is told before any line."""
    with pytest.raises(ConfigurationError, match=endpoint):
        line_format(model, endpoint)


# ---- ids -------------------------------------------------------------------------------------------------------------


def _as_it_was(line: JSON, chance: random.Random) -> JSON:
    return line


def _only_label(line: JSON, chance: random.Random) -> JSON:
    return {"request": shuffled(line["request"], chance)}


def _only_request(line: JSON, chance: random.Random) -> JSON:
    request = {name: value for name, value in line["request"].items() if name != "labels"}
    return {"request": shuffled(request, chance)}


def _excluded(line: JSON, chance: random.Random) -> JSON:
    return {"instance": {"requestId": line["custom_id"]}, "request": {}}


@pytest.mark.parametrize("echo", [_as_it_was, _only_label, _only_request, _excluded])
@settings(max_examples=60, deadline=None)
@given(IDS, st.randoms(use_true_random=False))
def test_ids_survive(echo: Any, ids: list[str], chance: random.Random) -> None:
    """Whatever of the line comes back, in whatever order, every row gets its own answer."""
    one = line_format()
    lines = wires(one, ids, asks([f"question {key!r}" for key in ids]))
    outputs = [{**echo(line, chance), "status": "", "response": echoed(line["request"])} for line in lines]
    chance.shuffle(outputs)
    told = sent(ids, lines)
    results = [one.decode(orjson.dumps(shuffled(output, chance)), told) for output in outputs]
    assert sorted(result.custom_id or "" for result in results) == sorted(ids)
    for result in results:
        assert contents(result.line) == f"question {result.custom_id!r}"


@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_equal_requests_without_ids(count: int, chance: random.Random) -> None:
    """Equal requests that come back without any id are told apart by their order; one more is nobody's."""
    ids = [f"row {number}" for number in range(count)]
    one = line_format()
    lines = wires(one, ids, asks(["the same"] * count))
    told = sent(ids, lines)
    outputs = [{**_only_request(line, chance), "response": said("x")} for line in lines]
    assert [one.decode(orjson.dumps(output), told).custom_id for output in outputs] == ids
    assert one.decode(orjson.dumps(outputs[0]), told).outcome == "invalid"


@settings(max_examples=60, deadline=None)
@given(st.lists(laws.chat_bodies(), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_every_request_has_its_fingerprint(bodies: list[JSON], chance: random.Random) -> None:
    """Media, tools, calls and options included, a shuffled and null-filled echo is the request it was."""
    one = line_format(GEMINI_3)
    kept: list[JSON] = []
    for body in bodies:
        with contextlib.suppress(UntranslatableError):
            kept.append(orjson.loads(one.encode(row(body), len(kept))))
    ids = [str(number) for number in range(len(kept))]
    told = sent(ids, kept)
    found = [one.decode(orjson.dumps({**_only_request(line, chance), "response": said("x")}), told) for line in kept]
    assert sorted(result.custom_id or "" for result in found) == ids


@pytest.mark.parametrize(("model", "endpoint"), [(CLAUDE, CHAT), (LLAMA, CHAT), (EMBEDDING, EMBEDDINGS)])
def test_ids_of_other_families(model: str, endpoint: str) -> None:
    """Tokens come home for every family; foreign and unreadable lines are nobody's."""
    ids = ["0001", "a b", "ö" * 200]
    one = line_format(model, endpoint)
    body = HI if endpoint == CHAT else {"input": "Hi"}
    lines = wires(one, ids, [body] * 3, model, endpoint)
    told = sent(ids, lines)
    key = "key" if endpoint == EMBEDDINGS else "custom_id"
    found = [one.decode(orjson.dumps({key: line[key], "status": FAILED, "request": {}}), told) for line in lines]
    if model == LLAMA:
        response = {"status_code": 200, "request_id": "x", "body": {"choices": []}}
        found = [one.decode(orjson.dumps({"custom_id": line[key], "response": response}), told) for line in lines]
    assert [result.custom_id for result in found] == ids
    assert [orjson.loads(result.line)["custom_id"] for result in found] == ids
    foreign = one.decode(orjson.dumps({key: "r9999999999", "status": FAILED, "request": {"x": 1}}), told)
    assert foreign.custom_id in (None, "r9999999999")
    assert one.decode(b"{not json", told).outcome == "invalid"


# ---- outcomes --------------------------------------------------------------------------------------------------------


def decoded(output: JSON, body: JSON = HI) -> tuple[Any, JSON]:
    one = line_format()
    (line,) = wires(one, ["mine"], [body])
    result = one.decode(orjson.dumps({**answered(line), **output}), sent(["mine"], [line]))
    assert result.custom_id == "mine"
    return result, orjson.loads(result.line)


def test_failed_row() -> None:
    """A failed row of a job that succeeded: its HTTP status and its message."""
    result, line = decoded({"status": FAILED})
    assert (result.outcome, result.retryable) == ("failed", False)
    assert line["response"]["status_code"] == 400
    assert line["response"]["body"]["error"]["message"] == "Please use a valid role."
    assert line["response"]["body"]["error"]["code"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("code", [429, 500, 503])
def test_passing_failure(code: int) -> None:
    """Overload passes: asking again can help."""
    result, _ = decoded({"status": f'X: {{"error": {{"code": {code}, "message": "m"}}}}'})
    assert (result.outcome, result.retryable) == ("failed", True)


def test_status_without_json() -> None:
    """A status that is no JSON is the message itself."""
    result, line = decoded({"status": "Internal error {oops"})
    assert result.outcome == "failed"
    assert line["error"]["message"] == "Internal error {oops"


@pytest.mark.parametrize("response", [{}, None, "", []])
def test_empty_response(response: Any) -> None:
    """A row without response and without reason failed, and may be asked again."""
    result, _ = decoded({"response": response})
    assert (result.outcome, result.retryable) == ("failed", True)


def test_response_as_text() -> None:
    """A response that came as the text of its JSON is read."""
    result, line = decoded({"response": orjson.dumps(said("yes")).decode()})
    assert result.outcome == "succeeded"
    assert contents(orjson.dumps(line)) == "yes"


def test_usage_counts() -> None:
    """The result counts what OpenAI's usage says."""
    output = said("x")
    output["usageMetadata"] = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 4,
        "thoughtsTokenCount": 3,
        "cachedContentTokenCount": 2,
    }
    usage = decoded({"response": output})[0].usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens) == (10, 7, 2, 3)


HELLO = {"contents": [{"parts": [{"text": "Hello world!"}], "role": "user"}]}
CALL = {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}}
REAL: list[JSON] = [
    {
        "status": "",
        "processed_time": "2025-09-19T21:29:47.352+00:00",
        "request": {**HELLO, "generationConfig": {"max_output_tokens": 10}},
        "response": {
            "candidates": [
                {
                    "avgLogprobs": -0.48079710006713866,
                    "content": {"parts": [{"text": "Hello there!"}], "role": "model"},
                    "finishReason": "MAX_TOKENS",
                }
            ],
            "createTime": "2025-09-19T21:29:47.000000Z",
            "modelVersion": "gemini-2.5-flash-lite",
            "responseId": "abc",
            "usageMetadata": {
                "promptTokenCount": 10,
                "candidatesTokenCount": 9,
                "totalTokenCount": 19,
                "trafficType": "ON_DEMAND",
            },
        },
    },
    {
        "custom_id": "r-000002",
        "status": "",
        "request": {"contents": [{"parts": [{"fileData": None, "text": "Hi"}], "role": "user"}]},
        "response": {
            "candidates": [{"content": {"parts": [CALL], "role": "model"}, "finishReason": "STOP"}],
            "modelVersion": "gemini-2.5-flash-lite",
            "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 7},
        },
    },
]


def test_real_lines() -> None:
    """Lines as Google has written them are read, whoever made the request: by their id, else by the request."""
    asked = {"request": {"generationConfig": {"max_output_tokens": 10}, **HELLO}}
    one = line_format()
    told = Sent(["mine", "r-000002"], lambda: [orjson.dumps(asked)])
    first, second = (orjson.loads(one.decode(orjson.dumps(line), told).line) for line in REAL)
    assert (first["custom_id"], second["custom_id"]) == ("mine", "r-000002")
    bodies = [line["response"]["body"] for line in (first, second)]
    assert [body["choices"][0]["finish_reason"] for body in bodies] == ["length", "tool_calls"]
    assert [body["usage"]["total_tokens"] for body in bodies] == [19, 19]


@given(
    st.dictionaries(st.sampled_from(["custom_id", "status", "request", "response", "labels", "x"]), laws.JSON_VALUES)
)
def test_any_line_is_read(line: JSON) -> None:
    """Whatever stands on an output line, decoding gives a result."""
    found = line_format().decode(orjson.dumps(line), sent(["a"], wires(line_format(), ["a"], [HI])))
    assert found.outcome in ("invalid", "failed", "succeeded")


@pytest.mark.parametrize("member", ["request", "response", "args"])
def test_nested_beyond_reason(member: str) -> None:
    """A line nested as deeply as the reader allows is read all the same."""
    deep = b'{"a":' * 500 + b"1" + b"}" * 500
    if member == "args":
        call = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":' + deep + b"}}]}}]}"
        line = b'{"custom_id":"r0000000000","response":' + call + b"}"
    else:
        line = b'{"%s":%s}' % (member.encode(), deep)
    found = line_format().decode(line, Sent(["a"]))
    assert found.outcome in ("invalid", "failed")


def test_the_format_is_pure() -> None:
    """No heavy client is imported with the formats."""
    text = Path(__file__).parents[2].joinpath("airflow_batch_provider/dialects/gemini.py").read_text()
    assert "google.genai" not in text
    assert "aiplatform" not in text
