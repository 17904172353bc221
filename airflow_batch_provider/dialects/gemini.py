"""Gemini's ``generateContent``, as Vertex AI's batches take it.

Sources: google-genai 2.34's types, Google's "Thought signatures", "OpenAI compatibility" and "Batch inference with
Gemini" pages; what the batch importer refuses: :mod:`airflow_batch_provider.dialects.columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import orjson

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.chat import TURNS
from airflow_batch_provider.dialects.chat_keys import ChatKeys
from airflow_batch_provider.dialects.columns import NotImportableError, columns, pruned
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.facts.tool_names import GEMINI
from airflow_batch_provider.dialects.families import Family
from airflow_batch_provider.dialects.gemini_answer import read_answer
from airflow_batch_provider.dialects.gemini_config import GeminiConfig, camel, camel_name
from airflow_batch_provider.dialects.gemini_schema import clean
from airflow_batch_provider.dialects.gemini_tools import OWN_TOOLS, own_tool
from airflow_batch_provider.dialects.keys import READ, ByKind, Each, Fate, Keys, Left, changed
from airflow_batch_provider.dialects.media_types import MEDIA, type_of_name
from airflow_batch_provider.dialects.options import (
    Schema,
    Tool,
    check_images,
    read_choice,
    read_format,
    read_tools,
    schema_in_words,
    with_effort,
)
from airflow_batch_provider.dialects.parts import Blob, ToolCall, ToolResult
from airflow_batch_provider.dialects.tool_turns import pair

UNSIGNED = "skip_thought_signature_validator"
"""Google's stand-in for the signature of a call that another model made, or whose signature was not kept."""
_IMAGES = frozenset(f"image/{name}" for name in ("png", "jpeg", "jpg", "webp", "heic", "heif", "gif", "bmp"))
_NOT_FILES = ("application/vnd.", "application/msword", "application/zip", "application/octet-stream")
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


_NESTED = ChatKeys(
    filename=Left("its files have no names; the type is taken from the name's ending where nothing else states it"),
    signature=Keys({"google": Keys({"thought_signature": READ})}),
    tool_strict=Left("its functions have no such mode"),
)


