"""An object store that counts what would be requests on S3, and a bench whose run directory is on it."""

import threading
import time
from collections import Counter
from dataclasses import replace
from typing import ClassVar

from fsspec.implementations.memory import MemoryFileSystem

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route, WireFacts
from airflow_batch_provider.run.storage import RunDirectory
from tests.facts import OPENAI
from tests.patience import PATIENCE
from tests.run.benching import Bench

ON_A_PAGE = 1000
"""Names that one list request of S3 returns."""


class CountingStore(MemoryFileSystem):
    """Counts as s3fs 2026.9 asks: ``open`` for reading is a HEAD and a GET, ``get_file`` and ``cat_file`` are a GET."""

    cachable = False
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]

    def __init__(self):
        super().__init__()
        self.counts = Counter()
        self._lock = threading.Lock()

    def _count(self, kind):
        with self._lock:
            self.counts[kind] += 1

    def cat_file(self, path, start=None, end=None, **kwargs):
        self._count("GET")
        held = self.store.get(self._strip_protocol(path))
        if held is None:
            raise FileNotFoundError(path)
        return held.getvalue()[start:end]

    def get_file(self, rpath, lpath, **kwargs):
        data = self.cat_file(rpath)
        with open(lpath, "wb") as out:
            out.write(data)

    def open(self, path, mode="rb", **kwargs):
        if "r" in mode:
            self._count("HEAD")
            self._count("GET")
        return super().open(path, mode, **kwargs)

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self._count("PUT")
        super().pipe_file(path, value, mode=mode, **kwargs)

    def put_file(self, lpath, rpath, **kwargs):
        with open(lpath, "rb") as stream:
            self.pipe_file(rpath, stream.read())

    def ls(self, path, detail=True, **kwargs):
        found = super().ls(path, detail=detail, **kwargs)
        for _ in range(max(1, -(-len(found) // ON_A_PAGE))):
            self._count("LIST")
        return found

    def find(self, path, *args, **kwargs):
        self._count("LIST")
        return super().find(path, *args, **kwargs)

    def info(self, path, **kwargs):
        self._count("HEAD")
        return super().info(path, **kwargs)

    def isdir(self, path):
        return bool(self._strip_protocol(path) in self.pseudo_dirs)

    def exists(self, path, **kwargs):
        return self._strip_protocol(path) in self.store

    def isfile(self, path):
        return self._strip_protocol(path) in self.store

    def rm_file(self, path):
        self._count("DELETE")
        if self.store.pop(self._strip_protocol(path), None) is None:
            raise FileNotFoundError(path)

    def cp_file(self, path1, path2, **kwargs):
        self._count("COPY")
        self.store[self._strip_protocol(path2)] = self.store[self._strip_protocol(path1)]


class StoreBench(Bench):
    """Shards of two rows; every process is a new :class:`BatchRun`, which remembers nothing."""

    uri = "memory://bucket/run"

    def __init__(self, folder, fake, store):
        super().__init__(folder, fake)
        self.store = store
        self.phases = {}

    def make_backend(self, fake):
        limits = replace(OPENAI.limits, max_rows=2)
        known = replace(OPENAI, price_list=None, limits=limits)
        return OpenAIBackend(
            Route(fake.base_url, (("Authorization", f"Bearer {fake.api_key}"),)), WireFacts("openai_batch", known)
        )

    def phase(self, name, call):
        """What a fresh process asks of the store."""
        self.store.counts.clear()
        outcome = call(self.run(directory=RunDirectory(self.uri), rounds=3))
        self.phases[name] = dict(self.store.counts)
        return outcome

    def total(self, name):
        """All requests of a phase."""
        return sum(self.phases[name].values())

    def until_ended(self, but=0, seconds=PATIENCE):
        """Wait at the provider until all jobs but so many have ended."""
        until = time.time() + seconds
        while sum(batch["status"] != "completed" for batch in self.fake.batches) > but:
            assert time.time() < until, "the jobs do not end"
            time.sleep(0.02)

    def table(self):
        """The phases for reading."""
        return "\n".join(f"{name:24} {sum(counts.values()):6} {counts}" for name, counts in self.phases.items())
