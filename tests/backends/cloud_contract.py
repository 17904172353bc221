"""What Bedrock and Vertex AI behind a gateway promise: the contract of every backend, with what a gateway cannot do."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import Job, JobStatus, ModelRules
from airflow_batch_provider.testing import FakeProvider
from tests.backends.contract import KEY, new_token
from tests.backends.faulty_contract import FaultyContract
from tests.backends.tools import known_by
from tests.backends.wire_contract import LEAKS

ROLE = "arn:aws:iam::123456789012:role/batch"
CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
GEMINI = "gemini-2.5-flash"


class CloudContract(FaultyContract):
    """Either cloud behind either gateway; subclasses give ``make`` and what the fake plays."""

    flavor: ClassVar[str]
    behind: ClassVar[str]
    complete = False
    names_unrun = False
    leaks: ClassVar[Mapping[str, str]] = LEAKS
    greedy: ClassVar[Mapping[str, Any]] = {"extra_body": {"input_file_id": "x", "job_name": "y"}}
    words: ClassVar[Mapping[str, str]] = {
        "wrong key": "key",
        "full queue": "enqueued tokens",
        "download": "GET /files/",
    }

    @classmethod
    def fake(cls) -> FakeProvider:
        # Small jobs of any lines; what a strict gateway does is tested apart.
        return FakeProvider(cls.flavor, api_key=KEY, behind=cls.behind, minimum=1, strict=False)  # type: ignore[arg-type]

    def rules(self) -> ModelRules:
        """Files of no lines of ours ask the default model."""
        return ModelRules(default=self.model)

    def guarded(self, backend: Any) -> dict[str, Any]:
        calls = super().guarded(backend)
        del calls["delete"]  # makes no call
        return calls

    # ---- what differs ------------------------------------------------------------------------------------------

    def test_find_over_pages(self, backend: Any, world: Any) -> None:
        """A job is found on the one page there is, by its call and by its token alone; what is not there is unknown."""
        self.make_others(backend, world, 3)
        token = new_token()
        request = self.uploaded(backend, 1, token)
        job = backend.create(request)
        self.make_others(backend, world, 3)
        for found in (backend.find([known_by("nosuchtoken", request)]), backend.find([known_by(token)])):
            assert ([one.id for one in found.jobs], found.complete) == ([job.id], False)
        absent = backend.find([known_by("nosuchtoken")])
        assert (absent.jobs, absent.complete) == ((), False)
        world.faults.clock_ahead = -7200.0
        assert [one.id for one in backend.find([known_by(token, request)]).jobs] == [job.id]
        world.faults.clock_ahead = 0.0
        assert len(list(backend.list_jobs(limit=3))) == 3
        before = len(world.calls("list"))
        assert len(list(backend.list_jobs())) >= 7
        assert len(world.calls("list")) - before == 1

    def test_a_gateway_that_lists_nothing(self) -> None:
        """Where there is no list, nothing is known, and the connection can still be tested."""
        with FakeProvider(self.flavor, api_key=KEY, behind=self.behind, lists=False) as world:  # type: ignore[arg-type]
            backend = self.make(world)
            found = backend.find([known_by(new_token())])
            assert (found.jobs, found.complete) == ((), False)
            assert "lists no batches" in backend.probe()
            backend.close()

    def test_delete(self, backend: Any, caplog: pytest.LogCaptureFixture) -> None:
        """The gateway deletes nothing: that is said, and no error."""
        handle = backend.upload_file("any.jsonl", io.BytesIO(self.wire(backend, 1)))
        backend.delete(handle)
        assert handle in caplog.text
        assert "is left in the bucket" in caplog.text
        assert b"".join(backend.download(handle)) == self.wire(backend, 1)

    def test_uploads_of_one_name_are_two(self, backend: Any) -> None:
        """An object that is written again would change a job's input under it."""
        data = self.wire(backend, 1)
        handles = {backend.upload_file("same.jsonl", io.BytesIO(data)) for _ in range(2)}
        handles |= {backend.upload(self.shard(data), new_token(), io.BytesIO(data), {}) for _ in range(2)}
        assert len(handles) == 4

    def test_uploads_are_ascii_and_travel_by_token(self, backend: Any) -> None:
        """The gateway corrupts UTF-8 at chunk borders, and no custom_id can be odd enough to get lost."""
        data = self.wire(backend, 2, "né \U0001f600")
        assert data.isascii()
        assert data.endswith(b"\n")
        assert b"\r" not in data
        assert [line[:27] for line in data.split(b"\n")[:-1]] == [
            b'{"custom_id":"r0000000000",',
            b'{"custom_id":"r0000000001",',
        ]

    def test_no_model(self, backend: Any) -> None:
        """A gateway wants the model by name; where nobody says it, the remedy is told."""
        backend.models = ModelRules()
        with pytest.raises(ConfigurationError, match="default_model"):
            backend.check_route([None], [self.endpoint], {})

    @pytest.mark.parametrize("option", ["metadata", "completion_window", "output_expires_after"])
    def test_options_that_a_gateway_drops(self, backend: Any, option: str) -> None:
        """What would be lost on the way is refused."""
        with pytest.raises(ConfigurationError, match=f"{option} are unknown"):
            backend.check_route([self.model], [self.endpoint], {option: "x"})


