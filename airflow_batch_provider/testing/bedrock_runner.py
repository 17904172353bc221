"""How the fake Bedrock works a job off: it reads the input from S3, asks an engine, and writes output and manifest."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import orjson

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import Engine
from airflow_batch_provider.testing.cloud_job import CloudJob
from airflow_batch_provider.testing.faults import FaultPlan
from airflow_batch_provider.testing.native import RefusedError, read_native

STEP = 0.01
"""Seconds between statuses."""
TERMINAL = frozenset({"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"})
_BROKEN = b'{"modelInput":{"messages":[],"recordId":"r00'
_EXPIRED = {"errorCode": 400, "errorMessage": "The record expired.", "expired": True, "retryable": True}


@dataclass(slots=True)
class BedrockFaults(FaultPlan):
    """What else Bedrock can do wrong.

    :param error_in_output: errors of records stand inside ``modelOutput``.
    :param no_counts: jobs tell no record counts, as they did before 2026.
    """

    error_in_output: bool = False
    no_counts: bool = False


@dataclass(slots=True)
class FakeJob(CloudJob):
    """One job, as GetModelInvocationJob reports it.

    :param asked: the body it was created with.
    """

    asked: JSON
    tokens: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def id(self) -> str:
        """The last part of the ARN."""
        return str(self.told["jobArn"]).rpartition("/")[2]

    def turn(self, status: str, message: str | None = None) -> None:
        """Change the status; a job that is stopping goes nowhere but to its end."""
        if self.stop.is_set() and status not in TERMINAL | {"Stopping"}:
            return
        self.told["status"] = status
        self.told["lastModifiedTime"] = now()
        if message:
            self.told["message"] = message
        if status in TERMINAL:
            self.told["endTime"] = now()


def now() -> str:
    """The time as the service writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class BedrockRunner:
    """Works jobs off.

    :param s3: a client with the service role's rights.
    :param faults: None where they do not touch this job.
    """

    s3: Any
    engine: Engine
    min_records: int

    async def run(self, job: FakeJob, faults: FaultPlan) -> None:
        """From Submitted to the end."""
        try:
            await self._run(job, faults)
        except Exception as error:  # noqa: BLE001 - a job of the service ends, whatever happens
            job.turn("Failed", f"Internal error of the fake: {error!r}")

    async def _run(self, job: FakeJob, faults: FaultPlan) -> None:
        await asyncio.sleep(STEP)
        job.turn("Validating")
        files = await asyncio.to_thread(self._read, job)
        wrong = _problem(files, self.min_records, job) or _planned(faults)
        if wrong:
            job.turn("Failed", wrong)
            return
        total = sum(map(len, files.values()))
        job.told |= {"totalRecordCount": total, "processedRecordCount": 0}
        job.told |= {"successRecordCount": 0, "errorRecordCount": 0}
        for status in ("Scheduled", "InProgress"):
            await asyncio.sleep(STEP)
            if job.stop.is_set():
                job.turn("Stopped")
                return
            job.turn(status)
        rows, ending = _stop(faults, total)
        if ending == "Expired" and rows == 0:
            job.turn("Expired", "The job timed out before it began.")
            return
        ending = await self._answer_all(job, faults, files, rows, ending)
        job.turn(ending)

    async def _answer_all(
        self, job: FakeJob, faults: FaultPlan, files: dict[str, list[JSON]], rows: int | None, ending: str
    ) -> str:
        written: dict[str, list[bytes]] = {name: [] for name in files}
        done = 0
        for name, records in files.items():
            for position, record in enumerate(records):
                if rows is not None and done == rows and ending == "hold":
                    await job.stop.wait()
                if job.stop.is_set() or (rows is not None and done >= rows):
                    if ending == "Expired" and not faults.silent_unrun:
                        written[name].append(_line(record, {"error": dict(_EXPIRED)}))
                        job.told["errorRecordCount"] += 1
                    continue
                written[name].append(await self._answer(job, faults, record, position))
                done += 1
                if done % 50 == 0:
                    await asyncio.sleep(0)
        if job.stop.is_set():
            job.turn("Stopping")
            await asyncio.sleep(STEP)
            ending = "Stopped"
        ending = {"Expired": "PartiallyCompleted"}.get(ending, ending)
        write = functools.partial(self._write, job, faults, written)
        if faults.late_output:
            job.held = write
        elif not faults.no_output and not faults.lost_output:
            await asyncio.to_thread(write)
        return ending

    async def _answer(self, job: FakeJob, faults: FaultPlan, record: JSON, position: int) -> bytes:
        found = await self._outcome(job, faults, record, position)
        job.told["processedRecordCount"] += 1
        job.told["successRecordCount" if "modelOutput" in found else "errorRecordCount"] += 1
        if "error" in found and getattr(faults, "error_in_output", False):
            found = {"modelOutput": {"expired": False, "retryable": False, **found["error"]}}
        line = _line(record, found)
        return line.replace(rb"\u2028", "\u2028".encode()) if faults.line_separators else line

    async def _outcome(self, job: FakeJob, faults: FaultPlan, record: JSON, position: int) -> JSON:
        said = faults.row_error(record["recordId"], str(position))
        if said is not None:
            return {"error": {"errorCode": said.code or said.status, "errorMessage": said.message}}
        kind = job.told.get("modelInvocationType", "InvokeModel")
        try:
            native = read_native(job.told["modelId"], kind, record["modelInput"])
        except RefusedError as error:
            return {"error": {"errorCode": error.status, "errorMessage": str(error)}}
        reply = await self.engine.answer(native.endpoint, native.body)
        if not reply.ok:
            return {"error": {"errorCode": reply.status, "errorMessage": str(reply.body["error"]["message"])}}
        usage = reply.body["usage"]
        job.tokens[0] += usage["prompt_tokens"]
        job.tokens[1] += usage.get("completion_tokens", 0)
        if faults.line_separators:
            for choice in reply.body.get("choices", []):
                choice["message"]["content"] += "\u2028\u0085end"
        return {"modelOutput": native.write(reply.body)}

    # ---- S3 ----------------------------------------------------------------------------------------------------

    def _read(self, job: FakeJob) -> dict[str, list[Any]]:
        """The records of every input file by its name below the input; what is no JSON is None."""
        uri = job.told["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        keys = [key] if key.endswith(".jsonl") else self._below(bucket, key)
        files = {}
        for found in keys:
            content = self.s3.get_object(Bucket=bucket, Key=found)["Body"].read()
            name = found.rpartition("/")[2] if found == key else found.removeprefix(key).lstrip("/")
            files[name] = [_load(line, number) for number, line in enumerate(content.split(b"\n")) if line.strip()]
        return files

    def _below(self, bucket: str, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return [key for key in found if key.endswith(".jsonl")]

    def _write(self, job: FakeJob, faults: FaultPlan, files: dict[str, list[bytes]]) -> None:
        uri = job.told["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
        bucket, _, prefix = f"{uri}{job.id}/".removeprefix("s3://").partition("/")
        for name, lines in files.items():
            content = faults.file(faults.spoil(lines, _foreign, _BROKEN))
            key = f"{prefix}{name}.out" if not faults.strange_names else f"{prefix}{name}/part-00000"
            self.s3.put_object(Bucket=bucket, Key=key, Body=content)
        if faults.empty_error_file:
            self.s3.put_object(Bucket=bucket, Key=f"{prefix}errors.jsonl.out", Body=b"")
        counts = ("totalRecordCount", "processedRecordCount", "successRecordCount", "errorRecordCount")
        manifest = {name: job.told[name] for name in counts}
        manifest |= {"inputTokenCount": job.tokens[0], "outputTokenCount": job.tokens[1]}
        self.s3.put_object(Bucket=bucket, Key=f"{prefix}manifest.json.out", Body=orjson.dumps(manifest))


def _load(line: bytes, number: int) -> Any:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if isinstance(record, dict):
        record.setdefault("recordId", f"REC{number:08d}")  # Bedrock invents one
    return record


def _problem(files: dict[str, list[Any]], least: int, job: FakeJob) -> str | None:
    """What validation says of the input; it does not look into ``modelInput``."""
    if not files:
        return "The input holds no .jsonl file."
    for name, records in files.items():
        for number, record in enumerate(records):
            if not isinstance(record, dict) or not isinstance(record.get("modelInput"), dict):
                return f"Validation failed: {name}, line {number + 1} is no JSON object with a modelInput."
            if not isinstance(record["recordId"], str):
                return f"Validation failed: {name}, line {number + 1}: recordId is no string."
    count = sum(map(len, files.values()))
    if count < least:
        arn, model = job.told["jobArn"], job.told["modelId"]
        return f"Batch job {arn} contains less records ({count}) than the required minimum of: {least} for {model}."
    return None


def _planned(faults: FaultPlan) -> str | None:
    return "; ".join(str(error.get("message") or error) for error in faults.job_errors) or None


def _stop(faults: FaultPlan, total: int) -> tuple[int | None, str]:
    """After how many rows the job ends by itself, and how."""
    if faults.expired_fraction is not None:
        return round(total * (1 - faults.expired_fraction)), "Expired"
    stops = (
        (faults.expire_after_rows, "Expired"),
        (faults.cancel_after_rows, "Stopped"),
        (faults.hold_after_rows, "hold"),
    )
    return next(((rows, ending) for rows, ending in stops if rows is not None), (None, "Completed"))


def _line(record: JSON, found: JSON) -> bytes:
    return orjson.dumps({"modelInput": record["modelInput"], **found, "recordId": record["recordId"]})


def _foreign(number: int) -> bytes:
    return orjson.dumps({"modelInput": {}, "modelOutput": {}, "recordId": f"FOREIGN{number:04d}"})
