"""From the results of a run into a table, in one transaction.

The author's rows and answers never reach a log or an exception from here: drivers put values into their messages, so
only what names tables and columns is passed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_batch_provider.core.counts import counted
from airflow_batch_provider.core.errors import ReconciliationError
from airflow_batch_provider.operators.errors import airflow_errors
from airflow_batch_provider.transfers.columns import Extras
from airflow_batch_provider.transfers.tables import TABLES, Table, quoted

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_batch_provider.transfers.rows import EndedRun


class BatchResultsToSqlOperator(BaseOperator):
    """Load the results of a run into a table of PostgreSQL or SQLite: all rows or, on any failure, none.

    Run key and ``custom_id`` identify a row: loading again updates what changed and adds nothing. The columns are
    ``run_key, custom_id, outcome, status_code, content, finish_reason, error_code, error_message, prompt_tokens,
    completion_tokens, cost_usd, model, route, job_id, response, loaded_at``. ``content`` is the answer's text,
    ``response`` its whole body as JSON; ``cost_usd`` its tokens at batch prices, NULL where the price is unknown;
    ``model`` the one that the row was sent to; ``route`` the connection's type and the provider behind a gateway.
    A NUL character, which PostgreSQL cannot store, becomes U+FFFD.

    PostgreSQL is loaded by COPY into a temporary table and one upsert, with psycopg 3 or psycopg2.

    Returns the number of rows.

    :param run_path: the run directory of a run that has ended.
    :param sql_conn_id: the connection of the database.
    :param table: letters, digits and ``_``, kept in the case given; also ``schema.table``.
    :param schema: the table's schema; None for the connection's own.
    :param create_table: create the table if it does not exist.
    :param parse_json: fill the further column ``content_json`` with the answer where it is valid JSON, else NULL.
    :param json_fields: further columns from fields of an answer that is JSON, by column: ``{"score": "result.score"}``.
        Text as it is, numbers, objects and lists as JSON; NULL if the answer has no such field.
    """

    template_fields: Sequence[str] = ("run_path", "sql_conn_id", "table", "schema")
    ui_color = "#f3e3d0"

    def __init__(
        self,
        *,
        run_path: str,
        sql_conn_id: str,
        table: str,
        schema: str | None = None,
        create_table: bool = True,
        parse_json: bool = False,
        json_fields: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_path = run_path
        self.sql_conn_id = sql_conn_id
        self.table = table
        self.schema = schema
        self.create_table = create_table
        self.parse_json = parse_json
        self.json_fields = json_fields
        # Checked now to be thrown away: a column that cannot be is an import error of the DAG, not a failed load.
        self._extras()

    def execute(self, context: Context) -> int:
        """Load."""
        from airflow_batch_provider.operators.sql import sql_hook
        from airflow_batch_provider.run.storage import RunDirectory
        from airflow_batch_provider.transfers.rows import EndedRun

        with airflow_errors():
            target, extras = quoted(self.table, self.schema), self._extras()
            run = EndedRun.read(RunDirectory(self.run_path))
            hook = sql_hook(self.sql_conn_id, TABLES)
            loaded = self._load(hook, TABLES[hook.conn_type](target, extras.columns), run, extras)
        message = "Loaded %s of run %s into table %s of connection %s"
        self.log.info(message, counted(loaded, "row"), run.run_key, target, self.sql_conn_id)
        return loaded

    def _extras(self) -> Extras:
        return Extras.checked(parse_json=self.parse_json, json_fields=self.json_fields)

    def _load(self, hook: Any, table: Table, run: EndedRun, extras: Extras) -> int:
        from airflow_batch_provider.operators.sql import nothing_of_the_rows
        from airflow_batch_provider.transfers.rows import prices_of

        rows = run.rows(extras, prices_of(run.conn_id))
        with closing(hook.get_conn()) as connection:
            try:
                with (
                    nothing_of_the_rows(f"{self.table} could not be loaded and is unchanged"),
                    closing(connection.cursor()) as cursor,
                ):
                    loaded = table.load(cursor, rows, create=self.create_table)
                    if loaded != run.total:
                        raise ReconciliationError(
                            f"{self.run_path}: results/ has {counted(loaded, 'row')}, summary.json says {run.total}; "
                            "nothing was loaded. Restore the run directory, or clear the task of the run"
                        )
                    connection.commit()
            except BaseException:
                connection.rollback()
                raise
        return loaded
