"""What every backend promises of a provider that fails, in every known way."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_batch_provider.backends.openai import CHAT, OpenAIBackend
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    BatchInferenceError,
    NotFoundError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RequestRejectedError,
)
from airflow_batch_provider.core.records import Job, JobError, JobStatus
from airflow_batch_provider.testing import FakeProvider, FaultPlan
from tests.backends.contract import KEY, BackendContract, new_token
from tests.backends.tools import heartbeat


class FaultyContract(BackendContract):
    """The promises that need a provider having a bad day; ``flavor`` and ``options`` choose the fake."""

    flavor: Any = "openai"
    options: dict[str, Any] = {}  # noqa: RUF012

    @pytest.fixture(scope="class")
    @classmethod
    def provider(cls) -> Iterator[FakeProvider]:
        with FakeProvider(flavor=cls.flavor, api_key=KEY, **cls.options) as fake:
            yield fake

    @pytest.fixture
    def world(self, provider: FakeProvider) -> Iterator[FakeProvider]:
        """The class's fake, without the faults and calls of the test before."""
        provider.requests.clear()
        yield provider
        for field in dataclasses.fields(FaultPlan):
            setattr(provider.faults, field.name, getattr(FaultPlan(), field.name))

    # ---- create ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, RequestRejectedError),
            (401, AuthenticationError),
            (403, AuthenticationError),
            (404, NotFoundError),
            (408, ProviderError),
            (409, ProviderError),
            (413, RequestRejectedError),
            (422, RequestRejectedError),
            (429, RateLimitedError),
            (500, ProviderError),
            (502, ProviderError),
            (503, ProviderError),
        ],
    )
    def test_refused_create_is_sent_once(
        self, backend: OpenAIBackend, world: FakeProvider, status: int, kind: type[BatchInferenceError]
    ) -> None:
        """Each status is its own error, and no create is ever repeated."""
        handle = backend.upload_file("x.jsonl", io.BytesIO(self.wire(backend, 1)))
        world.faults.create_status = [status, status]
        world.faults.retry_after = 7
        made = len(world.batches)
        with pytest.raises(BatchInferenceError, match=rf"POST /batches: HTTP {status}") as caught:
            backend.create(backend.create_body(CHAT, handle, {}, {}))
        assert type(caught.value) is kind
        assert len(world.creates) == 1
        assert len(world.batches) == made
        if isinstance(caught.value, ProviderError):
            assert (caught.value.ambiguous, caught.value.status) == (True, status)
        if isinstance(caught.value, RateLimitedError):
            assert caught.value.retry_after == 7

    def test_full_queue(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """400 token_limit_exceeded is a matter of time, not of the request."""
        handle = backend.upload_file("x.jsonl", io.BytesIO(self.wire(backend, 1)))
        world.faults.token_limit = 1
        with pytest.raises(QuotaError, match="enqueued tokens"):
            backend.create(backend.create_body(CHAT, handle, {}, {}))
        assert len(world.creates) == 1

    @pytest.mark.parametrize(
        ("fault", "made"), [("cut_before_accept", 0), ("cut_after_accept", 1), ("accepted_status", 1)]
    )
    def test_lost_answer_of_create(self, backend: OpenAIBackend, world: FakeProvider, fault: str, made: int) -> None:
        """A create without a clear answer is sent once, is ambiguous, and is found if and only if it was accepted."""
        token = new_token()
        data = self.wire(backend, 1)
        shard = self.shard(data)
        request = backend.create_request(shard, token, backend.upload(shard, token, io.BytesIO(data), {}), {})
        setattr(world.faults, fault, [500] if fault == "accepted_status" else 1)
        before = len(world.batches)
        with pytest.raises(ProviderError) as caught:
            backend.create(request)
        assert caught.value.ambiguous is True
        assert len(world.creates) == 1
        assert len(world.batches) - before == made
        assert len(backend.find(token, request, time.time() - 900).jobs) == made

    # ---- the other calls ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("status", "kind"), [(429, RateLimitedError), (500, ProviderError), (503, ProviderError)])
    async def test_no_call_retries(
        self, backend: OpenAIBackend, world: FakeProvider, status: int, kind: type[BatchInferenceError]
    ) -> None:
        """Uploading, looking, listing and downloading each ask once and tell what came."""
        job = self.until(backend, self.send(backend, 1))
        handle = backend.upload_file("x.jsonl", io.BytesIO(b"{}\n"))
        calls: dict[str, Callable[[], object]] = {
            "upload": lambda: backend.upload_file("x.jsonl", io.BytesIO(b"{}\n")),
            "poll": lambda: backend.retrieve(job.id),
            "list": lambda: backend.find("t", None, 0),
            "download": lambda: list(backend.download(handle)),
            "cancel": lambda: backend.cancel(job.id),
        }
        for name, call in calls.items():
            setattr(world.faults, f"{name}_status", [status])
            before = len(world.calls(name))
            with pytest.raises(kind):
                call()
            assert len(world.calls(name)) - before == 1
        world.faults.poll_status = [status]
        before = len(world.calls("poll"))
        with pytest.raises(kind):
            await backend.apoll([job.id])
        assert len(world.calls("poll")) - before == 1

    def test_truncated_download(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """A download that breaks off is an error, never a short file."""
        data = self.wire(backend, 2000)
        handle = backend.upload_file("x.jsonl", io.BytesIO(data))
        world.faults.cut_downloads = 1
        got: list[bytes] = []
        with pytest.raises(ProviderError, match="GET /files/"):
            got.extend(backend.download(handle))
        assert len(b"".join(got)) < len(data)
        assert b"".join(backend.download(handle)) == data

    def test_truncated_outputs(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """Results that break off are an error, for rows that seem missing would be paid again."""
        job = self.until(backend, self.send(backend, 20))
        world.faults.cut_downloads = 1
        with pytest.raises(ProviderError):
            list(backend.outputs(job))
        assert len(self.rows(backend, job)) == 20

    # ---- outputs -----------------------------------------------------------------------------------------------

    def test_successes_and_failures(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """Rows of the output file and of the error file, each once."""
        world.faults.fail_rows = {"row-1": 400, "row-3": 429}
        job = self.until(backend, self.send(backend, 5))
        assert (job.status, job.counts.failed) == (JobStatus.COMPLETED, 2)
        rows = self.rows(backend, job)
        assert {name: row["response"]["status_code"] for name, row in rows.items()} == {
            "row-0": 200,
            "row-1": 400,
            "row-2": 200,
            "row-3": 429,
            "row-4": 200,
        }

    def test_all_rows_failed(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """A completed job may hold no success; its failures are all there."""
        world.faults.fail_rows = {"*": 400}
        job = self.until(backend, self.send(backend, 3))
        assert job.status is JobStatus.COMPLETED
        assert {row["response"]["status_code"] for row in self.rows(backend, job).values()} == {400}
        assert len(self.rows(backend, job)) == 3

    def test_empty_error_file(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """An error file of zero bytes is no failure."""
        world.faults.empty_error_file = True
        job = self.until(backend, self.send(backend, 2))
        assert len(job.outputs) == 2
        assert len(self.rows(backend, job)) == 2

    def test_cancelled_halfway(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """What a cancelled job has answered is there, and the rest is told as not run."""
        world.faults.hold_after_rows = 2
        job = self.send(backend, 6)
        answered = time.monotonic() + 0.3  # long enough for two echoes, where a gateway tells no counts

        def two(seen: Job) -> bool:
            done = seen.counts.completed
            return seen.status is JobStatus.IN_PROGRESS and (time.monotonic() > answered if done is None else done >= 2)

        self.until(backend, job, two)
        assert self.rows(backend, backend.retrieve(job.id)) == {}
        backend.cancel(job.id)
        job = self.until(backend, job)
        assert job.status is JobStatus.CANCELLED
        self.check_partial(backend, job, "cancelled")

    def test_expired_halfway(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """What an expired job has answered is there, and the rest is told as expired."""
        world.faults.expire_after_rows = 2
        job = self.until(backend, self.send(backend, 6))
        assert job.status is JobStatus.EXPIRED
        self.check_partial(backend, job, "expired")

    def check_partial(self, backend: OpenAIBackend, job: Job, outcome: str) -> None:
        self.rows(backend, job)
        decode = backend.line_format("m", CHAT).decode
        results = [decode(line) for line in b"".join(backend.outputs(job)).split(b"\n")[:-1]]
        assert {result.custom_id for result in results} == {f"row-{number}" for number in range(6)}
        told = [result.outcome for result in results]
        assert set(told) == {"succeeded", outcome}
        assert 2 <= told.count("succeeded") < 6

    def test_failed_at_validation(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """A job that never ran says why, by line, and has put out nothing."""
        world.faults.job_errors = [{"code": "invalid_json_line", "message": "This line is no JSON.", "line": 3}]
        job = self.until(backend, self.send(backend, 3))
        assert job.status is JobStatus.FAILED
        assert job.errors == (JobError("This line is no JSON.", "invalid_json_line", 3, None),)
        assert list(backend.outputs(job)) == []

    def test_nothing_yet(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """A job under way has put out nothing, which is no error."""
        world.faults.hold_after_rows = 0
        job = self.send(backend, 2)
        job = self.until(backend, job, lambda seen: seen.status is JobStatus.IN_PROGRESS)
        assert list(backend.outputs(job)) == []
        backend.cancel(job.id)
        self.until(backend, job)

    # ---- odd objects -------------------------------------------------------------------------------------------

    def test_new_word_and_null_times(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """A status nobody knows is waited for; a job without times is still found."""
        world.faults.unknown_status_polls = 1
        world.faults.null_times = True
        token = new_token()
        job = self.send(backend, 1, token)
        seen = backend.retrieve(job.id)
        assert (seen.status, seen.raw_status, seen.status.is_terminal) == (
            JobStatus.UNKNOWN,
            "awaiting_moonrise",
            False,
        )
        world.faults.unknown_status_polls = 0
        assert self.until(backend, job).created_at is None
        assert [found.id for found in backend.find(token, None, time.time() + 3600).jobs] == [job.id]

    # ---- waiting and cancelling without blocking ---------------------------------------------------------------

    async def test_apoll_does_not_block(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """While fifty answers of 100 ms are waited for, everything else on the loop runs, and they run at once."""
        ids = [self.send(backend, 1).id for _ in range(2)] * 25
        await backend.apoll(ids[:1])
        world.faults.latency = 0.1
        gaps = []
        for _ in range(3):  # a busy machine may stop us once; a call that blocks does it each time
            begun = time.perf_counter()
            jobs, gap = await heartbeat(backend.apoll(ids))
            assert time.perf_counter() - begun < 50 * 0.1 / 2
            assert [job.id for job in jobs] == ids
            gaps.append(gap)
            if gap < 0.05:
                break
        assert min(gaps) < 0.05, f"the event loop stood still for {gaps} seconds"

    async def test_acancel_cancels_all(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """Every job is cancelled although one of them fails, whose error is then raised."""
        world.faults.hold_after_rows = 0
        jobs = [self.send(backend, 1) for _ in range(3)]
        with pytest.raises(NotFoundError):
            await backend.acancel([self.stranger(backend), *(job.id for job in jobs)])
        assert {self.until(backend, job).status for job in jobs} == {JobStatus.CANCELLED}

    @pytest.mark.parametrize("status", [400, 409])
    async def test_refused_cancel_of_a_living_job(
        self, backend: OpenAIBackend, world: FakeProvider, status: int
    ) -> None:
        """A refusal to cancel counts as done only when the job has ended."""
        world.faults.hold_after_rows = 0
        job = self.send(backend, 1)
        kind = RequestRejectedError if status == 400 else ProviderError
        world.faults.cancel_status = [status]
        with pytest.raises(kind):
            backend.cancel(job.id)
        world.faults.cancel_status = [status]
        with pytest.raises(kind):
            await backend.acancel([job.id])
        backend.cancel(job.id)
        self.until(backend, job)
        world.faults.cancel_status = [status, status]
        backend.cancel(job.id)
        await backend.acancel([job.id])
