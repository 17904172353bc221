"""From the results of a run into a table, in one transaction.

The author's rows and answers never reach a log or an exception from here: drivers put values into their messages, so
only what names tables and columns is passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timezone
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import orjson
from airflow.sdk import BaseHook, BaseOperator

from airflow_batch_provider.core.answers import read_answer
from airflow_batch_provider.core.errors import (
    ConfigurationError,
    ReconciliationError,
    RetryableError,
    RunConflictError,
)
from airflow_batch_provider.core.jsonl import read_lines
from airflow_batch_provider.operators._run import airflow_errors
from airflow_batch_provider.storage import RunDirectory

try:
    from airflow.sdk.exceptions import AirflowException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowException  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from airflow.sdk import Context

_Values: TypeAlias = "tuple[str | int | None, ...]"

_KEY = ("run_key", "custom_id")
_COLUMNS = {
    "run_key": "TEXT NOT NULL",
    "custom_id": "TEXT NOT NULL",
    "outcome": "TEXT NOT NULL",
    "status_code": "INTEGER",
    "content": "TEXT",
    "finish_reason": "TEXT",
    "error_code": "TEXT",
    "error_message": "TEXT",
    "model": "TEXT",
    "prompt_tokens": "BIGINT",
    "completion_tokens": "BIGINT",
    "response": "TEXT",
    "loaded_at": "TEXT NOT NULL",
}
_JSON_COLUMN = "content_json"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_ROWS_A_STATEMENT = 500
"""SQLite takes 32,766 values a statement, PostgreSQL 65,535."""

_DIFFERS = {"sqlite": "IS NOT", "postgres": "IS DISTINCT FROM"}
"""By hook's connection type: how rows are compared that may hold NULL."""


class BatchResultsToSqlOperator(BaseOperator):
    """Load the results of a run into a table of SQLite or PostgreSQL: all rows or, on any failure, none.

    A row is known by run key and ``custom_id``: loading again updates what changed and adds nothing. The columns are
    ``run_key, custom_id, outcome, status_code, content, finish_reason, error_code, error_message, model, prompt_tokens,
    completion_tokens, response, loaded_at``; ``content`` is the answer's text, ``response`` its whole body as JSON.
    A NUL character, which PostgreSQL cannot store, becomes U+FFFD in every column but ``response``.

    Returns the number of rows.

    :param run_path: the run directory of a run that has ended.
    :param sql_conn_id: the connection of the database.
    :param table: letters, digits and ``_``, kept in the case given; also ``schema.table``.
    :param schema: the table's schema; None for the connection's own.
    :param create_table: create the table where there is none.
    :param parse_json: fill the further column ``content_json`` with the answer where it is valid JSON, else NULL.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_path = run_path
        self.sql_conn_id = sql_conn_id
        self.table = table
        self.schema = schema
        self.create_table = create_table
        self.parse_json = parse_json

    def execute(self, context: Context) -> int:
        """Load."""
        with airflow_errors():
            target = _quoted(self.table, self.schema)
            directory = RunDirectory(self.run_path)
            run_key, total = _ended_run(directory)
            columns = [*_COLUMNS, _JSON_COLUMN] if self.parse_json else list(_COLUMNS)
            hook = self._hook()
            rows = _rows(directory, run_key, parse_json=self.parse_json)
            loaded = self._load(hook, _Statements(hook, target, columns), rows, total)
        self.log.info("%d rows of run %s loaded into %s of %s", loaded, run_key, target, self.sql_conn_id)
        return loaded

    def _hook(self) -> Any:
        connection = BaseHook.get_connection(self.sql_conn_id)
        if connection.conn_type not in _DIFFERS:
            raise ConfigurationError(
                f"sql_conn_id={self.sql_conn_id!r} is a connection of type {connection.conn_type!r}; this operator "
                f"loads into {' and '.join(_DIFFERS)}"
            )
        try:
            return connection.get_hook()
        except AirflowException as error:
            raise ConfigurationError(
                f"Nothing installed serves sql_conn_id={self.sql_conn_id!r}; install it with: "
                f"pip install apache-airflow-providers-{connection.conn_type}"
            ) from error

    def _load(self, hook: Any, statements: _Statements, rows: Iterator[_Values], total: int) -> int:
        loaded = 0
        with closing(hook.get_conn()) as connection:
            try:
                with closing(connection.cursor()) as cursor:
                    statements.begin(cursor)
                    if self.create_table:
                        statements.create(cursor)
                    while chunk := list(islice(rows, _ROWS_A_STATEMENT)):
                        cursor.execute(statements.upsert(len(chunk)), list(chain.from_iterable(chunk)))
                        loaded += len(chunk)
                if loaded != total:
                    raise ReconciliationError(
                        f"{self.run_path}: results/ holds {loaded} rows, summary.json says {total}; nothing was loaded"
                    )
                connection.commit()
            except connection.Error as error:
                connection.rollback()
                _refuse(error, self.table)
            except BaseException:
                connection.rollback()
                raise
        return loaded


class _Statements:
    """The SQL of one load; identifiers are checked and quoted, everything else travels as a parameter."""

    def __init__(self, hook: Any, target: str, columns: Sequence[str]) -> None:
        self._kind = hook.conn_type
        self._placeholder = hook.placeholder
        self._target = target
        self._columns = columns

    def begin(self, cursor: Any) -> None:
        """Begin the transaction; Python's sqlite3 would begin it only after the table was created."""
        if self._kind == "sqlite":
            cursor.execute("BEGIN IMMEDIATE")

    def create(self, cursor: Any) -> None:
        """Create the table where there is none."""
        if self._kind == "postgres":
            cursor.execute("SELECT 1 WHERE to_regclass(%s) IS NULL", [self._target])
            if cursor.fetchone() is None:
                return
            # IF NOT EXISTS alone fails when mapped tasks create the same table at once.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self._target])
        fields = [f'"{name}" {_COLUMNS.get(name, "TEXT")}' for name in self._columns]
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {self._target} ({', '.join(fields)}, PRIMARY KEY ({_list(_KEY)}))")

    def upsert(self, rows: int) -> str:
        """Insert so many rows; those that are there change only where they differ, so that ``loaded_at`` stays."""
        values = f"({', '.join([self._placeholder] * len(self._columns))})"
        changing = [name for name in self._columns if name not in _KEY]
        compared = [name for name in changing if name != "loaded_at"]
        return (
            f"INSERT INTO {self._target} AS old ({_list(self._columns)}) VALUES {', '.join([values] * rows)} "  # noqa: S608
            f"ON CONFLICT ({_list(_KEY)}) DO UPDATE SET "
            + ", ".join(f'"{name}" = excluded."{name}"' for name in changing)
            + f" WHERE ({_list(compared, 'old.')}) {_DIFFERS[self._kind]} ({_list(compared, 'excluded.')})"
        )


