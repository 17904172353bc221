"""X17: a provider that quotes the caller's headers in every text it sends; nothing of a secret is kept or raised.

Every backend, every kind of answer: jobs, their errors, lists, refusals, output lines.
"""

import asyncio
import json
import logging
import traceback

import pytest

from airflow_batch_provider.core.errors import BatchInferenceError
from airflow_batch_provider.testing import fake_route
from airflow_batch_provider.testing.routes import DISTINCT, FakeRoute
from tests.backends.scripted import Scripted, answer
from tests.marked import (
    ACCESS_KEY,
    BODY,
    HEADER,
    KEY,
    MARKS,
    connection_of,
    fakes_with_marks,
    scan,
    scan_folder,
)
from tests.run.benching import Bench, line

KINDS = {
    "all is well": {},
    "rows fail": {"fail_rows": {"*": 400}},
    "some rows fail": {"fail_rows": {"row-3": 429, "3": 429, "row-5": 500}},
    "the batch fails": {"job_errors": [{"code": "bad", "message": "No.", "line": 1, "param": "model"}]},
    "creates are refused": {"create_status": [400] * 9},
    "uploads are refused": {"upload_status": [403] * 9},
    "looks are refused": {"poll_status": [401] * 30},
    "lists are refused": {"list_status": [403] * 30, "cut_after_accept": 1},
    "content is refused": {"download_status": [404] * 30},
    "lines are spoilt": {"malformed": 3, "foreign": 2, "duplicate": 2},
}


class EchoBench(Bench):
    """A run through a route's own connection, with marks wherever a secret may be."""

    def __init__(self, folder, route, backend):
        self._made = backend
        super().__init__(folder, route.fake)
        self.rows = max(12, route.min_rows)
        self.write([line(number, route.model, max_tokens=20) for number in range(self.rows)])

    def make_backend(self, fake):
        return self._made


@pytest.fixture(scope="module", params=DISTINCT)
def route(request):
    with fakes_with_marks(), fake_route(request.param) as made:
        yield made


def backend_of(route, **changes):
    connection = {**connection_of(route), **changes}
    return FakeRoute(route.name, route.fake, connection, route.model, route.min_rows).backend()


def told(error):
    """All that a person or a log may see of an exception."""
    lines = traceback.format_exception(error)
    while error is not None:
        lines += [str(error), repr(error), str(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(lines).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_echoed_is_kept(route, kind, tmp_path, caplog):
    """X17: run directory, log, exceptions, and what a person is shown of a connection: 0 hits."""
    caplog.set_level(logging.INFO, logger="airflow_batch_provider")
    backend = backend_of(route)
    bench = EchoBench(tmp_path, route, backend)
    faults = route.fake.faults
    for name, value in {"echo_headers": True, **KINDS[kind]}.items():
        setattr(faults, name, list(value) if isinstance(value, list) else value)
    seen = []

    def tried(call):
        try:
            return call()
        except BatchInferenceError as error:
            seen.append(told(error))

    try:
        for first_try in (True, False):
            run = bench.run()
            tried(lambda run=run, first_try=first_try: bench.finish(run, first_try=first_try))
        for job_id in run.live_jobs():
            tried(lambda job_id=job_id: asyncio.run(backend.apoll([job_id])))
        tried(run.cancel)
        said = tried(backend.probe) or ""
    finally:
        heard = faults.heard
        faults.reset()
    assert scan_folder(tmp_path) == {}
    kept = b"\n".join([*seen, said.encode(), caplog.text.encode()])
    assert scan(kept, MARKS) == set(), kept.decode()
    assert any(mark in heard for mark in (KEY, ACCESS_KEY)), "nothing was echoed"
    if kind == "all is well":
        assert all(one["error"] is None for one in bench.results().values())
        assert b"***" in b"".join(path.read_bytes() for path in (tmp_path / "run" / "results").iterdir())
    sent = [str(call.headers) for call in route.fake.requests]
    assert any(mark in headers for headers in sent for mark in (KEY, ACCESS_KEY))
    backend.close()


@pytest.mark.parametrize(
    "body",
    [f'["{KEY}"]', f'"{KEY}"', f"<html>{KEY}</html>", "1", f'{{"id": "{KEY}", "status": "{KEY}"}}', f'{{"{KEY}": 1}}'],
)
def test_answers_that_are_no_objects(route, body):
    """X17: whatever comes with status 200, and whoever reads it."""
    if route.name in ("bedrock", "vertex_ai"):
        return  # their official clients read the answer
    with Scripted(answer("200 OK", body.encode(), "Content-Type: application/json")) as server:
        backend = backend_of(route, host=server.base_url)
        seen = b""

        def tried(call):
            try:
                return repr(call()).encode()
            except BatchInferenceError as error:
                return told(error)

        for call in (
            lambda: backend.retrieve("b"),
            lambda: asyncio.run(backend.apoll(["b"])),
            lambda: [*backend.list_jobs()],
            lambda: backend.create({"input_file_id": "f"}),
            lambda: backend.find([]),
            backend.probe,
            lambda: [*backend.download("f")],
        ):
            seen += tried(call)
        backend.close()
    assert scan(seen, MARKS) == set(), seen.decode()


def test_extra_body_is_sent_and_not_recorded(tmp_path):
    """X17: a secret in extra_body reaches the gateway; the ledger and run.json have a word in its place."""
    with fake_route("portkey") as route:
        route.connection["extra"]["extra_body"] = {"auth": {"api_key": BODY}, "team": "a"}
        bench = EchoBench(tmp_path, route, route.backend())
        bench.finish(backend_options={"extra_body": {"webhook_secret": HEADER}})
        sent = route.fake.creates[0].body
        bench.backend.close()
    assert (sent["auth"], sent["team"], sent["webhook_secret"]) == ({"api_key": BODY}, "a", HEADER)
    assert scan_folder(tmp_path) == {}
    intent = json.loads(next((tmp_path / "run" / "ledger").glob("*.intent.json")).read_text())
    assert intent["request"]["auth"] == {"api_key": "(not recorded: a secret)"}
    assert intent["request"]["team"] == "a"
