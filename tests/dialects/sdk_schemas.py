"""What the providers' own SDKs know of their requests, as checks."""

from __future__ import annotations

import base64
import re
from typing import Any

import boto3
from anthropic.types import message_create_params
from botocore.validate import ParamValidator
from pydantic import ConfigDict, TypeAdapter, with_config

from airflow_batch_provider.core.records import JSON

CONVERSE = (
    boto3.session.Session(aws_access_key_id="none", aws_secret_access_key="none")
    .client("bedrock-runtime", region_name="us-east-1")
    .meta.service_model.operation_model("Converse")
)


def valid_converse(made: JSON) -> None:
    """Botocore takes the request; enums, patterns and upper bounds, which its validator skips, are checked too."""
    params = {**_with_bytes(made), "modelId": "m"}
    report = ParamValidator().validate(params, CONVERSE.input_shape)
    assert not report.has_errors(), report.generate_report()
    _check(params, CONVERSE.input_shape, "")


def _with_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: base64.b64decode(item, validate=True) if name == "bytes" else _with_bytes(item)
            for name, item in value.items()
        }
    return [_with_bytes(item) for item in value] if isinstance(value, list) else value


def _check(value: Any, shape: Any, path: str) -> None:
    rules = shape.metadata
    if shape.type_name == "structure" and shape.name != "Document":
        for name, item in value.items():
            if name in shape.members:
                _check(item, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            _check(item, shape.member, f"{path}[{index}]")
    elif shape.type_name == "string":
        assert not shape.enum or value in shape.enum, path
        assert "pattern" not in rules or re.fullmatch(rules["pattern"], value), path
        assert len(value) <= rules.get("max", len(value)), path
    elif shape.type_name in ("integer", "float"):
        assert value <= rules.get("max", value), path


@with_config(ConfigDict(extra="forbid"))
class Request(message_create_params.MessageCreateParamsBase, total=False):  # type: ignore[misc]
    """The SDK's request, with what only its cloud clients or older versions of it write."""

    anthropic_version: str
    temperature: float
    top_p: float
    top_k: int


REQUEST: TypeAdapter[Any] = TypeAdapter(Request)


def valid_anthropic(made: JSON) -> None:
    """The SDK takes the request: its messages are lazy iterables, which are read to the end here."""
    found = REQUEST.validate_python({**made, "model": "claude"})
    for message in found["messages"]:
        if not isinstance(message["content"], str):
            list(message["content"])
    for lazy in ("tools", "system"):
        if not isinstance(found.get(lazy, ""), str):
            list(found[lazy])
