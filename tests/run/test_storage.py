"""A file is absent or whole, and only absence is absence."""

import gzip
import os
import stat
import threading

import pytest

from airflow_batch_provider.core.errors import ConfigurationError, InputError
from airflow_batch_provider.staging import file_source
from airflow_batch_provider.storage import RunDirectory, open_path


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    """An exception inside a write neither replaces nor leaves temporary files."""
    directory = RunDirectory(str(tmp_path))
    directory.write("a/x", b"old")
    with pytest.raises(ZeroDivisionError), directory.writer("a/x") as out:  # noqa: PT012 - the exit is what is tested
        out.write(b"new")
        raise ZeroDivisionError
    assert directory.read("a/x") == b"old"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x"]


def test_create_is_exclusive(tmp_path):
    """The second create of a name changes nothing and says so."""
    directory = RunDirectory(str(tmp_path))
    assert directory.create_json("x.json", 1) is True
    assert directory.create_json("x.json", 2) is False
    assert directory.read("x.json") == b"1\n"


def test_an_error_is_not_absence(tmp_path):
    """A folder in a file's place is an error, never "nothing there"."""
    (tmp_path / "run.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        RunDirectory(str(tmp_path)).read("run.json")
    assert RunDirectory(str(tmp_path)).read("other.json") is None


@pytest.mark.parametrize(("uri", "extra"), [("s3://b/k", "s3"), ("gs://b/k", "gcs"), ("abfs://b/k", "abfs")])
def test_a_missing_extra_is_named(uri, extra):
    """An object store whose provider is not installed: the error says what to install."""
    with pytest.raises(ConfigurationError, match=rf"pip install 'airflow-batch-provider\[{extra}\]'"):
        open_path(uri)


@pytest.mark.parametrize(
    ("make", "said"), [("nothing", "no such file"), ("folder", "is a folder"), ("torn", "cannot be read to its end")]
)
def test_unreadable_input_is_an_input_error(tmp_path, make, said):
    """A path that cannot be read is told with its reason."""
    path = tmp_path / "in.jsonl"
    if make == "folder":
        path.mkdir()
    if make == "torn":
        path.write_bytes(gzip.compress(b"{}\n" * 1000)[:-9])
    with pytest.raises(InputError, match=said):
        list(file_source(str(path))())


def test_everything_in_a_run_directory_is_the_owners_alone(tmp_path):
    """X19: prompts and answers had 0644 beside a ledger of 0600; one rule now holds for every file and folder."""
    directory = RunDirectory(str(tmp_path / "above" / "run"))
    before = os.umask(0o022)
    try:
        directory.create_json("ledger/deep/r0.json", {})
        directory.write("input/r0.jsonl", b"prompt")
        with directory.writer("results/part-0.jsonl") as out:
            out.write(b"answer")
        directory.archive("one")
        directory.write_json("summary.json", {})
    finally:
        assert os.umask(before) == 0o022
    run = tmp_path / "above" / "run"
    modes = {str(path.relative_to(run)): stat.S_IMODE(path.stat().st_mode) for path in [run, *run.rglob("*")]}
    assert {modes[name] for name in modes if (run / name).is_file()} == {0o600}
    assert {modes[name] for name in modes if (run / name).is_dir()} == {0o700}
    assert len(modes) == 11, sorted(modes)
    assert stat.S_IMODE((tmp_path / "above").stat().st_mode) == 0o755


def test_a_folder_that_exists_keeps_its_mode(tmp_path):
    """X19: what an administrator has set up for a group is left as it is."""
    (tmp_path / "run").mkdir(mode=0o770)
    (tmp_path / "run").chmod(0o770)
    RunDirectory(str(tmp_path / "run")).write("summary.json", b"{}")
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o770


def test_the_umask_of_the_process_is_never_touched(tmp_path, monkeypatch):
    """X19: setting it, if only to read it, changes the files that other threads create meanwhile."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was changed"))
    directory = RunDirectory(str(tmp_path))
    threads = [threading.Thread(target=directory.write, args=(f"a/{n}", b"x")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert directory.names("a") == ["0", "1", "2", "3"]
