"""What every backend promises, whichever provider it speaks to; written against ``Backend`` and nothing else.

The author of a new backend writes ``class TestMine(FaultyContract)`` (``faulty_contract``; or ``UploadContract`` where
there are no faults to order, or ``BackendContract`` where nothing is uploaded, as in ``test_sends_inline``) and
overrides, of what ``harness.Harness`` and ``FaultyContract`` begin with:

* always: ``make`` (for the faulty one also ``fake``; otherwise a ``world`` fixture), ``model``, ``stranger``,
  ``handle_of_nobody``, ``leaks``;
* where the provider differs: ``endpoint``, ``minimum``, ``secret``, ``piece``, ``page``, ``complete``, ``kinds``,
  ``idempotent``, ``greedy``, ``words``, ``is_create``, ``is_sent``, ``wire_id``, ``guarded``, ``make_others``;
  of faults ``apoll_kind``, ``error_of``, ``full_queue``, ``tells_retry_after``, ``new_word``, ``names_unrun``,
  ``tells_early``, ``expired``; and the ``check_*`` methods, which look closer where they are overridden.

``world`` is the other side: an object with ``origin``, ``requests`` (each call with ``kind``, ``query``, ``headers``,
``body``) and ``calls(kind)``. Kinds are those of :class:`~airflow_batch_provider.testing.calls.Call`. Rows are compared
by the custom_id that ``decode`` gives, for on the wire they may have another name. ``wire_contract`` adds what only
OpenAI's wire has.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from typing import Any

import pytest

from airflow_batch_provider.core.errors import AuthenticationError, NotFoundError, ProviderError
from airflow_batch_provider.core.records import JobStatus
from tests.backends.harness import CHAT, KEY, LEAK, NOWHERE, Harness, new_token
from tests.backends.scripted import free_port
from tests.backends.tools import Feed, chain, known_by, sha

__all__ = ["CHAT", "KEY", "LEAK", "NOWHERE", "BackendContract", "RouteContract", "UploadContract", "new_token"]


class RouteContract(Harness):
    """The promises that hang on who is asked and by which credentials; enough for a further way to the same wire."""

    # ---- credentials -------------------------------------------------------------------------------------------

    async def test_wrong_key(self, world: Any) -> None:
        """A wrong key is AuthenticationError on every way, which says so and never tells the key."""
        backend: Any = self.make(world, self.wrong_secret)
        job = self.stranger(backend)
        errors: list[BaseException] = []
        for call in self.guarded(backend).values():
            with pytest.raises(AuthenticationError, match=self.words.get("wrong key")) as caught:
                call()
            errors.append(caught.value)
        with pytest.raises(AuthenticationError) as caught:
            await backend.apoll([job])
        errors.append(caught.value)
        with pytest.raises(AuthenticationError) as caught:
            await backend.acancel([job])
        errors.append(caught.value)
        backend.close()
        for error in errors:
            for link in chain(error):
                assert self.wrong_secret not in f"{link} {link!r}"

    async def test_nothing_leaks_from_the_environment(self, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The worker's variables change neither address nor headers nor who pays."""
        plain = self.make(world, self.secret)
        identity = dict(plain.identity)
        plain.close()
        for name, value in self.leaks.items():
            monkeypatch.setenv(name, value)
        backend: Any = self.make(world, self.secret)
        before = len(world.requests)
        job = self.until(backend, self.send(backend, 1))
        list(backend.outputs(job))
        backend.probe()
        await backend.apoll([job.id])
        assert dict(backend.identity) == identity
        backend.close()
        calls = world.requests[before:]
        assert self.kinds <= {call.kind for call in calls}
        for call in calls:
            assert LEAK not in f"{call.headers} {call.query} {call.body}"
            self.check_call(backend, call)

    def test_nothing_shows_the_secrets(self, backend: Any) -> None:
        """Neither the backend nor its identity shows what no log may hold, and the identity says who is asked."""
        assert self.secret not in self.shown(backend)
        assert backend.identity["type"] == backend.name
        assert backend.identity["base_url"]


