"""What only backends on OpenAI's wire promise, beside what all do.

:class:`WireContract` asks an honest server, :class:`FaultyWireContract` also a ``FakeProvider`` that fails. Where two
connections differ only in their headers, one class holds the whole contract and the other :class:`FakedWireRoute`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import httpx
import pytest

from airflow_batch_provider.backends.wire.openai import TOKEN_KEY, OpenAIBackend
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    BatchInferenceError,
    NotFoundError,
    ProviderError,
    RateLimitedError,
    RequestRejectedError,
)
from airflow_batch_provider.core.records import Job, JobError, JobStatus
from airflow_batch_provider.dialects.base import Sent
from airflow_batch_provider.testing import FakeProvider
from tests.backends.contract import CHAT, LEAK, NOWHERE, RouteContract, UploadContract, new_token
from tests.backends.faulty_contract import FakeWorld, FaultyContract
from tests.backends.tools import known_by

LEAKS = {
    "OPENAI_BASE_URL": f"{NOWHERE}/v1",
    "OPENAI_API_KEY": f"{LEAK}-key",
    "OPENAI_ADMIN_KEY": f"{LEAK}-admin",
    "OPENAI_ORG_ID": f"{LEAK}-org",
    "OPENAI_PROJECT_ID": f"{LEAK}-project",
    "OPENAI_CUSTOM_HEADERS": f"X-Leak: {LEAK}\nAuthorization: Bearer {LEAK}",
    "AZURE_OPENAI_API_KEY": f"{LEAK}-azure",
    "AZURE_OPENAI_ENDPOINT": NOWHERE,
    "OPENAI_API_VERSION": f"{LEAK}-version",
}


class WireRouteContract(RouteContract):
    """A way to OpenAI's wire: whom it asks, and that rows come back. Another class holds the wire's whole contract."""

    has_bearer: ClassVar[bool] = True
    """Whether the route signs by ``Authorization``."""
    leaks: ClassVar[Mapping[str, str]] = LEAKS
    upload_options: ClassVar[Mapping[str, Any]] = {"file_name": "my rows.jsonl"}
    greedy: ClassVar[Mapping[str, Any]] = {
        "extra_body": {"metadata": {"a": "b", TOKEN_KEY: "x"}, "input_file_id": "x"},
        "metadata": {TOKEN_KEY: "y"},
    }
    words: ClassVar[Mapping[str, str]] = {
        "wrong key": "key",
        "full queue": "enqueued tokens",
        "download": "GET /files/",
    }

    def stranger(self, backend: OpenAIBackend) -> str:
        return "batch_nobody"

    def handle_of_nobody(self, backend: OpenAIBackend) -> str:
        return self.stranger(backend)

    def wire_id(self, number: int) -> str:
        return f"row-{number}"

    def shown(self, backend: OpenAIBackend) -> str:
        return f"{super().shown(backend)} {backend.route!r} {backend.facts!r}"

    def rows(self, backend: OpenAIBackend, job: Job) -> dict[str, Any]:
        """The lines that a job has put out as they came, by row."""
        data = b"".join(backend.outputs(job))
        assert not data or data.endswith(b"\n")
        lines = [json.loads(line) for line in data.split(b"\n") if line]
        assert len(lines) == len({line["custom_id"] for line in lines})
        return {line["custom_id"]: line for line in lines}

    def check_upload(self, backend: OpenAIBackend, handle: str, token: str) -> None:
        """Named by stem and token, and meant for batches."""
        url = f"{backend.route.base_url}/files/{quote(handle, safe='')}"
        told = httpx.get(url, headers=dict(backend.route.headers), params=dict(backend.route.query)).json()
        assert told["filename"].startswith("my")
        assert told["filename"].endswith(f"-{token}.jsonl")
        assert told["purpose"] == "batch"

    def check_lists(self, backend: OpenAIBackend, calls: list[Any]) -> None:
        """Whole pages are asked for, and the list is as complete as the facts say."""
        assert {call.query["limit"] for call in calls} == {"100"}
        assert backend.find_is_complete is self.complete

    def check_names(self, job: Job, token: str) -> None:
        """The token is the metadata, and all of it."""
        assert job.metadata == {TOKEN_KEY: token}

    def check_call(self, backend: OpenAIBackend, call: Any) -> None:
        """Exactly the route's headers of those that tell who asks."""
        expected = {name.lower(): value for name, value in backend.route.headers}
        assert ("authorization" in expected) is self.has_bearer
        assert {name: call.headers.get(name) for name in expected} == expected
        theirs = {"authorization", "openai-organization", "openai-project", "api-key"}
        assert not (theirs - expected.keys()) & call.headers.keys()
        assert dict(backend.route.query).items() <= call.query.items()

    def test_good_rows_as_they_came(self, backend: OpenAIBackend) -> None:
        """The lines themselves carry the custom_ids, and decode without knowing what was sent."""
        job = self.until(backend, self.send(backend, 5))
        assert set(self.rows(backend, job)) == set(self.ids(5))
        decode = backend.line_format("m", CHAT).decode
        for line in b"".join(backend.outputs(job)).split(b"\n")[:-1]:
            result = decode(line, Sent())
            assert result.outcome == "succeeded"
            assert result.usage.input_tokens > 0

    def test_route_holds_the_secret(self, backend: OpenAIBackend) -> None:
        """The secret is a header's value, and whom to ask is told as the route and the facts have it."""
        assert any(self.secret in value for _, value in backend.route.headers)
        assert backend.identity["base_url"] == backend.route.base_url
        assert backend.identity["type"] == backend.name == backend.facts.name


