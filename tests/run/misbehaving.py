"""A provider in memory that a test drives: it cuts answers, accepts late, hides jobs, and notes what it sees."""

import contextlib
import json
import random
from dataclasses import dataclass, field

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.backends.paging import Page, Pages
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    NotFoundError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RequestRejectedError,
)
from airflow_batch_provider.core.records import Job, JobError, JobStatus, Limits, RequestCounts, RunOptions
from airflow_batch_provider.dialects.openai import OpenAIFormat
from airflow_batch_provider.run.run import BatchRun
from airflow_batch_provider.run.storage import RunDirectory

URL = "/v1/chat/completions"
SETTLE = 900.0
SOON = 500.0
"""Late, and yet before anybody believes that it never comes."""
READS = ("upload", "find", "retrieve", "outputs", "cancel")
REFUSALS = ("cut", "500", "unreachable", "429", "quota", "full", "400", "401")
"""What a create may be answered without having been carried out."""
LOST = ("lost", "late", "hidden", "twice")
"""What is answered by nothing, although it was carried out, or will be."""
ANSWERS = ("good", "busy", "bad", "expired", "none")
LATE_OUTPUTS = ("hidden", "part", "gone", "errors")
"""How output looks that is not there yet, of a job that says it has ended: as none, as some of it, as 404, as the file
of its errors alone."""
NOISE = ("repeated", "worse", "foreign", "nameless", "junk")


class Killed(BaseException):
    """What SIGKILL does to the code: nothing after this runs, and nothing catches it."""


def error_of(name):
    """The error that a real backend would raise."""
    return {
        "cut": ProviderError("cut"),
        "500": ProviderError("500", status=500),
        "unreachable": ProviderError("no route", ambiguous=False),
        "429": RateLimitedError("429", retry_after=30),
        "quota": QuotaError("the queue is full"),
        "full": QuotaError("too many enqueued tokens", tokens=True),
        "400": RequestRejectedError("400", status=400),
        "401": AuthenticationError("401"),
        "404": NotFoundError("404"),
    }[name]


@dataclass
class Batch:
    """One job at the provider.

    :param appears: when it is accepted; before, nobody can see it.
    :param listed: when a look finds it.
    :param surplus: the provider's own doing: one create, two jobs.
    :param owner: which run directory sent it.
    :param given_up: nobody can know any more what it was made for.
    :param readable: when its output is whole; ``unreadable`` is how it looks before.
    :param counts: what it tells of its rows; nothing unless its output is late.
    """

    id: str
    shard: str
    token: str
    input_id: str
    rows: list
    appears: float
    listed: float
    created_at: float
    surplus: bool = False
    owner: str = "ours"
    given_up: bool = False
    status: JobStatus = JobStatus.IN_PROGRESS
    output: bytes = b""
    cancel_asked: bool = False
    error: str = "invalid"
    readable: float = 0.0
    unreadable: str = ""
    is_too_late: bool = False
    counts: RequestCounts = field(default_factory=RequestCounts)

    def seems_failed(self, row):
        """Whether a row has an error's line, and its answer comes only when everybody believes that it never will."""
        (custom_id,) = [one["custom_id"] for one in self.rows if one["name"] == row]
        mine = [one for one in self.output.splitlines() if f'"custom_id": "{custom_id}"'.encode() in one]
        return self.is_too_late and any(b" answers " not in one for one in mine)

    def __str__(self):
        return f"{self.id} of {self.shard}, {self.status.value}"


