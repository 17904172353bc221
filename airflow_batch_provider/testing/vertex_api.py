"""Vertex AI's batch prediction jobs, and a front before the emulator of Cloud Storage, as strict as the services.

Paths, fields and messages: google.cloud.aiplatform.v1 over REST; Cloud Storage JSON API.
"""

from __future__ import annotations

import asyncio
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.types import Receive, Scope, Send

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.asgi import cut, lifespan, read_body
from airflow_batch_provider.testing.calls import Answer, Call
from airflow_batch_provider.testing.cloud_job import CloudJobs
from airflow_batch_provider.testing.faults import FaultPlan
from airflow_batch_provider.testing.vertex_runner import TERMINAL, FakeJob, VertexRunner, now

_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_RIGHTS = {
    "create": "aiplatform.batchPredictionJobs.create",
    "poll": "aiplatform.batchPredictionJobs.get",
    "list": "aiplatform.batchPredictionJobs.list",
    "cancel": "aiplatform.batchPredictionJobs.cancel",
    "upload": "storage.objects.create",
    "download": "storage.objects.get",
    "object": "storage.objects.get",
    "objects": "storage.objects.list",
    "delete": "storage.objects.delete",
    "bucket": "storage.buckets.get",
}
_MODEL = re.compile(
    r"(?:projects/[^/]+/locations/[^/]+/)?publishers/"
    r"(?:google/models/(?:gemini-|text-?(?:multilingual-)?embedding-)|anthropic/models/claude-|(?:meta|openai|qwen|deepseek-ai|intfloat)/models/)[\w.@-]+"
    r"|projects/[^/]+/locations/[^/]+/models/\w+"
)
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")
_NEW_WORD = "JOB_STATE_AWAITING_MOONRISE"
_STATES = [
    "UNSPECIFIED",
    "QUEUED",
    "PENDING",
    "RUNNING",
    "SUCCEEDED",
    "FAILED",
    "CANCELLING",
    "CANCELLED",
    "PAUSED",
    "EXPIRED",
    "UPDATING",
    "PARTIALLY_SUCCEEDED",
]
"""By their numbers, which Google's own client asks for; an unknown one is 99."""
_SKIPPED = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class VertexError(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, message: str, word: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.word = word or _WORDS.get(status, "UNKNOWN")


@dataclass(slots=True)
class Google(CloudJobs[FakeJob]):
    """The ASGI application.

    :param number: the project's number, which stands in the names of jobs; calls may say either.
    :param token: the access token that is known.
    :param deny: permissions that the caller has not; may change.
    :param emulator: the address of the storage emulator.
    :param location: where every bucket lies.
    """

    project: str
    region: str
    token: str
    deny: Callable[[], frozenset[str]]
    faults: FaultPlan
    runner: VertexRunner
    emulator: str
    location: Callable[[], str]
    number: str = "123456789012"
    calls: list[Call] = field(default_factory=list)
    jobs: list[FakeJob] = field(default_factory=list)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _numbers: int = 7_000_000_000_000_000_000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send, self.tasks)
            return
        call = Call.of(scope)
        call.kind = self._kind(call)
        content = await read_body(receive)
        self.calls.append(call)
        if self.faults.latency:
            await asyncio.sleep(self.faults.latency)
        at: int | None = None
        try:
            self._admit(call)
            if "/b/" in call.path or call.path.endswith("/b"):
                stored = await self._store(call, scope, content)
                if call.kind == "download" and stored.status < 300:
                    if self.faults.take("short_downloads"):
                        stored = replace(stored, content=self.faults.short(stored.content))
                    elif self.faults.take("ragged_downloads"):
                        stored = replace(stored, content=self.faults.ragged(stored.content))
                    at = self.faults.cut_at(len(stored.content))
                answer: Answer | None = stored
            else:
                call.body = _json(content)
                answer = await self._answer(call)
        except VertexError as error:
            answer = self._error(error)
        if answer is None:
            await cut(receive, send)
            return
        if "/b/" not in call.path or answer.status >= 400:  # objects have checksums; output is written with the quote
            answer = self.faults.echo(call, answer)
        size = len(answer.content)
        headers = [*answer.headers, (b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        sent = answer.content[:at]
        await send({"type": "http.response.body", "body": sent, "more_body": at is not None})
        if at is not None:
            await cut(receive, send)

    def _kind(self, call: Call) -> str:
        path, method = call.path, call.method
        if path.startswith("/upload/"):
            return "upload" if method == "POST" else "part"
        if path.startswith("/download/") or call.query.get("alt") == "media":
            return "download"
        if path.startswith("/storage/"):
            if method == "DELETE":
                return "delete"
            return "objects" if path.endswith("/o") else "object" if "/o/" in path else "bucket"
        head, _, rest = path.partition("/batchPredictionJobs")
        if not head or (rest and not rest.startswith(("/", "?"))):
            return "other"
        if not rest:
            return "create" if method == "POST" else "list"
        return "cancel" if rest.endswith(":cancel") else "poll" if method == "GET" else "other"

    def _admit(self, call: Call) -> None:
        if call.bearer != self.token:
            raise VertexError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")
        right = _RIGHTS.get(call.kind)
        if right in self.deny():
            raise VertexError(403, f"Permission {right!r} denied on resource (or it may not exist).")
        said = self.faults.take_status(call.kind)
        if said is not None:
            raise VertexError(said.status, said.message, said.code)

    def _error(self, error: VertexError) -> Answer:
        headers = self.faults.wait_headers(error.status)
        told = {"code": error.status, "message": str(error), "status": error.word, "errors": [{"message": str(error)}]}
        return Answer.of(error.status, {"error": told}, **headers)

    # ---- jobs --------------------------------------------------------------------------------------------------

    async def _answer(self, call: Call) -> Answer | None:
        parent = rf"/v1(?:beta1)?/projects/(?:{self.project}|{self.number})/locations/{self.region}/batchPredictionJobs"
        found = re.fullmatch(rf"{parent}(?:/([^/:]+)(:cancel)?)?", unquote(call.path))
        if not found or call.kind not in {"create", "list", "poll", "cancel"}:
            raise VertexError(404, f"The resource {call.path} was not found.")
        if call.kind == "create":
            return await self._create(call)
        if call.kind == "list":
            return Answer.of(200, self._list(call))
        job = next((job for job in self.jobs if job.id == found[1]), None)
        if job is None:
            raise VertexError(404, f"The BatchPredictionJob {found[1]} was not found.")
        if self.faults_of(job).lost_job:
            raise VertexError(404, f"The BatchPredictionJob {found[1]} was not found.")
        if call.kind == "poll":
            if job.told["state"] in TERMINAL and job.is_due(self.faults_of(job).late_output):
                await asyncio.to_thread(job.write_late)
            return Answer.of(200, self._told(job, call))
        if self.faults_of(job).cancel_in_vain:
            return Answer.of(200, {})
        if job.told["state"] in TERMINAL:
            raise VertexError(
                400, f"The job is in state {job.told['state']} and cannot be cancelled.", "FAILED_PRECONDITION"
            )
        job.stop.set()
        job.turn("CANCELLING")
        return Answer.of(200, {})

    async def _create(self, call: Call) -> Answer | None:
        faults = self.faults
        if faults.take("token_limit"):
            raise VertexError(429, "Quota exceeded for aiplatform.googleapis.com/batch_prediction_jobs.")
        body = call.body if isinstance(call.body, dict) else {}
        if (job := await self.accepted(lambda: self._accept(body))) is None:
            return None
        said = faults.take_status("accepted")
        if said is not None:
            raise VertexError(said.status, said.message, said.code)
        return Answer.of(200, self._told(job, call))

    async def _accept(self, body: JSON) -> FakeJob:
        check_create(body)
        self._numbers += 1
        name = f"projects/{self.number}/locations/{self.region}/batchPredictionJobs/{self._numbers}"
        told = {**body, "name": name, "state": "JOB_STATE_QUEUED", "createTime": now(), "updateTime": now()}
        job = FakeJob(told)
        self.jobs.append(job)
        self.keep(self.runner.run(job, self.faults_of(job)))
        return job

    def _told(self, job: FakeJob, call: Call) -> JSON:
        faults = self.faults_of(job)
        job.polls += 1
        told = dict(job.told)
        if job.polls <= faults.unknown_status_polls:
            told["state"] = _NEW_WORD
        if faults.lying_counts:
            told["completionStats"] = {"successfulCount": "0", "failedCount": "7", "incompleteCount": "1000000"}
        if faults.null_times:
            told = {name: value for name, value in told.items() if not name.endswith("Time")}
        if faults.clock_ahead:
            ahead = timedelta(seconds=faults.clock_ahead)
            told |= {
                name: (_moment(value) + ahead).isoformat().replace("+00:00", "Z")
                for name, value in told.items()
                if name.endswith("Time")
            }
        if faults.iso_times:
            told |= {name: value.replace("Z", "123Z") for name, value in told.items() if name.endswith("Time")}
        if "enum-encoding=int" in call.query.get("$alt", ""):
            word = told["state"].removeprefix("JOB_STATE_")
            told["state"] = _STATES.index(word) if word in _STATES else 99
        return told

    def _list(self, call: Call) -> JSON:
        query = call.query
        size = int(query.get("pageSize", "50"))
        found = [job for job in reversed(self.jobs) if _fits(job.told, query.get("filter", ""))]
        start = int(query.get("pageToken", "page-0").removeprefix("page-"))
        faults = self.faults
        if faults.take("hollow_list"):
            return {"batchPredictionJobs": [], "nextPageToken": f"page-{start}"}
        start = 0 if faults.stuck_list else start
        told = [self._told(job, call) for job in found[start : start + size]]
        page: JSON = {"batchPredictionJobs": faults.page(told)}
        if start + size < len(found) or faults.stuck_list:
            page["nextPageToken"] = f"page-{start + size}"
        return page

    # ---- storage -----------------------------------------------------------------------------------------------

    async def _store(self, call: Call, scope: Scope, content: bytes) -> Answer:
        import httpx

        headers = {name: value for name, value in call.headers.items() if name not in _SKIPPED}
        # The emulator writes its own address into the session of an upload, from this header.
        headers["host"] = call.headers["host"]
        query = scope["query_string"].decode()
        url = f"{self.emulator}{scope['raw_path'].decode()}{f'?{query}' if query else ''}"
        # The emulator speaks plain HTTP; reading the certificates would take longer than the call.
        async with httpx.AsyncClient(timeout=60, verify=False, trust_env=False) as client:  # noqa: S501
            answer = await client.request(call.method, url, content=content, headers=headers)
        kept = tuple(
            (name.encode(), value.encode())
            for name, value in answer.headers.items()
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "content-encoding"}
        )
        data = answer.content
        if call.kind == "bucket" and answer.status_code == 200:
            data = orjson.dumps({**orjson.loads(data), "location": self.location()})
        return Answer(answer.status_code, data, kept)


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content) if content.strip() else None
    except orjson.JSONDecodeError:
        raise VertexError(400, "Invalid JSON payload received.") from None


