"""The embedded server finds what OpenAI finds in an input file, and names the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_batch_provider.local.checking import check_file
from airflow_batch_provider.local.policy import Policy
from tests.local.serving import CHAT, jsonl, lines_of, request, requests, served, submit, wait

GOOD = json.dumps(request("good")).encode()


def line(**changes: Any) -> bytes:
    whole = {**request("second"), **changes}
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("second", "code", "param"),
    [
        (b"", "invalid_json_line", None),
        (b"# a comment", "invalid_json_line", None),
        (b"[1, 2]", "invalid_json_line", None),
        (b'{"custom_id": "x"', "invalid_json_line", None),
        (GOOD, "duplicate_custom_id", "custom_id"),
        (line(custom_id=...), "missing_required_parameter", "custom_id"),
        (line(custom_id=""), "missing_required_parameter", "custom_id"),
        (line(custom_id=7), "invalid_type", "custom_id"),
        (line(method=...), "missing_required_parameter", "method"),
        (line(method="GET"), "invalid_method", "method"),
        (line(url=...), "missing_required_parameter", "url"),
        (line(url="/v1/nothing"), "invalid_url", "url"),
        (line(url=5), "invalid_url", "url"),
        (line(url="/v1/embeddings"), "url_mismatch", "url"),
        (line(body=...), "missing_required_parameter", "body"),
        (line(body=[]), "invalid_type", "body"),
        (line(body={"messages": []}), "missing_required_parameter", "body.model"),
        (line(body={"model": "other", "messages": []}), "mismatched_model", "body.model"),
    ],
)
def test_each_problem_is_named_by_line(tmp_path: Path, second: bytes, code: str, param: str | None) -> None:
    """A bad second line is one problem, with its code, its line and its parameter."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(GOOD + b"\n" + second + b"\n" + json.dumps(request("third")).encode())
    problems = check_file(path, CHAT, Policy()).problems
    assert [(item["code"], item["line"], item["param"]) for item in problems] == [(code, 2, param)]


def test_all_problems_are_reported_up_to_a_limit(tmp_path: Path) -> None:
    """Every bad line is reported, in order, until the list is as long as it may be."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n".join([b"x"] * 30))
    problems = check_file(path, CHAT, Policy(max_problems=20)).problems
    assert [item["line"] for item in problems] == list(range(1, 21))


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_good_files(tmp_path: Path, end: bytes) -> None:
    """CRLF, a missing last end of line, and U+2028 inside a string are no problem."""
    path = tmp_path / "in.jsonl"
    raw = json.dumps(request("a", "one\u2028two\u0085"), ensure_ascii=False).encode()
    path.write_bytes(raw + (end or b"\n") + GOOD + end)
    found = check_file(path, CHAT, Policy())
    assert (found.total, found.problems, found.model) == (2, [], "echo")


def test_a_byte_order_mark_is_a_bad_line(tmp_path: Path) -> None:
    """A BOM makes the first line unreadable, as it does at OpenAI."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD)
    assert check_file(path, CHAT, Policy()).problems[0]["code"] == "invalid_json_line"


def test_limits(tmp_path: Path) -> None:
    """An empty file, one request too many, a file too large and too many embedding inputs each fail the file."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"")
    assert [item["code"] for item in check_file(path, CHAT, Policy()).problems] == ["empty_file"]
    path.write_bytes(jsonl(requests(50_001)))
    assert [item["code"] for item in check_file(path, CHAT, Policy()).problems] == ["too_many_tasks"]
    path.write_bytes(jsonl(requests(50_000)))
    assert check_file(path, CHAT, Policy()).total == 50_000
    assert [item["code"] for item in check_file(path, CHAT, Policy(max_batch_bytes=100)).problems] == ["file_too_large"]
    embed = "/v1/embeddings"
    lines = [
        {"custom_id": str(n), "method": "POST", "url": embed, "body": {"model": "m", "input": ["x"] * 30_000}}
        for n in range(2)
    ]
    path.write_bytes(jsonl(lines))
    assert [item["line"] for item in check_file(path, embed, Policy()).problems] == [2]


def test_a_bad_file_fails_the_batch_and_nothing_runs(tmp_path: Path) -> None:
    """A failed batch tells its errors, has no output, no counts, and no row was asked."""
    with served(tmp_path) as client:
        batch = wait(client, submit(client, GOOD + b"\n# comment\n\n").id)
        assert batch.status == "failed"
        assert [(item.code, item.line) for item in batch.errors.data] == [
            ("invalid_json_line", 2),
            ("invalid_json_line", 3),
        ]
        assert (batch.output_file_id, batch.error_file_id, batch.in_progress_at) == (None, None, None)
        assert batch.failed_at >= batch.created_at
        assert batch.request_counts.model_dump() == {"total": 0, "completed": 0, "failed": 0}


def test_a_model_that_the_server_does_not_have(tmp_path: Path) -> None:
    """Where the server knows its models, another one fails the file."""
    with served(tmp_path, models=frozenset({"other"})) as client:
        batch = wait(client, submit(client, GOOD).id)
        assert [item.code for item in batch.errors.data] == ["model_not_found"]
        assert lines_of(client, batch.output_file_id) == []
