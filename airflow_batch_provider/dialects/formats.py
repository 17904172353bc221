"""Line formats of the providers that have one of their own: a dialect inside an envelope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import orjson

from airflow_batch_provider.core.errors import ConfigurationError, UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest, BatchResult
from airflow_batch_provider.core.refusals import refusal_of
from airflow_batch_provider.dialects.anthropic import Anthropic
from airflow_batch_provider.dialects.base import LineFormat, Sent, token
from airflow_batch_provider.dialects.cohere_embed import CohereEmbeddings
from airflow_batch_provider.dialects.converse import Converse
from airflow_batch_provider.dialects.dialect import Dialect, Failure
from airflow_batch_provider.dialects.embeddings import split_texts
from airflow_batch_provider.dialects.envelopes import (
    BedrockRecord,
    Envelope,
    InstanceRecord,
    KeyedRecord,
    VertexRecord,
)
from airflow_batch_provider.dialects.fact_uses import check_given, unknown_model
from airflow_batch_provider.dialects.families import EMBEDDINGS, Family
from airflow_batch_provider.dialects.gemini import GeminiDialect
from airflow_batch_provider.dialects.gemini_embed import GeminiEmbedDialect
from airflow_batch_provider.dialects.nova import Nova
from airflow_batch_provider.dialects.openai import TOO_DEEP, OpenAIFormat, is_too_deep, load_line, result_of
from airflow_batch_provider.dialects.openai_body import OpenAIBody
from airflow_batch_provider.dialects.text_embed import TextEmbedDialect
from airflow_batch_provider.dialects.titan import TitanEmbeddings

MakeDialect: TypeAlias = "Callable[[Family, str], Dialect]"
_DIALECTS: dict[str, MakeDialect] = {
    "gemini": GeminiDialect,
    "gemini_embed": GeminiEmbedDialect,
    "converse": Converse,
    "anthropic": Anthropic,
    "openai": OpenAIBody,
    "nova": Nova,
    "titan_embed": TitanEmbeddings,
    "cohere_embed": CohereEmbeddings,
    "text_embed": TextEmbedDialect,
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
        bodies = self.split(request.body)
        if len(bodies) == 1:
            return self._line(bodies[0], position)
        lines = []
        for part, body in enumerate(bodies):
            try:
                lines.append(self._line(body, position + part))
            except UntranslatableError as error:  # noqa: PERF203 - each part is told by itself
                raise _of_text(error, part * self.dialect.texts_per_record) from None
        return b"\n".join(lines)

    def split(self, body: JSON) -> Sequence[JSON]:
        """One body for as many texts as a record holds."""
        return split_texts(body, self.dialect.texts_per_record)

    def _line(self, body: JSON, position: int) -> bytes:
        try:
            return orjson.dumps(self.envelope.wrap(token(position), self.dialect.request(body)))
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
            return result_of(openai_line(opened.custom_id, Failure(None, TOO_DEEP, "unreadable_answer")))
        return result


def _of_text(error: UntranslatableError, first: int) -> UntranslatableError:
    """The error of a part, naming the text by its place in the row.

    :param first: the place of the part's first text.
    """
    name, _, index = error.field.rstrip("]").partition("[")
    if name != "body.input":
        return error
    return UntranslatableError(f"{name}[{first + int(index or 0)}]", error.message)


def openai_line(custom_id: str, found: JSON | Failure) -> JSON:
    """An answer or a failure as OpenAI's output line."""
    line: JSON = {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": None, "error": None}
    if isinstance(found, dict):
        line["response"] = {"status_code": 200, "request_id": found.get("id"), "body": found}
    elif found.status is None:
        code, message = found.code or "provider_error", found.message
        if found.retryable and not refusal_of([code], message).helped_by_round:
            # The provider's own word, whatever its code says.
            code, message = "server_error", message if found.code is None else f"{message} [{code}]"
        line["error"] = {"code": code, "message": message}
    else:
        kind = "server_error" if found.status >= 500 or found.retryable else "invalid_request_error"
        error = {"message": found.message, "type": kind, "param": None, "code": found.code}
        line["response"] = {"status_code": found.status, "request_id": None, "body": {"error": error}}
    return line


def bedrock_format(family: Family, model: str, endpoint: str) -> LineFormat:
    """How lines for a Bedrock model are written and read.

    :raises ConfigurationError: when the family does not serve the endpoint.
    """
    return TranslatedFormat(_dialect(family, model, endpoint), BedrockRecord(echo=family.endpoint == EMBEDDINGS))


def vertex_format(family: Family, model: str, endpoint: str, *, row_labels: bool = True) -> LineFormat:
    """How lines for a Vertex AI model are written and read.

    :param row_labels: Gemini only: whether each row carries its id as a label, too.
    :raises ConfigurationError: when the family does not serve the endpoint.
    """
    if family.dialect == "openai":
        _check_endpoint(family, model, endpoint)
        if family.facts.given:
            names = ", ".join(sorted(family.facts.given))
            raise ConfigurationError(f"model_facts of {model!r}: its requests go as written; leave out {names}")
        made = OpenAIFormat(model, endpoint, tokens=True)
        made.notes |= unknown_model(family, model)
        return made
    dialect = _dialect(family, model, endpoint)
    if family.dialect == "gemini_embed":
        return TranslatedFormat(dialect, KeyedRecord())
    if family.dialect == "text_embed":
        return TranslatedFormat(dialect, InstanceRecord())
    if isinstance(dialect, GeminiDialect):
        from airflow_batch_provider.dialects.importer import GeminiFormat

        return GeminiFormat(dialect, VertexRecord(labels=row_labels))
    return TranslatedFormat(dialect, VertexRecord())


def _dialect(family: Family, model: str, endpoint: str) -> Dialect:
    _check_endpoint(family, model, endpoint)
    check_given(family, model)
    dialect = _DIALECTS[family.dialect](family, model)
    dialect.notes |= unknown_model(family, model)
    return dialect


def _check_endpoint(family: Family, model: str, endpoint: str) -> None:
    if endpoint != family.endpoint:
        raise ConfigurationError(f"Model {model!r} takes batches for {family.endpoint}, not for {endpoint}")
