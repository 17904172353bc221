"""No byte of a credential in anything that Airflow or a run keeps or prints, on every route, whatever goes wrong."""

import base64
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.testing.airflow_stack import base_env
from airflow_batch_provider.testing.bedrock_api import ControlPlane
from airflow_batch_provider.testing.calls import Answer
from airflow_batch_provider.testing.routes import DISTINCT, fake_route
from airflow_batch_provider.testing.shell import Shell
from airflow_batch_provider.testing.vertex_api import Google
from tests.marked import (
    ACCESS_KEY,
    KEY,
    MARKS,
    WRONG,
    connection_of,
    fakes_with_marks,
    scan,
    scan_folder,
)
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
SIGNED = ("x-amz-security-token",)
TRAP = "Tp8qMarkedAnswer5Rc1"
"""No secret: in the body of an error beside what the provider was sent, to see that the error was told at all."""
DAG_FILE = """
from datetime import timedelta

from airflow.sdk import DAG

from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator

with DAG(dag_id="secrets", schedule=None, params={"conn_id": "x", "rows": "x", "model": "m"}) as dag:
    for name in ("deferred", "working"):
        BatchInferenceOperator(
            task_id=name,
            input_path="{{ params.rows }}",
            output_path="RUNS/{{ params.conn_id }}/{{ task.task_id }}",
            conn_id="{{ params.conn_id }}",
            model="{{ params.model }}",
            deferrable=name == "deferred",
            poll_interval=0.2,
            allow_local_path=True,
        )
"""
RUN_ALL = """
import json, sys
from airflow_batch_provider.triggers.batch_inference import BatchInferenceTrigger
from airflow_batch_provider.run import reading
from secret_dag import dag

reading.READ_PAUSES = (0.01, 0.01, 0.01)
serialize = BatchInferenceTrigger.serialize

def told(self):
    kept = serialize(self)
    print("TRIGGER", json.dumps(kept))
    return kept

BatchInferenceTrigger.serialize = told
states = {}
for name, (model, rows) in json.loads(sys.argv[1]).items():
    run = dag.test(run_conf={"conn_id": name, "model": model, "rows": rows})
    states[name] = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
print("STATES", json.dumps(states))
"""


# ---- the routes ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def marked_fakes():
    """Fakes that take marked credentials, and echo what they were sent when they refuse it."""
    with fakes_with_marks():
        yield


def echoing(patch):
    """From here on every error of a fake tells the headers that it was sent, as bad gateways do; AWS tells none that
    holds a secret: a signature is none."""

    def make(kind):
        original = kind.__call__

        async def call(self, scope, receive, send):
            sent = {name.decode(): value.decode() for name, value in scope.get("headers", ())}
            if kind is ControlPlane:
                sent = {name: value for name, value in sent.items() if name not in SIGNED}
            length = []

            async def telling(message):
                if message["type"] == "http.response.start" and message["status"] >= 400:
                    length.append(message)
                elif length:
                    text = f"refused: {sent} {TRAP}"
                    body = Answer.of(length[0]["status"], {"message": text, "error": {"message": text}}).content
                    headers = [h for h in length[0]["headers"] if h[0] != b"content-length"]
                    headers.append((b"content-length", str(len(body)).encode()))
                    await send({**length[0], "headers": headers})
                    await send({"type": "http.response.body", "body": body})
                else:
                    await send(message)

            await original(self, scope, receive, telling)

        patch.setattr(kind, "__call__", call)

    for kind in (Shell, ControlPlane, Google):
        make(kind)


def line(number, model):
    body = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": f"say {number}"}]}
    return json.dumps({"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})


class World:
    """One Airflow, all routes, and everything that was kept and printed.

    :param faults: of a route, by its name.
    :param right: whether the keys are.
    """

    def __init__(self, folder, migrate, faults=lambda name: None, *, right=True):
        self.folder = folder
        dags = folder / "dags"
        dags.mkdir()
        (dags / "secret_dag.py").write_text(DAG_FILE.replace("RUNS", str(folder / "runs")))
        migrate(folder / "airflow")
        env = base_env(folder / "airflow", dags) | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(dags)]),
        }
        with contextlib.ExitStack() as running:
            asked = {}
            self.routes = {}
            for name in DISTINCT:
                route = running.enter_context(fake_route(name, faults(name)))
                rows = folder / f"{name}.jsonl"
                rows.write_text("".join(line(n, route.model) + "\n" for n in range(max(3, route.min_rows))))
                env[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection_of(route, right=right))
                asked[name] = (route.model, str(rows))
                self.routes[name] = route
            command = [sys.executable, "-c", RUN_ALL, json.dumps(asked)]
            done = subprocess.run(
                command,
                env=env,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=PATIENCE,
                check=False,
            )
            self.sent = {name: [str(call.headers) for call in r.fake.requests] for name, r in self.routes.items()}
        (folder / "stdout.txt").write_text(done.stdout)
        (folder / "stderr.txt").write_text(done.stderr)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        self.printed = done.stdout + done.stderr
        self.states = json.loads(done.stdout.rpartition("STATES ")[2].split("\n")[0])

    def found(self):
        return scan_folder(self.folder)


