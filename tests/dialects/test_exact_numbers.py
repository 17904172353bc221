"""X21: what is written again keeps the characters of its numbers, and a body nested too deeply is named by its line."""

import json
import re

import orjson
import pytest

from airflow_batch_provider.core.jsonl import load_exactly
from airflow_batch_provider.core.records import BatchRequest, Limits, ModelRules
from airflow_batch_provider.core.validation import Rules, parse_line, validate
from airflow_batch_provider.dialects.openai import OpenAIFormat

CHAT = "/v1/chat/completions"
NUMBERS = ["0.10", "1e2", "1E+2", "-0.0", "-0", "123456789012345678901234567890", "0.1000000000000000055511", "5e-324"]


def line(number: str, text: str = "Grüße 🎈") -> bytes:
    message = json.dumps(text, ensure_ascii=False)
    return (
        f'{{"custom_id": "a", "method": "POST", "url": "{CHAT}", "body": {{"model": "m", "seed": {number}, '
        f'"messages": [{{"role": "user", "content": {message}}}]}}}}'
    ).encode()


def request(raw: bytes) -> BatchRequest:
    rules = Rules(ModelRules(override="other"), Limits(10, 10_000, "test", (CHAT,)))
    parsed = parse_line(1, raw, rules)
    assert isinstance(parsed, BatchRequest)
    return parsed


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_numbers_of_a_line_that_is_written_anew_are_the_authors(number, ascii_only):
    wire = OpenAIFormat("other", CHAT, ascii_only=ascii_only).encode(request(line(number)), 0)
    assert re.search(rb'"seed":([^,]+),', wire)[1].decode() == number
    body = orjson.loads(wire)["body"]
    assert body["model"] == "other"
    assert body["messages"][0]["content"] == "Grüße 🎈"
    assert wire.isascii() is ascii_only


@pytest.mark.parametrize("number", NUMBERS)
def test_failed_requests_keep_them_too(number):
    again = orjson.dumps({**load_exactly(line(number)), "error": {"code": "x"}})
    assert f'"seed":{number},'.encode() in again


@pytest.mark.parametrize("depth", [260, 900, 1100, 100_000])
@pytest.mark.parametrize("model", [None, "other"])
def test_a_body_nested_too_deeply_is_a_problem_of_its_line(depth, model):
    raw = line("1").replace(b'"seed": 1', b'"seed": ' + b"[" * depth + b"]" * depth)
    rules = Rules(ModelRules(override=model), Limits(10, 1_000_000, "test", (CHAT,)))
    report = validate(
        enumerate([line("1").replace(b'"a"', b'"b"'), raw], 1), "in", rules, lambda *_: OpenAIFormat(model, CHAT)
    )
    assert [(problem.line, report.problem_count) for problem in report.problems] == [(2, 1)]
    assert re.search("nested more than 250 levels", report.problems[0].message)
