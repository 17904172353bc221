"""Google Vertex AI: the contract, against the fake with Google's real clients, and what only Vertex AI has."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from airflow_batch_provider.backends.vertex.backend import VertexBackend, VertexPlace
from airflow_batch_provider.backends.vertex.jobs import TOKEN_LABEL
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    ConfigurationError,
    RequestRejectedError,
)
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.dialects.base import Sent
from airflow_batch_provider.testing.vertex import FakeVertex, VertexFaults
from tests.backends.faulty_contract import FaultyContract
from tests.backends.harness import CHAT, LEAK, NOWHERE, new_token
from tests.facts import VERTEX_AI

GEMINI, CLAUDE = "gemini-2.5-flash", "claude-haiku-4-5@20251001"
OPEN = "meta/llama-4-maverick-17b-128e-instruct-maas"


def credentials_of(token: str) -> Callable[[], Any]:
    def make() -> Any:
        from google.oauth2.credentials import Credentials

        return Credentials(token=token)

    return make


def backend_of(world: FakeVertex, token: str | None = None, base: str | None = None, **place: Any) -> VertexBackend:
    where = VertexPlace(**{"project": world.project, "region": world.region, "bucket": world.bucket, **place})
    urls = {"vertex_url": base or world.vertex_url, "storage_url": base or world.storage_url}
    return VertexBackend(where, credentials_of(token or world.token), VERTEX_AI, **urls)


class TestVertexAI(FaultyContract):
    """The contract, for Gemini."""

    model: ClassVar[str] = GEMINI
    secret: ClassVar[str] = FakeVertex.token
    piece: ClassVar[int] = 8 << 20
    names_unrun: ClassVar[bool] = False
    kinds: ClassVar[frozenset[str]] = frozenset({"upload", "create", "poll", "list", "objects", "download"})
    greedy: ClassVar[dict[str, Any]] = {"job_name": "mine + yours"}
    upload_options: ClassVar[dict[str, Any]] = {"file_name": "my=rows 2026-01-01T00:00:00+00:00.jsonl"}
    words: ClassVar[dict[str, str]] = {"wrong key": "credentials", "full queue": "Quota", "download": "download of"}
    leaks: ClassVar[dict[str, str]] = {
        "GOOGLE_CLOUD_PROJECT": f"{LEAK}-project",
        "GCLOUD_PROJECT": f"{LEAK}-project",
        "GOOGLE_CLOUD_LOCATION": f"{LEAK}-region",
        "GOOGLE_CLOUD_QUOTA_PROJECT": f"{LEAK}-quota",
        "GOOGLE_APPLICATION_CREDENTIALS": f"/{LEAK}.json",
        "STORAGE_EMULATOR_HOST": NOWHERE,
    }

    @classmethod
    def fake(cls) -> FakeVertex:
        return FakeVertex()

    def make(self, world: FakeVertex, key: str | None = None, base: str | None = None) -> VertexBackend:
        return backend_of(world, key, base, prefix="team a/dt=2026-01-01")

    def stranger(self, backend: VertexBackend) -> str:
        return f"{backend.place.parent}/batchPredictionJobs/123"

    def handle_of_nobody(self, backend: VertexBackend) -> str:
        return f"gs://{backend.place.bucket}/nobody/none.jsonl"

    def is_sent(self, call: Any, request: dict[str, Any]) -> bool:
        return bool(call.body == request)

    def check_upload(self, backend: VertexBackend, handle: str, token: str) -> None:
        stem = "my-rows-2026-01-01T00-00-00-00-00"
        assert handle == f"gs://{backend.place.bucket}/team-a/dt-2026-01-01/{stem}-{token}.jsonl"

    async def test_new_word_is_waited_for(self, backend: VertexBackend, world: FakeVertex) -> None:
        """A state nobody knows is no end, whoever looks; Google's own client drops the word."""
        world.faults.unknown_status_polls = 1_000_000
        job = self.send(backend, 1)
        for seen in (backend.retrieve(job.id), *await backend.apoll([job.id])):
            assert (seen.status, seen.status.is_terminal) == (JobStatus.UNKNOWN, False)
        assert seen.raw_status == "JOB_STATE_AWAITING_MOONRISE"

    def check_names(self, job: Any, token: str) -> None:
        assert job.metadata[TOKEN_LABEL] == token
        assert job.model == GEMINI


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeVertex]:
    with FakeVertex() as running:
        yield running


