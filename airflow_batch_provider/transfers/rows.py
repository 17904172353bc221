"""The results of a run as rows of a table."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from airflow_batch_provider.core.answers import read_answer
from airflow_batch_provider.core.counts import Usage, counted
from airflow_batch_provider.core.errors import ReconciliationError, RunConflictError
from airflow_batch_provider.core.jsonl import read_lines
from airflow_batch_provider.core.records import JSON, BatchResult
from airflow_batch_provider.dialects.openai import read_line
from airflow_batch_provider.run.ledger import Ledger
from airflow_batch_provider.run.pricing import Prices
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.transfers.columns import Extras, clean, clean_json
from airflow_batch_provider.transfers.tables import Values

_LOG = logging.getLogger(__name__)

_PART = re.compile(r"part-(.+)\.jsonl")

FindPrice = Callable[["str | None"], "Prices | None"]


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
                f"The run in {directory.uri} has not ended (no result yet of {counted(len(waits), 'file')}: "
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
            clean(self.run_key),
            clean(answer.custom_id),
            result.outcome,
            answer.status_code,
            clean(answer.content),
            clean(answer.finish_reason),
            clean(answer.error_code),
            clean(answer.error_message),
            answer.prompt_tokens,
            answer.completion_tokens,
            _cost(result, price(model)),
            clean(model),
            clean(self.route),
            clean(job.get("id")),
            clean_json(answer.response),
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


def _keep_apart(custom_id: str, cleaned: set[str], where: str) -> None:
    """Refuse an id that would become another row's, because a row would be lost."""
    key = clean(custom_id) or ""
    if "\ufffd" not in key:
        return
    if key in cleaned:
        raise ReconciliationError(
            f"{where}: its custom_id differs from another's only by a NUL, which no table can store; nothing was loaded"
        )
    cleaned.add(key)
