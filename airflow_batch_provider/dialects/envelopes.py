"""How a row's id travels on a wire line, and where a line keeps its answer or its error.

A line format is a dialect, which knows bodies, inside an envelope, which knows lines.
"""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import orjson

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.core.refusals import spelled_out
from airflow_batch_provider.dialects.base import ID_FIELDS, Sent, id_of, position_of
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.openai import says, text_of

EXPIRED = Failure(None, "The job ended before this record was processed.", "batch_expired", retryable=True)
ROW_LABEL = "airflow_batch_row"
"""Underscores: the name becomes a column of the importer, which takes no hyphen."""
AS_BASE64 = "as_base64"


@dataclass(frozen=True, slots=True)
class Opened:
    """An output line without its envelope.

    :param custom_id: the row, None when the line does not name it.
    :param found: the provider's answer, or why there is none.
    :param fault: what the line says went wrong, beside an answer; it holds where the answer turns out to be none.
    """

    custom_id: str | None
    found: JSON | Failure
    fault: Failure | None = None


class Envelope(ABC):
    """One provider's lines."""

    @abstractmethod
    def wrap(self, row: str, request: JSON) -> JSON:
        """The wire line of a request.

        :param row: the row's token.
        """

    @abstractmethod
    def row_of(self, line: JSON) -> str | None:
        """The row's id on a wire line, None where it has none."""

    @abstractmethod
    def open(self, line: JSON, sent: Sent) -> Opened:
        """What an output line holds."""


class BedrockRecord(Envelope):
    """``{"recordId", "modelInput"}`` -> ``{"recordId", "modelInput", "modelOutput" | "error"}``.

    AWS: format and upload of batch inference data. Errors also turn up inside ``modelOutput``; ``expired`` and
    ``retryable`` beside ``errorCode`` were seen live.

    :param echo: hand the answer on with the ``modelInput`` that came back with it.
    """

    def __init__(self, *, echo: bool = False) -> None:
        self._echo = echo

    def wrap(self, row: str, request: JSON) -> JSON:
        """A record."""
        return {"recordId": row, "modelInput": request}

    def row_of(self, line: JSON) -> str | None:
        """Its ``recordId``."""
        return id_of(line.get("recordId"))

    def open(self, line: JSON, sent: Sent) -> Opened:
        """Its output, or its error wherever it hides."""
        custom_id = sent.row(line.get("recordId"))
        output = _loaded(line.get("modelOutput"))
        said = line.get("error")
        error = (said if says(said) else None) or _aws_error(line) or _aws_error(output)
        fault = _bedrock_failure(error) if error else None
        if not isinstance(output, dict) or not output:
            return Opened(custom_id, fault or _nothing("The record came back without output.", output, line, sent))
        return Opened(custom_id, {**output, "modelInput": line.get("modelInput")} if self._echo else output, fault)


_AWS_ERROR = frozenset({"message", "Message", "__type", "code", "type"})
"""The members of an exception of AWS where its JSON protocols write one (smithy.io, "AWS JSON", "Operation errors")."""


def _aws_error(found: Any) -> JSON | None:
    """The error that stands where something else should."""
    if not isinstance(found, dict) or not found:
        return None
    if found.get("errorCode") is None and not (isinstance(found.get("message"), str) and found.keys() <= _AWS_ERROR):
        return None
    return {name: value for name, value in found.items() if name not in ("recordId", "modelInput", "modelOutput")}


def _bedrock_failure(error: Any) -> Failure:
    if isinstance(error, list) and len(error) == 1:
        error = error[0]
    if not isinstance(error, dict):
        return Failure(None, _words(error))
    if error.get("expired"):
        return EXPIRED
    code = next((error[name] for name in ("errorCode", "code", "__type", "type") if error.get(name) is not None), None)
    message = next((error[name] for name in ("errorMessage", "message", "Message") if error.get(name)), error)
    return Failure(
        _status(code), _words(message), None if code is None else text_of(code), bool(error.get("retryable"))
    )


