"""JSON Lines as bytes.

Lines end at ``\\n`` and nowhere else: ``str.splitlines`` also splits at U+2028, U+0085 and others that are legal inside
a JSON string, and would tear an answer in two.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

import orjson

BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_BUFFER = 1 << 20
_BLANK = b" \t\r"


def decompress(stream: BinaryIO) -> BinaryIO:
    """The stream itself, or its content when it is gzip (by its first bytes, not by its name)."""
    buffered = io.BufferedReader(cast(io.RawIOBase, _Readable(stream)), _BUFFER)
    if buffered.peek(2)[:2] == _GZIP:
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    return cast(BinaryIO, buffered)


class _Readable(io.RawIOBase):
    """The least a stream of any store offers (``read``), as what ``BufferedReader`` wants."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def read_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Every line with its 1-based number, without its end (``\\n`` or ``\\r\\n``) and without a byte order mark.

    An empty file has no line; a last line needs no end.
    """
    for number, line in enumerate(decompress(stream), start=1):
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        yield number, text.removeprefix(BOM) if number == 1 else text


def split_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The non-blank lines of a byte stream that arrives in chunks of any size."""
    rest: list[bytes] = []
    for chunk in chunks:
        *ended_here, last = chunk.split(b"\n")
        if not ended_here:
            rest.append(last)
            continue
        ended_here[0] = b"".join([*rest, ended_here[0]])
        rest = [last]
        for line in ended_here:
            if text := line.removeprefix(BOM).strip(_BLANK):
                yield text
    if text := b"".join(rest).removeprefix(BOM).strip(_BLANK):
        yield text


def ended(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same chunks, and an end of line where the last one lacks it, so that another file may follow."""
    last = b"\n"
    for chunk in chunks:
        yield chunk
        last = chunk[-1:] or last
    if last != b"\n":
        yield b"\n"


def load_exactly(raw: bytes) -> Any:
    """JSON to be written again: its numbers keep the characters they were written with.

    A double keeps 17 digits and orjson's integers 64 bits, so ``0.10``, ``1e2`` or an id of 30 digits would come out as
    other bytes, the last as another number.
    """
    return json.loads(raw, parse_float=orjson.Fragment, parse_int=orjson.Fragment)
