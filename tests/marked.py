"""Marked credentials for every route, fakes that take them, and a scanner that finds them wherever they are kept."""

import base64
import contextlib
import json
import sqlite3
from urllib.parse import quote

import pytest

from airflow_batch_provider.testing.bedrock import FakeBedrock
from airflow_batch_provider.testing.provider import FakeProvider
from airflow_batch_provider.testing.vertex import FakeVertex

KEY, WRONG, SECRET = "Kq7zMarkedKey4Gx1", "Wr0ngMarkedKey8Hy2", "Zs3tMarkedSecret9Jv5"
ACCESS_KEY, SESSION, HEADER = "AKIAMARKEDKEY7QX42ZP", "Sn6tMarkedSession1Bm3", "Hd5rMarkedHeader2Lw8"
BODY, VIRTUAL, BEARER, PRIVATE = (
    "Xb4vMarkedBody6Nk3",
    "Vk2gMarkedVirtual5Sp7",
    "Br8nMarkedBearer3Fd1",
    "Pv6cMarkedPrivate9Wt4",
)
MARKS = (KEY, WRONG, SECRET, ACCESS_KEY, SESSION, HEADER, BODY, VIRTUAL, BEARER, PRIVATE)


def spellings(mark):
    """A secret as it may be written: plain, in base64 at each offset, percent-encoded, as JSON escapes it."""
    found = {mark, quote(mark), json.dumps(mark)[1:-1], mark.lower(), mark[:12], mark[-12:]}
    for offset in range(3):
        coded = base64.b64encode(b"x" * offset + mark.encode()).decode().rstrip("=")
        found.add(coded[4:-3])
    return {one.encode() for one in found}


def scan(content, marks=MARKS):
    """The marks that are in some bytes, in any spelling."""
    return {mark for mark in marks if any(one in content for one in spellings(mark))}


def scan_folder(folder):
    """Where the marks are: in files, in their names, and in every cell of every database."""
    found = {}
    for path in sorted(folder.rglob("*")):
        seen = scan(str(path.relative_to(folder)).encode())
        if path.is_file():
            seen |= scan(path.read_bytes())
            if path.suffix == ".db":
                for table, content in tables(path):
                    if hits := scan(content):
                        found[f"{path.name}: {table}"] = hits
        if seen:
            found[str(path.relative_to(folder))] = seen
    return found


def tables(path):
    """Every table of a database as one text, byte strings as they are."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            rows = database.execute(f'SELECT * FROM "{name}"').fetchall()
            cells = (cell if isinstance(cell, bytes) else str(cell).encode() for row in rows for cell in row)
            yield name, b"\n".join(cells)


# ---- the routes ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def fakes_with_marks():
    """Inside, every fake that is made takes the marked credentials and no others."""
    with pytest.MonkeyPatch.context() as patch:
        make = FakeProvider.__init__
        patch.setattr(FakeProvider, "__init__", lambda self, *a, **k: make(self, *a, **{**k, "api_key": KEY}))
        patch.setattr(FakeBedrock, "credentials", (ACCESS_KEY, SECRET))
        patch.setattr(FakeVertex, "token", KEY)
        yield


def connection_of(route, *, right=True):
    """A route's connection with marks wherever a secret may stand."""
    made = json.loads(route.connection_json)
    extra = made["extra"]
    key = KEY if right else WRONG
    if route.name == "bedrock":
        made["login"] = ACCESS_KEY if right else WRONG
        extra["session_token"] = SESSION
    elif route.name == "vertex_ai":
        extra["token"] = key
    else:
        made["password"] = key
    if made["conn_type"] in ("truefoundry_batch", "portkey_batch"):
        extra["extra_headers"] = {"x-team": HEADER}
        extra["extra_body"] = {"auth": {"api_key": BODY}}
    if made["conn_type"] == "portkey_batch":
        extra["bearer"] = BEARER
    if "virtual_key" in extra:
        extra["virtual_key"] = VIRTUAL
    if route.name == "portkey_vertex":
        account = {"type": "service_account", "project_id": "p", "private_key": PRIVATE}
        extra["vertex_service_account_json"] = json.dumps(account)
    if "aws_secret_access_key" in extra:
        extra["aws_access_key_id"], extra["aws_secret_access_key"] = ACCESS_KEY, key
    return made
