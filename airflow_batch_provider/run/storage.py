"""The run directory on any store that Airflow can reach.

Rules that must not be relaxed: a file is either absent or whole (local: temporary file, fsync, rename; object stores:
one PUT of a finished file). Only ``FileNotFoundError`` means absent, because ``exists()`` of fsspec answers False on
any error, and a network blip read as "no job was created" would pay twice. Every other error of a store becomes a
``StorageError`` that names the path, so that a retry goes on.

Every trip to an object store costs time, so what does not depend on each other goes at the same time. What its client
remembers of listings is never used: another process may have written since.

On a local disk every file is the owner's alone (0600), and so is every folder made here (0700): prompts and answers are
as private as the ledger. The process's umask can only be read by changing it, which other threads would see.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import orjson

from airflow_batch_provider.core.errors import ConfigurationError, RunConflictError, StorageError
from airflow_batch_provider.run.at_once import AtOnce
from airflow_batch_provider.run.local_files import TEMPORARY, sync_folder, whole_file
from airflow_batch_provider.run.store_clients import stamp, typed_errors, watched

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "abfs": "abfs",
    "abfss": "abfs",
    "adl": "abfs",
    "wasb": "abfs",
}
_OWNER_ONLY = 0o700
_SPOOL = "airflow-batch-"
_NONCE = "nonce"
"""A field of every file that is created exclusively, by which its own writer knows it again; nobody reads it."""
_HISTORY = "history/"
ARCHIVING = "archiving.json"
_LAST_TO_GO = {"summary.json": 0, "run.json": 2}
"""The order of archiving: no old summary may be found beside a new run, and the old run stays known to the end."""


def open_path(uri: str) -> ObjectStoragePath:
    """A path on any store.

    :param uri: a local path, or ``scheme://[conn_id@]bucket/key``.
    :raises ConfigurationError: when nothing installed serves the scheme; names the extra.
    """
    from airflow.sdk import ObjectStoragePath

    try:
        path = ObjectStoragePath(str(uri))
        path.fs  # noqa: B018 - attaching is what fails
    except (ValueError, ImportError) as error:
        scheme = str(uri).partition("://")[0]
        extra = _EXTRAS.get(scheme)
        remedy = (
            f"install it with: pip install 'airflow-batch-provider[{extra}]'"
            if extra
            else "use a local path, s3://, gs:// or abfs://"
        )
        raise ConfigurationError(
            f"Nothing installed can open {scheme}:// (for {str(uri)!r}); {remedy} ({error})"
        ) from error
    return path


def open_stream(uri: str) -> BinaryIO:
    """A file on any store for streaming reads; Airflow records it as the task's input.

    :raises FileNotFoundError: when there is none; ``IsADirectoryError`` for a folder.
    :raises StorageError: when the store fails, now or while the stream is read.
    """
    path = open_path(uri)
    path.fs.invalidate_cache()  # a file that was rewritten has another size than an old listing says
    with typed_errors(str(uri), "read"):
        return watched(cast(BinaryIO, cast(Any, path).open("rb")), str(uri))


def is_local(path: ObjectStoragePath) -> bool:
    """Whether the path is on this machine's own file system."""
    return (path.protocol or "file") in ("file", "local")


