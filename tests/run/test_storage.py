"""A file is absent or whole, and only absence is absence."""

import gzip
import os
import stat
import threading
from typing import ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_batch_provider.core.errors import ConfigurationError, InputError, StorageError
from airflow_batch_provider.run.staging import file_source
from airflow_batch_provider.run.storage import RunDirectory, open_path


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
    """A folder in a file's place is an error, never "nothing there"; it names the path."""
    (tmp_path / "run.json").mkdir()
    with pytest.raises(StorageError, match=r"run\.json is a folder where a file was written"):
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


class _Store(MemoryFileSystem):
    """An object store that does what a test says to the next call of a kind."""

    cachable = False
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]

    def __init__(self):
        super().__init__()
        self.before = {}
        self.after = {}

    def _meet(self, when, name):
        if error := when.pop(name, None):
            raise error

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self._meet(self.before, "pipe_file")
        super().pipe_file(path, value, mode=mode, **kwargs)
        self._meet(self.after, "pipe_file")

    def cat_file(self, path, *args, **kwargs):
        self._meet(self.before, "cat_file")
        return super().cat_file(path, *args, **kwargs)

    def put_file(self, *args, **kwargs):
        self._meet(self.before, "put_file")
        return super().put_file(*args, **kwargs)


@pytest.fixture
def store(monkeypatch):
    from airflow.sdk.io import store as airflow_store

    made = _Store()
    made.store.clear()
    monkeypatch.setitem(airflow_store._STORE_CACHE, "memory", airflow_store.ObjectStore("memory", None, made))
    return made


LOSERS = {
    "412": FileExistsError("key"),
    "412 without a condition": OSError(22, "Invalid argument"),
    "409": OSError(5, "Input/output error"),
    "503": OSError(16, "Please reduce your request rate."),
    "of the client library": RuntimeError("PreconditionFailed"),
}


@pytest.mark.parametrize("said", LOSERS)
def test_an_own_file_is_known_whatever_the_store_says(store, said):
    """S2: the PUT was stored and its answer lost, so the client sends it again and is told that the file exists."""
    directory = RunDirectory("memory://bucket/run")
    store.after["pipe_file"] = LOSERS[said]
    assert directory.create_json("ledger/x.json", {"a": 1}) is True
    assert directory.read_json("ledger/x.json") == {"a": 1}


@pytest.mark.parametrize("said", LOSERS)
def test_a_strangers_file_is_known_whatever_the_store_says(store, said):
    """S2: every way in which a store says "exists" loses against a file that is another's, equal but for its nonce."""
    directory = RunDirectory("memory://bucket/run")
    assert directory.create_json("x.json", {"a": 1}) is True
    store.before["pipe_file"] = LOSERS[said]
    assert directory.create_json("x.json", {"a": 1}) is False


def test_a_create_that_failed_is_typed(store):
    """S2, S8: nothing was stored: an error of its own kind that names the path, and a retry creates it."""
    directory = RunDirectory("memory://bucket/run")
    store.before["pipe_file"] = OSError(16, "busy")
    with pytest.raises(StorageError, match=r"memory://bucket/run/x\.json could not be written: OSError: .*busy"):
        directory.create_json("x.json", {})
    assert directory.create_json("x.json", {}) is True


@pytest.mark.parametrize("error", [PermissionError("Access Denied"), OSError(16, "busy"), RuntimeError("HTTP 503")])
def test_every_error_of_a_store_is_typed(store, error):
    """S8: reading and writing alike, with the path."""
    directory = RunDirectory("memory://bucket/run")
    store.before["cat_file"] = error
    with pytest.raises(StorageError, match=r"memory://bucket/run/run\.json could not be read"):
        directory.read_json("run.json")
    store.before["put_file"] = error
    with pytest.raises(StorageError, match=r"run/y could not be written"):
        directory.write("y", b"")
    assert directory.read("y") is None


def test_a_store_that_fails_is_not_a_bad_input(store, monkeypatch):
    """S4: 503 for seconds while the input is read is no problem of the file, before and amid its lines."""
    store.pipe_file("/bucket/in.jsonl", b"{}\n" * 3)
    assert len(list(file_source("memory://bucket/in.jsonl")())) == 3
    opened = store._open

    def failing(*args, **kwargs):
        raise OSError(5, "503 Slow Down")

    def torn(*args, **kwargs):
        stream = opened(*args, **kwargs)
        stream.read = failing
        return stream

    for broken in (failing, torn):
        monkeypatch.setattr(store, "_open", broken)
        with pytest.raises(StorageError, match=r"memory://bucket/in\.jsonl could not be read: OSError: .*503"):
            list(file_source("memory://bucket/in.jsonl")())


def test_a_disk_that_fails_is_not_a_bad_input(tmp_path, monkeypatch):
    """S4 on a local disk."""

    def failing(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("airflow_batch_provider.run.staging.open_stream", failing)
    with pytest.raises(StorageError, match="could not be read"):
        list(file_source(str(tmp_path / "in.jsonl"))())
