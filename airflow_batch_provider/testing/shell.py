"""What stands between a client and the server of a fake: it records, refuses, breaks, and tells things otherwise."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any
from urllib.parse import unquote, urlencode

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import error_body
from airflow_batch_provider.local.objects import TERMINAL
from airflow_batch_provider.local.store import Store
from airflow_batch_provider.testing.calls import Answer, Call, kind_of
from airflow_batch_provider.testing.faults import FaultPlan, Said
from airflow_batch_provider.testing.flavors import Flavor, Portkey

_STATUS_MESSAGES = {429: "Rate limit reached; please try again later."}
_NEW_WORD = "awaiting_moonrise"
_BROKEN = b'{"id": "batch_req_cut", "custom_id": "req'
_MILLISECONDS = 100_000_000_000
"""What is more than this is no number of seconds."""


class Shell:
    """The fake's ASGI application.

    :param app: the honest server.
    :param store: that server's memory.
    :param flavor: whom the fake plays.
    :param faults: what it does wrong.
    :param calls: where calls are recorded.
    """

    def __init__(self, app: ASGIApp, store: Store, flavor: Flavor, faults: FaultPlan, calls: list[Call]) -> None:
        self._app = app
        self._store = store
        self._flavor = flavor
        self._faults = faults
        self._calls = calls
        self._polls: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._later: set[asyncio.Task[Answer]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = Call.of(scope)
        self._calls.append(call)
        if self._faults.latency:
            await asyncio.sleep(self._faults.latency)
        answer = await self._answer(call, scope, receive)
        if answer is None:
            await _cut(receive, send)
            return
        answer = self._faults.echo(call, answer)
        cut = None
        if call.kind in {"download", "output"} and answer.status == 200:
            answer = self._part(call, answer)
            cut = self._faults.cut_at(len(answer.content))
        await _send(answer, send, cut)
        if cut is not None:
            await _cut(receive, send)

    def _part(self, call: Call, answer: Answer) -> Answer:
        """What is handed out of a file: the part that a range names, of what faults leave of it."""
        if self._faults.take("short_downloads"):
            return replace(answer, content=self._faults.short(answer.content))
        if self._faults.take("ragged_downloads"):
            return replace(answer, content=self._faults.ragged(answer.content))
        return answer if self._faults.no_ranges else ranged(call, answer)

    async def _answer(self, call: Call, scope: Scope, receive: Receive) -> Answer | None:
        """The whole answer; None closes the connection without one."""
        parts = self._flavor.parts(call)
        call.kind = kind_of(call.method, parts) if parts else "other"
        refusal = self._flavor.refuse(call) or self._planned_refusal(call)
        path = self._inner_path(parts) if parts else None
        if refusal is None and path is None:
            known = parts is not None and len(parts) <= 3
            refusal = Answer.of(400 if known else 404, error_body(f"Not found, or no valid id: {call.path}"))
        if refusal is not None or path is None:
            await _drain(receive)
            return refusal
        # Ranges are cut here, from what faults leave of a file.
        headers = [(name, value) for name, value in scope["headers"] if name not in (b"range", b"if-range")]
        inner = {**scope, "path": path, "raw_path": path.encode(), "headers": headers}
        if call.kind == "create":
            return await self._create(call, inner, receive)
        if call.kind in {"poll", "cancel", "output"} and self._is_lost(path.split("/")[3]):
            await _drain(receive)
            return self._flavor.error(Answer.of(404, error_body(f"No batch found with id '{path.split('/')[3]}'.")))
        if call.kind == "download" and parts and (made := self._flavor.download(parts[1])):
            return self._spoiled_of(made[1], made[0]) if made[1] else made[0]
        if call.kind == "output":
            return await self._output(call, path.split("/")[3])
        if call.kind == "list" and "after" in call.query:
            query = {**call.query, "after": self._flavor.inner_id(unquote(call.query["after"])) or ""}
            if self._faults.stuck_list:
                del query["after"]
            inner["query_string"] = urlencode(query).encode()
        if call.kind == "cancel" and self._faults.cancel_in_vain:
            inner = {**inner, "method": "GET", "path": path.removesuffix("/cancel")}
            return self._in_vain(call, await _ask(self._app, inner, receive))
        answer = await _ask(self._app, inner, receive)
        if call.kind == "upload" and answer.status == 200:
            file_id = answer.json["id"]
            ends = answer.json.get("expires_at")
            refusal = self._flavor.refuse_life(None if ends is None else ends - answer.json["created_at"])
            refusal = refusal or await asyncio.to_thread(self._flavor.refuse_file, call, self._store.path(file_id))
            if refusal is not None:
                self._store.delete_file(file_id)
                return refusal
        return self._told(call, answer)

    def _is_lost(self, batch_id: str) -> bool:
        batch = self._store.batch(batch_id) if self._faults.lost_job else None
        return batch is not None and applies(self._faults, self._store, batch)

    def _is_late(self, batch: JSON) -> bool:
        """Whether the output of a batch that has ended is still not there."""
        late = batch["status"] in TERMINAL and self._ends.get(batch["id"], 0) <= self._faults.late_output
        return bool(self._faults.late_output) and late and applies(self._faults, self._store, batch)

    def _planned_refusal(self, call: Call) -> Answer | None:
        status = self._faults.take_status("download" if call.kind == "output" else call.kind)
        return self._error(status) if status is not None else None

    def _error(self, said: Said) -> Answer:
        kind = said.kind or ("server_error" if said.status >= 500 else "requests")
        message = said.message if said.code or said.kind else _STATUS_MESSAGES.get(said.status, said.message)
        body = error_body(message, kind=kind, code=said.code)
        return Answer.of(said.status, body, **self._faults.wait_headers(said.status))

    def _inner_path(self, parts: list[str]) -> str | None:
        """The server's own path, None when the id in it is not one of this provider's."""
        if len(parts) > 1 and parts[0] in {"files", "batches"}:
            inner = self._flavor.inner_id(parts[1])
            if inner is None or "/" in inner:
                return None
            parts = [parts[0], inner, *parts[2:]]
        return "/v1/" + "/".join(parts)

    # create

    async def _create(self, call: Call, scope: Scope, receive: Receive) -> Answer | None:
        call.body = _json_or_none(b"".join([chunk async for chunk in _chunks(receive)]))
        if not isinstance(call.body, dict):
            return Answer.of(400, error_body("The request's body is not a JSON object."))
        refusal = self._flavor.refuse_create(call)
        if refusal is not None:
            return refusal
        if self._faults.take("token_limit"):
            message = "The number of enqueued tokens has surpassed the configured limit of 30K for the deployment."
            return Answer.of(400, error_body(message, code="token_limit_exceeded"))
        if self._faults.take("cut_before_accept"):
            return None
        request = self._flavor.request(call.body)
        if isinstance(request.get("input_file_id"), str):
            request["input_file_id"] = self._flavor.inner_id(unquote(request["input_file_id"])) or "null"
        accept = partial(_ask, self._app, scope, _once(orjson.dumps(request)))
        if self._faults.late_accept:
            self._keep(_later(self._faults.late_accept.pop(0), accept))
            return None
        if self._faults.take("create_twice"):
            await accept()
        answer = self._told(call, await accept())
        if self._faults.slow_accept:
            await asyncio.sleep(self._faults.slow_accept.pop(0))
        if self._faults.take("cut_after_accept"):
            return None
        status = self._faults.take_status("accepted")
        return self._error(status) if status is not None else answer

    def _keep(self, late: Coroutine[Any, Any, Answer]) -> None:
        task = asyncio.ensure_future(late)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    # answers

    def _told(self, call: Call, answer: Answer) -> Answer:
        """The server's answer as the provider tells it, faults included."""
        if answer.status >= 400:
            return self._flavor.error(answer)
        if call.kind == "download":
            return self._spoiled(answer, unquote(call.path.split("/")[-2]))
        if call.kind == "delete" or not answer.content:
            return answer
        body = answer.json
        items = body["data"] if body.get("object") == "list" else [body]
        told = [self._object(call, item) for item in items]
        if body.get("object") == "list":
            if call.kind == "list":
                body, told = self._page(body, told)
            body = {**body, "data": told, "first_id": None, "last_id": None}
            if told:
                body.update(first_id=told[0]["id"], last_id=told[-1]["id"])
        else:
            body = told[0]
        return Answer.of(answer.status, body)

    def _page(self, body: JSON, told: list[JSON]) -> tuple[JSON, list[JSON]]:
        """A page of the list of batches, with what is wrong with it."""
        if self._faults.take("hollow_list"):
            return {**body, "has_more": True}, []
        more = {"has_more": True} if self._faults.stuck_list else {}
        return {**body, **more}, self._faults.page(told)

    def _in_vain(self, call: Call, answer: Answer) -> Answer:
        """A cancel that is accepted, of a batch that goes on."""
        if answer.status != 200:
            return self._flavor.error(answer)
        batch = answer.json
        told = batch if batch["status"] in TERMINAL else {**batch, "status": "cancelling"}
        return Answer.of(200, self._flavor.batch(told, call))

    def _object(self, call: Call, item: JSON) -> JSON:
        if item.get("object") == "file":
            return self._flavor.file(item, call)
        return self._batch(call, item) if item.get("object") == "batch" else item

    def _batch(self, call: Call, batch: JSON) -> JSON:
        faults = self._faults
        shaped = self._flavor.batch(batch, call)
        if not applies(faults, self._store, batch):
            return shaped
        if call.kind == "poll":
            self._polls[batch["id"]] = self._polls.get(batch["id"], 0) + 1
            self._ends[batch["id"]] = self._ends.get(batch["id"], 0) + (batch["status"] in TERMINAL)
        if self._polls.get(batch["id"], 0) <= faults.unknown_status_polls and faults.unknown_status_polls:
            shaped = {**shaped, "status": _NEW_WORD}
        if faults.lying_counts:
            shaped = {**shaped, "request_counts": {"total": 1_000_000, "completed": 0, "failed": 7}}
        if faults.null_times or faults.ms_times or faults.iso_times or faults.clock_ahead:
            shaped = _retimed(shaped, faults)
        if (faults.no_output and batch["status"] in TERMINAL) or self._is_late(batch):
            shaped = {**shaped, "output_file_id": None, "error_file_id": None}
        return shaped

    async def _output(self, call: Call, batch_id: str) -> Answer:
        """``GET /batches/{id}/output`` of the gateways, with what they do when there is none."""
        batch = self._store.batch(batch_id)
        if self._flavor.name not in {"truefoundry", "portkey"} or batch is None:
            return self._flavor.error(Answer.of(404, error_body(f"No batch found with id '{batch_id}'.")))
        if (self._faults.lost_output and applies(self._faults, self._store, batch)) or self._is_late(batch):
            batch = {**batch, "output_file_id": None, "error_file_id": None}
        made = self._flavor.output(batch)
        if made is not None:
            return self._spoiled_of(batch, made) if made.status == 200 else made
        file_id = batch["output_file_id"]
        if file_id is None and isinstance(self._flavor, Portkey) and self._flavor.is_azure(call):
            file_id = batch["error_file_id"]
        if file_id is None and batch["errors"]:
            return Answer.of(200, batch["errors"])
        if file_id is None:
            return self._flavor.error(Answer.of(404, error_body("No such File object: null", param="id")))
        content = await asyncio.to_thread(self._store.path(file_id).read_bytes)
        return self._spoiled(Answer(200, content, ((b"content-type", b"application/octet-stream"),)), file_id)

    def _spoiled(self, answer: Answer, file_id: str) -> Answer:
        """A downloaded file with the planned faults; input files are left alone."""
        inner = self._flavor.inner_id(file_id)
        of = [
            batch
            for batch in self._store.list_batches(1_000, None) or []
            if inner in {batch["output_file_id"], batch["error_file_id"]}
        ]
        return self._spoiled_of(of[0], answer) if of else answer

    def _spoiled_of(self, batch: JSON, answer: Answer) -> Answer:
        """As :meth:`_spoiled`, of a known batch."""
        if not applies(self._faults, self._store, batch):
            return answer
        if self._faults.lost_output:
            return self._flavor.error(Answer.of(404, error_body("No such File object", param="id")))
        if not self._faults.spoils_lines:
            return answer
        lines = answer.content.split(b"\n")[:-1]
        return replace(answer, content=self._faults.file(self._faults.spoil(lines, _foreign, _BROKEN)))


