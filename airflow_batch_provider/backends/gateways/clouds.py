"""Bedrock and Vertex AI behind a gateway: OpenAI's wire, whose files the gateway translates and lays into a bucket.

Source: Portkey's open-source gateway 1.15.2, read and run; TrueFoundry's matrix of
files is the same, so the same is expected of it.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, ClassVar

import orjson

from airflow_batch_provider.backends.gateways.cloud_place import CloudPlace
from airflow_batch_provider.backends.paging import Page, Pages
from airflow_batch_provider.backends.wire.errors import HONO_HINT
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route, WireFacts
from airflow_batch_provider.core.errors import (
    ConfigurationError,
    NotFoundError,
    ProviderError,
    RequestRejectedError,
)
from airflow_batch_provider.core.finding import Handle
from airflow_batch_provider.core.identity import safe_name
from airflow_batch_provider.core.records import JSON, Found, Job, ModelRules, Shard
from airflow_batch_provider.dialects.base import LineFormat
from airflow_batch_provider.dialects.families import CHAT, EMBEDDINGS
from airflow_batch_provider.dialects.gateway import Provider, behind, gateway_format
from airflow_batch_provider.dialects.openai import OpenAIFormat

log = logging.getLogger(__name__)
_WORDS = frozenset({"bedrock", "vertex-ai"})
_PLAIN = ("region", "s3-bucket", "bucket-name", "project-id")
"""Headers whose values everybody may know, and that logs are useless without."""
_JOB_NAME = 63
_WRAPPED = b'{"html-message"'
"""What Portkey makes of a file whose media type in the bucket is text/plain; of most other types it makes a 500."""


@dataclass(frozen=True)
class Cloud:
    """How one cloud is spoken of in a gateway's headers.

    :param headers: of every call: from the end of a header's name to the field of the place.
    :param model: the header that names an upload's model; ``key`` the object's.
    """

    provider: Provider
    headers: Mapping[str, str]
    model: str
    key: str


CLOUDS: dict[str, Cloud] = {
    "bedrock": Cloud(
        "bedrock",
        {"aws-region": "region", "aws-s3-bucket": "bucket"},
        "aws-bedrock-model",
        "aws-s3-object-key",
    ),
    "vertex_ai": Cloud(
        "vertex_ai",
        {
            "vertex-region": "region",
            "vertex-storage-bucket-name": "bucket",
            "vertex-project-id": "project",
        },
        "provider-model",
        "provider-file-name",
    ),
}


def place_headers(cloud: Cloud, prefix: str, place: CloudPlace) -> dict[str, str | None]:
    """The headers of every call.

    :param prefix: how the gateway's headers begin, e.g. ``x-portkey-``.
    """
    headers = {f"{prefix}{name}": getattr(place, of) for name, of in cloud.headers.items()}
    return {**headers, **{f"{prefix}{name}": value for name, value in place.keys.items()}}


def missing_of(
    cloud: Cloud,
    prefix: str,
    headers: Mapping[str, str | None],
    place: CloudPlace,
    body: Mapping[str, Any],
    *,
    signs: bool,
) -> list[str]:
    """What is missing of a place, as sentences with their remedy.

    :param headers: all that will be sent.
    :param body: what is added to every create call.
    :param signs: whether the connection's own keys are what the gateway signs with.
    """

    def has(name: str) -> bool:
        return bool(headers.get(f"{prefix}{name}"))

    is_aws = cloud.provider == "bedrock"
    region, bucket = [*cloud.headers][:2]
    missing = []
    if signs and not has(region):
        example = "us-east-1" if is_aws else "us-central1"
        missing.append(f"the region is missing; set {region.replace('-', '_')}, e.g. to {example}")
    if not has(bucket):
        field_name = bucket.replace("-", "_")
        missing.append(f"the bucket is missing; set {field_name} to one that the gateway's credentials may write to")
    if is_aws and not place.role_arn and "role_arn" not in body:
        missing.append("role_arn is missing; set it to the service role that reads and writes the bucket for Bedrock")
    scheme = "s3://" if is_aws else "gs://"
    if place.output_uri and not place.output_uri.startswith(scheme):
        missing.append(f"output_uri must begin with {scheme}")
    if signs and not (_signs_aws(has) if is_aws else _signs_google(has, headers)):
        missing.append(
            "the AWS keys are missing; set aws_access_key_id and aws_secret_access_key"
            if is_aws
            else "Google's credentials are missing; set vertex_service_account_json, or bearer and vertex_project_id"
        )
    return missing


def _signs_aws(has: Callable[[str], bool]) -> bool:
    # A gateway on AWS may also have a role of its own.
    return has("aws-auth-type") or (has("aws-access-key-id") and has("aws-secret-access-key"))


def _signs_google(has: Callable[[str], bool], headers: Mapping[str, str | None]) -> bool:
    return has("vertex-service-account-json") or bool(headers.get("authorization") and has("vertex-project-id"))


class CloudBackend(OpenAIBackend):
    """Batches on a cloud behind a gateway.

    :param cloud: which one.
    :param place: what the connection says of it.
    :param prefix: how the gateway's headers begin.
    """

    option_names: ClassVar[frozenset[str]] = frozenset({"delete_inputs", "extra_body", "file_name", "job_name"})
    find_is_complete: ClassVar[bool] = False
    handles: ClassVar[tuple[str, ...]] = ("the uploaded file's key, which holds the token",)

    def __init__(
        self,
        route: Route,
        facts: WireFacts,
        models: ModelRules | None,
        *,
        cloud: Cloud,
        place: CloudPlace,
        prefix: str,
    ) -> None:
        super().__init__(route, facts, models)
        self.cloud = cloud
        self.place = place
        self._prefix = prefix

    @property
    def secrets(self) -> Iterable[str]:
        """The values of all headers but names of places, and the parts of a service account's key."""
        found = []
        for name, value in self.route.headers:
            if not name.lower().endswith(_PLAIN) and value not in _WORDS:
                found += [value, *_key_parts(value)]
        return found

    def check_route(self, models: Sequence[str | None], endpoints: Sequence[str], options: Mapping[str, Any]) -> None:
        """Refuse also a model that the gateway cannot write lines for."""
        super().check_route(models, endpoints, options)
        for model in models:
            for endpoint in endpoints:
                self._format(self._named(model), endpoint)

    def line_format(self, model: str | None, endpoint: str) -> LineFormat:
        """OpenAI's lines, tidied for the gateway; see :mod:`airflow_batch_provider.dialects.gateway`."""
        if self.cloud.provider == "bedrock" and not (model or self.models.default):
            # A job to read that somebody else has made: what the gateway has translated needs no model.
            return OpenAIFormat(None, endpoint, ascii_only=True, tokens=True)
        return self._format(self._named(model), endpoint)

    def _format(self, model: str, endpoint: str) -> LineFormat:
        return gateway_format(self.cloud.provider, model, endpoint, self.place.families, self.place.model_facts)

    def _named(self, model: str | None) -> str:
        model = model or self.models.resolve(None)
        if not model:
            raise ConfigurationError(
                f"{self.name}: no model is set, and the gateway requires one for every file and job; set the "
                "connection's default_model, or the operator's model"
            )
        # "@slug/model" is the spelling of a gateway's catalogue.
        return model.partition("/")[2] if model.startswith("@") and "/" in model else model

    # ---- upload and create -------------------------------------------------------------------------------------

    def upload(self, shard: Shard, token: str, stream: BinaryIO, options: Mapping[str, Any]) -> str:
        """Upload under a key that no other create has."""
        name = self._own_name(str(options.get("file_name") or shard.name), token)
        return self._lay_down(name, stream, shard.model, shard.endpoint)

    def upload_file(self, name: str, stream: BinaryIO) -> str:
        """Upload any JSONL of OpenAI's lines under its own key; the model is that of its first line, or the
        connection's default."""
        first = stream.readline()
        stream.seek(0)
        try:
            line = orjson.loads(first)
            body, endpoint = line["body"], line.get("url") or CHAT
            named = body.get("model") if isinstance(body, dict) else None
        except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError):
            named, endpoint = None, CHAT
        name = self._own_name(name, secrets.token_hex(8))
        return self._lay_down(name, stream, self.models.resolve(named), endpoint)

    def _lay_down(self, name: str, stream: BinaryIO, model: str | None, endpoint: str) -> str:
        prefix = self._prefix
        headers = {
            f"{prefix}{self.cloud.model}": self._wire_model(model),
            # A folder for each, because the output goes beside the input by default.
            f"{prefix}{self.cloud.key}": f"{self._key_prefix}{name}/{name}.jsonl",
        }
        if endpoint == EMBEDDINGS:
            # Without it the gateway makes chats of them and says nothing.
            headers[f"{prefix}provider-batch-endpoint"] = EMBEDDINGS
        try:
            return self.send_file(f"{name}.jsonl", stream, headers)
        except ProviderError as error:
            if "EntityTooSmall" not in str(error):
                raise
            raise RequestRejectedError(
                f"{error} (the gateway uploads more than about 1,000,000 characters in parts that S3 refuses; set the "
                "connection's max_bytes to less)",
                status=error.status,
            ) from error

    @staticmethod
    def _own_name(stem: str, token: str) -> str:
        return f"{safe_name(stem.removesuffix('.jsonl'), _JOB_NAME - len(token) - 1)}-{token}"

    @property
    def _key_prefix(self) -> str:
        """The prefix in letters that a signature over a path survives."""
        parts = [safe_name(part, 60) for part in self.place.prefix.split("/") if part]
        return "".join(f"{part}/" for part in parts)

    def _wire_model(self, model: str | None) -> str:
        """The model as the gateway wants it: on Vertex AI a prefix says whose it is."""
        named = self._named(model)
        if self.cloud.provider == "bedrock":
            return named
        bare = named.rpartition("/models/")[2] if "/models/" in named else named
        family = behind("vertex_ai", bare, self.place.families).family
        return f"anthropic.{bare}" if family.publisher == "anthropic" and "." not in bare.split("-")[0] else bare

    def create_request(self, shard: Shard, token: str, input_id: str, options: Mapping[str, Any]) -> JSON:
        """The body of ``POST /batches``; metadata is not in it, since the gateway leaves it out."""
        name = self._own_name(str(options.get("job_name") or self.place.job_name or shard.name), token)
        body: JSON = {
            "input_file_id": input_id,
            "endpoint": shard.endpoint,
            "completion_window": self.facts.provider.completion_window,
            "model": self._wire_model(shard.model),
            "job_name": name,
        }
        if self.cloud.provider == "bedrock" and self.place.role_arn:
            body["role_arn"] = self.place.role_arn
        output = self._output_config(input_id, name)
        if output:
            body["output_data_config"] = output
        extra = self.extra.recorded(options.get("extra_body"))
        return {**body, **extra, "input_file_id": input_id}

    def _output_config(self, input_id: str, name: str) -> Any:
        """Where the output goes, in a folder of this job's alone; None leaves it beside the input. It ends with a
        slash, or the gateway looks for another object."""
        chosen = self.place.output_uri
        uri = f"{chosen.rstrip('/')}/{name}/" if chosen else f"{input_id.rpartition('/')[0]}/"
        if self.cloud.provider == "vertex_ai":
            return uri if chosen else None
        key = self.place.kms_key_id
        if not chosen and not key:
            return None
        return {"s3OutputDataConfig": {"s3Uri": uri, **({"s3EncryptionKeyId": key} if key else {})}}

    # ---- find and list -----------------------------------------------------------------------------------------

    def find(self, handles: Sequence[Handle], beside: Collection[str] = ()) -> Found:
        """As every backend, by the uploads, whose keys hold the token, on the one page that the gateway shows; what is
        not there is unknown, never absent."""
        try:
            found: Found = super().find(handles, beside)
        except (NotFoundError, RequestRejectedError, ProviderError) as error:
            if not _is_unsupported(error):
                raise
            return Found((), complete=False)
        return found

    def job_pages(self, limit: int | None = None) -> Pages:
        """The newest batches: over Bedrock a gateway shows one page, over Vertex AI it keeps the next one's token to
        itself."""
        return Pages(self._only_page, limit)

    def _only_page(self, _: str | None) -> Page:
        return self._page(None)._replace(more=False)

    def probe(self) -> str:
        """List one batch, where the gateway can."""
        try:
            return super().probe()
        except (NotFoundError, RequestRejectedError, ProviderError) as error:
            if not _is_unsupported(error):
                raise
            return f"{self.route.base_url} answers; it lists no batches of this provider"

    # ---- outputs and files -------------------------------------------------------------------------------------

    def outputs(self, job: Job) -> Iterator[bytes]:
        """Vertex AI's own file, which the gateway hands out byte for byte where its translation breaks UTF-8; for
        Bedrock, of whose output it names only the folder, its translation."""
        files = tuple(handle for handle in job.outputs if handle.endswith(".jsonl"))
        chunks = super().outputs(replace(job, outputs=files))
        try:
            head = next(chunks, b"")
        except ProviderError as error:
            if not files or HONO_HINT not in str(error):
                raise
            head = _WRAPPED
        if head.startswith(_WRAPPED):
            log.warning("The gateway does not hand out %s as it is; its own translation may break characters", files)
            chunks = super().outputs(replace(job, outputs=()))
            head = next(chunks, b"")
        if head:
            yield head
        yield from chunks

    def delete(self, handle: str) -> None:
        """Leave the object where it is: the gateway cannot delete it."""
        log.warning("The gateway does not delete files of %s; %s is left in the bucket", self.cloud.provider, handle)


def _is_unsupported(error: NotFoundError | RequestRejectedError | ProviderError) -> bool:
    """Whether an answer to a list says that there is none, rather than that it cannot be had just now."""
    return not isinstance(error, ProviderError) or "not supported" in str(error)


def _key_parts(value: str) -> list[str]:
    """The secret parts of a service account's key, as they stand in JSON and without it."""
    if not value.startswith("{"):
        return []
    try:
        key = json.loads(value)
    except ValueError:
        return []
    parts = [key.get(name) for name in ("private_key", "private_key_id")] if isinstance(key, dict) else []
    texts = [part for part in parts if isinstance(part, str)]
    return [*texts, *(text.replace("\n", "\\n") for text in texts)]
