"""How many requests of an object store a run costs, by kind and phase, and what they do not grow with.

100 shards of two rows, three rounds, because every row fails in the first two; a new process for each step. Requests as
s3fs sends them, before the trips were counted and now::

    process     before    now
    begin          110    112
    advance 1      811    311    create 100 jobs
    look           205      5    airflow-batch show
    advance 2    2,425    919    collect 100, plan 100, create 100
    look           506      5
    advance 3    4,526  1,019    the same
    look           807      5
    advance 4    3,817    715    collect 100, write the results
    look           907      5
    cleared      1,820     12    begin and advance of the run that has ended

The bounds below are of a smaller run, by its shards, so that a trip more for each of them shows.
"""

import json
import time

import pytest

from airflow_batch_provider.run.run import Done
from airflow_batch_provider.run.show import describe
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.testing import FakeProvider, FaultPlan
from tests.run.benching import line
from tests.run.counting import CountingStore, StoreBench

FEW, MORE = 4, 12


@pytest.fixture
def benches(tmp_path, monkeypatch):
    """Makes a bench at a store of its own, whose first so many rounds fail."""
    from airflow.sdk.io import store as airflow_store

    made = []

    def make(shards, failing=0, **faults):
        store = CountingStore()
        store.store.clear()
        monkeypatch.setitem(airflow_store._STORE_CACHE, "memory", airflow_store.ObjectStore("memory", None, store))
        if failing:
            faults = {"fail_rows": {"*": 500}, "jobs": failing * shards}
        fake = FakeProvider(flavor="openai", faults=FaultPlan(**faults))
        fake.__enter__()
        folder = tmp_path / f"{len(made)}"
        folder.mkdir()
        bench = StoreBench(folder, fake, store)
        made.append(bench)
        bench.write([line(number) for number in range(2 * shards)])
        return bench

    yield make
    for bench in made:
        bench.backend.close()
        bench.fake.__exit__(None, None, None)


def look(run):
    """What ``airflow-batch show`` does."""
    return describe(run.directory, time.time())


def to_the_end(bench):
    """All steps of a run, each by a new process."""
    bench.phase("begin", lambda run: run.begin(first_try=True))
    for number in range(5):
        outcome = bench.phase(f"advance {number}", lambda run: run.advance())
        bench.phase(f"look {number}", look)
        if isinstance(outcome, Done):
            return outcome.summary
        bench.until_ended()
    raise AssertionError("it does not end")


def test_a_run_of_three_rounds(benches):
    """A trip more for a shard and round shows: the input, the fence, the job, its answers and its end go up once, and
    the input comes down for the upload, for the answers, and where its rows are sent again."""
    for shards in (FEW, MORE):
        bench = benches(shards, failing=2)
        assert to_the_end(bench).outcomes["succeeded"] == 2 * shards
        assert len(bench.fake.batches) == 3 * shards
        steps = [name for name in bench.phases if not name.startswith("look")]
        assert sum(bench.total(name) for name in steps) <= 31 * shards + 75, bench.table()
        assert all(bench.total(name) <= 5 for name in bench.phases if name.startswith("look")), bench.table()
        assert not sum(bench.phases[name].get("HEAD", 0) for name in steps), bench.table()


def test_a_run_in_which_every_row_succeeds(benches):
    """One round, as most are: 7 trips for a shard over its whole life."""
    bench = benches(MORE)
    assert to_the_end(bench).outcomes["succeeded"] == 2 * MORE
    steps = [name for name in bench.phases if not name.startswith("look")]
    assert sum(bench.total(name) for name in steps) <= 9 * MORE + 45, bench.table()


@pytest.mark.parametrize("shards", [FEW, MORE])
def test_waiting_costs_the_same_for_any_number_of_shards(benches, shards):
    """Half of the shards have ended, the others are waited for: a look by a new process."""
    held = shards // 2
    bench = benches(shards, hold_after_rows=0, jobs=held)
    bench.phase("begin", lambda run: run.begin(first_try=True))
    bench.phase("create", lambda run: run.advance())
    bench.until_ended(held)
    bench.phase("collect", lambda run: run.advance())
    assert len(bench.phase("wait", lambda run: run.advance()).jobs) == held
    bench.phase("look", look)
    assert bench.total("wait") <= 10, bench.table()
    assert bench.total("look") <= 5, bench.table()


@pytest.mark.parametrize("shards", [FEW, MORE])
def test_a_cleared_run_that_has_ended(benches, shards):
    """It reads its results for free, and next to nothing from the store."""
    bench = benches(shards)
    to_the_end(bench)

    def again(run):
        run.begin(first_try=False)
        return run.advance()

    assert isinstance(bench.phase("again", again), Done)
    assert bench.total("again") <= 12, bench.table()


