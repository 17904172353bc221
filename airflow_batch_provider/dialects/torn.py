"""Lines of an output file as results, also where a line was torn.

One that holds a raw line feed inside a text, or that was written over several lines, is put together again; if one
remains torn, only its own row is in doubt."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

from airflow_batch_provider.core.errors import BatchInferenceError
from airflow_batch_provider.core.reconciling import UNREADABLE
from airflow_batch_provider.core.records import BatchResult
from airflow_batch_provider.dialects.base import LineFormat, Sent
from airflow_batch_provider.dialects.loading import load_line
from airflow_batch_provider.dialects.openai import error_line, read_line

_MARKS = re.compile(rb'\\.|["{}\[\]]')


def decoded(line_format: LineFormat, lines: Iterable[bytes], sent: Sent) -> Iterator[BatchResult]:
    """One result for each line that was written."""
    torn = _Torn()
    for line in lines:
        result = _decoded(line_format, line, sent)
        if not torn.pieces and result.outcome != "invalid" and result.custom_id is not None:
            yield result
            continue
        whole = result.outcome != "invalid" or isinstance(load_line(line), dict)
        if whole and (result.custom_id is not None or not torn.pieces):
            yield from torn.given_up(line_format, sent)
            yield result
        elif torn.pieces and (result.custom_id is None or not line.startswith(b"{")):
            torn.add(line)
        elif line.startswith(b"{"):
            yield from torn.given_up(line_format, sent)
            torn.add(line)
        else:
            yield result
        if torn.pieces and torn.closed:
            yield from torn.given_up(line_format, sent)
    yield from torn.given_up(line_format, sent)


class _Torn:
    """The pieces of one line so far."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._in_text = False
        self._depth = 0

    @property
    def closed(self) -> bool:
        """Whether every bracket and text that was opened is closed."""
        return not self._in_text and self._depth <= 0

    def add(self, piece: bytes) -> None:
        """Take a piece in, behind the line feed as JSON would have it."""
        if self.pieces:
            self.pieces.append(b"\\n" if self._in_text else b" ")
        self.pieces.append(piece)
        for mark in _MARKS.findall(piece):
            if mark == b'"':
                self._in_text = not self._in_text
            elif not self._in_text and mark in b"{[":
                self._depth += 1
            elif not self._in_text and mark in b"}]":
                self._depth -= 1

    def given_up(self, line_format: LineFormat, sent: Sent) -> Iterator[BatchResult]:
        """The result of all pieces together; where they name no row, that of each. Nothing is held after it."""
        pieces = self.pieces
        self.__init__()  # type: ignore[misc]
        if not pieces:
            return
        result = _decoded(line_format, b"".join(pieces), sent)
        if result.custom_id is not None or len(pieces) == 1:
            yield result
        else:
            yield from (_decoded(line_format, piece, sent) for piece in pieces[::2])


def _decoded(line_format: LineFormat, line: bytes, sent: Sent) -> BatchResult:
    """One line as a result; what nobody foresaw in it is a matter of its row alone."""
    try:
        return line_format.decode(line, sent)
    except BatchInferenceError:
        raise
    except Exception as error:  # noqa: BLE001 - a provider may have written anything
        custom_id = None
        with contextlib.suppress(Exception):
            custom_id = sent.row(line_format.row_of(line))
        if custom_id is None:
            return BatchResult(None, "invalid", line)
        message = f"{type(error).__name__}: {error}; the provider's line: {line.decode('utf-8', 'replace')}"
        return read_line(error_line(custom_id, UNREADABLE, message))
