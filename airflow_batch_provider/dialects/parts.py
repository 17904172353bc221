"""What messages hold besides text, read from an OpenAI chat body: files, tool calls, results; and stop sequences."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[^;,]*?)*?(;\s*base64\s*)?,", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that came with a message.

    :param data: base64 text.
    :param name: the file's name, where one was given.
    """

    media_type: str
    data: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a function by the model.

    :param arguments: the decoded object.
    :param signature: Gemini's, where the author kept it as Google's OpenAI-compatible endpoint hands it out.
    """

    id: str
    name: str
    arguments: JSON
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a function answered.

    :param name: of the function, looked up from the call it answers.
    :param content: the text it returned.
    """

    id: str
    name: str
    content: str


def read_data_url(url: str) -> Blob | None:
    """The bytes of a ``data:`` URL, None for any other address.

    RFC 2397: what is not base64 is percent-encoded, which only texts are in practice: of anything else the word was
    forgotten. RFC 3986: schemes, and RFC 2045: media types, in any case.
    """
    head = _DATA_URL.match(url)
    if head is None:
        return None
    data = url[head.end() :]
    if head[2] is None and (head[1] or "text/").lower().startswith("text/"):
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return Blob((head[1] or "application/octet-stream").lower(), data)


def read_call(call: Any, path: str) -> ToolCall:
    """One entry of an assistant message's ``tool_calls``.

    :param path: its place in the body, shown in the error.
    """
    if isinstance(call, dict) and call.get("type") not in (None, "function"):
        raise UntranslatableError(f"body.{path}.type", "only function calls are supported")
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise UntranslatableError(f"body.{path}.function.name", "missing; every tool call names its function")
    text = function.get("arguments") or "{}"
    try:
        arguments = orjson.loads(text) if isinstance(text, str) else text
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        raise UntranslatableError(f"body.{path}.function.arguments", "must be the JSON text of an object")
    extra: Any = call.get("extra_content")
    for name in ("google", "thought_signature"):
        extra = extra.get(name) if isinstance(extra, dict) else None
    signature = extra if isinstance(extra, str) and extra else None
    return ToolCall(str(call.get("id") or function["name"]), function["name"], arguments, signature)


def result_texts(content: Any, where: str) -> list[str]:
    """The texts that a tool returned.

    :param where: the message's place in the body.
    """
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    for number, part in enumerate(parts):
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            raise UntranslatableError(f"body.{where}.content[{number}]", "a tool result takes text only")
    return [part["text"] for part in parts]


def stop_list(value: Any, provider: str, most: int | None = None) -> list[str]:
    """``stop`` as a list, whether it was written as one or as a string."""
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise UntranslatableError("body.stop", "must be a string or an array of strings")
    if any(not stop.strip() for stop in stops):
        raise UntranslatableError("body.stop", f"{provider} does not accept a stop sequence of white space only")
    if most is not None and len(stops) > most:
        raise UntranslatableError("body.stop", f"{provider} takes at most {most} stop sequences")
    return stops
