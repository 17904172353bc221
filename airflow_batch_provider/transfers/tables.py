"""The table that results are loaded into, on each database in its own fastest way.

Identifiers are checked and quoted; everything else travels as data, never as SQL.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, ClassVar, TypeAlias

from airflow_batch_provider.core.errors import ConfigurationError

Values: TypeAlias = "tuple[str | int | float | None, ...]"

KEY = ("run_key", "custom_id")
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_STAMP = "loaded_at"
_MOST_ROWS = 500
_MOST_VALUES = 32_766
"""SQLite's, of one statement."""
_COPY_BYTES = 1 << 18
_STAGING = 'pg_temp."airflow_batch_staging"'


class Table(ABC):
    """One table, as one transaction sees it.

    :param target: quoted, with its schema.
    :param columns: their types by name, in the order of the values.
    """

    differs: ClassVar[str]
    """How rows are compared that may hold NULL."""

    def __init__(self, target: str, columns: Mapping[str, str]) -> None:
        self.target = target
        self.columns = columns
        self.names = _list([*columns])

    def load(self, cursor: Any, rows: Iterable[Values], *, create: bool) -> int:
        """Insert rows, or update those that are there and differ, so that all others keep their ``loaded_at``.

        :param create: create the table if it does not exist.
        :return: how many rows there were.
        :raises ConfigurationError: when the table lacks columns.
        """
        self._begin(cursor)
        if create:
            self._create(cursor)
        self._check(cursor)
        return self._fill(cursor, iter(rows))

    def _begin(self, cursor: Any) -> None:  # noqa: B027 - most drivers need nothing
        """Begin the transaction, where the driver does not."""

    def _create(self, cursor: Any) -> None:
        fields = [f'"{name}" {kind}' for name, kind in self.columns.items()]
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {self.target} ({', '.join(fields)}, PRIMARY KEY ({_list(KEY)}))")

    def _check(self, cursor: Any) -> None:
        cursor.execute(f"SELECT * FROM {self.target} LIMIT 0")  # noqa: S608 - a checked name
        there = {self._folded(column[0]) for column in cursor.description}
        missing = [f"{name} {kind}" for name, kind in self.columns.items() if self._folded(name) not in there]
        if missing:
            raise ConfigurationError(
                f"{self.target} lacks the columns {', '.join(missing)}; add them (ALTER TABLE {self.target} ADD COLUMN "
                "...), or let the operator create a table of another name. Nothing was loaded"
            )

    @staticmethod
    def _folded(column: str) -> str:
        return column

    @abstractmethod
    def _fill(self, cursor: Any, rows: Iterator[Values]) -> int:
        """Bring the rows in and count them."""

    def _on_conflict(self) -> str:
        changing = [name for name in self.columns if name not in KEY]
        compared = [name for name in changing if name != _STAMP]
        return (
            f"ON CONFLICT ({_list(KEY)}) DO UPDATE SET "
            + ", ".join(f'"{name}" = excluded."{name}"' for name in changing)
            + f" WHERE ({self._compared('old', compared)}) {self.differs} ({self._compared('excluded', compared)})"
        )

    def _compared(self, where: str, names: Sequence[str]) -> str:
        return ", ".join(f'{where}."{name}"' for name in names)