class WireContract(WireRouteContract, UploadContract):
    """OpenAI's wire on an honest server. Subclasses give ``world`` and ``make``."""

    def test_create_body(self, backend: OpenAIBackend) -> None:
        """The create call names the file, the window, and the author's metadata with the token."""
        shard = self.shard(b"{}\n")
        made = backend.create_request(shard, "tok", "file-1", {"metadata": {"team": "a"}})
        assert made == backend.create_request(shard, "tok", "file-1", {"metadata": {"team": "a"}})
        assert made["input_file_id"] == "file-1"
        assert made["completion_window"] == "24h"
        assert made["metadata"] == {"team": "a", TOKEN_KEY: "tok"}
        assert self.secret not in json.dumps(made)

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

    def test_find_among_creates_without_a_token(self, backend: OpenAIBackend) -> None:
        """Jobs that carry no metadata at all, as others make them, neither hide ours nor are taken for it."""
        token = new_token()
        data = self.wire(backend, 1)
        other = backend.upload(self.shard(data), new_token(), io.BytesIO(data), {})
        request = self.uploaded(backend, 1, token)
        backend.create(backend.create_body(CHAT, other, {}, {}))
        job = backend.create(request)
        backend.create(backend.create_body(CHAT, other, {}, {}))
        for asked in (request, None):
            assert [found.id for found in backend.find([known_by(token, asked)]).jobs] == [job.id]


class FakedWireRoute(FakeWorld, WireRouteContract):
    """A way to the wire of a fake; ``flavor`` and ``options`` choose it."""

    flavor: ClassVar[Any] = "openai"
    options: ClassVar[dict[str, Any]] = {}

    @classmethod
    def fake(cls) -> FakeProvider:
        return FakeProvider(flavor=cls.flavor, api_key=cls.secret, **cls.options)


class FaultyWireContract(FakedWireRoute, WireContract, FaultyContract):
    """OpenAI's wire on a bad day."""

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
        """Failures keep their status where no output file is."""
        world.faults.fail_rows = {"*": 400}
        job = self.until(backend, self.send(backend, 3))
        assert job.status is JobStatus.COMPLETED
        rows = self.rows(backend, job)
        assert {row["response"]["status_code"] for row in rows.values()} == {400}
        assert len(rows) == 3

    def test_empty_error_file(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """An error file of zero bytes is no failure."""
        world.faults.empty_error_file = True
        job = self.until(backend, self.send(backend, 2))
        assert len(job.outputs) == 2
        assert len(self.rows(backend, job)) == 2

    def check_partial(self, backend: OpenAIBackend, job: Job, outcome: str) -> None:
        """Also without knowing what was sent."""
        super().check_partial(backend, job, outcome)
        self.rows(backend, job)
        decode = backend.line_format("m", CHAT).decode
        results = [decode(line, Sent()) for line in b"".join(backend.outputs(job)).split(b"\n")[:-1]]
        assert {result.custom_id for result in results} == {f"row-{number}" for number in range(6)}
        told = [result.outcome for result in results]
        assert set(told) == {"succeeded", outcome}
        assert 2 <= told.count("succeeded") < 6

    def test_why_validation_failed(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """A job that never ran says why by line and code."""
        world.faults.job_errors = [{"code": "invalid_json_line", "message": "This line is no JSON.", "line": 3}]
        job = self.until(backend, self.send(backend, 3))
        assert job.errors == (JobError("This line is no JSON.", "invalid_json_line", 3, None),)

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
        assert [found.id for found in backend.find([known_by(token)]).jobs] == [job.id]

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
