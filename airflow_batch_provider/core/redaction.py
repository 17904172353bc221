"""Secrets of a connection, taken out of whatever a provider sends back.

Providers and gateways quote what they were sent: a key in an error, in a batch's ``errors``, in an output line. Before
any of it becomes a file, a log line, an exception or a table, :class:`Redactor` has replaced every secret by stars, in
the spellings that HTTP and JSON have for it.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import quote

STARS = "***"
SHORTEST = 8
"""Shorter values are in ordinary text by chance, and would blank it."""
NOT_RECORDED = "(not recorded: a secret)"
"""Stands in a recorded create call where a secret was sent."""
_FRAGMENT = 12
_WORD = re.compile(r"[a-z]{1,12}")
_PLAIN_VALUE = re.compile(r"[\d.:TZ/+-]*|[A-Za-z]+(?:[ _./:@-]+[A-Za-z]+)*(?:-?\d{1,2})?")
"""Numbers, dates, regions, and words without a digit such as ``openai-main``."""
_PLAIN_NAME = re.compile(
    r"(?:provider|provider-name|version|region|bucket|bucket-name|project-id|model|env|environment|mode|tier|date|host"
    r"|url|content-type|accept|organization|namespace)$",
    re.IGNORECASE,
)
"""Headers that say whom, where or how; no message is of use without them."""
_OF_THE_WIRE = frozenset(
    {"custom_id", "in_progress", "input_file_id", "output_file_id", "error_file_id", "status_code"}
)
"""Never replaced, whatever a connection holds: no answer could be read without them."""
_NAMES = re.compile(
    r"(?<!port)key(?!word)|token|secret|passw|pwd|credential|auth(?!or)|authoriz|bearer|signature|cookie|jwt|\bpat\b",
    re.IGNORECASE,
)
_SHAPES = re.compile(r"(?:sk-|pk-|rk-|gh[pousr]_|xox|AKIA|ASIA|AIza|eyJ|-----BEGIN )")
"""How the keys of well-known services begin."""
T = TypeVar("T")


def looks_secret(name: str, value: Any) -> bool:
    """Whether a field is a secret, by its name or by how its value begins; an address without a query is none."""
    if not isinstance(value, str) or not value:
        return False
    is_address = value.startswith(("https://", "http://")) and not {"?", "@"} & set(value)
    return bool(_SHAPES.match(value) or (_NAMES.search(name) and not is_address))


def header_secrets(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The values of headers but those that are plain by their name, and numbers, dates and words."""
    for name, value in headers:
        if looks_secret(name, value) or not (_PLAIN_NAME.search(name) or _PLAIN_VALUE.fullmatch(value)):
            yield value