class BedrockContract(CloudContract):
    """Bedrock behind a gateway: no counts, and a failed record loses its id."""

    behind = "bedrock"
    model = CLAUDE
    words: ClassVar[Mapping[str, str]] = {**CloudContract.words, "download": "GET /(files|batches)/"}

    def stranger(self, backend: Any) -> str:
        return "arn:aws:bedrock:us-east-1:000000000000:model-invocation-job/nobody"

    def handle_of_nobody(self, backend: Any) -> str:
        return "s3://fake-bucket/nobody.jsonl"

    def test_retrieve(self, backend: Any, world: FakeProvider) -> None:
        """A job is told in seconds, by decoded handles; Bedrock's counts are not passed on."""
        token = new_token()
        job = self.until(backend, self.send(backend, 3, token))
        assert (job.status, job.counts.total, job.counts.failed) == (JobStatus.COMPLETED, None, None)
        assert (job.created_at, job.ended_at) == tuple(
            world.batches[-1][name] for name in ("created_at", "completed_at")
        )
        assert token in str(job.input_id)
        assert "%" not in f"{job.id} {job.input_id} {job.outputs}"

    def test_the_list_has_bedrocks_own_words(self, backend: Any) -> None:
        """A listed job has the same status as a retrieved one."""
        job = self.until(backend, self.send(backend, 1))
        listed = {one.id: one for one in backend.list_jobs()}[job.id]
        assert (listed.raw_status, listed.status) == ("Completed", JobStatus.COMPLETED)

    def test_create_tells_no_status(self, backend: Any) -> None:
        """A create is answered with the id alone."""
        job = self.send(backend, 1)
        assert (job.status, job.raw_status) == (JobStatus.UNKNOWN, "")

    def nameless(self, backend: Any, job: Job, rows: int) -> Counter[tuple[str | None, str]]:
        """How often each row, or no row, ended how."""
        return Counter((result.custom_id, str(result.outcome)) for result in self.decoded(backend, job, rows))

    def test_failed_rows_among_good_ones(self, backend: Any, world: Any) -> None:
        """A failed record comes back as a bare error: it is nobody's, and the others are answered."""
        world.faults.fail_rows = {self.wire_id(1): 400, self.wire_id(3): 429}
        job = self.until(backend, self.send(backend, 5))
        good = [(name, "succeeded") for name in ("row-0", "row-2", "row-4")]
        assert self.nameless(backend, job, 5) == Counter([*good, (None, "failed"), (None, "failed")])

    def test_every_row_failed(self, backend: Any, world: Any) -> None:
        """A completed job may hold nothing but bare errors."""
        world.faults.fail_rows = {"*": 400}
        job = self.until(backend, self.send(backend, 3))
        assert self.nameless(backend, job, 3) == {(None, "failed"): 3}

    def test_expired_halfway(self, backend: Any, world: Any) -> None:
        """What an expired job has answered is there; a record that it did not come to is nobody's."""
        world.faults.expire_after_rows = 2
        job = self.until(backend, self.send(backend, 6))
        assert job.status is JobStatus.EXPIRED
        told = self.nameless(backend, job, 6)
        assert sum(1 for _, outcome in told if outcome == "succeeded") >= 2
        assert set(told) <= {*((name, "succeeded") for name in self.ids(6)), (None, "failed")}


class VertexContract(CloudContract):
    """Vertex AI behind a gateway: its own file is read, byte for byte."""

    behind = "vertex-ai"
    model = GEMINI

    def stranger(self, backend: Any) -> str:
        return "7284652661620604928"

    def handle_of_nobody(self, backend: Any) -> str:
        return "gs://fake-bucket/nobody.jsonl"

    def test_the_providers_own_file_is_read(self, backend: Any, world: Any) -> None:
        """The gateway's translation breaks UTF-8, so it is not asked for; its folder of errors is no file."""
        job = self.until(backend, self.send(backend, 3))
        assert len(self.results(backend, job, 3)) == 3
        assert [call.kind for call in world.requests if call.kind in {"download", "output"}] == ["download"]

    def test_the_translation_where_there_is_no_file(self, backend: Any, world: Any) -> None:
        """Where no file is named, the gateway's translation is read, whatever its accent."""
        world.faults.fail_rows = {self.wire_id(1): 400}
        world.faults.no_output = True
        job = self.until(backend, self.send(backend, 3))
        results = self.results(backend, job, 3)
        assert {name: result.outcome for name, result in results.items()} == {
            "row-0": "succeeded",
            "row-1": "failed",
            "row-2": "succeeded",
        }
        assert b'"finish_reason":"stop"' in results["row-0"].line
        assert len(world.calls("output")) == 1