class GeminiDialect(GeminiConfig):
    """Chat with Gemini.

    :param family: facts of the model's family.
    :param model: the model's id.
    """

    turn_roles: ClassVar[Mapping[str, str]] = {**TURNS, "assistant": "model"}
    parts_field: ClassVar[str] = "parts"
    tool_names = GEMINI
    media_of_assistant = True

    def __init__(self, family: Family, model: str) -> None:
        super().__init__(family, model, _NESTED)
        self._keys = {**self._keys, "tools": _with_own_tools(self._keys["tools"])}
        self._cleaned: dict[bytes, JSON] = {}
        self._ids: list[str] = []
        self.fields |= {
            "response_format": self._response_format,
            "tools": self._tools,
            "tool_choice": self._tool_choice,
            "parallel_tool_calls": self._parallel,
        }

    # ---- there -------------------------------------------------------------------------------------------------

    def request(self, body: JSON) -> JSON:
        """The request; see :class:`~airflow_batch_provider.dialects.dialect.Dialect`."""
        self.free = False
        self._ids = []
        body = self.opened(with_effort(body, self.note))
        system, turns = self.conversation(body)
        if self.used_tools:
            self._pair(turns)
        self._check_images(turns)
        if turns[-1]["role"] == "model" and not self._facts.prefill:
            raise self.refuse("messages", f"{self._model} requires a user message at the end; add one")
        if self.free and self._facts.thinking == "level":
            _sign(turns)
        config: JSON = {}
        out: JSON = {"contents": turns, "generationConfig": config}
        if system:
            out["systemInstruction"] = {"parts": system}
        self.write_fields(body, out)
        self.check_room(config)
        if "tools" in out and "responseMimeType" in config and not self._facts.json_beside_tools:
            message = f"{self._model} does not take a response_format of JSON beside tools; leave one of them out"
            raise self.refuse("response_format", f"{message}, or use Gemini 3")
        if not self._facts.system and "systemInstruction" in out:
            turns[0]["parts"] = out.pop("systemInstruction")["parts"] + turns[0]["parts"]
            self.note(
                "messages.system",
                f"{self._model} does not support system messages; their text goes before the first user message",
                "changed",
            )
        if not config:
            del out["generationConfig"]
        return out

    def _pair(self, turns: list[JSON]) -> None:
        """Every call of a turn is answered in the next one, in the order of the calls."""
        ids = iter(self._ids)
        pair(
            turns,
            "parts",
            lambda part: next(ids) if "functionCall" in part else None,
            lambda part: next(ids) if "functionResponse" in part else None,
            by_place=True,
        )
        if any("functionCall" in part for part in turns[0]["parts"]):
            raise self.refuse("messages", f"{self._model} requires a user message before a tool call; put one first")

    def _check_images(self, turns: list[JSON]) -> None:
        kinds = [
            str((part.get("inlineData") or part.get("fileData") or {}).get("mimeType"))
            for turn in turns
            for part in turn["parts"]
        ]
        check_images(self._facts, sum(kind.startswith("image/") for kind in kinds))

    def text(self, text: str) -> JSON:
        """A text part."""
        return {"text": text}

    def image(self, blob: Blob, path: str) -> JSON:
        """Inline bytes."""
        if not self._facts.images:
            raise self.refuse(f"{path}.image_url", f"{self._model} takes text only")
        return _inline(self._taken(blob.media_type, f"{path}.image_url"), blob.data)

    def image_link(self, url: str, path: str) -> JSON:
        """An object in Cloud Storage; nothing else can be fetched from a batch."""
        if not url.startswith("gs://"):
            return super().image_link(url, path)
        return self._stored(url, url, f"{path}.image_url.url")

    def document(self, blob: Blob, path: str) -> JSON:
        """Inline bytes."""
        return _inline(self._taken(blob.media_type, f"{path}.file"), blob.data)

    def document_link(self, url: str, name: str, path: str) -> JSON:
        """An object in Cloud Storage."""
        if not url.startswith("gs://"):
            return super().document_link(url, name, path)
        return self._stored(url, name, f"{path}.file")

    def audio(self, given: JSON, path: str) -> JSON:
        """Inline bytes."""
        data, kind = given.get("data"), given.get("format")
        if not isinstance(data, str) or not isinstance(kind, str):
            raise self.refuse(f"{path}.input_audio", "needs data (base64) and format")
        return _inline(_type_of_sound(kind), data)

    def _stored(self, url: str, name: str, path: str) -> JSON:
        kind = self.given_type or type_of_name(name) or type_of_name(url)
        if kind is None:
            message = f"{url!r} has no known media type; write format beside it, such as image/png, or end its name in"
            raise self.refuse(path, f"{message} one of {', '.join(sorted(MEDIA))}")
        return {"fileData": {"fileUri": url, "mimeType": self._taken(kind, path)}}

    def _taken(self, kind: str, path: str) -> str:
        """The media type, if it is one that Gemini may take (Google, "Image understanding", "Document understanding":
        Office files, archives and vector graphics are none)."""
        plain = kind.partition(";")[0].strip()
        if (plain.startswith("image/") and plain not in _IMAGES) or plain.startswith(_NOT_FILES):
            raise self.refuse(path, f"{plain} is not taken; convert it, images to PNG or JPEG and documents to PDF")
        return kind

    def call(self, call: ToolCall) -> JSON:
        """A call; an empty object, null included, would break the import of the whole file."""
        self.free = True
        self._ids.append(call.id)
        made: JSON = {"name": call.name}
        arguments = pruned(call.arguments)
        if call.arguments and arguments != call.arguments:
            reason = "nulls and empty objects in it have no type, which Vertex AI's importer requires"
            self.note("messages[].tool_calls[].function.arguments", reason)
        if arguments:
            made["args"] = arguments
        part: JSON = {"functionCall": made}
        if call.signature:
            part["thoughtSignature"] = call.signature
        return part

    def result(self, result: ToolResult) -> JSON:
        """A result, which must be an object; a text, and what the importer could not take, goes as ``output``."""
        self.free = True
        self._ids.append(result.id)
        answer = _object(result.content)
        return {"functionResponse": {"name": result.name, "response": answer or {"output": result.content}}}

    def _parallel(self, value: Any, body: JSON, out: JSON) -> None:
        if value is False:
            self.note("parallel_tool_calls", "several calls in one answer cannot be switched off")

    def _response_format(self, value: Any, body: JSON, out: JSON) -> None:
        asked = read_format(value)
        if asked == "text":
            return
        config = out["generationConfig"]
        if isinstance(asked, Schema) and self._facts.schema == "none":
            raise self.refuse("response_format", f"{self._model} does not accept a schema; write json_object")
        config["responseMimeType"] = "application/json"
        if isinstance(asked, Schema) and self._facts.schema == "prompt":
            parts = out.setdefault("systemInstruction", {"parts": []})["parts"]
            parts.append({"text": schema_in_words(asked, self.note)})
        elif isinstance(asked, Schema):
            wanted = asked.schema
            if asked.description and "description" not in wanted:
                wanted = {"description": asked.description, **wanted}
            path = "response_format.json_schema.schema"
            if schema := self._once(wanted, lambda: clean(wanted, path, self.note)):
                config["responseJsonSchema"] = schema
                self.free = True

    def _once(self, key: Any, make: Callable[[], JSON]) -> JSON:
        """What was made for an equal value before: the lines of a file mostly share their schemas."""
        try:
            known = orjson.dumps(key)
        except orjson.JSONEncodeError as error:
            raise self.refuse(self._field, "nested too deeply; flatten the schema") from error
        if known not in self._cleaned:
            if len(self._cleaned) >= 64:
                self._cleaned.clear()
            self._cleaned[known] = make()
        return self._cleaned[known]

    def _tools(self, value: Any, body: JSON, out: JSON) -> None:
        if own := self._own_tools(value):
            out["tools"] = own
            self.free = True
            return
        tools = read_tools(value, self.tool_names)
        if not tools:
            return
        choice = read_choice(body.get("tool_choice"), tools)
        made = self._once(["tools", value], lambda: {"functionDeclarations": [self._declared(tool) for tool in tools]})
        names = [choice.named] if choice.named else [tool.name for tool in tools if tool.name in (choice.allowed or ())]
        if names and choice.mode == "auto":
            # Names may be given with ANY only; to offer no other functions comes to the same.
            made = {"functionDeclarations": [it for it in made["functionDeclarations"] if it["name"] in names]}
        out["tools"] = [made]
        self.free = True
        if body.get("tool_choice") is None:
            return
        if choice.mode == "required" and self._facts.forced_tools == "never":
            raise self.refuse("tool_choice", f"{self._model} refuses requests that force a tool call; write auto")
        calling: JSON = {"mode": _MODES[choice.mode]}
        if names and choice.mode == "required":
            calling["allowedFunctionNames"] = names
        out["toolConfig"] = {"functionCallingConfig": calling}

    def _declared(self, tool: Tool) -> JSON:
        """A function; one without arguments has no schema, for an empty one would break the import."""
        made: JSON = {"name": tool.name}
        if tool.description:
            made["description"] = tool.description
        if tool.parameters:
            schema = clean(tool.parameters, f"{tool.path}.function.parameters", self.note)
            if schema.keys() - {"type", "additionalProperties", "title", "description"}:
                made["parametersJsonSchema"] = schema
        return made

    def _own_tools(self, value: Any) -> list[JSON]:
        """Tools that Google runs itself, such as ``{"google_search": {...}}``.

        The importer takes no empty object, so one without settings cannot be asked for in a batch
        (googleapis/python-genai#2123).
        """
        entries = value if isinstance(value, list) else []
        found = [own_tool(entry) for entry in entries]
        named = [one for one in found if one is not None]
        if not named:
            return []
        if len(named) < len(entries):
            raise self.refuse("tools", "Gemini takes functions or its own tools in a request, not both")
        for index, (name, settings) in enumerate(named):
            if not settings:
                remedy = (
                    f"write one, such as {OWN_TOOLS[name]}" if OWN_TOOLS[name] else "there is none, so leave it out"
                )
                message = f"Vertex AI's importer takes no empty object, so a batch needs a setting of {name}; {remedy}"
                raise self.refuse(f"tools[{index}].{name}", message)
        return [camel({name: settings}) for name, settings in named]

    def _tool_choice(self, value: Any, body: JSON, out: JSON) -> None:
        if not body.get("tools"):
            read_choice(value, [])

    # ---- back --------------------------------------------------------------------------------------------------

    def answer(self, output: JSON) -> JSON | Failure:
        """The answer; see :class:`~airflow_batch_provider.dialects.dialect.Dialect`."""
        try:
            return read_answer(output, self._model)
        except orjson.JSONEncodeError:
            return Failure(None, "The answer is nested too deeply to be read.")


