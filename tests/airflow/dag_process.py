"""DAGs run by ``dag.test()`` in a process of their own, for tests that need an Airflow but no scheduler."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tests.patience import PATIENCE

PRINT = "\nimport json\nprint('RETURNED', json.dumps(returned))\n"


def returned_by(code: str, env: Mapping[str, str], *arguments: str) -> tuple[Any, str]:
    """Run Python code to its end.

    :param code: binds what is of interest to the name ``returned``.
    :param env: the whole environment of the process.
    :param arguments: in ``sys.argv[1:]``.
    :return: what the code returned, by way of JSON, and all that the process printed.
    """
    done = subprocess.run(
        [sys.executable, "-c", code + PRINT, *arguments],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return json.loads(done.stdout.rpartition("RETURNED ")[2].splitlines()[0]), done.stdout
