"""What the client libraries of stores differ in: their errors, and what their listings say."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, cast

from airflow_batch_provider.core.errors import BatchInferenceError, StorageError

_STAMPS = ("ETag", "etag", "generation", "LastModified", "last_modified", "updated", "created")
"""What s3fs, adlfs, gcsfs and fsspec's own file systems say in a listing of the version of a file."""


def stamp(listed: Mapping[str, Any]) -> str | None:
    """What distinguishes a file from every other one that was ever there by its name; None where a listing is silent.

    :param listed: its entry in the listing.
    """
    said = [str(listed[name]) for name in _STAMPS if listed.get(name) is not None]
    return "|".join([str(listed.get("size")), *said]) if said else None


@contextlib.contextmanager
def typed_errors(path: str, verb: str, kind: type[Exception] = Exception) -> Iterator[None]:
    """Errors of a store inside become ``StorageError``, but for a missing file and a folder in a file's place.

    :param verb: what was attempted: ``read``, ``written``, ``listed``.
    :param kind: what the store raises: a disk ``OSError``, an object store whatever its client library does.
    """
    try:
        yield
    except (BatchInferenceError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError):
        raise
    except kind as error:
        raise StorageError(
            f"{path} could not be {verb}: {type(error).__name__}: {error}. Nothing is lost: run the task again when "
            "the store answers; if it goes on, check the store's connection, its permissions and its free space"
        ) from error


class _Watched(io.RawIOBase):
    """A stream of an object store whose errors are typed."""

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self._stream = stream
        self._path = path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        with typed_errors(self._path, "read"):
            chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def watched(stream: BinaryIO, path: str) -> BinaryIO:
    """A stream of an object store whose errors are typed."""
    return cast(BinaryIO, io.BufferedReader(_Watched(stream, path), 1 << 20))