class BackendContract(RouteContract):
    """The promises that an honest server is enough to test, whether it takes files or not."""

    # ---- create ------------------------------------------------------------------------------------------------

    def test_create_request_is_pure(self, backend: Any, world: Any) -> None:
        """The create call is plain JSON, made without a call, equal each time, and without secrets."""
        before = len(world.requests)
        handle = self.handle_of_nobody(backend)
        made = [self.request(backend, "tok", handle) for _ in range(2)]
        assert made[0] == made[1] == json.loads(json.dumps(made[0]))
        assert len(world.requests) == before
        assert handle in json.dumps(made[0], ensure_ascii=False)
        assert self.secret not in json.dumps(made[0], ensure_ascii=False)

    def test_create_sends_exactly_the_recorded_call_once(self, backend: Any, world: Any) -> None:
        """What was recorded is what is sent, one time."""
        request = json.loads(json.dumps(self.uploaded(backend, 3, new_token())))
        recorded = json.dumps(request)
        before = len(self.creates(world))
        job = self.created(backend, request, 3)
        calls = self.creates(world)[before:]
        assert len(calls) == 1
        assert self.is_sent(calls[0], request)
        assert json.dumps(request) == recorded
        assert job.id
        assert not job.status.is_terminal or job.status is JobStatus.COMPLETED
        assert "%" not in job.id

    # ---- retrieve ----------------------------------------------------------------------------------------------

    def test_retrieve(self, backend: Any) -> None:
        """A job is told in one vocabulary: seconds, whole counts, decoded handles, our token."""
        token, rows = new_token(), self.count(3)
        job = self.until(backend, self.send(backend, 3, token))
        assert job.status is JobStatus.COMPLETED
        assert (job.counts.total, job.counts.completed, job.counts.failed) == (rows, rows, 0)
        assert all(type(number) is int for number in (job.counts.total, job.counts.completed, job.counts.failed))
        assert job.created_at is not None
        assert abs(job.created_at - time.time()) < 120
        assert job.ended_at is not None
        assert job.created_at <= job.ended_at <= time.time() + 60
        assert bool(job.input_id) is not backend.sends_inline
        assert not any("%" in handle for handle in (job.id, job.input_id or "", *job.outputs))
        assert job.errors == ()
        self.check_names(job, token)

    def test_unknown_jobs(self, backend: Any) -> None:
        """A job that is not there is NotFoundError."""
        stranger = self.stranger(backend)
        with pytest.raises(NotFoundError):
            backend.retrieve(stranger)
        with pytest.raises(NotFoundError):
            backend.cancel(stranger)

    # ---- outputs -----------------------------------------------------------------------------------------------

    def test_outputs_of_a_good_job(self, backend: Any) -> None:
        """Every row's answer, each decodable as a success that tells its tokens."""
        job = self.until(backend, self.send(backend, 5))
        results = self.results(backend, job, 5)
        assert set(results) == set(self.ids(5))
        for custom_id, result in results.items():
            assert result.outcome == "succeeded"
            assert result.usage.input_tokens > 0
            line = json.loads(result.line)
            assert (line["custom_id"], line["response"]["status_code"]) == (custom_id, 200)

    async def test_cancelling_an_ended_job(self, backend: Any) -> None:
        """A job that has ended already is no error, synchronously and not, and stays as it ended."""
        job = self.until(backend, self.send(backend, 1))
        backend.cancel(job.id)
        await backend.acancel([job.id])
        assert backend.retrieve(job.id).status is JobStatus.COMPLETED

    # ---- waiting -----------------------------------------------------------------------------------------------

    async def test_apoll_equals_retrieve(self, backend: Any) -> None:
        """Many jobs at once, in the order given, each as retrieve tells it."""
        jobs = [self.until(backend, self.send(backend, rows)) for rows in (1, 2, 3)]
        ids = [jobs[2].id, jobs[0].id, jobs[1].id, jobs[0].id]
        assert await backend.apoll(ids) == [backend.retrieve(job_id) for job_id in ids]
        assert await backend.apoll([]) == []
        with pytest.raises(NotFoundError):
            await backend.apoll([jobs[0].id, self.stranger(backend)])

    async def test_connection_refused(self, world: Any) -> None:
        """Where nobody listens, nothing can have been created, and the error says so."""
        backend: Any = self.make(world, self.secret, f"http://127.0.0.1:{free_port()}")
        calls = self.guarded(backend)
        for name in calls.keys() & {"upload", "create", "poll", "download", "find", "cancel"}:
            with pytest.raises(ProviderError) as caught:
                calls[name]()
            assert caught.value.ambiguous is False
        with pytest.raises(ProviderError) as caught:
            await backend.apoll([self.stranger(backend)])
        assert caught.value.ambiguous is False
        backend.close()


