"""What differs between providers for the contract's tests, each with its default, and what the tests work with."""

from __future__ import annotations

import io
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import pytest

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.records import JSON, BatchRequest, BatchResult, Job, Shard
from airflow_batch_provider.dialects.base import Sent, token
from tests.backends.tools import known_by
from tests.patience import PATIENCE

KEY = "fake-key-7e1b"
LEAK = "leaked-from-the-environment"
NOWHERE = "http://127.0.0.1:9"
CHAT = "/v1/chat/completions"
_numbers = itertools.count()


def new_token() -> str:
    """A token that no other test has used."""
    return f"tok{next(_numbers):05d}"


class Harness:
    """What the contract needs to know, and its tools."""

    # ---- what a provider's own class says ----------------------------------------------------------------------

    model: ClassVar[str] = "m"
    endpoint: ClassVar[str] = CHAT
    minimum: ClassVar[int] = 1
    """Rows below which the provider refuses a job; every test sends at least so many."""

    secret: ClassVar[str] = KEY
    """The part of the credentials that nothing may show; what ``make`` is given when it is given nothing."""
    wrong_secret: ClassVar[str] = "wrong-key-5c0ffee"
    leaks: ClassVar[Mapping[str, str]] = {}
    """The worker's variables that the SDK would read: addresses ``NOWHERE``, all else with ``LEAK`` in it."""

    kinds: ClassVar[frozenset[str]] = frozenset({"upload", "create", "poll", "list"})
    """The kinds of calls that a job and a probe need."""
    piece: ClassVar[int] = 1 << 20
    """The most bytes that an upload may read at once."""
    page: ClassVar[int] = 100
    """Jobs on one page of the provider's list, or of the fake's."""
    complete: ClassVar[bool] = True
    """Whether ``find`` that finds nothing says so for certain."""
    idempotent: ClassVar[bool] = False
    """Whether the same create sent twice makes one job."""
    upload_options: ClassVar[Mapping[str, Any]] = {}
    greedy: ClassVar[Mapping[str, Any]] = {}
    """Options that try to replace what a lost create is found by."""
    words: ClassVar[Mapping[str, str]] = {}
    """What error messages must hold (regular expressions): ``wrong key``, ``full queue``, ``download``."""

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> Backend:
        """The backend under test.

        :param key: the secret part of the credentials.
        :param base: another server's origin than the world's.
        """
        raise TypeError("each provider makes its own")

    def stranger(self, backend: Any) -> str:
        """A job's id in the provider's form that is nobody's."""
        raise TypeError("each provider has its own ids")

    def handle_of_nobody(self, backend: Any) -> str:
        """A file's handle in the provider's form that is nobody's."""
        raise TypeError("each provider has its own handles")

    def is_create(self, call: Any) -> bool:
        """Whether a call tries to create a job."""
        return bool(call.kind == "create")

    def is_sent(self, call: Any, request: JSON) -> bool:
        """Whether a create call carries the recorded request."""
        return bool(call.body == request)

    def wire_id(self, number: int) -> str:
        """The name on the wire of row ``number``."""
        return token(number)

    def guarded(self, backend: Any) -> dict[str, Callable[[], object]]:
        """Calls that need the right credentials and a server that listens; each is made anew."""
        job, handle = self.stranger(backend), self.handle_of_nobody(backend)
        request = self.request(backend, new_token(), handle)
        return {
            "upload": lambda: backend.upload_file("x.jsonl", io.BytesIO(b"{}\n")),
            "create": lambda: backend.create(request),
            "poll": lambda: backend.retrieve(job),
            "list": lambda: list(backend.list_jobs()),
            "find": lambda: backend.find([known_by("nosuchtoken", request)]),
            "download": lambda: list(backend.download(handle)),
            "cancel": lambda: backend.cancel(job),
            "delete": lambda: backend.delete(handle),
            "probe": backend.probe,
        }

    def make_others(self, backend: Any, world: Any, number: int) -> None:
        """So many jobs that are not looked for."""
        data = self.wire(backend, 1)
        shard = self.shard(data)
        other = backend.upload(shard, new_token(), io.BytesIO(data), {})
        for _ in range(number):
            backend.create(backend.create_request(shard, new_token(), other, {}))

    def shown(self, backend: Any) -> str:
        """Everything that a log might hold of a backend."""
        return f"{backend!r} {dict(backend.identity)!r} {backend.limits!r} {backend.probe()}"

    def check_upload(self, backend: Any, handle: str, token: str) -> None:
        """The uploaded file's name carries the token."""
        assert token in handle

    def check_lists(self, backend: Any, calls: list[Any]) -> None:
        """The calls that one look made."""

    def check_names(self, job: Job, token: str) -> None:
        """A retrieved job tells our token, in whichever field the provider gives back."""
        assert token in f"{dict(job.metadata)} {job.name} {job.input_id}"

    def check_call(self, backend: Any, call: Any) -> None:
        """A call made while the environment held ``leaks``."""

    # ---- helpers -----------------------------------------------------------------------------------------------

    @pytest.fixture
    def backend(self, world: Any) -> Iterator[Any]:
        made = self.make(world, self.secret)
        yield made
        made.close()

    def count(self, rows: int) -> int:
        """So many rows, or as many as the provider wants."""
        return max(rows, self.minimum)

    def requests(self, rows: int, text: str = "hello") -> Iterator[BatchRequest]:
        for number in range(self.count(rows)):
            messages = [{"role": "user", "content": f"{text} {number}"}]
            body: JSON = {"model": self.model, "messages": messages}
            line = {"custom_id": f"row-{number}", "method": "POST", "url": self.endpoint, "body": body}
            raw = json.dumps(line, ensure_ascii=False).encode()
            yield BatchRequest(f"row-{number}", self.endpoint, self.model, body, raw, number + 1)

    def wire(self, backend: Any, rows: int = 3, text: str = "hello") -> bytes:
        """Wire lines of so many rows, or of ``minimum``."""
        line_format = backend.line_format(self.model, self.endpoint)
        asked = enumerate(self.requests(rows, text))
        return b"".join(line_format.encode(request, number) + b"\n" for number, request in asked)

    def shard(self, data: bytes) -> Shard:
        return Shard(0, 7, data.count(b"\n"), len(data), self.model, self.endpoint)

    def request(self, backend: Any, token: str, input_id: str, **options: Any) -> JSON:
        """A create call for any handle."""
        made: JSON = backend.create_request(self.shard(self.wire(backend, 1)), token, input_id, options)
        return made

    def uploaded(self, backend: Any, rows: int, token: str, **options: Any) -> JSON:
        """The create call of rows that are uploaded, where the provider takes files."""
        data = self.wire(backend, rows)
        shard = self.shard(data)
        input_id = "" if backend.sends_inline else backend.upload(shard, token, io.BytesIO(data), options)
        made: JSON = backend.create_request(shard, token, input_id, options)
        return made

    def created(self, backend: Any, request: JSON, rows: int) -> Job:
        """The job of a create call of so many rows."""
        lines = (lambda: io.BytesIO(self.wire(backend, rows))) if backend.sends_inline else None
        job: Job = backend.create(request, lines)
        return job

    def send(self, backend: Any, rows: int = 3, token: str | None = None, **options: Any) -> Job:
        return self.created(backend, self.uploaded(backend, rows, token or new_token(), **options), rows)

    def until(self, backend: Any, job: Job, enough: Callable[[Job], bool] | None = None) -> Job:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            job = backend.retrieve(job.id)
            if enough(job) if enough else job.status.is_terminal:
                return job
            time.sleep(0.01)
        raise AssertionError(f"still {job}")

    def ids(self, rows: int) -> list[str]:
        return [f"row-{number}" for number in range(self.count(rows))]

    def decoded(self, backend: Any, job: Job, rows: int) -> list[BatchResult]:
        """Every line that a job of so many rows has put out, as it reads."""
        data = b"".join(backend.outputs(job))
        assert not data or data.endswith(b"\n")
        sent = Sent(self.ids(rows), lambda: self.wire(backend, rows).split(b"\n")[:-1])
        decode = backend.line_format(self.model, self.endpoint).decode
        return [decode(line, sent) for line in data.split(b"\n")[:-1]]

    def results(self, backend: Any, job: Job, rows: int) -> dict[str | None, BatchResult]:
        """The same by row, where every line answers another one."""
        lines = self.decoded(backend, job, rows)
        named = {result.custom_id: result for result in lines}
        assert len(named) == len(lines)
        assert set(named) <= set(self.ids(rows))
        return named

    def creates(self, world: Any) -> list[Any]:
        return [call for call in list(world.requests) if self.is_create(call)]
