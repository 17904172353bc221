"""Envelopes: the row's id goes out as our token and always comes back; errors are found wherever they hide."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import ConfigurationError, UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest, BatchResult
from airflow_batch_provider.dialects.base import LineFormat, Sent, token
from airflow_batch_provider.dialects.dialect import Dialect, Failure
from airflow_batch_provider.dialects.envelopes import ROW_LABEL, BedrockRecord, VertexRecord
from airflow_batch_provider.dialects.families import CHAT, EMBEDDINGS, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format
from airflow_batch_provider.dialects.translated import TranslatedFormat
from tests.dialects import claude as claude_tools
from tests.dialects import laws, test_converse, test_openai_body

ECHOES = {
    "us.amazon.nova-lite-v1:0": test_converse.echo,
    "us.meta.llama3-3-70b-instruct-v1:0": test_converse.echo,
    "us.anthropic.claude-sonnet-4-20250514-v1:0": claude_tools.echo,
    "openai.gpt-oss-20b-1:0": test_openai_body.echo,
}
NOVA = "us.amazon.nova-lite-v1:0"
CLAUDE = "claude-sonnet-4-5@20250929"
IDS = st.text(min_size=1, max_size=200) | st.sampled_from(["123", "1e5", "true", "a b:c", "r0000000001", "  x "])


class Plain(Dialect):
    """A dialect that changes nothing."""

    def request(self, body: JSON) -> JSON:
        return dict(body)

    def answer(self, output: JSON) -> JSON | Failure:
        return output


def asked(custom_id: str, body: JSON | None = None) -> BatchRequest:
    return BatchRequest(custom_id, CHAT, "m", body or {"messages": [{"role": "user", "content": "Hi"}]}, b"", 1)


def nova() -> LineFormat:
    return bedrock_format(bedrock_family(NOVA), NOVA, CHAT)


def claude() -> LineFormat:
    return vertex_format(vertex_family(CLAUDE), CLAUDE, CHAT)


def read(made: LineFormat, line: JSON, ids: tuple[str, ...] = ("id 1",)) -> BatchResult:
    return made.decode(orjson.dumps(line), Sent(ids))


def error(result: BatchResult) -> JSON:
    """The error of a result, wherever OpenAI keeps it."""
    line = orjson.loads(result.line)
    return dict(line["error"] or {**line["response"]["body"]["error"], "status": line["response"]["status_code"]})


# ---- Bedrock ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ECHOES)
@given(ids=st.lists(IDS, min_size=1, max_size=4, unique=True), body=laws.chat_bodies(tools=False, images=False))
def test_any_id_comes_back(model: str, ids: list[str], body: JSON) -> None:
    """Whatever a custom_id is, its row's answer finds it, in any order, and tells what the user said last."""
    made = bedrock_format(bedrock_family(model), model, CHAT)
    records = [orjson.loads(made.encode(asked(custom_id, body), position)) for position, custom_id in enumerate(ids)]
    assert [record["recordId"] for record in records] == [token(position) for position in range(len(ids))]
    found = []
    for record in reversed(records):
        result = read(made, {**record, "modelOutput": ECHOES[model](record["modelInput"])}, tuple(ids))
        assert result.outcome == "succeeded"
        line = orjson.loads(result.line)
        assert line["custom_id"] == result.custom_id
        assert line["response"]["body"]["choices"][0]["message"]["content"] == laws.last_words(body)
        assert (result.usage.input_tokens, result.usage.output_tokens) == (3, 2)
        found.append(result.custom_id)
    assert found == ids[::-1]


def test_length_does_not_depend_on_the_position() -> None:
    """A line is as long at the end of the largest shard as at its beginning."""
    assert len(nova().encode(asked("a"), 0)) == len(nova().encode(asked("a"), 99_999))


def test_error_of_a_record() -> None:
    """A 400 is the row's own fault and not asked again."""
    result = read(nova(), {"recordId": token(0), "error": {"errorCode": 400, "errorMessage": "bad request"}})
    assert (result.custom_id, result.outcome, result.retryable) == ("id 1", "failed", False)
    told = error(result)
    assert (told["status"], told["message"], told["code"]) == (400, "bad request", "400")


@pytest.mark.parametrize("code", [500, 429, "503"])
def test_passing_errors_are_asked_again(code: Any) -> None:
    """5xx and 429, numbers or texts, are worth another try."""
    result = read(nova(), {"recordId": token(0), "error": {"errorCode": code, "errorMessage": "later"}})
    assert (result.outcome, result.retryable) == ("failed", True)


