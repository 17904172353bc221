"""What media in a request may cost in input tokens: the most, by the kind of media, or that it cannot be known.

Media are not billed by their bytes. Images have a ceiling by model, because every provider scales them down; sound is
billed by the second and documents by the page, which their size and format bound. What is only named (a file id, an
address of a document) has no bound that a line shows.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
import zlib
from dataclasses import dataclass
from typing import Any

DEAREST_IMAGE = 48_169
"""gpt-4o-mini counts 2,833 and 5,667 for each of up to eight tiles (OpenAI, "Images and vision", calculating costs):
the most of all models, and of an image for a model that is not known."""
_DATED = r"(-\d{4}-?\d{2}-?\d{2})?"
_IMAGE_CEILINGS = (
    (rf"(chatgpt-4o-latest|gpt-4o|gpt-4\.1|gpt-4-turbo){_DATED}", 85 + 8 * 170),
    (rf"gpt-5(\.1)?(-chat-latest)?{_DATED}", 70 + 8 * 140),
    (rf"o[13](-pro)?{_DATED}", 75 + 8 * 150),
    (rf"(gpt-4\.1|gpt-5)-mini{_DATED}", 2_489),
    (rf"o4-mini{_DATED}", 2_642),
    (rf"(gpt-4\.1|gpt-5)-nano{_DATED}", 3_779),
    (r"claude-(3|sonnet-4|opus-4|haiku-4)[\w.:@-]*", 4_784),
    (r"gemini-3(\.\d+)?-(pro|flash|flash-lite)(-preview)?", 2_240),
)
"""The most tokens of one image, by the model's full name.

OpenAI, "Images and vision": a base and up to eight tiles of a picture of 2048 x 768; for the small models 1,536 patches
times 1.62, 1.72 or 2.46. Anthropic, "Vision": one token for 28 x 28 pixels, at most 4,784 on the models that see most.
Google, "Media resolution": 2,240 at the highest of Gemini 3.
The patches and the factors 1.62 and 2.46 were read in copies of OpenAI's page; the other factor and the 4,784 are
unverified."""
_PREFIX = re.compile(r"^(.*/)?([a-z]+(-[a-z]+)?\.(?=(?:anthropic|openai|google)\.))?((anthropic|openai|google)\.)?")

SOUND_TOKENS_A_SECOND = 32
"""Gemini's rate (Google, "Understand and count tokens"); OpenAI counts 10."""
_LEAST_BYTES_A_SECOND = 750
"""Opus at 6 kbit/s, the least of the formats that providers take (RFC 6716, 2.1.1); MP3 has 1,000 at least."""

PAGE_TEXT_TOKENS = 3_000
"""A dense page has 1,500 to 3,000 tokens (Anthropic, "PDF support"); to them comes the page as an image."""
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_STREAM = re.compile(rb"/ObjStm\b[^>]*?>>\s*stream\r?\n")
_MOST_INFLATED = 64 << 20


@functools.lru_cache(maxsize=256)
def image_tokens(model: str | None) -> int:
    """The most input tokens of one image.

    :param model: the model's own name; a deployment's, or none, is not one that is known.
    """
    name = _PREFIX.sub("", model or "", count=1)
    return next((most for pattern, most in _IMAGE_CEILINGS if re.fullmatch(pattern, name)), DEAREST_IMAGE)