def applies(faults: FaultPlan, store: Store, batch: JSON) -> bool:
    """Whether the faults of batches touch this one."""
    return faults.jobs is None or store.position(batch["id"]) < faults.jobs


def _foreign(number: int) -> bytes:
    return orjson.dumps(
        {"id": f"batch_req_{number}", "custom_id": f"foreign-{number}", "response": None, "error": None}
    )


def _retimed(batch: JSON, faults: FaultPlan) -> JSON:
    """The batch with its times written otherwise."""

    def write(value: Any) -> Any:
        if faults.null_times or not isinstance(value, int):
            return None if faults.null_times else value
        seconds = value / 1000 if value > _MILLISECONDS else float(value)
        if faults.clock_ahead:
            value, seconds = value + int(faults.clock_ahead * value / seconds), seconds + faults.clock_ahead
        if faults.ms_times:
            return int(seconds * 1000)
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat() if faults.iso_times else value

    return {name: write(value) if name.endswith("_at") else value for name, value in batch.items()}


async def _ask(app: ASGIApp, scope: Scope, receive: Receive) -> Answer:
    """The application's whole answer."""
    status = 500
    headers: list[tuple[bytes, bytes]] = []
    content: list[bytes] = []

    async def keep(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], message["headers"]
        elif message["type"] == "http.response.body":
            content.append(message.get("body", b""))

    await app(scope, receive, keep)
    kept = tuple((name, value) for name, value in headers if name != b"content-length")
    return Answer(status, b"".join(content), kept)


