"""A Batch API over somebody else's real-time endpoint: a second server of ours, and one that misbehaves as told."""

from __future__ import annotations

import asyncio
import collections
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from airflow_batch_provider.local.engines.base import CHAT, EMBEDDINGS, RESPONSES
from airflow_batch_provider.local.engines.upstream import UpstreamEngine
from airflow_batch_provider.local.server import LocalServer
from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator
from tests.airflow.world import TaskInstance, resume, rows, write
from tests.local.serving import Process, client_of, jsonl, lines_of, request, requests, served, submit, wait

KEY = "upstream-key-Qm7x4Vt9"


def over(data_dir: Path, upstream: str, *options: str) -> Process:
    """``airflow-batch serve --engine upstream`` as a process of its own."""
    named = ("--engine", "upstream", "--upstream", upstream, "--upstream-key-env", "UP_KEY")
    return Process(data_dir, *named, *options, env={"UP_KEY": KEY})


class Endpoint:
    """A real-time endpoint that answers each text as it was told, and counts."""

    def __init__(self) -> None:
        self.turns: dict[str, list[Response]] = {}
        self.calls: collections.Counter[str] = collections.Counter()
        self.times: dict[str, list[float]] = collections.defaultdict(list)
        self.keys: set[str] = set()
        self.most_at_once = self._now = 0
        self.latency = 0.0
        self.server = LocalServer(Starlette(routes=[Route(CHAT, self._chat, methods=["POST"])]))

    async def _chat(self, http: Request) -> Response:
        body = await http.json()
        text = body["messages"][-1]["content"]
        self.calls[text] += 1
        self.times[text].append(time.monotonic())
        self.keys.add(http.headers.get("authorization", ""))
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await asyncio.sleep(self.latency)
        finally:
            self._now -= 1
        turns = self.turns.get(text, [])
        if turns:
            return turns.pop(0) if len(turns) > 1 else turns[0]
        message = {"role": "assistant", "content": text}
        return JSONResponse({"model": body["model"], "choices": [{"message": message}], "usage": {}})


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    told = Endpoint()
    with told.server:
        yield told


def error(status: int, message: str = "no", **headers: str) -> Response:
    return JSONResponse({"error": {"message": message, "code": "told"}}, status, headers)


def by_id(client: Any, batch: Any) -> dict[str, tuple[int, Any]]:
    """Status and body of every row of both files."""
    lines = [*lines_of(client, batch.output_file_id), *lines_of(client, batch.error_file_id)]
    assert len({line["custom_id"] for line in lines}) == len(lines)
    return {line["custom_id"]: (line["response"]["status_code"], line["response"]["body"]) for line in lines}


# ---- a second server of ours -----------------------------------------------------------------------------------------


def lines_for(url: str, count: int) -> list[dict[str, Any]]:
    texts = [f"text {number} grüß \u2028 \U0001f600" for number in range(count)]
    field = "input" if url != CHAT else "messages"
    return [
        {
            "custom_id": f"row-{number}",
            "method": "POST",
            "url": url,
            "body": {"model": "m", field: text if url != CHAT else [{"role": "user", "content": text}]},
        }
        for number, text in enumerate(texts)
    ]


def test_rows_are_equal(tmp_path: Path) -> None:
    """A batch over the second server gives row by row what the same batch on that server gives, on each endpoint; its
    token is asked for and sent."""
    with (
        Process(tmp_path / "one", "--engine", "echo", "--token", KEY) as one,
        over(tmp_path / "two", one.base_url) as two,
    ):
        direct, through = client_of(one.base_url, KEY), client_of(two.base_url)
        for url in (CHAT, EMBEDDINGS, RESPONSES):
            found = []
            for client in (direct, through):
                batch = wait(client, submit(client, jsonl(lines_for(url, 100)), url).id)
                assert (batch.status, batch.request_counts.completed) == ("completed", 100)
                found.append(by_id(client, batch))
            assert found[0] == found[1]
            assert found[0]["row-7"][0] == 200
        assert through.models.list().data[0].id == "echo"