def check_create(body: JSON) -> None:
    """What the service refuses at once; a bad bucket or file fails the job later.

    :raises VertexError: naming the field.
    """
    known = {"displayName", "model", "inputConfig", "outputConfig", "labels", "instanceConfig", "modelParameters"}
    for name in sorted(set(body) - known):
        raise VertexError(400, f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    if not isinstance(body.get("displayName"), str) or not 0 < len(body["displayName"]) <= 128:
        raise VertexError(400, "The display name of the job must have 1 to 128 characters.")
    if not _MODEL.fullmatch(str(body.get("model") or "")):
        raise VertexError(404, f"The Model {body.get('model')!r} was not found or does not support batch prediction.")
    given, wanted = body.get("inputConfig") or {}, body.get("outputConfig") or {}
    uris = (given.get("gcsSource") or {}).get("uris")
    if given.get("instancesFormat") != "jsonl" or not isinstance(uris, list) or len(uris) != 1:
        raise VertexError(400, "input_config must name the format jsonl and one JSON Lines file.")
    prefix = (wanted.get("gcsDestination") or {}).get("outputUriPrefix")
    for uri in (*uris, prefix):
        if not re.match(r"gs://[a-z0-9][-_.a-z0-9]+[a-z0-9]/?", str(uri)):
            raise VertexError(400, f"{uri!r} is no valid Cloud Storage URI.")
    if wanted.get("predictionsFormat") != "jsonl":
        raise VertexError(400, "output_config must name the format jsonl.")
    labels = body.get("labels") or {}
    if len(labels) > 64 or not all(_LABEL.fullmatch(f"{name}={value}") for name, value in labels.items()):
        raise VertexError(400, f"Invalid labels: {labels}")


_COMPARED = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_FIELDS = {"state": "state", "display_name": "displayName", "displayName": "displayName", "create_time": "createTime"}


def _fits(told: JSON, condition: str) -> bool:
    """``labels.k="v"``, ``state="S"``, ``display_name="D"``, ``create_time>="T"``, joined by AND."""
    for part in filter(None, condition.split(" AND ")):
        found = re.fullmatch(r'\s*([\w.-]+?)\s*([<>!]?=|[<>])\s*"([^"]*)"\s*', part)
        name, sign, wanted = found.groups() if found else ("", "", "")
        label = name.removeprefix("labels.") if name.startswith("labels.") else None
        ordered = name == "create_time"
        if (label is None and name not in _FIELDS) or not (ordered or sign == "=" or (sign == "!=" and label is None)):
            raise VertexError(400, f"Invalid filter: {condition}")
        has = (told.get("labels") or {}).get(label) if label is not None else told.get(_FIELDS[name])
        pair = (_moment(str(has)), _moment(wanted)) if ordered else (has, wanted)
        if not _COMPARED[sign](*pair):
            return False
    return True


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise VertexError(400, f"Invalid time in filter: {text}") from None
