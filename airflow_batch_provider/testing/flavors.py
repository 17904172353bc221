"""How OpenAI-shaped providers differ from OpenAI, one class each, its differences only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from typing_extensions import override

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import ENDPOINTS, error_body
from airflow_batch_provider.local.objects import TERMINAL
from airflow_batch_provider.local.policy import MEBIBYTE, Policy
from airflow_batch_provider.local.store import Store
from airflow_batch_provider.testing.calls import Answer, Call

_SHORT = {endpoint.removeprefix("/v1"): endpoint for endpoint in ENDPOINTS}


class Flavor:
    """OpenAI itself.

    :param key: the key every call must carry.
    """

    name: ClassVar[str] = "openai"
    base: ClassVar[str] = "/v1"
    own_service: ClassVar[bool] = True
    """Whether chat requests are refused as by OpenAI's own service."""

    headers: ClassVar[Mapping[str, str]] = {}
    """What a client must send beside its key."""

    store: Store | None = None
    """The memory of the server behind."""

    def __init__(self, key: str) -> None:
        self.key = key

    def policy(self) -> Policy:
        """The rules of the server behind."""
        return Policy()

    def parts(self, call: Call) -> list[str] | None:
        """The call's path below the base, None when the fake does not serve it."""
        return call.parts(self.base)

    def refuse(self, call: Call) -> Answer | None:
        """The answer to a call without its key or headers."""
        if call.bearer == self.key:
            return None
        return Answer.of(401, error_body("Incorrect API key provided.", code="invalid_api_key"))

    def refuse_create(self, call: Call) -> Answer | None:
        """The answer to a create that this provider does not take."""
        return None

    def refuse_file(self, call: Call, path: Path) -> Answer | None:
        """The answer to an upload whose content this provider does not take."""
        return None

    def refuse_life(self, seconds: int | None) -> Answer | None:
        """The answer to an upload that is to end after so many seconds; None for one that is taken."""
        return None

    def request(self, body: JSON) -> JSON:
        """What the server behind is told of a create call."""
        return dict(body)

    def job_errors(self, batch: JSON) -> list[JSON]:
        """Why this provider fails a batch that the server behind would run."""
        return []

    def download(self, given: str) -> tuple[Answer, JSON] | None:
        """A file that is not the server's own, with its batch; None leaves it to the server."""
        return None

    def output(self, batch: JSON) -> Answer | None:
        """``/batches/{id}/output``, None where it is the server's output file."""
        return None

    def error(self, answer: Answer) -> Answer:
        """An error of the server behind, as this provider tells it."""
        return answer

    def batch(self, batch: JSON, call: Call) -> JSON:
        """A batch as this provider tells it."""
        return batch

    def file(self, item: JSON, call: Call) -> JSON:
        """A file as this provider tells it."""
        return item

    def line(self, line: JSON) -> JSON:
        """An output line as this provider writes it."""
        return line

    def inner_id(self, given: str) -> str | None:
        """The server's id for one that a client gave, None when it is no id of this provider."""
        return given

    @property
    def empty_error_file(self) -> bool:
        """Whether a batch without failures has an error file."""
        return False