class RunDirectory:
    """The files of one run; every name is relative and uses ``/``.

    :param path: the folder; it need not exist.
    """

    def __init__(self, path: str | ObjectStoragePath) -> None:
        self._root = open_path(path) if isinstance(path, str) else path
        self.uri = str(self._root).rstrip("/")
        self._local = Path(self._root.path).absolute() if is_local(self._root) else None
        self._fs: Any = None if self._local else self._root.fs
        self._base = str(self._root.path).rstrip("/")
        self._sending: AtOnce | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's own file system, where a trip costs nothing."""
        return self._local is not None

    def _store(self) -> Any:
        """The store, to be read as it is now: its client answers from listings that it has kept, even that a file is
        not there which another process has written since."""
        self._fs.invalidate_cache()
        return self._fs

    def read(self, name: str) -> bytes | None:
        """A whole small file, None where there is none."""
        try:
            with self._typed(name, "read"):
                if self._local:
                    return (self._local / name).read_bytes()
                return cast(bytes, self._store().cat_file(f"{self._base}/{name}"))
        except FileNotFoundError:
            return None
        except IsADirectoryError as error:
            raise StorageError(f"{self.uri}/{name} is a folder where a file was written; restore it") from error

    def read_many(self, names: Sequence[str]) -> list[bytes | None]:
        """Whole small files, in the order of their names; those of a store are read at once, so many at a time."""
        if self._local or len(names) < 2:
            return [self.read(name) for name in names]
        with AtOnce() as calls:
            return calls.map(self.read, names)

    def _typed(self, name: str, verb: str) -> contextlib.AbstractContextManager[None]:
        return typed_errors(f"{self.uri}/{name}", verb, OSError if self._local else Exception)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A whole small JSON object, None where there is none.

        :raises RunConflictError: when it holds something else; it was written whole, so somebody has changed it since.
        """
        data = self.read(name)
        return None if data is None else self.as_json(name, data)

    def as_json(self, name: str, data: bytes) -> dict[str, Any]:
        """What was read of a small JSON file.

        :raises RunConflictError: as :meth:`read_json`.
        """
        with contextlib.suppress(orjson.JSONDecodeError):
            if isinstance(value := orjson.loads(data), dict):
                value.pop(_NONCE, None)
                return value
        raise RunConflictError(
            f"{self.uri}/{name} is not the JSON object that was written there; restore it from a copy. Without it "
            "what was sent is unknown, so nothing is sent."
        )

    def write(self, name: str, data: bytes) -> None:
        """Write or replace a small file, whole or not at all."""
        with self.writer(name) as stream:
            stream.write(data)

    def write_json(self, name: str, value: Any) -> None:
        """Write or replace a small JSON file."""
        self.write(name, orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")

    def create_json(self, name: str, value: Any) -> bool:
        """Create a small JSON file exclusively.

        Local file systems and object stores with conditional writes guarantee it; elsewhere it is best effort. What a
        store says of a create proves nothing by itself: a client whose answer was lost sends it again and gets the
        answer that the file exists, and stores differ in that answer (412 or 409, in many shapes). So whatever it says,
        the file is read back, and is ours by its nonce.

        :return: False when another one is there.
        :raises StorageError: when the store failed and no file is there.
        """
        if isinstance(value, dict):
            value = {**value, _NONCE: secrets.token_hex(8)}
        data = orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
        try:
            with self._typed(name, "written"):
                if self._local:
                    self._create_local(self._local / name, data)
                else:
                    self._fs.pipe_file(f"{self._base}/{name}", data, mode="create")
        except FileNotFoundError as error:
            raise StorageError(f"{self.uri}/{name} could not be written: {error}") from error
        except (FileExistsError, StorageError) as error:
            found = self.read(name)
            if found is None and isinstance(error, StorageError):
                raise
            return isinstance(value, dict) and found == data
        return True

    def _create_local(self, target: Path, data: bytes) -> None:
        self._make_folder(target.parent)
        handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            # A link is the one way to make a whole file appear under a name that must not exist yet.
            os.link(temporary, target)
            sync_folder(target.parent)
        finally:
            os.unlink(temporary)

    @contextlib.contextmanager
    def writer(self, name: str) -> Iterator[BinaryIO]:
        """A stream whose content appears under ``name`` when the block ends without an exception, else not at all."""
        if self._local is None:
            with contextlib.ExitStack() as spooled:
                spool = spooled.enter_context(tempfile.NamedTemporaryFile(prefix=_SPOOL))
                yield cast(BinaryIO, spool)
                spool.flush()
                send = functools.partial(self._put, spool.name, name, spooled.pop_all())
                if self._sending is None:
                    send()
                else:
                    self._sending.add(send, spool.tell())
            return
        with self._typed(name, "written"):  # a full disk shows in the block, too
            self._make_folder((self._local / name).parent)
            with whole_file(self._local / name) as stream:
                yield stream

    def _put(self, spool: str, name: str, spooled: contextlib.ExitStack) -> None:
        with spooled, self._typed(name, "written"):
            self._fs.put_file(spool, f"{self._base}/{name}")

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Files that are written inside go to a store at the same time; all of them are there when the block ends
        without an exception."""
        if self._local or self._sending is not None:
            yield
            return
        with AtOnce() as sending:
            self._sending = sending
            try:
                yield
                sending.finish()
            finally:
                self._sending = None

    def _make_folder(self, folder: Path) -> None:
        """Make a folder of the run directory, and the run directory itself, for the owner alone; folders above it
        are made as the umask says."""
        assert self._local is not None
        self._local.parent.mkdir(parents=True, exist_ok=True)
        for part in reversed([folder, *folder.parents]):
            if part == self._local or self._local in part.parents:
                part.mkdir(mode=_OWNER_ONLY, exist_ok=True)

    def open(self, name: str) -> BinaryIO:
        """A file that was written here, for streaming reads; of a store as it is now.

        :raises RunConflictError: when it is not there any more.
        :raises StorageError: when the store fails, now or while the stream is read.
        """
        try:
            with self._typed(name, "read"):
                if self._local:
                    return open(self._local / name, "rb")
                return self._fetched(name)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self.changed(name, "is not there") from error
        except (IsADirectoryError, FileExistsError) as error:
            raise self.changed(name, "is a folder") from error

    def open_in_turn(self, files: Iterable[tuple[str, int]]) -> Generator[BinaryIO, None, None]:
        """Files as :meth:`open` gives them, in order; of a store, the next ones are fetched meanwhile.

        :param files: names with what is thought to be their size.
        """
        if self._local:
            yield from (self.open(name) for name, _ in files)
            return
        with AtOnce() as calls:
            yield from calls.in_turn((functools.partial(self.open, name), size) for name, size in files)

    def _fetched(self, name: str) -> BinaryIO:
        """A copy of a store's file, which is gone when it is closed. Its client's own streams ask for the size first,
        and read a file that is replaced meanwhile in pieces of both."""
        handle, copy = tempfile.mkstemp(prefix=_SPOOL)
        os.close(handle)
        try:
            self._store().get_file(f"{self._base}/{name}", copy)
            return open(copy, "rb")
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(copy)

    def changed(self, name: str, how: str) -> RunConflictError:
        """The error of a file that is not as it was written.

        :param how: what it is instead, after its path.
        """
        return RunConflictError(
            f"{self.uri}/{name} {how}, although this run wrote it and still needs it. Restore it from a copy and clear "
            "the task; or use another output_path, which sends every request again."
        )

    def names(self, folder: str) -> list[str]:
        """The file names directly in a folder, sorted; none where there is no folder."""
        return sorted(self.stamps(folder))

    def stamps(self, folder: str) -> dict[str, str | None]:
        """The files directly in a folder by name, and for each what distinguishes it from every other file that was
        ever there by its name: None where the file system does not say, and on a local disk."""
        try:
            with self._typed(folder, "listed"):
                if self._local:
                    entries = os.scandir(self._local / folder)
                    return {one.name: None for one in entries if one.is_file() and not one.name.startswith(TEMPORARY)}
                listed = self._store().ls(f"{self._base}/{folder}", detail=True)
        except FileNotFoundError:
            return {}
        files = [one for one in listed if one.get("type") != "directory"]
        return {str(one["name"]).rpartition("/")[2]: stamp(one) for one in files}

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone is no error."""
        with contextlib.suppress(FileNotFoundError), self._typed(name, "removed"):
            if self._local:
                (self._local / name).unlink()
            else:
                self._fs.rm_file(f"{self._base}/{name}")

    # ---- archiving ---------------------------------------------------------------------------------------------

    def archive(self, label: str) -> str:
        """Move everything but the history to ``history/<label>`` and leave an empty directory.

        The intent is recorded first, so whoever finds it half done does the rest by :meth:`go_on_archiving`.

        :return: where it went.
        """
        self.create_json(ARCHIVING, {"label": label})
        return self.go_on_archiving() or f"{self.uri}/{_HISTORY}{label}"

    def go_on_archiving(self) -> str | None:
        """Do the rest of an archiving that was begun, by whomever.

        :return: where it went; None where none was begun.
        """
        if (label := self._archiving()) is None:
            return None
        for name in sorted(self._files(), key=lambda name: (_LAST_TO_GO.get(name, 1), name)):
            if self._archiving() != label:
                break  # another process has done the rest; what is here now is the new run
            with contextlib.suppress(FileNotFoundError), self._typed(name, "moved"):
                self._move(name, f"{_HISTORY}{label}/{name}")
        else:
            self.remove(ARCHIVING)
        return f"{self.uri}/{_HISTORY}{label}"

    def _archiving(self) -> str | None:
        record = self.read_json(ARCHIVING)
        return None if record is None else str(record["label"])

    def _files(self) -> list[str]:
        """Everything to archive."""
        with self._typed("", "listed"):
            if self._local:
                paths = [os.path.join(folder, name) for folder, _, names in os.walk(self._local) for name in names]
                found = [Path(path).relative_to(self._local).as_posix() for path in paths]
            else:
                found = [str(path)[len(self._base) :].lstrip("/") for path in self._store().find(self._base)]
        return [
            name
            for name in found
            if name != ARCHIVING and not name.startswith(_HISTORY) and not name.rpartition("/")[2].startswith(TEMPORARY)
        ]

    def _move(self, name: str, target: str) -> None:
        if self._local:
            self._make_folder((self._local / target).parent)
            os.replace(self._local / name, self._local / target)
            with contextlib.suppress(OSError):  # a folder that is not empty yet
                for folder in (self._local / name).relative_to(self._local).parents[:-1]:
                    (self._local / folder).rmdir()
            return
        # Not copy(), which takes a path with * or [1] in it for a pattern.
        self._fs.cp_file(f"{self._base}/{name}", f"{self._base}/{target}")
        self._fs.rm_file(f"{self._base}/{name}")
