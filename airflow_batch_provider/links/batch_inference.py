"""From a task to the provider's own page of its job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class BatchInferenceLink(BaseOperatorLink):
    """The console page of the newest job of a run.

    Airflow reads it at the end of every segment of a task, with the operator that ran it; a resumed operator has
    read the page from the ledger again, so the link is kept up to date.
    """

    name = "Batch console"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The page's address, empty where the provider has none."""
        known: Any = getattr(operator, "console_url", None)
        return str(known) if known else ""
