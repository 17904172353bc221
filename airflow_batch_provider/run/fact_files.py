"""The files of ``ledger/`` that never change once they are there: each is read once by a process.

On a store every file costs a trip, so a process reads those that it does not know many at once, and leaves a copy of
all that it knows in ``known.json`` for the next one, which then reads one file in place of hundreds. The copy proves
nothing: what is there, the listing says alone, and a fact is taken from the copy only while the listing shows the very
file that was copied (by the store's tag or time of it). So the copy may be old, cut off, deleted, or written by two
processes at once; whoever misses something in it reads the fact itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

import orjson

from airflow_batch_provider.core.errors import StorageError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.run.storage import RunDirectory

_FOLDER = "ledger/"
KNOWN = "known.json"


class FactFiles:
    """Reads and creates the facts of one run.

    :param directory: the run directory.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._held: dict[str, tuple[str | None, JSON]] = {}
        self._stamps: Mapping[str, str | None] = {}
        self._has_news = False
        self._has_read_known = False

    def names(self) -> list[str]:
        """The files that are there now, sorted."""
        self._stamps = self._directory.stamps(_FOLDER.rstrip("/"))
        for name, (stamp, given) in self._held.items():
            if stamp is None:  # our own, which is listed for the first time
                self._held[name] = self._stamps.get(name), given
        return sorted(self._stamps)

    def fetch(self, names: Iterable[str]) -> None:
        """Read what will be needed, as far as it is not known; nothing on a local disk, where it gains nothing."""
        if self._directory.is_local:
            return
        if not self._has_read_known:
            self._read_known()
        missing = [name for name in names if name not in self._held]
        found = self._directory.read_many([_FOLDER + name for name in missing])
        for name, data in zip(missing, found, strict=True):
            if data is not None:
                self._held[name] = self._stamps.get(name), self._directory.as_json(_FOLDER + name, data)
                self._has_news = True

    def get(self, name: str) -> JSON | None:
        """What a file holds, None where there is none."""
        return self._held[name][1] if name in self._held else self._directory.read_json(_FOLDER + name)

    def create(self, name: str, given: JSON) -> bool:
        """Create a file exclusively; False where another one is there."""
        if not self._directory.create_json(_FOLDER + name, given):
            return False
        if not self._directory.is_local:
            self._held[name] = None, orjson.loads(orjson.dumps(given))
            self._has_news = True
        return True

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone is no error."""
        self._held.pop(name, None)
        self._directory.remove(_FOLDER + name)

    def _read_known(self) -> None:
        """Take over the copies whose files are as they were when they were copied."""
        self._has_read_known = True
        data = self._directory.read(_FOLDER + KNOWN) if KNOWN in self._stamps else None
        with contextlib.suppress(orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
            for name, (stamp, given) in orjson.loads(data or b"{}").items():
                if stamp and stamp == self._stamps.get(name) and isinstance(given, dict):
                    self._held.setdefault(name, (stamp, given))

    def keep(self) -> None:
        """Leave a copy of all that is known for the next process, if there is anything new; it is no harm if not."""
        if not self._has_news:
            return
        with contextlib.suppress(StorageError):
            self.names()
            known = {name: one for name, one in self._held.items() if one[0] and one[0] == self._stamps.get(name)}
            self._directory.write(_FOLDER + KNOWN, orjson.dumps(known))
            self._has_news = False
