"""Vertex AI's calls: what is found, put out, refused and lost, against the fake and against answers of nobody's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_batch_provider.backends.vertex.backend import VertexBackend
from airflow_batch_provider.core.errors import AuthenticationError, ConfigurationError, NotFoundError, ProviderError
from airflow_batch_provider.core.records import JobStatus, ModelRules
from airflow_batch_provider.testing.vertex import FakeVertex, VertexFaults
from tests.backends.harness import Harness, new_token
from tests.backends.scripted import Scripted, answer
from tests.backends.test_vertex_ai import CLAUDE, GEMINI, backend_of
from tests.backends.tools import heartbeat, known_by
from tests.facts import VERTEX_AI
from tests.patience import PATIENCE


class Tools(Harness):
    model = GEMINI


tools = Tools()


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeVertex]:
    with FakeVertex() as running:
        yield running


@pytest.fixture
def world(fake: FakeVertex) -> Iterator[FakeVertex]:
    """The module's fake, without what the test before has left."""
    fake.requests.clear()
    yield fake
    fake.deny = frozenset()
    for name in VertexFaults.__dataclass_fields__:
        setattr(fake.faults, name, getattr(VertexFaults(), name))


@pytest.fixture
def backend(world: FakeVertex) -> Iterator[VertexBackend]:
    made = backend_of(world)
    yield made
    made.close()


# ---- find ----------------------------------------------------------------------------------------------------------


def told(world: FakeVertex, job_id: str) -> dict[str, Any]:
    """What the service holds of a job, to be changed."""
    job = next(job for job in world._google.jobs if job.told["name"] == job_id)
    return job.told


def test_a_job_without_its_label_is_found(backend: VertexBackend, world: FakeVertex) -> None:
    """By its name, input or output, whatever order the pages have and whatever is on them."""
    request = tools.uploaded(backend, 1, token := new_token())
    job = tools.until(backend, backend.create(request))
    told(world, job.id)["labels"] = {}
    tools.make_others(backend, world, 3)
    # The newest on the page is older than all: no order can be relied on.
    told(world, world.batches[-1]["name"])["createTime"] = "2020-01-01T00:00:00Z"
    assert [found.id for found in backend.find([known_by(token)]).jobs] == [job.id]
    assert [found.id for found in backend.find([known_by("nosuchtoken", request)]).jobs] == [job.id]
    told(world, job.id)["displayName"] = "somebody has renamed it"
    for known in (request, None):
        assert [found.id for found in backend.find([known_by(token, known)]).jobs] == [job.id]


def test_a_token_of_capitals_is_found(backend: VertexBackend) -> None:
    """Labels are lower case, tokens need not be."""
    job = tools.send(backend, 1, "TOKEN7")
    assert [found.id for found in backend.find([known_by("TOKEN7")]).jobs] == [job.id]


# ---- outputs -------------------------------------------------------------------------------------------------------


def test_output_of_several_files(backend: VertexBackend, world: FakeVertex) -> None:
    """Every .jsonl of the job's directory is read, its name full of colons, and nothing else beside it."""
    world.faults.files = 3
    job = tools.until(backend, tools.send(backend, 7))
    assert ":" in job.outputs[0]
    folder = job.outputs[0].removeprefix(f"gs://{world.bucket}/")
    assert len([name for name in world.names() if name.startswith(folder)]) == 3
    world.storage.bucket(world.bucket).blob(f"{folder}notes.txt").upload_from_string(b"not a line")
    world.storage.bucket(world.bucket).blob(f"{folder.rstrip('/')}-of-another/x.jsonl").upload_from_string(b"{}\n")
    assert set(tools.results(backend, job, 7)) == set(tools.ids(7))


@pytest.mark.parametrize("right", ["storage.objects.list", "storage.objects.get"])
def test_output_that_may_not_be_read(backend: VertexBackend, world: FakeVertex, right: str) -> None:
    """A missing right is an error, for rows that seem missing would be paid again."""
    job = tools.until(backend, tools.send(backend, 2))
    world.deny = frozenset({right})
    with pytest.raises(AuthenticationError, match=right):
        list(backend.outputs(job))


@pytest.mark.parametrize(
    ("bucket", "fault", "code", "said"),
    [("no-such-bucket", False, "9", "bucket location"), (None, True, "7", "no permission")],
)
def test_jobs_that_cannot_write(
    backend: VertexBackend, world: FakeVertex, bucket: str | None, fault: bool, code: str, said: str
) -> None:
    """A bucket that is not there or may not be written fails the job, with Google's reason."""
    world.faults.agent_cannot_write = fault
    options = {"output_prefix": f"gs://{bucket}/out"} if bucket else {}
    job = tools.until(backend, tools.send(backend, 1, **options))
    assert job.status is JobStatus.FAILED
    assert (job.errors[0].code, said in job.errors[0].message) == (code, True)
    assert bucket or list(backend.outputs(job)) == []


async def test_every_end_is_told_alike(backend: VertexBackend, world: FakeVertex) -> None:
    """Whatever became of a job, the task and the triggerer see the same."""
    ends: list[dict[str, Any]] = [
        {"fail_rows": {"*": 400}},
        {"expire_after_rows": 0},
        {"expire_after_rows": 1, "partially": True},
        {"job_errors": [{"message": "no"}]},
        {"cancel_after_rows": 1},
        {"null_times": True},
        {"lying_counts": True},
        {"no_output": True},
    ]
    for faults in ends:
        for name, value in faults.items():
            setattr(world.faults, name, value)
        job = tools.until(backend, tools.send(backend, 2))
        assert await backend.apoll([job.id]) == [job]
        for name in faults:
            setattr(world.faults, name, getattr(VertexFaults(), name))


