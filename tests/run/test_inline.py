"""A provider that takes the requests in its create call and keeps no mark of who sent them.

The shape is that of Anthropic's Message Batches (platform.claude.com, API reference "Create a Message Batch"): ``POST``
with ``{"requests": [{"custom_id", "params"}]}``, no file, no metadata, no name, no idempotency key; a batch has
``created_at`` and counts. ``params`` hold OpenAI's bodies here, for what is tested is the way and not the dialect.
"""

from __future__ import annotations

import itertools
import json

import pytest

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.backends.paging import Page, Pages
from airflow_batch_provider.core.errors import ConfigurationError, LostCreateError, ProviderError, RateLimitedError
from airflow_batch_provider.core.finding import CREATE_SECONDS, Handle, by_count
from airflow_batch_provider.core.records import Found, Job, JobStatus, Limits, RequestCounts
from airflow_batch_provider.dialects.openai import OpenAIFormat
from tests.run.benching import Bench, line

CHAT = "/v1/chat/completions"


class Provider:
    """Batches in memory; the clock is the run's."""

    def __init__(self):
        self.batches = []
        self.bodies = []
        self.lost_answers = 0
        self.lost_calls = 0
        self.refusals = 0
        self.status = JobStatus.COMPLETED
        self.clock = None

    def create(self, body):
        self.bodies.append(body)
        self.batches.append({"id": f"msgbatch_{len(self.batches)}", "created_at": self.clock(), **body})
        return self.batches[-1]


