"""One part never holds the rest: what was answered is written, and nothing is paid again for what cannot be read."""

import json

import pytest

from airflow_batch_provider.core.errors import (
    AuthenticationError,
    BatchInferenceError,
    DeadlineError,
    LostJobError,
    ProviderError,
)
from airflow_batch_provider.core.polling import DOUBT_SECONDS, PERMANENT_FAILURES, Waiting, is_believed, next_look
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.testing import FaultPlan
from tests.patience import PATIENCE
from tests.run.benching import line
from tests.run.misbehaving import Process, World

ROWS = 9


def three_models(bench):
    """Three shards of three rows."""
    bench.write([line(n, model="abc"[n % 3]) for n in range(ROWS)])


def answered(bench):
    return {name for name, one in bench.results().items() if one["response"]}


def summary_of(bench):
    return json.loads((bench.path / "summary.json").read_text())


def judged(bench, **options):
    summary = bench.finish(**options)
    judge(summary, 0.0)
    return summary


def of_other_shards(bench):
    """The rows of all shards but the first, whose job has the faults."""
    first = {json.loads(one)["custom_id"] for one in (bench.path / "input/r0-00000.jsonl").read_text().splitlines()}
    return {f"row-{n}" for n in range(ROWS)} - first


# ---- what is missing is looked at anew ----------------------------------------------------------------------------


@pytest.mark.fake(faults=FaultPlan(late_output=4))
def test_an_output_that_is_named_later_is_waited_for(bench):
    """A1, X5: completed, counts 3 of 3, no output file for some looks: waited for, deferred, and no second job."""
    bench.write([line(n) for n in range(3)])
    run = bench.run()
    run.begin(first_try=True)
    until_ended(bench)
    waiting = run.advance()
    assert isinstance(waiting, Waiting)
    assert waiting.jobs == ()
    assert waiting.rule.look_at is not None
    assert bench.clock.ahead < 60
    assert judged(bench, first_try=False).outcomes["succeeded"] == 3
    assert len(bench.fake.batches) == 1
    assert len(bench.fake.calls("poll")) >= 5


def until_ended(bench):
    """Every batch of the fake has ended."""
    import time

    bench.run().advance()
    until = time.time() + PATIENCE
    while any(batch["status"] != "completed" for batch in bench.fake.batches) and time.time() < until:
        time.sleep(0.01)


@pytest.mark.fake(faults=FaultPlan(ragged_downloads=3))
def test_a_download_that_ends_early_at_a_lines_end_is_read_anew(bench):
    """X5: it looks whole; the job's own counts say otherwise, and the rows are not asked again."""
    bench.write([line(n) for n in range(6)])
    assert judged(bench).outcomes["succeeded"] == 6
    assert len(bench.fake.batches) == 1


@pytest.mark.fake(faults=FaultPlan(no_output=True))
def test_an_output_that_never_comes_ends_in_a_typed_error(bench):
    """A1: looked for over minutes, then an error that names the job; nothing was paid again, and the next try looks."""
    bench.write([line(n) for n in range(3)])
    with pytest.raises(LostJobError, match=r"job batch_\w+ \(3 rows\).*counts 3 answers, but 0 were found") as caught:
        judged(bench)
    assert bench.clock.ahead >= DOUBT_SECONDS
    assert bench.fake.batches[0]["id"] in str(caught.value)
    assert len(bench.fake.batches) == 1
    summary = summary_of(bench)
    assert (summary["outcomes"]["missing"], summary["cost_usd"]) == (3, None)
    assert [job["id"] for job in summary["lost"]] == [bench.fake.batches[0]["id"]]
    assert {row["error"]["code"] for row in bench.failed()} == {"output_lost"}
    with pytest.raises(LostJobError):
        judged(bench, first_try=False)
    assert len(bench.fake.batches) == 1
    bench.fake.faults.reset()
    assert judged(bench, first_try=False).outcomes["succeeded"] == 3
    assert len(bench.fake.batches) == 1


