"""What operators need of a database: its hook, its rows as a stream, its errors without values of rows.

Drivers put values of rows into their messages. Only what names tables, columns and SQL is passed on.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, TypeAlias

from airflow.sdk import BaseHook

from airflow_batch_provider.core.cells import plain
from airflow_batch_provider.core.errors import BatchInferenceError, ConfigurationError, Problem, RetryableError
from airflow_batch_provider.core.rows import NumberedRow, Row

try:
    from airflow.sdk.exceptions import AirflowException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowException  # type: ignore[attr-defined]

Parameters: TypeAlias = "Sequence[Any] | Mapping[str, Any]"

_ROWS_AT_ONCE = 1000
_UNNAMED = frozenset({None, "", "?column?"})
"""What drivers call a column without a name; the last is PostgreSQL's."""
_POSTGRES = frozenset({"psycopg", "psycopg2"})
_FOR_GOOD = frozenset(
    {
        "ProgrammingError",
        "DataError",
        "IntegrityError",
        "NotSupportedError",
        "TypeError",
        "ValueError",
        "LookupError",
    }
)
"""Classes of PEP 249, and of Python, whose errors another try meets again."""
_COPIED = re.compile(r"COPY [^,\s]+, line \d+, column ([A-Za-z_][A-Za-z0-9_]*)")


def sql_hook(conn_id: str, kinds: Collection[str] = ()) -> Any:
    """The hook of a database's connection.

    :param kinds: the connection types that are supported; any database where none is named.
    :raises ConfigurationError: for a connection of another type, or one whose Airflow provider is not installed.
    """
    connection = BaseHook.get_connection(conn_id)
    if kinds and connection.conn_type not in kinds:
        raise ConfigurationError(
            f"sql_conn_id={conn_id!r} is a connection of type {connection.conn_type!r}; this operator "
            f"loads into {' and '.join(kinds)}"
        )
    try:
        hook = connection.get_hook()
    except AirflowException as error:
        raise ConfigurationError(
            f"The Airflow provider for sql_conn_id={conn_id!r} is not installed; install it with: "
            f"pip install apache-airflow-providers-{connection.conn_type}"
        ) from error
    if not (hasattr(hook, "placeholder") and hasattr(hook, "get_conn")):  # what every DbApiHook has
        raise ConfigurationError(
            f"sql_conn_id={conn_id!r} is of type {connection.conn_type!r}, which is not a database"
        )
    return hook


def select_rows(hook: Any, sql: str, parameters: Parameters | None, name: str) -> Generator[NumberedRow, None, None]:
    """Every row of a SELECT with its number, from 1; at no time are there more than a thousand in memory.

    PostgreSQL keeps the result at the server. Other drivers hand it out in parts, as far as they do.

    :param name: how messages call the query.
    :raises ConfigurationError: when the database refuses the query, or a column has no name or another's.
    :raises RetryableError: when the database cannot answer now.
    """
    what = f"{name} could not be read"
    with closing(hook.get_conn()) as connection, closing(_cursor(connection)) as cursor:
        with nothing_of_the_rows(what):
            cursor.execute(sql, parameters) if parameters else cursor.execute(sql)
            # psycopg2 learns the columns with the first rows; other drivers refuse to fetch from what is no SELECT.
            has_rows = cursor.description is not None or _driver(connection) in _POSTGRES
            rows = _fetch(cursor) if has_rows else []
        names = _names(cursor.description, name)
        before = 0
        while rows:
            for number, cells in enumerate(rows, start=before + 1):
                yield number, _row(number, names, cells)
            before += len(rows)
            with nothing_of_the_rows(what):
                rows = _fetch(cursor)


def _fetch(cursor: Any) -> list[Any]:
    return list(cursor.fetchmany(_ROWS_AT_ONCE))


def _driver(value: Any) -> str:
    return type(value).__module__.split(".")[0]