class Azure(Flavor):
    """Azure OpenAI: the v1 API and the older one with ``api-version``.

    :param tokens: says of a bearer token whether it is valid now, such as
        :meth:`~airflow_batch_provider.testing.entra.FakeEntra.accepts`.
    """

    name = "azure"
    base = "/openai/v1"

    def __init__(self, key: str, tokens: Callable[[str], bool] | None = None) -> None:
        super().__init__(key)
        self._tokens = tokens

    @override
    def policy(self) -> Policy:
        return Policy(aliases=_SHORT, endpoint_from_lines=True, max_rows=100_000, expires=False)

    @override
    def parts(self, call: Call) -> list[str] | None:
        return call.parts(self.base) or (call.parts("/openai") if call.query.get("api-version") else None)

    @override
    def refuse(self, call: Call) -> Answer | None:
        if self.key in {call.headers.get("api-key"), call.bearer}:
            return None
        if call.bearer and self._tokens is not None:
            return None if self._tokens(call.bearer) else Answer.of(401, _NO_TOKEN)
        message = "Access denied due to invalid subscription key or wrong API endpoint."
        return Answer.of(401, {"error": {"code": "401", "message": message}})

    @override
    def refuse_life(self, seconds: int | None) -> Answer | None:
        if seconds is None or 14 * 86_400 <= seconds <= 30 * 86_400:
            return None
        message = "Invalid value for 'expires_after.seconds': batch files are kept from 14 to 30 days."
        return Answer.of(400, {"error": {"code": "BadRequest", "message": message}})

    @override
    def batch(self, batch: JSON, call: Call) -> JSON:
        return azure_batch(batch)

    @override
    def line(self, line: JSON) -> JSON:
        return azure_line(line)

    @property
    @override
    def empty_error_file(self) -> bool:
        return True


_NO_TOKEN: JSON = {
    "error": {
        "code": "401",
        "message": "Unauthorized. Access token is missing, invalid, audience is incorrect "
        "(https://cognitiveservices.azure.com), or have expired.",
    }
}


def azure_batch(batch: JSON) -> JSON:
    """The batch as Azure tells it: another spelling while it is new, empty ids until it has ended."""
    shaped = {name: value for name, value in batch.items() if name not in {"usage", "model", "output_expires_after"}}
    if batch["status"] == "validating":
        shaped["status"] = "Validating"
        shaped["request_counts"] = {"total": None, "completed": None, "failed": None}
        for name in ("created_at", "expires_at"):
            moment = datetime.fromtimestamp(batch[name], timezone.utc)
            shaped[name] = moment.strftime("%Y-%m-%dT%H:%M:%S.1234567+00:00")
    elif batch["status"] not in TERMINAL:
        shaped["output_file_id"] = shaped["error_file_id"] = ""
    return shaped


_SAFE = {"hate": {"filtered": False, "severity": "safe"}}


def azure_line(line: JSON) -> JSON:
    """The line as Azure writes it: no ``id``, and what its content filter thought."""
    shaped = {name: value for name, value in line.items() if name != "id"}
    response = line["response"]
    if response is not None and "choices" in response["body"]:
        choices = [{**choice, "content_filter_results": _SAFE} for choice in response["body"]["choices"]]
        prompt = [{"prompt_index": 0, "content_filter_results": _SAFE}]
        body = {**response["body"], "choices": choices, "prompt_filter_results": prompt}
        shaped["response"] = {**response, "body": body}
    return shaped


class TrueFoundry(Flavor):
    """TrueFoundry's gateway, over OpenAI or, when the named integration says so, over Azure."""

    own_service: ClassVar[bool] = False
    name = "truefoundry"
    base = "/api/llm"
    headers: ClassVar[Mapping[str, str]] = {"x-tfy-provider-name": "openai-main"}

    def __init__(self, key: str, virtual_models: frozenset[str] = frozenset({"virtual-model"})) -> None:
        super().__init__(key)
        self._virtual_models = virtual_models

    @override
    def policy(self) -> Policy:
        return Policy(aliases=_SHORT, max_batch_bytes=50 * MEBIBYTE, max_upload_bytes=50 * MEBIBYTE)

    @override
    def refuse(self, call: Call) -> Answer | None:
        if call.bearer != self.key:
            return Answer.of(401, error_body("Invalid API key: a personal or virtual access token is needed."))
        provider = call.headers.get("x-tfy-provider-name")
        if not provider:
            return Answer.of(400, error_body("Header x-tfy-provider-name is required for files and batches."))
        if "azure" in provider and not call.headers.get("x-tfy-azure-api-version"):
            return Answer.of(400, error_body("Header x-tfy-azure-api-version is required for Azure OpenAI."))
        return None

    @override
    def refuse_create(self, call: Call) -> Answer | None:
        named = {call.body.get("model"), call.headers["x-tfy-provider-name"]}
        if named & self._virtual_models:
            return Answer.of(400, error_body("Virtual models are not supported in batch requests."))
        return None

    @override
    def batch(self, batch: JSON, call: Call) -> JSON:
        return azure_batch(batch) if "azure" in call.headers["x-tfy-provider-name"] else batch