@pytest.mark.fake(faults=FaultPlan(no_output=True, jobs=1))
def test_lost_answers_are_sent_again_where_the_author_allows_it(bench):
    """A1, A3: on_lost_job="resubmit" sends the rows of the lost answers, and no others, again."""
    three_models(bench)
    summary = judged(bench, on_lost_job="resubmit")
    assert summary.outcomes["succeeded"] == ROWS
    assert [job["rows"] for job in summary.jobs] == [3, 3, 3, 3]
    assert summary.lost == ()


@pytest.mark.fake(faults=FaultPlan(drop=2, jobs=1))
def test_what_was_answered_of_a_job_is_kept_beside_what_is_lost(bench):
    """X5: of three answers that are counted and one that is there, one is kept and two are lost; none is paid again."""
    three_models(bench)
    with pytest.raises(LostJobError):
        judged(bench)
    assert len(answered(bench)) == ROWS - 2
    assert len(bench.fake.batches) == 3


@pytest.mark.fake(faults=FaultPlan(lying_counts=True))
def test_counts_that_promise_less_hold_nothing_up(bench):
    """A1: counts that are wrong the other way, or unknown, do not block."""
    bench.write([line(n) for n in range(12)])
    assert judged(bench).outcomes["succeeded"] == 12
    assert bench.clock.ahead < 60


# ---- gone at the provider ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["lost_job", "lost_output"])
def test_a_job_or_output_that_is_gone_leaves_the_others_alone(bench, fault):
    """A3, X4: 404 for good: the other jobs are collected, results written, no second payment; later found for free."""
    setattr(bench.fake.faults, fault, True)
    bench.fake.faults.jobs = 1
    three_models(bench)
    with pytest.raises(LostJobError):
        judged(bench)
    assert bench.clock.ahead >= DOUBT_SECONDS
    assert answered(bench) == of_other_shards(bench)
    code = "job_lost" if fault == "lost_job" else "output_lost"
    assert {row["error"]["code"] for row in bench.failed()} == {code}
    summary = summary_of(bench)
    assert (summary["outcomes"]["succeeded"], summary["outcomes"]["missing"], summary["total"]) == (6, 3, ROWS)
    assert [job["code"] for job in summary["lost"]] == [code]
    assert len(bench.fake.batches) == 3
    bench.fake.faults.reset()
    assert judged(bench, first_try=False).outcomes["succeeded"] == ROWS
    assert len(bench.fake.batches) == 3
    assert summary_of(bench)["lost"] == []


@pytest.mark.parametrize("fault", ["lost_job", "lost_output"])
def test_a_cleared_task_may_send_what_is_gone_again(bench, fault):
    """A3: with on_lost_job="resubmit", a task that has failed for a lost job has a way out in the same directory."""
    setattr(bench.fake.faults, fault, True)
    bench.fake.faults.jobs = 1
    three_models(bench)
    with pytest.raises(LostJobError):
        judged(bench)
    summary = judged(bench, first_try=False, on_lost_job="resubmit")
    assert summary.outcomes["succeeded"] == ROWS
    assert [job["rows"] for job in summary.jobs] == [3, 3, 3, 3]
    assert len(bench.fake.batches) == 4


@pytest.mark.fake(faults=FaultPlan(poll_status=[404] * 2))
def test_a_404_that_passes_is_not_believed(bench):
    """A3: gateways answer 404 for a moment; the doubt is forgotten when the job is seen again."""
    bench.write([line(n) for n in range(3)])
    assert judged(bench).outcomes["succeeded"] == 3
    assert len(bench.fake.batches) == 1
    assert bench.clock.ahead < DOUBT_SECONDS


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=0))
def test_a_job_that_was_seen_between_is_doubted_anew(bench):
    """A3: a 404 hours after another one that has passed does not add up to a belief."""
    bench.write([line(n) for n in range(3)])
    run = bench.run()
    run.begin(first_try=True)
    run.advance()
    for _ in range(4):
        bench.fake.faults.poll_status = [404]
        assert run.advance().jobs == ()
        assert len(run.advance().jobs) == 1
        bench.clock.ahead += DOUBT_SECONDS + 1
    assert run.live_jobs() == [bench.fake.batches[0]["id"]]


