"""Messages written so that a gateway's own translation cannot go wrong; used by ``dialects.gateway``.

What comes here has passed our own dialect of the same model, so its shapes are known to be sound.
"""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.chat import INSTRUCTIONS
from airflow_batch_provider.dialects.columns import NotImportableError, columns
from airflow_batch_provider.dialects.parts import read_data_url

_DELETED = frozenset({"additionalProperties", "additional_properties", "$schema"})
"""Keywords of a schema that the gateway takes out for Gemini."""


def for_claude(given: list[JSON], remedy: str) -> list[JSON]:
    """One system message, plain strings where only the first part would be read, images in the one form it knows."""
    system, rest = _system_apart(given)
    made = [system] if system else []
    for index, message in rest:
        where = f"messages[{index}]"
        if message["role"] in ("tool", "function"):
            if made and made[-1]["role"] == "tool":
                raise _lost(where, "it does not put the results of several calls into one turn", remedy)
            made.append({**message, "role": "tool", "content": _text(message.get("content"))})
        elif message["role"] == "assistant":
            made.append(_assistant(message))
        else:
            made.append({"role": "user", "content": _parts(message.get("content"), where, remedy)})
    return made


def for_gemini(given: list[JSON], remedy: str) -> list[JSON]:
    """One system message, in front; neither calls nor results, whose names and roles the gateway does not keep."""
    system, rest = _system_apart(given)
    made = [system] if system else []
    for index, message in rest:
        where = f"messages[{index}]"
        if message["role"] in ("tool", "function") or message.get("tool_calls"):
            raise _lost(where, "it names every result of a call 'gateway-tool-filler-name'", remedy)
        if message["role"] == "assistant":
            made.append(_assistant(message))
        else:
            made.append({"role": "user", "content": _parts(message.get("content"), where, remedy)})
    return made


def for_prompt(given: list[JSON], remedy: str, *, merge_system: bool) -> list[JSON]:
    """Plain strings, for models whose messages the gateway makes one prompt of.

    :param merge_system: put the system's text before the user's first words; for Mistral the gateway does that itself
        and says the user's words twice.
    """
    system, rest = _system_apart(given)
    made: list[JSON] = [system] if system and not merge_system else []
    for index, message in rest:
        content = message.get("content")
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if part.get("type") not in ("text", "refusal"):
                raise _lost(f"messages[{index}].content[{number}]", "it keeps the text only", remedy)
        text = _said(message, _text(content, "\n"))
        if system and merge_system and message["role"] == "user":
            text = f"{system['content']}\n{text}"
            system = None
        made.append({"role": message["role"], "content": text})
    return made


def has_calls(given: list[JSON]) -> bool:
    """Whether the conversation holds calls of tools, so that the tools cannot be left out."""
    return any(message["role"] == "tool" or message.get("tool_calls") for message in given)


def check_schema(field: str, schema: Any, remedy: str) -> None:
    """Refuse a schema that the gateway would hand on to Gemini as it is, and its importer would fail the file for.

    :param schema: a JSON schema, None for none.
    """
    if not isinstance(schema, dict):
        return
    try:
        columns(_without_deleted(schema), f"body.{field}")
    except NotImportableError as error:
        raise UntranslatableError(
            error.path, f"Vertex AI could not import it as the gateway hands it on: {error.reason}; or {remedy}"
        ) from None
    _check_keywords(schema, field, remedy)


def _check_keywords(schema: Any, field: str, remedy: str) -> None:
    if isinstance(schema, list):
        for item in schema:
            _check_keywords(item, field, remedy)
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("type"), list):
        raise _lost(field, "it keeps lists of types, which Gemini does not support", remedy)
    for item in schema.values():
        _check_keywords(item, field, remedy)


def _without_deleted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_deleted(item) for name, item in value.items() if name not in _DELETED}
    return [_without_deleted(item) for item in value] if isinstance(value, list) else value


def _system_apart(given: list[JSON]) -> tuple[JSON | None, list[tuple[int, JSON]]]:
    """All system and developer messages as one, and the others with their places."""
    texts: list[str] = []
    rest: list[tuple[int, JSON]] = []
    for index, message in enumerate(given):
        if message["role"] in INSTRUCTIONS:
            text = _text(message.get("content"), "\n\n")
            texts += [text] if text.strip() else []
        else:
            rest.append((index, message))
    return ({"role": "system", "content": "\n\n".join(texts)} if texts else None), rest


def _text(content: Any, between: str = "") -> str:
    if isinstance(content, list):
        return between.join(str(part.get("text") or part.get("refusal") or "") for part in content)
    return content or ""


def _assistant(message: JSON) -> JSON:
    """Text and calls; of several parts the gateway reads the first, and empty arguments break the whole upload."""
    made: JSON = {"role": "assistant"}
    text = _said(message, _text(message.get("content")))
    if text:
        made["content"] = text
    if message.get("tool_calls"):
        made["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    return made


def _said(message: JSON, text: str) -> str:
    """A message's text and, after it, its refusal."""
    return "\n".join(filter(None, (text, str(message.get("refusal") or ""))))


def _call(call: JSON) -> JSON:
    function = call["function"]
    return {**call, "function": {**function, "arguments": function.get("arguments") or "{}"}}


def _parts(content: Any, where: str, remedy: str) -> Any:
    """A user's content: text, and images in the shortest form of a data: URL."""
    if not isinstance(content, list):
        return content or ""
    made: list[JSON] = []
    for number, part in enumerate(content):
        path = f"{where}.content[{number}]"
        kind = part.get("type")
        if kind in ("text", "refusal"):
            made.append({"type": "text", "text": part.get("text", part.get("refusal"))})
        elif kind == "image_url":
            address = part["image_url"]
            url = address["url"] if isinstance(address, dict) else address
            blob = read_data_url(url)
            if blob is None:
                raise _lost(path, "it drops images that are not in the line, or guesses their type", remedy)
            made.append({"type": "image_url", "image_url": {"url": f"data:{blob.media_type};base64,{blob.data}"}})
        else:
            raise _lost(path, f"it drops {kind}", remedy)
    return made


def _lost(field: str, what: str, remedy: str) -> UntranslatableError:
    return UntranslatableError(f"body.{field}", f"the gateway does not support this: {what}; {remedy}")
