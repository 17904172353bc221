"""Everything a batch has put out, over whichever of its files and gateway's addresses it is available.

A row that is not found here counts as unanswered and is sent, and paid, again. So an answer that only means "not now"
is never taken for "nothing".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

import orjson

from airflow_batch_provider.backends.wire.errors import HONO_HINT
from airflow_batch_provider.backends.wire.texts import as_text
from airflow_batch_provider.core.errors import NotFoundError, ProviderError
from airflow_batch_provider.core.jsonl import BOM
from airflow_batch_provider.core.records import Job, JobStatus

Read: TypeAlias = "Callable[[str], Iterator[bytes]]"
"""From a file id to the file's bytes."""

_WITH_RESULTS = frozenset({JobStatus.COMPLETED, JobStatus.PARTIALLY_COMPLETED})
_ERRORS_LIST = re.compile(rb'\s*\{\s*"object"\s*:\s*"list"')
_ENOUGH = 64
_PASSING = re.compile("fetch failed|socket|timed? ?out|throttl|slow ?down|unavailable", re.IGNORECASE)
"""What a gateway says when it did not reach the provider, or the provider was busy."""


def read_outputs(job: Job, read_file: Read, read_output: Callable[[], Iterator[bytes]] | None) -> Iterator[bytes]:
    """Output and error file; where a gateway names no output file, or one that is not there, its ``/output``.

    :param read_output: reads ``/batches/{id}/output``, None where the provider has no such address.
    """
    if not job.outputs and read_output:
        yield from _output(job, read_output)
    for number, handle in enumerate(job.outputs):
        yield from _file(job, handle, read_file, read_output if number == 0 else None, is_gateway=bool(read_output))


def _file(
    job: Job, handle: str, read_file: Read, read_output: Callable[[], Iterator[bytes]] | None, *, is_gateway: bool
) -> Iterator[bytes]:
    try:
        yield from _whole(read_file(handle), handle)
    except NotFoundError:
        if not is_gateway:
            raise
        if read_output:
            yield from _output(job, read_output)
        # Gateways name an error file whether or not there is one.


def _output(job: Job, read_output: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    try:
        yield from _whole(_unless_errors(read_output()), f"the output of {job.id}")
    except NotFoundError:
        if job.outputs and job.status in _WITH_RESULTS:
            raise
    except ProviderError as error:
        # 500 is also how Portkey says that there is no output object.
        has_results = job.status in _WITH_RESULTS or bool(job.counts.completed)
        if error.status != 500 or has_results or HONO_HINT in str(error) or _PASSING.search(str(error)):
            raise


def _whole(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The same bytes as text in UTF-8, ended by an end of line.

    :raises ProviderError: when they stop within a line: a proxy that gave up may end an answer as if that were all.
    """
    tail: list[bytes] = []  # joined once: one line may be larger than all others together
    for chunk in as_text(chunks, f"download of {name}"):
        yield chunk
        _, end, rest = chunk.rpartition(b"\n")
        if end:
            tail.clear()
        tail.append(rest)
    if (last := b"".join(tail).removeprefix(BOM)).strip():
        try:
            orjson.loads(last)
        except orjson.JSONDecodeError:
            # The rest of a line with a raw line feed in it is whole where it closes the line.
            if not last.lstrip().startswith(b"{") and last.rstrip().endswith(b"}"):
                yield b"\n"
                return
            raise ProviderError(f"download of {name}: it stops in the middle of a line, so it was cut") from None
        yield b"\n"


def _unless_errors(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Portkey answers 200 with the list of the batch's errors where there is no output."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _ENOUGH:
            break
    if _ERRORS_LIST.match(head):
        return
    if head:
        yield head
    yield from chunks
