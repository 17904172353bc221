"""What every backend promises of a provider that fails, in every known way; see ``contract`` for what to override."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from airflow_batch_provider.core.errors import (
    AuthenticationError,
    BatchInferenceError,
    NotFoundError,
    ProviderError,
    QuotaError,
    RateLimitedError,
)
from airflow_batch_provider.core.records import Job, JobStatus
from tests.backends.contract import UploadContract, new_token
from tests.backends.harness import Harness
from tests.backends.tools import heartbeat, known_by
from tests.patience import PATIENCE

ERRORS: dict[int, type[BatchInferenceError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    429: RateLimitedError,
    500: ProviderError,
    502: ProviderError,
    503: ProviderError,
}


class FakeWorld(Harness):
    """The fake of a class of tests.

    A subclass gives ``fake``, whose ``faults`` is a :class:`~airflow_batch_provider.testing.FaultPlan`.
    """

    @classmethod
    def fake(cls) -> Any:
        """The provider, as a context manager, accepting ``secret``."""
        raise TypeError("each provider has its own fake")

    @pytest.fixture(scope="class")
    @classmethod
    def provider(cls) -> Iterator[Any]:
        with cls.fake() as fake:
            yield fake

    @pytest.fixture
    def world(self, provider: Any) -> Iterator[Any]:
        """The class's fake, without the faults and calls of the test before."""
        provider.requests.clear()
        yield provider
        fresh = type(provider.faults)()
        for field in dataclasses.fields(fresh):
            setattr(provider.faults, field.name, getattr(fresh, field.name))