def secrets_in(value: Any, name: str = "") -> Iterator[str]:
    """The secrets that a JSON value holds, at any depth."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            # What is below a secret's name is one: {"authorization": {"value": "..."}}.
            yield from secrets_in(member, f"{name} {key}" if _NAMES.search(name) else str(key))
    elif isinstance(value, (list, tuple)):
        for member in value:
            yield from secrets_in(member, name)
    elif looks_secret(name, value):
        yield value


def without_secrets(value: Any, name: str = "") -> Any:
    """A JSON value with :data:`NOT_RECORDED` in place of every secret."""
    if isinstance(value, Mapping):
        return {
            key: without_secrets(member, f"{name} {key}" if _NAMES.search(name) else str(key))
            for key, member in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [without_secrets(member, name) for member in value]
    return NOT_RECORDED if looks_secret(name, value) else value


def with_secrets(recorded: Any, whole: Any) -> Any:
    """What was recorded by :func:`without_secrets`, with its secrets again.

    :param whole: has them at the same places.
    """
    if isinstance(recorded, dict):
        known = whole if isinstance(whole, Mapping) else {}
        return {key: with_secrets(member, known.get(key)) for key, member in recorded.items()}
    if isinstance(recorded, list):
        known_items = (
            whole if isinstance(whole, (list, tuple)) and len(whole) == len(recorded) else [None] * len(recorded)
        )
        return [with_secrets(member, item) for member, item in zip(recorded, known_items, strict=True)]
    return whole if recorded == NOT_RECORDED and isinstance(whole, str) else recorded


class Redactor:
    """Takes secrets out of text, bytes and records.

    :param secrets: the values; those that are short or ordinary words are left alone.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        plain = dict.fromkeys(part for secret in secrets for part in _parts(secret) if _is_distinct(part))
        # The longest first, or a part would be replaced in the middle of the whole.
        self._plain = sorted(plain, key=len, reverse=True)
        forms = {form: _mask(secret) for secret in self._plain for form in _forms(secret)}
        self._forms = sorted(forms.items(), key=lambda item: len(item[0]), reverse=True)
        self._bytes = [(form.encode(), mask.encode()) for form, mask in self._forms]
        self._overlap = max((len(form) for form, _ in self._bytes), default=1) - 1

    def text(self, text: str) -> str:
        """A message without secrets, nor the beginnings of such as were cut off."""
        for form, mask in self._forms:
            if form in text:
                text = text.replace(form, mask)
        for secret in self._plain:
            while (at := text.find(secret[:_FRAGMENT])) >= 0 and len(secret) > _FRAGMENT:
                end = at + _FRAGMENT
                while end < len(text) and end - at < len(secret) and text[end] == secret[end - at]:
                    end += 1
                text = f"{text[:at]}{STARS}{text[end:]}"
        return text

    def data(self, data: bytes) -> bytes:
        """Bytes without secrets, unchanged where they hold none."""
        for form, mask in self._bytes:
            if form in data:
                data = data.replace(form, mask)
        return data

    def stream(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Chunks without secrets, wherever the chunks are cut."""
        if not self._bytes:
            yield from chunks
            return
        held = b""
        for chunk in chunks:
            whole = self.data(held + chunk if held else chunk)
            # What may be the beginning of a secret waits for the rest.
            cut = max(0, len(whole) - self._overlap)
            if cut:
                yield whole[:cut]
            held = whole[cut:]
        if held:
            yield held

    def value(self, value: T) -> T:
        """A record, or any JSON value, without secrets; the same object where it holds none."""
        return cast(T, self._value(value))

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.data(value)
        if isinstance(value, Mapping):
            made = {self._value(key): self._value(member) for key, member in value.items()}
            return made if made != value else value
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            members = [self._value(member) for member in value]
            return type(value)(members) if any(a is not b for a, b in zip(members, value, strict=True)) else value
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            changed = {name: made for name, old in fields.items() if (made := self._value(old)) is not old}
            return dataclasses.replace(value, **changed) if changed else value
        return value

    def error(self, error: BaseException) -> None:
        """Take the secrets out of an exception; what is behind it is cut off where it shows one."""
        error.args = tuple(self._value(part) for part in error.args)
        for name, attribute in vars(error).items():
            if isinstance(attribute, (str, tuple, list, dict)):
                setattr(error, name, self._value(attribute))
        behind = error.__cause__ or error.__context__
        while behind is not None:
            said = f"{behind}\n{behind!r}\n{vars(behind)}"
            if self.text(said) != said:
                error.__cause__, error.__context__, error.__suppress_context__ = None, None, True
                return
            behind = behind.__cause__ or behind.__context__


def _parts(secret: str) -> Iterator[str]:
    """A header's value with and without its scheme; of an object in JSON, what is secret in it."""
    bare = secret.strip()
    for scheme in ("Bearer ", "Basic ", "bearer ", "basic "):
        bare = bare.removeprefix(scheme)
    if bare.startswith("{"):
        try:
            inside = [*secrets_in(json.loads(bare))]
        except ValueError:
            inside = []
        for one in inside:
            yield from _parts(one)
        if inside:
            return
    yield bare
    if "\n" in bare:  # a private key, which may be quoted by lines
        lines = [line for line in bare.splitlines() if line and not line.startswith("-----")]
        yield from (lines[0], lines[-1]) if lines else ()


def _is_distinct(text: str) -> bool:
    return len(text) >= SHORTEST and text not in _OF_THE_WIRE and not _WORD.fullmatch(text)


def _mask(secret: str) -> str:
    """A number stays one: in a line of JSON it need not be in quotes."""
    return "9" * len(secret) if secret.isdigit() else STARS


def _forms(secret: str) -> set[str]:
    """The spellings of a secret: as it is, in JSON, in JSON within JSON, percent-encoded, in base64 at each offset."""
    escaped = json.dumps(secret)[1:-1]
    found = {secret, escaped, json.dumps(escaped)[1:-1], quote(secret, safe=""), quote(secret)}
    for offset in range(3):
        coded = base64.b64encode(b"x" * offset + secret.encode()).decode().rstrip("=")
        middle = coded[4 if offset else 0 : len(coded) - 1]
        found |= {middle, middle.replace("+", "-").replace("/", "_")}
    return {form for form in found if len(form) >= SHORTEST}