@pytest.mark.parametrize(
    "told",
    [
        {"error": {"code": "ThrottlingException", "message": "slow down"}},
        {"error": {"__type": "ThrottlingException", "message": "slow down"}},
        {"error": [{"errorCode": "ThrottlingException", "errorMessage": "slow down"}]},
        {"errorCode": "ThrottlingException", "errorMessage": "slow down", "modelOutput": None},
        {"modelOutput": {"__type": "ThrottlingException", "message": "slow down"}},
        {"modelOutput": '{"errorCode": "ThrottlingException", "errorMessage": "slow down"}'},
    ],
)
def test_shapes_of_errors(told: JSON) -> None:
    """A21, B12: code and words are found in every shape that AWS writes errors in."""
    result = read(nova(), {"recordId": token(0), **told})
    assert (result.custom_id, result.outcome, result.retryable) == ("id 1", "failed", True)
    assert error(result) == {"code": "ThrottlingException", "message": "slow down"}


def test_answer_as_text() -> None:
    """An answer that stands as the text of a JSON object is not asked, and paid, again."""
    answer = ECHOES[NOVA]({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]})
    line = {"recordId": token(0), "modelOutput": orjson.dumps(answer).decode()}
    assert read(nova(), line).outcome == "succeeded"


@pytest.mark.parametrize("status", ["OK", "ok", {}, {"code": 0}, None, ""])
def test_status_that_says_all_is_well(status: Any) -> None:
    """A paid answer beside a status that names no fault is an answer."""
    response = claude_tools.echo({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]})
    assert read(claude(), {"custom_id": token(0), "status": status, "response": response}).outcome == "succeeded"