@pytest.fixture
def world(fake: FakeVertex) -> Iterator[FakeVertex]:
    """The module's fake, without what the test before has left."""
    fake.requests.clear()
    yield fake
    fake.deny, fake.location = frozenset(), "US-CENTRAL1"
    for name in VertexFaults.__dataclass_fields__:
        setattr(fake.faults, name, getattr(VertexFaults(), name))


helper = TestVertexAI()


# ---- models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [CLAUDE, OPEN])
def test_other_models(world: FakeVertex, model: str) -> None:
    """Claude and open models answer in their own formats, by the same backend."""

    class Other(TestVertexAI):
        pass

    Other.model = model
    tools = Other()
    backend = backend_of(world)
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    asked = [
        type(request)(*request[:3], body | {"messages": request.body["messages"]}, *request[4:])
        for request in tools.requests(4)
    ]
    line_format = backend.line_format(model, CHAT)
    data = b"".join(line_format.encode(request, number) + b"\n" for number, request in enumerate(asked))
    shard = tools.shard(data)
    uri = backend.upload(shard, token := new_token(), io.BytesIO(data), {})
    job = tools.until(backend, backend.create(backend.create_request(shard, token, uri, {})))
    assert job.status is JobStatus.COMPLETED, job
    results = tools.results(backend, job, 4)
    assert {row: result.outcome for row, result in results.items()} == dict.fromkeys(tools.ids(4), "succeeded")
    backend.close()


@pytest.mark.parametrize(
    ("faults", "copies"),
    [({}, 1), ({"keys_not_echoed": True}, 1), ({"keys_not_echoed": True, "labels_not_echoed": True}, 2)],
    ids=["key", "label", "fingerprint"],
)
def test_rows_are_known_by_key_label_or_fingerprint(world: FakeVertex, faults: dict[str, bool], copies: int) -> None:
    """Google documents no echo of our key, so each of the three ways must do alone; equal rows are told apart."""
    for name, value in faults.items():
        setattr(world.faults, name, value)
    backend = backend_of(world)
    data = helper.wire(backend, 6)
    lines = data.split(b"\n")[:-1]
    twins = [*lines[:-1], lines[0].replace(b"r0000000000", b"r0000000005")] if copies == 2 else lines
    sent = b"".join(line + b"\n" for line in twins)
    shard = helper.shard(sent)
    uri = backend.upload(shard, token := new_token(), io.BytesIO(sent), {})
    job = helper.until(backend, backend.create(backend.create_request(shard, token, uri, {})))
    decode = backend.line_format(GEMINI, CHAT).decode
    known = Sent(helper.ids(6), lambda: twins)
    found = [decode(line, known) for line in b"".join(backend.outputs(job)).split(b"\n")[:-1]]
    assert sorted(str(result.custom_id) for result in found) == helper.ids(6)
    said = {r.custom_id: json.loads(r.line)["response"]["body"]["choices"][0]["message"]["content"] for r in found}
    assert said["row-3"] == "hello 3"
    assert said["row-5"] == ("hello 0" if copies == 2 else "hello 5")
    backend.close()


