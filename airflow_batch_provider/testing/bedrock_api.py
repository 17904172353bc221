"""Bedrock's control plane for batch inference, as strict as the service.

Paths, fields and patterns: botocore's model of Bedrock, 2023-04-20.
"""

from __future__ import annotations

import asyncio
import functools
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.types import Receive, Scope, Send

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.asgi import cut, lifespan, read_body
from airflow_batch_provider.testing.bedrock_runner import TERMINAL, BedrockRunner, FakeJob, now
from airflow_batch_provider.testing.calls import Answer, Call
from airflow_batch_provider.testing.cloud_job import CloudJobs
from airflow_batch_provider.testing.faults import FaultPlan
from airflow_batch_provider.testing.native import known_model

ACCOUNT = "123456789012"
_KINDS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    409: "ConflictException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_ACTIONS = {
    "create": "bedrock:CreateModelInvocationJob",
    "poll": "bedrock:GetModelInvocationJob",
    "list": "bedrock:ListModelInvocationJobs",
    "cancel": "bedrock:StopModelInvocationJob",
}
_COUNTS = ("totalRecordCount", "processedRecordCount", "successRecordCount", "errorRecordCount")
_TIMES = ("submitTime", "lastModifiedTime", "endTime")
_NEW_WORD = "awaiting_moonrise"


