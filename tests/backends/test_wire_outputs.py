"""Reading results: what means "nothing", and what only means "not now"."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_batch_provider.backends.wire.errors import from_status
from airflow_batch_provider.backends.wire.outputs import read_outputs
from airflow_batch_provider.core.errors import AuthenticationError, BatchInferenceError, NotFoundError, ProviderError
from airflow_batch_provider.core.records import Job, JobStatus, RequestCounts

ERRORS = b'{"object":"list","data":[{"code":"x"}]}'
DONE = JobStatus.COMPLETED
FAILED = JobStatus.FAILED


def give(*chunks: bytes | BaseException) -> Iterator[bytes]:
    for chunk in chunks:
        if isinstance(chunk, BaseException):
            raise chunk
        yield chunk


def status(number: int, body: str = "x") -> BatchInferenceError:
    return from_status("GET /x", number, {}, body)


def read(
    files: dict[str, Any], output: Any = None, state: JobStatus = DONE, completed: int | None = None
) -> list[bytes]:
    """All chunks of a job that names these files, behind a gateway if it has an ``/output``."""
    job = Job("b", state, outputs=tuple(files), counts=RequestCounts(None, completed, None))
    gateway: Callable[[], Iterator[bytes]] | None = None if output is None else lambda: give(*output)
    return list(read_outputs(job, lambda name: give(*files[name]), gateway))


def test_files_in_order() -> None:
    """Output first, then errors, each ended with an end of line."""
    assert read({"o": [b"1\n2", b"3"], "e": [b"4\n"]}) == [b"1\n2", b"3", b"\n", b"4\n"]
    assert b"".join(read({"o": [], "e": [b""]})) == b""
    assert b"".join(read({"o": [b"1", b""]})) == b"1\n"
    assert read({}) == []


def test_a_line_like_an_error_list_is_kept() -> None:
    """In a file of the provider nothing is taken for a gateway's answer."""
    assert read({"o": [b"1\n", ERRORS]}) == [b"1\n", ERRORS, b"\n"]
    assert b"".join(read({}, [b"1\n" * 50, ERRORS])) == b"1\n" * 50 + ERRORS + b"\n"


def test_a_missing_file_of_a_provider() -> None:
    """Without a gateway a file that is named is there; else its rows would be asked again."""
    with pytest.raises(NotFoundError):
        read({"o": [status(404)], "e": [b"1\n"]})
    with pytest.raises(NotFoundError):
        read({"o": [b"1\n"], "e": [status(404)]})


def test_a_missing_file_of_a_gateway() -> None:
    """The output is at ``/output`` instead; an error file may be named without being there."""
    assert read({"o": [status(404)], "e": [status(404)]}, [b"1\n"]) == [b"1\n"]
    assert read({"o": [b"1\n"], "e": [status(404)]}, [b"never"]) == [b"1\n"]
    assert read({"o": [status(404)], "e": [b"2\n"]}, [b"1"]) == [b"1", b"\n", b"2\n"]


def test_no_output_of_a_gateway() -> None:
    """404, the batch's errors, and 500 of a job without results mean that there is nothing."""
    assert read({}, [status(404)]) == []
    assert read({}, [status(500)], FAILED) == []
    assert read({}, [status(500)], JobStatus.CANCELLED, 0) == []
    for chunks in ([ERRORS], [ERRORS[:3], ERRORS[3:]], [b' { "object" : "list", "data": []}']):
        assert read({}, chunks) == []


@pytest.mark.parametrize(
    ("files", "output", "state", "completed", "kind"),
    [
        ({}, [status(500)], DONE, None, ProviderError),
        ({}, [status(500)], JobStatus.PARTIALLY_COMPLETED, None, ProviderError),
        ({}, [status(500)], JobStatus.CANCELLED, 3, ProviderError),
        ({}, [status(500, "Something went wrong")], FAILED, None, ProviderError),
        ({}, [status(502)], FAILED, None, ProviderError),
        ({}, [status(401)], FAILED, None, AuthenticationError),
        ({"o": [status(404)]}, [status(404)], DONE, None, NotFoundError),
        ({"o": [status(500)]}, [b"1\n"], DONE, None, ProviderError),
        ({"o": [b"1\n"], "e": [status(500)]}, [b"1\n"], DONE, None, ProviderError),
        ({}, [b"1\n", ProviderError("cut")], FAILED, None, ProviderError),
    ],
)
def test_not_now(
    files: dict[str, Any], output: Any, state: JobStatus, completed: int | None, kind: type[Exception]
) -> None:
    """Results that exist or may exist are never taken for none."""
    with pytest.raises(kind):
        read(files, output, state, completed)


def test_nothing_is_read_ahead() -> None:
    """The first lines are given before the last are there."""
    job = Job("b", DONE, outputs=("o",))
    chunks = read_outputs(job, lambda _: give(b"1\n", ProviderError("later")), None)
    assert next(chunks) == b"1\n"
    with pytest.raises(ProviderError, match="later"):
        next(chunks)


@pytest.mark.parametrize("end", [b"\n", b""])
def test_one_line_in_many_chunks(end: bytes) -> None:
    """X28: a line far larger than a chunk, whole and cut in its middle."""
    line = b'{"custom_id":"a","x":"' + b"y" * 100_000 + b'"}'
    chunks = [line[at : at + 7] for at in range(0, len(line), 7)]
    assert b"".join(read({"o": [b"1\n", *chunks, *([end] if end else [])]}, [])) == b"1\n" + line + b"\n"
    with pytest.raises(ProviderError, match="in the middle of a line"):
        read({"o": [b"1\n", *chunks[:-1]]}, [])


TEXT = b"".join(b'{"custom_id":"row-%d","answer":"gr\xc3\xbc\xc3\x9fe"}\n' % number for number in range(40))
AS_STORED = {
    "gzip": gzip.compress(TEXT),
    "gzip in two parts": gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]),
    "gzip with padding": gzip.compress(TEXT) + b"\x00" * 20,
    "UTF-16": TEXT.decode().encode("utf-16"),
    "UTF-16BE": b"\xfe\xff" + TEXT.decode().encode("utf-16-be"),
    "UTF-32": TEXT.decode().encode("utf-32"),
    "UTF-16 in gzip": gzip.compress(TEXT.decode().encode("utf-16")),
}


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("stored", AS_STORED.values(), ids=AS_STORED)
def test_a_file_as_it_was_stored(stored: bytes, size: int) -> None:
    """A1, A6: packed or in another encoding without a header that says so, it was paid and is read; it is not cut."""
    chunks = [stored[at : at + size] for at in range(0, len(stored), size)]
    assert b"".join(read({"o": chunks})) == TEXT


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (gzip.compress(TEXT)[:-9], "cut"),
        (b"\x1f\x8b" + b"no gzip at all" * 9, "cannot be unpacked"),
        (TEXT.decode().encode("utf-16")[:-1], "cut"),
        (b"PK\x03\x04" + b"x" * 90, "ZIP archive"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 90, "zstd"),
    ],
)
def test_a_file_that_cannot_be_text(stored: bytes, said: str) -> None:
    """A6, A20: it is named for what it is, typed, and no row of it counts as unanswered."""
    with pytest.raises(ProviderError, match=said):
        read({"o": [stored]})