class Portkey(Flavor):
    """Portkey's gateway.

    :param behind: what slugs, virtual keys and configs lead to: ``openai`` or ``azure``.
    :param uri_ids: ids are percent-encoded URIs and ARNs, as they are over Bedrock and Vertex.
    """

    own_service: ClassVar[bool] = False
    name = "portkey"
    headers: ClassVar[Mapping[str, str]] = {"x-portkey-provider": "openai"}
    _PLAIN = frozenset({"openai", "azure-openai"})

    def __init__(self, key: str, behind: str = "openai", uri_ids: bool = False) -> None:
        super().__init__(key)
        self._behind = behind
        self._uri_ids = uri_ids

    @override
    def policy(self) -> Policy:
        azure = self._behind == "azure"
        return Policy(aliases=_SHORT if azure else {}, endpoint_from_lines=azure, expires=not azure)

    @override
    def refuse(self, call: Call) -> Answer | None:
        if self.key not in {call.headers.get("x-portkey-api-key"), call.bearer}:
            return Answer.of(401, {"status": "failure", "message": "Portkey Error: Invalid API Key"})
        provider = call.headers.get("x-portkey-provider")
        others = ("x-portkey-virtual-key", "x-portkey-config")
        if not provider and not any(call.headers.get(name) for name in others):
            return _failure("Either x-portkey-config or x-portkey-provider header is required")
        if provider and provider not in self._PLAIN and not provider.startswith("@"):
            return _failure("Invalid provider passed")
        return None

    def is_azure(self, call: Call) -> bool:
        """Whether this call ends at Azure."""
        provider = call.headers.get("x-portkey-provider")
        return self._behind == "azure" if provider not in self._PLAIN else provider == "azure-openai"

    @override
    def error(self, answer: Answer) -> Answer:
        return Answer.of(answer.status, {**answer.json, "provider": "openai"})

    @override
    def batch(self, batch: JSON, call: Call) -> JSON:
        shaped = azure_batch(batch) if self.is_azure(call) else dict(batch)
        for name, value in batch.items():
            if name.endswith("_at") and isinstance(value, int):
                shaped[name] = value * 1000
        counts = batch["request_counts"]
        shaped["request_counts"] = (
            {"total": counts["total"], "completed": str(counts["completed"]), "failed": str(counts["failed"])}
            if batch["status"] in TERMINAL
            else {"total": 0, "completed": None, "failed": None}
        )
        if self._uri_ids:
            shaped["id"] = _encoded(_ARN + batch["id"])
            for name in ("input_file_id", "output_file_id", "error_file_id"):
                shaped[name] = _encoded(_S3 + batch[name]) if batch[name] else shaped[name]
        return shaped

    @override
    def file(self, item: JSON, call: Call) -> JSON:
        if not self._uri_ids:
            return item
        return {**item, "id": _encoded(_S3 + item["id"]), "created_at": None, "create_at": item["created_at"] * 1000}

    @override
    def line(self, line: JSON) -> JSON:
        return azure_line(line) if self._behind == "azure" else line

    @override
    def inner_id(self, given: str) -> str | None:
        if not self._uri_ids:
            return given
        for prefix in (_S3, _ARN):
            if given.startswith(prefix):
                return given.removeprefix(prefix)
        return None

    @property
    @override
    def empty_error_file(self) -> bool:
        return self._behind == "azure"


_S3 = "s3://fake-bucket/"
_ARN = "arn:aws:bedrock:us-east-1:000000000000:model-invocation-job/"


def _encoded(text: str) -> str:
    return quote(text, safe="")


def _failure(message: str) -> Answer:
    return Answer.of(400, {"status": "failure", "message": message})
