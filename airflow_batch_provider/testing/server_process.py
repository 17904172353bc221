"""``airflow-batch serve`` as a process of its own, that can be killed and started again where it was."""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path

from airflow_batch_provider.testing.processes import Processes, Running, until


class ServerProcess(Running):
    """The embedded batch server in a process.

    :param folder: where its data and its log lie.
    :param engine: what answers.
    :param options: more options of ``serve``, e.g. ``"--latency", "0.1"``.
    """

    NAME = "batch-server"

    def __init__(self, folder: Path, engine: str = "echo", *options: str) -> None:
        self.folder = folder
        self.engine = engine
        self.options = options
        self.token = secrets.token_urlsafe(24)
        self.port = 0
        self.processes = Processes(folder)

    @property
    def url(self) -> str:
        """The base URL, which stays the same over kill and start."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self, timeout: float = 60) -> None:
        """Start, on a free port for the first time and on the same port again later, and wait until it listens."""
        argv = [sys.executable, "-m", "airflow_batch_provider", "serve", "--engine", self.engine]
        argv += ["--port", str(self.port), "--data-dir", str(self.folder / "data"), *self.options]
        log = self.folder / f"{self.NAME}.log"
        log.unlink(missing_ok=True)
        self.processes.start(self.NAME, argv, {**os.environ, "AIRFLOW_BATCH_TOKEN": self.token})

        def listening() -> re.Match[str] | None:
            self.processes.check()
            return re.search(r"listening on http://127\.0\.0\.1:(\d+)/v1", log.read_text(errors="replace"))

        self.port = int(until(listening, timeout, "the batch server to listen")[1])

    def kill(self) -> None:
        """SIGKILL, as a lost machine would."""
        self.processes.kill(self.NAME)

    def stop(self) -> None:
        """End it and all that it has started."""
        self.processes.stop()

    def connection(self) -> dict[str, str]:
        """The fields of a ``local_batch`` connection to it."""
        return {"conn_type": "local_batch", "host": self.url, "password": self.token}