class SqliteTable(Table):
    """SQLite: rows of values, many to a statement."""

    differs = "IS NOT"

    def _begin(self, cursor: Any) -> None:
        # Python's sqlite3 would begin it only after the table was created.
        cursor.execute("BEGIN IMMEDIATE")

    @staticmethod
    def _folded(column: str) -> str:
        return column.lower()

    def _fill(self, cursor: Any, rows: Iterator[Values]) -> int:
        count, at_once = 0, min(_MOST_ROWS, _MOST_VALUES // len(self.columns))
        while chunk := list(islice(rows, at_once)):
            cursor.execute(self.upsert(len(chunk)), list(chain.from_iterable(chunk)))
            count += len(chunk)
        return count

    def upsert(self, rows: int) -> str:
        """The statement for so many rows."""
        values = f"({', '.join('?' * len(self.columns))})"
        return (
            f"INSERT INTO {self.target} AS old ({self.names}) VALUES "  # noqa: S608 - checked names
            f"{', '.join([values] * rows)} {self._on_conflict()}"
        )


class PostgresTable(Table):
    """PostgreSQL: COPY into a table of the transaction's own, then one upsert.

    The staging table takes its types from the target, so that a table of the author's own may have other types than
    those that we create, as long as they read text: JSONB, NUMERIC, TIMESTAMPTZ.
    """

    differs = "IS DISTINCT FROM"

    def _create(self, cursor: Any) -> None:
        cursor.execute("SELECT 1 WHERE to_regclass(%s) IS NULL", [self.target])
        if cursor.fetchone() is None:
            return
        # IF NOT EXISTS alone fails when mapped tasks create the same table at once.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self.target])
        super()._create(cursor)

    def _fill(self, cursor: Any, rows: Iterator[Values]) -> int:
        temporary = _STAGING.partition(".")[2]
        selected = f"SELECT {self.names} FROM"
        cursor.execute(f"CREATE TEMPORARY TABLE {temporary} ON COMMIT DROP AS {selected} {self.target} WITH NO DATA")
        lines = _Lines(rows)
        copy(cursor, f"COPY {_STAGING} ({self.names}) FROM STDIN WITH (FORMAT text, ENCODING 'UTF8')", lines.chunks())
        cursor.execute(f"INSERT INTO {self.target} AS old ({self.names}) {selected} {_STAGING} {self._on_conflict()}")
        return lines.count

    def _compared(self, where: str, names: Sequence[str]) -> str:
        # As text, because a column of type JSON knows no equality.
        return ", ".join(f'{where}."{name}"::text' for name in names)


TABLES: dict[str, type[Table]] = {"sqlite": SqliteTable, "postgres": PostgresTable}
"""By the connection's type."""


class _Lines:
    """Rows in COPY's text format, and their number."""

    def __init__(self, rows: Iterator[Values]) -> None:
        self._rows = rows
        self.count = 0

    def chunks(self) -> Iterator[bytes]:
        """Whole lines, some hundred kilobytes at a time."""
        kept: list[bytes] = []
        size = 0
        for values in self._rows:
            line = copy_line(values)
            kept.append(line)
            size += len(line)
            self.count += 1
            if size >= _COPY_BYTES:
                yield b"".join(kept)
                kept, size = [], 0
        if kept:
            yield b"".join(kept)


def copy_line(values: Values) -> bytes:
    r"""One row in COPY's text format: NULL is ``\N``, and no character of a value can end a column or a row.

    Source: PostgreSQL's documentation of COPY, "Text Format".
    """
    cells = [_escaped(value) if isinstance(value, str) else r"\N" if value is None else str(value) for value in values]
    return ("\t".join(cells) + "\n").encode()


def _escaped(text: str) -> str:
    # The backslash first; almost no text holds the others, and looking for them costs next to nothing.
    text = text.replace("\\", r"\\")
    return text.replace("\t", r"\t").replace("\n", r"\n").replace("\r", r"\r")


def copy(cursor: Any, statement: str, chunks: Iterator[bytes]) -> None:
    """COPY FROM STDIN, with psycopg 3 or psycopg2."""
    if not hasattr(cursor, "copy_expert"):
        with cursor.copy(statement) as target:
            for chunk in chunks:
                target.write(chunk)
        return
    source = _Pulled(chunks)
    try:
        cursor.copy_expert(statement, source, _COPY_BYTES)
    except Exception:
        # psycopg2 reports an error while reading by one of its own, with the first one's text in it.
        if source.error is not None:
            raise source.error from None
        raise


class _Pulled:
    """Chunks as the stream that psycopg2 reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self.error: Exception | None = None

    def read(self, size: int) -> bytes:
        """At most so many bytes, none at the end."""
        if not self._rest:
            try:
                self._rest = memoryview(next(self._chunks, b""))
            except Exception as error:
                self.error = error
                raise
        part, self._rest = self._rest[:size], self._rest[size:]
        return part.tobytes()


def quoted(table: str, schema: str | None) -> str:
    """A table's name as SQL.

    :raises ConfigurationError: for what is not a plain name.
    """
    parts = [*([schema] if schema else []), *table.split(".", 0 if schema else 1)]
    for part in parts:
        if not IDENTIFIER.fullmatch(part):
            raise ConfigurationError(
                f"{part!r} is not a name of a table or schema; use letters, digits and _, at most 63, no digit first"
            )
    return ".".join(f'"{part}"' for part in parts)


def _list(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
