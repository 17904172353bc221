"""Transfers: the results of a run into a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batch_provider.core.exports import lazy

if TYPE_CHECKING:
    from airflow_batch_provider.transfers.results_to_sql import BatchResultsToSqlOperator

__all__ = ["BatchResultsToSqlOperator"]
__getattr__ = lazy(__name__, {"BatchResultsToSqlOperator": "results_to_sql"})