def test_a_dag_over_a_second_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``local_batch`` connection to the one in front is all that a DAG needs."""
    with (
        Process(tmp_path / "one", "--engine", "echo", "--token", KEY) as one,
        over(tmp_path / "two", one.base_url, "--token", "front-token") as two,
    ):
        connection = {"conn_type": "local_batch", "host": two.base_url, "password": "front-token"}
        monkeypatch.setenv("AIRFLOW_CONN_FRONT", json.dumps(connection))
        task = BatchInferenceOperator(
            task_id="task",
            input_path=write(tmp_path / "in.jsonl", requests(30)),
            output_path=str(tmp_path / "run"),
            conn_id="front",
            poll_interval=0.05,
            retries=3,
        )
        told, _ = resume(task, {"ti": TaskInstance()})
        assert (told["total"], told["succeeded"]) == (30, 30)
        assert [row[0] for row in rows(told["run_path"])] == [f"row-{number}" for number in range(30)]


def test_the_wrong_key_is_told_on_every_row(tmp_path: Path) -> None:
    """A second server that wants another key refuses each row, once: asking again helps nobody."""
    with (
        Process(tmp_path / "one", "--engine", "echo", "--token", "another") as one,
        over(tmp_path / "two", one.base_url) as two,
    ):
        client = client_of(two.base_url)
        found = by_id(client, wait(client, submit(client, jsonl(requests(5))).id))
        assert {status for status, _ in found.values()} == {401}
        assert found["row-0"][1]["error"]["code"] == "invalid_api_key"


def test_killed_in_the_middle(tmp_path: Path, endpoint: Endpoint) -> None:
    """After ``kill -9`` the batch goes on; only rows that were under way are asked a second time."""
    endpoint.latency = 0.02
    with over(tmp_path / "data", endpoint.server.base_url, "--slots", "4") as first:
        client = client_of(first.base_url)
        batch_id = submit(client, jsonl(requests(120))).id
        while len(endpoint.calls) < 40:
            time.sleep(0.01)
        first.end(signal.SIGKILL)
    with over(tmp_path / "data", endpoint.server.base_url, "--slots", "4") as second:
        client = client_of(second.base_url)
        found = by_id(client, wait(client, batch_id))
    assert {status for status, _ in found.values()} == {200}
    assert len(found) == len(endpoint.calls) == 120
    assert max(endpoint.calls.values()) <= 2
    assert sum(endpoint.calls.values()) - 120 <= 4


# ---- one that misbehaves ---------------------------------------------------------------------------------------------


def test_each_row_gets_what_it_can(tmp_path: Path, endpoint: Endpoint) -> None:
    """429 and 5xx are asked again, a bounded number of times; other 4xx are the row's answer at once; a gateway's error
    in a 200 is one. The rows beside them are answered."""
    endpoint.turns = {
        "busy": [error(429, **{"retry-after": "0"}), error(429), JSONResponse({"choices": [1]})],
        "down": [error(500, "out of order")],
        "page": [PlainTextResponse("<html>bad gateway</html>", 502)],
        "long": [error(400, "too long")],
        "late": [JSONResponse({"error": {"code": 429, "message": "overloaded"}}), JSONResponse({"choices": [2]})],
        "odd": [JSONResponse({"error": {"code": "provider_error", "message": "cut"}})],
        "away": [error(302, location="http://127.0.0.1:9/v1")],
    }
    with served(tmp_path, UpstreamEngine(endpoint.server.base_url), attempts=3) as client:
        lines = [request(text, text) for text in (*endpoint.turns, "fine")]
        batch = wait(client, submit(client, jsonl(lines)).id)
        found = by_id(client, batch)
    assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("completed", 3, 5)
    assert {name: status for name, (status, _) in found.items()} == {
        "busy": 200,
        "down": 500,
        "page": 502,
        "long": 400,
        "late": 200,
        "odd": 502,
        "away": 302,
        "fine": 200,
    }
    assert found["down"][1]["error"]["message"] == "out of order"
    assert found["page"][1]["error"]["message"] == "<html>bad gateway</html>"
    assert found["long"][1]["error"]["message"] == "too long"
    assert dict(endpoint.calls) == {
        **dict.fromkeys(("busy", "down", "page", "odd"), 3),
        "late": 2,
        **dict.fromkeys(("long", "away", "fine"), 1),
    }


def test_retry_after_wins_over_the_backoff(tmp_path: Path, endpoint: Endpoint) -> None:
    """What the endpoint asks to wait is waited, not more and not less."""
    endpoint.turns = {"busy": [error(429, **{"retry-after": "1"}), JSONResponse({"choices": [1]})]}
    with served(tmp_path, UpstreamEngine(endpoint.server.base_url), backoff=25) as client:
        assert wait(client, submit(client, jsonl([request("a", "busy")])).id).request_counts.completed == 1
    first, second = endpoint.times["busy"]
    assert 1 <= second - first < 10


def test_an_answer_that_never_comes(tmp_path: Path, endpoint: Endpoint) -> None:
    """Silence is 504 for the row after the attempts, and the batch ends."""
    endpoint.latency = 30
    with served(tmp_path, UpstreamEngine(endpoint.server.base_url, timeout=0.2), attempts=2) as client:
        found = by_id(client, wait(client, submit(client, jsonl([request("a", "slow")])).id))
    assert found["a"] == (504, {"error": found["a"][1]["error"]})
    assert "did not answer in time" in found["a"][1]["error"]["message"]
    assert endpoint.calls["slow"] == 2


def test_no_more_at_once_than_slots(tmp_path: Path, endpoint: Endpoint) -> None:
    """The bound holds over all batches together."""
    endpoint.latency = 0.02
    with served(tmp_path, UpstreamEngine(endpoint.server.base_url, slots=3), slots=3) as client:
        batches = [submit(client, jsonl(requests(20))).id for _ in range(3)]
        assert {wait(client, batch_id).status for batch_id in batches} == {"completed"}
    assert sum(endpoint.calls.values()) == 60
    assert endpoint.most_at_once == 3


def test_cancelling_stops_the_calls(tmp_path: Path, endpoint: Endpoint) -> None:
    """No row is begun after the cancel, not even one that waits for its next attempt; what was answered is kept."""
    endpoint.latency = 0.03
    endpoint.turns = {"text number 0": [error(503, **{"retry-after": "60"})]}
    with served(tmp_path, UpstreamEngine(endpoint.server.base_url), slots=4) as client:
        batch_id = submit(client, jsonl(requests(400))).id
        while len(endpoint.calls) < 20:
            time.sleep(0.01)
        client.batches.cancel(batch_id)
        batch = wait(client, batch_id, "cancelled", seconds=15)
        asked = sum(endpoint.calls.values())
        time.sleep(0.3)
        assert sum(endpoint.calls.values()) == asked < 100
        assert endpoint.calls["text number 0"] == 1
        done = [line for line in lines_of(client, batch.output_file_id) if line["response"]["status_code"] == 200]
    assert len(done) == batch.request_counts.completed >= 10


def test_the_key_is_nowhere(tmp_path: Path, endpoint: Endpoint) -> None:
    """The key is sent, and is in no log, no file and no answer, although the endpoint's error quotes it."""
    endpoint.turns = {"echo": [error(401, f"Incorrect API key provided: {KEY}.")]}
    with over(tmp_path / "data", endpoint.server.base_url) as process:
        client = client_of(process.base_url)
        found = by_id(client, wait(client, submit(client, jsonl([request("a", "echo"), request("b", "fine")])).id))
        assert found["a"][1]["error"]["message"] == "Incorrect API key provided: ***."
        client.close()
        _, logged = process.end(signal.SIGTERM)
    assert endpoint.keys == {f"Bearer {KEY}"}
    assert KEY not in logged + process.line
    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert len(kept) >= 3
    assert not any(KEY.encode() in path.read_bytes() for path in kept)