# ---- answers of nobody's -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        answer("200 OK", b"<html>a proxy's page</html>", "Content-Type: text/html"),
        answer("200 OK", b"\xff\xfe"),
        answer("200 OK", b"[]"),
        answer("200 OK", b"{}"),
        answer("200 OK", b'{"name": "projects', length=500),
        answer("502 Bad Gateway", b"<html>"),
        b"",
    ],
    ids=["html", "binary", "list", "nameless", "cut", "502", "closed"],
)
def test_unclear_answers_of_a_create(world: FakeVertex, reply: bytes) -> None:
    """Whatever is no job leaves it open whether there is one; the call was sent once."""
    with Scripted(reply) as server:
        backend = backend_of(world, base=server.base_url.removesuffix("/v1"))
        with pytest.raises(ProviderError) as caught:
            backend.create(tools.request(backend, new_token(), "gs://b/i.jsonl"))
        assert caught.value.ambiguous is True
        assert len(server.requests) == 1
        backend.close()


def test_an_unknown_model_made_nothing(backend: VertexBackend, world: FakeVertex) -> None:
    """Google answers 404 to a model it does not know: an error of the request, not a job that is lost."""
    request = {**tools.uploaded(backend, 1, new_token()), "model": "publishers/google/models/palm-1"}
    before = len(world.batches)
    with pytest.raises(NotFoundError, match="palm-1"):
        backend.create(request)
    assert (len(world.creates), len(world.batches)) == (1, before)


# ---- tokens --------------------------------------------------------------------------------------------------------


class Slow:
    """Credentials whose token must be fetched, which takes its time."""

    universe_domain = "googleapis.com"

    def __init__(self, token: str) -> None:
        self.threads: list[threading.Thread] = []
        self.token: str | None = None
        self._next = token

    @property
    def valid(self) -> bool:
        return self.token is not None

    def refresh(self, request: Any) -> None:
        self.threads.append(threading.current_thread())
        time.sleep(1.0)
        self.token = self._next


@pytest.mark.alone
async def test_a_token_is_fetched_once_and_beside_the_loop(world: FakeVertex, backend: VertexBackend) -> None:
    """Many polls at once want one token, in a thread, while everything else goes on."""
    job = tools.until(backend, tools.send(backend, 1))
    await backend.apoll([job.id])
    credentials = Slow(world.token)
    waiting = VertexBackend(backend.place, lambda: credentials, VERTEX_AI, vertex_url=world.vertex_url)
    jobs, gap = await heartbeat(waiting.apoll([job.id] * 20))
    assert jobs == [job] * 20
    assert len(credentials.threads) == 1
    assert credentials.threads[0] is not threading.main_thread()
    assert gap < 0.5
    waiting.close()


_WATCH = """
import asyncio, sys
from google.oauth2.credentials import Credentials
from airflow_batch_provider.backends.vertex.backend import VertexBackend, VertexPlace
from airflow_batch_provider.connections.vertex_ai import PROVIDER
project, region, bucket, url, token, job = sys.argv[1:]
place = VertexPlace(project, region, bucket)
backend = VertexBackend(place, lambda: Credentials(token=token), PROVIDER, vertex_url=url)
(told,) = asyncio.run(backend.apoll([job]))
asyncio.run(backend.acancel([job]))
print(told.status.value, *sorted({"grpc", "google.cloud.aiplatform_v1", "google.cloud.storage"} & set(sys.modules)))
"""


async def test_the_triggerer_loads_no_heavy_client(world: FakeVertex, backend: VertexBackend) -> None:
    """Waiting and cancelling need neither gRPC nor Google's clients, whose import stops every trigger."""
    job = tools.until(backend, tools.send(backend, 1))
    command = [sys.executable, "-c", _WATCH, world.project, world.region, world.bucket, world.vertex_url, world.token]
    done = await asyncio.to_thread(subprocess.run, [*command, job.id], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout.strip(), done.stderr) == ("completed", "")


def test_the_page_of_a_job(backend: VertexBackend) -> None:
    """The console's address names region, number and project, whichever form the id has."""
    page = "https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/77?project=test-project"
    assert backend.console_url("77") == page
    assert backend.console_url("projects/1/locations/us-central1/batchPredictionJobs/77") == page


# ---- probe ---------------------------------------------------------------------------------------------------------


def test_the_probe_in_plain_words(world: FakeVertex, backend: VertexBackend) -> None:
    """What can be done is said, and the models that the connection names are known."""
    assert "has no default_model" in backend.probe()
    backend.models = ModelRules(default=GEMINI, mapping={"gpt-4o": CLAUDE})
    said = backend.probe()
    for words in (
        "can be written, read and listed",
        "serves jobs in us-central1",
        "jobs can be listed",
        GEMINI,
        CLAUDE,
    ):
        assert words in said
    assert [name for name in world.names() if "probe" in name] == []
    backend.models = ModelRules(default="acme-1")
    with pytest.raises(ConfigurationError, match="acme-1"):
        backend.probe()


def test_what_stays_after_close(world: FakeVertex) -> None:
    """A closed backend lets go of its clients, and makes new ones when it is asked again."""
    backend = backend_of(world)
    job = tools.send(backend, 1)
    backend.close()
    assert tools.until(backend, job).status is JobStatus.COMPLETED
    backend.close()
