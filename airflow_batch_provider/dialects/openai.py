"""OpenAI's own lines, which every OpenAI-shaped provider takes and gives back with its own accents.

Shapes: OpenAI's batch guide and OpenAPI schema; Azure leaves out the top-level ``id``; gateways write ``error: ""`` for
none, ``body: false`` for a failed row, or a bare ``{"errorCode", "errorMessage"}`` that has lost its row's id.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import orjson

from airflow_batch_provider.core.answers import (
    MADE,
    UNFINISHED,
    UNUSABLE,
    UNUSABLE_CODES,
    holds_answer,
    malformed,
    read_content,
    unusable,
)
from airflow_batch_provider.core.jsonl import load_exactly
from airflow_batch_provider.core.records import JSON, BatchRequest, BatchResult, Outcome, Refusal
from airflow_batch_provider.core.refusal_facts import OWN
from airflow_batch_provider.core.refusals import refusal_of, words_of
from airflow_batch_provider.core.validation import WIRE_FIELDS
from airflow_batch_provider.dialects.base import LineFormat, Sent, token
from airflow_batch_provider.dialects.finish_words import GATEWAYS, native_word
from airflow_batch_provider.dialects.loading import load, load_line
from airflow_batch_provider.dialects.plain import plain_result
from airflow_batch_provider.dialects.usage import read_tier, read_usage

_NOTHING = frozenset({"", "null", "none", "nil", "undefined", "false"})
"""What "no error" is as a text: JSON's word, Python's, Go's and Ruby's, JavaScript's."""
_OUTCOMES: dict[str, Outcome] = {
    "batch_expired": "expired",
    "batch_cancelled": "cancelled",
    "budget_exceeded": "cancelled",
    "deadline_passed": "cancelled",
    "missing": "missing",
    "create_lost": "missing",
    "job_lost": "missing",
    "output_lost": "missing",
    "not_collected": "missing",
    "unreadable_answer": "invalid",
}
"""What became of a row that has no answer, by OpenAI's code and ours; any other failed."""
_LARGEST = 10**12
"""No count is larger; JSON's integers end at 64 bits, also for the sum of all rows."""
_ID = re.compile(rb'(?<!\\)"custom_id"\s*:\s*("(?:[^"\\]|\\.)*")')
_BEYOND_ASCII = re.compile("[^\\x00-\\x7f]+")
TOO_DEEP = "The answer is nested too deeply to be written."


class OpenAIFormat(LineFormat):
    """OpenAI's line format for one model and endpoint.

    :param model: written into every body; None leaves the body's own.
    :param url: the endpoint as the provider spells it on a line.
    :param ascii_only: escape everything else, for gateways that corrupt UTF-8 at chunk borders.
    :param tokens: rows travel by our token instead of their custom_id, where the provider is particular about ids.
    """

    def __init__(self, model: str | None, url: str, *, ascii_only: bool = False, tokens: bool = False) -> None:
        super().__init__()
        self._model = model
        self._url = url
        self._ascii_only = ascii_only
        self._tokens = tokens

    def encode(self, request: BatchRequest, position: int) -> bytes:
        """The wire line; the author's own bytes where they already are what the provider requires."""
        if not self._tokens and self._as_it_is(request):
            return request.raw
        return self.write(request.custom_id, load_exactly(request.raw)["body"], position)

    def write(self, custom_id: str, body: dict[str, Any], position: int) -> bytes:
        """The wire line of any body."""
        if self._model:
            body = {"model": self._model} | body | {"model": self._model}
        travels_as = token(position) if self._tokens else custom_id
        line = orjson.dumps({"custom_id": travels_as, "method": "POST", "url": self._url, "body": body})
        return _BEYOND_ASCII.sub(_escaped, line.decode()).encode() if self._ascii_only else line

    def _as_it_is(self, request: BatchRequest) -> bool:
        if self._model is not None and request.body.get("model") != self._model:
            return False
        if self._ascii_only and not request.raw.isascii():
            return False
        if request.url is not None:
            return request.url == self._url
        line = orjson.loads(request.raw)
        return bool(line.keys() == WIRE_FIELDS and line["method"] == "POST" and line["url"] == self._url)

    def row_of(self, wire: bytes) -> str | None:
        """Its ``custom_id``."""
        data = load_line(wire)
        return _id_of(data) if isinstance(data, dict) else None

    def decode(self, line: bytes, sent: Sent) -> BatchResult:
        """One output or error line; see :class:`~airflow_batch_provider.dialects.base.LineFormat`."""
        result = read_line(line)
        if result.custom_id is None:
            result = _torn(line, sent) or result
        custom_id = sent.row(result.custom_id) if self._tokens else None
        if custom_id is None:
            return result
        return renamed(result, custom_id)


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match.group())[1:-1]


def read_line(line: bytes) -> BatchResult:
    """A line in OpenAI's output format, whatever its writer's accent, as the result it is."""
    data, mended = load(line)
    if not mended and (plain := plain_result(data, line)) is not None:
        return plain
    return read_loaded(data, line, mended=mended)