@dataclass(slots=True)
class Media:
    """What the media of one request come to.

    :param size: characters of the line that are media and not text.
    :param images: how many images there are.
    :param tokens: the most tokens of documents.
    :param sound: the most tokens of sound.
    :param unsized: what has no bound, in words; None where everything has one.
    """

    model: str | None
    size: int = 0
    images: int = 0
    tokens: int = 0
    sound: int = 0
    unsized: str | None = None

    @classmethod
    def of(cls, body: dict[str, Any], model: str | None) -> Media:
        """The media in the messages or the input of a request; what is elsewhere (tools, schemas) is text."""
        found = cls(model)
        for name in ("messages", "input"):
            found._look(body.get(name))
        return found

    def _look(self, value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                if isinstance(item, (dict, list)):
                    self._look(item)
        elif isinstance(value, dict):
            if (kind := value.get("type")) in _KINDS:
                _KINDS[kind](self, value)
                return
            for inner in value.values():
                if isinstance(inner, (dict, list)):
                    self._look(inner)

    def _image(self, part: dict[str, Any]) -> None:
        self.images += 1
        given = part.get("image_url")
        address = given.get("url") if isinstance(given, dict) else given
        if isinstance(address, str) and _is_data(address):
            self.size += len(address)

    def _sound(self, part: dict[str, Any]) -> None:
        inner = part.get("input_audio")
        data = inner.get("data") if isinstance(inner, dict) else None
        if not isinstance(data, str):
            self.unsized = "sound that is not in the line"
            return
        self.size += len(data)
        seconds = _seconds(data)
        self.sound += int(seconds * SOUND_TOKENS_A_SECOND) + SOUND_TOKENS_A_SECOND

    def _file(self, part: dict[str, Any]) -> None:
        inner = part.get("file")
        payload = inner if isinstance(inner, dict) else part
        given = payload.get("file_data")
        if not isinstance(given, str):
            self.unsized = "a file by its id or address"
            return
        head, _, data = given.partition(",") if _is_data(given) else ("", "", given)
        head = head.lower()
        name = str(payload.get("filename") or payload.get("format") or "").lower()
        content = _decoded(data)
        if content is None:
            self.unsized = "a file that is not base64"
        elif head.startswith("data:image/"):
            self.images += 1
        elif head.startswith("data:audio/"):
            self.sound += int(_seconds(data) * SOUND_TOKENS_A_SECOND) + SOUND_TOKENS_A_SECOND
        elif content.startswith(b"%PDF-"):
            self._pdf(content)
        elif head.startswith("data:text/") or name.endswith((".txt", ".md", ".csv", ".json", ".html")):
            self.tokens += len(content)
        else:
            self.unsized = "a file whose pages cannot be counted"
        self.size += len(given)

    def _pdf(self, content: bytes) -> None:
        pages = pages_of(content)
        if pages is None:
            self.unsized = "a PDF whose pages cannot be counted"
        else:
            self.tokens += pages * (PAGE_TEXT_TOKENS + image_tokens(self.model))

    def _other(self, part: dict[str, Any]) -> None:
        self.unsized = f"a part of type {part.get('type')}"


def _is_data(address: str) -> bool:
    """Whether an address holds what it names; schemes are written in any case (RFC 3986, 3.1)."""
    return address[:5].lower() == "data:"


_KINDS = {
    "image_url": Media._image,
    "input_image": Media._image,
    "input_audio": Media._sound,
    "file": Media._file,
    "input_file": Media._file,
    "video_url": Media._other,
    "input_video": Media._other,
    "item_reference": Media._other,
}


def _decoded(data: str) -> bytes | None:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None


def _seconds(data: str) -> float:
    """The longest that so much sound may take.

    A WAV file names its bytes a second, as the 4 bytes from 28 on (Microsoft, RIFF WAVE); all else is taken for the
    thriftiest format.
    """
    size = len(data) * 3 / 4
    head = _decoded(data[:44]) or b""
    rate = int.from_bytes(head[28:32], "little") if head[:4] == b"RIFF" and head[8:12] == b"WAVE" else 0
    return size / (rate if rate > _LEAST_BYTES_A_SECOND else _LEAST_BYTES_A_SECOND)


def pages_of(content: bytes) -> int | None:
    """How many pages a PDF has, None where it does not show: a lower number is never given for a readable file.

    Page objects are in the open, or in compressed object streams (ISO 32000-1, 7.5.7).
    """
    if b"/Encrypt" in content:
        return None
    pages = len(_PAGE.findall(content))
    for found in _STREAM.finditer(content):
        reader = zlib.decompressobj()
        try:
            inside = reader.decompress(content[found.end() :], _MOST_INFLATED)
        except zlib.error:
            return None
        if reader.unconsumed_tail:
            return None
        pages += len(_PAGE.findall(inside))
    return pages or None