@dataclass
class World:
    """What the provider knows, and what goes wrong next.

    :param complete: whether its list shows every job in time, and says so.
    :param repeatable: whether it knows a create by its token.
    :param skew: seconds by which its clock is ahead of ours.
    :param armed: what the next calls of a kind meet, in turn.
    :param meanwhile: what another process does in the middle of a call.
    :param far: how late, or for how long hidden, the next such job is.
    :param doubled: whether its list shows jobs twice.
    :param positional: whether rows travel as their positions, so that only their order tells whose an answer is.
    :param prompt: True while nothing may come later than :data:`SOON`.
    """

    complete: bool = True
    repeatable: bool = False
    min_rows: int = 1
    skew: float = 0.0
    far: float = 100.0
    prompt: bool = False
    doubled: bool = False
    positional: bool = False
    now: float = 1_800_000_000.0
    files: dict = field(default_factory=dict)
    batches: list = field(default_factory=list)
    armed: dict = field(default_factory=dict)
    found_together: list = field(default_factory=list)
    breaches: list = field(default_factory=list)
    meanwhile: object = None
    stop: object = None
    on_accept: object = None

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def meet(self, kind):
        """What this call meets; what a create or a download meets is left to it."""
        fault = self.armed[kind].pop(0) if self.armed.get(kind) else None
        if fault == "killed":
            raise Killed(kind)
        if fault == "another":
            self.meanwhile()
        elif fault == "stop":
            self.stop()
        elif fault == "slow":
            self.sleep(1000.0)
        elif kind in READS and fault not in (None, "torn"):
            raise error_of(fault)
        return fault

    def arm(self, kind, skip, fault):
        """Let a call of this kind meet a fault, after so many that meet none."""
        faults = ["500"] * 5 if fault == "down" else [fault]
        self.armed.setdefault(kind, []).extend([None] * skip + faults)

    def visible(self):
        return [batch for batch in self.batches if batch.appears <= self.now]

    def shown(self, jobs):
        """A page of the list, on which any job may stand twice."""
        return [job for number, job in enumerate(jobs) for _ in range(2 if self.doubled and number % 2 == 0 else 1)]

    def live(self):
        return [batch for batch in self.visible() if not batch.status.is_terminal]

    def accept(self, request, owner="ours", *, late=0.0, hidden=0.0, surplus=False):
        most = SOON if self.complete or self.prompt else float("inf")
        appears = self.now + (min(late, SOON) if self.prompt else late)
        batch = Batch(
            f"batch-{len(self.batches)}",
            request["shard"],
            request["token"],
            request["input_id"],
            [named(json.loads(line)) for line in self.files[request["input_id"]].split(b"\n")[:-1]],
            appears,
            max(appears, self.now + min(hidden, most)),
            appears + self.skew,
            surplus,
            owner,
        )
        self.batches.append(batch)
        self.on_accept(batch)
        return batch

    def end(self, batch, status, answers=("good",), noise=(), seed=0, late=None):
        """Let a job end, with any of its rows answered, in any order, among lines that do not fit.

        :param late: how its output looks before it is there, and seconds until it is.
        """
        if late:
            kinds = [answers[number % len(answers)] for number in range(len(batch.rows))]
            failed = sum(kind in ("busy", "bad") for kind in kinds)
            batch.counts = RequestCounts(len(kinds), kinds.count("good"), failed)
            batch.unreadable, batch.readable, batch.is_too_late = late[0], self.now + late[1], late[1] > SETTLE
        lines = []
        for number, row in enumerate(batch.rows):
            lines += told(row, answers[number % len(answers)], batch.id)
        for number, kind in enumerate(noise):
            row = batch.rows[number % len(batch.rows)]
            lines += {
                "repeated": lines[:1],
                "worse": told(row, "busy", batch.id) if f'"{row["custom_id"]}"'.encode() in b"".join(lines) else [],
                "foreign": told({"custom_id": "nobody's", "name": "nobody's"}, "good", batch.id),
                "nameless": [b'{"errorCode": 400, "errorMessage": "no"}'],
                "junk": [b'{"custom_id": "row'],
            }[kind]
        random.Random(seed).shuffle(lines)
        batch.output = b"".join(line + b"\n" for line in lines)
        batch.status = status


def named(row):
    """A wire line with the name of the row that it asks, whatever its id on the wire is."""
    return {**row, "name": f"row-{row['body']['messages'][0]['content'].removeprefix('say ')}"}


def told(row, answer, batch_id):
    """The output lines of one row, which is answered by what it asks."""
    line = {"id": "x", "custom_id": row["custom_id"], "response": None, "error": None}
    if answer == "good":
        message = {"role": "assistant", "content": f"{batch_id} answers {row['name']}"}
        body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        line["response"] = {"status_code": 200, "request_id": "q", "body": body}
    elif answer in ("busy", "bad"):
        status = 429 if answer == "busy" else 400
        line["response"] = {"status_code": status, "request_id": "q", "body": {"error": {"message": answer}}}
    elif answer == "expired":
        line["error"] = {"code": "batch_expired", "message": "late"}
    return [] if answer == "none" else [json.dumps(line).encode()]


