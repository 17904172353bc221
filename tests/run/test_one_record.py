"""One record of a line: what the loader counts and what the reader sees are made of it, and nothing is parsed again."""

import json
import random

import orjson
import pytest

from airflow_batch_provider.core import answers
from airflow_batch_provider.core.answers import read_answer
from airflow_batch_provider.core.records import Shard
from airflow_batch_provider.dialects import openai
from airflow_batch_provider.dialects.base import Sent
from airflow_batch_provider.dialects.openai import error_line, read_line, without_unusable
from airflow_batch_provider.dialects.torn import decoded
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.transfers.columns import Extras
from airflow_batch_provider.transfers.rows import EndedRun
from tests.run.test_mutated_lines import FAMILIES, spoil, stage

SEED = 20261128


def choice(content, finish_reason="stop", **message):
    return {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish_reason}


def call(name):
    return {"id": name, "type": "function", "function": {"name": name, "arguments": '{"a": 1}'}}


BODIES = {
    "usable": {"choices": [choice("yes")], "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    "empty": {"choices": [choice("")]},
    "cut": {"choices": [choice("ye", "length")]},
    "refused": {"choices": [choice(None, refusal="I will not")]},
    "filtered": {"choices": [choice(None, "content_filter")]},
    "media": {"choices": [choice(None, images=[{"image_url": {"url": "data:image/png;base64,AA=="}}])]},
    "sound": {"choices": [choice(None, audio={"id": "a", "data": "AA==", "transcript": "spoken"})]},
    "one tool call": {"choices": [choice(None, "tool_calls", tool_calls=[call("f")])]},
    "tool calls": {"choices": [choice(None, "tool_calls", tool_calls=[call("f"), call("g")])]},
    "malformed": {"choices": [choice("{", "MALFORMED_FUNCTION_CALL")]},
    "native word": {"choices": [choice("yes", "MAX_TOKENS")]},
    "completion": {"choices": [{"index": 0, "text": "yes", "finish_reason": "stop"}]},
    "response": {
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "yes"}]}],
        "usage": {"input_tokens": 1, "output_tokens": 2},
    },
    "response refused": {
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}],
    },
    "response cut": {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": []},
    "response failed": {"status": "failed", "output": [], "error": {"code": "server_error", "message": "m"}},
    "embedding": {"data": [{"index": 0, "embedding": [0.5, 1e-9]}], "usage": {"prompt_tokens": 1}},
    "no embedding": {"data": [{"index": 0, "embedding": []}]},
    "moderation": {"results": [{"flagged": False}]},
    "nothing": {},
}
ERRORS = [None, "", "boom", {"code": "429", "message": "slow"}, {"code": "batch_expired", "message": "late"}]
STRANGE = [
    error_line("row 1", "missing", "no line"),
    b'{"custom_id": "row 1", "response": {"status_code": 200, "body": {"choices": [{"text": NaN}]}}}',
    b'{"custom_id": "row 1", "response": {"status_code": 200, "body": {"choices": [{"text": "\\ud800"}]}}},',
    b'{"custom_id": 1, "response": {"choices": [{"text": "a body alone"}]}}',
    b'{"custom_id": "row 1", "response": {"status_code": "500", "body": false}, "error": ""}',
    b'{"custom_id": "row 1", "response": {"status_code": 400, "body": "{\\"error\\": {\\"message\\": \\"no\\"}}"}}',
]


def lines_of(number):
    """An answer of each kind, and each beside an error."""
    for status in (200, 400):
        for body in BODIES.values():
            for error in ERRORS:
                response = {"status_code": status, "request_id": "r", "body": body}
                yield json.dumps({"custom_id": f"row {number}", "response": response, "error": error}).encode()
    yield from STRANGE


def check(result):
    """What the record carries is what stands in its line, so that each view is the one of whoever reads that anew."""
    if result.custom_id is None:
        assert result.data == {}
        with pytest.raises(ValueError, match="not an output line"):
            read_answer(result)
        return
    assert result.data == orjson.loads(result.line)
    again = read_line(result.line)
    assert (again, again.data, again.content) == (result, result.data, result.content)
    assert read_answer(again) == read_answer(result)
    response = result.data["response"] or {}
    assert result.content == answers.read_content(response.get("body") or {})


@pytest.mark.parametrize("name", FAMILIES)
def test_both_views_are_of_one_record_in_every_dialect(tmp_path, name):
    """Good, refused and spoiled lines of each provider, as they are collected."""
    print(f"seed {SEED}")
    rng = random.Random(f"{SEED} {name}")
    family = FAMILIES[name]()
    shard = Shard(0, 0, 250, 0, "m", family.endpoint, rewritten=True)
    directory = RunDirectory(str(tmp_path))
    ids, wire = stage(directory, family, shard)
    sent = Sent(ids, lambda: directory.read(f"shards/{shard.name}.jsonl").split(b"\n"))
    good = [family.output(rng, line) for line in wire]
    lines = [orjson.dumps(line) for line in good] + [spoil(rng, line, good) for line in good * 3]
    known = 0
    for result in decoded(family.format, lines, sent):
        known += result.custom_id is not None
        check(result)
        check(without_unusable(result))
    assert known >= len(good)


def test_both_views_are_of_one_record_for_every_kind_of_answer():
    for raw in lines_of(1):
        result = read_line(raw)
        check(result)
        check(without_unusable(result))


def loaded(directory):
    ended = EndedRun(directory, "key", 1, None, "openai_batch", {"r0-00000": {"id": "job", "model": "m"}})
    return list(ended.rows(Extras(), lambda _: None))


def counting(monkeypatch, module, name, counted):
    before = getattr(module, name)

    def call_through(given, *args, **kwargs):
        counted.append(given)
        return before(given, *args, **kwargs)

    monkeypatch.setattr(module, name, call_through)


def test_a_line_is_parsed_and_classified_once_on_its_way_to_a_table(tmp_path, monkeypatch):
    directory = RunDirectory(str(tmp_path))
    for body in BODIES.values():
        response = {"status_code": 200, "request_id": "r", "body": body}
        raw = read_line(orjson.dumps({"id": None, "custom_id": "a", "response": response, "error": None})).line
        directory.write("results/part-r0-00000.jsonl", raw + b"\n")
        parsed = []
        classified = []
        with monkeypatch.context() as patched:
            for module in (orjson, json):
                counting(patched, module, "loads", parsed)
            for module in (answers, openai):
                counting(patched, module, "read_content", classified)
            rows = loaded(directory)
        assert len(rows) == 1
        assert parsed == [raw]
        # An error beside a body is weighed against it, see ``holds_answer``.
        assert len(classified) <= 1 or orjson.loads(raw)["error"] is not None
