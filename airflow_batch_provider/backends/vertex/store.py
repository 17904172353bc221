"""The bucket: resumable uploads, downloads in chunks, outputs by listing."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from airflow_batch_provider.backends.resuming import Head, resumed
from airflow_batch_provider.backends.vertex.errors import translated
from airflow_batch_provider.core.errors import NotFoundError, ProviderError
from airflow_batch_provider.core.jsonl import ended

_CHUNK = 256 * 1024
_PART = 32 * _CHUNK
"""Bytes of one request of an upload: a multiple of 256 KiB, as resumable uploads want."""
_SECONDS = (10, 120)


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and name of a ``gs://`` URI.

    :raises NotFoundError: when it is none.
    """
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    if not uri.startswith("gs://") or not bucket:
        raise NotFoundError(f"{uri!r} is not a gs:// URI")
    return bucket, name


class VertexStore:
    """Objects by their ``gs://`` URI. Nothing is retried here: the run repeats what it must.

    :param client: gives the Cloud Storage client.
    """

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = client

    def upload(self, uri: str, stream: BinaryIO) -> None:
        """Upload in parts, in this thread."""
        from google.cloud.storage.exceptions import DataCorruption

        bucket, name = split_uri(uri)
        blob = self._client().bucket(bucket).blob(name, chunk_size=_PART)
        try:
            with translated(f"upload of {uri}"):
                blob.upload_from_file(stream, content_type="application/jsonl", retry=None, timeout=_SECONDS)
        except DataCorruption as error:
            raise ProviderError(f"upload of {uri}: what arrived is not what was sent: {error}") from error

    def read(self, uri: str) -> Iterator[bytes]:
        """An object's bytes, or those of all output files below a URI that ends with a slash."""
        if uri.endswith("/"):
            yield from self.outputs(uri)
            return
        bucket, name = split_uri(uri)
        call = f"download of {uri}"
        facts = self._client().bucket(bucket).blob(name)
        with translated(call):
            facts.reload(retry=None, timeout=_SECONDS)
        yield from _checked(uri, facts, resumed(call, lambda offset, _: self._from(call, facts, offset)))

    @staticmethod
    def _from(call: str, facts: Any, offset: int) -> Iterator[Head | bytes]:
        """An object from an offset on; its checksum tells at the end whether all was of one version."""
        yield Head(offset, int(facts.size))
        # Another blob than the one with the facts, which knows a public link and would ask that.
        blob = facts.bucket.blob(facts.name)
        while offset < int(facts.size):
            asked = {"start": offset, "end": offset + _PART - 1, "checksum": None, "retry": None, "timeout": _SECONDS}
            part = io.BytesIO()
            try:
                with translated(call):
                    blob.download_to_file(part, **asked)
            except ProviderError:
                yield from _pieces(part)  # what came before it broke off
                raise
            if not part.tell():
                return
            offset += part.tell()
            yield from _pieces(part)

    def outputs(self, uri: str) -> Iterator[bytes]:
        """The lines of every ``.jsonl`` below a prefix, each file ended by an end of line.

        The names are not predicted: long jobs write several files. Where there is none, whatever else is there is read:
        finished jobs were seen to write under other names (LiteLLM PR #40469).
        """
        found = [each for each in self.list(uri) if not each.endswith("/")]
        for each in [each for each in found if each.endswith(".jsonl")] or found:
            yield from ended(self.read(each))

    def list(self, uri: str, most: int | None = None) -> Iterator[str]:
        """The URIs below a prefix."""
        bucket, prefix = split_uri(uri)
        client = self._client()
        with translated(f"listing of {uri}"):
            for blob in client.list_blobs(bucket, prefix=prefix, max_results=most, retry=None, timeout=_SECONDS):
                yield f"gs://{bucket}/{blob.name}"

    def delete(self, uri: str) -> None:
        """Delete an object, or all below a URI that ends with a slash; one that is gone is not an error."""
        client = self._client()
        for found in [*self.list(uri)] if uri.endswith("/") else [uri]:
            bucket, name = split_uri(found)
            try:
                with translated(f"deletion of {found}"):
                    client.bucket(bucket).blob(name).delete(retry=None, timeout=_SECONDS)
            except NotFoundError:
                continue

    def location(self, bucket: str) -> str:
        """Where a bucket lies: a region, or ``US``, ``EU``, ``ASIA``.

        :raises NotFoundError: when the bucket does not exist.
        :raises AuthenticationError: when the caller may not look.
        """
        client = self._client()
        with translated(f"look at bucket {bucket}"):
            found = client.get_bucket(bucket, retry=None, timeout=_SECONDS)
        return str(found.location or "")


def _checked(uri: str, facts: Any, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """All of an object, whose checksum is compared here: the client reads in ranges and compares none."""
    from google_crc32c import Checksum

    seen: Any = Checksum()  # type: ignore[no-untyped-call]
    for chunk in chunks:
        seen.update(chunk)
        yield chunk
    if facts.crc32c and base64.b64encode(seen.digest()).decode() != facts.crc32c:
        raise ProviderError(f"download of {uri}: its checksum is not the object's; it was cut, or changed meanwhile")


def _pieces(part: io.BytesIO) -> Iterator[bytes]:
    part.seek(0)
    while chunk := part.read(_CHUNK):
        yield chunk
