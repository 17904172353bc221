"""How the fake Vertex AI works a job off: it reads the bucket, asks an engine, writes the predictions."""

from __future__ import annotations

import asyncio
import functools
import random
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import orjson

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import Engine
from airflow_batch_provider.testing.cloud_job import CloudJob
from airflow_batch_provider.testing.faults import FaultPlan
from airflow_batch_provider.testing.native_claude import read_claude
from airflow_batch_provider.testing.native_embed import read_instance
from airflow_batch_provider.testing.native_gemini import read_gemini, read_gemini_embedding
from airflow_batch_provider.testing.native_shared import Native, RefusedError
from airflow_batch_provider.testing.vertex_importer import import_problem, retyped

STEP = 0.01
"""Seconds between states."""
TERMINAL = frozenset(
    f"JOB_STATE_{word}" for word in ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")
)
_MOST_INSTANCES = 30_000
_BROKEN = b'{"status":"","request":{"contents":[{"par'
_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    503: "Service Unavailable",
}
_WORDS = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}


@dataclass(slots=True)
class VertexFaults(FaultPlan):
    """What else Vertex AI can do wrong.

    :param keys_not_echoed: sibling keys of a request are missing on output lines.
    :param labels_not_echoed: labels of the echoed request are missing.
    :param blocked_rows: so many prompts are blocked, the first ones; Gemini alone does that.
    :param malformed_calls: so many answers end as ``MALFORMED_FUNCTION_CALL`` and are empty, likewise.
    :param partially: a job that stops early ends as PARTIALLY_SUCCEEDED instead of EXPIRED.
    :param files: over so many files the output is spread, as that of long jobs is.
    :param agent_cannot_write: the service agent may not write the output, which is noticed at the end.
    """

    keys_not_echoed: bool = False
    labels_not_echoed: bool = False
    blocked_rows: int = 0
    malformed_calls: int = 0
    partially: bool = False
    files: int = 1
    agent_cannot_write: bool = False


