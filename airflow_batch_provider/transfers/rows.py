"""The results of a run as rows of a table."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import orjson

from airflow_batch_provider.core.answers import read_answer
from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.errors import ConfigurationError, ReconciliationError, RunConflictError
from airflow_batch_provider.core.jsonl import read_lines
from airflow_batch_provider.core.records import JSON, BatchResult
from airflow_batch_provider.dialects.openai import read_line
from airflow_batch_provider.run.ledger import Ledger
from airflow_batch_provider.run.pricing import Prices
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.transfers.tables import IDENTIFIER, Values

_LOG = logging.getLogger(__name__)

COLUMNS = {
    "run_key": "TEXT NOT NULL",
    "custom_id": "TEXT NOT NULL",
    "outcome": "TEXT NOT NULL",
    "status_code": "INTEGER",
    "content": "TEXT",
    "finish_reason": "TEXT",
    "error_code": "TEXT",
    "error_message": "TEXT",
    "prompt_tokens": "BIGINT",
    "completion_tokens": "BIGINT",
    "cost_usd": "NUMERIC",
    "model": "TEXT",
    "route": "TEXT",
    "job_id": "TEXT",
    "response": "TEXT",
    "loaded_at": "TEXT NOT NULL",
}
JSON_COLUMN = "content_json"
_PART = re.compile(r"part-(.+)\.jsonl")
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_JSON = object()

FindPrice = Callable[["str | None"], "Prices | None"]


@dataclass(frozen=True, slots=True)
class Extras:
    """The columns that the author adds to :data:`COLUMNS`.

    :param parse_json: ``content_json``.
    :param paths: of fields of the answer's JSON, by column.
    """

    parse_json: bool = False
    paths: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def checked(cls, *, parse_json: bool, json_fields: Mapping[str, str] | None) -> Extras:
        """From the operator's arguments.

        :raises ConfigurationError: when a column's name or a path is not valid.
        """
        fields = json_fields or {}
        taken = {*COLUMNS, JSON_COLUMN}
        for column, path in fields.items():
            if not IDENTIFIER.fullmatch(column) or column.lower() in taken:
                raise ConfigurationError(
                    f"json_fields: {column!r} is not a valid column name; use letters, digits and _, at most 63, no "
                    f"digit first, and none of {', '.join(sorted(taken))}"
                )
            if not isinstance(path, str) or not all(path.split(".")):
                raise ConfigurationError(
                    f'json_fields: {column!r} requires a path in the answer, e.g. "result.score" or "items.0"'
                )
            taken.add(column.lower())
        return cls(parse_json, {column: path.split(".") for column, path in fields.items()})

    @property
    def columns(self) -> dict[str, str]:
        """All columns of the table with their types."""
        names = [*([JSON_COLUMN] if self.parse_json else []), *self.paths]
        return COLUMNS | dict.fromkeys(names, "TEXT")

    def values(self, content: str | None) -> Iterator[str | None]:
        """Their values."""
        if self.parse_json:
            yield _json_or_none(content)
        if self.paths:
            answer = _parsed(content)
            for path in self.paths.values():
                yield _cell(_at(answer, path))


@dataclass(frozen=True, slots=True)
class EndedRun:
    """What a run's own files say of all its rows.

    :param jobs: ``id`` and ``model`` by shard.
    :param route: the connection's type, and after a ``/`` the provider behind a gateway.
    """

    directory: RunDirectory
    run_key: str
    total: int
    conn_id: str | None
    route: str | None
    jobs: Mapping[str, JSON]

    @classmethod
    def read(cls, directory: RunDirectory) -> EndedRun:
        """The run in a directory.

        :raises RunConflictError: when there is none, or it has not ended, in whole or in part.
        """
        directory.refresh()
        run, summary = Ledger(directory).run(), directory.read_json("summary.json")
        if run is None:
            raise RunConflictError(
                f"There is no run in {directory.uri}; set run_path to the XCom run_path of the run's task"
            )
        if summary is None:
            raise RunConflictError(
                f"The run in {directory.uri} has not ended (no summary.json); load after the task that waits for it"
            )
        if waits := summary.get("open"):
            raise RunConflictError(
                f"The run in {directory.uri} has not ended ({len(waits)} of its files have no result yet: "
                f"{', '.join(map(str, waits[:5]))}); clear the run's task, and load when it has succeeded"
            )
        route = "/".join(filter(None, [run.identity.get("type"), run.identity.get("behind")])) or None
        jobs = {job["shard"]: job for job in summary.get("jobs") or ()}
        return cls(directory, run.run_key, int(summary["total"]), run.conn_id, route, jobs)

    def rows(self, extras: Extras, price: FindPrice) -> Iterator[Values]:
        """Every row, in the order of :attr:`Extras.columns`.

        :raises ReconciliationError: for a line that is not a result.
        """
        cleaned: set[str] = set()
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        for name in self.directory.names("results"):
            part = _PART.fullmatch(name)
            if part is None:
                continue
            job = self.jobs.get(part[1], {})
            with self.directory.open(f"results/{name}") as stream:
                for number, line in read_lines(stream):
                    where = f"{self.directory.uri}/results/{name}, line {number}"
                    result = read_line(line)
                    if result.custom_id is None:
                        raise ReconciliationError(
                            f"{where} is not a result; nothing was loaded. Restore it, or clear the run's task"
                        )
                    _keep_apart(result.custom_id, cleaned, where)
                    yield self._values(result, job, price, now) + tuple(extras.values(result.content.text))

    def _values(self, result: BatchResult, job: JSON, price: FindPrice, now: str) -> Values:
        answer = read_answer(result)
        # The model that the row was sent to, so that rows that failed have one too, and all rows of a job the same.
        model = job.get("model") or answer.model
        return (
            _clean(self.run_key),
            _clean(answer.custom_id),
            result.outcome,
            answer.status_code,
            _clean(answer.content),
            _clean(answer.finish_reason),
            _clean(answer.error_code),
            _clean(answer.error_message),
            answer.prompt_tokens,
            answer.completion_tokens,
            _cost(result, price(model)),
            _clean(model),
            _clean(self.route),
            _clean(job.get("id")),
            _clean_json(answer.response),
            now,
        )


def prices_of(conn_id: str | None) -> FindPrice:
    """The prices of the run's own connection, found without a call to its provider; none where it cannot be read."""
    from airflow_batch_provider.hooks.base import BatchInferenceHook

    try:
        if conn_id is None:
            return lambda _: None
        backend = BatchInferenceHook.for_conn_id(conn_id).backend
        price_list, own = backend.price_list, backend.models.prices
    except Exception as error:  # noqa: BLE001 - answers are worth loading without their cost
        _LOG.warning("Connection %r cannot be read (%s), so cost_usd is NULL", conn_id, type(error).__name__)
        return lambda _: None
    found: dict[str | None, Prices] = {}

    def price(model: str | None) -> Prices:
        if model not in found:
            found[model] = Prices(price_list, model, own)
        return found[model]

    return price


