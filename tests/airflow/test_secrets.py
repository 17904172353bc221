"""No byte of a credential in anything that Airflow or a run keeps or prints, on every route, whatever goes wrong."""

import base64
import contextlib
import json
import sqlite3

import pytest

from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.testing.bedrock_api import ControlPlane
from airflow_batch_provider.testing.calls import Answer
from airflow_batch_provider.testing.routes import DISTINCT
from airflow_batch_provider.testing.shell import Shell
from airflow_batch_provider.testing.vertex_api import Google
from tests.airflow.secret_world import Asked, World
from tests.marked import ACCESS_KEY, KEY, MARKS, WRONG, fakes_with_marks, scan, scan_folder

SIGNED = ("x-amz-security-token",)
TRAP = "Tp8qMarkedAnswer5Rc1"
"""No secret: in the body of an error beside what the provider was sent, to see that the error was told at all."""


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


@pytest.fixture(scope="module")
def well(tmp_path_factory, migrate):
    """Both kinds of task, on all routes, and nothing goes wrong."""
    return World(tmp_path_factory.mktemp("well"), migrate, {name: Asked(name) for name in DISTINCT})


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
    kept = well.told("TRIGGER")
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
        asked = {name: Asked(name, faults=FAULTS[fault](name)) for name in DISTINCT}
        world = World(tmp_path, migrate, asked, right=right)
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
