"""A run that begins anew after its input changed, killed at every step of archiving, on a local disk and a store."""

import itertools
import json

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_batch_provider.core.errors import RunConflictError
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.testing import FaultPlan
from tests.run.benching import line

ODD = ["run", "a*b", "what?", "list[1]", "ü +:"]


class Killed(BaseException):
    """What SIGKILL does to the code: nothing after this runs, and nothing catches it."""


class Dying(RunDirectory):
    """Counts what it does to the store while it archives, and dies before or after one of these."""

    def __init__(self, path, die_at=None, *, before=False):
        super().__init__(path)
        self.steps = itertools.count()
        self.die_at = die_at
        self.before = before
        self.archiving = False

    def _step(self, do):
        number = next(self.steps) if self.archiving else None
        if number is not None and number == self.die_at and self.before:
            raise Killed
        made = do()
        if number is not None and number == self.die_at:
            raise Killed
        return made

    def create_json(self, name, value):
        self.archiving = self.archiving or name == "archiving.json"
        made = self._step(lambda: super(Dying, self).create_json(name, value))
        if name == "run.json":
            self.archiving = False
        return made

    def remove(self, name):
        self._step(lambda: super(Dying, self).remove(name))

    def _move(self, name, target):
        if self._local:
            self._step(lambda: super(Dying, self)._move(name, target))
            return
        fs = self._fs
        self._fs = self._Steps(self, fs)
        try:
            super()._move(name, target)
        finally:
            self._fs = fs

    class _Steps:
        def __init__(self, owner, fs):
            self.owner, self.fs = owner, fs

        def cp_file(self, *args):
            self.owner._step(lambda: self.fs.cp_file(*args))

        def rm_file(self, *args):
            self.owner._step(lambda: self.fs.rm_file(*args))


@pytest.fixture
def memory(monkeypatch):
    from airflow.sdk.io import store as airflow_store

    made = MemoryFileSystem()
    made.store.clear()
    monkeypatch.setitem(airflow_store._STORE_CACHE, "memory", airflow_store.ObjectStore("memory", None, made))
    return made


def where(kind, bench, name):
    return str(bench.path / name) if kind == "local" else f"memory://bucket/{name}"


def begin_both(bench, path, key="dag/task/run/-1"):
    """A run of three rows that has ended, then an input of four other rows."""
    bench.write([line(n) for n in range(3)])
    assert bench.finish(bench.run(key, directory=RunDirectory(path))).total == 3
    bench.write([line(n, temperature=0) for n in range(4)])


def check(bench, path, summary, jobs):
    """The summary is the new run's, the old one is whole in the history, and nothing was paid twice."""
    directory = RunDirectory(path)
    assert summary.total == 4
    assert summary.outcomes["succeeded"] == 4
    found = [json.loads(raw) for raw in directory.read("results/part-r0-00000.jsonl").splitlines()]
    assert len(found) == 4
    assert len(bench.fake.batches) == jobs
    assert directory.read("archiving.json") is None
    (label,) = {name.split("/")[1] for name in all_files(directory) if name.startswith("history/")}
    old = json.loads(directory.read(f"history/{label}/summary.json"))
    assert old["total"] == 3
    kept = {name.split("/", 2)[2] for name in all_files(directory) if name.startswith("history/")}
    assert {
        "run.json",
        "summary.json",
        "ledger/tries.json",
        "input/r0-00000.jsonl",
        "results/part-r0-00000.jsonl",
    } <= kept
    assert not kept & {"archiving.json"}


def all_files(directory):
    import os

    if directory._local:
        paths = [os.path.join(at, name) for at, _, names in os.walk(directory._local) for name in names]
        return [os.path.relpath(path, directory._local) for path in paths]
    return [str(path)[len(directory._base) :].lstrip("/") for path in directory._fs.find(directory._base)]


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_killed_at_every_step_of_archiving(bench, memory, kind):
    """X8, S3: whatever step is the last, the next try ends right: no old summary, no lost file, no second job."""
    steps = 0
    for number in itertools.count():
        for before in (True, False):
            path = where(kind, bench, f"{number}-{before}")
            bench.fake.faults.reset()
            made = len(bench.fake.batches)
            key = f"dag/task/{number}-{before}/-1"
            begin_both(bench, path, key)
            dying = Dying(path, number, before=before)
            try:
                bench.finish(bench.run(key, directory=dying, on_changed_input="restart"), first_try=False)
                died = False
            except Killed:
                died = True
                steps += 1
            if died and number % 2:
                # A resumed task, which does not begin, sees it first: it must not take the old run for its own.
                try:
                    assert bench.go_on(bench.run(key, directory=RunDirectory(path))).total == 3
                    assert RunDirectory(path).read("run.json") is not None
                except RunConflictError:
                    pass
            again = bench.run(key, directory=RunDirectory(path), on_changed_input="restart")
            check(bench, path, bench.finish(again, first_try=False), made + 2)
        if not died:
            break
    assert steps >= (20 if kind == "local" else 40)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", ["local", "memory"])
def test_archiving_takes_paths_as_they_are(bench, memory, kind, name):
    """S3: a path with what a shell takes for a pattern is one path, and its neighbours are left alone."""
    near = RunDirectory(where(kind, bench, "list1/" + name.replace("*", "x").replace("?", "x")))
    near.write("run.json", b"{}")
    path = where(kind, bench, name)
    begin_both(bench, path)
    summary = bench.finish(bench.run(directory=RunDirectory(path), on_changed_input="restart"), first_try=False)
    check(bench, path, summary, 2)
    assert near.read("run.json") == b"{}"


def test_an_archiver_that_wakes_up_late_touches_nothing_new(bench):
    """X8: a process that slept amid archiving, while another one did the rest and began anew, moves no file of that."""
    path = str(bench.path)
    begin_both(bench, path)
    directory = RunDirectory(path)
    moved = []

    def move(name, target):
        RunDirectory._move(directory, name, target)
        moved.append(name)
        if len(moved) == 2:
            bench.finish(bench.run(on_changed_input="restart"), first_try=False)

    directory._move = move
    directory.archive("first")
    assert len(moved) == 2
    check(bench, path, bench.finish(first_try=False), 2)


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=1, jobs=1))
def test_what_lives_is_salvaged_before_the_restart(bench):
    """X8: as before, jobs that live are stopped when the input changes, and what had ended is kept."""
    bench.write([line(n) for n in range(3)])
    run = bench.run()
    run.begin(first_try=True)
    run.advance()
    bench.write([line(n, temperature=0) for n in range(4)])
    assert bench.finish(first_try=False, on_changed_input="restart").total == 4
    assert bench.fake.batches[0]["status"] in ("cancelling", "cancelled")
    assert len(bench.fake.batches) == 2
