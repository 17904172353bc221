"""Downloads that break off go on where they stopped, at every provider.

Large outputs break off: "peer closed connection without sending complete message body" above some 200 MB
(openai-python#2959), "Premature end of Content-Length delimited message body" (openai-java#649). Ranges are honoured
there; a gateway may ignore them, and then what was read already is skipped and compared.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from airflow_batch_provider.core.errors import ProviderError, RateLimitedError

PAUSES = (1.0, 4.0, 10.0)
"""Seconds before each try in a row that brings nothing; after the last one the download fails."""
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Head:
    """What an answer says before its bytes.

    :param start: where in the file its bytes begin.
    :param total: the file's length, None where it does not say.
    :param tag: names this version of the file, None where nothing does.
    :param counts: whether offsets count the bytes that are handed out: not where they were packed on the way.
    """

    start: int = 0
    total: int | None = None
    tag: str | None = None
    counts: bool = True


OpenFrom: TypeAlias = "Callable[[int, Head | None], Iterator[Head | bytes]]"
"""Opens a file at an offset, given the head of its first answer: yields the answer's head, then its bytes."""


class ChangedError(ProviderError):
    """The file is not the one that was begun."""


def range_headers(offset: int, first: Head | None) -> dict[str, str]:
    """The headers that request the rest of a file (RFC 9110, 13.1.5 and 14.2)."""
    if not offset:
        return {}
    tag = first.tag if first else None
    return {"Range": f"bytes={offset}-", **({"If-Range": tag} if tag else {})}


def head_of(status: int, headers: Mapping[str, str]) -> Head:
    """The head of an HTTP answer to a GET, whether or not it heeds a range."""
    tag = headers.get("etag") or None
    if tag and tag.startswith("W/"):
        tag = None  # says that it means the same, not that it is the same bytes
    if headers.get("content-encoding", "identity") != "identity":
        return Head(counts=False)
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if status in (206, 416) and found:
        total = None if found[2] == "*" else int(found[2])
        # Of 416 the end is reached, for a range that begins there (RFC 9110, 15.5.17).
        return Head(int(found[1]) if found[1] else total or 0, total, tag)
    length = headers.get("content-length", "")
    return Head(0, int(length) if length.isascii() and length.isdigit() else None, tag)


def resumed(name: str, open_from: OpenFrom) -> Iterator[bytes]:
    """A file's bytes, every one once, over as many answers as it takes.

    :param name: the call, for messages.
    :raises ProviderError: when several tries in a row bring nothing, or the file changed meanwhile.
    """
    first: Head | None = None
    seen = hashlib.blake2b()
    done = idle = 0
    while True:
        before = done
        try:
            answer = open_from(done if first and first.counts else 0, first)
            head = next(answer)
            assert isinstance(head, Head)
            first = _same(name, first, head, done)
            for chunk in _after(name, answer, done - head.start, seen.digest()):
                done += len(chunk)
                seen.update(chunk)
                yield chunk
            if first.total is None or done >= first.total:
                return
            raise ProviderError(f"{name}: it ended after {done} of {first.total} bytes", ambiguous=False)
        except ChangedError:
            raise
        except (ProviderError, RateLimitedError):
            # An error after the last byte is none of the way: a checksum that does not fit, say.
            if not done or (first and first.total is not None and done >= first.total):
                raise
            idle = 0 if done > before else idle + 1
            if idle > len(PAUSES):
                raise
        if idle:
            time.sleep(PAUSES[idle - 1])


def _same(name: str, first: Head | None, head: Head, done: int) -> Head:
    """The first head, when this one can be of the same file."""
    if first is None:
        return head
    differs = (
        (first.tag and head.tag and first.tag != head.tag)
        or (None not in (first.total, head.total) and first.total != head.total)
        or head.start not in (0, done)
    )
    if differs:
        raise ChangedError(f"{name}: the file changed while it was read", ambiguous=False)
    return first


def _after(name: str, chunks: Iterator[Head | bytes], skip: int, digest: bytes) -> Iterator[bytes]:
    """The bytes after those that were read before, which must be the same."""
    again = hashlib.blake2b()
    left = skip
    for chunk in chunks:
        assert isinstance(chunk, bytes)
        known = chunk[:left]
        if known:
            again.update(known)
            left -= len(known)
            if not left and again.digest() != digest:
                raise ChangedError(f"{name}: the file changed while it was read", ambiguous=False)
        if len(known) < len(chunk):
            yield chunk[len(known) :]
    if left:
        raise ProviderError(f"{name}: it ended {left} bytes before where it broke off", ambiguous=False)
