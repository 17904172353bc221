"""Lines in a provider's own format: a dialect inside an envelope."""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson

from airflow_batch_provider.core.answers import holds_answer
from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest, BatchResult
from airflow_batch_provider.core.refusals import refusal_of
from airflow_batch_provider.dialects.base import LineFormat, Sent, token
from airflow_batch_provider.dialects.dialect import Dialect, Failure
from airflow_batch_provider.dialects.embeddings import split_texts
from airflow_batch_provider.dialects.envelopes import ROW_LABEL, Envelope, Opened
from airflow_batch_provider.dialects.loading import load_line
from airflow_batch_provider.dialects.openai import TOO_DEEP, is_too_deep, result_of, says


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
            except UntranslatableError as error:  # noqa: PERF203 - each part has its own error
                raise _of_text(error, part * self.dialect.texts_per_record) from None
        return b"\n".join(lines)

    def split(self, body: JSON) -> Sequence[JSON]:
        """One body for as many texts as a record holds."""
        return split_texts(body, self.dialect.texts_per_record)

    @property
    def splits(self) -> bool:
        """Only where a record holds so many texts."""
        return self.dialect.texts_per_record > 0

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
            return _torn(line, sent)
        opened = self.envelope.open(data, sent)
        if opened.custom_id is None:
            return BatchResult(None, "invalid", line)
        try:
            result = result_of(self._line_of(opened.custom_id, opened))
        except (TypeError, RecursionError) as error:
            if not is_too_deep(error):
                raise
            return result_of(openai_line(opened.custom_id, Failure(None, TOO_DEEP, "unreadable_answer")))
        return result

    def _line_of(self, custom_id: str, opened: Opened) -> JSON:
        """The output line of what was read."""
        found = opened.found
        if isinstance(found, dict):
            try:
                found = self.dialect.answer(found)
            except Exception:
                if opened.fault is None:
                    raise
                found = opened.fault  # which may be all that it holds, in any shape
        return line_beside(custom_id, found, opened.fault)


_TOKEN = re.compile(rb'(?<!\\)"(?:custom_id|key|requestId|recordId|' + ROW_LABEL.encode() + rb')"\s*:\s*"[rb](\d{10})"')


def _torn(line: bytes, sent: Sent) -> BatchResult:
    """A line that is not JSON, as the unreadable answer of the row whose token it holds, and of no other."""
    tokens = set(_TOKEN.findall(line)) if sent.own else set()
    custom_id = sent.row(f"r{tokens.pop().decode()}") if len(tokens) == 1 else None
    if custom_id is None:
        return BatchResult(None, "invalid", line)
    message = f"The provider's line is not JSON: {line.decode('utf-8', 'replace')}"
    return result_of(openai_line(custom_id, Failure(None, message, "unreadable_answer")))


def _of_text(error: UntranslatableError, first: int) -> UntranslatableError:
    """The error of a part, naming the text by its place in the row.

    :param first: the place of the part's first text.
    """
    name, _, index = error.field.rstrip("]").partition("[")
    if name != "body.input":
        return error
    return UntranslatableError(f"{name}[{first + int(index or 0)}]", error.message)


def line_beside(custom_id: str, found: JSON | Failure, fault: Failure | None) -> JSON:
    """The output line of what came beside a fault: an answer with the fault's words, or the fault."""
    if fault is None:
        return openai_line(custom_id, found)
    if not isinstance(found, dict) or not holds_answer(found):
        return openai_line(custom_id, fault)
    error = {"code": fault.code, "message": fault.message}
    return {**openai_line(custom_id, found), "error": error if says(error) else None}


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
