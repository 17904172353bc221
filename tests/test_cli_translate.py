"""``airflow-batch translate``: a provider's own lines from requests, and results from its output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_batch_provider.cli import main

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
IDS = ["row 1", "007", "grüß:\U0001f600", "x" * 200]


def request(custom_id: str, **body: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": f"say {custom_id}"}]
    body = {"model": "m", "messages": messages, "max_tokens": 9, **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def write(path: Path, lines: list[Any]) -> str:
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    return str(path)


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.split("\n")[:-1]]


@pytest.mark.parametrize(
    ("provider", "model", "names"),
    [
        ("bedrock", CLAUDE, {"recordId", "modelInput"}),
        ("bedrock_batch", "meta.llama3-1-8b-instruct-v1:0", {"recordId", "modelInput"}),
        ("vertex_ai", "gemini-2.5-flash", {"custom_id", "request"}),
        ("vertex_ai", "claude-haiku-4-5@20251001", {"custom_id", "request"}),
    ],
)
def test_there(provider: str, model: str, names: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output has one wire line a row, in input order, with our tokens, and nothing else."""
    path = write(tmp_path / "in.jsonl", [request(custom_id, max_tokens=20_000) for custom_id in IDS])
    assert main(["translate", "--to", provider, "--model", model, path]) == 0
    told = capsys.readouterr()
    wire = lines(told.out)
    assert [set(line) for line in wire] == [names] * len(IDS)
    assert [line.get("recordId", line.get("custom_id")) for line in wire] == [f"r{n:010d}" for n in range(len(IDS))]
    for custom_id, line in zip(IDS, wire, strict=True):
        assert f"say {custom_id}" in json.dumps(line, ensure_ascii=False)
    assert told.err == ""


AXES = [[float(place == axis) for place in range(4)] for axis in range(4)]
"""Vectors of length 1."""


def test_rows_of_several_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list of texts is a record each with Titan; back they are one result, and a part that is gone fails its row."""
    model = "amazon.titan-embed-text-v2:0"
    asked = [("a", ["x", "y"]), ("b", "z"), ("c", ["u", "v"])]
    rows = [{"custom_id": one, "url": "/v1/embeddings", "body": {"input": texts}} for one, texts in asked]
    path = write(tmp_path / "in.jsonl", rows)
    assert main(["translate", "--to", "bedrock", "--model", model, path]) == 0
    wire = lines(capsys.readouterr().out)
    assert [line["modelInput"]["inputText"] for line in wire] == ["x", "y", "z", "u", "v"]
    answers = [
        {**line, "modelOutput": {"embedding": AXES[number], "inputTextTokenCount": 1}}
        for number, line in enumerate(wire[:4])
    ]
    output = write(tmp_path / "out.jsonl", answers[::-1])
    back = ["translate", "--from", "bedrock", "--model", model, "--endpoint", "/v1/embeddings"]
    assert main([*back, "--requests", path, output]) == 0
    found = lines(capsys.readouterr().out)
    assert [line["custom_id"] for line in found] == ["a", "b", "c"]
    vectors = [[item["embedding"] for item in line["response"]["body"]["data"]] for line in found[:2]]
    assert vectors == [[AXES[0], AXES[1]], [AXES[2]]]
    assert found[2]["error"]["code"] == "missing"


def test_refused_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that cannot be said is told on standard error by line and field; the others come out; the end is 1."""
    rows = [request("a"), request("b", n=2), request("c", logprobs=True), request("d", seed=1), request("d")]
    path = write(tmp_path / "in.jsonl", rows)
    assert main(["translate", "--to", "bedrock", "--model", CLAUDE, path]) == 1
    told = capsys.readouterr()
    assert [line["modelInput"]["messages"][-1]["content"][0]["text"] for line in lines(told.out)] == ["say a", "say d"]
    assert [line["recordId"] for line in lines(told.out)] == ["r0000000000", "r0000000001"]
    problems = told.err.splitlines()
    assert any(problem.startswith("warning: body.seed: left out") for problem in problems)
    for number, field in ((2, "body.n"), (3, "body.logprobs"), (5, "custom_id")):
        assert any(f"in.jsonl: line {number}, {field}:" in problem for problem in problems)
    assert problems[-1] == "3 problems"


def test_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Output lines come back in OpenAI's format, with the custom_ids of the requests where those are given."""
    requests = write(tmp_path / "in.jsonl", [request(custom_id) for custom_id in IDS])
    answers = [
        {
            "recordId": f"r{number:010d}",
            "modelInput": {},
            "modelOutput": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude",
                "content": [{"type": "text", "text": f"hi {number}"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 3, "output_tokens": 2},
            },
        }
        for number in reversed(range(len(IDS)))
    ]
    answers.append({"recordId": "CALL0000001", "modelInput": {}, "error": {"errorCode": 400, "errorMessage": "bad"}})
    output = write(tmp_path / "x.jsonl.out", answers)
    assert main(["translate", "--from", "bedrock", "--model", CLAUDE, output]) == 0
    told = lines(capsys.readouterr().out)
    assert [line["custom_id"] for line in told] == [*(f"r{n:010d}" for n in (3, 2, 1, 0)), "CALL0000001"]
    assert told[0]["response"]["body"]["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "hi 3", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert told[-1]["response"]["status_code"] == 400

    assert main(["translate", "--from", "bedrock", "--model", CLAUDE, "--requests", requests, output]) == 1
    told_again = capsys.readouterr()
    assert [line["custom_id"] for line in lines(told_again.out)] == list(reversed(IDS))
    assert "x.jsonl.out: line 5:" in told_again.err

    (tmp_path / "odd.jsonl").write_text(json.dumps(request("a")) + "\n\n")
    assert (
        main(["translate", "--from", "bedrock", "--model", CLAUDE, "--requests", f"{tmp_path}/odd.jsonl", output]) == 1
    )
    assert "odd.jsonl: line 2, custom_id" in capsys.readouterr().err


def test_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reading back needs a model, and a model that nobody knows is told with the remedy."""
    path = write(tmp_path / "in.jsonl", [request("a")])
    assert main(["translate", "--from", "bedrock", path]) == 2
    assert "--model is missing" in capsys.readouterr().err
    assert main(["translate", "--to", "bedrock", "--model", "acme.unheard", path]) == 2
    assert "model_families" in capsys.readouterr().err
