"""What every chat dialect shares: reading an OpenAI chat body, and writing an OpenAI chat completion.

A dialect says how a text, an image, a tool call is written; here is the order of things: system messages apart,
neighbours of one role merged into one turn, tool results with the function they answer.
"""

from __future__ import annotations

import base64
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.chat_keys import ChatKeys
from airflow_batch_provider.dialects.dialect import Dialect
from airflow_batch_provider.dialects.facts.tool_names import ToolNames
from airflow_batch_provider.dialects.keys import check, pattern
from airflow_batch_provider.dialects.media_types import given_type, type_of_name
from airflow_batch_provider.dialects.options import check_text_only, check_tool_name
from airflow_batch_provider.dialects.parts import Blob, ToolCall, ToolResult, read_call, read_data_url, result_texts

TURNS = {"user": "user", "assistant": "assistant", "tool": "user", "function": "user"}
UNHEARD = frozenset(
    {
        *("metadata", "safety_identifier", "service_tier", "store", "stream_options", "user"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    }
)
"""Fields that are for OpenAI's platform and change no answer."""
INSTRUCTIONS = frozenset({"system", "developer"})

Write: TypeAlias = "Callable[[Any, JSON, JSON], None]"
"""Writes one field of the body: its value, the whole body, the provider's request to add to."""


class ChatDialect(Dialect):
    """A dialect of chat completions.

    Subclasses list in ``fields`` how each field of the body is written, in ``keys`` what becomes of the keys below, and
    say how the parts of a message are. A field that is not listed is refused by name: it is unknown whether it matters.

    :param keys: the keys below the top level.
    """

    turn_roles: ClassVar[Mapping[str, str]] = TURNS
    parts_field: ClassVar[str] = "content"
    provider: ClassVar[str]
    """How messages call the provider."""

    tool_names: ClassVar[ToolNames]
    """The names of functions that the provider takes."""

    media_of_assistant: ClassVar[bool] = False
    """Whether the assistant's messages may hold more than text; see AWS, "API restrictions"."""

    blank_text: ClassVar[bool] = False
    """Whether a text of nothing but white space is accepted; otherwise it is left out."""

    def __init__(self, keys: ChatKeys) -> None:
        super().__init__()
        self._keys = keys.tree()
        self._message_keys = keys.message()
        self._linked = frozenset(self._keys)
        self.fields: dict[str, Write] = {
            "model": nothing,
            "messages": nothing,
            "stream": self._no("remove the field", "does not stream in batches"),
            "max_tokens": nothing,
            "max_completion_tokens": self._newer_tokens,
            "parallel_tool_calls": self._parallel,
            "n": self._one_choice,
            "seed": self._dropped("it has no seed, so answers are not repeatable"),
            "presence_penalty": self._no("remove the field"),
            "frequency_penalty": self._no("remove the field"),
            "logit_bias": self._no("remove the field"),
            "verbosity": self._dropped("it has no such setting"),
            "logprobs": self._no("remove the field", "does not return log probabilities"),
            "top_logprobs": self._no("remove the field", "does not return log probabilities"),
            "functions": self._no("write tools instead"),
            "function_call": self._no("write tool_choice instead"),
            "audio": self._no("remove the field", "does not return audio"),
            "modalities": self._only_text,
            "prediction": self._dropped("predicted outputs only save time"),
            "web_search_options": self._no("remove the field", "does not offer web search in batches"),
            **dict.fromkeys(UNHEARD, self._unheard),
        }

    # ---- writing fields ----------------------------------------------------------------------------------------

    def write_fields(self, body: JSON, out: JSON) -> None:
        """Write every field of the body but the messages; null means that it is not there."""
        fields = self.fields
        for name, value in body.items():
            write = fields.get(name)
            if write is nothing or value is None:
                continue
            if write is None:
                raise UntranslatableError(f"body.{name}", f"{self.provider} does not support this parameter; remove it")
            self._field = name
            write(value, body, out)

    _field = ""
    """The name of the field being written, for writers that serve several."""

    def refuse(self, field: str, message: str) -> UntranslatableError:
        """The error of a field of the body."""
        return UntranslatableError(f"body.{field}", message)

    def note(self, field: str, reason: str, what: str = "left out") -> None:
        """Note, once in a run, that a key was left out, or what else became of it, wherever in the arrays it is."""
        name = f"body.{pattern(field)}"
        if name not in self.notes:
            where = "" if "[" not in field else f" (first in body.{field})"
            self.notes[name] = f"{what} for {self.provider}: {reason}{where}"

    def _no(self, remedy: str, lack: str = "") -> Write:
        """A writer that refuses the field.

        :param lack: what the provider does not do, where the name of the field does not say it.
        """

        def write(value: Any, _body: JSON, _out: JSON) -> None:
            if value not in (False, 0, [], {}, ""):
                raise self.refuse(self._field, f"{self.provider} {lack or 'does not support ' + self._field}; {remedy}")

        return write

    def _dropped(self, reason: str) -> Write:
        def write(_value: Any, _body: JSON, _out: JSON) -> None:
            self.note(self._field, reason)

        return write

    def _unheard(self, value: Any, body: JSON, out: JSON) -> None:
        self.note(self._field, "it changes no answer")

    def _one_choice(self, value: Any, body: JSON, out: JSON) -> None:
        if value != 1:
            raise self.refuse("n", f"{self.provider} returns one answer per request; write {value} lines instead")

    def _only_text(self, value: Any, body: JSON, out: JSON) -> None:
        if value != ["text"]:
            raise self.refuse("modalities", f'{self.provider} answers in text only; write ["text"] or leave it out')

    def _newer_tokens(self, value: Any, body: JSON, out: JSON) -> None:
        if body.get("max_tokens") is not None:
            self.note("max_tokens", "max_completion_tokens is set as well and is used")

    def _parallel(self, value: Any, body: JSON, out: JSON) -> None:
        if value is not True:
            self.note("parallel_tool_calls", "it calls no tools")

    # ---- messages ----------------------------------------------------------------------------------------------

    used_tools = False
    """Whether the conversation holds calls of tools, or results."""

    def conversation(self, body: JSON) -> tuple[list[JSON], list[JSON]]:
        """The parts of all system and developer messages, and the turns: neighbours of one role are one turn.

        The keys of the whole body are looked at here, for every dialect begins with this.
        """
        if not self._linked.isdisjoint(body):
            self._check_keys(body)
        self.used_tools = False
        system: list[JSON] = []
        turns: list[JSON] = []
        names: dict[str, str] = {}
        last = ""
        field = self.parts_field
        for index, message in enumerate(body["messages"]):
            role = message["role"]
            content = message.get("content")
            bare = type(content) is str and len(message) == 2
            if not bare:
                check(message, self._message_keys, f"messages[{index}]", self.note, self.provider)
            if bare and role == "user" and (self.blank_text or (content and not content.isspace())):
                parts = [self.text(content)]
            elif role in INSTRUCTIONS:
                instructions = self._instructions(message, f"messages[{index}]")
                if instructions and turns:
                    reason = f"{self.provider} takes instructions before the conversation only"
                    self.note(f"messages[{index}]", reason, "moved to the front")
                system += instructions
                continue
            else:
                parts = self._message(role, message, index, names)
            if not parts:
                continue
            turn = self.turn_roles[role]
            if turn == last:
                turns[-1][field] += parts
            else:
                turns.append({"role": turn, field: parts})
                last = turn
        if not turns:
            raise self.refuse("messages", f"{self.provider} requires a user message; this row has system messages only")
        return system, turns

    def _check_keys(self, body: JSON) -> None:
        for name, fate in self._keys.items():
            if body.get(name) is not None:
                check(body[name], fate, name, self.note, self.provider)

    def _instructions(self, message: JSON, where: str) -> list[JSON]:
        """The parts of a system message, which are texts."""
        content = message.get("content")
        if isinstance(content, list):
            for number, part in enumerate(content):
                if not isinstance(part, dict) or not isinstance(part.get("text"), str):
                    raise self.refuse(f"{where}.content[{number}]", "a system message takes text only")
            parts = [
                self.marked(self.text(part["text"]), part) for part in content if self._said(part["text"], where, "")
            ]
        elif content is None or isinstance(content, str):
            parts = [self.text(content)] if content and self._said(content, where, "") else []
        else:
            raise self.refuse(f"{where}.content", "must be a string or an array of parts")
        if parts:
            self.marked(parts[-1], message)
        return parts

    def _said(self, text: str, where: str, part: str) -> bool:
        """Whether a text says anything; white space alone is left out where it is not taken."""
        if not text.strip():
            self.note(f"{where}.content{part}", "a text of white space only is not accepted")
            return False
        return True

    def _message(self, role: str, message: JSON, index: int, names: dict[str, str]) -> list[JSON]:
        """The parts of any message but a system message."""
        where = f"messages[{index}]"
        if role not in self.turn_roles:
            known = "system, developer, user, assistant or tool"
            raise self.refuse(f"{where}.role", f"{role!r} is not a role; use {known}")
        if role in ("tool", "function"):
            self.used_tools = True
            return [self._result(message, where, names)]
        if role == "assistant" and not self.media_of_assistant:
            check_text_only(message.get("content"), where, self.provider)
        parts = self._content(message.get("content"), where)
        if parts:
            self.marked(parts[-1], message)
        if message.get("refusal"):
            parts.append(self.text(str(message["refusal"])))
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list):
            raise self.refuse(f"{where}.tool_calls", "must be an array")
        for number, call in enumerate(calls):
            made = read_call(call, f"{where}.tool_calls[{number}]")
            check_tool_name(made.name, self.tool_names, f"{where}.tool_calls[{number}].function.name")
            self.used_tools = True
            names[made.id] = made.name
            parts.append(self.call(made))
        if message.get("function_call"):
            raise self.refuse(f"{where}.function_call", "write tool_calls instead")
        return parts

    def _content(self, content: Any, where: str) -> list[JSON]:
        if content is None:
            return []
        if isinstance(content, str):
            return [self.text(content)] if self.blank_text or self._said(content, where, "") else []
        if not isinstance(content, list):
            raise self.refuse(f"{where}.content", "must be a string or an array of parts")
        parts = []
        for number, part in enumerate(content):
            path = f"{where}.content[{number}]"
            if not isinstance(part, dict):
                raise self.refuse(path, "must be an object")
            if part.get("type") in ("text", "refusal"):
                text = part.get(part["type"])
                if not isinstance(text, str):
                    raise self.refuse(f"{path}.{part['type']}", "must be a string")
                if self.blank_text or self._said(text, where, f"[{number}]"):
                    parts.append(self.marked(self.text(text), part))
            else:
                parts.append(self.marked(self._media(part, path), part))
        return parts

    given_type: str | None = None
    """The media type that the author gives beside the file being read; it outranks every other sign of it."""

    def _read_type(self, part: JSON, inner: str, path: str) -> None:
        stated = given_type(part.get(inner), part)
        if stated is not None and stated[1] is None:
            raise self.refuse(f"{path}.{stated[0]}", "is not a media type; write one such as image/png")
        self.given_type = stated[1] if stated else None

    def _media(self, part: JSON, path: str) -> JSON:
        kind = part.get("type")
        if kind in ("image_url", "file"):
            self._read_type(part, kind, path)
        if kind == "image_url":
            given = part.get("image_url")
            url = given.get("url") if isinstance(given, dict) else given
            if not isinstance(url, str):
                raise self.refuse(f"{path}.image_url.url", "must be a string")
            blob = read_data_url(url)
            if blob is None:
                return self.image_link(url, path)
            blob = self._checked(blob, f"{path}.image_url.url")
            return self.image(Blob(self.given_type or blob.media_type, blob.data), path)
        if kind == "file":
            given = part["file"] if isinstance(part.get("file"), dict) else {}
            if given.get("file_data") and given.get("file_id"):
                raise self.refuse(f"{path}.file.file_id", "write file_data or file_id, not both")
            blob = read_data_url(str(given.get("file_data") or ""))
            address = given.get("file_id") or given.get("file_data")
            if blob is None and isinstance(address, str) and "://" in address:
                return self.document_link(address, str(given.get("filename") or ""), path)
            if blob is None:
                message = "files travel in the line: write file_data as a data: URL, file ids belong to OpenAI"
                raise self.refuse(f"{path}.file", message)
            self._checked(blob, f"{path}.file.file_data")
            name = given.get("filename")
            name = name if isinstance(name, str) else None
            media_type = self.given_type or blob.media_type
            if media_type == "application/octet-stream":
                # It says nothing; a name may.
                media_type = type_of_name(name or "") or media_type
            return self.document(Blob(media_type, blob.data, name), path)
        if kind == "input_audio":
            given = part.get("input_audio")
            return self.audio(given if isinstance(given, dict) else {}, path)
        raise self.refuse(f"{path}.type", f"{kind!r} is unknown; text, image_url, file and input_audio are known")

    def _checked(self, blob: Blob, path: str) -> Blob:
        try:
            if base64.b64decode(blob.data, validate=True):
                return blob
        except ValueError:
            pass
        raise self.refuse(path, "what follows base64, is not valid base64")

    def _result(self, message: JSON, where: str, names: Mapping[str, str]) -> JSON:
        call_id = str(message.get("tool_call_id") or message.get("name") or "")
        name = names.get(call_id) or message.get("name")
        if message["role"] == "function" and call_id not in names:
            raise self.refuse(f"{where}.role", "write tool_calls and a tool message, which names its call, instead")
        if not name:
            raise self.refuse(
                f"{where}.tool_call_id", f"{call_id!r} is not the id of a call in an earlier assistant message"
            )
        made = self.result(ToolResult(call_id, str(name), "".join(result_texts(message.get("content"), where))))
        content = message.get("content")
        for given in (*(content if isinstance(content, list) else ()), message):
            self.marked(made, given)
        return made

    @abstractmethod
    def text(self, text: str) -> JSON:
        """A text part."""

    def marked(self, made: JSON, given: JSON) -> JSON:
        """A part with what the author's part, or its message, says beside its content.

        :param made: the part as the provider has it, to add to.
        """
        return made

    @abstractmethod
    def image(self, blob: Blob, path: str) -> JSON:
        """An image that came as a data: URL."""

    def image_link(self, url: str, path: str) -> JSON:
        """An image that is somewhere else."""
        scheme = url.partition(":")[0]
        if scheme == "data":
            raise self.refuse(f"{path}.image_url.url", "must read data:image/...;base64,...")
        remedy = "set download_images=True, or write it" if scheme in ("http", "https") else "write the image itself"
        message = f"{self.provider} does not download {scheme}: images in batches; {remedy} as a data: URL"
        raise self.refuse(f"{path}.image_url.url", message)

    def document(self, blob: Blob, path: str) -> JSON:
        """A file that came with the message."""
        raise self.refuse(f"{path}.file", f"{self.provider} does not accept files; remove them")

    def document_link(self, url: str, name: str, path: str) -> JSON:
        """A file that is somewhere else."""
        message = f"{self.provider} does not download files in batches; write file_data as a data: URL"
        raise self.refuse(f"{path}.file", message)

    def audio(self, given: JSON, path: str) -> JSON:
        """A recording: ``{"data": base64, "format": "wav" | "mp3"}``."""
        raise self.refuse(f"{path}.input_audio", f"{self.provider} does not accept audio; remove it")

    def call(self, call: ToolCall) -> JSON:
        """A tool call of an earlier answer."""
        raise self.refuse("messages", f"{self.provider} does not accept tool calls; remove them")

    def result(self, result: ToolResult) -> JSON:
        """What a tool returned."""
        raise self.refuse("messages", f"{self.provider} does not accept tool results; remove them")


def nothing(value: Any, body: JSON, out: JSON) -> None:
    """For fields that are read elsewhere."""
