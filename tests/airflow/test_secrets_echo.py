"""A provider that quotes every header and body it was sent in every free text of every answer, in a real Airflow.

A deferred task and the load of its answers into a table, and a submit whose fetch fails with the provider's words, for
every connection type and every cloud behind a gateway. Nothing of a secret is in the run directory, the log, what is
printed, Airflow's own tables (XCom, rendered fields, the link, triggers, what a task resumes with), nor in the table
of results.
"""

import contextlib
import sqlite3

import pytest

from airflow_batch_provider.get_provider_info import get_provider_info
from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.testing.routes import ROUTES
from tests.airflow.secret_world import Asked, World
from tests.marked import ACCESS_KEY, KEY, fakes_with_marks, scan

OVER_CLOUDS = ("portkey_bedrock", "portkey_vertex", "truefoundry_bedrock", "truefoundry_vertex")
"""Their fakes know rows by ids that the run makes; tests/run/test_echo.py has the errors of such rows."""
BAD = [{"code": "bad", "message": "No.", "line": 1, "param": "model"}]


def asked(routes):
    """A run that answers some rows and refuses others, and one whose batch fails."""
    found = {}
    for name in routes:
        rows = {"row-1": 400, "1": 400}
        found[f"{name}__loaded"] = Asked(name, "loaded", FaultPlan(echo_headers=True, fail_rows=rows))
        found[f"{name}__failing"] = Asked(name, "failing", FaultPlan(echo_headers=True, job_errors=BAD))
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory, migrate):
    with fakes_with_marks():
        return World(tmp_path_factory.mktemp("echo"), migrate, asked(ROUTES))


def test_every_connection_type_is_among_the_routes(world):
    """Whoever adds one adds it here."""
    types = {one["connection-type"] for one in get_provider_info()["connection-types"]}
    assert {route.connection["conn_type"] for route in world.routes.values()} == types


@pytest.mark.parametrize("name", ROUTES)
def test_what_the_provider_quoted_came_in(name, world):
    """Stars are where the secrets were, in answers and in errors of rows."""
    loaded, failing = f"{name}__loaded", f"{name}__failing"
    assert world.states[loaded] == {"answer": "success", "load": "success"}, world.printed[-3000:]
    assert world.states[failing] == {"submit": "success", "fetch": "failed"}
    for conn_id in (loaded, failing):
        heard = world.routes[conn_id].fake.faults.heard
        assert scan(heard.encode()), conn_id
    rows = rows_of(world, name)
    assert all("***" in str(row) for row in rows if row[0] == "succeeded")
    failed = [row for row in rows if row[0] == "failed"]
    assert len(failed) == (0 if name in OVER_CLOUDS else 1)
    assert name == "vertex_ai" or all("***" in str(row) for row in failed)


def test_no_secret_is_anywhere(world):
    """0 hits of every mark in every spelling: files, names, logs, what was printed, each cell of each table."""
    assert world.found() == {}
    assert scan(world.printed.encode()) == set()


def test_what_was_scanned_was_there(world):
    """Each place that Airflow keeps something in holds what it should of every connection."""
    kept = {table: world.cells(table) for table in ("xcom", "rendered_task_instance_fields", "dag_run", "trigger")}
    for conn_id in world.routes:
        for table in ("xcom", "rendered_task_instance_fields", "dag_run"):
            assert conn_id in kept[table], table
    assert "_link_BatchInferenceLink" in kept["xcom"]
    for kind in ("TRIGGER", "EVENT"):
        told = "\n".join(world.told(kind))
        assert all(f"{name}__loaded" in told for name in ROUTES), kind
    assert all(f"{name}__loaded" in kept["trigger"] for name in ROUTES)


def rows_of(world, name):
    with contextlib.closing(sqlite3.connect(world.folder / "results.db")) as database:
        query = f"SELECT outcome, content, error_code, error_message, response FROM {name}__loaded"
        return database.execute(query).fetchall()


def test_without_the_guard_the_same_scan_finds_them(tmp_path, migrate):
    """Control: where nothing takes secrets out, files, log and table hold what the provider quoted."""
    names = ("truefoundry", "bedrock")
    with fakes_with_marks():
        open_world = World(tmp_path, migrate, asked(names), open_doors=True)
    found = open_world.found()
    assert KEY in found["results.db: truefoundry__loaded"]
    assert ACCESS_KEY in found["results.db: bedrock__loaded"]
    assert {place.split("/")[0] for place in found} > {"runs", "printed.txt", "results.db"}