@pytest.mark.parametrize("of_another", [True, False])
@pytest.mark.fake(faults=FaultPlan(hold_after_rows=0, poll_status=[404]))
def test_a_doubt_is_of_one_job(bench, of_another):
    """X6: a doubt that outlived the record of its job says nothing of the job that is found in its place."""
    bench.write([line(n) for n in range(3)])
    run = bench.run()
    run.begin(first_try=True)
    run.advance()
    run.advance()
    (doubt,) = (bench.path / "ledger").glob("*.doubt.json")
    many = {**json.loads(doubt.read_text()), "looks": 9}
    doubt.write_text(json.dumps(many | ({"job_id": "batch_of_another_directory"} if of_another else {})))
    bench.clock.ahead += DOUBT_SECONDS + 1
    bench.fake.faults.poll_status = [404]
    run = bench.run()
    run.begin(first_try=False)
    run.advance()
    lost = list((bench.path / "ledger").glob("*.lost.json"))
    assert bool(lost) is not of_another


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=0, lost_job=True))
def test_a_job_that_was_lost_and_is_alive_is_waited_for(bench):
    """A3: a gateway that has forgotten a job for an hour and knows it again: the next try waits for it."""
    bench.write([line(n) for n in range(3)])
    with pytest.raises(LostJobError):
        judged(bench)
    bench.fake.faults.lost_job = False
    run = bench.run()
    run.begin(first_try=False)
    assert run.advance().jobs == (bench.fake.batches[0]["id"],)
    assert len(bench.fake.batches) == 1


@pytest.mark.parametrize(
    ("first", "looks", "now", "believed"),
    [
        (0.0, PERMANENT_FAILURES, DOUBT_SECONDS, True),
        (0.0, PERMANENT_FAILURES - 1, DOUBT_SECONDS, False),
        (0.0, 99, DOUBT_SECONDS - 1, False),
    ],
)
def test_what_is_believed(first, looks, now, believed):
    """A3: only several looks over minutes are; and looks come soon at first, then rarely."""
    assert is_believed(first, looks, now) is believed
    assert 30 <= next_look(0.0, 0.0) <= next_look(0.0, 200.0) - 200.0 <= 300


# ---- what one job meets is its own ---------------------------------------------------------------------------------


def spoil(bench, **methods):
    """Let the backend's methods raise for the first job alone."""
    for name, error in methods.items():
        known = getattr(bench.backend, name)

        def broken(job, *args, known=known, error=error):
            if getattr(job, "id", job) == bench.fake.batches[0]["id"]:
                raise error
            return known(job, *args)

        setattr(bench.backend, name, broken)


