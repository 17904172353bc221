"""The run directory on any store that Airflow can reach.

Rules that must not be relaxed: a file is either absent or whole (local: temporary file, fsync, rename; object stores:
one PUT of a finished file). Only ``FileNotFoundError`` means absent, because ``exists()`` of fsspec answers False on
any error, and a network blip read as "no job was created" would pay twice.

On a local disk every file is the owner's alone (0600), and so is every folder made here (0700): prompts and answers are
as private as the ledger. The process's umask can only be read by changing it, which other threads would see.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import orjson

from airflow_batch_provider.core.errors import ConfigurationError, RunConflictError

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
_TEMPORARY = ".tmp-"
_OWNER_ONLY = 0o700


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

    :raises OSError: as the store does.
    """
    return cast(BinaryIO, cast(Any, open_path(uri)).open("rb"))


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

    def refresh(self) -> None:
        """Forget cached listings, so that the next look sees what other processes wrote."""
        if self._fs is not None:
            self._fs.invalidate_cache()

    def read(self, name: str) -> bytes | None:
        """A whole small file, None where there is none."""
        try:
            if self._local:
                return (self._local / name).read_bytes()
            return cast(bytes, self._fs.cat_file(f"{self._base}/{name}"))
        except FileNotFoundError:
            return None

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A whole small JSON object, None where there is none.

        :raises RunConflictError: when it holds something else; it was written whole, so somebody has changed it since.
        """
        data = self.read(name)
        if data is None:
            return None
        with contextlib.suppress(orjson.JSONDecodeError):
            if isinstance(value := orjson.loads(data), dict):
                return value
        raise RunConflictError(
            f"{self.uri}/{name} is not the JSON object that was written there; restore it from a copy. Without it "
            "nobody can say what was sent, so nothing is sent."
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

        Local file systems and object stores with conditional writes guarantee it; elsewhere it is best effort.

        :return: False when it exists already.
        """
        data = orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
        try:
            if self._local:
                self._create_local(self._local / name, data)
            else:
                self._fs.pipe_file(f"{self._base}/{name}", data, mode="create")
        except FileExistsError:
            return False
        return True

    def _create_local(self, target: Path, data: bytes) -> None:
        self._make_folder(target.parent)
        handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            # A link is the one way to make a whole file appear under a name that must not exist yet.
            os.link(temporary, target)
            _sync_folder(target.parent)
        finally:
            os.unlink(temporary)

    @contextlib.contextmanager
    def writer(self, name: str) -> Iterator[BinaryIO]:
        """A stream whose content appears under ``name`` when the block ends without an exception, else not at all."""
        if self._local is None:
            with tempfile.NamedTemporaryFile(prefix="airflow-batch-") as spool:
                yield cast(BinaryIO, spool)
                spool.flush()
                self._fs.put_file(spool.name, f"{self._base}/{name}")
            return
        target = self._local / name
        self._make_folder(target.parent)
        handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                yield cast(BinaryIO, stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, target)
            _sync_folder(target.parent)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def _make_folder(self, folder: Path) -> None:
        """Make a folder of the run directory, and the run directory itself, for the owner alone; folders above it
        are made as the umask says."""
        assert self._local is not None
        self._local.parent.mkdir(parents=True, exist_ok=True)
        for part in reversed([folder, *folder.parents]):
            if part == self._local or self._local in part.parents:
                part.mkdir(mode=_OWNER_ONLY, exist_ok=True)

    def open(self, name: str) -> BinaryIO:
        """A file for streaming reads.

        :raises FileNotFoundError: when there is none.
        """
        if self._local:
            return open(self._local / name, "rb")
        return cast(BinaryIO, self._fs.open(f"{self._base}/{name}", "rb"))

    def names(self, folder: str) -> list[str]:
        """The file names directly in a folder, sorted; none where there is no folder."""
        try:
            if self._local:
                found = [entry.name for entry in os.scandir(self._local / folder) if entry.is_file()]
            else:
                listed = self._fs.ls(f"{self._base}/{folder}", detail=False)
                found = [str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in listed]
        except FileNotFoundError:
            return []
        return sorted(name for name in found if not name.startswith(_TEMPORARY))

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone is no error."""
        with contextlib.suppress(FileNotFoundError):
            if self._local:
                (self._local / name).unlink()
            else:
                self._fs.rm_file(f"{self._base}/{name}")

    def archive(self, label: str) -> str:
        """Move everything but the history to ``history/<label>`` and leave an empty directory.

        :return: where it went.
        """
        if self._local:
            target = self._local / "history" / label
            self._make_folder(target.parent)
            target.mkdir(mode=_OWNER_ONLY)
            for entry in sorted(self._local.iterdir()):
                if entry.name != "history":
                    shutil.move(str(entry), str(target / entry.name))
            return str(target)
        self.refresh()
        for source in self._fs.find(self._base):
            relative = str(source)[len(self._base) :].lstrip("/")
            if not relative.startswith("history/"):
                self._fs.copy(source, f"{self._base}/history/{label}/{relative}")
                self._fs.rm_file(source)
        return f"{self.uri}/history/{label}"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