@pytest.fixture(scope="module")
def well(tmp_path_factory, migrate):
    """Both kinds of task, on all routes, and nothing goes wrong."""
    return World(tmp_path_factory.mktemp("well"), migrate)


@pytest.mark.parametrize("name", DISTINCT)
def test_no_byte_of_a_secret_is_kept(name, well):
    """Database, log folder, output and run directory after a good run that did use the secret."""
    assert set(well.states[name].values()) == {"success"}, well.printed[-3000:]
    mark = ACCESS_KEY if name == "bedrock" else KEY
    assert any(mark in headers for headers in well.sent[name])
    assert list((well.folder / "runs" / name).rglob("summary.json"))
    assert well.found() == {}


def test_triggers_carry_no_secret(well):
    """What Airflow would keep of every trigger in clear text."""
    kept = [one.split("\n")[0] for one in well.printed.split("TRIGGER ")[1:]]
    assert len(kept) >= len(DISTINCT)
    assert all(json.loads(one)[1]["conn_id"] in DISTINCT for one in kept)
    assert not any(scan(one.encode()) for one in kept)


def refusing(name):
    """The file or, where the cloud's own client would try for minutes, the job."""
    clouds = name in ("bedrock", "vertex_ai")
    return FaultPlan(create_status=[400] * 9) if clouds else FaultPlan(upload_status=[500] * 99)


FAULTS = {
    "a wrong key": lambda name: None,
    "an outage": refusing,
    "a look refused": lambda name: FaultPlan(poll_status=[401] * 99),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_failing_runs_tell_no_secret(fault, tmp_path, migrate):
    """The provider echoes every header in its errors; none of it is kept, although the errors are told."""
    right = fault != "a wrong key"
    with pytest.MonkeyPatch.context() as patch:
        echoing(patch)
        world = World(tmp_path, migrate, FAULTS[fault], right=right)
    for name in DISTINCT:
        assert set(world.states[name].values()) == {"failed"}, name
        used = ACCESS_KEY if name == "bedrock" else KEY
        assert any((used if right else WRONG) in headers for headers in world.sent[name]), name
    assert TRAP in world.printed
    assert world.found() == {}


# ---- the scanner can find --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", MARKS)
def test_the_scanner_finds_what_is_planted(mark, tmp_path):
    """In a file, a name, a log line, a cell of text and one of bytes, plain or coded."""
    assert scan_folder(tmp_path) == {}
    (tmp_path / "a.log").write_text(f'{{"event": "Authorization: Bearer {mark}"}}')
    (tmp_path / "b.log").write_bytes(base64.b64encode(f"user:{mark}:x".encode()))
    (tmp_path / f"c-{mark}").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "d.db")) as database:
        database.execute("CREATE TABLE trigger (kwargs TEXT, other BLOB)")
        database.execute("INSERT INTO trigger VALUES (?, ?)", [json.dumps({"token": mark}), b"\x00" + mark.encode()])
        database.commit()
    found = scan_folder(tmp_path)
    assert set(found) == {"a.log", "b.log", f"c-{mark}", "d.db", "d.db: trigger"}
    assert all(hits == {mark} for hits in found.values())


def test_a_planted_leak_is_seen_by_the_whole_check(well):
    """A key written into the run directory of a finished run makes the check fail."""
    planted = well.folder / "runs" / "openai" / "leak.json"
    planted.write_text(json.dumps({"headers": {"Authorization": f"Bearer {KEY}"}}))
    try:
        assert well.found() == {"runs/openai/leak.json": {KEY}}
    finally:
        planted.unlink()
