"""What the server remembers: files on disk, their and the batches' objects in SQLite.

A batch's rows are never in the database: they are appended to the files of :mod:`.results`, and a kill loses at most
the line being written. The database is written when a status changes and, while rows run, about once a second.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orjson

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.objects import TERMINAL

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, purpose TEXT, object TEXT);
CREATE TABLE IF NOT EXISTS batches (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, status TEXT, object TEXT);
"""


class Store:
    """One data directory, held by one server at a time.

    :param data_dir: created when it does not exist.
    """

    def __init__(self, data_dir: Path) -> None:
        self._files = data_dir / "files"
        # Prompts and answers are in it, so all of it is for the owner alone.
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o700, exist_ok=True)
        self._files.mkdir(mode=0o700, exist_ok=True)
        self._lock = _lock(data_dir / "lock")
        # SQLite gives its journals the mode of the database.
        (data_dir / "batch.db").touch(mode=0o600)
        self._db = sqlite3.connect(data_dir / "batch.db", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        for left in self._files.glob("*.part"):
            left.unlink()

    def close(self) -> None:
        """Let go of the data directory."""
        self._db.close()
        self._lock.close()

    def path(self, file_id: str) -> Path:
        """Where a file's bytes are; only for ids that the store itself has given."""
        return self._files / file_id

    # files

    def add_file(self, item: JSON) -> None:
        """Make a file known, whose bytes are already in place."""
        self._insert_file(item)

    def _insert_file(self, item: JSON) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO files (id, purpose, object) VALUES (?, ?, ?)",
            (item["id"], item["purpose"], orjson.dumps(item).decode()),
        )

    def file(self, file_id: str) -> JSON | None:
        """A file by id."""
        return self._one("SELECT object FROM files WHERE id = ?", file_id)

    def delete_file(self, file_id: str) -> None:
        """Forget a file and its bytes."""
        self._db.execute("DELETE FROM files WHERE id = ?", (file_id,))
        self.path(file_id).unlink(missing_ok=True)

    def list_files(self, limit: int, after: str | None, purpose: str | None, ascending: bool) -> list[JSON] | None:
        """Files in the order of their creation; None when ``after`` is unknown."""
        return self._page("files", limit, after, ascending, ("purpose = ?", purpose) if purpose else None)

    # batches

    def add_batch(self, batch: JSON) -> None:
        """Remember a new batch."""
        self._db.execute(
            "INSERT INTO batches (id, status, object) VALUES (?, ?, ?)",
            (batch["id"], batch["status"], orjson.dumps(batch).decode()),
        )

    def save_batch(self, batch: JSON, files: tuple[JSON, ...] = ()) -> None:
        """Remember a batch as it is, together with the files that became known with it."""
        self._db.execute("BEGIN IMMEDIATE")
        for item in files:
            self._insert_file(item)
        self._db.execute(
            "UPDATE batches SET status = ?, object = ? WHERE id = ?",
            (batch["status"], orjson.dumps(batch).decode(), batch["id"]),
        )
        self._db.execute("COMMIT")

    def batch(self, batch_id: str) -> JSON | None:
        """A batch by id."""
        return self._one("SELECT object FROM batches WHERE id = ?", batch_id)

    def list_batches(self, limit: int, after: str | None) -> list[JSON] | None:
        """Batches, newest first; None when ``after`` is unknown."""
        return self._page("batches", limit, after, False, None)

    def unfinished(self) -> Iterator[JSON]:
        """Batches that a killed server left behind, oldest first."""
        marks = ", ".join("?" * len(TERMINAL))
        query = f"SELECT object FROM batches WHERE status NOT IN ({marks}) ORDER BY seq"  # noqa: S608 - marks only
        for (text,) in self._db.execute(query, tuple(sorted(TERMINAL))).fetchall():
            yield orjson.loads(text)

    def position(self, batch_id: str) -> int:
        """How many batches were made before this one."""
        query = "SELECT count(*) FROM batches WHERE seq < (SELECT seq FROM batches WHERE id = ?)"
        return int(self._db.execute(query, (batch_id,)).fetchone()[0])

    # queries

    def _one(self, query: str, *values: str) -> JSON | None:
        row = self._db.execute(query, values).fetchone()
        return orjson.loads(row[0]) if row else None

    def _page(
        self, table: str, limit: int, after: str | None, ascending: bool, only: tuple[str, str] | None
    ) -> list[JSON] | None:
        where: list[str] = []
        values: list[Any] = []
        if after is not None:
            found = self._db.execute(f"SELECT seq FROM {table} WHERE id = ?", (after,)).fetchone()  # noqa: S608
            if found is None:
                return None
            where.append("seq > ?" if ascending else "seq < ?")
            values.append(found[0])
        if only is not None:
            where.append(only[0])
            values.append(only[1])
        clause = f"WHERE {' AND '.join(where)}" if where else ""
        order = "ASC" if ascending else "DESC"
        query = f"SELECT object FROM {table} {clause} ORDER BY seq {order} LIMIT ?"  # noqa: S608 - our own names only
        return [orjson.loads(text) for (text,) in self._db.execute(query, (*values, limit)).fetchall()]


def _lock(path: Path) -> IO[str]:
    """Hold the directory; the system lets go when the process dies, however it dies."""
    import fcntl

    handle = path.open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise ConfigurationError(
            f"The data directory {str(path.parent)!r} is in use by another server; stop it or give another --data-dir"
        ) from None
    handle.write(str(os.getpid()))
    handle.flush()
    return handle