def ranged(call: Call, answer: Answer) -> Answer:
    """The part of a file that ``Range: bytes=N-`` names, when ``If-Range`` is the file's tag (RFC 9110, 14)."""
    tag = f'"{hashlib.sha256(answer.content).hexdigest()[:32]}"'
    kept = [(name, value) for name, value in answer.headers if name not in (b"etag", b"accept-ranges")]
    headers = (*kept, (b"etag", tag.encode()), (b"accept-ranges", b"bytes"))
    first, _, last = call.headers.get("range", "").removeprefix("bytes=").partition("-")
    if not first.isdigit() or last or call.headers.get("if-range", tag) != tag:
        return replace(answer, headers=headers)
    start, size = int(first), len(answer.content)
    if start >= size:
        return Answer(416, b"", (*headers, (b"content-range", b"bytes */%d" % size)))
    told = (b"content-range", b"bytes %d-%d/%d" % (start, size - 1, size))
    return Answer(206, answer.content[start:], (*headers, told))


async def _send(answer: Answer, send: Send, cut: int | None) -> None:
    """Send an answer.

    :param cut: after how many bytes it breaks off.
    """
    length = (b"content-length", str(len(answer.content)).encode())
    await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers, length]})
    content = answer.content[:cut]
    await send({"type": "http.response.body", "body": content, "more_body": cut is not None})


async def _cut(receive: Receive, send: Any) -> None:
    """Close the connection in the middle of things; ASGI knows no word for it, uvicorn's own transport does."""
    await asyncio.sleep(0.02)  # what was sent before is to arrive
    send.__self__.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def _drain(receive: Receive) -> None:
    async for _ in _chunks(receive):
        pass


def _once(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _later(seconds: float, accept: Callable[[], Awaitable[Answer]]) -> Answer:
    await asyncio.sleep(seconds)
    return await accept()


def _json_or_none(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
