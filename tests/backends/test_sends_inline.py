"""The contract of a backend that sends the requests in its create call, to a provider that keeps no mark of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.finding import Handle
from airflow_batch_provider.core.records import JSON, Job, JobStatus
from tests.backends.contract import KEY, LEAK, NOWHERE, BackendContract, new_token
from tests.backends.faulty_contract import FakeWorld
from tests.backends.inline import InlineBackend, InlineProvider
from tests.backends.tools import Feed


class TestSendsInline(FakeWorld, BackendContract):
    """Message Batches in shape."""

    kinds: ClassVar[frozenset[str]] = frozenset({"create", "poll", "list", "output"})
    complete: ClassVar[bool] = False
    leaks: ClassVar[Mapping[str, str]] = {
        "ANTHROPIC_BASE_URL": NOWHERE,
        "ANTHROPIC_API_KEY": LEAK,
        "ANTHROPIC_AUTH_TOKEN": LEAK,
        "HTTP_PROXY": NOWHERE,
        "ALL_PROXY": NOWHERE,
    }

    @classmethod
    def fake(cls) -> Any:
        return InlineProvider(cls.secret)

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> InlineBackend:
        return InlineBackend(base or world.origin, key)

    def stranger(self, backend: Any) -> str:
        return "msgbatch_nobody"

    def handle_of_nobody(self, backend: Any) -> str:
        return ""

    def is_sent(self, call: Any, request: JSON) -> bool:
        """The rows, each once, and nothing of the record beside them."""
        names = [one["custom_id"] for one in call.body["requests"]]
        return names == self.ids(request["requests"]) and call.body.keys() == {"requests"}

    def check_names(self, job: Job, token: str) -> None:
        """There is no mark."""
        assert token not in repr(job)

    def guarded(self, backend: Any) -> dict[str, Callable[[], object]]:
        calls = super().guarded(backend)
        request = self.request(backend, new_token(), "")
        create = {"create": lambda: self.created(backend, request, 1)}
        return {name: call for name, call in calls.items() if name not in ("upload", "download", "delete")} | create

    def test_the_rows_are_read_in_pieces_and_are_not_recorded(self, backend: Any, world: Any) -> None:
        data = self.wire(backend, 8_000, "x" * 300)
        request = backend.create_request(self.shard(data), new_token(), "", {})
        assert "row-0" not in json.dumps(request)
        feed = Feed(data)
        backend.create(request, lambda: io.BufferedReader(feed))
        assert len(data) > 2 << 20
        assert 0 < max(feed.sizes) <= 1 << 20
        assert self.creates(world)[-1].body["requests"][-1]["custom_id"] == "row-7999"

    def test_find_over_pages(self, backend: Any, world: Any) -> None:
        """A create is likely known by its rows and time, on whatever page; two that fit are not chosen from, and
        absence proves nothing."""
        before = len(world.batches)
        job = self.send(backend, 17)
        for _ in range(self.page + 2):
            world.create([{"custom_id": "other", "params": {}}] * 3)
        assert len(list(backend.list_jobs())) == before + self.page + 3
        assert [found.id for found in backend.list_jobs(limit=1)] == [world.batches[-1]["id"]]
        handle = Handle("token", None, 17, job.created_at or 0.0)
        found = backend.find([handle])
        assert (found.jobs, found.complete, found.broken) == ((), False, "")
        assert [(token, one.id) for token, one in found.likely.items()] == [("token", job.id)]
        other = self.send(backend, 17)
        found = backend.find([handle])
        assert not found.likely
        assert job.id in found.broken
        assert other.id in found.broken

    def test_a_lost_answer_is_ambiguous(self, backend: Any, world: Any) -> None:
        """Whether a batch was made is unknown then."""
        from airflow_batch_provider.core.errors import ProviderError

        for kind in ("lost_answers", "lost_calls"):
            setattr(world, kind, 1)
            with pytest.raises(ProviderError) as caught:
                self.send(backend, 2)
            assert caught.value.ambiguous

    def test_cancelling_a_live_job(self, backend: Any, world: Any) -> None:
        world.holds = True
        job = self.send(backend, 2)
        backend.cancel(job.id)
        assert backend.retrieve(job.id).status is JobStatus.CANCELLING
        world.holds = False

    def test_files_are_refused_in_words(self, backend: Any) -> None:
        with pytest.raises(ConfigurationError, match="inline_batch takes no files"):
            backend.upload_file("x.jsonl", io.BytesIO(b""))