@pytest.mark.parametrize("echoed", [True, False], ids=["key", "fingerprint"])
def test_rows_without_labels(world: FakeVertex, echoed: bool) -> None:
    """B17: with ``row_labels`` off no row has a label of its own, and every row has its answer, equal rows too."""
    world.faults.keys_not_echoed = not echoed
    backend = backend_of(world)
    backend.place = replace(backend.place, row_labels=False)
    data = helper.wire(backend, 6)
    assert b"labels" not in data
    lines = data.split(b"\n")[:-1]
    twins = [*lines[:-1], lines[0].replace(b"r0000000000", b"r0000000005")]
    sent = b"".join(line + b"\n" for line in twins)
    shard = helper.shard(sent)
    uri = backend.upload(shard, token := new_token(), io.BytesIO(sent), {})
    job = helper.until(backend, backend.create(backend.create_request(shard, token, uri, {})))
    decode = backend.line_format(GEMINI, CHAT).decode
    known = Sent(helper.ids(6), lambda: twins)
    found = [decode(line, known) for line in b"".join(backend.outputs(job)).split(b"\n")[:-1]]
    said = {r.custom_id: json.loads(r.line)["response"]["body"]["choices"][0]["message"]["content"] for r in found}
    assert said == {f"row-{n}": f"hello {n}" for n in range(5)} | {"row-5": "hello 0"}
    backend.close()


def test_blocked_prompts(world: FakeVertex) -> None:
    """A blocked prompt is an answer that says so."""
    world.faults.blocked_rows = 1
    backend = backend_of(world)
    job = helper.until(backend, helper.send(backend, 3))
    choices = [json.loads(result.line)["response"]["body"]["choices"][0] for result in helper.decoded(backend, job, 3)]
    assert sorted(choice["finish_reason"] for choice in choices) == ["content_filter", "stop", "stop"]
    backend.close()


def test_partially_succeeded_is_an_end(world: FakeVertex) -> None:
    """PARTIALLY_SUCCEEDED ends the wait, and what was answered is had."""
    world.faults.partially, world.faults.expire_after_rows = True, 2
    backend = backend_of(world)
    job = helper.until(backend, helper.send(backend, 5))
    assert job.status is JobStatus.PARTIALLY_COMPLETED
    assert len(helper.decoded(backend, job, 5)) == 2
    backend.close()


# ---- before anything is sent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "models", "options", "said"),
    [
        ({"missing": ("the project is missing; set project to its id",)}, [GEMINI], {}, "project is missing"),
        ({}, [None], {}, "set body.model"),
        ({}, ["acme-1"], {}, "model_families"),
        ({"region": "global"}, [CLAUDE], {}, "global endpoint"),
        ({"region": "global"}, [OPEN], {}, "global endpoint"),
        ({"bucket": "gs://b"}, [GEMINI], {}, "without gs://"),
        ({"bucket": "no-such-bucket"}, [GEMINI], {}, "bucket 'no-such-bucket' does not exist"),
        ({}, [GEMINI], {"tags": {}}, "tags are unknown"),
        ({}, [GEMINI], {"labels": []}, "labels must be an object"),
        ({}, [GEMINI], {"labels": {"Team": "a"}}, "'Team' is not a valid label name"),
        ({}, [GEMINI], {"labels": {"team": "A b"}}, "'A b' is not a valid label value"),
        ({}, [GEMINI], {"labels": {TOKEN_LABEL: "x"}}, "choose another name"),
        ({}, [GEMINI], {"output_prefix": "s3://b/x"}, "output_prefix"),
    ],
)
def test_what_cannot_work_is_refused(
    world: FakeVertex, place: dict[str, Any], models: list[str | None], options: dict[str, Any], said: str
) -> None:
    """Fields, options, labels, models and regions that cannot work are told before anything is sent."""
    backend = backend_of(world, **place)
    with pytest.raises(ConfigurationError, match=said):
        backend.check_route(models, [CHAT], options)
    assert world.calls("upload") == world.creates == []
    backend.close()


def test_a_bucket_elsewhere(world: FakeVertex) -> None:
    """A bucket that does not serve the region is refused, both named."""
    world.location = "EUROPE-WEST4"
    backend = backend_of(world)
    with pytest.raises(ConfigurationError, match="EUROPE-WEST4, the jobs run in us-central1"):
        backend.check_route([GEMINI], [CHAT], {})
    backend.close()


