"""Line formats of the providers that have one of their own: a dialect inside an envelope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import orjson

from airflow_batch_provider.core.errors import ConfigurationError, UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest, BatchResult
from airflow_batch_provider.dialects.anthropic import Anthropic
from airflow_batch_provider.dialects.base import LineFormat, Sent, token
from airflow_batch_provider.dialects.chat import Dialect, Failure
from airflow_batch_provider.dialects.converse import Converse
from airflow_batch_provider.dialects.envelopes import EXPIRED, BedrockRecord, Envelope, KeyedRecord, VertexRecord
from airflow_batch_provider.dialects.families import Family
from airflow_batch_provider.dialects.gemini import GeminiDialect
from airflow_batch_provider.dialects.gemini_embed import GeminiEmbedDialect
from airflow_batch_provider.dialects.openai import TOO_DEEP, OpenAIFormat, is_too_deep, load_line, result_of
from airflow_batch_provider.dialects.openai_body import OpenAIBody
from airflow_batch_provider.dialects.titan import TitanEmbeddings

MakeDialect: TypeAlias = "Callable[[Family, str], Dialect]"
_DIALECTS: dict[str, MakeDialect] = {
    "gemini": GeminiDialect,
    "gemini_embed": GeminiEmbedDialect,
    "converse": Converse,
    "anthropic": Anthropic,
    "openai": OpenAIBody,
    "titan_embed": TitanEmbeddings,
}


class TranslatedFormat(LineFormat):
    """Lines in a provider's own format.

    :param dialect: how bodies are written and read.
    :param envelope: how lines are.
    """

    def __init__(self, dialect: Dialect, envelope: Envelope) -> None:
        super().__init__()
        self.dialect = dialect
        self.envelope = envelope
        self.notes = dialect.notes

    def encode(self, request: BatchRequest, position: int) -> bytes:
        """The wire line; see :class:`~airflow_batch_provider.dialects.base.LineFormat`."""
        try:
            return orjson.dumps(self.envelope.wrap(token(position), self.dialect.request(request.body)))
        except (TypeError, RecursionError) as error:
            if not is_too_deep(error):
                raise
            raise UntranslatableError("body", "nested too deeply; no provider takes that") from None

    def row_of(self, wire: bytes) -> str | None:
        """The id in the envelope."""
        data = load_line(wire)
        return self.envelope.row_of(data) if isinstance(data, dict) else None

    def decode(self, line: bytes, sent: Sent) -> BatchResult:
        """One output line; see :class:`~airflow_batch_provider.dialects.base.LineFormat`."""
        data = load_line(line)
        if not isinstance(data, dict):
            return BatchResult(None, "invalid", line)
        opened = self.envelope.open(data, sent)
        if opened.custom_id is None:
            return BatchResult(None, "invalid", line)
        found = opened.found
        try:
            if isinstance(found, dict):
                found = self.dialect.answer(found)
            result = result_of(openai_line(opened.custom_id, found))
        except (TypeError, RecursionError) as error:
            if not is_too_deep(error):
                raise
            found = Failure(None, TOO_DEEP)
            result = result_of(openai_line(opened.custom_id, found))
        if isinstance(found, Failure) and found.retryable:
            # The provider's own word, whatever the status says.
            return replace(result, retryable=True)
        return result


def openai_line(custom_id: str, found: JSON | Failure) -> JSON:
    """An answer or a failure as OpenAI's output line."""
    line: JSON = {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": None, "error": None}
    if isinstance(found, dict):
        line["response"] = {"status_code": 200, "request_id": found.get("id"), "body": found}
    elif found.status is None:
        code = found.code or "provider_error"
        if found.retryable and found != EXPIRED:
            code = "server_error"
        line["error"] = {"code": code, "message": found.message}
    else:
        kind = "server_error" if found.status >= 500 or found.retryable else "invalid_request_error"
        error = {"message": found.message, "type": kind, "param": None, "code": found.code}
        line["response"] = {"status_code": found.status, "request_id": None, "body": {"error": error}}
    return line


def bedrock_format(family: Family, model: str, endpoint: str) -> LineFormat:
    """How lines for a Bedrock model are written and read.

    :raises ConfigurationError: when the family does not serve the endpoint.
    """
    return TranslatedFormat(_dialect(family, model, endpoint), BedrockRecord(echo=family.dialect == "titan_embed"))


def vertex_format(family: Family, model: str, endpoint: str) -> LineFormat:
    """How lines for a Vertex AI model are written and read.

    :raises ConfigurationError: when the family does not serve the endpoint.
    """
    if family.dialect == "openai":
        _check_endpoint(family, model, endpoint)
        return OpenAIFormat(model, endpoint, tokens=True)
    dialect = _dialect(family, model, endpoint)
    if family.dialect == "gemini_embed":
        return TranslatedFormat(dialect, KeyedRecord())
    if isinstance(dialect, GeminiDialect):
        from airflow_batch_provider.dialects.importer import GeminiFormat

        return GeminiFormat(dialect, VertexRecord(labels=True))
    return TranslatedFormat(dialect, VertexRecord())


def _dialect(family: Family, model: str, endpoint: str) -> Dialect:
    _check_endpoint(family, model, endpoint)
    return _DIALECTS[family.dialect](family, model)


def _check_endpoint(family: Family, model: str, endpoint: str) -> None:
    if endpoint != family.endpoint:
        raise ConfigurationError(f"Model {model!r} takes batches for {family.endpoint}, not for {endpoint}")