class UploadContract(BackendContract):
    """The promises of a provider that takes files, and keeps the mark by which a create is known again."""

    # ---- upload and create -------------------------------------------------------------------------------------

    def test_upload_streams_and_carries_the_token(self, backend: Any) -> None:
        """An upload is read in small pieces, arrives whole, and is named by its token."""
        data = self.wire(backend, 30_000, "x" * max(150, self.piece // 10_000))
        feed = Feed(data)
        token = new_token()
        handle = backend.upload(self.shard(data), token, feed, dict(self.upload_options))
        assert len(data) > max(4_000_000, 2 * self.piece)
        assert 0 < max(feed.sizes) <= self.piece
        assert "%" not in handle
        assert sha(backend.download(handle)) == hashlib.sha256(data).hexdigest()
        self.check_upload(backend, handle, token)

    def test_greedy_options_do_not_hide_a_job(self, backend: Any) -> None:
        """Whatever the options hold, the job is found by its token and by its call."""
        token = new_token()
        request = self.uploaded(backend, 1, token, **self.greedy)
        job = backend.create(request)
        assert [found.id for found in backend.find([known_by(token)]).jobs] == [job.id]
        assert [found.id for found in backend.find([known_by("nosuchtoken", request)]).jobs] == [job.id]

    # ---- find --------------------------------------------------------------------------------------------------

    def test_find_over_pages(self, backend: Any, world: Any) -> None:
        """A job is found by its call and by its token alone, on whatever page; an absent one is absent."""
        token = new_token()
        request = self.uploaded(backend, 1, token)
        job = backend.create(request)
        self.make_others(backend, world, self.page + 2)
        before = len(world.calls("list"))
        by_call = backend.find([known_by("nosuchtoken", request)])
        assert [found.id for found in by_call.jobs] == [job.id]
        assert len(world.calls("list")) - before >= 2
        self.check_lists(backend, world.calls("list")[before:])
        by_token = backend.find([known_by(token)])
        assert [found.id for found in by_token.jobs] == [job.id]
        absent = backend.find(
            [known_by("nosuchtoken", self.request(backend, new_token(), self.handle_of_nobody(backend)))]
        )
        assert absent.jobs == ()
        assert absent.complete is self.complete
        # X7: whoever's clock is wrong, what a token proves needs none.
        world.faults.clock_ahead = -7200.0
        assert [found.id for found in backend.find([known_by(token, request)]).jobs] == [job.id]
        world.faults.clock_ahead = 0.0
        several = [known_by(new_token()), known_by(token), known_by("nosuchtoken", request)]
        assert [found.id for found in backend.find(several).jobs] == [job.id]
        assert len(list(backend.list_jobs(limit=3))) == 3
        assert len({listed.id for listed in backend.list_jobs()}) >= self.page + 3

    def test_find_gives_the_oldest_first(self, backend: Any) -> None:
        """Of two jobs made by mistake the older comes first, also within one second."""
        token = new_token()
        request = self.uploaded(backend, 1, token)
        ids = list(dict.fromkeys(backend.create(request).id for _ in range(3)))
        assert len(ids) == (1 if self.idempotent else 3)
        assert [job.id for job in backend.find([known_by(token, request)]).jobs] == ids

    # ---- files -------------------------------------------------------------------------------------------------

    def test_unknown_files(self, backend: Any) -> None:
        """A file that is not there is NotFoundError; deleting it is no error."""
        handle = self.handle_of_nobody(backend)
        with pytest.raises(NotFoundError):
            b"".join(backend.download(handle))
        backend.delete(handle)

    def test_download_is_byte_exact_and_lazy(self, backend: Any) -> None:
        """Every byte comes back as it went, in pieces, and a reader may stop early."""
        data = '{"a": "é\u2028\u0085\U0001f600"}\r\n\n'.encode() * 60_000 + b"no end of line"
        handle = backend.upload_file("any.jsonl", io.BytesIO(data))
        chunks = list(backend.download(handle))
        assert b"".join(chunks) == data
        assert max(map(len, chunks)) <= 1 << 20
        early = backend.download(handle)
        assert data.startswith(next(early))
        early.close()
        assert sha(backend.download(handle)) == hashlib.sha256(data).hexdigest()

    def test_delete(self, backend: Any) -> None:
        """A deleted file is gone, and deleting it again is no error."""
        handle = backend.upload_file("any.jsonl", io.BytesIO(b"{}\n"))
        backend.delete(handle)
        with pytest.raises(NotFoundError):
            b"".join(backend.download(handle))
        backend.delete(handle)