ERRORS = [
    ProviderError("HTTP 500", status=500),
    AuthenticationError("HTTP 403"),
    TypeError("nobody foresaw this"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["retrieve", "outputs"])
def test_a_job_that_cannot_be_read_leaves_the_others_alone(bench, where, error):
    """X4: whatever one job meets, the others are collected and results written; then its error is raised, typed."""
    three_models(bench)
    spoil(bench, **{where: error})
    kind = type(error) if isinstance(error, BatchInferenceError) else ProviderError
    with pytest.raises(kind):
        judged(bench)
    assert answered(bench) == of_other_shards(bench)
    summary = summary_of(bench)
    assert summary["open"] == ["r0-00000"]
    assert summary["stopped"].startswith(kind.__name__)
    assert summary["total"] == ROWS == sum(summary["outcomes"].values())
    assert {row["error"]["code"] for row in bench.failed()} == {"not_collected"}
    for name in ("retrieve", "outputs"):
        bench.backend.__dict__.pop(name, None)
    assert judged(bench, first_try=False).outcomes["succeeded"] == ROWS
    assert len(bench.fake.batches) == 3
    assert summary_of(bench)["open"] == []


def test_the_others_are_waited_for_before_an_error_is_raised(bench):
    """X4: while other jobs live the task waits for them, and looks at the broken one now and then."""
    bench.fake.faults.hold_after_rows = 0
    three_models(bench)
    run = bench.run()
    run.begin(first_try=True)
    run.advance()
    spoil(bench, retrieve=AuthenticationError("HTTP 403"))
    waiting = run.advance()
    assert set(waiting.jobs) == {batch["id"] for batch in bench.fake.batches[1:]}
    assert waiting.rule.look_at is not None


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=1, jobs=1))
def test_a_job_that_never_ends_leaves_the_answers_of_the_others(bench):
    """X4: 130 hours, five tries, one stuck job: what was answered is there after each, and the job's own later."""
    three_models(bench)
    for number in range(5):
        run = bench.run()
        run.begin(first_try=number == 0)
        run.advance()
        until_answered(bench)
        run.advance()
        bench.clock.ahead += 27 * 3600
        with pytest.raises(DeadlineError, match=bench.fake.batches[0]["id"]):
            run.advance()
        assert answered(bench) == of_other_shards(bench)
        assert summary_of(bench)["open"] == ["r0-00000"]
        assert "do not send it again" in bench.failed()[0]["error"]["message"].lower()
    bench.run().cancel()
    assert bench.finish(first_try=False).outcomes["succeeded"] >= 6 + 1
    # What the stuck job had answered is taken as it is; only its other rows were sent again.
    assert [job["rows"] for job in bench.run().advance().summary.jobs] == [3, 3, 3, 2]


def until_answered(bench):
    import time

    until = time.time() + PATIENCE
    while sum(batch["status"] == "completed" for batch in bench.fake.batches) < 2 and time.time() < until:
        time.sleep(0.01)


@pytest.mark.parametrize("count", ["1e30", "-1e400", '"many"', "123456789012345678901234567890", "[1]", "{}", "true"])
def test_unbounded_counts_are_read_leniently(bench, count):
    """X4: `prompt_tokens: 1e30` and its like cost no row and stop no run."""
    bench.write([line(n) for n in range(3)])
    outputs = bench.backend.outputs
    bench.backend.outputs = lambda job: (
        chunk.replace(b'"prompt_tokens":', b'"prompt_tokens":%s,"was":' % count.encode()) for chunk in outputs(job)
    )
    assert judged(bench).outcomes["succeeded"] == 3


def test_a_line_that_cannot_be_decoded_is_its_rows_own_matter(bench):
    """X4: an untyped exception in decoding marks the row and keeps the provider's line; the others are answered."""
    bench.write([line(n) for n in range(3)])
    made = bench.backend.line_format

    def line_format(model, endpoint):
        found = made(model, endpoint)
        decode = found.decode

        def failing(raw, sent):
            if b"row-1" in raw:
                raise KeyError("candidates")
            return decode(raw, sent)

        found.decode = failing
        return found

    bench.backend.line_format = line_format
    summary = bench.finish()
    assert (summary.outcomes["succeeded"], summary.outcomes["invalid"]) == (2, 1)
    (failed,) = bench.failed()
    assert failed["error"]["code"] == "unreadable_answer"
    assert "say 1" in failed["error"]["message"]
    assert len(bench.fake.batches) == 1


def test_an_outage_asks_for_patience_once(tmp_path):
    """X4: when the provider is away, the pauses of one job are enough for the pass, however many jobs there are."""
    world = World()
    world.on_accept = lambda batch: None
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line(n, model=f"m{n}")) + "\n" for n in range(30)))
    process = Process(world, tmp_path)
    process.run.begin(first_try=True)
    process.run.advance()
    for batch in world.batches:
        world.end(batch, JobStatus.COMPLETED)
    begun = world.now
    world.armed["retrieve"] = ["500"] * 200
    with pytest.raises(ProviderError):
        process.run.advance()
    assert world.now - begun < 20
