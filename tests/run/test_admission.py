"""Jobs and tokens at once, the queue that is full, and the deadline."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.admission import admit, waves
from airflow_batch_provider.core.errors import DeadlineError
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.core.records import Admission, Shard
from airflow_batch_provider.testing import FaultPlan
from tests.run.benching import line

FULL = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached for m."}]
SHARDS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20)), max_size=12).map(
    lambda drawn: [Shard(0, n, 1, 1, model, "/v1/x", tokens=tokens) for n, (model, tokens) in enumerate(drawn)]
)
LIMITS = st.builds(
    Admission, st.none() | st.integers(1, 4), st.dictionaries(st.sampled_from(["a", "b", "*"]), st.integers(1, 30))
)


def tokens_of(shards, model):
    return sum(shard.tokens for shard in shards if shard.model == model)


@given(SHARDS, LIMITS)
def test_waves(shards, limits):
    """Every shard goes in exactly one wave, no wave is overfull, and only a shard too large for any wave goes alone."""
    sent = waves(shards, limits)
    assert sorted(shard.index for wave in sent for shard in wave) == [shard.index for shard in shards]
    for wave in sent:
        assert wave
        assert limits.max_jobs is None or len(wave) <= limits.max_jobs
        for model in "ab":
            most = limits.tokens_of(model)
            own = [shard for shard in wave if shard.model == model]
            assert most is None or tokens_of(wave, model) <= most or len(own) == 1


@given(SHARDS, SHARDS, LIMITS)
def test_admission_counts_what_lives(unsent, live, limits):
    """What is admitted beside what lives holds the limits, and nothing that would fit first is left out."""
    admitted = admit(unsent, live, limits)
    assert limits.max_jobs is None or not admitted or len(admitted) + len(live) <= limits.max_jobs
    for model in "ab":
        most, both = limits.tokens_of(model), [*live, *admitted]
        if most is not None and any(shard.model == model for shard in admitted):
            assert tokens_of(both, model) <= most or sum(shard.model == model for shard in both) == 1
    if unsent and not live:
        assert admitted[:1] == unsent[:1]


def alive(bench):
    """The most batches that lived at once, from when they were made and ended."""
    batches = bench.fake.batches
    return max(
        sum(other["created_at"] <= batch["created_at"] < (other["completed_at"] or 1 << 60) for other in batches)
        for batch in batches
    )


def test_tokens_make_shards_and_waves(bench):
    """A limit of enqueued tokens cuts the file smaller and sends one part after the other."""
    bench.write([line(number) for number in range(12)])
    bench.fake.faults.hold_after_rows = 0
    run = bench.run(max_enqueued_tokens=320)
    run.begin(first_try=True)
    shards = run.ledger.rounds()[0].shards
    assert len(shards) >= 3
    assert all(0 < shard.tokens <= 320 for shard in shards)
    waiting = run.advance()
    assert (len(waiting.jobs), len(bench.fake.batches), waiting.all_sent) == (1, 1, False)
    bench.fake.faults.hold_after_rows = None
    bench.fake.faults.jobs = 0
    bench.backend.cancel(waiting.jobs[0])
    # Whoever cancelled the first job has it so in this try; the others followed it, and a new try asks its rows.
    summary = bench.go_on(run)
    assert summary.outcomes["succeeded"] == 12 - shards[0].rows
    assert len(bench.fake.batches) == len(shards)
    assert bench.finish(first_try=False, max_enqueued_tokens=320).outcomes["succeeded"] == 12


def test_the_connection_limits_what_the_operator_does_not(bench):
    """A connection's own limits hold by model; the operator's word wins."""
    bench.backend.admission = Admission(max_jobs=2, max_tokens={"m": 320})
    bench.write([line(number) for number in range(12)])
    run = bench.run()
    run.begin(first_try=True)
    assert len(run.ledger.rounds()[0].shards) >= 3
    assert bench.go_on(run).outcomes["succeeded"] == 12
    free = bench.run(directory=bench.directory_class(f"{bench.path}2"), run_key="other", max_enqueued_tokens=10**6)
    free.begin(first_try=True)
    assert len(free.ledger.rounds()[0].shards) == 1


@pytest.mark.fake(faults=FaultPlan(job_errors=FULL, jobs=1))
def test_a_batch_that_fails_for_the_queue_is_halved_after_a_pause(bench):
    """Nothing was asked, so it costs no round; halves follow one by one when the queue has had time."""
    bench.write([line(number) for number in range(8)])
    run = bench.run(rounds=1)
    run.begin(first_try=True)
    deadline = run.ledger.tries().deadline
    begun = bench.clock()
    summary = bench.go_on(run)
    assert summary.outcomes["succeeded"] == 8
    assert [job["rows"] for job in summary.jobs] == [8, 4, 4]
    assert len(bench.fake.batches) == 3
    assert bench.clock() - begun >= 300
    assert run.ledger.tries().deadline == deadline
    rounds = run.ledger.rounds()
    assert rounds[1].max_tokens == {"m": max(shard.tokens for shard in rounds[1].shards)}


@pytest.mark.fake(faults=FaultPlan(job_errors=FULL, jobs=6))
def test_halved_again_and_again(bench):
    """A queue that stays small gets smaller and smaller jobs, each after a longer pause, down to single rows."""
    bench.write([line(number) for number in range(8)])
    summary = bench.finish(rounds=1, timeout=10**6)
    assert summary.outcomes["succeeded"] == 8
    assert [a_round["rows"] for a_round in summary.by_round][:3] == [8, 8, 8]
    assert [job["rows"] for job in summary.jobs][:7] == [8, 4, 4, 2, 2, 2, 2]


@pytest.mark.fake(faults=FaultPlan(job_errors=FULL))
def test_a_queue_that_stays_full_ends_at_the_deadline(bench):
    """No loop without end: the deadline of the first round holds for all the halves; nothing is lost."""
    bench.write([line(number) for number in range(4)])
    with pytest.raises(DeadlineError):
        bench.finish(timeout=2000)
    assert len(bench.fake.batches) <= 8
    bench.fake.faults.job_errors = []
    assert bench.finish(first_try=False, timeout=10**6).outcomes["succeeded"] == 4


@pytest.mark.fake(faults=FaultPlan(token_limit=5))
def test_a_create_that_never_fits_is_halved(bench):
    """Azure refuses the create itself: after five refusals of a job alone it is given up and halved."""
    bench.write([line(number) for number in range(8)])
    summary = bench.finish(rounds=1)
    assert summary.outcomes["succeeded"] == 8
    assert [batch["request_counts"]["total"] for batch in bench.fake.batches] == [4, 4]
    assert [(job["shard"], job["rows"]) for job in summary.jobs] == [("r1-00000", 4), ("r1-00001", 4)]


@pytest.mark.fake(faults=FaultPlan(token_limit=3))
def test_a_create_that_fits_later_is_not_halved(bench):
    """A queue that empties in time takes the job as it is."""
    bench.write([line(number) for number in range(8)])
    assert bench.finish().outcomes["succeeded"] == 8
    assert [batch["request_counts"]["total"] for batch in bench.fake.batches] == [8]


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=5))
def test_cancelled_at_the_deadline(bench):
    """on_deadline="cancel" keeps what was answered, asks nothing more, and is a DeadlineError that a new try helps."""
    bench.write([line(number) for number in range(12)])
    run = bench.run(timeout=100, on_deadline="cancel")
    run.begin(first_try=True)
    waiting = run.advance()
    while bench.backend.retrieve(waiting.jobs[0]).counts.completed != 5:
        pass
    bench.clock.ahead += 101
    waiting = run.advance()
    assert waiting.rule.deadline > bench.clock()
    summary = bench.go_on(run)
    assert (summary.outcomes["succeeded"], summary.outcomes["cancelled"]) == (5, 7)
    assert summary.rounds == 1
    with pytest.raises(DeadlineError, match="deadline_passed: 1 job cancelled"):
        judge(summary, 0.0)
    judge(summary, 0.6)
    bench.fake.faults.hold_after_rows = None
    again = bench.finish(first_try=False, timeout=100, on_deadline="cancel")
    assert (again.outcomes["succeeded"], again.stopped) == (12, None)
    assert [batch["request_counts"]["total"] for batch in bench.fake.batches] == [12, 7]


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=0))
def test_shards_never_sent_at_the_deadline(bench):
    """What waited for a slot when the time was over ends as cancelled, with the reason, and goes with the next try."""
    bench.write([line(number, model=f"m{number % 2}") for number in range(8)])
    run = bench.run(timeout=100, on_deadline="cancel", max_jobs_in_flight=1)
    run.begin(first_try=True)
    assert not run.advance().all_sent
    bench.clock.ahead += 101
    summary = bench.go_on(run)
    assert summary.outcomes["cancelled"] == 8
    assert {row["error"]["code"] for row in bench.failed()} == {"batch_cancelled", "deadline_passed"}
    assert len(bench.fake.batches) == 1
    bench.fake.faults.hold_after_rows = None
    assert bench.finish(first_try=False).outcomes["succeeded"] == 8


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=0))
def test_nothing_is_created_after_the_deadline(bench):
    """By default jobs are left alone and named, and what has no job gets none."""
    bench.write([line(number, model=f"m{number % 2}") for number in range(8)])
    run = bench.run(timeout=100, max_jobs_in_flight=1)
    run.begin(first_try=True)
    job = run.advance().jobs[0]
    bench.clock.ahead += 101
    with pytest.raises(DeadlineError, match=f"1 job running .{job}.*left running.*1 shard is unsent"):
        run.advance()
    assert len(bench.fake.batches) == 1
    assert bench.fake.calls("cancel") == []
    bench.fake.faults.hold_after_rows = None
    bench.backend.cancel(job)
    assert bench.finish(first_try=False).outcomes["succeeded"] == 4
    assert bench.finish(first_try=False).outcomes["succeeded"] == 8


def test_a_shard_knows_its_tokens(bench):
    """The ledger's plan holds what admission and budget count by."""
    bench.write([line(1, max_tokens=7), line(2), line(3, n=2, max_completion_tokens=5)])
    run = bench.run()
    run.begin(first_try=True)
    shard = run.ledger.rounds()[0].shards[0]
    size = sum(len(raw) for raw in bench.input.read_bytes().splitlines())
    assert shard.tokens == pytest.approx(size / 2, abs=3)
    assert (shard.output_tokens, shard.uncapped) == (17, 1)
    assert dataclasses.replace(shard, tokens=0) != shard