class FaultyContract(FakeWorld, UploadContract):
    """The promises that need a provider having a bad day."""

    apoll_kind: ClassVar[str] = "poll"
    """The kind of call that ``apoll`` makes."""
    full_queue: ClassVar[type[BatchInferenceError]] = QuotaError
    tells_retry_after: ClassVar[bool] = True
    new_word: ClassVar[str] = "awaiting_moonrise"
    """The status nobody knows, as the backend passes it on in ``raw_status``."""
    names_unrun: ClassVar[bool] = True
    """Whether an ended job has a line also for a row that never ran."""
    tells_early: ClassVar[bool] = False
    """Whether answers can be had while the job still runs."""
    expired: ClassVar[JobStatus] = JobStatus.EXPIRED
    """How a job ends that ran out of time in mid-work."""

    def error_of(self, kind: str, status: int) -> type[BatchInferenceError]:
        """What an HTTP status means on a kind of call."""
        return ERRORS[status]

    # ---- create ------------------------------------------------------------------------------------------------

    def test_full_queue(self, backend: Any, world: Any) -> None:
        """A full queue is a matter of time, not of the request."""
        request = self.uploaded(backend, 1, new_token())
        world.faults.token_limit = 1
        with pytest.raises(self.full_queue, match=self.words.get("full queue")):
            backend.create(request)
        assert len(self.creates(world)) == 1

    @pytest.mark.parametrize(
        ("fault", "made"), [("cut_before_accept", 0), ("cut_after_accept", 1), ("accepted_status", 1)]
    )
    def test_lost_answer_of_create(self, backend: Any, world: Any, fault: str, made: int) -> None:
        """A create without a clear answer is sent once, is ambiguous, and is found if and only if it was accepted."""
        token = new_token()
        request = self.uploaded(backend, 1, token)
        setattr(world.faults, fault, [500] if fault == "accepted_status" else 1)
        before = len(world.batches)
        with pytest.raises(ProviderError) as caught:
            backend.create(request)
        assert caught.value.ambiguous is True
        assert len(self.creates(world)) == 1
        assert len(world.batches) - before == made
        assert len(backend.find([known_by(token, request)]).jobs) == made
        assert len(backend.find([known_by(token)]).jobs) == made

    def test_late_accept_is_found(self, backend: Any, world: Any) -> None:
        """A job that comes to be only after its create was cut is found once it is there."""
        token = new_token()
        request = self.uploaded(backend, 1, token)
        world.faults.late_accept = [0.3]
        begun = time.monotonic()
        with pytest.raises(ProviderError) as caught:
            backend.create(request)
        assert caught.value.ambiguous is True
        early = backend.find([known_by(token, request)])
        assert early.jobs == () or time.monotonic() - begun >= 0.3
        deadline = time.monotonic() + PATIENCE
        while not (found := backend.find([known_by(token, request)]).jobs):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert len(found) == len(self.creates(world)) == 1
        assert self.until(backend, found[0]).status is JobStatus.COMPLETED

    # ---- every call --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("status", sorted(ERRORS))
    async def test_no_call_retries(self, backend: Any, world: Any, status: int) -> None:
        """Each status is its own error on each kind of call, and no call is ever repeated."""
        job = self.until(backend, self.send(backend, 1))
        handle = backend.upload_file("x.jsonl", io.BytesIO(b"{}\n"))
        request = self.uploaded(backend, 1, new_token())
        made = len(world.batches)
        world.faults.retry_after = 7
        calls: dict[str, Callable[[], object]] = {
            "upload": lambda: backend.upload_file("x.jsonl", io.BytesIO(b"{}\n")),
            "create": lambda: backend.create(request),
            "poll": lambda: backend.retrieve(job.id),
            "list": lambda: backend.find([known_by("t")]),
            "download": lambda: list(backend.download(handle)),
            "cancel": lambda: backend.cancel(job.id),
        }
        for kind, call in calls.items():
            setattr(world.faults, f"{kind}_status", [status, status])
            before = len(world.calls(kind))
            with pytest.raises(BatchInferenceError) as caught:
                call()
            self.check_status(kind, status, caught.value)
            assert len(world.calls(kind)) - before == 1
            setattr(world.faults, f"{kind}_status", [])
        assert len(world.batches) == made
        for kind, work in ((self.apoll_kind, backend.apoll), ("cancel", backend.acancel)):
            setattr(world.faults, f"{kind}_status", [status, status])
            before = len(world.calls(kind))
            with pytest.raises(BatchInferenceError) as caught:
                await work([job.id])
            self.check_status(kind, status, caught.value)
            assert len(world.calls(kind)) - before == 1
            setattr(world.faults, f"{kind}_status", [])

    def check_status(self, kind: str, status: int, error: BatchInferenceError) -> None:
        assert type(error) is self.error_of(kind, status), f"{kind} {status}: {error!r}"
        if isinstance(error, ProviderError):
            assert (error.ambiguous, error.status) == (True, status)
        if isinstance(error, RateLimitedError) and status == 429 and self.tells_retry_after:
            assert error.retry_after == 7

    def test_truncated_download(self, backend: Any, world: Any) -> None:
        """A6: a download that breaks off goes on where it stopped, or is an error; never a short file."""
        data = self.wire(backend, 2000)
        handle = backend.upload_file("x.jsonl", io.BytesIO(data))
        world.faults.cut_downloads = 1
        got: list[bytes] = []
        try:
            got.extend(backend.download(handle))
        except ProviderError:
            assert len(b"".join(got)) < len(data)
            got = list(backend.download(handle))
        assert world.faults.cut_downloads == 0
        assert b"".join(got) == data

    def test_truncated_outputs(self, backend: Any, world: Any) -> None:
        """A6: results that break off go on or are an error, for rows that seem missing would be paid again."""
        job = self.until(backend, self.send(backend, 20))
        world.faults.cut_downloads = 1
        with contextlib.suppress(ProviderError):
            assert b"".join(backend.outputs(job)) == b"".join(backend.outputs(job))
        assert len(self.results(backend, job, 20)) == self.count(20)

    # ---- outputs -----------------------------------------------------------------------------------------------

    def test_failed_rows_among_good_ones(self, backend: Any, world: Any) -> None:
        """A row that failed says so and whether asking again helps; the others are answered."""
        world.faults.fail_rows = {self.wire_id(1): 400, self.wire_id(3): 429}
        job = self.until(backend, self.send(backend, 5))
        assert (job.status, job.counts.failed) == (JobStatus.COMPLETED, 2)
        results = self.results(backend, job, 5)
        assert set(results) == set(self.ids(5))
        failed = {name: result.retryable for name, result in results.items() if result.outcome != "succeeded"}
        assert failed == {"row-1": False, "row-3": True}
        assert {results[name].outcome for name in failed} == {"failed"}

    def test_every_row_failed(self, backend: Any, world: Any) -> None:
        """A completed job may hold no success; its failures are all there."""
        world.faults.fail_rows = {"*": 400}
        job = self.until(backend, self.send(backend, 3))
        assert job.status is JobStatus.COMPLETED
        results = self.results(backend, job, 3)
        assert set(results) == set(self.ids(3))
        assert {(result.outcome, result.retryable) for result in results.values()} == {("failed", False)}

    @pytest.mark.parametrize("fault", ["reorder", "drop", "duplicate", "foreign", "malformed"])
    def test_spoiled_lines(self, backend: Any, world: Any, fault: str) -> None:
        """Lines out of order, lost, doubled, of others and broken are all read; each good one still tells its row."""
        setattr(world.faults, fault, True if fault == "reorder" else 1)
        job = self.until(backend, self.send(backend, 5))
        lines = self.decoded(backend, job, 5)
        ours = set(self.ids(5))
        seen = Counter(result.custom_id for result in lines if result.custom_id in ours)
        strangers = [result for result in lines if result.custom_id not in ours]
        assert bool(strangers) == (fault in {"foreign", "malformed"})
        assert (set(seen) < ours) == (fault == "drop")
        assert (seen.total() > len(seen)) == (fault == "duplicate")
        assert {result.outcome for result in lines if result.custom_id in ours} == {"succeeded"}
        if fault == "malformed":
            assert {(result.custom_id, result.outcome) for result in strangers} == {(None, "invalid")}

    def test_cancelled_halfway(self, backend: Any, world: Any) -> None:
        """What a cancelled job has answered is there, and the rest is told as not run."""
        world.faults.hold_after_rows = 2
        job = self.send(backend, 6)
        answered = time.monotonic() + 0.3  # long enough for two echoes, where a gateway tells no counts

        def two(seen: Job) -> bool:
            done = seen.counts.completed
            return seen.status is JobStatus.IN_PROGRESS and (time.monotonic() > answered if done is None else done >= 2)

        self.until(backend, job, two)
        if not self.tells_early:
            assert self.results(backend, backend.retrieve(job.id), 6) == {}
        backend.cancel(job.id)
        job = self.until(backend, job)
        assert job.status is JobStatus.CANCELLED
        self.check_partial(backend, job, "cancelled")

    def test_expired_halfway(self, backend: Any, world: Any) -> None:
        """What an expired job has answered is there, and the rest is told as expired."""
        world.faults.expire_after_rows = 2
        job = self.until(backend, self.send(backend, 6))
        assert job.status is self.expired
        self.check_partial(backend, job, "expired")

    def check_partial(self, backend: Any, job: Job, outcome: str) -> None:
        results = self.results(backend, job, 6)
        told = Counter(str(result.outcome) for result in results.values())
        assert 2 <= told["succeeded"] < self.count(6)
        if self.names_unrun:
            assert set(results) == set(self.ids(6))
            assert set(told) == {"succeeded", outcome}
        else:
            assert set(told) <= {"succeeded", outcome}
        # Whoever cancelled is not overruled by the next round; a person's new try asks those rows.
        for result in results.values():
            assert result.retryable is (result.outcome == "expired")

    def test_failed_at_validation(self, backend: Any, world: Any) -> None:
        """A job that never ran says why, and has put out nothing."""
        world.faults.job_errors = [{"code": "invalid_json_line", "message": "This line is no JSON.", "line": 3}]
        job = self.until(backend, self.send(backend, 3))
        assert job.status is JobStatus.FAILED
        assert "This line is no JSON." in " ".join(map(str, job.errors))
        assert list(backend.outputs(job)) == []

    def test_nothing_yet(self, backend: Any, world: Any) -> None:
        """A job under way has put out nothing, which is no error."""
        world.faults.hold_after_rows = 0
        job = self.send(backend, 2)
        job = self.until(backend, job, lambda seen: seen.status is JobStatus.IN_PROGRESS)
        assert list(backend.outputs(job)) == []
        backend.cancel(job.id)
        self.until(backend, job)

    # ---- waiting and cancelling without blocking ---------------------------------------------------------------

    async def test_new_word_is_waited_for(self, backend: Any, world: Any) -> None:
        """An unknown status of a job that goes on is reported as it is and is not an end, whoever looks."""
        world.faults.unknown_status_polls, world.faults.hold_after_rows = 1_000_000, 0
        job = self.send(backend, 1)
        for seen in (backend.retrieve(job.id), *await backend.apoll([job.id])):
            assert (seen.status, seen.raw_status, seen.status.is_terminal) == (JobStatus.UNKNOWN, self.new_word, False)
        backend.cancel(job.id)
        world.faults.unknown_status_polls, world.faults.hold_after_rows = 0, None
        assert self.until(backend, self.send(backend, 1)).status is JobStatus.COMPLETED

    @pytest.mark.alone
    async def test_apoll_does_not_block(self, backend: Any, world: Any) -> None:
        """While fifty answers of a second are waited for, everything else on the loop runs, and they run at once."""
        ids = [self.send(backend, 1).id for _ in range(2)] * 25
        await backend.apoll(ids[:1])
        world.faults.latency = 1.0  # far longer than a busy machine stops us
        begun = time.perf_counter()
        jobs, gap = await heartbeat(backend.apoll(ids))
        assert time.perf_counter() - begun < 50 / 2
        assert [job.id for job in jobs] == ids
        assert gap < 0.5, f"the event loop stood still for {gap} seconds"

    async def test_acancel_cancels_all(self, backend: Any, world: Any) -> None:
        """Every job is cancelled although one of them fails, whose error is then raised."""
        world.faults.hold_after_rows = 0
        jobs = [self.send(backend, 1) for _ in range(3)]
        with pytest.raises(NotFoundError):
            await backend.acancel([self.stranger(backend), *(job.id for job in jobs)])
        assert {self.until(backend, job).status for job in jobs} == {JobStatus.CANCELLED}
