"""A run's own files, gone or changed by somebody else: one typed error with the path and the remedy, nothing sent."""

import shutil

import pytest

from airflow_batch_provider.core.errors import RunConflictError
from airflow_batch_provider.core.polling import Waiting
from airflow_batch_provider.testing import FakeProvider
from tests.run.benching import Bench, line


def as_folder(path):
    path.unlink()
    path.mkdir()


def without_folder(path):
    shutil.rmtree(path.parent)


def file_for_folder(path):
    shutil.rmtree(path.parent)
    path.parent.write_text("no folder")


DAMAGES = {
    "missing": lambda path: path.unlink(),
    "folder missing": without_folder,
    "file in the folder's place": file_for_folder,
    "empty": lambda path: path.write_bytes(b""),
    "cut in a line": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "cut at a line": lambda path: path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n"),
    "longer": lambda path: path.write_bytes(path.read_bytes() * 2),
    "no JSON": lambda path: path.write_bytes(b"x\n" * 4),
    "other JSON": lambda path: path.write_bytes(b"[]\n" * 4),
    "a folder": as_folder,
}


def bench_of(tmp_path, fake, rewritten=False):
    bench = Bench(tmp_path, fake)
    bench.write([line(number, "old" if rewritten else "m") for number in range(4)])
    return bench


def waiting(bench, **options):
    """A run whose job exists and has not been collected."""
    bench.fake.faults.unknown_status_polls = 2
    run = bench.run(**options)
    run.begin(first_try=True)
    while not run.live_jobs():
        assert isinstance(run.advance(), Waiting)
    return run


def is_typed(call, path):
    with pytest.raises(RunConflictError) as caught:
        call()
    assert str(path) in str(caught.value)
    assert "Restore it" in str(caught.value)
    assert "output_path" in str(caught.value)


@pytest.mark.parametrize("damage", DAMAGES)
def test_requests_that_are_not_there_any_more(tmp_path, damage):
    """The job lives on, and is collected when the file is back."""
    with FakeProvider() as fake:
        bench = bench_of(tmp_path, fake)
        run = waiting(bench)
        path = bench.path / "input" / "r0-00000.jsonl"
        whole = path.read_bytes()
        DAMAGES[damage](path)

        is_typed(lambda: bench.go_on(run), path)
        if path.parent.is_file():
            path.parent.unlink()
        elif path.is_dir():
            path.rmdir()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(whole)
        assert bench.finish(first_try=False).outcomes["succeeded"] == 4
        assert len(fake.batches) == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_results_that_are_not_there_any_more(tmp_path, damage):
    """``collected/`` is read by a try that asks again what failed; it sends nothing."""
    with FakeProvider() as fake:
        fake.faults.fail_rows = {"row-1": 500}
        bench = bench_of(tmp_path, fake)
        bench.finish(rounds=1)
        path = bench.path / "collected" / "r0-00000.jsonl"
        DAMAGES[damage](path)
        is_typed(lambda: bench.finish(first_try=False, rounds=1), path)
        assert len(fake.batches) == 1


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("rewritten", [False, True])
def test_wire_lines_that_are_not_what_was_planned(tmp_path, damage, rewritten):
    """X20: what was checked is what is sent: neither ``input/`` nor ``shards/`` is uploaded once it was changed."""
    with FakeProvider() as fake:
        bench = bench_of(tmp_path, fake, rewritten)
        run = bench.run(model="m")
        run.begin(first_try=True)
        path = bench.path / ("shards" if rewritten else "input") / "r0-00000.jsonl"
        DAMAGES[damage](path)
        is_typed(run.advance, path)
        assert (fake.batches, fake.calls("upload")) == ([], [])
