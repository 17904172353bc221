"""The example of docs/testing.md does what the page says, as it stands there."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

from airflow_batch_provider.testing import ROUTES, BedrockFaults, VertexFaults
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text()


def test_the_example_runs(tmp_path):
    """The page's files, written into an empty folder, are a test that passes, with no Airflow around it."""
    files = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
    assert [name for name, _ in files] == ["dags/review_labels.py", "conftest.py", "test_review_labels.py"]
    for name, text in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))}
    env |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "1 passed" in done.stdout, done.stdout[-5000:] + done.stderr[-3000:]


def test_the_page_names_every_fault_and_route():
    """No fault is left out of the page's table, and no route."""
    words = set(re.findall(r"\w+", PAGE))
    faults = {field.name for kind in (BedrockFaults, VertexFaults) for field in dataclasses.fields(kind)}
    noted = {"heard"}  # by the fake itself, for `echo_headers`
    assert sorted((faults | set(ROUTES)) - noted - words) == []
