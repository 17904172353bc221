"""Attempts as the parent sees them: started through the zygote, followed by their reports, killed by pid."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from benchmarks.kill_child import MESSAGE_BYTES

Phase = Literal["create", "ledger", "collect", "other"]
PHASES: tuple[Phase, ...] = ("create", "ledger", "collect", "other")
_START_SECONDS = 120
_END_SECONDS = 10


class Zygote:
    """The process that forks attempts; see :mod:`benchmarks.kill_child`."""

    def __enter__(self) -> Zygote:
        self._home = tempfile.TemporaryDirectory(prefix="kill-airflow-")
        root = Path(__file__).resolve().parents[1]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line = ours
        # A session of its own, so that Ctrl-C comes to us alone; it ends, with all its children, when our end closes.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.kill_child", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=root,
            env={**os.environ, "AIRFLOW_HOME": self._home.name, "PYTHONPATH": str(root)},
            start_new_session=True,
        )
        theirs.close()
        self._line.settimeout(_START_SECONDS)
        try:
            self._answer()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it and every attempt that lives."""
        self._line.close()  # which it takes as its end
        try:
            self._process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._home.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, order: dict[str, Any]) -> Attempt:
        """Fork an attempt."""
        reading, writing = os.pipe()
        socket.send_fds(self._line, [json.dumps({"do": "start", "order": order}).encode()], [writing])
        os.close(writing)
        return Attempt(self, self._answer()["pid"], reading)

    def reap(self, pid: int) -> int:
        """The exit code of an attempt that has ended; negative for a signal. Until then its pid is nobody else's."""
        self._line.send(json.dumps({"do": "reap", "pid": pid}).encode())
        return os.waitstatus_to_exitcode(self._answer()["status"])

    def _answer(self) -> dict[str, Any]:
        data = self._line.recv(MESSAGE_BYTES)
        if not data:
            raise RuntimeError("the zygote has ended")
        return dict(json.loads(data))


class Attempt:
    """A process that works on a run.

    :param handle: where its reports are read.
    """

    def __init__(self, zygote: Zygote, pid: int, handle: int) -> None:
        self.pid = pid
        self.reports: list[str] = []
        self.exit_code: int | None = None
        self.ran_at: float | None = None
        self._zygote = zygote
        self.handle = handle
        self._rest = b""

    @property
    def ended(self) -> bool:
        return self.exit_code is not None

    @property
    def last_word(self) -> str:
        """``done``, ``refused ...``, ``error ...``; empty for one that was killed before."""
        return self.reports[-1][1:] if self.reports and self.reports[-1].startswith("=") else ""

    def follow(self, until: float | None, wanted: Callable[[str], bool] = lambda _: False) -> bool:
        """Read reports until the time has come, one that is wanted is read, or the attempt has ended.

        :return: whether a wanted one was read.
        """
        while not self.ended:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return False
            if not select.select([self.handle], [], [], left)[0]:
                continue
            data = os.read(self.handle, 65_536)
            if not data:
                self._end()
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            words = [line.decode() for line in lines]
            self.reports += words
            if self.ran_at is None and "+run" in words:
                self.ran_at = time.monotonic()
            if any(map(wanted, words)):
                return True
        return False

    def kill(self) -> Phase | None:
        """SIGKILL, and wait until it is gone.

        :return: where it was hit; None when it had ended by itself.
        """
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)
            self.follow(None)
        return self.phase if self.exit_code == -signal.SIGKILL and not self.last_word else None

    @property
    def phase(self) -> Phase:
        """What it was inside of when it ended, the innermost first."""
        inside: list[str] = []
        for word in self.reports:
            if word.startswith("+") and word != "+run":
                inside.append(word[1:])
            elif word.startswith("-"):
                inside.pop()
        name = inside[-1].partition(" ")[0] if inside else ""
        return name if name in PHASES else "other"

    def _end(self) -> None:
        os.close(self.handle)
        self.exit_code = self._zygote.reap(self.pid)