class BedrockError(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, message: str, kind: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind or _KINDS.get(status, "UnknownError")


@dataclass(slots=True)
class ControlPlane(CloudJobs[FakeJob]):
    """The ASGI application.

    :param keys: access keys that are known.
    :param deny: IAM actions that the caller may not do; may change.
    :param exists: whether an ``s3://`` URI holds anything.
    """

    region: str
    keys: frozenset[str]
    deny: Callable[[], frozenset[str]]
    faults: FaultPlan
    runner: BedrockRunner
    exists: Callable[[str], bool]
    calls: list[Call] = field(default_factory=list)
    jobs: list[FakeJob] = field(default_factory=list)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send, self.tasks)
            return
        call = Call.of(scope)
        call.kind, target = _kind(call)
        content = await read_body(receive)
        call.body = orjson.loads(content) if content.startswith(b"{") else None
        self.calls.append(call)
        if self.faults.latency:
            await asyncio.sleep(self.faults.latency)
        try:
            self._admit(call)
            answer = await self._answer(call, target)
        except BedrockError as error:
            answer = self._error(error)
        if answer is None:
            await cut(receive, send)
            return
        answer = self.faults.echo(call, answer)
        length = (b"content-length", str(len(answer.content)).encode())
        await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers, length]})
        await send({"type": "http.response.body", "body": answer.content})

    def _admit(self, call: Call) -> None:
        scope = call.headers.get("authorization", "").partition("Credential=")[2].partition(",")[0].split("/")
        if scope[0] not in self.keys:
            raise BedrockError(403, "The security token included in the request is invalid.", _KINDS[401])
        if len(scope) != 5 or scope[2:4] != [self.region, "bedrock"]:
            raise BedrockError(403, "Credential should be scoped to a valid region.", "InvalidSignatureException")
        actions = [_ACTIONS.get(call.kind, "")]
        if call.kind == "create" and isinstance(call.body, dict):
            actions += ["iam:PassRole", *(["bedrock:TagResource"] if call.body.get("tags") else [])]
        for action in actions:
            if action in self.deny():
                raise BedrockError(403, f"User: arn:aws:iam::{ACCOUNT}:user/u is not authorized to perform: {action}")
        said = self.faults.take_status(call.kind)
        if said is not None:
            raise BedrockError(said.status, said.message, said.code)

    def _error(self, error: BedrockError) -> Answer:
        headers = {"x_amzn_errortype": error.kind}
        headers |= self.faults.wait_headers(error.status)
        return Answer.of(error.status, {"message": str(error)}, **headers)

    async def _answer(self, call: Call, target: str) -> Answer | None:
        if call.kind == "create":
            return await self._create(call)
        if call.kind == "list":
            return Answer.of(200, self._list(call.query))
        if call.kind not in {"poll", "cancel"}:
            raise BedrockError(404, f"There is no {call.method} {call.path}.", "UnknownOperationException")
        job = self._job(target)
        if self.faults_of(job).lost_job:
            raise BedrockError(404, f"Could not find a model invocation job {target}.")
        if call.kind == "poll":
            if job.told["status"] in TERMINAL and job.is_due(self.faults_of(job).late_output):
                await asyncio.to_thread(job.write_late)
            return Answer.of(200, self._told(job))
        if self.faults_of(job).cancel_in_vain:
            return Answer.of(200, {})
        if job.told["status"] in TERMINAL or job.stop.is_set():
            message = f"The job is {job.told['status']} and cannot be stopped."
            raise BedrockError(400, message, "ConflictException")
        job.stop.set()
        job.turn("Stopping")
        return Answer.of(200, {})

    def _job(self, target: str) -> FakeJob:
        arn = rf"arn:aws(?:-[^:]+)?:bedrock:{self.region}:{ACCOUNT}:model-invocation-job/"
        found = re.fullmatch(rf"(?:{arn})?([a-z0-9]{{12}})", target)
        if not found:
            raise BedrockError(400, f"The provided job identifier is invalid: {target!r}")
        for job in self.jobs:
            if job.id == found[1]:
                return job
        raise BedrockError(404, f"Could not find a model invocation job {target}.")

    # ---- create ------------------------------------------------------------------------------------------------

    async def _create(self, call: Call) -> Answer | None:
        faults = self.faults
        if faults.take("token_limit"):
            raise BedrockError(400, "Too many jobs are in progress.", "ServiceQuotaExceededException")
        body = call.body if isinstance(call.body, dict) else {}
        if (job := await self.accepted(lambda: self._accept(body))) is None:
            return None
        said = faults.take_status("accepted")
        if said is not None:
            raise BedrockError(said.status, said.message, said.code)
        return Answer.of(200, {"jobArn": job.told["jobArn"]})

    async def _accept(self, body: JSON) -> FakeJob:
        """A job; the request token makes one of two."""
        check_create(body)
        same = self._same(body)
        if same is not None:
            return same
        uri = body["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
        if not await asyncio.to_thread(self.exists, uri):
            raise BedrockError(400, f"The input {uri} does not exist or cannot be read by the role.")
        same = self._same(body)  # a twin may have come meanwhile
        if same is not None:
            return same
        told = {name: value for name, value in body.items() if name != "tags"}
        arn = f"arn:aws:bedrock:{self.region}:{ACCOUNT}:model-invocation-job/{secrets.token_hex(6)}"
        told |= {"jobArn": arn, "status": "Submitted", "submitTime": now(), "lastModifiedTime": now()}
        told.setdefault("modelInvocationType", "InvokeModel")
        told.setdefault("timeoutDurationInHours", 24)
        job = FakeJob(told, body)
        self.jobs.append(job)
        self.keep(self.runner.run(job, self.faults_of(job)))
        return job

    def _same(self, body: JSON) -> FakeJob | None:
        """An earlier job by the same request token; the same token or name for something else is a conflict."""
        token = body.get("clientRequestToken")
        for job in self.jobs:
            if token and job.asked.get("clientRequestToken") == token:
                if job.asked != body:
                    raise BedrockError(400, "The client request token was used with other parameters.", _KINDS[409])
                return job
            if job.asked["jobName"] == body["jobName"]:
                raise BedrockError(400, f"The job name {body['jobName']} is in use.", _KINDS[409])
        return None

    # ---- look --------------------------------------------------------------------------------------------------

    def _told(self, job: FakeJob) -> JSON:
        faults = self.faults_of(job)
        job.polls += 1
        told = dict(job.told)
        if job.polls <= faults.unknown_status_polls:
            told["status"] = _NEW_WORD
        if faults.lying_counts:
            told |= dict.fromkeys(_COUNTS, 7) | {"totalRecordCount": 1_000_000}
        if getattr(faults, "no_counts", False):
            told = {name: value for name, value in told.items() if name not in _COUNTS}
        if faults.null_times:
            told = {name: value for name, value in told.items() if name not in _TIMES}
        for name in _TIMES if faults.clock_ahead else ():
            if name in told:
                told[name] = (_time(told[name]) + timedelta(seconds=faults.clock_ahead)).isoformat()
        for name in _TIMES if faults.ms_times or faults.iso_times else ():
            if name in told:
                told[name] = _time(told[name]).timestamp() if faults.ms_times else told[name].replace("Z", "+00:00")
        return told

    def _list(self, query: dict[str, str]) -> JSON:
        size = int(query.get("maxResults", "100"))
        if not 1 <= size <= 1000:
            raise BedrockError(400, "maxResults must be between 1 and 1000.")
        if query.get("sortBy", "CreationTime") != "CreationTime":
            raise BedrockError(400, "sortBy must be CreationTime.")
        found = [job for job in self.jobs if _fits(job.told, query)]
        if query.get("sortOrder", "Descending") == "Descending":
            found.reverse()
        start = 0
        if "nextToken" in query:
            if not query["nextToken"].startswith("page-"):
                raise BedrockError(400, "The pagination token is invalid.")
            start = int(query["nextToken"].removeprefix("page-"))
        faults = self.faults
        if faults.take("hollow_list"):
            return {"invocationJobSummaries": [], "nextToken": f"page-{start}"}
        start = 0 if faults.stuck_list else start
        page: JSON = {"invocationJobSummaries": faults.page([self._told(job) for job in found[start : start + size]])}
        if start + size < len(found) or faults.stuck_list:
            page["nextToken"] = f"page-{start + size}"
        return page


def _fits(told: JSON, query: dict[str, str]) -> bool:
    submitted = _time(told["submitTime"])
    return (
        query.get("nameContains", "") in told["jobName"]
        and query.get("statusEquals", told["status"]) == told["status"]
        and ("submitTimeAfter" not in query or submitted > _time(query["submitTimeAfter"]))
        and ("submitTimeBefore" not in query or submitted < _time(query["submitTimeBefore"]))
    )


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise BedrockError(400, f"{text!r} is no time.") from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _kind(call: Call) -> tuple[str, str]:
    """What a call asks for, and of which job."""
    path = call.path
    if path == "/model-invocation-job" and call.method == "POST":
        return "create", ""
    if path == "/model-invocation-jobs" and call.method == "GET":
        return "list", ""
    head = "/model-invocation-job/"
    if path.startswith(head) and call.method == "GET":
        return "poll", unquote(path.removeprefix(head))
    if path.startswith(head) and path.endswith("/stop") and call.method == "POST":
        return "cancel", unquote(path.removeprefix(head).removesuffix("/stop"))
    return "other", ""


# ---- what a create must hold ---------------------------------------------------------------------------------------


@functools.cache
def _shapes() -> Any:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    # A session would read the profile that the environment names, which a fake has no use for.
    model = ServiceModel(Loader().load_service_model("bedrock", "service-2"))
    return model.operation_model("CreateModelInvocationJob").input_shape


def check_create(body: JSON) -> None:
    """Every constraint of the service's own model: required fields, patterns, lengths, enums.

    :raises BedrockError: naming the field.
    """
    _check(_shapes(), body, "")
    model = body["modelId"]
    if not known_model(model):
        raise BedrockError(400, "The provided model identifier is invalid.")


def _check(shape: Any, value: Any, where: str) -> None:
    kinds: dict[str, Any] = {"structure": dict, "list": list, "string": str, "integer": int}
    fits = isinstance(value, kinds.get(shape.type_name, object)) and not isinstance(value, bool)
    if not fits:
        raise _invalid(value, where, f"Member must be of type {shape.type_name}")
    if shape.type_name == "structure":
        _check_members(shape, value, where)
        return
    size = len(value) if shape.type_name in ("string", "list") else value
    told = shape.metadata
    if size < told.get("min", size) or size > told.get("max", size):
        raise _invalid(value, where, f"Member must be between {told.get('min')} and {told.get('max')}")
    if shape.type_name == "list":
        for number, item in enumerate(value, 1):
            _check(shape.member, item, f"{where}.{number}.member")
    elif shape.type_name == "string":
        if told.get("enum") and value not in told["enum"]:
            raise _invalid(value, where, f"Member must satisfy enum value set: {told['enum']}")
        if told.get("pattern") and not re.fullmatch(told["pattern"], value):
            raise _invalid(value, where, f"Member must satisfy regular expression pattern: {told['pattern']}")


def _check_members(shape: Any, value: JSON, where: str) -> None:
    for name in shape.required_members:
        if name not in value:
            raise _invalid(None, f"{where}.{name}".lstrip("."), "Member must not be null")
    for name, item in value.items():
        if name not in shape.members:
            raise BedrockError(400, f"Unexpected field {name!r}.", "SerializationException")
        _check(shape.members[name], item, f"{where}.{name}".lstrip("."))


def _invalid(value: Any, where: str, rule: str) -> BedrockError:
    return BedrockError(
        400, f"1 validation error detected: Value {value!r} at '{where}' failed to satisfy constraint: {rule}"
    )
