"""X3: a run directory that was moved goes on; one that was copied is not worked on while the first is there."""

import shutil

import pytest
from airflow.sdk.io import store as airflow_store
from fsspec.implementations.memory import MemoryFileSystem

from airflow_batch_provider.core.errors import RunConflictError
from airflow_batch_provider.testing import FaultPlan, fake_route
from tests.run.test_identity import RouteBench, again, started


@pytest.fixture
def held(tmp_path):
    """OpenAI, on which jobs stay in progress until a test lets them go on."""
    with fake_route("openai", FaultPlan(hold_after_rows=0)) as route:
        bench = RouteBench(tmp_path / "b", route)
        bench.asking(range(4))
        yield bench


def at(bench, path):
    """The same task, whose output_path is another one now."""
    bench.path = path
    return bench


def ends(bench, **options):
    """Let the jobs go, and finish."""
    bench.fake.faults.reset()
    for job in bench.fake.batches:
        bench.backend.cancel(job["id"])
    return bench.finish(first_try=False, rounds=1, **options)


def test_a_copy_of_a_live_directory_is_not_worked_on(held):
    """Before, both took all jobs for their own: a killed copy cancelled those of the first."""
    run, jobs = started(held)
    first, copy = held.path, held.path.with_name("copy")
    shutil.copytree(first, copy)
    at(held, copy)
    for _ in range(2):
        with pytest.raises(RunConflictError, match=r"is a copy of .*/run, which is still there"):
            held.run().begin(first_try=False)
        with pytest.raises(RunConflictError, match="is a copy"):
            held.run().advance()
    at(held, first)
    assert run.advance().jobs == jobs
    assert len(held.fake.batches) == 1
    assert sorted(path.name for path in first.rglob("*")) == sorted(path.name for path in copy.rglob("*"))


@pytest.mark.parametrize("times", [1, 2])
def test_a_directory_that_was_moved_goes_on(held, times):
    """Its jobs are its own, wherever it lies."""
    _, jobs = started(held)
    for number in range(times):
        there = held.path.with_name(f"moved-{number}")
        shutil.move(held.path, there)
        run, found = again(at(held, there))
        assert found == jobs
    assert not run.advance().borrowed
    assert sorted(run.cancel()) == sorted(jobs)
    assert len(held.fake.batches) == 1


def test_a_copy_of_a_moved_directory(held):
    """What counts is where the run was worked on last."""
    started(held)
    there = held.path.with_name("moved")
    shutil.move(held.path, there)
    again(at(held, there))
    copy = held.path.with_name("copy")
    shutil.copytree(there, copy)
    with pytest.raises(RunConflictError, match=r"is a copy of .*/moved, which is still there"):
        again(at(held, copy))
    shutil.rmtree(there)
    assert len(again(held)[1]) == 1
    assert len(held.fake.batches) == 1


def test_one_directory_by_two_names_is_one(held):
    """A link, another mount of the same disk, an access point of the same bucket."""
    _, jobs = started(held)
    first, link = held.path, held.path.with_name("link")
    link.symlink_to(first)
    for path in (link, first, link):
        run, found = again(at(held, path))
        assert found == jobs
    assert sorted(run.cancel()) == sorted(jobs)
    assert not list(first.rglob("*probe*"))


def test_where_it_was_cannot_be_read(held, caplog):
    """A bucket that was renamed may answer anything but that it is gone: the run goes on, and says so."""
    _, jobs = started(held)
    path = held.path / "run.json"
    path.write_text(path.read_text().replace(str(held.path), "nosuch://bucket/run"))
    assert again(held)[1] == jobs
    assert "cannot be read, so this run is taken to be moved from there" in caplog.text


def test_a_copy_of_a_run_that_has_ended_is_read(held):
    """Nothing is sent and nothing cancelled for it, until rows are to be sent again."""
    started(held)
    assert ends(held).outcomes["succeeded"] == 0
    copy = held.path.with_name("copy")
    shutil.copytree(held.path, copy)
    at(held, copy)
    assert held.run().advance().summary.outcomes["cancelled"] == 4
    with pytest.raises(RunConflictError, match="is a copy"):
        held.run().begin(first_try=False)
    assert (copy / "summary.json").exists()
    assert len(held.fake.batches) == 1


def test_a_copy_on_an_object_store(held, monkeypatch):
    """The same on a store that knows no links."""
    store = MemoryFileSystem()
    monkeypatch.setattr(store, "store", {})
    monkeypatch.setattr(store, "pseudo_dirs", [""])
    monkeypatch.setitem(airflow_store._STORE_CACHE, "memory", airflow_store.ObjectStore("memory", None, store))
    held.path = "memory://copies/run"
    started(held)
    store.cp("/copies/run", "/copies/copy", recursive=True)
    with pytest.raises(RunConflictError, match="is a copy of memory://"):
        again(at(held, "memory://copies/copy"))
    store.rm("/copies/run", recursive=True)
    assert len(again(held)[1]) == 1
