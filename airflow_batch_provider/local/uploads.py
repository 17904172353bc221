"""Multipart uploads that go to the disk as they arrive, whatever their size."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from airflow_batch_provider.local.objects import ApiError

_MOST_FIELD_BYTES = 10_000


class Upload:
    """One ``multipart/form-data`` body.

    :param content_type: the request's header.
    :param target: where the part named ``file`` goes.
    :param most: how many bytes the file may have.
    """

    def __init__(self, content_type: str, target: Path, most: int) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise ApiError(400, "The upload must be multipart/form-data.")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size = 0
        self._options = parse_options_header
        self._target = target
        self._most = most
        self._handle: IO[bytes] | None = None
        self._header = self._value = b""
        self._name = ""
        self._is_file = self._ended = False
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._part_begins,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._header_ends,
                "on_part_data": self._on_part_data,
                "on_end": self._ends,
            },
        )

    async def receive(self, chunks: AsyncIterator[bytes]) -> None:
        """Take the whole body.

        :raises ApiError: when it is too large, cut short, or no form.
        """
        from python_multipart.exceptions import MultipartParseError

        self._target.touch(mode=0o600)
        with self._target.open("wb") as self._handle:
            try:
                async for chunk in chunks:
                    self._parser.write(chunk)
            except MultipartParseError as error:
                raise ApiError(400, f"The upload is not well-formed: {error}") from error
        if not self._ended:
            raise ApiError(400, "The upload ends before its last boundary.")

    def _part_begins(self) -> None:
        self._name, self._is_file = "", False
        self._header = self._value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = self._options(self._value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            if self._name == "file":
                self._is_file = True
                self.filename = options.get(b"filename", b"upload").decode("utf-8", "replace")
        self._header = self._value = b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            field = self.fields.get(self._name, "") + data[start:end].decode("utf-8", "replace")
            if len(field) > _MOST_FIELD_BYTES:
                raise ApiError(400, f"The form's field {self._name!r} is too long.")
            self.fields[self._name] = field
            return
        self.size += end - start
        if self.size > self._most:
            raise too_large(self._most)
        assert self._handle is not None
        self._handle.write(data[start:end])

    def _ends(self) -> None:
        self._ended = True


def too_large(most: int) -> ApiError:
    """The refusal of a file above the limit."""
    return ApiError(413, f"The file is larger than {most} bytes.", code="file_too_large", param="file")
