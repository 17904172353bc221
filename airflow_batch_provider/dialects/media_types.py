"""Media types: of a file's name, and as an author gives them beside a file.

``format`` beside ``url`` or ``file_id`` is LiteLLM's way, ``mime_type`` Google's; an object in a bucket needs no ending
then (google/adk-python#5184).
"""

from __future__ import annotations

import re
from typing import Any

MEDIA = {
    "pdf": "application/pdf",
    "mov": "video/mov",
    "flv": "video/x-flv",
    "3gp": "video/3gpp",
    "jpg": "image/jpeg",
    "mpga": "audio/mpga",
    "txt": "text/plain",
    "md": "text/plain",
    "htm": "text/html",
    **{name: f"image/{name}" for name in ("png", "jpeg", "webp", "gif", "heic", "heif", "bmp")},
    **{name: f"audio/{name}" for name in ("mp3", "wav", "flac", "ogg", "aac", "m4a", "aiff", "opus", "pcm")},
    **{name: f"video/{name}" for name in ("mp4", "mpeg", "mpg", "webm", "avi", "wmv")},
    **{name: f"text/{name}" for name in ("csv", "html")},
}
"""Media types of the endings of names."""
GIVEN = ("format", "mime_type", "mimeType", "media_type", "content_type")
"""The names of a key that gives a file's type."""
_TYPE = re.compile(r"[\w.+-]+/[\w.+;= -]+")


def type_of_name(name: str) -> str | None:
    """The media type by a name's ending."""
    return MEDIA.get(name.rpartition(".")[2].lower())


def given_type(*places: Any) -> tuple[str, str | None] | None:
    """The type that is given beside a file: the key, and the type, which is None where the value is none.

    :param places: the objects it may be in, the nearest first.
    """
    for place in places:
        for name in GIVEN if isinstance(place, dict) else ():
            value = place.get(name)
            if value is not None:
                text = value.strip().lower() if isinstance(value, str) else ""
                return name, text if _TYPE.fullmatch(text) else MEDIA.get(text.removeprefix("."))
    return None