def read_loaded(data: Any, line: bytes, *, mended: bool) -> BatchResult:
    """As :func:`read_line`, of any line.

    :param data: the line's JSON.
    :param mended: whether it had to be mended.
    """
    custom_id = _id_of(data) if isinstance(data, dict) else None
    if custom_id is None:
        return BatchResult(None, "failed" if _is_bare_error(data) else "invalid", line)
    try:
        changed = _normalise(data) or mended
        return result_of(data, None if changed else line)
    except (TypeError, RecursionError) as error:
        if not is_too_deep(error):
            raise
        return result_of(orjson.loads(error_line(custom_id, "unreadable_answer", TOO_DEEP)))


def _id_of(data: dict[str, Any]) -> str | None:
    """A line's id; servers that keep it in a typed column give back a number where it looks like one."""
    custom_id = data.get("custom_id")
    return str(custom_id) if type(custom_id) in (str, int) else None


def _torn(line: bytes, sent: Sent) -> BatchResult | None:
    """A provider's line that is not JSON but holds its row's id, as that row's unreadable answer; else None.

    What is no id of this shard is the rest of a torn one: the line may answer any row.
    """
    custom_id = _id_in(line) if load_line(line) is None else None
    if custom_id is None or not sent.knows(custom_id):
        return None
    message = f"The provider's line is not JSON: {line.decode('utf-8', 'replace')}"
    return result_of(orjson.loads(error_line(custom_id, "unreadable_answer", message)))


def _id_in(line: bytes) -> str | None:
    """The id that stands in a line that was cut or torn, so that it holds up its own row and no other; None where it
    holds none, or those of several rows."""
    found = set(_ID.findall(line)) if line.lstrip().startswith(b"{") else set()
    if len(found) != 1:
        return None
    try:
        return str(orjson.loads(found.pop()))
    except orjson.JSONDecodeError:
        return None


def _is_bare_error(data: Any) -> bool:
    """Whether a line without an id can only be a row's error, and no answer that was paid."""
    if not isinstance(data, dict):
        return False
    response = data.get("response")
    if isinstance(response, dict):
        status = _status(response.get("status_code"))
        return status is not None and status >= 400 and not _is_answer(response.get("body"))
    return not response and any(says(data.get(name)) for name in ("error", "errorCode", "errorMessage"))


def is_too_deep(error: Exception) -> bool:
    """orjson reads deeper than it writes, and says so by a bare TypeError."""
    return "recursion" in str(error).lower()


def text_of(value: Any) -> str:
    """A value of any shape as text, for messages."""
    try:
        return str(value)
    except RecursionError:
        return TOO_DEEP


def result_of(data: dict[str, Any], line: bytes | None = None) -> BatchResult:
    """The result of a line in OpenAI's exact shape.

    :param line: the same as bytes, where they are at hand.
    """
    if data["error"] is None and (reason := malformed((data["response"] or {}).get("body"))):
        data["error"] = {"code": reason, "message": "The model did not keep to its own format; the answer is unusable."}
        line = None
    outcome, refusal = _classify(data)
    response = data["response"]
    # An answer that is unusable was paid all the same.
    body = response["body"] if response and _is_good(response["status_code"]) else None
    model = body.get("model") if body else None
    written = orjson.dumps(data) if line is None else line
    return BatchResult(
        data["custom_id"],
        outcome,
        written,
        refusal,
        read_usage(body),
        model if isinstance(model, str) else None,
        read_tier(body),
        data,
        read_content((response or {}).get("body") or {}),
    )


def renamed(result: BatchResult, custom_id: str) -> BatchResult:
    """The same result of another row."""
    data = {**result.data, "custom_id": custom_id}
    return replace(result, custom_id=custom_id, line=orjson.dumps(data), data=data)


def without_unusable(result: BatchResult) -> BatchResult:
    """The same result; one whose answer cannot be used, with the reason as its error and the answer left in place."""
    if result.qualities.isdisjoint(UNUSABLE):
        return result
    code, message = unusable(result.content) or ("", "")
    return result_of({**result.data, "error": {"code": code, "message": message}})


def _normalise(data: dict[str, Any]) -> bool:
    """Bring a line into OpenAI's shape, in place; whether anything had to change."""
    before = orjson.dumps(data)
    given, said = data.get("response"), data.get("error")
    response = _response(given) if isinstance(given, dict) else None
    body = response["body"] if response else None
    if response and _is_answer(body):
        # What was answered was paid, also where the status is left out or a text.
        response["status_code"] = 200 if response["status_code"] is None else response["status_code"]
    status = response["status_code"] if response else None
    if body is None and not says(said) and (status is None or _is_good(status)):
        start = before[:300].decode("utf-8", "replace")
        said = {"code": "unreadable_answer", "message": f"The provider's line has neither answer nor error: {start}"}
    normal = {
        "id": data.get("id"),
        "custom_id": _id_of(data),
        "response": response,
        "error": _error(said) or _unfinished(body),
    }
    data.clear()
    data.update(normal)
    return orjson.dumps(data) != before