class JobError(Exception):
    """A job fails as a whole.

    :param code: as gRPC counts.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class FakeJob(CloudJob):
    """One job, as ``batchPredictionJobs.get`` reports it."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """The number at the end of its name."""
        return str(self.told["name"]).rpartition("/")[2]

    @property
    def model(self) -> tuple[str, str]:
        """Publisher and id."""
        parts = str(self.told["model"]).split("/")
        return (parts[parts.index("publishers") + 1], parts[-1]) if "publishers" in parts else ("google", parts[-1])

    def turn(self, state: str, code: int | None = None, message: str = "") -> None:
        """Change the state."""
        self.told["state"] = f"JOB_STATE_{state}"
        self.told["updateTime"] = now()
        if code is not None:
            self.told["error"] = {"code": code, "message": message}
        if self.told["state"] in TERMINAL:
            self.told["endTime"] = now()


def now() -> str:
    """The time as the service writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class VertexRunner:
    """Works jobs off.

    :param storage: a client with the service agent's rights.
    """

    storage: Any
    engine: Engine

    async def run(self, job: FakeJob, faults: FaultPlan) -> None:
        """From QUEUED to the end."""
        try:
            await self._run(job, faults)
        except JobError as error:
            job.turn("FAILED", error.code, str(error))
        except Exception as error:  # noqa: BLE001 - a job of the service ends, whatever happens
            job.turn("FAILED", 13, f"Internal error of the fake: {error!r}")

    async def _run(self, job: FakeJob, faults: FaultPlan) -> None:
        for state in ("PENDING", "RUNNING"):
            await asyncio.sleep(STEP)
            if job.stop.is_set():
                job.turn("CANCELLED")
                return
            job.turn(state)
        job.told["startTime"] = now()
        content = await asyncio.to_thread(self._read, job)
        lines = [line for line in content.split(b"\n") if line.strip()]
        wrong = "; ".join(str(error.get("message") or error) for error in faults.job_errors) or _problem(job, lines)
        if wrong:
            raise JobError(3, wrong)
        await self._answer_all(job, faults, lines)

    async def _answer_all(self, job: FakeJob, faults: FaultPlan, lines: list[bytes]) -> None:
        rows, ending = _stop(faults, len(lines))
        written: list[bytes] = []
        good = 0
        for position, raw in enumerate(lines):
            if rows is not None and position == rows and ending == "hold":
                await job.stop.wait()
            if job.stop.is_set() or (rows is not None and position >= rows):
                break
            line, ok = await self._answer(job, faults, orjson.loads(raw), position)
            written.append(line)
            good += ok
            if position % 50 == 0:
                await asyncio.sleep(0)
        if job.stop.is_set():
            job.turn("CANCELLING")
            await asyncio.sleep(STEP)
            ending = "CANCELLED"
        write = functools.partial(self._write, job, faults, written)
        if faults.late_output:
            job.held = write
        elif not faults.no_output and not faults.lost_output:
            await asyncio.to_thread(write)
        if ending != "CANCELLED":
            stats = {"successfulCount": good, "failedCount": len(written) - good}
            stats["incompleteCount"] = 0 if ending == "SUCCEEDED" else -1
            # As all JSON of protocol buffers: no zeros, and strings for 64 bits.
            job.told["completionStats"] = {name: str(count) for name, count in stats.items() if count}
        job.turn(ending)

    async def _answer(self, job: FakeJob, faults: FaultPlan, given: JSON, position: int) -> tuple[bytes, bool]:
        publisher, model = job.model
        if _is_old(publisher, model):
            return await self._answer_instance(model, faults, given, position)
        row = next((given[name] for name in ("custom_id", "key", "requestId") if name in given), "")
        if publisher in ("google", "anthropic"):
            line = {name: retyped(value) for name, value in given.items() if name != "request"}
            if getattr(faults, "keys_not_echoed", False):
                line = {}
            line |= {"processed_time": now(), "request": _echo(given["request"], faults)}
        else:
            line = {"custom_id": row, "id": f"batch-{position}"}
        said = faults.row_error(str(row), str(position))
        try:
            if said is not None:
                raise RefusedError(said.message, said.status, said.code, bare=said.bare)
            native = _read_line(publisher, model, given)
            reply = await self.engine.answer(native.endpoint, native.body)
            if not reply.ok:
                raise RefusedError(str(reply.body["error"]["message"]), reply.status)
        except RefusedError as error:
            return orjson.dumps({**line, **_failed(publisher, error)}), False
        if faults.line_separators:
            for choice in reply.body.get("choices", []):
                choice["message"]["content"] += "\u2028\u0085end"
        answer = native.write(reply.body)
        if position < getattr(faults, "malformed_calls", 0) and "candidates" in answer:
            # pydantic-ai#631: a finish reason, the prompt's tokens and no parts.
            answer["candidates"][0] |= {"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL"}
        if position < getattr(faults, "blocked_rows", 0) and "candidates" in answer:
            count = answer["usageMetadata"]["promptTokenCount"]
            feedback = {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "The prompt was blocked."}
            answer = {
                "promptFeedback": feedback,
                "usageMetadata": {"promptTokenCount": count, "totalTokenCount": count},
            }
        if publisher not in ("google", "anthropic"):
            answer = {"status_code": 200, "request_id": f"req-{position}", "body": answer}
        return orjson.dumps({**line, "status": "", "response": answer}), True

    async def _answer_instance(self, model: str, faults: FaultPlan, given: JSON, position: int) -> tuple[bytes, bool]:
        """A line of the models that take instances, which have no id."""
        said = faults.row_error(str(position))
        try:
            if said is not None:
                raise RefusedError(said.message, said.status, said.code, bare=said.bare)
            native = read_instance(model, given)
            reply = await self.engine.answer(native.endpoint, native.body)
            if not reply.ok:
                raise RefusedError(str(reply.body["error"]["message"]), reply.status)
        except RefusedError as error:
            told = {"predictions": [], "status": _failed("google", error)["status"]}
            return orjson.dumps({"instance": given, **told}), False
        return orjson.dumps({"instance": given, **native.write(reply.body), "status": ""}), True

    def _read(self, job: FakeJob) -> bytes:
        uri = job.told["inputConfig"]["gcsSource"]["uris"][0]
        for place in (uri, job.told["outputConfig"]["gcsDestination"]["outputUriPrefix"]):
            if not self.storage.bucket(_split(place)[0]).exists():
                raise JobError(9, f"Failed to get GCS bucket location for {_split(place)[0]}.")
        bucket, name = _split(uri)
        blob = self.storage.bucket(bucket).blob(name)
        if not blob.exists():
            raise JobError(9, f"Failed to read {uri}: there is no such object.")
        content: bytes = blob.download_as_bytes()
        return content

    def _write(self, job: FakeJob, faults: FaultPlan, lines: list[bytes]) -> None:
        prefix = job.told["outputConfig"]["gcsDestination"]["outputUriPrefix"].rstrip("/")
        folder = f"{prefix}/prediction-model-{now()}"
        if getattr(faults, "agent_cannot_write", False):
            raise JobError(7, f"The service agent has no permission storage.objects.create on {folder}.")
        random.Random(job.id).shuffle(lines)  # noqa: S311 - an order that nobody can rely on
        spoiled = faults.spoil(lines, _foreign, _BROKEN)
        files = getattr(faults, "files", 1)
        for number in range(files):
            bucket, name = _split(f"{folder}/{'predictions' if files == 1 else f'{number:012d}'}.jsonl")
            if faults.strange_names:
                name = f"{name.rpartition('/')[0]}/prediction.results-{number:05d}-of-{files:05d}"
            content = faults.file(spoiled[number::files])
            self.storage.bucket(bucket).blob(name).upload_from_string(content, content_type="application/jsonl")
        if faults.empty_error_file:
            bucket, name = _split(f"{folder}/errors.jsonl")
            self.storage.bucket(bucket).blob(name).upload_from_string(b"", content_type="application/jsonl")
        job.told["outputInfo"] = {"gcsOutputDirectory": folder}


