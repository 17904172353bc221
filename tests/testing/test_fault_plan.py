"""The faults that all fakes share do what they say, on each of them."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import time
from typing import Any

import pytest

from airflow_batch_provider.core.errors import NotFoundError, ProviderError
from airflow_batch_provider.core.records import BatchRequest, JobStatus, Shard
from airflow_batch_provider.testing import BedrockFaults, FaultPlan, VertexFaults, fake_route
from tests.patience import PATIENCE

CHAT = "/v1/chat/completions"
FAMILIES = ("openai", "azure_openai", "portkey", "bedrock", "vertex_ai", "portkey_bedrock", "portkey_vertex")


class World:
    """One route, asked through its own backend."""

    def __init__(self, route: Any) -> None:
        self.route = route
        self.fake = route.fake
        self.backend = route.backend()
        self.rows = max(route.min_rows, 6)
        self.jobs = 0

    def send(self) -> Any:
        """A job of as many rows as the route takes."""
        self.jobs += 1
        lines = []
        encode = self.backend.line_format(self.route.model, CHAT).encode
        for number in range(self.rows):
            body = {
                "model": self.route.model,
                "messages": [{"role": "user", "content": f"say {number}"}],
                "max_tokens": 9,
            }
            line = {"custom_id": f"row-{number}", "method": "POST", "url": CHAT, "body": body}
            raw = json.dumps(line).encode()
            lines.append(encode(BatchRequest(f"row-{number}", CHAT, self.route.model, body, raw, number + 1), number))
        data = b"".join(line + b"\n" for line in lines)
        shard = Shard(0, self.jobs, self.rows, len(data), self.route.model, CHAT)
        token = f"token{self.jobs:05d}"
        handle = self.backend.upload(shard, token, io.BytesIO(data), {})
        return self.backend.create(self.backend.create_request(shard, token, handle, {}))

    def ended(self, job: Any) -> Any:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            job = self.backend.retrieve(job.id)
            if job.status.is_terminal:
                return job
            time.sleep(0.01)
        raise AssertionError(f"still {job}")

    def output(self) -> bytes:
        return b"".join(self.backend.outputs(self.ended(self.send())))


@pytest.fixture(scope="module", params=FAMILIES)
def shared(request: pytest.FixtureRequest):
    with fake_route(request.param) as route:
        world = World(route)
        yield world
        world.backend.close()


@pytest.fixture
def world(shared: World):
    shared.fake.faults.reset()
    yield shared
    shared.fake.faults.reset()


def test_bom_and_crlf(world: World) -> None:
    """Every file begins with a byte order mark, every line ends in CR and LF, and nothing else is changed."""
    plain = world.output().split(b"\n")[:-1]
    world.fake.faults.bom = world.fake.faults.crlf = True
    spoiled = world.output()
    lines = spoiled.split(b"\r\n")[:-1]
    assert spoiled.startswith(b"\xef\xbb\xbf{")
    assert len(lines) == len(plain) == world.rows
    assert all(isinstance(json.loads(line.removeprefix(b"\xef\xbb\xbf")), dict) for line in lines)


def test_short_downloads(world: World) -> None:
    """A download is short by half, never at the end of a line, and its length tells nothing; the next is whole.

    AWS's client tells by the checksum, Google's goes on where the answer ended, elsewhere we tell by the torn line.
    """
    job = world.ended(world.send())
    world.fake.faults.short_downloads = 1
    try:
        short = b"".join(world.backend.outputs(job))
    except ProviderError:
        assert world.route.name != "vertex_ai"
        short = b""
    assert world.fake.faults.short_downloads == 0
    whole = b"".join(world.backend.outputs(job))
    assert whole.count(b"\n") == world.rows
    assert (short == whole) == (world.route.name == "vertex_ai")


def test_a_cancel_in_vain(world: World) -> None:
    """The cancel is accepted, and every row is answered all the same."""
    world.fake.faults.cancel_in_vain = True
    job = world.send()
    world.backend.cancel(job.id)
    assert len(world.fake.calls("cancel")) >= 1
    job = world.ended(job)
    assert job.status is JobStatus.COMPLETED
    assert b"".join(world.backend.outputs(job)).count(b"\n") == world.rows


@pytest.mark.parametrize("fault", ["ms_times", "iso_times"])
def test_times_of_every_kind(world: World, fault: str) -> None:
    """However its times are written, a job was made about now."""
    setattr(world.fake.faults, fault, True)
    job = world.ended(world.send())
    assert job.created_at is not None
    assert abs(job.created_at - time.time()) < 120


def test_an_empty_object_changes_nothing(world: World) -> None:
    """A file or object of zero bytes beside the output adds no line."""
    world.fake.faults.empty_error_file = True
    assert world.output().count(b"\n") == world.rows


def test_a_lost_output(world: World) -> None:
    """The output of a completed job is not to be had; where it was written at all, it is there again afterwards."""
    world.fake.faults.lost_output = True
    job = world.ended(world.send())
    assert job.status is JobStatus.COMPLETED
    try:
        assert b"".join(world.backend.outputs(job)) == b""
        assert world.route.name in ("bedrock", "vertex_ai")
    except (NotFoundError, ProviderError):
        world.fake.faults.reset()
        assert b"".join(world.backend.outputs(job)).count(b"\n") == world.rows


def test_listings_of_the_bucket_fail() -> None:
    """The store's own list is a kind of call of its own."""
    for name in ("bedrock", "vertex_ai"):
        with fake_route(name, FaultPlan(objects_status=[503])) as route:
            world = World(route)
            job = world.ended(world.send())
            with pytest.raises(ProviderError):
                list(world.backend.outputs(job))
            assert b"".join(world.backend.outputs(job)).count(b"\n") == world.rows
            world.backend.close()


@pytest.mark.parametrize("kind", [FaultPlan, BedrockFaults, VertexFaults])
def test_reset(kind: type[FaultPlan]) -> None:
    """Every field, those of subclasses too, is as in a fresh plan, whose lists are its own."""
    plan = kind()
    for known in dataclasses.fields(plan):
        value = getattr(plan, known.name)
        changed = [1] if isinstance(value, list) else {"a": 1} if isinstance(value, dict) else 7
        setattr(plan, known.name, changed)
    spoiled = copy.deepcopy(plan)
    plan.reset()
    assert plan == kind()
    assert plan != spoiled
    plan.create_status.append(500)
    assert kind().create_status == []


def test_spoiling_lines() -> None:
    """Lost from the end, doubled from the front, strangers and broken ones after, then all turned around."""
    plan = FaultPlan(drop=1, duplicate=2, foreign=1, malformed=1)
    lines = [b"a", b"b", b"c"]
    assert plan.spoil(lines, lambda number: b"f%d" % number, b"{") == [b"a", b"b", b"a", b"b", b"f0", b"{"]
    plan.reorder = True
    assert plan.spoil(lines, lambda number: b"f%d" % number, b"{")[:2] == [b"{", b"f0"]
    assert FaultPlan(bom=True, crlf=True).file(lines) == b"\xef\xbb\xbfa\r\nb\r\nc\r\n"
    assert FaultPlan().file([]) == b""


@pytest.mark.parametrize(("content", "half"), [(b"ab\ncd\n", b"ab"), (b"abcd\nefgh\nij\n", b"abcd\ne"), (b"", b"")])
def test_half_a_file(content: bytes, half: bytes) -> None:
    """A short file never ends where a line does, so that it can be told from a file that is only smaller."""
    assert FaultPlan.short(content) == half