class VertexRecord(Envelope):
    """``{"custom_id", "request"}`` -> ``{"custom_id", "request", "response", "status"}``, of Claude and Gemini.

    Claude's lines have an official ``custom_id``. For Gemini the echo of a sibling key is seen live and undocumented,
    so the id also travels as a label of the request, which is echoed as part of it; last, by the request itself.

    :param labels: write the label too.
    """

    def __init__(self, *, labels: bool = False) -> None:
        self._labels = labels

    def wrap(self, row: str, request: JSON) -> JSON:
        """A line whose id begins with a letter: the importer makes numbers of what looks like one."""
        if self._labels:
            request["labels"] = {**request.get("labels", {}), ROW_LABEL: row}
        return {"custom_id": row, "request": request}

    def row_of(self, line: JSON) -> str | None:
        """The first of the fields that Claude, Gemini embeddings and other tools write."""
        return next((row for name in ID_FIELDS if (row := id_of(line.get(name)))), None)

    def open(self, line: JSON, sent: Sent) -> Opened:
        """``status`` is empty for a good row, ``reason: {json}`` for a failed one."""
        response = _loaded(line.get("response"))
        said = told_fault(line)
        if not said and isinstance(response, dict) and response.get("type") != "error":
            # Claude's own errors are read with its answers.
            said = response.get("error")
        custom_id = self._row(line, sent)
        fault = _vertex_failure(said) if said else None
        if not isinstance(response, dict) or not response:
            return Opened(custom_id, fault or _nothing("The line came back without a response.", response, line, sent))
        return Opened(custom_id, response, fault)

    def _row(self, line: JSON, sent: Sent) -> str | None:
        instance = line.get("instance")
        places = [line, instance if isinstance(instance, dict) else {}]
        for place in places:
            for name in ID_FIELDS:
                if (custom_id := sent.row(place.get(name))) is not None:
                    return custom_id
        request = line.get("request")
        if not isinstance(request, dict):
            return None
        labels = request.get("labels")
        if isinstance(labels, dict) and (custom_id := sent.row(labels.get(ROW_LABEL))) is not None:
            return custom_id
        return sent.claim(_print_of_line, _print(request))


class KeyedRecord(VertexRecord):
    """``{"key", "request"}`` -> ``{"key", "request", "response"}``: Gemini embeddings, documented.

    The key is the only thing that surely comes back, so a wish for base64 is its first letter: ``b`` for ``r``. Between
    dialect and envelope the wish is the member :data:`AS_BASE64` of request and response.
    """

    def wrap(self, row: str, request: JSON) -> JSON:
        """A line with its official key."""
        return {"key": f"b{row[1:]}" if request.pop(AS_BASE64, False) else row, "request": request}

    def open(self, line: JSON, sent: Sent) -> Opened:
        """As Vertex AI's other lines, with the wish."""
        key = line.get("key")
        wished = isinstance(key, str) and key[:1] == "b" and position_of(f"r{key[1:]}") is not None
        opened = super().open({**line, "key": f"r{str(key)[1:]}"} if wished else line, sent)
        if wished and isinstance(opened.found, dict):
            opened.found[AS_BASE64] = True
        return opened


class InstanceRecord(VertexRecord):
    """``{"content"}`` -> ``{"instance", "predictions", "status"}``: Google's older embeddings, which have no id.

    The echoed instance names the row; of equal ones each answer goes to the next row, which is as good. A file of
    somebody else's may carry an id beside the content.
    """

    def wrap(self, row: str, request: JSON) -> JSON:
        """The instance alone: the models may refuse what they do not know."""
        return request

    def open(self, line: JSON, sent: Sent) -> Opened:
        """``status`` is empty for a good row."""
        instance = line.get("instance")
        custom_id = self._row(line, sent)
        if custom_id is None and isinstance(instance, dict):
            custom_id = sent.claim(_print_of_instance, _print(instance))
        said = told_fault(line)
        fault = _vertex_failure(said) if said else None
        if not line.get("predictions"):
            return Opened(custom_id, fault or _nothing("The line came back without a prediction.", None, line, sent))
        return Opened(custom_id, line, fault)