def _cursor(connection: Any) -> Any:
    """A cursor of plain tuples, whatever the connection's ``cursor`` says, at the server where the driver can."""
    name = f"airflow_batch_{secrets.token_hex(4)}"
    if _driver(connection) == "psycopg":
        from psycopg.rows import tuple_row

        return connection.cursor(name, row_factory=tuple_row)
    if _driver(connection) == "psycopg2":
        from psycopg2.extensions import cursor  # type: ignore[import-untyped]

        return connection.cursor(name, cursor_factory=cursor)
    return connection.cursor()


def _names(description: Any, name: str) -> list[str]:
    if not description:
        raise ConfigurationError(f"{name} returns no rows; give a SELECT")
    names = [column[0] for column in description]
    unnamed = [str(index) for index, column in enumerate(names, start=1) if column in _UNNAMED]
    if unnamed:
        raise ConfigurationError(f"{name}: column {', '.join(unnamed)} has no name; write SELECT ... AS name")
    repeated = sorted({column for column in names if names.count(column) > 1})
    if repeated:
        raise ConfigurationError(
            f"{name} names a column twice: {', '.join(map(repr, repeated))}; write SELECT ... AS another_name"
        )
    return names


def _row(number: int, names: Sequence[str], cells: Any) -> Row | Problem:
    values = [cells[column] for column in names] if isinstance(cells, Mapping) else cells
    column = ""
    try:
        row = Row()
        for column, value in zip(names, values, strict=True):
            row[column] = plain(value)
    except TypeError as error:
        return Problem(number, column, str(error))
    except Exception as error:  # noqa: BLE001 - of a large object, whose driver may tell what is in it
        return Problem(number, column, f"cannot be read ({type(error).__name__})")
    return row


@contextlib.contextmanager
def nothing_of_the_rows(what: str) -> Iterator[None]:
    """Turn whatever a driver raises into a typed error that holds nothing of any row.

    :param what: what has failed.
    """
    try:
        yield
    except (BatchInferenceError, OSError):  # an OSError is of a file of ours
        raise
    except Exception as error:  # noqa: BLE001 - drivers are free in what they raise
        detail, for_good = _told(error)
        raise (ConfigurationError if for_good else RetryableError)(f"{what}: {detail}") from None


def _told(error: Exception) -> tuple[str, bool]:
    """What a driver's error says about tables, columns and SQL, and whether another try meets it again."""
    kind = type(error).__name__
    if type(error).__module__ == "sqlite3":  # its messages name tables and columns, never values
        passing = any(word in str(error) for word in ("locked", "busy", "disk", "full"))
        return f"{error} ({kind})", not passing
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str) and _driver(error) in _POSTGRES:
        return _told_by_postgres(error, kind, state), state.startswith(("0A", "21", "22", "23", "3F", "42"))
    for_good = any(base.__name__ in _FOR_GOOD for base in type(error).__mro__)
    if _driver(error) in _POSTGRES and for_good:  # not the server's: placeholders that do not fit the parameters
        return f"{str(error).partition(chr(10))[0]} ({kind})", True
    code = error.args[0] if error.args and isinstance(error.args[0], int) else ""
    hint = "; check that sql and parameters match" if type(error).__module__ == "builtins" else ""
    return f"{kind} {code}".strip() + hint, for_good


def _told_by_postgres(error: Any, kind: str, state: str) -> str:
    detail = f"{kind} {state}"
    if state.startswith(("3F", "42")):  # the classes about names and privileges
        return f"{str(error).partition(chr(10))[0]} ({detail})"
    if state.startswith("21"):
        return f"two rows have the same key ({detail})"
    copied = _COPIED.match(getattr(error.diag, "context", None) or "")
    where = {
        "column": error.diag.column_name or (copied and copied[1]),
        "constraint": error.diag.constraint_name,
    }
    return ", ".join([detail, *(f"{name} {value!r}" for name, value in where.items() if value)])
