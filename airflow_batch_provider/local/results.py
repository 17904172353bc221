"""The two files a running batch appends to: answers, and failures.

Each row is one line, written by one call to the system, so that whatever kills the server, a restart finds whole
lines and at most one torn at the end, which it cuts off. The row of a torn line is sent again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from airflow_batch_provider.core.records import JSON


@dataclass(slots=True)
class Tally:
    """What the lines add up to."""

    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    done: set[str] = field(default_factory=set)

    def add(self, line: JSON) -> None:
        """Count one line."""
        self.done.add(line["custom_id"])
        response = line["response"]
        if response is None:
            return
        if not 200 <= response["status_code"] < 300:
            self.failed += 1
            return
        self.completed += 1
        usage = response["body"].get("usage") or {}
        self.input_tokens += _first(usage, "input_tokens", "prompt_tokens")
        self.output_tokens += _first(usage, "output_tokens", "completion_tokens")
        details = usage.get("input_tokens_details") or usage.get("prompt_tokens_details") or {}
        self.cached_tokens += _first(details, "cached_tokens")
        details = usage.get("output_tokens_details") or usage.get("completion_tokens_details") or {}
        self.reasoning_tokens += _first(details, "reasoning_tokens")

    def usage(self) -> JSON:
        """The batch's ``usage``."""
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.cached_tokens},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": self.input_tokens + self.output_tokens,
        }


def _first(values: dict[str, Any], *names: str) -> int:
    for name in names:
        if isinstance(values.get(name), int):
            return int(values[name])
    return 0


_SEPARATORS = tuple((mark.encode(), b"\\u%04x" % ord(mark)) for mark in "\u0085\u2028\u2029")
"""Characters at which ``str.splitlines`` and httpx's ``iter_lines`` tear a line in two, each with its JSON escape."""


class Results:
    """The growing output and error file of one batch.

    :param output: where answers go.
    :param errors: where failures and rows that were not run go.
    """

    def __init__(self, output: Path, errors: Path) -> None:
        self.output = output
        self.errors = errors
        self.tally = Tally()
        self._handles: dict[Path, int] = {}

    def open(self) -> None:
        """Take up what is there; blocks for as long as reading it takes."""
        for path in (self.output, self.errors):
            for line in _whole_lines(path):
                self.tally.add(line)
            self._handles[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, line: JSON, shaped: JSON, *, bare: bool = False) -> None:
        """Append one row.

        :param line: the row as OpenAI writes it, which is counted.
        :param shaped: the row as it is written.
        :param bare: write separators unescaped.
        """
        response = line["response"]
        answered = response is not None and 200 <= response["status_code"] < 300
        content = orjson.dumps(shaped, option=orjson.OPT_APPEND_NEWLINE)
        for mark, escape in () if bare else _SEPARATORS:
            content = content.replace(mark, escape)
        data = memoryview(content)
        handle = self._handles[self.output if answered else self.errors]
        while data:
            data = data[os.write(handle, data) :]
        self.tally.add(line)

    def close(self, *, sync: bool) -> None:
        """Close the files.

        :param sync: whether the bytes must be on the disk before this returns.
        """
        for handle in self._handles.values():
            if sync:
                os.fsync(handle)
            os.close(handle)
        self._handles.clear()


def _whole_lines(path: Path) -> Iterator[JSON]:
    """The file's lines; a torn last one is cut off."""
    if not path.exists():
        return
    whole = 0
    with path.open("rb+") as stream:
        for raw in stream:
            if not raw.endswith(b"\n"):
                break
            whole += len(raw)
            yield orjson.loads(raw)
        stream.truncate(whole)
