"""A gateway over Bedrock or Vertex AI, as it really answers; who signs how is in ``flavors_clouds``.

Source: Portkey's open-source gateway 1.15.2, run. TrueFoundry's matrix of files is
the same, and so is its fake. The rows are read as they were uploaded, in OpenAI's lines; what is put out has the shape
that the gateway, or the provider whose file it hands on, gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote

import orjson
from typing_extensions import override

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.objects import TERMINAL
from airflow_batch_provider.local.policy import MEBIBYTE, Policy
from airflow_batch_provider.local.store import Store
from airflow_batch_provider.testing.calls import Answer, Call
from airflow_batch_provider.testing.flavors import Flavor
from airflow_batch_provider.testing.gateway_lines import (
    bedrock_line,
    vertex_line,
    vertex_raw_line,
)

ARN = "arn:aws:bedrock:us-east-1:000000000000:model-invocation-job/"
MINIMUM = 100
_UPLOAD_CHARACTERS = 1_000_000
_BEDROCK_WORDS = {
    "validating": "Validating",
    "in_progress": "InProgress",
    "finalizing": "InProgress",
    "completed": "Completed",
    "failed": "Failed",
    "expired": "Expired",
    "cancelling": "Stopping",
    "cancelled": "Stopped",
}
_VERTEX_WORDS = {"finalizing": "in_progress"}
_MISSING = "Please make sure you have x-portkey-aws-s3-bucket and x-portkey-aws-bedrock-model headers provided."
_MODEL_WORDS = ("llama2", "llama3", "titan", "mistral", "anthropic", "ai21", "cohere", "amazon")


@dataclass(slots=True)
class _Job:
    """What the gateway told the cloud of a job.

    :param folder: where its output goes, ends with a slash.
    """

    folder: str
    model: str


class CloudFlavor(Flavor):
    """A gateway over one of the clouds.

    :param behind: ``bedrock`` or ``vertex-ai``.
    :param minimum: the fewest rows of a job on Bedrock.
    :param strict: whether files are read as the gateway reads them for Bedrock, and refused for what it cannot take.
    :param lists: whether it lists batches.
    """

    own_service: ClassVar[bool] = False
    prefix: ClassVar[str] = "x-portkey-"
    maximum: ClassVar[int] = 1024 * MEBIBYTE

    def __init__(
        self,
        key: str,
        behind: str,
        minimum: int = MINIMUM,
        strict: bool = True,
        lists: bool = True,
    ) -> None:
        super().__init__(key)
        self.behind = behind
        self.store: Store | None = None
        self._minimum = minimum if behind == "bedrock" else 1
        self._strict = strict
        self._lists = lists
        self._files: dict[str, str] = {}
        self._uris: dict[str, str] = {}
        self._asked: dict[str, JSON] = {}

    @property
    def is_bedrock(self) -> bool:
        """Which of the two clouds it is."""
        return self.behind == "bedrock"

    @override
    def policy(self) -> Policy:
        return Policy(max_rows=200_000, max_batch_bytes=self.maximum, max_upload_bytes=self.maximum)

    # ---- what is refused ---------------------------------------------------------------------------------------

    def header(self, call: Call, name: str) -> str | None:
        """One of the gateway's own headers."""
        return call.headers.get(f"{self.prefix}{name}")

    @override
    def refuse(self, call: Call) -> Answer | None:
        if call.kind == "delete":
            return self._failure(500, "Model is required") if self.is_bedrock else Answer(404, b"Not Found")
        if call.kind == "list" and (not self._lists or "after" in call.query):
            message = "listBatches is not supported" if not self._lists else "Invalid page token."
            return self._failure(400 if self._lists else 500, message)
        if call.kind == "upload":
            return self._refuse_upload(call)
        return None

    def _refuse_upload(self, call: Call) -> Answer | None:
        if self.is_bedrock:
            model = self.header(call, "aws-bedrock-model") or self.header(call, "provider-model")
            if not model or not self.header(call, "aws-s3-bucket"):
                return Answer.of(400, {"status": "failure", "message": _MISSING})
            if not any(word in model for word in _MODEL_WORDS) or "llama4" in model:
                return self._failure(500, "Invalid model slug")
            return None
        if not self.header(call, "provider-model") or not self.header(call, "vertex-storage-bucket-name"):
            message = (
                "Invalid request, please provide `x-portkey-provider-model` and "
                "`x-portkey-vertex-storage-bucket-name` in the request headers"
            )
            return Answer.of(400, {"success": False, "error": message, "provider": "vertex-ai"})
        return None

    @override
    def refuse_file(self, call: Call, path: Path) -> Answer | None:
        """What the gateway's own reading of the file ends with; over Vertex AI it leaves out what it cannot read."""
        if not self.is_bedrock or not self._strict:
            return None
        text = path.read_bytes()
        if len(text.decode()) > _UPLOAD_CHARACTERS:
            message = (
                "bedrock error: <Error><Code>EntityTooSmall</Code><Message>Your proposed upload is smaller than the "
                "minimum allowed size</Message></Error>"
            )
            return self._failure(500, message)
        for line in text.removesuffix(b"\n").split(b"\n"):
            row = _object(line)
            if row is None or not isinstance(row.get("body"), dict):
                message = f"Your file contains invalid json lines, or empty lines: \n failing line: {line.decode()}"
                return self._failure(500, message)
        return None

    @override
    def refuse_create(self, call: Call) -> Answer | None:
        body = call.body
        if self.is_bedrock and not body.get("role_arn"):
            return self._failure(
                400, "1 validation error detected: Value null at 'roleArn' failed to satisfy constraint"
            )
        if not body.get("model"):
            return self._failure(400, "model is required")
        if not self.header(call, "aws-region" if self.is_bedrock else "vertex-region") and self.signs_itself(call):
            return None if self.is_bedrock else self._failure(500, "fetch failed: undefined-aiplatform.googleapis.com")
        output = body.get("output_data_config")
        if not self.is_bedrock and output is not None and not isinstance(output, str):
            return self._failure(400, "Invalid output URI [object Object]")
        return None

    def signs_itself(self, call: Call) -> bool:
        """Whether the call's own headers hold the cloud's credentials."""
        return False

    def _failure(self, status: int, message: str) -> Answer:
        error = {"message": message, "type": None, "param": None, "code": status}
        return Answer.of(status, {"error": error, "provider": self.behind})

    @override
    def error(self, answer: Answer) -> Answer:
        return Answer.of(answer.status, {**answer.json, "provider": self.behind})

    # ---- files and ids -----------------------------------------------------------------------------------------

    @override
    def file(self, item: JSON, call: Call) -> JSON:
        uri = self._uris.get(item["id"])
        if uri is None:
            names = ("aws-s3-object-key", "aws-s3-bucket") if self.is_bedrock else ("", "vertex-storage-bucket-name")
            key = self.header(call, names[0]) or self.header(call, "provider-file-name") or f"{item['id']}.jsonl"
            uri = f"{'s3' if self.is_bedrock else 'gs'}://{self.header(call, names[1])}/{key}"
            self._uris[item["id"]] = uri
            self._files[uri] = item["id"]
        told: JSON = {"id": _encoded(uri), "object": "file", "filename": uri.rpartition("/")[2], "purpose": "batch"}
        if self.is_bedrock:
            return {
                **told,
                "created_at": item["created_at"],
                "filename": uri,
                "bytes": item["bytes"],
                "status": "processed",
                "status_details": "",
            }
        return {**told, "create_at": item["created_at"] * 1000, "bytes": item["bytes"], "status": "processed"}

    @override
    def inner_id(self, given: str) -> str | None:
        if given in self._files:
            return self._files[given]
        if self.is_bedrock:
            return f"batch_{given.removeprefix(ARN)}" if given.startswith(ARN) else self._nobody(given)
        return f"batch_{int(given):032x}" if given.isdecimal() else self._nobody(given)

    @staticmethod
    def _nobody(given: str) -> str | None:
        return "file-nobody" if "://" in given else None

    def _outer_id(self, batch_id: str) -> str:
        bare = batch_id.removeprefix("batch_")
        return ARN + bare if self.is_bedrock else str(int(bare, 16))

    # ---- batches -----------------------------------------------------------------------------------------------

    @override
    def request(self, body: JSON) -> JSON:
        """What is left of a create call: the gateway knows a few fields, the cloud no other window."""
        self._asked[self.inner_id(unquote(str(body.get("input_file_id")))) or ""] = body
        return {
            "input_file_id": body.get("input_file_id"),
            "endpoint": body.get("endpoint") or "/v1/chat/completions",
            "completion_window": "24h",
        }

    @override
    def job_errors(self, batch: JSON) -> list[JSON]:
        assert self.store is not None
        with self.store.path(batch["input_file_id"]).open("rb") as lines:
            rows = sum(1 for _ in lines)
        if rows >= self._minimum:
            return []
        message = f"The batch job contains less records ({rows}) than the required minimum of: {self._minimum}"
        return [{"code": "failed", "message": message, "param": None, "line": None}]

    @override
    def batch(self, batch: JSON, call: Call) -> JSON:
        told = self._bedrock_batch(batch, call) if self.is_bedrock else self._vertex_batch(batch)
        if call.kind == "create" and self.is_bedrock:
            return {"id": told["id"], "object": "batch"}
        if call.kind == "cancel":
            return {"status": "success", "object": "batch", "id": unquote(told["id"])} if self.is_bedrock else {}
        return told

    def _job(self, batch: JSON) -> _Job:
        body = self._asked[batch["input_file_id"]]
        output = body.get("output_data_config")
        if isinstance(output, dict):
            output = output["s3OutputDataConfig"]["s3Uri"]
        return _Job(output or self._uris[batch["input_file_id"]].rpartition("/")[0] + "/", body["model"])

    def _bedrock_batch(self, batch: JSON, call: Call) -> JSON:
        word = _BEDROCK_WORDS[batch["status"]]
        status = word if call.kind == "list" else {"InProgress": "in_progress"}.get(word, word.lower())
        ended = next((batch[f"{end}_at"] for end in TERMINAL if batch.get(f"{end}_at")), None)
        told: JSON = {
            "id": _encoded(self._outer_id(batch["id"])),
            "object": "batch",
            "created_at": batch["created_at"] * 1000,
            "status": status,
            "input_file_id": _encoded(self._uris[batch["input_file_id"]]),
            "output_file_id": _encoded(self._job(batch).folder),
            "finalizing_at": ended * 1000 if ended else None,
            "expires_at": (batch["created_at"] + 86_400) * 1000,
        }
        if batch["errors"]:
            message = batch["errors"]["data"][0]["message"]
            errors = [{"code": "failed", "message": message}]
            told |= {"failed_at": told["finalizing_at"], "errors": {"object": "list", "data": errors}}
        return told

    def _vertex_batch(self, batch: JSON) -> JSON:
        job = self._job(batch)
        ended = batch["status"] in TERMINAL
        counts: JSON = {"total": 0}
        if ended:
            done, failed = (batch["request_counts"][name] for name in ("completed", "failed"))
            # The cloud's own word for "unknown", -1, is added with the others.
            counts = {"total": done + failed - 1, "completed": str(done), "failed": str(failed)}
        told: JSON = {
            "id": self._outer_id(batch["id"]),
            "object": "batch",
            "endpoint": batch["endpoint"],
            "input_file_id": _encoded(self._uris[batch["input_file_id"]]),
            "completion_window": None,
            "status": _VERTEX_WORDS.get(batch["status"], batch["status"]),
            "output_file_id": _encoded(self._output_uri(batch) if ended else job.folder),
            "error_file_id": _encoded(job.folder),
            "created_at": batch["created_at"] * 1000,
            "in_progress_at": batch["in_progress_at"] * 1000 if batch["in_progress_at"] else None,
            "request_counts": counts,
        }
        for end in TERMINAL:
            if batch.get(f"{end}_at"):
                told[f"{end}_at"] = batch[f"{end}_at"] * 1000
        if batch["errors"]:
            message = batch["errors"]["data"][0]["message"]
            told["errors"] = {"object": "list", "data": [{"code": 3, "message": message}]}
        return told

    # ---- outputs -----------------------------------------------------------------------------------------------

    def _output_uri(self, batch: JSON) -> str:
        moment = datetime.fromtimestamp(batch["created_at"], timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        name = "000000000000" if batch["endpoint"] == "/v1/embeddings" else "predictions"
        return f"{self._job(batch).folder}prediction-model-{moment}-{batch['id'][-6:]}/{name}.jsonl"

    @override
    def download(self, given: str) -> tuple[Answer, JSON] | None:
        """Vertex AI's own file of a job, as it stands in the bucket."""
        assert self.store is not None
        for batch in self.store.list_batches(1_000, None) or []:
            done = batch["output_file_id"] or batch["error_file_id"]
            if done and not self.is_bedrock and given == self._output_uri(batch):
                return self._rows(batch, vertex_raw_line), batch
        if self.is_bedrock and given.endswith("/"):
            return self._failure(500, "NoSuchKey: The specified key does not exist."), {}
        return None

    @override
    def output(self, batch: JSON) -> Answer | None:
        """The gateway's own translation."""
        if batch["output_file_id"] is None and batch["error_file_id"] is None:
            if self.is_bedrock:
                return self._failure(500, "<Error><Code>NoSuchKey</Code></Error>")
            return Answer.of(500, {})
        if not self.is_bedrock and batch["endpoint"] == "/v1/embeddings":
            # It looks for a file of another name.
            return Answer.of(500, {})
        return self._rows(batch, bedrock_line if self.is_bedrock else vertex_line)

    def _rows(self, batch: JSON, write: Callable[[JSON, str, str], JSON | None]) -> Answer:
        model = self._job(batch).model
        made = (write(line, self._outer_id(batch["id"]), model) for line in self._answered(batch))
        content = b"".join(orjson.dumps(line) + b"\n" for line in made if line is not None)
        return Answer(200, content, ((b"content-type", b"application/octet-stream"),))

    def _answered(self, batch: JSON) -> Iterator[JSON]:
        assert self.store is not None
        for name in ("output_file_id", "error_file_id"):
            if batch[name] is not None:
                for line in self.store.path(batch[name]).read_bytes().split(b"\n")[:-1]:
                    yield orjson.loads(line)


def _encoded(text: str) -> str:
    return quote(text, safe="")


def _object(line: bytes) -> Any:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None
