"""Airflow's four processes on loopback, for the demo and for end-to-end tests that kill some of them."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx
import psutil

from airflow_batch_provider.testing.postgres import postgres, url
from airflow_batch_provider.testing.processes import Processes, Running, StackError, free_port, until

DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
FINISHED = frozenset({"success", "failed"})


@dataclass(frozen=True, slots=True)
class Run:
    """One DAG run."""

    dag_id: str
    run_id: str


class AirflowStack(Running):
    """api-server, scheduler, dag-processor and triggerer with a home, a database and a dags folder of their own.

    :param home: becomes ``AIRFLOW_HOME``.
    :param dags: the dags folder.
    :param env: more environment, e.g. ``AIRFLOW_CONN_...``; wins over the defaults.
    :param say: told in a few words what is going on.
    :param database: SQLAlchemy's URL of a metadata database that is migrated already. Default: a PostgreSQL of the
        stack's own, gone at its end. (On SQLite five writing processes fail each other with "database is locked".)
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        env: Mapping[str, str] | None = None,
        say: Callable[[str], None] | None = None,
        database: str | None = None,
    ) -> None:
        self.home = home.resolve()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.user, self.password = "admin", secrets.token_urlsafe(9)
        self.processes = Processes(self.home / "processes")
        self.env = base_env(self.home, dags.resolve(), self.url) | dict(env or {})
        self._database = database
        self._say = say or _say_nothing
        self._open = ExitStack()
        self._client: httpx.Client | None = None
        self._since = datetime.now(timezone.utc)

    def start(self, timeout: float = 600) -> None:
        """Make the database if need be, start the processes and wait until all are healthy."""
        self.home.mkdir(parents=True, exist_ok=True)
        passwords = self.home / "passwords.json"
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps({self.user: self.password}))
        if self._database is None:
            self._say("starting PostgreSQL, airflow db migrate")
            self._database = self._open.enter_context(migrated(self.env))
        self.env[DATABASE] = self._database
        self._say("starting api-server, scheduler, dag-processor and triggerer")
        for component in COMPONENTS:
            self.restart(component)
        until(self._all_healthy, timeout, "Airflow's processes to be healthy")

    def restart(self, component: str) -> None:
        """Start one component, for the first time or after :meth:`kill`."""
        argv = [sys.executable, "-m", "airflow", component]
        if component == "api-server":
            argv += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        if component in ("scheduler", "triggerer"):
            argv.append("--skip-serve-logs")  # their log servers would listen on every interface
        self.processes.start(component, argv, self.env)

    def kill(self, component: str) -> None:
        """SIGKILL one component and all that it forked; for the scheduler this takes its workers with it."""
        self.processes.kill(component)

    def kill_task(self, run: Run, task_id: str, *, worker: bool = False) -> int:
        """SIGKILL the process in which a task runs.

        :param worker: kill the process that supervises the task first, as the loss of a worker would; the scheduler
            then learns of it only by the missing heartbeat (``AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT``).
        :return: the task's pid.
        """
        pid = until(lambda: self.task_instance(run, task_id).get("pid"), 30, f"a process of {task_id}")
        task = psutil.Process(pid)
        victims = [task.parent(), task] if worker else [task]
        ours = {process.pid for process in self.processes.members()}
        for victim in victims:
            if victim is None or victim.pid not in ours:
                raise StackError(f"process {victim and victim.pid} of {task_id} was not started by this stack")
            victim.kill()
        return int(pid)

    def stop(self) -> None:
        """Stop whatever still runs; nothing is left behind."""
        if self._client:
            self._client.close()
            self._client = None
        self.processes.stop()
        self._open.close()

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """One call of Airflow's REST API; ``path`` is relative to ``/api/v2``."""
        answer = self._connected().request(method, f"/api/v2{path}", json=body, params=query)
        if answer.is_error:
            raise StackError(f"{method} {path}: HTTP {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, timeout: float = 300) -> Run:
        """Unpause a DAG, as soon as it has been parsed, and start one run."""
        until(lambda: self.parsed(dag_id), timeout, f"DAG {dag_id!r} to be parsed")
        self.call("PATCH", f"/dags/{quote(dag_id)}", {"is_paused": False})
        answer = self.call("POST", f"/dags/{quote(dag_id)}/dagRuns", {"logical_date": None, "conf": dict(conf or {})})
        return Run(dag_id, answer["dag_run_id"])

    def state(self, run: Run) -> str:
        """The run's state."""
        return str(self.call("GET", _path(run))["state"])

    def wait(self, run: Run, timeout: float = 900, progress: Callable[[], None] | None = None) -> str:
        """The final state of a run; ``progress`` is called while it is awaited.

        :raises StackError: if a process dies that was not killed here, or time is up.
        """

        def ended() -> str | None:
            self.processes.check()
            if progress:
                progress()
            return state if (state := self.state(run)) in FINISHED else None

        return str(until(ended, timeout, f"run {run.run_id} of {run.dag_id} to end", pause=0.5))

    def wait_for_task(self, run: Run, task_id: str, states: Sequence[str], timeout: float = 600) -> str:
        """Wait until a task instance is in one of ``states``.

        :raises StackError: with the task's log, if it ends otherwise.
        """

        def reached() -> str | None:
            state = self.task_instance(run, task_id).get("state")
            if state in FINISHED and state not in states:
                raise StackError(f"task {task_id} ended as {state}:\n{self.log(run, task_id)}")
            return state if state in states else None

        return str(until(reached, timeout, f"task {task_id} to be {' or '.join(states)}", pause=0.2))

    def task_instances(self, run: Run) -> list[dict[str, Any]]:
        """All task instances of a run, as the REST API describes them."""
        return list(self.call("GET", f"{_path(run)}/taskInstances")["task_instances"])

    def task_instance(self, run: Run, task_id: str) -> dict[str, Any]:
        """One task instance, as the REST API describes it."""
        return cast("dict[str, Any]", self.call("GET", f"{_path(run)}/taskInstances/{quote(task_id)}"))

    def clear(self, run: Run, task_ids: Sequence[str], *, downstream: bool = True) -> None:
        """Clear tasks of a run, so that they run again."""
        body = {
            "dry_run": False,
            "dag_run_id": run.run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "include_downstream": downstream,
            "reset_dag_runs": True,
        }
        self.call("POST", f"/dags/{quote(run.dag_id)}/clearTaskInstances", body)

    def log(self, run: Run, task_id: str) -> str:
        """Everything a task has logged, over all tries and with its triggers' lines, from the log files."""
        folder = self.home / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}" / f"task_id={task_id}"
        return "\n".join(line for path in sorted(folder.rglob("attempt=*")) for line in _readable(path))

    def parsed(self, dag_id: str) -> bool:
        """Whether Airflow has read a DAG.

        :raises StackError: when a DAG file cannot be imported.
        """
        answer = self._connected().get(f"/api/v2/dags/{quote(dag_id)}")
        if answer.status_code == httpx.codes.OK:
            return True
        for error in self.call("GET", "/importErrors")["import_errors"]:
            if datetime.fromisoformat(error["timestamp"].replace("Z", "+00:00")) > self._since:
                raise StackError(f"{error['filename']} cannot be imported:\n{error['stack_trace']}")
        return False

    def _all_healthy(self) -> bool:
        self.processes.check()
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except (httpx.HTTPError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all(health.get(part, {}).get("status") == "healthy" for part in parts)

    def _connected(self) -> httpx.Client:
        if self._client is None:
            answer = httpx.post(
                f"{self.url}/auth/token", json={"username": self.user, "password": self.password}, timeout=30
            )
            if answer.is_error:
                raise StackError(f"Airflow refused the login: HTTP {answer.status_code}")
            headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
            self._client = httpx.Client(
                base_url=self.url, headers=headers, timeout=30, transport=httpx.HTTPTransport(retries=3)
            )
        return self._client


def base_env(home: Path, dags: Path, url: str = "") -> dict[str, str]:
    """The environment of a small private Airflow: nothing of the caller's Airflow leaks in, nothing leaves loopback.

    Its database is SQLite, which does for one process.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return env | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(48),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        DATABASE: f"sqlite:///{home}/airflow.db",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",  # how soon a new DAG file is seen
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


@contextmanager
def migrated(env: Mapping[str, str]) -> Iterator[str]:
    """A PostgreSQL with Airflow's tables in it, as SQLAlchemy's URL."""
    with postgres() as host:
        run_airflow({**env, DATABASE: url(host)}, "db", "migrate")
        yield url(host)


def migrate(env: Mapping[str, str], home: Path, say: Callable[[str], None]) -> None:
    """Bring the SQLite database of a home up to date, once per Airflow version."""
    stamp = home / "migrated-to"
    if stamp.is_file() and stamp.read_text() == version("apache-airflow"):
        return
    say("airflow db migrate")
    run_airflow(env, "db", "migrate")
    stamp.write_text(version("apache-airflow"))


def run_airflow(env: Mapping[str, str], *args: str) -> str:
    """Run one ``airflow`` command to its end.

    :return: what it printed.
    :raises StackError: with the end of what it printed, if it fails.
    """
    done = subprocess.run(  # noqa: S603 - our own interpreter, no shell
        [sys.executable, "-m", "airflow", *args],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise StackError(f"airflow {' '.join(args)} failed with exit code {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def _path(run: Run) -> str:
    return f"/dags/{quote(run.dag_id)}/dagRuns/{quote(run.run_id, safe='')}"


def _say_nothing(text: str) -> None:
    """What a caller that wants no progress gets."""


def _readable(path: Path) -> Iterator[str]:
    with path.open(errors="replace") as lines:
        for line in lines:
            yield from _entry(line.rstrip("\n"))


def _entry(line: str) -> list[str]:
    try:
        entry = json.loads(line)
        problems = entry.get("error_detail") or ()
        head = f"{entry['level'].upper():8}{entry['event']}"
        return [head, *(f"        {problem['exc_type']}: {problem['exc_value']}" for problem in problems)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [line]