def test_what_may_not_be_looked_at_is_not_checked(world: FakeVertex, caplog: pytest.LogCaptureFixture) -> None:
    """With object rights alone a run goes on, and the probe says what it could not see."""
    world.deny = frozenset({"storage.buckets.get", "storage.objects.delete", "aiplatform.batchPredictionJobs.list"})
    backend = backend_of(world)
    with caplog.at_level(logging.INFO):
        backend.check_route([GEMINI], [CHAT], {})
    assert "was not checked" in caplog.text
    said = backend.probe()
    assert "location not checked" in said
    assert "jobs not checked" in said
    assert "left in the bucket" in said
    assert helper.until(backend, helper.send(backend, 2)).status is JobStatus.COMPLETED
    backend.close()


@pytest.mark.parametrize("right", ["storage.objects.create", "storage.objects.get", "storage.objects.list"])
def test_what_a_run_cannot_do_without(world: FakeVertex, right: str) -> None:
    """A missing right on objects fails the probe, by name."""
    world.deny = frozenset({right})
    backend = backend_of(world)
    with pytest.raises(AuthenticationError, match=right):
        backend.probe()
    backend.close()


# ---- calls ---------------------------------------------------------------------------------------------------------


def test_credentials_that_cannot_be_had(world: FakeVertex) -> None:
    """No credentials: nothing was sent, and the remedy is told."""

    def none() -> Any:
        from google.auth.exceptions import DefaultCredentialsError

        raise DefaultCredentialsError("none found")

    backend = VertexBackend(backend_of(world).place, none, VERTEX_AI, vertex_url=world.vertex_url)
    with pytest.raises(AuthenticationError, match=r"none found.*gcp_conn_id"):
        backend.retrieve("1")


def test_a_number_is_an_id(world: FakeVertex) -> None:
    """A job is known by its resource name or its number."""
    backend = backend_of(world)
    job = helper.send(backend, 1)
    assert backend.retrieve(job.id.rpartition("/")[2]).id == job.id
    backend.close()


@pytest.mark.parametrize("status", [400, 412])
def test_a_refused_create(world: FakeVertex, status: int) -> None:
    """A 4xx made nothing."""
    backend = backend_of(world)
    request = helper.uploaded(backend, 1, new_token())
    world.faults.create_status = [status]
    with pytest.raises(RequestRejectedError):
        backend.create(request)
    backend.close()


def test_the_importer_fails_the_job_with_its_reason(world: FakeVertex) -> None:
    """A file that the importer refuses fails the job; nothing is put out, the reason is told."""
    backend = backend_of(world)
    data = b'{"custom_id": "r0", "request": {"contents": []}}\n{"custom_id": "r1", "request": {"contents": {"a": 1}}}\n'
    shard = helper.shard(data)
    uri = backend.upload(shard, token := new_token(), io.BytesIO(data), {})
    job = helper.until(backend, backend.create(backend.create_request(shard, token, uri, {})))
    assert job.status is JobStatus.FAILED
    assert "Repeated field must be imported as a JSON array" in job.errors[0].message
    assert list(backend.outputs(job)) == []
    backend.close()


async def test_tokens_are_fetched_off_the_loop(world: FakeVertex) -> None:
    """A token that must be fetched is, in a thread; an error of that is told, and nothing was sent."""

    class Broken:
        valid = False
        token = None

        def refresh(self, request: Any) -> None:
            from google.auth.exceptions import RefreshError

            raise RefreshError("the key was deleted")

    backend = VertexBackend(backend_of(world).place, Broken, VERTEX_AI, vertex_url=world.vertex_url)
    with pytest.raises(AuthenticationError, match="the key was deleted"):
        await backend.apoll(["1"])
    assert world.requests == []
