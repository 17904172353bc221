"""Killed anywhere, started again: one job a shard and round, every row once."""

import json

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_batch_provider.core.errors import LostCreateError
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.testing import FaultPlan
from tests.run.benching import line


class Killed(BaseException):
    """What SIGKILL does to the code: nothing after this runs, and nothing catches it."""


class DyingDirectory(RunDirectory):
    """Kills the process before or after its n-th write."""

    def __init__(self, path, *, writes, before):
        super().__init__(path)
        self.left = writes
        self.before = before

    def _die(self):
        self.left -= 1
        return self.left < 0

    def create_json(self, name, value):
        dying = self._die()
        if dying and self.before:
            raise Killed(f"before {name}")
        made = super().create_json(name, value)
        if dying:
            raise Killed(f"after {name}")
        return made

    def write_json(self, name, value):
        dying = self._die()
        if dying and self.before:
            raise Killed(f"before {name}")
        super().write_json(name, value)
        if dying:
            raise Killed(f"after {name}")


@pytest.mark.fake(faults=FaultPlan(expire_after_rows=5, jobs=2))
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("writes", range(16))
def test_killed_at_any_write(bench, writes, before):
    """At every write of the ledger, before and after it: jobs created = jobs needed, or a stated refusal.

    Two shards in the first round, both expire, so that there is a second round.
    """
    bench.write([line(n, model="ab"[n % 2]) for n in range(14)])
    run = bench.run(directory=DyingDirectory(str(bench.path), writes=writes, before=before))
    try:
        bench.finish(run)
        died = False
    except Killed as death:
        died = str(death)
    refused = False
    try:
        summary = bench.finish(first_try=False)
    except LostCreateError:
        # Killed between the intent and the create: nobody can know, so nothing is created again unasked.
        refused = True
        assert died.startswith("after ledger/")
        assert died.endswith(".intent.json")
        summary = bench.finish(first_try=False, on_lost_create="resubmit")
    assert summary.outcomes["succeeded"] == 14
    assert len(bench.results()) == 14
    assert len(bench.fake.batches) == 4, f"died {died}, refused {refused}"
    assert [job["rows"] for job in summary.jobs] == [7, 7, 2, 2]


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=0))
def test_two_processes_at_once_make_one_job(bench):
    """A zombie and its successor race for the same shard: the intent's exclusive file lets one create."""
    bench.write([line(n) for n in range(4)])
    first, second = bench.run(), bench.run()
    first.begin(first_try=True)
    second.begin(first_try=False)
    upload = bench.backend.upload

    def meanwhile(*args):
        bench.backend.upload = upload
        second.advance()
        return upload(*args)

    bench.backend.upload = meanwhile
    outcome = first.advance()
    assert outcome.rule.look_at is not None
    assert len(bench.fake.batches) == 1
    assert first.advance().jobs == (bench.fake.batches[0]["id"],)


def test_an_object_store_works_like_a_folder(bench):
    """On a store without rename, listing caches and exclusive links, a run ends the same."""
    from airflow.sdk.io import attach

    attach("memory", fs=MemoryFileSystem())
    bench.write([line(n) for n in range(6)])
    run = bench.run(directory=RunDirectory("memory://bucket/run"), model="other")
    assert bench.finish(run).outcomes["succeeded"] == 6
    again = bench.run(directory=RunDirectory("memory://bucket/run"), model="other")
    assert bench.finish(again, first_try=False).outcomes["succeeded"] == 6
    assert len(bench.fake.batches) == 1
    assert run.directory.create_json("run.json", {}) is False
    assert run.directory.names("results") == ["part-r0-00000.jsonl"]
    assert run.directory.names("nowhere") == []
    run.directory.archive("old")
    assert run.directory.read("run.json") is None
    assert run.directory.read("history/old/run.json")


@pytest.mark.fake(faults=FaultPlan(cut_before_accept=2))
def test_all_lost_creates_are_told_at_once(bench):
    """Whoever allows for a second create has checked every one: the error names all tokens, not the first."""
    bench.write([line(number, model="abc"[number % 3]) for number in range(6)])
    with pytest.raises(LostCreateError) as caught:
        bench.finish()
    paths = sorted((bench.path / "ledger").glob("*.intent.json"))
    intents = {path.name: json.loads(path.read_text())["token"] for path in paths}
    assert len(intents) == 3
    told = [name for name, token in intents.items() if token in str(caught.value)]
    assert told == sorted(name for name in intents if not name.startswith("r0-00002"))
    assert bench.finish(first_try=False, on_lost_create="resubmit").outcomes["succeeded"] == 6
    assert len(bench.fake.batches) == 3