def _cost(result: BatchResult, prices: Prices | None) -> float | None:
    price = None if prices is None else prices.of(result.model, result.tier)
    cost = None if price is None or result.usage == Usage() else price.cost(result.usage)
    return None if cost is None else round(cost, 12)


def _clean(text: str | None) -> str | None:
    """Without NUL, which PostgreSQL cannot store in any type of text."""
    return text.replace("\x00", "\ufffd") if text else text


def _keep_apart(custom_id: str, cleaned: set[str], where: str) -> None:
    """Refuse an id that would become another row's, because a row would be lost."""
    key = _clean(custom_id) or ""
    if "\ufffd" not in key:
        return
    if key in cleaned:
        raise ReconciliationError(
            f"{where}: its custom_id differs from another's only by a NUL, which no table can store; nothing was loaded"
        )
    cleaned.add(key)


def _clean_json(text: str | None) -> str | None:
    r"""Without ``\u0000``, which JSONB refuses; ``\\u0000`` is a backslash and a word."""
    return _ESCAPED_NUL.sub("\\1\ufffd", text) if text and "\\u0000" in text else text


def _json_or_none(text: str | None) -> str | None:
    try:
        orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return None
    return _clean_json(text)


def _parsed(text: str | None) -> Any:
    if not text:
        return _NOT_JSON
    try:
        # Not orjson, which turns an id of more than 64 bits into a float.
        return json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _cell(value: Any) -> str | None:
    """Text as it is, null and what is not there as NULL, everything else as JSON."""
    if value is None or value is _NOT_JSON:
        return None
    text = value if isinstance(value, str) else _clean_json(json.dumps(value, ensure_ascii=False))
    return _clean(_SURROGATE.sub("\ufffd", text or ""))
