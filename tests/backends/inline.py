"""A provider that takes the requests in its create call and keeps no mark of who sent them, and a backend for it.

The shape is that of Anthropic's Message Batches (platform.claude.com, API reference: "Create", "Retrieve", "List" and
"Cancel a Message Batch", "Retrieve Message Batch results"): ``POST`` with ``{"requests": [{"custom_id", "params"}]}``,
no file, no metadata, no name, no idempotency key; a batch has ``created_at`` and counts; the newest is listed first.
``params`` and messages hold OpenAI's bodies here, for what is tested is the way and not the dialect.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, urlsplit

import httpx

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.backends.paging import Page, Pages
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    NotFoundError,
    ProviderError,
    RateLimitedError,
    RequestRejectedError,
)
from airflow_batch_provider.core.finding import Handle, by_count
from airflow_batch_provider.core.records import JSON, BatchResult, Found, Job, JobStatus, Limits, RequestCounts
from airflow_batch_provider.dialects.base import LineFormat, Sent
from airflow_batch_provider.dialects.openai import OpenAIFormat
from airflow_batch_provider.testing.calls import Call
from airflow_batch_provider.testing.faults import FaultPlan

CHAT = "/v1/chat/completions"
BATCHES = "/v1/messages/batches"
STATUSES = {
    "in_progress": JobStatus.IN_PROGRESS,
    "canceling": JobStatus.CANCELLING,
    "ended": JobStatus.COMPLETED,
}


class InlineProvider:
    """Batches in memory behind HTTP; ``clock`` gives their times.

    :param key: what ``x-api-key`` must be.

    ``lost_answers`` creates are carried out without an answer, ``lost_calls`` are not carried out, either, ``refusals``
    are answered with 429; with ``holds`` no batch ends by itself.
    """

    def __init__(self, key: str = "fake-key-7e1b") -> None:
        self.key = key
        self.clock: Callable[[], float] = time.time
        self.batches: list[JSON] = []
        self.requests: list[Call] = []
        self.lost_answers = self.lost_calls = self.refusals = 0
        self.holds = False
        self.faults = FaultPlan()
        """Only to be cleared between tests."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> InlineProvider:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def calls(self, kind: str) -> list[Call]:
        """The calls of a kind."""
        return [call for call in list(self.requests) if call.kind == kind]

    def create(self, requests: Sequence[JSON]) -> JSON:
        """A batch of these requests, whoever sent them."""
        made = {"id": f"msgbatch_{len(self.batches)}", "created_at": self.clock(), "requests": requests, "state": ""}
        self.batches.append(made)
        return made

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length") or 0)) or self._chunks()
                url = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = Call(self.command, url.path, dict(parse_qsl(url.query)), headers)
                call.body = json.loads(content) if content else None
                answer = provider.answer(call)
                if answer is None:
                    self.close_connection = True
                    return
                status, body = answer
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _chunks(self) -> bytes:
                """A body that was sent without its length."""
                if self.headers.get("transfer-encoding") != "chunked":
                    return b""
                chunks = []
                while size := int(self.rfile.readline(), 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(chunks)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler

    def answer(self, call: Call) -> tuple[int, bytes] | None:
        """Status and body; None to close the connection."""
        rest = call.path.removeprefix(BATCHES).strip("/").split("/")
        kinds = {"": "create" if call.method == "POST" else "list", "cancel": "cancel", "results": "output"}
        call.kind = kinds.get(rest[-1], "poll")
        self.requests.append(call)
        if call.headers.get("x-api-key") != self.key:
            return _error(401, "authentication_error", "invalid x-api-key")
        if call.kind == "create":
            return self._created(call)
        if call.kind == "list":
            return self._listed(call)
        batch = next((batch for batch in self.batches if batch["id"] == rest[0]), None)
        if batch is None:
            return _error(404, "not_found_error", f"{rest[0]} not found")
        if call.kind == "cancel" and self._state(batch) != "ended":
            batch["state"] = "canceling"
        if call.kind == "output":
            return 200, b"".join(json.dumps(_result(one)).encode() + b"\n" for one in batch["requests"])
        return 200, self._shown(batch)

    def _created(self, call: Call) -> tuple[int, bytes] | None:
        if self.refusals:
            self.refusals -= 1
            return _error(429, "rate_limit_error", "too many requests")
        if self.lost_calls:
            self.lost_calls -= 1
            return None
        made = self.create(call.body["requests"])
        if self.lost_answers:
            self.lost_answers -= 1
            return None
        answer = self._shown({**made, "state": "in_progress"})
        return 200, answer

    def _listed(self, call: Call) -> tuple[int, bytes]:
        listed = self.batches[::-1]
        ids = [batch["id"] for batch in listed]
        start = ids.index(call.query["after_id"]) + 1 if "after_id" in call.query else 0
        page = listed[start : start + int(call.query.get("limit", 20))]
        shown = [json.loads(self._shown(batch)) for batch in page]
        more = start + len(page) < len(listed)
        return 200, json.dumps({"data": shown, "has_more": more, "last_id": page[-1]["id"] if page else None}).encode()

    def _state(self, batch: JSON) -> str:
        return batch["state"] or ("in_progress" if self.holds else "ended")

    def _shown(self, batch: JSON) -> bytes:
        state, rows = self._state(batch), len(batch["requests"])
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        counts["succeeded" if state == "ended" else "processing"] = rows
        shown = {
            "id": batch["id"],
            "type": "message_batch",
            "processing_status": state,
            "request_counts": counts,
            "created_at": _rfc(batch["created_at"]),
            "ended_at": _rfc(batch["created_at"]) if state == "ended" else None,
        }
        return json.dumps(shown).encode()


def _error(status: int, kind: str, message: str) -> tuple[int, bytes]:
    return status, json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


def _rfc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


def _result(request: JSON) -> JSON:
    said = request["params"].get("messages", [{"content": ""}])[0]["content"]
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    message = {"id": "msg_1", "model": "m", "choices": [choice], "usage": usage}
    return {"custom_id": request["custom_id"], "result": {"type": "succeeded", "message": message}}


class InlineFormat(OpenAIFormat):
    """OpenAI's bodies in the provider's envelope."""

    def decode(self, line: bytes, sent: Sent) -> BatchResult:
        given = json.loads(line)
        response = {"status_code": 200, "body": given["result"]["message"]}
        made = {"custom_id": given["custom_id"], "response": response, "error": None}
        return super().decode(json.dumps(made).encode(), sent)


class InlineBackend(Backend):
    """What the author of such a backend writes."""

    name = "inline_batch"
    sends_inline = True
    find_is_complete = False
    handles = ("the number of rows and the time of the create",)
    limits = Limits(
        max_rows=100_000, max_bytes=256_000_000, endpoints=(CHAT,), source="Message Batches: 100,000, 256 MB"
    )

    def __init__(self, base_url: str, key: str) -> None:
        self._key = key
        self._settings: dict[str, Any] = {
            "base_url": base_url,
            "headers": {"x-api-key": key, "anthropic-version": "2023-06-01"},
            "trust_env": False,
            "timeout": 300,
        }
        self._client: httpx.Client | None = None

    @property
    def client(self) -> httpx.Client:
        self._client = self._client or httpx.Client(**self._settings)
        return self._client

    @property
    def secrets(self) -> Sequence[str]:
        return (self._key,)

    @property
    def identity(self) -> Mapping[str, str]:
        return {"type": self.name, "base_url": self._settings["base_url"]}

    def check_route(self, models: Sequence[str | None], endpoints: Sequence[str], options: Mapping[str, Any]) -> None:
        pass

    def line_format(self, model: str | None, endpoint: str) -> LineFormat:
        return InlineFormat(model, endpoint)

    def create_request(self, shard: Any, token: str, input_id: str, options: Mapping[str, Any]) -> JSON:
        return {"model": shard.model, "requests": shard.rows}

    def create(self, request: JSON, lines: Callable[[], BinaryIO] | None = None) -> Job:
        assert lines is not None
        with lines() as stream:
            return _job(self._call("POST", BATCHES, content=_body(stream)).json())

    def find(self, handles: Sequence[Handle], beside: Any = ()) -> Found:
        return by_count(self.list_jobs(), handles, beside)

    def job_pages(self, limit: int | None = None) -> Pages:
        def page(cursor: str | None) -> Page:
            asked = {"limit": "100", **({"after_id": cursor} if cursor else {})}
            shown = self._call("GET", BATCHES, params=asked).json()
            return Page([_job(one) for one in shown["data"]], shown["last_id"], shown["has_more"])

        return Pages(page, limit)

    def retrieve(self, job_id: str) -> Job:
        return _job(self._call("GET", f"{BATCHES}/{job_id}").json())

    async def apoll(self, job_ids: Sequence[str]) -> list[Job]:
        return [_job(shown) for shown in await self._each("GET", [f"{BATCHES}/{job_id}" for job_id in job_ids])]

    def outputs(self, job: Job) -> Iterator[bytes]:
        yield self._call("GET", f"{BATCHES}/{job.id}/results").content

    def cancel(self, job_id: str) -> None:
        self._call("POST", f"{BATCHES}/{job_id}/cancel")

    async def acancel(self, job_ids: Sequence[str]) -> None:
        await self._each("POST", [f"{BATCHES}/{job_id}/cancel" for job_id in job_ids])

    def download(self, handle: str) -> Iterator[bytes]:
        raise NotFoundError(f"{handle}: there are no files")

    def delete(self, handle: str) -> None:
        pass

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def probe(self) -> str:
        return f"{len(list(self.list_jobs(1)))} of the newest batches is shown"

    def _call(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            return _checked(self.client.request(method, path, **given))
        except httpx.HTTPError as error:
            raise _unanswered(error) from error

    async def _each(self, method: str, paths: Sequence[str]) -> list[JSON]:
        try:
            async with httpx.AsyncClient(**self._settings) as client:
                return [_checked(await client.request(method, path)).json() for path in paths]
        except httpx.HTTPError as error:
            raise _unanswered(error) from error


def _body(stream: BinaryIO) -> Iterator[bytes]:
    """The create call's body, some rows at a time."""
    start = b'{"requests": ['
    while some := stream.readlines(1 << 16):
        lines = map(json.loads, some)
        yield start + b",".join(
            json.dumps({"custom_id": line["custom_id"], "params": line["body"]}).encode() for line in lines
        )
        start = b","
    yield b"]}"


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code < 400:
        return response
    told = response.json()["error"]["message"]
    match response.status_code:
        case 401:
            raise AuthenticationError(told)
        case 404:
            raise NotFoundError(told)
        case 429:
            raise RateLimitedError(told)
        case status if status >= 500:
            raise ProviderError(told, ambiguous=True)
    raise RequestRejectedError(told)


def _unanswered(error: httpx.HTTPError) -> ProviderError:
    told = f"{type(error).__name__}: {error}"
    return ProviderError(told, ambiguous=not isinstance(error, httpx.ConnectError))


def _job(shown: JSON) -> Job:
    counts = shown["request_counts"]
    times = [shown["created_at"], shown["ended_at"]]
    created_at, ended_at = (datetime.fromisoformat(at).timestamp() if at else None for at in times)
    return Job(
        shown["id"],
        STATUSES[shown["processing_status"]],
        shown["processing_status"],
        RequestCounts(sum(counts.values()), counts["succeeded"], counts["errored"]),
        created_at=created_at,
        ended_at=ended_at,
        outputs=("results",),
    )