@pytest.mark.parametrize(
    ("told", "again"),
    [
        ({"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}, False),
        ({"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}, True),
        ({"response": {"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}}, True),
        ({"response": {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}}, False),
        ({"status": {"code": 14, "message": "no"}}, True),
        ({"status": {"code": 3, "message": "no"}}, False),
        ({"status": "generic::resource_exhausted: no"}, True),
        ({"status": "[ORIGINAL ERROR] generic::invalid_argument: no"}, False),
    ],
)
def test_faults_of_google(told: JSON, again: bool) -> None:
    """A21, B12: a fault is found in status, error and response, as text and as an object, and its words are kept."""
    model = "gemini-2.5-flash"
    made = vertex_format(vertex_family(model), model, CHAT)
    result = read(made, {"custom_id": token(0), "request": {}, **told})
    assert (result.custom_id, result.outcome, result.retryable) == ("id 1", "failed", again)
    assert error(result)["message"].endswith("no")


def test_error_inside_the_output() -> None:
    """Bedrock also puts errors where the answer should be."""
    output = {"errorCode": 400, "errorMessage": "URL sources are not supported", "expired": False, "retryable": False}
    result = read(nova(), {"recordId": token(0), "modelInput": {}, "modelOutput": output})
    assert (result.outcome, result.retryable) == ("failed", False)
    assert "URL sources" in error(result)["message"]


def test_expired_and_retryable_records() -> None:
    """``expired`` and ``retryable`` beside the code say what they mean."""
    expired = {"errorCode": 400, "errorMessage": "x", "expired": True, "retryable": False}
    assert read(nova(), {"recordId": token(0), "error": expired}).outcome == "expired"
    again = {"errorCode": "ThrottlingException", "errorMessage": "x", "retryable": True}
    assert read(nova(), {"recordId": token(0), "error": again}).retryable
    # The provider's word counts for more than its number.
    assert read(nova(), {"recordId": token(0), "error": {**again, "errorCode": 400}}).retryable


@pytest.mark.parametrize("output", [None, {}, "", [], "Too many requests, please wait before trying again"])
def test_no_output_is_a_failure_to_repeat(output: Any) -> None:
    """A record without output was not answered; nor was one with words of a refusal in its place."""
    result = read(nova(), {"recordId": token(0), "modelOutput": output, "error": None})
    assert (result.outcome, result.retryable) == ("failed", True)


def claude_line(**members: Any) -> JSON:
    return {**orjson.loads(claude().encode(asked("id 1"), 0)), "status": "", **members}


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (nova, {"recordId": token(0), "modelOutput": "The answer is yes."}),
        (nova, {"recordId": token(0), "modelResponse": {"output": {"message": {"content": [{"text": "yes"}]}}}}),
        (claude, claude_line(response="The answer is yes.")),
        (claude, claude_line(responses=[{"content": [{"type": "text", "text": "yes"}]}])),
        (claude, claude_line(prediction={"content": "yes"})),
    ],
)
def test_what_came_in_an_answers_place_is_not_paid_again(made: Callable[[], LineFormat], line: JSON) -> None:
    """It may be the answer, which was paid: it is reported with its words, and no round or try sends its row again."""
    result = read(made(), line)
    assert (result.outcome, result.retryable) == ("invalid", False)
    assert "yes" in error(result)["message"]


@pytest.mark.parametrize("record", [{"recordId": "CALL0000001"}, {"recordId": token(7)}, {"recordId": None}, {}])
def test_foreign_records_are_nobodys(record: JSON) -> None:
    """A record that is none of ours belongs to no row."""
    result = read(nova(), {**record, "modelOutput": {"output": {"message": {"content": []}}}})
    assert (result.custom_id, result.outcome) == (None, "invalid")


# ---- Vertex ----------------------------------------------------------------------------------------------------------


@given(ids=st.lists(IDS, min_size=1, max_size=3, unique=True))
def test_any_id_comes_back_from_vertex(ids: list[str]) -> None:
    """Claude on Vertex carries our token as its custom_id."""
    made = claude()
    for position, custom_id in enumerate(ids):
        line = orjson.loads(made.encode(asked(custom_id), position))
        assert line["request"]["anthropic_version"] == "vertex-2023-10-16"
        result = read(made, {**line, "response": claude_tools.echo(line["request"]), "status": ""}, tuple(ids))
        assert (result.custom_id, result.outcome) == (custom_id, "succeeded")


def test_response_as_a_text() -> None:
    """A response that was written as JSON text is read as what it says."""
    made = claude()
    line = orjson.loads(made.encode(asked("id 1"), 0))
    text = orjson.dumps(claude_tools.echo(line["request"])).decode()
    assert read(made, {**line, "response": text, "status": ""}).outcome == "succeeded"
    assert read(made, {**line, "response": "nonsense", "status": ""}).outcome == "invalid"


@pytest.mark.parametrize(
    ("status", "code", "again"),
    [
        ('Bad Request: {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}', 400, False),
        ('{"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}', 429, True),
        ("Something went wrong", None, False),
        ("half {a", None, False),
    ],
)
def test_status_of_a_failed_row(status: str, code: int | None, again: bool) -> None:
    """A failed row's ``status`` holds the error as text and JSON, or as anything."""
    result = read(claude(), {"custom_id": token(0), "request": {}, "response": None, "status": status})
    assert (result.outcome, result.retryable) == ("failed", again)
    told = error(result)
    assert told.get("status") == code
    assert told["message"] == ("no" if code else status)


def test_id_by_sibling_label_or_request() -> None:
    """Of Gemini's lines the id is the echoed sibling, else the label, else the request itself, each request once."""
    made = TranslatedFormat(Plain(), VertexRecord(labels=True))
    bodies = [{"contents": [{"parts": [{"text": text}]}]} for text in ("a", "b", "b")]
    ids = ["x", "y", "z"]
    wire = [
        made.encode(asked(custom_id, body), position)
        for position, (custom_id, body) in enumerate(zip(ids, bodies, strict=True))
    ]
    sent = Sent(ids, lambda: wire)
    response = {"candidates": []}

    def row(line: JSON) -> str | None:
        return made.decode(orjson.dumps({**line, "response": response, "status": ""}), sent).custom_id

    whole = orjson.loads(wire[1])
    assert row(whole) == "y"
    assert whole["request"]["labels"] == {ROW_LABEL: token(1)}
    assert row({"request": whole["request"]}) == "y"
    assert row({"instance": {"key": token(2)}}) == "z"
    # The importer adds nulls and turns keys around.
    part = {"functionCall": None, "text": "b"}
    bare = {"request": {"tools": None, "contents": [{"role": None, "parts": [part]}]}}
    assert [row(bare), row(bare), row(bare)] == ["y", "z", None]


# ---- both ------------------------------------------------------------------------------------------------------------


def test_endpoint_that_is_not_served() -> None:
    """A model is asked for what it does only."""
    with pytest.raises(ConfigurationError, match="embeddings"):
        bedrock_format(bedrock_family(NOVA), NOVA, EMBEDDINGS)
    with pytest.raises(ConfigurationError, match="chat"):
        vertex_format(vertex_family(CLAUDE), CLAUDE, EMBEDDINGS)


@given(st.binary(max_size=40) | laws.JSON_VALUES.map(orjson.dumps))
def test_any_line_can_be_read(line: bytes) -> None:
    """A line of nonsense is nobody's, and no exception."""
    for made in (nova(), claude()):
        assert made.decode(line, Sent(["a"])).custom_id is None


@given(laws.JSON_VALUES, laws.JSON_VALUES, laws.JSON_VALUES)
def test_any_envelope_can_be_read(one: Any, other: Any, third: Any) -> None:
    """Whatever stands beside a row's id gives a result of that row."""
    for record in (
        {"modelOutput": one, "error": other},
        {"modelOutput": {"errorCode": one, "errorMessage": other, "expired": third}},
        {"error": {"errorCode": one, "errorMessage": other, "retryable": third}},
    ):
        assert read(nova(), {"recordId": token(0), **record}).custom_id == "id 1"
    for status in (one, f"Bad: {orjson.dumps({'error': {'code': one, 'message': other, 'status': third}}).decode()}"):
        line = {"custom_id": token(0), "status": status, "response": other, "request": third, "instance": one}
        assert read(claude(), line).custom_id == "id 1"


def _deep(levels: int) -> JSON:
    value: JSON = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("model", ECHOES)
def test_depth(model: str) -> None:
    """What is nested deeper than JSON can be written is an error of the row, there and back."""
    made = bedrock_format(bedrock_family(model), model, CHAT)
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": _deep(900)}}
    body = {"messages": [{"role": "user", "content": "a"}], "response_format": schema}
    with pytest.raises(UntranslatableError):
        made.encode(asked("id 1", body), 0)
    # orjson reads a thousand levels and writes a quarter of them.
    text = json.dumps(_deep(900))
    call = f'{{"type": "tool_use", "id": "t", "name": "f", "input": {text}, "toolUse": {{"input": {text}}}}}'
    message = f'{{"tool_calls": {text}, "content": [{call}]}}'
    answer = f'{{"content": [{call}], "output": {{"message": {message}}}, "choices": [{{"message": {message}}}]}}'
    line = f'{{"recordId": "{token(0)}", "modelOutput": {answer}}}'.encode()
    result = made.decode(line, Sent(["id 1"]))
    assert (result.custom_id, result.outcome) == ("id 1", "invalid")


GOLDEN = sorted(Path(__file__).parent.joinpath("golden").glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_pairs(path: Path) -> None:
    """Hand-made pairs: the author's body and its wire line, the provider's output line and OpenAI's."""
    pair = orjson.loads(path.read_bytes())
    find, form = (bedrock_family, bedrock_format) if pair["cloud"] == "bedrock" else (vertex_family, vertex_format)
    made = form(find(pair["model"]), pair["model"], pair["endpoint"])
    request = BatchRequest("row 1", pair["endpoint"], pair["model"], pair["body"], b"", 1)
    assert orjson.loads(made.encode(request, 0)) == pair["wire"]
    sent = Sent(("row 1",), lambda: [orjson.dumps(pair["wire"])])
    found = orjson.loads(made.decode(orjson.dumps(pair["output"]), sent).line)
    if found["response"] and pair["result"]["response"]["body"].get("id") == "*":
        assert found["response"]["body"]["id"] == found["response"]["request_id"]
        found["response"]["body"]["id"] = found["response"]["request_id"] = "*"
    assert found == pair["result"]


def test_there_are_golden_pairs() -> None:
    """The directory is found, with a pair of each of Bedrock's dialects."""
    dialects = {"converse", "anthropic", "openai", "titan", "nova", "cohere", "text"}
    assert dialects <= {path.stem.partition("-")[0] for path in GOLDEN}


def test_bedrock_record_keeps_the_request_only_when_told() -> None:
    """The echoed request is handed on to the dialect that reads it, to no other."""
    line = {"recordId": token(0), "modelInput": {"a": 1}, "modelOutput": {"b": 2}}
    sent = Sent(["x"])
    assert BedrockRecord().open(line, sent).found == {"b": 2}
    assert BedrockRecord(echo=True).open(line, sent).found == {"b": 2, "modelInput": {"a": 1}}
