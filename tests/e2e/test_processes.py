"""What the process harness promises: nothing that it started survives it, however deep it forked."""

from __future__ import annotations

import sys
import time

import psutil
import pytest

from airflow_batch_provider.testing.processes import Processes, StackError, free_port, until
from tests.patience import PATIENCE

# A process whose grandchild leaves the session and outlives its parent, as an Airflow worker does.
FORKS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def processes(tmp_path):
    started = Processes(tmp_path)
    yield started
    started.stop(grace=0)


def start_forking(processes: Processes) -> list[psutil.Process]:
    processes.start("forking", [sys.executable, "-c", FORKS], {})
    return until(
        lambda: members if len(members := processes.members("forking")) == 2 else None, PATIENCE, "two processes"
    )


def test_kill_reaches_what_left_the_session(processes):
    """SIGKILL goes to every process with the mark, and only to the one name."""
    processes.start("other", [sys.executable, "-c", "import time; time.sleep(60)"], {})
    members = start_forking(processes)
    processes.kill("forking")
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in members)
    assert len(processes.members("other")) == 1


def test_stop_ends_those_that_ignore_sigterm(processes):
    """What is deaf to SIGTERM gets SIGKILL after the grace."""
    start_forking(processes)
    began = time.monotonic()
    processes.stop(grace=0.5)
    assert processes.members() == []
    assert time.monotonic() - began < 5


def test_a_dead_process_is_told_with_the_end_of_its_log(processes):
    """A process that ends by itself is an error that quotes its log."""
    processes.start("broken", [sys.executable, "-c", "print('no such port'); raise SystemExit(3)"], {})
    until(lambda: not processes.members("broken"), PATIENCE, "the end")
    with pytest.raises(StackError, match=r"(?s)broken ended with exit code 3.*no such port"):
        until(processes.check, PATIENCE, "the error")


def test_a_killed_process_is_no_error(processes):
    """Who kills on purpose is not told of it."""
    start_forking(processes)
    processes.kill("forking")
    processes.check()


def test_until_names_what_it_waited_for():
    """Time up is an error in words."""
    with pytest.raises(StackError, match="waited 0 s for rain, in vain"):
        until(lambda: None, 0, "rain")


def test_free_ports_are_ports():
    """A free port can be listened on."""
    assert 1024 < free_port() < 65536