def _list(names: Sequence[str], prefix: str = "") -> str:
    return ", ".join(f'{prefix}"{name}"' for name in names)


def _quoted(table: str, schema: str | None) -> str:
    parts = [*([schema] if schema else []), *table.split(".", 0 if schema else 1)]
    for part in parts:
        if not _IDENTIFIER.fullmatch(part):
            raise ConfigurationError(
                f"{part!r} is not a name of a table or schema; use letters, digits and _, at most 63, no digit first"
            )
    return ".".join(f'"{part}"' for part in parts)


def _ended_run(directory: RunDirectory) -> tuple[str, int]:
    """Run key and number of rows.

    :raises RunConflictError: when there is no run, or it has not ended.
    """
    directory.refresh()
    run, summary = directory.read_json("run.json"), directory.read_json("summary.json")
    if run is None:
        raise RunConflictError(f"There is no run in {directory.uri}; give the run_path that the run's task returned")
    if summary is None:
        raise RunConflictError(
            f"The run in {directory.uri} has not ended (no summary.json); load after the task that waits for it"
        )
    return str(run["run_key"]), int(summary["total"])


def _rows(directory: RunDirectory, run_key: str, *, parse_json: bool) -> Iterator[_Values]:
    from airflow_batch_provider.dialects.openai import read_line

    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    for name in directory.names("results"):
        if not (name.startswith("part-") and name.endswith(".jsonl")):
            continue
        with directory.open(f"results/{name}") as stream:
            for number, line in read_lines(stream):
                try:
                    answer = read_answer(line)
                except ValueError:
                    where = f"{directory.uri}/results/{name}, line {number}"
                    raise ReconciliationError(f"{where}: not an output line; nothing was loaded") from None
                yield (
                    run_key,
                    _clean(answer.custom_id),
                    read_line(line).outcome,
                    answer.status_code,
                    _clean(answer.content),
                    _clean(answer.finish_reason),
                    _clean(answer.error_code),
                    _clean(answer.error_message),
                    _clean(answer.model),
                    answer.prompt_tokens,
                    answer.completion_tokens,
                    answer.response,
                    now,
                    *([_json_or_none(answer.content)] if parse_json else []),
                )


def _clean(text: str | None) -> str | None:
    return text.replace("\x00", "\ufffd") if text else text


def _json_or_none(text: str | None) -> str | None:
    try:
        orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return None
    return text


def _refuse(error: Exception, table: str) -> NoReturn:
    """Say what the database said, as far as it names no value."""
    kind = type(error).__name__
    if type(error).__module__ == "sqlite3":  # its messages name tables and columns, never values
        told, permanent = (
            f"{error} ({kind})",
            not any(word in str(error) for word in ("locked", "busy", "disk", "full")),
        )
    else:
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
        told, permanent = f"{kind} {state}".strip(), state.startswith(("22", "23", "3F", "42"))
        if state.startswith(("3F", "42")):  # the classes about names and privileges
            told = f"{str(error).splitlines()[0]} ({told})"
    raise (ConfigurationError if permanent else RetryableError)(
        f"{table} could not be loaded and is unchanged: {told}"
    ) from None
