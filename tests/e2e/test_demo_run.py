"""The demonstration as a user runs it: Airflow's real processes, the real server, nothing left behind."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys

import httpx
import pytest

from airflow_batch_provider.testing.processes import marked, until
from tests.architecture.measure import ROOT
from tests.patience import PATIENCE

LABEL = "DEMO_TEST_LABEL"  # inherited by all that the demo starts


@pytest.mark.airflow
def test_the_demo_runs_stays_up_and_leaves_nothing(tmp_path):
    """100 rows end in the table, ``--keep`` leaves the UI up until Ctrl-C, and then no process is left."""
    label = secrets.token_hex(8)
    output = tmp_path / "output"
    argv = [sys.executable, "-m", "demo", "--engine", "echo", "--keep", "--folder", str(tmp_path / "demo")]
    with output.open("wb") as sink:
        demo = subprocess.Popen(
            argv, cwd=ROOT, env={**os.environ, LABEL: label}, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
        )
    try:
        until(
            lambda: demo.poll() is not None or "Ctrl-C stops it" in output.read_text(), PATIENCE, "the end of the run"
        )
        printed = output.read_text()
        assert demo.poll() is None, printed
        assert "answer: deferred" in printed, printed
        assert "100 of 100 in table" in printed, printed
        page = re.search(r"Airflow's UI\s+(\S+)", printed)
        assert page, printed
        assert httpx.get(page[1], follow_redirects=True).status_code == 200
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=PATIENCE) == 0, output.read_text()
        assert marked(LABEL, label) == []
    finally:
        demo.terminate()
        demo.wait(timeout=PATIENCE)
        for process in marked(LABEL, label):
            process.kill()