def _with_own_tools(tools: Fate) -> Fate:
    """The keys of tools, with Gemini's own beside functions."""
    if not isinstance(tools, Each) or not isinstance(tools.element, ByKind):
        raise TypeError(tools)
    kinds = tools.element.kinds
    plain = kinds[None]
    own = dict.fromkeys((*OWN_TOOLS, *map(camel_name, OWN_TOOLS)), READ)
    return Each(ByKind(tools.element.key, {**kinds, None: changed(plain, **own)}))


def _type_of_sound(form: str) -> str:
    """The media type of ``input_audio.format``, which people also write as a type; webm and mp4 hold sound here."""
    word = form.strip().lower().removeprefix("audio/").removeprefix(".")
    known = MEDIA.get(word, "")
    return known if known.startswith("audio/") else f"audio/{word}"


def _inline(media_type: str, data: str) -> JSON:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _object(text: str) -> JSON | None:
    """The object that a text is, None for any other text and for what the importer would not take."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found: JSON = orjson.loads(text)
        # Above it are request, contents, parts, functionResponse and response.
        columns(found, depth=5)
    except (orjson.JSONDecodeError, NotImportableError):
        return None
    return found


def _sign(turns: list[JSON]) -> None:
    """Gemini 3 wants a signature on the first call of every turn of the model, and on no other."""
    for turn in turns:
        if turn["role"] == "model":
            calls = [part for part in turn["parts"] if "functionCall" in part]
            if calls:
                calls[0].setdefault("thoughtSignature", UNSIGNED)