class MisbehavingBackend(Backend):
    """One process's way to a world.

    :param stopped: whether this process was told to create nothing more.
    :param owner: the run directory that it works for.
    """

    name = "misbehaving_batch"

    def __init__(self, world, stopped=lambda: False, owner="ours"):
        self.world = world
        self.owner = owner
        self.stopped = stopped
        self.find_is_complete = world.complete
        self.create_is_repeatable = world.repeatable
        self.find_settle_seconds = SETTLE

    @property
    def client(self):
        return self.world

    @property
    def limits(self):
        return Limits(3, 10_000, "a test", (URL,), min_rows=self.world.min_rows)

    @property
    def identity(self):
        return {"type": self.name, "base_url": "memory"}

    def check_route(self, models, endpoints, options):
        assert not options

    def line_format(self, model, endpoint):
        return OpenAIFormat(model, endpoint, tokens=self.world.positional)

    def upload(self, shard, token, stream, options):
        self.world.meet("upload")
        return self.upload_file(f"{token}.jsonl", stream)

    def upload_file(self, name, stream):
        handle = f"file-{len(self.world.files)}"
        self.world.files[handle] = stream.read()
        return handle

    def create_request(self, shard, token, input_id, options):
        return {"shard": shard.name, "token": token, "input_id": input_id}

    def create(self, request, lines=None):
        world = self.world
        if self.stopped():
            world.breaches.append(f"{request['shard']} was created after the stop")
        fault = world.meet("create")
        if fault == "another 429":
            world.meanwhile()
            fault = "429"
        if fault in REFUSALS:
            raise error_of(fault)
        batch = self._accept(request, fault)
        if fault == "killed after":
            raise Killed("create")
        if fault == "other of two":
            batch = world.accept(request, self.owner, surplus=True)
        if fault in ("another after", "other of two"):
            world.meanwhile()
        elif fault in LOST:
            raise error_of("cut")
        return self._job(batch)

    def _accept(self, request, fault):
        world = self.world
        known = [batch for batch in world.batches if world.repeatable and batch.token == request["token"]]
        if known:
            known[0].appears = min(known[0].appears, world.now)
            return known[0]
        batch = world.accept(
            request,
            self.owner,
            late=world.far if fault == "late" else 0.0,
            hidden=world.far if fault == "hidden" else 0.0,
        )
        if fault == "twice":
            world.accept(request, self.owner, surplus=True)
        return batch

    def find(self, handles, beside=()):
        self.world.meet("find")
        found = super().find(handles, beside)
        groups = {}
        for job in found.jobs:
            groups.setdefault(self._batch(job.id).token, []).append(job.id)
        self.world.found_together += [ids for ids in groups.values() if len(ids) > 1]
        return found

    def retrieve(self, job_id):
        self.world.meet("retrieve")
        return self._job(self._batch(job_id))

    def job_pages(self, limit=None):
        now = self.world.now
        jobs = [self._job(batch) for batch in reversed(self.world.visible()) if batch.listed <= now]
        return Pages(lambda _: Page(self.world.shown(jobs), None, more=False), limit)

    def outputs(self, job):
        fault = self.world.meet("outputs")
        batch = self._batch(job.id)
        data = batch.output
        if self.world.now < batch.readable:
            if batch.unreadable == "gone":
                raise error_of("404")
            lines = data.splitlines(keepends=True)
            bad = [line for line in lines if b" answers " not in line]
            data = b"".join({"part": lines[:1], "errors": bad}.get(batch.unreadable, []))
        for at in range(0, len(data), 100):
            if fault == "torn" and at:
                raise error_of("cut")
            yield data[at : at + 100]

    def cancel(self, job_id):
        self.world.meet("cancel")
        batch = self._batch(job_id)
        if batch.owner != self.owner:
            self.world.breaches.append(f"{batch} of {batch.owner} was cancelled by {self.owner}")
        batch.cancel_asked = True
        if not batch.status.is_terminal:
            batch.status = JobStatus.CANCELLING

    def download(self, handle):
        yield self.world.files[handle]

    def delete(self, handle):
        self.world.files.pop(handle, None)

    async def apoll(self, job_ids):
        return [self.retrieve(job_id) for job_id in job_ids]

    async def acancel(self, job_ids):
        for job_id in job_ids:
            self.cancel(job_id)

    def close(self):
        self.world.armed.clear()

    def probe(self):
        return f"{len(self.world.visible())} jobs"

    def _batch(self, job_id):
        for batch in self.world.visible():
            if batch.id == job_id:
                return batch
        raise error_of("404")

    def _job(self, batch):
        errors = (JobError("the whole batch failed", batch.error),) if batch.status is JobStatus.FAILED else ()
        return Job(
            batch.id,
            batch.status,
            batch.status.value,
            batch.counts,
            created_at=batch.created_at,
            input_id=batch.input_id,
            errors=errors,
            metadata={"token": batch.token},
        )


class Silent:
    """A log for nobody."""

    def info(self, message, /, *args):
        message % args

    warning = error = info


class WatchedDirectory(RunDirectory):
    """A run directory whose every write may be the process's last, or be looked over by another process."""

    def __init__(self, path, world):
        super().__init__(path)
        self.world = world

    def create_json(self, name, value):
        self.world.meet("write")
        made = super().create_json(name, value)
        self.world.meet("written")
        return made

    @contextlib.contextmanager
    def writer(self, name):
        self.world.meet("write")
        with super().writer(name) as stream:
            yield stream
        self.world.meet("written")


class Process:
    """One process of the task: a run, and whether it was told to stop."""

    def __init__(self, world, folder, owner="ours", **options):
        self.stopping = False
        self.run = BatchRun(
            WatchedDirectory(str(folder / ("run" if owner == "ours" else owner)), world),
            MisbehavingBackend(world, self.stopped, owner),
            RunOptions(rounds=2, timeout=20_000.0, **options),
            run_key="dag/task/run/-1",
            input_path=str(folder / "in.jsonl"),
            stopped=self.stopped,
            clock=world.clock,
            pause=world.sleep,
            log=Silent(),
        )

    def stop(self):
        self.stopping = True

    def stopped(self):
        return self.stopping