class InlineBackend(Backend):
    """What such a backend writes."""

    name = "inline_batch"
    sends_inline = True
    find_is_complete = False
    handles = ("the number of rows and the time of the create",)
    client = None
    limits = Limits(
        max_rows=100_000, max_bytes=256_000_000, endpoints=(CHAT,), source="Message Batches: 100,000, 256 MB"
    )
    identity = {"type": "inline_batch", "base_url": "memory"}  # noqa: RUF012

    def __init__(self, provider):
        self.provider = provider

    def check_route(self, models, endpoints, options):
        pass

    def line_format(self, model, endpoint):
        return OpenAIFormat(model, endpoint)

    def create_request(self, shard, token, input_id, options):
        return {"model": shard.model, "requests": shard.rows}

    def create(self, request, lines=None):
        with lines() as stream:
            sent = [json.loads(raw) for raw in stream]
        assert len(sent) == request["requests"]
        if self.provider.refusals:
            self.provider.refusals -= 1
            raise RateLimitedError("429")
        if self.provider.lost_calls:
            self.provider.lost_calls -= 1
            raise ProviderError("POST /messages/batches: the connection was closed", ambiguous=True)
        batch = self.provider.create(
            {"requests": [{"custom_id": one["custom_id"], "params": one["body"]} for one in sent]}
        )
        if self.provider.lost_answers:
            self.provider.lost_answers -= 1
            raise ProviderError("POST /messages/batches: the connection was closed", ambiguous=True)
        return self.job_of(batch)

    def find(self, handles, beside=()):
        return by_count(self.list_jobs(), handles, beside)

    def job_pages(self, limit=None):
        jobs = [self.job_of(batch) for batch in reversed(self.provider.batches)]
        return Pages(lambda _: Page(jobs, None, False, 0), limit)

    def retrieve(self, job_id):
        return next(self.job_of(batch) for batch in self.provider.batches if batch["id"] == job_id)

    async def apoll(self, job_ids):
        return [self.retrieve(job_id) for job_id in job_ids]

    def outputs(self, job):
        batch = next(batch for batch in self.provider.batches if batch["id"] == job.id)
        for one in batch["requests"]:
            message = {"role": "assistant", "content": one["params"]["messages"][0]["content"]}
            body = {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
            told = {"custom_id": one["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}
            yield json.dumps(told).encode() + b"\n"

    def cancel(self, job_id):
        raise AssertionError("nothing here may be cancelled")

    async def acancel(self, job_ids):
        raise AssertionError("nothing here may be cancelled")

    def download(self, handle):
        raise AssertionError("there are no files")

    def delete(self, handle):
        raise AssertionError("there are no files")

    def close(self):
        pass

    def probe(self):
        return "answers"

    def job_of(self, batch):
        total, status = len(batch["requests"]), self.provider.status
        return Job(
            batch["id"],
            status,
            status.value,
            RequestCounts(total, total, 0),
            created_at=batch["created_at"],
            ended_at=batch["created_at"] + 1,
            outputs=("results",),
        )


class InlineBench(Bench):
    def make_backend(self, fake):
        fake.clock = self.clock
        return InlineBackend(fake)

    def recorded(self):
        return json.loads((self.path / "ledger" / "r0-00000.1.intent.json").read_bytes())


@pytest.fixture
def bench(tmp_path):
    return InlineBench(tmp_path, Provider())


def test_the_record_is_free_of_the_lines(bench):
    """The rows are in the create call, in the snapshot, and nowhere else; every row is answered."""
    bench.write([line(number) for number in range(40)])
    assert bench.finish().outcomes["succeeded"] == 40
    assert len(bench.fake.batches) == 1
    assert [one["custom_id"] for one in bench.fake.bodies[0]["requests"]] == [f"row-{number}" for number in range(40)]
    intent = bench.recorded()
    assert (intent["input_id"], intent["request"]) == (None, {"model": "m", "requests": 40})
    assert "row-0" not in json.dumps(intent)
    assert len(bench.results()) == 40


def test_a_lost_answer_is_found_by_count_and_time(bench):
    """The one job that fits is gone on with; another one, of other rows, is left alone."""
    bench.write([line(number) for number in range(40)])
    bench.fake.create({"requests": [{"custom_id": "other", "params": {}}] * 39})
    bench.fake.lost_answers = 1
    assert bench.finish().outcomes["succeeded"] == 40
    assert len(bench.fake.batches) == 2


def test_it_does_not_guess(bench):
    """Where two jobs fit, neither is taken, nothing is cancelled or sent again, and the error names both."""
    bench.write([line(number) for number in range(40)])
    bench.fake.create({"requests": [{"custom_id": "other", "params": {}}] * 40})
    bench.fake.lost_answers = 1
    with pytest.raises(LostCreateError, match="fit msgbatch_0, msgbatch_1"):
        bench.finish(on_lost_create="resubmit")
    assert len(bench.fake.batches) == 2


def test_a_job_that_only_fits_is_read_and_never_cancelled(bench):
    """The create never arrived, and a stranger's job has as many rows: nothing proves that it is not ours, nor that it
    is. The fake fails whoever cancels."""
    bench.write([line(number) for number in range(40)])
    bench.fake.create({"requests": [{"custom_id": "other", "params": {}}] * 40})
    bench.fake.lost_calls, bench.fake.status = 1, JobStatus.IN_PROGRESS
    run = bench.run()
    run.begin(first_try=True)
    waiting = run.advance()
    assert (waiting.jobs, waiting.borrowed) == (("msgbatch_0",), ("msgbatch_0",))
    assert run.cancel() == []
    again = bench.run().advance()
    assert again.borrowed == ("msgbatch_0",)


def test_a_job_that_only_fits_is_not_cancelled_by_a_new_beginning(bench):
    bench.write([line(number) for number in range(40)])
    bench.fake.create({"requests": [{"custom_id": "other", "params": {}}] * 40})
    bench.fake.lost_calls, bench.fake.status = 1, JobStatus.IN_PROGRESS
    run = bench.run()
    run.begin(first_try=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(InlineBackend, "find", lambda *_: Found((), complete=False))
        run.advance()
    bench.write([line(number) for number in range(30)])
    bench.run(on_changed_input="restart").begin(first_try=False)
    assert len(bench.fake.batches) == 1


def test_a_second_create_that_only_fits_is_collected(bench):
    """What was refused before it leaves nothing that the job would be read beside."""
    bench.write([line(number) for number in range(40)])
    bench.fake.refusals, bench.fake.lost_answers = 1, 1
    assert bench.finish().outcomes["succeeded"] == 40
    assert len(bench.fake.batches) == 1


def test_files_are_refused_in_words():
    with pytest.raises(ConfigurationError, match="inline_batch takes no files"):
        InlineBackend(Provider()).upload_file("x.jsonl", None)


def jobs(*made):
    numbers = itertools.count()
    return [
        Job(f"j{next(numbers)}", JobStatus.IN_PROGRESS, counts=RequestCounts(rows), created_at=at) for rows, at in made
    ]


@pytest.mark.parametrize(
    ("listed", "handles", "beside", "taken", "unclear"),
    [
        ([(5, 100.0)], [Handle("b1", None, 5, 100.0)], (), {"j0": "b1"}, False),
        ([(6, 100.0)], [Handle("b1", None, 5, 100.0)], (), {}, False),
        ([(5, 100.0 + CREATE_SECONDS + 1)], [Handle("b1", None, 5, 100.0)], (), {}, False),
        ([(5, 20.0)], [Handle("b1", None, 5, 100.0)], (), {}, False),
        ([(5, None)], [Handle("b1", None, 5, 100.0)], (), {}, False),
        ([(5, 100.0), (5, 101.0)], [Handle("b1", None, 5, 100.0)], (), {}, True),
        ([(5, 100.0), (5, 101.0)], [Handle("b1", None, 5, 100.0)], ("j1",), {"j1": "b1"}, False),
        ([(5, 100.0)], [Handle("b1", None, 5, 100.0), Handle("b2", None, 5, 100.0)], (), {}, True),
        ([(5, 100.0)], [Handle("b1")], (), {}, False),
    ],
)
def test_by_count(listed, handles, beside, taken, unclear):
    """One that fits is taken, of several none, whoever they fit; absence is never certain."""
    found = by_count(jobs(*listed), handles, beside)
    assert {job.id: token for token, job in found.likely.items()} == taken
    assert found.jobs == ()
    assert bool(found.broken) is unclear
    assert not found.complete
