"""The command line: what it prints where, and how it ends."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_batch_provider.cli import main
from airflow_batch_provider.connections import connection_types
from airflow_batch_provider.testing.provider import FakeProvider

HOOKS = {name: row.hook_path for name, row in connection_types().items()}


def request(custom_id: str, model: str | None = "m", url: str = "/v1/chat/completions") -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": custom_id}], "input": "x"} | ({"model": model} if model else {})
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


@pytest.fixture
def requests_file(tmp_path: Path) -> Path:
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(request(str(i), model)) + "\n" for i, model in enumerate("mmn")))
    return path


MODELS = {
    "bedrock_batch": ("meta.llama3-1-8b-instruct-v1:0", "amazon.nova-lite-v1:0"),
    "vertex_ai_batch": ("gemini-2.5-flash", "claude-haiku-4-5@20251001"),
}


@pytest.mark.parametrize("conn_type", sorted(HOOKS))
def test_every_connection_type_can_be_planned_for(
    conn_type: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each connection type has limits without a connection; a shard has one model."""
    one, other = MODELS.get(conn_type, ("m", "n"))
    path = tmp_path / "requests.jsonl"
    rows = [one] * 200 + [other] * 100
    requests = [request(str(number), model) for number, model in enumerate(rows)]
    for line in requests:
        line["body"].pop("input")
    path.write_text("".join(json.dumps(line) + "\n" for line in requests))
    assert main(["plan", str(path), "--to", conn_type, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [(shard["name"], shard["model"], shard["rows"]) for shard in plan["shards"]] == [
        ("r0-00000", one, 200),
        ("r0-00001", other, 100),
    ]
    assert (plan["rows"], plan["to"]) == (300, conn_type)


def test_a_plan_to_read(requests_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan is a table of shards with wave, rows, bytes and tokens, a total, and what it may cost."""
    prices = json.dumps({"big": {"input": 3.0, "output": 6000.0}})
    more = ["--prices", prices, "--max-jobs-in-flight", "1", "--expected-output-tokens", "10"]
    assert main(["plan", str(requests_file), "--to", "openai_batch", "--model", "big", *more]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    size = sum(len(json.dumps(request(str(i), "big"), separators=(",", ":"))) + 1 for i in range(3))
    tokens, most = lines[1][-1], lines[3][3]
    assert int(most.replace(",", "")) > 2 * int(tokens.replace(",", ""))
    assert lines == [
        ["shard", "model", "endpoint", "wave", "rows", "bytes", "likely", "tokens"],
        ["r0-00000", "big", "/v1/chat/completions", "1", "3", str(size), tokens],
        ["total", "1", "3", str(size), tokens],
        ["tokens:", str(int(tokens) // 3), "to", most, "in,", "output", "unbounded"],
        ["cost:", "0.0002", "to", f"{int(most) * 3 / 1e6 + 0.18:.4f}", "USD,", "each", "row", "sent", "once"],
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], 'cost: unknown: no price is known for big; add one to the connection\'s field "prices"'),
        (["--prices", '{"*": {"input": 1, "output": 2}}'], "cost: unknown: 3 rows set no max_tokens"),
    ],
)
def test_a_cost_that_is_unknown(
    requests_file: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    """What nobody knows is unknown, with the remedy, and null in JSON."""
    asked = ["plan", str(requests_file), "--to", "openai_batch", "--model", "big", *more]
    assert main(asked) == 0
    assert said in capsys.readouterr().out
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost_usd"] is None


def test_prices_that_are_none(requests_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prices that are no JSON are misuse, told by the option's name."""
    assert main(["plan", str(requests_file), "--to", "openai_batch", "--prices", "cheap"]) == 2
    assert "--prices is not valid JSON" in capsys.readouterr().err


def test_a_valid_file(requests_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file without problems ends with 0 and one line, gzipped or not."""
    packed = requests_file.with_name("requests.jsonl.gz")
    packed.write_bytes(gzip.compress(requests_file.read_bytes()))
    assert main(["validate", str(packed), "--to", "openai_batch"]) == 0
    assert capsys.readouterr().out == f"{packed}: no problems for openai_batch; 3 rows, 2 jobs\n"


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_every_problem_by_line(command: str, requests_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All problems, not the first twenty, go to standard error by line; the end is 1 and nothing else is printed."""
    with requests_file.open("a") as stream:
        stream.write("\n# comment\n" + "".join(json.dumps(request("0")) + "\n" for _ in range(30)))
    assert main([command, str(requests_file), "--to", "openai_batch"]) == 1
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert told.out == ""
    assert lines[0].startswith(f"{requests_file}: line 4: the line is blank")
    assert lines[1].startswith(f"{requests_file}: line 5: JSON Lines allow no comments")
    assert (
        lines[31]
        == f"{requests_file}: line 35, custom_id: '0' is already used on line 1; ids must be unique in the file"
    )
    assert lines[32:] == ["32 problems"]


def test_more_problems_than_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beyond a thousand, problems are counted and not shown."""
    path = tmp_path / "bad.jsonl"
    path.write_text("x\n" * 1500)
    assert main(["validate", str(path), "--to", "openai_batch"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1002
    assert lines[-2:] == [f"{path}: ... and 500 more", "1,500 problems"]


def test_the_connection_type_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same file may be good for one connection type and not for another, or for a gateway over another provider."""
    path = tmp_path / "embeddings.jsonl"
    path.write_text(json.dumps(request("a", url="/v1/embeddings")) + "\n")
    assert main(["validate", str(path), "--to", "truefoundry_batch"]) == 0
    for extra in (["--to", "azure_openai_batch"], ["--to", "truefoundry_batch", "--behind", "azure_openai"]):
        assert main(["validate", str(path), *extra]) == 1
        assert "'/v1/embeddings' is not an endpoint of this connection" in capsys.readouterr().err


def test_what_the_operator_would_be_given(tmp_path: Path) -> None:
    """Model and endpoint may come from the options, as in the operator."""
    path = tmp_path / "bare.jsonl"
    path.write_text(json.dumps({"custom_id": "a", "body": {"messages": [{"role": "user", "content": "x"}]}}) + "\n")
    arguments = ["validate", str(path), "--to", "openai_batch"]
    assert main(arguments) == 1
    assert main([*arguments, "--model", "m", "--endpoint", "/v1/chat/completions"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.jsonl", "--to", "openai_batch"], 1, "absent.jsonl: file: there is no such file"),
        (["x.jsonl", "--to", "nobody"], 2, "unknown connection type 'nobody'; use one of azure_openai_batch"),
        (["x.jsonl", "--to", "openai_batch", "--behind", "x"], 2, "'behind'"),
        (["abfs://c/x.jsonl", "--to", "openai_batch"], 2, "pip install 'airflow-batch-provider[abfs]'"),
    ],
)
def test_misuse(arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that cannot work says why, on standard error, without a traceback."""
    assert main(["validate", *arguments]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["validate", "x.jsonl"], ["check"]])
def test_usage(arguments: list[str]) -> None:
    """Arguments that do not fit end with 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A connection that works ends with 0; one with a wrong key, or nobody there, with 1 and the reason."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    with FakeProvider() as provider:
        for password, code in ((provider.api_key, 0), ("wrong", 1)):
            connection = {"conn_type": "openai_batch", "host": provider.base_url, "password": password}
            monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps(connection))
            assert main(["check", "mine"]) == code
    assert main(["check", "mine"]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("mine: ")
    assert [line.split(":")[0] for line in told.err.splitlines()] == ["mine", "mine"]
    assert "wrong" not in told.err


CHECKS = """
import sys
out, sys.stdout = sys.stdout, sys.stderr  # airflow logs to what this is when it is imported
from airflow.models import Connection
from airflow.utils.session import create_session
from airflow_batch_provider.cli import main
with create_session() as session:
    session.add(Connection(conn_id="mine", conn_type="openai_batch", host=sys.argv[1], password="fake-key"))
sys.stdout = out
print(main(["check", "mine"]), main(["check", "yours"]))
"""


def test_check_finds_what_the_database_holds(tmp_path: Path, migrate: Callable[[Path], None]) -> None:
    """A connection made in the UI, which lies in Airflow's database, is found; an unknown one is told as such."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    environment |= {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    migrate(tmp_path)
    with FakeProvider(api_key="fake-key") as provider:
        told = python("-c", CHECKS, provider.base_url)
    seen, codes = told.stdout.splitlines()
    assert seen.startswith("mine: ")
    assert codes == "0 1"
    assert "yours: there is no such connection" in told.stderr
    assert "Traceback" not in told.stderr


def test_serve_is_the_local_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`serve` hands over to the embedded server, whose refusals end with 2."""
    arguments = ["serve", "--engine", "echo", "--data-dir", str(tmp_path), "--host", "0.0.0.0", "--no-token"]
    assert main(arguments) == 2
    assert "remove --no-token" in capsys.readouterr().err


def test_help_needs_no_airflow() -> None:
    """Nothing heavy is imported before a command needs it."""
    code = (
        "import sys, airflow_batch_provider.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'airflow', 'openai', 'uvicorn', 'pydantic'} & sys.modules.keys()))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
