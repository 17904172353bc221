"""Child processes that are found again however deep they fork, and of which nothing is left behind.

Every process started here carries a mark in its environment, which all that it forks inherits. Stopping and killing go
by that mark and by pid, because a scheduler killed with SIGKILL leaves workers behind that no parent and no process
group leads to any more.
"""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from airflow_batch_provider.core.errors import BatchInferenceError

if TYPE_CHECKING:
    from typing_extensions import Self

MARK = "AIRFLOW_BATCH_STACK_MEMBER"


class StackError(BatchInferenceError):
    """A process did not start, died, or did not do in time what was awaited."""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(probe: Callable[[], Any], timeout: float, what: str, pause: float = 0.25) -> Any:
    """The first truthy answer of ``probe``.

    :raises StackError: naming ``what`` was awaited, after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        if answer := probe():
            return answer
        if time.monotonic() > deadline:
            raise StackError(f"waited {timeout:.0f} s for {what}, in vain")
        time.sleep(pause)


class Running(ABC):
    """Whatever runs in processes of its own inside a ``with`` block."""

    @abstractmethod
    def start(self) -> None:
        """Start all of it, and wait until it can be used."""

    @abstractmethod
    def stop(self) -> None:
        """End all that was started."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Processes:
    """Named child processes and everything they fork.

    :param log_dir: where each process' output goes, as ``<name>.log``.
    """

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self._mark = secrets.token_hex(8)
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Start ``argv`` in a session of its own."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        # SPT_NOENV: Airflow renames its processes, which by default overwrites the environment we look for.
        marked = {**env, MARK: f"{self._mark}/{name}", "SPT_NOENV": "1", "PYTHONUNBUFFERED": "1"}
        with (self.log_dir / f"{name}.log").open("ab") as log:
            self._started[name] = subprocess.Popen(  # noqa: S603 - the caller's own argument list, no shell
                list(argv),
                env=marked,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def members(self, name: str | None = None) -> list[psutil.Process]:
        """The living processes of one name, or of all."""
        return marked(MARK, self._mark if name is None else f"{self._mark}/{name}")

    def check(self) -> None:
        """Raise, with the end of its log, if a process has ended that nobody has killed or stopped here."""
        for name, process in self._started.items():
            if (code := process.poll()) is not None:
                raise StackError(f"{name} ended with exit code {code}; the end of its log:\n{self.log_tail(name)}")

    def kill(self, name: str) -> None:
        """SIGKILL, by pid, to the process and all that it forked."""
        _signal_until_gone(lambda: self.members(name), signal.SIGKILL, 10)
        self._reap(name)

    def stop(self, name: str | None = None, grace: float = 4) -> None:
        """SIGTERM, and SIGKILL by pid to what is still there after ``grace`` seconds."""
        _signal_until_gone(lambda: self.members(name), signal.SIGTERM, grace)
        _signal_until_gone(lambda: self.members(name), signal.SIGKILL, 10)
        for each in [name] if name else list(self._started):
            self._reap(each)

    def log_tail(self, name: str, lines: int = 30) -> str:
        """The last lines of what the process has printed."""
        path = self.log_dir / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").split("\n")[-lines:]) if path.is_file() else "(no log)"

    def _reap(self, name: str) -> None:
        if process := self._started.pop(name, None):
            process.wait(timeout=10)


def marked(variable: str, value: str) -> list[psutil.Process]:
    """The living processes in whose environment ``variable`` is ``value``, or begins with ``value/``."""
    return [process for process in psutil.process_iter() if _is_marked(process, variable, value)]


def _is_marked(process: psutil.Process, variable: str, value: str) -> bool:
    try:
        mark = process.environ().get(variable, "")
        return (mark == value or mark.startswith(f"{value}/")) and bool(process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, OSError):  # gone meanwhile, or somebody else's
        return False


def _signal_until_gone(members: Callable[[], list[psutil.Process]], number: signal.Signals, timeout: float) -> None:
    """Signal each process once, those that appear meanwhile too, until none is left or time is up."""
    told: set[psutil.Process] = set()
    deadline = time.monotonic() + timeout
    while (alive := members()) and time.monotonic() < deadline:
        for process in alive:
            if process not in told:
                told.add(process)
                try:
                    process.send_signal(number)
                except psutil.NoSuchProcess:
                    continue
        time.sleep(0.1)