def test_the_copy_of_facts_proves_nothing(benches):
    """A fact that was replaced, or is not there any more, is not taken from the copy; nor is anything from a copy that
    is cut off or belongs to another directory."""
    bench = benches(FEW, hold_after_rows=0)
    bench.phase("begin", lambda run: run.begin(first_try=True))
    bench.phase("create", lambda run: run.advance())
    directory = RunDirectory(bench.uri)
    copy = json.loads(directory.read("ledger/known.json"))
    name = "r0-00000.1.job.json"
    assert copy[name][1]["job_id"].startswith("batch_")
    held = directory.read_json(f"ledger/{name}")
    assert jobs_of(bench)[0] == held["job_id"]
    directory.remove(f"ledger/{name}")
    assert jobs_of(bench)[0] is None
    directory.create_json(f"ledger/{name}", {**held, "job_id": "batch_of_another_hand"})
    assert jobs_of(bench)[0] == "batch_of_another_hand"
    known = jobs_of(bench)
    for data in (b"", b"{", b"[]", b"{}", b'{"r0-00000.1.job.json": 1}', directory.read("ledger/known.json")[:-9]):
        directory.write("ledger/known.json", data)
        assert jobs_of(bench) == known


def jobs_of(bench):
    """The jobs that a new process sees."""
    shown = bench.phase("look", look)
    return [shard["job_id"] for shard in shown["rounds"][0]["shards"]]


def test_a_process_that_dies_without_a_copy_costs_a_trip_for_a_fact(benches):
    """Killed before it could leave one: what is there is read at once, and the next one finds a copy."""
    bench = benches(MORE, hold_after_rows=0)
    bench.phase("begin", lambda run: run.begin(first_try=True))
    bench.phase("create", lambda run: run.advance())
    RunDirectory(bench.uri).remove("ledger/known.json")
    bench.phase("wait", lambda run: run.advance())
    assert 2 * MORE <= bench.total("wait") <= 2 * MORE + 12, bench.table()
    bench.phase("wait", lambda run: run.advance())
    assert bench.total("wait") <= 10, bench.table()


def test_files_that_fail_to_go_up_together_are_told(benches, monkeypatch):
    """Every error of the files that go up at the same time reaches whoever writes them, before anything is planned."""
    bench = benches(FEW)
    put = CountingStore.put_file

    def failing(self, lpath, rpath, **kwargs):
        if rpath.endswith("input/r0-00001.jsonl"):
            raise OSError(16, "busy")
        put(self, lpath, rpath, **kwargs)

    monkeypatch.setattr(CountingStore, "put_file", failing)
    with pytest.raises(Exception, match=r"input/r0-00001\.jsonl could not be written: OSError: .*busy"):
        bench.phase("begin", lambda run: run.begin(first_try=True))
    assert RunDirectory(bench.uri).read("ledger/r0.plan.json") is None
    monkeypatch.setattr(CountingStore, "put_file", put)
    assert to_the_end(bench).outcomes["succeeded"] == 2 * FEW


def test_a_process_sees_what_another_has_written(benches):
    """A client that answers from an old listing is never asked without being made to forget it."""
    bench = benches(1)
    forgotten = []
    bench.store.invalidate_cache = lambda path=None: forgotten.append(path)
    directory = RunDirectory(bench.uri)
    directory.write("x", b"1")
    for ask in (
        lambda: directory.read("x"),
        lambda: directory.open("x").close(),
        lambda: directory.names("ledger"),
        lambda: directory.archive("old"),
    ):
        forgotten.clear()
        ask()
        assert forgotten


class _Killed(BaseException):
    """What a kill looks like to the code."""


@pytest.mark.parametrize("stored", [False, True], ids=["before", "after"])
def test_killed_at_every_write(benches, monkeypatch, stored):
    """Whatever write is the last, of a fact, a file or the copy of facts, the next process goes on, and nothing is paid
    twice."""
    put, left = CountingStore.pipe_file, [0]

    def dying(self, *args, **kwargs):
        left[0] -= 1
        if left[0] == 0 and not stored:
            raise _Killed
        put(self, *args, **kwargs)
        if left[0] == 0:
            raise _Killed

    monkeypatch.setattr(CountingStore, "pipe_file", dying)
    for number in range(1, 100):
        bench = benches(1, failing=1)
        left[0] = number
        try:
            to_the_end(bench)
            break
        except _Killed:
            bench.until_ended()
        run = bench.run(directory=RunDirectory(bench.uri), rounds=3, on_lost_create="resubmit")
        run.begin(first_try=False)
        while not isinstance(outcome := run.advance(), Done):
            bench.clock.ahead += 0 if outcome.jobs else max(0, (outcome.rule.look_at or 0) - bench.clock())
            bench.until_ended()
        assert outcome.summary.outcomes["succeeded"] == 2, number
        assert len(bench.fake.batches) == 2, number
    assert number > 15
