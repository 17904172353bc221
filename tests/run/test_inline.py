"""Runs of a provider that takes the requests in its create call and keeps no mark of who sent them."""

from __future__ import annotations

import itertools
import json

import pytest

from airflow_batch_provider.core.errors import LostCreateError, NotFoundError, RunConflictError
from airflow_batch_provider.core.finding import CREATE_SECONDS, Handle, by_count
from airflow_batch_provider.core.records import Found, Job, JobStatus, RequestCounts
from airflow_batch_provider.run.attach import attach
from tests.backends.inline import InlineBackend, InlineProvider
from tests.run.benching import Bench, line


class InlineBench(Bench):
    def make_backend(self, fake):
        fake.clock = self.clock
        return InlineBackend(fake.origin, fake.key)

    def recorded(self):
        return json.loads((self.path / "ledger" / "r0-00000.1.intent.json").read_bytes())

    def begun(self, **options):
        run = self.run(**options)
        run.begin(first_try=True)
        return run


OTHER = {"custom_id": "other", "params": {}}


@pytest.fixture
def bench(tmp_path):
    with InlineProvider() as fake:
        bench = InlineBench(tmp_path, fake)
        yield bench
        bench.backend.close()


def test_the_record_is_free_of_the_lines(bench):
    """The rows are in the create call, in the snapshot, and nowhere else; every row is answered."""
    bench.write([line(number) for number in range(40)])
    assert bench.finish().outcomes["succeeded"] == 40
    assert len(bench.fake.batches) == 1
    assert [one["custom_id"] for one in bench.fake.batches[0]["requests"]] == [f"row-{number}" for number in range(40)]
    intent = bench.recorded()
    assert (intent["input_id"], intent["request"]) == (None, {"model": "m", "requests": 40})
    assert "row-0" not in json.dumps(intent)
    assert len(bench.results()) == 40


def test_a_lost_answer_is_found_by_count_and_time(bench):
    """The one job that fits is gone on with; another one, of other rows, is left alone."""
    bench.write([line(number) for number in range(40)])
    bench.fake.create([OTHER] * 39)
    bench.fake.lost_answers = 1
    assert bench.finish().outcomes["succeeded"] == 40
    assert len(bench.fake.batches) == 2


def test_it_does_not_guess(bench):
    """Where two jobs fit, neither is taken, nothing is cancelled or sent again, and the error names both."""
    bench.write([line(number) for number in range(40)])
    bench.fake.create([OTHER] * 40)
    bench.fake.lost_answers = 1
    with pytest.raises(LostCreateError, match="fit msgbatch_0, msgbatch_1"):
        bench.finish(on_lost_create="resubmit")
    assert len(bench.fake.batches) == 2


def test_a_job_that_only_fits_is_read_and_never_cancelled(bench):
    """The create never arrived, and a stranger's job has as many rows: nothing proves that it is not ours, nor that it
    is."""
    bench.write([line(number) for number in range(40)])
    bench.fake.create([OTHER] * 40)
    bench.fake.lost_calls, bench.fake.holds = 1, True
    run = bench.begun()
    waiting = run.advance()
    assert (waiting.jobs, waiting.borrowed) == (("msgbatch_0",), ("msgbatch_0",))
    assert run.cancel() == []
    again = bench.run().advance()
    assert again.borrowed == ("msgbatch_0",)
    assert bench.fake.calls("cancel") == []


def test_a_job_that_only_fits_is_not_cancelled_by_a_new_beginning(bench):
    bench.write([line(number) for number in range(40)])
    bench.fake.create([OTHER] * 40)
    bench.fake.lost_calls, bench.fake.holds = 1, True
    run = bench.begun()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(InlineBackend, "find", lambda *_: Found((), complete=False))
        run.advance()
    bench.write([line(number) for number in range(30)])
    bench.run(on_changed_input="restart").begin(first_try=False)
    assert bench.fake.calls("cancel") == []


def test_a_second_create_that_only_fits_is_collected(bench):
    """What was refused before it leaves nothing that the job would be read beside."""
    bench.write([line(number) for number in range(40)])
    bench.fake.refusals, bench.fake.lost_answers = 1, 1
    assert bench.finish().outcomes["succeeded"] == 40
    assert len(bench.fake.batches) == 1


def test_a_person_says_which_job_it_is(bench):
    """Of two that fit, the one whose rows are the run's own is attached in the run's directory, without an input; the
    other one is refused. The task itself then finishes with it, and nothing is sent again."""
    bench.write([line(number) for number in range(40)])
    bench.fake.create([OTHER] * 40)
    bench.fake.lost_answers = 1
    with pytest.raises(LostCreateError):
        bench.finish()
    with pytest.raises(RunConflictError, match="does not fit one create without an answer"):
        attach(bench.run("dag/fetch/run/-1"), "msgbatch_0")
    yesterday = {**bench.fake.batches[1], "id": "msgbatch_2", "created_at": bench.clock() - 86_400}
    bench.fake.batches.append(yesterday)
    with pytest.raises(RunConflictError, match="does not fit one create without an answer"):
        attach(bench.run("dag/fetch/run/-1"), "msgbatch_2")
    run = bench.run("dag/fetch/run/-1")
    attach(run, "msgbatch_1")
    run.more_time()
    summary = bench.go_on(run)
    assert (summary.total, summary.outcomes["succeeded"]) == (40, 40)
    assert len(bench.results()) == 40
    assert bench.finish(first_try=False).outcomes["succeeded"] == 40
    assert len(bench.fake.calls("create")) == 1


def test_a_live_job_of_unknown_rows_is_not_attached(bench):
    bench.write([line(number) for number in range(40)])
    bench.fake.create([OTHER] * 40)
    bench.fake.lost_answers = 1
    with pytest.raises(LostCreateError):
        bench.finish()
    bench.fake.holds = True
    with pytest.raises(NotFoundError, match="when it has ended"):
        attach(bench.run("dag/fetch/run/-1"), "msgbatch_1")


def test_each_job_of_a_run_is_attached_in_its_directory(bench):
    """The run's own record has the rows: also those of its second job, and of one that still runs."""
    bench.write([line(number, model=f"m{number % 2}") for number in range(10)])
    bench.fake.holds = True
    bench.begun().advance()
    assert len(bench.fake.batches) == 2
    for job_id in ("msgbatch_1", "msgbatch_0"):
        run = bench.run("dag/fetch/run/-1")
        attach(run, job_id)
        assert set(run.advance().jobs) == {"msgbatch_0", "msgbatch_1"}
    with pytest.raises(RunConflictError, match="holds job msgbatch_0, msgbatch_1, not msgbatch_2; give another"):
        attach(bench.run("dag/fetch/run/-1"), "msgbatch_2")
    bench.fake.holds = False
    assert bench.go_on(run).outcomes["succeeded"] == 10


def test_a_job_made_elsewhere_is_known_by_its_answers(bench, tmp_path):
    """In a directory of its own."""
    bench.fake.create([{"custom_id": f"a{number}", "params": line(number)["body"]} for number in range(3)])
    run = bench.run("dag/fetch/run/-1")
    attach(run, "msgbatch_0")
    run.more_time()
    assert bench.go_on(run).outcomes["succeeded"] == 3
    assert set(bench.results()) == {"a0", "a1", "a2"}


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