def _translate_finish(choice: JSON, reason: str) -> None:
    """OpenAI's word in place of the provider's, which stays beside it as ``native_finish_reason`` (OpenRouter's name)
    where OpenAI's does not say it completely."""
    word = GATEWAYS.get(reason.lower(), reason.lower() if reason.isupper() else reason)
    if word != reason and (native := native_word(reason)) and native.lower() != word:
        choice.setdefault("native_finish_reason", native)
    choice["finish_reason"] = word


def _response(response: dict[str, Any]) -> dict[str, Any]:
    """A line's response in OpenAI's shape; the body is None where it is no object."""
    # Without an envelope, the response is the body.
    body = response if "body" not in response and _is_answer(response) else response.get("body")
    status = _status(response.get("status_code"))
    if isinstance(body, str):
        # OGX writes the body as a JSON text.
        try:
            body = orjson.loads(body)
        except orjson.JSONDecodeError:
            body = None if _is_good(status) else {"error": {"message": body}}
    if isinstance(body, list) and body:
        body = {"errors": body}  # Google's servers put their error into a list
    body = body if isinstance(body, dict) else None
    choices = (body or {}).get("choices")
    for choice in choices if isinstance(choices, list) else ():
        reason = choice.get("finish_reason") if isinstance(choice, dict) else None
        if isinstance(reason, str):
            _translate_finish(choice, reason)
    return {"status_code": status, "request_id": response.get("request_id"), "body": body}


def _status(value: Any) -> int | None:
    number = _int(value)
    return number if number is not None and abs(number) < 1000 else None


def _int(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < _LARGEST else None


def _is_answer(body: Any) -> bool:
    """Whether a body holds what a model made, and no error."""
    return isinstance(body, dict) and any(body.get(name) for name in MADE) and not says(body.get("error"))


def says(error: Any) -> bool:
    """Whether an error says anything.

    Some servers write an object of nulls for none, or their language's word for it as a text, or a code of success.
    """
    if isinstance(error, dict):
        return any(says(value) for value in error.values()) and not _is_good(_status(error.get("code")))
    if isinstance(error, list):
        return any(says(value) for value in error)
    return error.strip().lower() not in _NOTHING if isinstance(error, str) else bool(error)


def _error(error: Any) -> dict[str, Any] | None:
    if not says(error):
        return None
    if isinstance(error, list) or (isinstance(error, dict) and isinstance(error.get("error"), (dict, list))):
        words = words_of({"errors": error} if isinstance(error, list) else error)
        return {"code": words.code, "message": words.message if says(words.message) else text_of(error)}
    if isinstance(error, dict):
        code = error.get("code") if says(error.get("code")) else None
        message = error.get("message")
        if code is None and not says(message):
            message = error  # in fields of its own
        return {"code": None if code is None else text_of(code), "message": "" if message is None else text_of(message)}
    return {"code": None, "message": text_of(error)}


def _unfinished(body: Any) -> dict[str, Any] | None:
    """The error of a response that ended without an answer and without an error of its own."""
    if not isinstance(body, dict) or "output" not in body or says(body.get("error")):
        return None
    status = body.get("status")
    if status not in UNFINISHED:
        return None
    return {"code": f"response_{status}", "message": f"The response has the status {status} and no error."}


def _classify(data: dict[str, Any]) -> tuple[Outcome, Refusal | None]:
    response, error = data["response"], data["error"]
    status = response["status_code"] if response else None
    body = response["body"] if response else None
    if error is not None:
        code = error["code"] or ""
        if code in UNUSABLE_CODES:
            return "invalid", Refusal.REQUEST
        if _is_good(status) and holds_answer(body):
            return "succeeded", None
        if code in OWN and (response is None or code == "unreadable_answer"):
            return _OUTCOMES.get(code, "failed"), OWN[code]
        return _OUTCOMES.get(code, "failed"), refusal_of([code], error["message"], None if _is_good(status) else status)
    if status is None or (_is_good(status) and body is None):
        return "invalid", Refusal.REQUEST
    if (
        _is_good(status)
        and body is not None
        and (not says(body.get("error")) or body.get("choices") or holds_answer(body))
    ):
        return "succeeded", None
    # The Responses API tells a failure in the body of a 200.
    words = words_of(body or {})
    return "failed", refusal_of(words.codes, words.message, None if _is_good(status) else status)


def _is_good(status: int | None) -> bool:
    return status is not None and 200 <= status < 300


def error_line(custom_id: str, code: str, message: str) -> bytes:
    """The output line of a row for which the provider returned none."""
    return orjson.dumps(
        {"id": None, "custom_id": custom_id, "response": None, "error": {"code": code, "message": message}}
    )
