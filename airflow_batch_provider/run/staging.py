"""From the author's file, or from what an earlier round left open, to the shards of a round.

Each shard is ``input/<shard>.jsonl``, the requests as the author wrote them, and, where the backend needs other bytes,
``shards/<shard>.jsonl``, the wire lines. Both hold the same rows in the same order; a row may be several wire lines.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, TypeAlias

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.errors import (
    BatchInferenceError,
    InputError,
    Problem,
    RunConflictError,
    StorageError,
    UntranslatableError,
)
from airflow_batch_provider.core.jsonl import read_lines
from airflow_batch_provider.core.records import Admission, BatchRequest, RunOptions, Shard
from airflow_batch_provider.core.validation import Content, Report, Rules, read_requests, validate
from airflow_batch_provider.dialects.base import LineFormat
from airflow_batch_provider.run import shard_files
from airflow_batch_provider.run.attempts import Round, creates
from airflow_batch_provider.run.reading import Logger
from airflow_batch_provider.run.storage import RunDirectory, open_stream

Lines = Iterable[tuple[int, bytes]]
_Key: TypeAlias = "tuple[str | None, str, int]"
Source = Callable[[], Lines]
"""Opens the same lines anew, since they are read twice: once to check and plan, once to write."""


def file_source(path: str) -> Source:
    """The lines of the author's file.

    :raises InputError: at the first line, when there is no such file, or it is not a JSONL file.
    :raises StorageError: when the store fails, which says nothing of the file.
    """

    def lines() -> Iterator[tuple[int, bytes]]:
        try:
            with open_stream(path) as stream:
                yield from read_lines(stream)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputError(path, [Problem(None, "", "there is no such file")]) from error
        except IsADirectoryError as error:
            raise InputError(path, [Problem(None, "", "this is a folder; name one JSONL file")]) from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(path, [Problem(None, "", f"cannot be read to its end: {error}")]) from error
        except OSError as error:
            # A disk's; object stores' come typed. It says nothing of the file, which may have been sent already.
            raise StorageError(f"{path} could not be read: {error}; run the task again when it can") from error

    return lines


def inspect(path: str, source: Source, rules: Rules, backend: Backend) -> Report:
    """Read everything once; see :func:`airflow_batch_provider.core.validation.validate`."""
    return validate(source(), path, rules, backend.line_format)


def admission_of(backend: Backend, options: RunOptions) -> Admission:
    """What may be alive at once: the operator's word, then the connection's, then what is known of the provider."""
    most = options.max_enqueued_tokens
    tokens = backend.admission.max_tokens if most is None else {"*": most}
    return Admission(options.max_jobs_in_flight or backend.admission.max_jobs, tokens)


@dataclass(slots=True)
class _Pen:
    """The open files of the shard that a model's requests go to now."""

    shard: Shard
    line_format: LineFormat
    files: contextlib.ExitStack
    snapshot: BinaryIO
    wire: BinaryIO | None
    rows: int = 0
    lines: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def write(self, raw: bytes, request: BatchRequest | None) -> bool:
        """Write one request; True when the shard is full and its files are in place.

        :param request: as it was read; None where none of the shard's is rewritten.
        """
        sent = raw + b"\n"
        self.snapshot.write(sent)
        if self.wire and request is not None:
            sent = self.line_format.encode(request, self.lines) + b"\n"
            self.wire.write(sent)
            self.lines += sent.count(b"\n")
        self.digest.update(sent)
        self.rows += 1
        if self.rows < self.shard.rows:
            return False
        self.files.close()
        return True


