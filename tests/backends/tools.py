"""Streams and clocks that the contract measures with."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections.abc import Iterator
from typing import Any

from airflow_batch_provider.core.finding import Handle
from airflow_batch_provider.core.records import JSON


def known_by(token: str, request: JSON | None = None) -> Handle:
    """What the job of a recorded create call is known by."""
    request = request or {}
    s3 = request.get("inputDataConfig", {}).get("s3InputDataConfig", {}).get("s3Uri")
    gcs = request.get("inputConfig", {}).get("gcsSource", {}).get("uris", [None])[0]
    return Handle(token, request.get("input_file_id") or s3 or gcs)


class Feed(io.RawIOBase):
    """A seekable stream that is never read as a whole."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)
        self.sizes: list[int] = []

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def readinto(self, buffer: Any) -> int:
        self.sizes.append(len(buffer))
        return self._inner.readinto(buffer)

    def readall(self) -> bytes:
        raise AssertionError("the stream was read as a whole")


def sha(chunks: Any) -> str:
    """Digest of a stream."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


async def heartbeat(work: Any) -> tuple[Any, float]:
    """The result of a coroutine, and the longest time that nothing else could run in it."""
    gaps = [0.0]

    async def beat() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - before - 0.001)

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0.01)
    try:
        return await work, max(gaps)
    finally:
        beating.cancel()


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and everything it came from, as a traceback would show."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__
