"""What every backend on the OpenAI wire promises; each provider's test file inherits it and adds its differences.

:class:`BackendContract` asks an honest server; ``faulty_contract`` also one that fails in every known way.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from airflow_batch_provider.backends.openai import CHAT, TOKEN_KEY, OpenAIBackend
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    NotFoundError,
    ProviderError,
)
from airflow_batch_provider.core.records import BatchRequest, Job, JobStatus, Shard
from tests.backends.scripted import free_port
from tests.backends.tools import Feed, sha

KEY = "fake-key-7e1b"
LEAK = "leaked-from-the-environment"
LEAKS = {
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_API_KEY": f"{LEAK}-key",
    "OPENAI_ADMIN_KEY": f"{LEAK}-admin",
    "OPENAI_ORG_ID": f"{LEAK}-org",
    "OPENAI_PROJECT_ID": f"{LEAK}-project",
    "OPENAI_CUSTOM_HEADERS": f"X-Leak: {LEAK}\nAuthorization: Bearer {LEAK}",
    "AZURE_OPENAI_API_KEY": f"{LEAK}-azure",
    "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:9",
    "OPENAI_API_VERSION": f"{LEAK}-version",
}
_numbers = itertools.count()


def new_token() -> str:
    """A token that no other test has used."""
    return f"tok{next(_numbers):05d}"


class BackendContract:
    """The promises that an honest server is enough to test. Subclasses give ``world`` and ``make``."""

    has_bearer = True
    """Whether the route signs by ``Authorization``."""

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        """The backend under test.

        :param base: another server's origin than the world's.
        """
        raise TypeError("each provider makes its own")

    @pytest.fixture
    def backend(self, world: Any) -> Iterator[OpenAIBackend]:
        made = self.make(world)
        yield made
        made.close()

    # ---- helpers -----------------------------------------------------------------------------------------------

    def wire(self, backend: OpenAIBackend, rows: int = 3, text: str = "hello") -> bytes:
        line_format = backend.line_format("m", CHAT)
        lines = []
        for number in range(rows):
            body = {"model": "m", "messages": [{"role": "user", "content": f"{text} {number}"}]}
            line = {"custom_id": f"row-{number}", "method": "POST", "url": CHAT, "body": body}
            raw = json.dumps(line, ensure_ascii=False).encode()
            lines.append(line_format.encode(BatchRequest(f"row-{number}", CHAT, "m", body, raw, number + 1)))
        return b"".join(line + b"\n" for line in lines)

    def shard(self, data: bytes) -> Shard:
        return Shard(0, 7, data.count(b"\n"), len(data), "m", CHAT)

    def send(self, backend: OpenAIBackend, rows: int = 3, token: str | None = None, **options: Any) -> Job:
        data = self.wire(backend, rows)
        token = token or new_token()
        shard = self.shard(data)
        input_id = backend.upload(shard, token, io.BytesIO(data), options)
        return backend.create(backend.create_request(shard, token, input_id, options))

    def until(self, backend: OpenAIBackend, job: Job, enough: Callable[[Job], bool] | None = None) -> Job:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            job = backend.retrieve(job.id)
            if enough(job) if enough else job.status.is_terminal:
                return job
            time.sleep(0.01)
        raise AssertionError(f"still {job}")

    def rows(self, backend: OpenAIBackend, job: Job) -> dict[str, Any]:
        data = b"".join(backend.outputs(job))
        assert not data or data.endswith(b"\n")
        lines = [json.loads(line) for line in data.split(b"\n") if line]
        assert len(lines) == len({line["custom_id"] for line in lines})
        return {line["custom_id"]: line for line in lines}

    # ---- upload and create -------------------------------------------------------------------------------------

    def test_upload_streams_and_carries_the_token(self, backend: OpenAIBackend) -> None:
        """An upload is read in small pieces, arrives whole, and is named by stem and token."""
        data = self.wire(backend, 30_000, "x" * 150)
        feed = Feed(data)
        token = new_token()
        handle = backend.upload(self.shard(data), token, feed, {"file_name": "my rows.jsonl"})  # type: ignore[arg-type]
        assert len(data) > 4_000_000
        assert 0 < max(feed.sizes) <= 1 << 20
        assert "%" not in handle
        assert sha(backend.download(handle)) == hashlib.sha256(data).hexdigest()
        url = f"{backend.route.base_url}/files/{quote(handle, safe='')}"
        told = httpx.get(url, headers=dict(backend.route.headers), params=dict(backend.route.query)).json()
        assert told["filename"].startswith("my")
        assert told["filename"].endswith(f"-{token}.jsonl")
        assert told["purpose"] == "batch"

    def test_create_request_is_pure(self, backend: OpenAIBackend, world: Any) -> None:
        """The create call is plain JSON, made without a call, equal each time, and without secrets."""
        shard = self.shard(b"{}\n")
        before = len(world.requests)
        made = [backend.create_request(shard, "tok", "file-1", {"metadata": {"team": "a"}}) for _ in range(2)]
        assert made[0] == made[1] == json.loads(json.dumps(made[0]))
        assert len(world.requests) == before
        assert made[0]["input_file_id"] == "file-1"
        assert made[0]["completion_window"] == "24h"
        assert made[0]["metadata"] == {"team": "a", TOKEN_KEY: "tok"}
        assert KEY not in json.dumps(made[0])

    def test_create_sends_exactly_the_recorded_call_once(self, backend: OpenAIBackend, world: Any) -> None:
        """What was recorded is what is sent, one time."""
        data = self.wire(backend)
        shard, token = self.shard(data), new_token()
        input_id = backend.upload(shard, token, io.BytesIO(data), {})
        request = backend.create_request(shard, token, input_id, {})
        before = len(world.creates)
        job = backend.create(request)
        assert [call.body for call in world.creates[before:]] == [request]
        assert job.id
        assert not job.status.is_terminal or job.status is JobStatus.COMPLETED
        assert "%" not in job.id

    def test_options_cannot_replace_the_handles(self, backend: OpenAIBackend) -> None:
        """Neither extra_body nor metadata can take away what a lost create is found by."""
        options = {
            "extra_body": {"metadata": {"a": "b", TOKEN_KEY: "x"}, "further": 1, "input_file_id": "x"},
            "metadata": {TOKEN_KEY: "y"},
        }
        request = backend.create_request(self.shard(b"{}\n"), "tok", "file-1", options)
        assert request["metadata"] == {"a": "b", TOKEN_KEY: "tok"}
        assert request["further"] == 1
        assert request["input_file_id"] == "file-1"

    # ---- find, retrieve, list ----------------------------------------------------------------------------------

    def test_find_over_pages(self, backend: OpenAIBackend, world: Any) -> None:
        """A job is found by its upload and by its token alone, on whatever page; an absent one is absent."""
        token = new_token()
        data = self.wire(backend, 1)
        shard = self.shard(data)
        input_id = backend.upload(shard, token, io.BytesIO(data), {})
        request = backend.create_request(shard, token, input_id, {})
        job = backend.create(request)
        other = backend.upload(shard, new_token(), io.BytesIO(data), {})
        for _ in range(101):
            backend.create(backend.create_body(CHAT, other, {}, {}))
        before = len(world.calls("list"))
        since = time.time() - 900
        by_upload = backend.find("no-such-token", request, since)
        assert [found.id for found in by_upload.jobs] == [job.id]
        assert len(world.calls("list")) - before >= 2
        assert {call.query["limit"] for call in world.calls("list")[before:]} == {"100"}
        by_token = backend.find(token, None, since)
        assert [found.id for found in by_token.jobs] == [job.id]
        absent = backend.find("no-such-token", {**request, "input_file_id": "file-none"}, since)
        assert absent.jobs == ()
        assert absent.complete is backend.facts.list_is_complete is True
        assert backend.find(token, request, time.time() + 3600).jobs == ()
        assert len(list(backend.list_jobs(limit=3))) == 3
        assert len({listed.id for listed in backend.list_jobs()}) >= 103

    def test_find_gives_the_oldest_first(self, backend: OpenAIBackend) -> None:
        """Of two jobs made by mistake the older comes first, also within one second."""
        token = new_token()
        data = self.wire(backend, 1)
        shard = self.shard(data)
        request = backend.create_request(shard, token, backend.upload(shard, token, io.BytesIO(data), {}), {})
        ids = [backend.create(request).id for _ in range(3)]
        assert [job.id for job in backend.find(token, request, time.time() - 900).jobs] == ids

    def test_retrieve(self, backend: OpenAIBackend) -> None:
        """A job is told in one vocabulary: seconds, whole counts, decoded handles, our token."""
        token = new_token()
        job = self.until(backend, self.send(backend, 3, token))
        assert job.status is JobStatus.COMPLETED
        assert (job.counts.total, job.counts.completed, job.counts.failed) == (3, 3, 0)
        assert job.created_at is not None
        assert abs(job.created_at - time.time()) < 120
        assert job.ended_at is not None
        assert job.created_at <= job.ended_at <= time.time() + 60
        assert job.metadata == {TOKEN_KEY: token}
        assert job.input_id
        assert not any("%" in handle for handle in (job.id, job.input_id, *job.outputs))
        assert job.errors == ()

    def test_unknown_ids(self, backend: OpenAIBackend) -> None:
        """A job or file that is not there is NotFoundError; deleting it is no error."""
        stranger = self.stranger(backend)
        with pytest.raises(NotFoundError):
            backend.retrieve(stranger)
        with pytest.raises(NotFoundError):
            backend.cancel(stranger)
        with pytest.raises(NotFoundError):
            b"".join(backend.download(stranger))
        backend.delete(stranger)

    def stranger(self, backend: OpenAIBackend) -> str:
        """An id in the provider's form that is nobody's."""
        return "batch_nobody"

    # ---- outputs, files ----------------------------------------------------------------------------------------

    def test_outputs_of_a_good_job(self, backend: OpenAIBackend) -> None:
        """Every row's answer, each decodable as a success."""
        job = self.until(backend, self.send(backend, 5))
        rows = self.rows(backend, job)
        assert set(rows) == {f"row-{number}" for number in range(5)}
        decode = backend.line_format("m", CHAT).decode
        for line in b"".join(backend.outputs(job)).split(b"\n")[:-1]:
            result = decode(line)
            assert result.outcome == "succeeded"
            assert result.usage.input_tokens > 0

    def test_download_is_byte_exact_and_lazy(self, backend: OpenAIBackend) -> None:
        """Every byte comes back as it went, in pieces, and a reader may stop early."""
        data = '{"a": "é\u2028\u0085\U0001f600"}\r\n\n'.encode() * 60_000 + b"no end of line"
        handle = backend.upload_file("any.jsonl", io.BytesIO(data))
        chunks = list(backend.download(handle))
        assert b"".join(chunks) == data
        assert max(map(len, chunks)) <= 1 << 20
        early = backend.download(handle)
        assert data.startswith(next(early))
        early.close()  # type: ignore[attr-defined]
        assert sha(backend.download(handle)) == hashlib.sha256(data).hexdigest()

    def test_delete(self, backend: OpenAIBackend) -> None:
        """A deleted file is gone, and deleting it again is no error."""
        handle = backend.upload_file("any.jsonl", io.BytesIO(b"{}\n"))
        backend.delete(handle)
        with pytest.raises(NotFoundError):
            b"".join(backend.download(handle))
        backend.delete(handle)

    async def test_cancelling_an_ended_job(self, backend: OpenAIBackend) -> None:
        """A job that has ended already is no error, synchronously and not, and stays as it ended."""
        job = self.until(backend, self.send(backend, 1))
        backend.cancel(job.id)
        await backend.acancel([job.id])
        assert backend.retrieve(job.id).status is JobStatus.COMPLETED

    # ---- waiting -----------------------------------------------------------------------------------------------

    async def test_apoll_equals_retrieve(self, backend: OpenAIBackend) -> None:
        """Many jobs at once, in the order given, each as retrieve tells it."""
        jobs = [self.until(backend, self.send(backend, rows)) for rows in (1, 2, 3)]
        ids = [jobs[2].id, jobs[0].id, jobs[1].id, jobs[0].id]
        assert await backend.apoll(ids) == [backend.retrieve(job_id) for job_id in ids]
        assert await backend.apoll([]) == []
        with pytest.raises(NotFoundError):
            await backend.apoll([jobs[0].id, self.stranger(backend)])

    # ---- credentials -------------------------------------------------------------------------------------------

    async def test_wrong_key(self, world: Any) -> None:
        """A wrong key is AuthenticationError on every way, which says so and never tells the key."""
        secret = "wrong-key-5c0ffee"
        backend = self.make(world, secret)
        calls: list[Callable[[], object]] = [
            lambda: backend.upload_file("x.jsonl", io.BytesIO(b"{}\n")),
            lambda: backend.create(backend.create_body(CHAT, "file-1", {}, {})),
            lambda: backend.retrieve("batch_1"),
            lambda: list(backend.list_jobs()),
            lambda: list(backend.download("file-1")),
            lambda: backend.cancel("batch_1"),
            lambda: backend.delete("file-1"),
            backend.probe,
        ]
        errors: list[BaseException] = []
        for call in calls:
            with pytest.raises(AuthenticationError, match="key") as caught:
                call()
            errors.append(caught.value)
        with pytest.raises(AuthenticationError) as caught:
            await backend.apoll(["batch_1"])
        errors.append(caught.value)
        with pytest.raises(AuthenticationError) as caught:
            await backend.acancel(["batch_1"])
        errors.append(caught.value)
        backend.close()
        for error in errors:
            link: BaseException | None = error
            while link is not None:
                assert secret not in f"{link} {link!r}"
                link = link.__cause__ or link.__context__

    async def test_nothing_leaks_from_the_environment(self, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The worker's OPENAI_* variables change neither address nor headers nor who pays."""
        for name, value in LEAKS.items():
            monkeypatch.setenv(name, value)
        backend = self.make(world)
        before = len(world.requests)
        job = self.until(backend, self.send(backend, 1))
        list(backend.outputs(job))
        backend.probe()
        await backend.apoll([job.id])
        backend.close()
        calls = world.requests[before:]
        assert {"upload", "create", "poll", "list"} <= {call.kind for call in calls}
        expected = {name.lower(): value for name, value in backend.route.headers}
        assert ("authorization" in expected) is self.has_bearer
        for call in calls:
            assert LEAK not in f"{call.headers} {call.query}"
            assert {name: call.headers.get(name) for name in expected} == expected
            theirs = {"authorization", "openai-organization", "openai-project", "api-key"}
            assert not (theirs - expected.keys()) & call.headers.keys()
            assert dict(backend.route.query).items() <= call.query.items()

    def test_nothing_shows_the_secrets(self, backend: OpenAIBackend) -> None:
        """Neither route, facts, backend nor identity shows a header's value."""
        assert any(KEY in value for _, value in backend.route.headers)
        shown = f"{backend!r} {backend.route!r} {backend.facts!r} {dict(backend.identity)!r} {backend.probe()}"
        assert KEY not in shown
        assert backend.identity["base_url"] == backend.route.base_url
        assert backend.identity["type"] == backend.facts.name == backend.name

    async def test_connection_refused(self, world: Any) -> None:
        """Where nobody listens, nothing can have been created, and the error says so."""
        backend = self.make(world, base=f"http://127.0.0.1:{free_port()}")
        calls: list[Callable[[], object]] = [
            lambda: backend.upload_file("x.jsonl", io.BytesIO(b"{}\n")),
            lambda: backend.create(backend.create_body(CHAT, "file-1", {}, {})),
            lambda: backend.retrieve("batch_1"),
            lambda: list(backend.download("file-1")),
        ]
        for call in calls:
            with pytest.raises(ProviderError) as caught:
                call()
            assert caught.value.ambiguous is False
        with pytest.raises(ProviderError) as caught:
            await backend.apoll(["batch_1"])
        assert caught.value.ambiguous is False
        backend.close()