_MEMBERS = frozenset(
    {*ID_FIELDS, "recordId", "modelInput", "modelOutput", "request", "instance", "response", "status", "error"}
)
"""Where lines have what was asked and answered."""


def _nothing(message: str, found: Any, line: JSON, sent: Sent) -> Failure:
    """Why there is no answer. What came in its place may be one, and paid: the row is sent again only where nothing
    came, or words that the table of refusals knows.

    :param found: what came where the answer should be.
    """
    if not found and sent.own:
        # We sent no other members, so an object in one is the provider's.
        found = {
            name: one for name, one in line.items() if name not in _MEMBERS and isinstance(one, (dict, list)) and one
        }
    if not found:
        return Failure(None, message, retryable=True)
    if isinstance(found, str) and spelled_out((), found) is not None:
        return _vertex_failure(found)
    return Failure(None, f"The provider's answer cannot be read: {_words(found)}", "unreadable_answer")


def told_fault(line: JSON) -> Any:
    """What a line of Vertex AI says went wrong: its ``status``, unless it says that all is well, else its ``error``,
    as the Gemini API writes it (google-genai, ``InlinedResponse.error``)."""
    status = line.get("status")
    code = status.get("code") if isinstance(status, dict) else status
    if isinstance(code, str) and code.strip().upper() == "OK":
        code = 0
    # google.rpc.Code: 0 is OK.
    return line.get("error") if not status or code == 0 else status


def _vertex_failure(given: Any) -> Failure:
    """From ``Bad Request: {"error": {"code", "message", "status"}}``, or whatever else stands there."""
    status = _words(given)
    error: Any = None
    brace = status.find("{")
    if brace >= 0:
        try:
            error = orjson.loads(status[brace:])
        except orjson.JSONDecodeError:
            error = None
    if isinstance(error, dict):
        error = error.get("error", error)
    if not isinstance(error, dict):
        return Failure(None, status)
    code = error.get("status") or error.get("code") or error.get("type")
    message = text_of(error.get("message") or status)
    return Failure(_status(error.get("code")), message, None if code is None else text_of(code))


def _loaded(value: Any) -> Any:
    """An answer, also where it is the text of one, or alone in a list."""
    if isinstance(value, str) and value:
        with contextlib.suppress(orjson.JSONDecodeError):
            value = orjson.loads(value)
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) else value


def _words(value: Any) -> str:
    """What is no text as JSON, in which code and words can be found."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return text_of(value)


def _status(code: Any) -> int | None:
    try:
        number = int(code)
    except (TypeError, ValueError):
        return None
    return number if 100 <= number < 600 else None


def _print_of_line(line: bytes) -> bytes | None:
    data = orjson.loads(line)
    request = data.get("request")
    return _print(request) if isinstance(request, dict) else None


def _print_of_instance(line: bytes) -> bytes | None:
    data = orjson.loads(line)
    return _print(data) if isinstance(data, dict) else None


def _print(request: JSON) -> bytes:
    """A fingerprint that survives the importer: it reorders keys and fills unused members with null."""
    bare = {name: value for name, value in request.items() if name != "labels"}
    try:
        text = orjson.dumps(_essence(bare), option=orjson.OPT_SORT_KEYS)
    except (RecursionError, orjson.JSONEncodeError):
        # Nested as no request of ours is.
        return b""
    return hashlib.blake2b(text, digest_size=12).digest()


def _essence(value: Any) -> Any:
    """What survives the importer: members that are null or empty are as good as absent, and 1.0 may come back as 1."""
    if isinstance(value, dict):
        kept = ((name, _essence(item)) for name, item in value.items())
        return {name: item for name, item in kept if item not in (None, [], {})}
    if isinstance(value, list):
        return [_essence(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
