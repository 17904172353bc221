"""A file as text in UTF-8, whatever a store or a gateway has made of it.

Servers hand out what lies in their store: gzip without the header that says so, or the text in another encoding. It was
paid as it is, so it is read.
"""

from __future__ import annotations

import codecs
import itertools
import zlib
from collections.abc import Iterator

from airflow_batch_provider.core.encoding import not_text
from airflow_batch_provider.core.errors import ProviderError

_GZIP = b"\x1f\x8b"
_WINDOW = 31
"""zlib's word for a gzip header and the largest window."""
_MOST = 1 << 20
"""So many bytes are unpacked at a time: a small file may hold a large one."""
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ENOUGH = 64


def as_text(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The same chunks, unpacked and in UTF-8.

    :param name: what is read, for messages.
    :raises ProviderError: naming what the file is, where it is no text; or that it was cut.
    """
    head, chunks = _head(chunks)
    if head.startswith(_GZIP):
        head, chunks = _head(_unpacked(chunks, name))
    encoding = next((known for mark, known in _ENCODINGS if head.startswith(mark)), None)
    if encoding is not None:
        yield from _in_utf8(chunks, encoding, name)
        return
    if (what := not_text(head)) is not None:
        raise ProviderError(f"{name}: {what}")
    yield from chunks


def _head(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all of them."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _ENOUGH or b"\n" in head:
            break
    return head, itertools.chain([head] if head else [], chunks)


def _unpacked(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """What gzip packed, which may be several parts one after the other."""
    unpacker = zlib.decompressobj(_WINDOW)
    try:
        for chunk in chunks:
            rest = chunk
            while rest := rest.lstrip(b"\x00") if unpacker.eof else rest:
                if unpacker.eof:
                    unpacker = zlib.decompressobj(_WINDOW)
                yield unpacker.decompress(rest, _MOST)
                rest = unpacker.unconsumed_tail or unpacker.unused_data
    except zlib.error as error:
        raise ProviderError(f"{name}: its gzip cannot be unpacked ({error})") from None
    if not unpacker.eof:
        raise ProviderError(f"{name}: its gzip stops before its end, so it was cut")


def _in_utf8(chunks: Iterator[bytes], encoding: str, name: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in chunks:
            yield decoder.decode(chunk).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError:
        raise ProviderError(f"{name}: it is not the {encoding.upper()} that it begins as, so it was cut") from None
