"""Rows that became several wire lines, and how their answers are one again.

A provider that embeds one text a record gets one record for each text of a row. A part is known from the others by an
id of its own between the wire and the row's result, so that lost, doubled and foreign lines are seen part by part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import orjson

from airflow_batch_provider.core.reconciling import UNREADABLE
from airflow_batch_provider.core.records import JSON, BatchResult
from airflow_batch_provider.dialects.openai import error_line, read_line


class Parts:
    """Which wire lines of a shard belong to which row.

    :param rows: every row's custom_id with the number of its wire lines, in order.
    """

    def __init__(self, rows: Iterable[tuple[str, int]]) -> None:
        self._rows: list[str] = []
        self.several: dict[str, int] = {}
        """The rows of more than one wire line, with their number."""
        for custom_id, lines in rows:
            self._rows.append(custom_id)
            if lines != 1:
                self.several[custom_id] = lines
        self.ids: Sequence[str] = self._line_ids() if self.several else self._rows
        """The id of every wire line: the row's own where it has one line."""

    def _line_ids(self) -> list[str]:
        mark = "\0"
        while any(custom_id.startswith(mark) for custom_id in self._rows):
            mark += "\0"
        ids: list[str] = []
        for custom_id in self._rows:
            lines = self.several.get(custom_id)
            ids += [custom_id] if lines is None else [f"{mark}{len(ids) + part}" for part in range(lines)]
        return ids

    def joined(self, results: Iterable[bytes]) -> Iterator[bytes]:
        """One result line for every row.

        :param results: one for every wire line, in OpenAI's output format and in order.
        """
        left = iter(results)
        for custom_id in self._rows:
            lines = self.several.get(custom_id)
            yield next(left) if lines is None else _joined(custom_id, [*islice(left, lines)])


def _joined(custom_id: str, lines: Sequence[bytes]) -> bytes:
    """As :func:`join`; what cannot be made sense of is a reason of this row alone."""
    try:
        return join(custom_id, lines)
    except Exception as error:  # noqa: BLE001 - a provider may have written anything
        reasons = f"{type(error).__name__}: {error}; the parts: " + " ".join(
            line.decode("utf-8", "replace") for line in lines
        )
        return error_line(custom_id, UNREADABLE, reasons)


def join(custom_id: str, lines: Sequence[bytes]) -> bytes:
    """The embeddings of all parts as one answer, usage summed; or the reason why a part has none.

    A reason that another try cannot help comes first: it keeps the row from being sent again in vain.
    """
    parts = [read_line(line) for line in lines]
    failed = [part for part in parts if part.outcome != "succeeded"]
    if failed:
        reason = next(
            (part for part in failed if part.refusal is not None and not part.refusal.helped_by_round), failed[0]
        )
        return orjson.dumps({**reason.data, "id": f"batch_req_{custom_id}", "custom_id": custom_id})
    bodies = [part.data["response"]["body"] for part in parts]
    vectors = [item for body in bodies for item in _data(body)]
    if not all(map(_data, bodies)):
        return error_line(custom_id, "provider_error", "A part of the row came back without an embedding.")
    usage: JSON = {}
    for body in bodies:
        for name, number in (body.get("usage") or {}).items():
            usage[name] = usage.get(name, 0) + number if isinstance(number, int) else number
    whole = {**bodies[0], "data": [{**item, "index": index} for index, item in enumerate(vectors)], "usage": usage}
    response = {**parts[0].data["response"], "body": whole}
    return orjson.dumps({"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": response, "error": None})


def _hope(part: BatchResult) -> int:
    """How soon sending a part again can help."""
    if part.refusal is None or not part.refusal.helped_by_try:
        return 0
    return 2 if part.refusal.helped_by_round else 1


def _data(body: JSON) -> list[JSON]:
    """The vectors of one part, in the order of its texts."""
    data = body.get("data")
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        return []
    return sorted(data, key=lambda item: item["index"] if isinstance(item.get("index"), int) else 0)
