"""What every part of a run works with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.records import RunOptions
from airflow_batch_provider.run.ledger import Ledger
from airflow_batch_provider.run.reading import Logger, read
from airflow_batch_provider.run.storage import RunDirectory

T = TypeVar("T")


@dataclass(slots=True)
class RunContext:
    """One run, as its parts see it.

    :param directory: the run directory.
    :param backend: where jobs run.
    :param options: the author's.
    :param run_key: who the run is; see :func:`airflow_batch_provider.core.identity.run_key`. None for those who read a
        run that another task submitted: they never plan, create or compare.
    :param conn_id: the connection's name, recorded so that others can follow the run.
    :param input_path: the author's file, read when the run is planned.
    :param input_file_id: the same file as it was uploaded already; then it is not uploaded again. It may serve other
        runs too, so it proves nothing of a job.
    :param stopped: called before each create; True once the task was killed.
    :param clock: seconds since the epoch.
    :param pause: waits so many seconds between attempts to read.

    ``ledger`` is the record in the directory. ``planned`` are the rounds that this very process has planned, so that
    no other can have sent of them.
    """

    directory: RunDirectory
    backend: Backend
    options: RunOptions
    run_key: str | None = field(default=None, kw_only=True)
    conn_id: str = field(default="", kw_only=True)
    input_path: str = field(default="", kw_only=True)
    input_file_id: str | None = field(default=None, kw_only=True)
    stopped: Callable[[], bool] = field(default=lambda: False, kw_only=True)
    clock: Callable[[], float] = field(default=time.time, kw_only=True)
    pause: Callable[[float], None] = field(default=time.sleep, kw_only=True)
    log: Logger = field(default_factory=lambda: logging.getLogger(__name__), kw_only=True)
    ledger: Ledger = field(init=False)
    planned: set[int] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.directory)

    def read(self, call: Callable[[], T]) -> T:
        """Carry out a call that pays nothing, again after a pause when the provider stumbles."""
        return read(call, self.pause, self.log)