def stage(
    directory: RunDirectory,
    path: str,
    source: Source,
    rules: Rules,
    backend: Backend,
    report: Report,
    shards: Sequence[Shard],
) -> list[Shard]:
    """Write the files of planned shards.

    :param report: what :func:`inspect` saw in the same source; groups taken out of it are left out.
    :return: the shards, with what their files are.
    :raises RunConflictError: when the source changed since it was inspected.
    """
    rewritten = {(group.model, group.endpoint, group.variant): group.rewritten for group in report.groups}
    staged = [replace(shard, rewritten=rewritten[_key(shard)]) for shard in shards]
    waiting: dict[_Key, list[Shard]] = {}
    for shard in reversed(staged):
        waiting.setdefault(_key(shard), []).append(shard)
    formats: dict[tuple[str | None, str], LineFormat] = {}
    content = Content()
    pens: dict[_Key, _Pen] = {}
    digests: dict[str, str] = {}
    try:
        for key, raw, request in _grouped(content.of(source()), path, rules, backend, report, formats):
            if key not in rewritten:
                continue
            if key not in pens:
                if not waiting.get(key):
                    raise _replaced(path)
                pens[key] = _open_pen(directory, waiting[key].pop(), formats[key[:2]])
            if pens[key].write(raw, request):
                full = pens.pop(key)
                digests[full.shard.name] = full.digest.hexdigest()
        if pens or any(waiting.values()) or content.hexdigest() != report.digest:
            raise _replaced(path)
    except (InputError, UntranslatableError) as error:
        # It had no problem a moment ago.
        raise _replaced(path) from error
    except BaseException:
        for pen in pens.values():
            pen.files.__exit__(*sys.exc_info())
        raise
    return [replace(shard, digest=digests[shard.name]) for shard in staged]


def _grouped(
    lines: Lines,
    path: str,
    rules: Rules,
    backend: Backend,
    report: Report,
    formats: dict[tuple[str | None, str], LineFormat],
) -> Iterator[tuple[_Key, bytes, BatchRequest | None]]:
    """Every line with the group it belongs to.

    Where all are of one group and sent as they are, none is parsed: it was a moment ago, and a digest of all lines
    shows whether they are the same.

    :param formats: what wrote the lines; each is added.
    """
    first = report.groups[0] if report.groups else None
    if first is not None and not (first.rewritten or report.problem_count) and len(first.sizes) == report.rows:
        formats[first.model, first.endpoint] = backend.line_format(first.model, first.endpoint)
        for _, raw in lines:
            yield (first.model, first.endpoint, first.variant), raw, None
        return
    for request in read_requests(lines, path, rules):
        asked = (request.model, request.endpoint)
        if asked not in formats:
            formats[asked] = backend.line_format(*asked)
        yield (*asked, formats[asked].variant(request)), request.raw, request


def _replaced(path: str) -> RunConflictError:
    return RunConflictError(
        f"{path} changed between checking it and cutting it into shards; nothing was sent. Let the task that writes it "
        "end first, or give each run an input file of its own; then clear this task with a new output_path or "
        'on_changed_input="restart".'
    )


def _key(shard: Shard) -> _Key:
    return shard.model, shard.endpoint, shard.variant


def _open_pen(directory: RunDirectory, shard: Shard, line_format: LineFormat) -> _Pen:
    files = contextlib.ExitStack()
    snapshot = files.enter_context(directory.writer(f"input/{shard.name}.jsonl"))
    wire = files.enter_context(directory.writer(f"shards/{shard.name}.jsonl")) if shard.rewritten else None
    return _Pen(shard, line_format, files, snapshot, wire)


def digest_of(directory: RunDirectory, shard: Shard) -> str:
    """The digest of a shard's wire file; read again only where an earlier version planned it."""
    if shard.digest:
        return shard.digest
    return shard_files.digest(directory, wire_name(shard))


def wire_name(shard: Shard) -> str:
    """The file to upload."""
    return f"shards/{shard.name}.jsonl" if shard.rewritten else f"input/{shard.name}.jsonl"


def delete_uploads(backend: Backend, rounds: Iterable[Round], own: str | None, log: Logger) -> None:
    """Delete what was uploaded for a run that has ended.

    :param rounds: all of the run's.
    :param own: the author's own upload, which is kept.
    """
    for handle in sorted({attempt.input_id or "" for _, attempt in creates(rounds)} - {"", own or ""}):
        try:
            backend.delete(handle)
        except BatchInferenceError as error:  # noqa: PERF203 - one that stays must not keep the others
            log.warning("The upload %s was not deleted: %s", handle, error)