def _split(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


def _problem(job: FakeJob, lines: list[bytes]) -> str | None:
    if not lines:
        return "Failed to import data. The file is empty."
    publisher, model = job.model
    if _is_old(publisher, model) and len(lines) > _MOST_INSTANCES:
        return f"Failed to import data. The file has more than {_MOST_INSTANCES} instances."
    if publisher == "google":
        return import_problem(lines)
    for number, line in enumerate(lines):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            value = None
        wanted = "request" if publisher == "anthropic" else "body"
        if not isinstance(value, dict) or not isinstance(value.get(wanted), dict) or not value.get("custom_id"):
            return f"Failed to import data. Line {number + 1} needs custom_id and {wanted}."
    return None


def _is_old(publisher: str, model: str) -> bool:
    """Whether the model is of Google's text embeddings before Gemini, which take instances."""
    return publisher == "google" and model.startswith("text")


def _read_line(publisher: str, model: str, given: JSON) -> Native:
    if publisher == "anthropic":
        request = given["request"]
        if request.get("anthropic_version") != "vertex-2023-10-16":
            raise RefusedError("anthropic_version: Field required")
        return read_claude(model, model, {**request, "anthropic_version": "bedrock-2023-05-31"}, "vertex")
    if publisher != "google":
        if given.get("method") != "POST" or given.get("url") not in ("/v1/chat/completions", "/v1/embeddings"):
            raise RefusedError("method must be POST and url a known endpoint")
        return Native(given["url"], given["body"], lambda answer: answer)
    if not isinstance(given.get("request"), dict):
        raise RefusedError("request: Field required")
    if "embedding" in model:
        return read_gemini_embedding(model, given["request"])
    return read_gemini(model, given["request"])


def _failed(publisher: str, error: RefusedError) -> JSON:
    if publisher not in ("google", "anthropic"):
        body = {"error": {"message": str(error), "type": "invalid_request_error", "param": None, "code": error.status}}
        return {"status": "", "response": {"status_code": error.status, "request_id": "req", "body": body}}
    if error.bare:
        return {"status": str(error), "response": {}}
    told = {"code": error.status, "message": str(error), "status": error.code or _WORDS.get(error.status, "UNKNOWN")}
    reason = _REASONS.get(error.status, "Internal Server Error")
    return {"status": f"{reason}: {orjson.dumps({'error': told}).decode()}", "response": {}}


def _echo(request: JSON, faults: FaultPlan) -> JSON:
    """The request as it comes back: keys in another order, nulls for unused members of parts."""
    echoed = {name: request[name] for name in sorted(request)}
    if getattr(faults, "labels_not_echoed", False):
        echoed.pop("labels", None)
    if isinstance(echoed.get("contents"), list):
        echoed["contents"] = [
            {**turn, "parts": [{"fileData": None, "inlineData": None, **part} for part in turn["parts"]]}
            for turn in echoed["contents"]
            if isinstance(turn.get("parts"), list)
        ]
    return echoed


def _stop(faults: FaultPlan, total: int) -> tuple[int | None, str]:
    """After how many rows the job ends by itself, and how."""
    early = "PARTIALLY_SUCCEEDED" if getattr(faults, "partially", False) else "EXPIRED"
    if faults.expired_fraction is not None:
        return round(total * (1 - faults.expired_fraction)), early
    stops = (
        (faults.expire_after_rows, early),
        (faults.cancel_after_rows, "CANCELLED"),
        (faults.hold_after_rows, "hold"),
    )
    return next(((rows, ending) for rows, ending in stops if rows is not None), (None, "SUCCEEDED"))


def _foreign(number: int) -> bytes:
    line = {"custom_id": f"foreign-{number}", "status": "", "request": {"contents": [number]}, "response": {}}
    return orjson.dumps(line)
