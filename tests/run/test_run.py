"""A run, whatever happens to it: one job a shard and round, every row once, the books balanced."""

import json

import pytest

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.core.errors import (
    ConfigurationError,
    DeadlineError,
    InputError,
    JobFailedError,
    LostCreateError,
    PermanentError,
    ProviderError,
    RequestRejectedError,
    RowsFailedError,
    RunConflictError,
    ToleranceError,
)
from airflow_batch_provider.core.polling import Waiting
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.testing import FaultPlan
from tests.run.benching import line


def test_a_run_answers_every_row_once(bench):
    """Rows in, the same custom_ids out, summary and books in the run directory."""
    bench.write([line(n) for n in range(20)])
    summary = bench.finish()
    assert summary.outcomes == {
        "succeeded": 20, "invalid": 0, "failed": 0, "expired": 0, "cancelled": 0, "missing": 0
    }  # fmt: skip
    assert summary.usage.output_tokens > 0
    assert summary.cost_usd is None
    assert list(bench.results()) == [f"row-{n}" for n in range(20)]
    assert bench.failed() == []
    assert len(bench.fake.creates) == 1
    assert json.loads((bench.path / "summary.json").read_text())["total"] == 20
    assert not (bench.path / "shards").exists(), "lines that need no change are not written twice"


def test_models_go_to_shards_of_their_own(bench):
    """Several models in one file are legal; each batch has one."""
    bench.write([line(n, model="ab"[n % 2]) for n in range(7)])
    summary = bench.finish()
    assert summary.outcomes["succeeded"] == 7
    assert [job["model"] for job in summary.jobs] == ["a", "b"]
    assert [job["rows"] for job in summary.jobs] == [4, 3]


def test_operator_model_changes_the_wire_copy_only(bench):
    """The author's lines stay as they are; what is uploaded asks the operator's model."""
    bench.write([line(1), {"custom_id": "row-2", "body": {"messages": [{"role": "user", "content": "x"}]}}])
    assert bench.finish(model="big", endpoint="/v1/chat/completions").outcomes["succeeded"] == 2
    wire = [json.loads(raw) for raw in (bench.path / "shards/r0-00000.jsonl").read_bytes().split(b"\n")[:-1]]
    assert {one["body"]["model"] for one in wire} == {"big"}
    assert {one["url"] for one in wire} == {"/v1/chat/completions"}
    assert (bench.path / "input/r0-00000.jsonl").read_bytes() == bench.input.read_bytes()


def test_nothing_is_sent_before_the_file_is_clean(bench):
    """One bad line among good ones: an error with its number, and not one call."""
    bench.write([line(1), {"custom_id": "x"}, line(1)])
    with pytest.raises(InputError, match=r"line 2, url: missing(.|\n)*line 3, custom_id: 'row-1' is already used"):
        bench.finish()
    assert bench.fake.requests == []


@pytest.mark.fake(faults=FaultPlan(cut_after_accept=1))
def test_a_lost_answer_is_found_not_repeated(bench):
    """The connection is cut after the provider accepted: the job is found by its upload, there is one batch."""
    bench.write([line(n) for n in range(5)])
    assert bench.finish().outcomes["succeeded"] == 5
    assert (len(bench.fake.creates), len(bench.fake.batches)) == (1, 1)


@pytest.mark.fake(faults=FaultPlan(accepted_status=[500]))
def test_a_500_that_was_accepted_is_found(bench):
    """5xx says nothing about whether the batch exists; it does, and it is found."""
    bench.write([line(1)])
    assert bench.finish().outcomes["succeeded"] == 1
    assert (len(bench.fake.creates), len(bench.fake.batches)) == (1, 1)


@pytest.mark.fake(faults=FaultPlan(late_accept=[0.3]))
def test_a_late_accept_is_waited_for(bench):
    """A batch that shows in the list only later is still found; the run looks again instead of creating again."""
    bench.write([line(1)])
    run = bench.run()
    run.begin(first_try=True)
    outcome = run.advance()
    assert isinstance(outcome, Waiting)
    assert outcome.rule.look_at is not None
    assert bench.go_on(run).outcomes["succeeded"] == 1
    assert len(bench.fake.batches) == 1


@pytest.mark.fake(faults=FaultPlan(cut_before_accept=1))
@pytest.mark.parametrize(("policy", "creates"), [("fail", 1), ("resubmit", 2)])
def test_a_create_that_never_arrived(bench, policy, creates):
    """After 15 minutes without a trace, the default says what to check, ``resubmit`` creates again; never two jobs."""
    bench.write([line(1)])
    run = bench.run(on_lost_create=policy)
    run.begin(first_try=True)
    started = bench.clock()
    if policy == "fail":
        with pytest.raises(LostCreateError, match="the provider lists no such job"):
            bench.go_on(run)
    else:
        assert bench.go_on(run).outcomes["succeeded"] == 1
    assert bench.clock() - started >= 900
    assert len(bench.fake.creates) == creates
    assert len(bench.fake.batches) == creates - 1


@pytest.mark.fake(faults=FaultPlan(create_status=[429, 429], token_limit=1))
def test_a_full_queue_is_waited_for(bench):
    """429 and an exhausted token quota made nothing, so the create is tried again, with the same upload."""
    bench.write([line(1)])
    assert bench.finish().outcomes["succeeded"] == 1
    assert len(bench.fake.calls("upload")) == 1
    assert (len(bench.fake.creates), len(bench.fake.batches)) == (4, 1)


@pytest.mark.fake(faults=FaultPlan(create_status=[400]))
def test_a_refused_create_fails_at_once_and_may_be_tried_again(bench):
    """A 400 made nothing: the error is permanent, and a new try creates under the next number."""
    bench.write([line(1)])
    run = bench.run()
    run.begin(first_try=True)
    with pytest.raises(RequestRejectedError, match="POST /batches: HTTP 400"):
        run.advance()
    assert bench.finish(first_try=False).outcomes["succeeded"] == 1
    assert sorted(path.name for path in (bench.path / "ledger").glob("*refused*")) == ["r0-00000.1.refused.json"]


@pytest.mark.fake(faults=FaultPlan(expire_after_rows=90, jobs=1))
def test_expired_rows_are_asked_again_and_no_other(bench):
    """100 rows, 90 answered, then expired: exactly 10 go again (peers' D1 to D4)."""
    bench.write([line(n) for n in range(100)])
    summary = bench.finish()
    assert summary.outcomes["succeeded"] == 100
    assert [job["rows"] for job in summary.jobs] == [100, 10]
    assert len(bench.results()) == 100


@pytest.mark.fake(faults=FaultPlan(expire_after_rows=6))
def test_rounds_bound_how_often_a_row_is_asked(bench):
    """With one round, the expired rows end as expired, and failed.jsonl holds them ready to be run again."""
    bench.write([line(n) for n in range(10)])
    summary = bench.finish(rounds=1)
    assert (summary.outcomes["succeeded"], summary.outcomes["expired"]) == (6, 4)
    with pytest.raises(ToleranceError, match="4 of 10 rows"):
        judge(summary, 0.0)
    failed = bench.failed()
    assert {one["error"]["code"] for one in failed} == {"batch_expired"}
    assert {one["custom_id"] for one in failed} == {f"row-{n}" for n in range(10)} - {
        custom_id for custom_id, one in bench.results().items() if one["response"]
    }


@pytest.mark.fake(faults=FaultPlan(expire_after_rows=6))
def test_failed_jsonl_runs_as_it_is(bench, tmp_path):
    """What failed.jsonl holds is valid input."""
    bench.write([line(n) for n in range(10)])
    bench.finish(rounds=1)
    bench.input = bench.path / "failed.jsonl"
    bench.path = tmp_path / "again"
    bench.fake.faults.expire_after_rows = None
    assert bench.finish().outcomes["succeeded"] == 4


@pytest.mark.fake(faults=FaultPlan(expire_after_rows=6, jobs=2))
def test_a_new_try_gets_fresh_rounds_for_what_can_be_helped(bench):
    """A run that failed its tolerance asks its retryable rows again when cleared, and only those."""
    bench.write([line(n) for n in range(14)])
    first = bench.finish(rounds=2)
    assert (first.outcomes["succeeded"], first.outcomes["expired"]) == (12, 2)
    assert [row["error"]["attempts"] for row in bench.failed()] == [2, 2]
    second = bench.finish(rounds=2, first_try=False)
    assert second.outcomes["succeeded"] == 14
    assert [job["rows"] for job in second.jobs] == [14, 8, 2]


def test_clearing_a_finished_run_is_free(bench):
    """The same input again costs no call that pays, not even an upload."""
    bench.write([line(n) for n in range(3)])
    first = bench.finish()
    seen = len(bench.fake.requests)
    bench.write([line(n) for n in (2, 1, 0)])
    assert bench.finish(first_try=False) == first
    assert len(bench.fake.requests) == seen


def test_changed_input_is_refused_or_begun_anew(bench):
    """Another body is another run: by default an error, on request the old one is archived."""
    bench.write([line(n) for n in range(3)])
    bench.finish()
    bench.write([line(n, temperature=0) for n in range(3)])
    with pytest.raises(RunConflictError, match=r"changed since(.|\n)*on_changed_input"):
        bench.finish(first_try=False)
    assert bench.finish(first_try=False, on_changed_input="restart").outcomes["succeeded"] == 3
    assert len(bench.fake.batches) == 2
    (archived,) = (bench.path / "history").iterdir()
    assert (archived / "summary.json").exists()


def test_another_runs_directory_is_refused(bench):
    """A folder that another run writes to is not touched."""
    bench.write([line(1)])
    bench.finish()
    with pytest.raises(RunConflictError, match=r"holds the run 'dag/task/run/-1'(.|\n)*run_id"):
        bench.finish(run_key="dag/task/other/-1", first_try=False)


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=0))
def test_another_provider_is_refused_while_jobs_live(bench):
    """A connection that now leads elsewhere must not be asked about jobs made before."""
    bench.write([line(1)])
    run = bench.run()
    run.begin(first_try=True)
    run.advance()
    route = Route("http://127.0.0.1:9/v1", bench.backend.route.headers)
    bench.backend = OpenAIBackend(route, bench.backend.facts)
    with pytest.raises(RunConflictError, match="switch it back"):
        bench.run().advance()


def test_a_vanished_directory_is_an_error_on_resume(bench):
    """Whoever goes on without a ledger never creates a first job."""
    with pytest.raises(RunConflictError, match="There is no run in"):
        bench.run().advance()
    assert bench.fake.requests == []


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=1))
def test_a_new_try_without_directory_finds_its_jobs(bench):
    """The ledger was deleted while a job lives: the new try finds it by its token instead of paying again."""
    bench.write([line(n) for n in range(3)])
    run = bench.run()
    run.begin(first_try=True)
    run.advance()
    run.directory.archive("gone")
    for path in (bench.path / "history").iterdir():
        path.rename(bench.path.parent / "gone")
    (bench.path / "history").rmdir()
    bench.fake.faults.hold_after_rows = None
    again = bench.run()
    again.begin(first_try=False)
    outcome = again.advance()
    assert isinstance(outcome, Waiting)
    assert (len(bench.fake.creates), len(bench.fake.batches)) == (1, 1)
    assert list(outcome.jobs) == [bench.fake.batches[0]["id"]]


@pytest.mark.fake(faults=FaultPlan(job_errors=[{"code": "model_not_found", "message": "no such model", "line": 2}]))
def test_a_job_that_fails_whole_says_why(bench):
    """The provider's own lines are in the error and in failed.jsonl; a new try may ask again."""
    bench.write([line(n) for n in range(3)])
    summary = bench.finish()
    with pytest.raises(JobFailedError, match=r"line 2: no such model \[model_not_found\]"):
        judge(summary, 1.0)
    assert all("no such model" in one["error"]["message"] for one in bench.failed())
    assert len(bench.fake.batches) == 1, "a file that was refused is not sent again by itself"
    bench.fake.faults.job_errors = []
    assert bench.finish(first_try=False).outcomes["succeeded"] == 3


@pytest.mark.fake(faults=FaultPlan(fail_rows={"*": 400}))
def test_a_completed_job_without_a_success_is_a_failure(bench):
    """Status completed, output file null, every row in the error file (pain 4): fails, and nothing is asked again."""
    bench.write([line(n) for n in range(3)])
    summary = bench.finish()
    assert summary.outcomes["failed"] == 3
    with pytest.raises(RowsFailedError, match="3 of 3 rows"):
        judge(summary, 1.0)
    assert len(bench.fake.batches) == 1


@pytest.mark.fake(faults=FaultPlan(fail_rows={"row-1": 500, "row-2": 400}, jobs=1))
def test_only_rows_that_a_retry_can_help_go_again(bench):
    """500 goes again, 400 does not."""
    bench.write([line(n) for n in range(4)])
    summary = bench.finish()
    assert (summary.outcomes["succeeded"], summary.outcomes["failed"]) == (3, 1)
    assert [job["rows"] for job in summary.jobs] == [4, 1]
    assert [one["custom_id"] for one in bench.failed()] == ["row-2"]


@pytest.mark.fake(
    faults=FaultPlan(reorder=True, duplicate=3, foreign=2, line_separators=True, malformed=0, lying_counts=True)
)
def test_disorder_changes_nothing(bench):
    """Reordered, doubled, foreign lines, U+2028 in answers and wrong counts: each row once, in input order (D6)."""
    bench.write([line(n) for n in range(8)])
    assert bench.finish().outcomes["succeeded"] == 8
    assert list(bench.results()) == [f"row-{n}" for n in range(8)]
    assert len(bench.fake.batches) == 1


@pytest.mark.fake(faults=FaultPlan(expired_fraction=0.5, silent_unrun=True, jobs=1))
def test_missing_rows_go_again(bench):
    """Rows for which no line came, and which the provider does not count as answered, are asked again by a round."""
    bench.write([line(n) for n in range(8)])
    summary = bench.finish()
    assert summary.outcomes["succeeded"] == 8
    assert [job["rows"] for job in summary.jobs] == [8, 4]


@pytest.mark.fake(
    faults=FaultPlan(cut_downloads=2, poll_status=[500, 502], download_status=[503], unknown_status_polls=2)
)
def test_reads_are_patient(bench):
    """Failed looks and cut downloads are tried again; an unknown status is waited for."""
    bench.write([line(n) for n in range(50)])
    assert bench.finish().outcomes["succeeded"] == 50
    assert len(bench.fake.creates) == 1


@pytest.mark.fake(faults=FaultPlan(poll_status=[500] * 50))
def test_reads_give_up_as_retryable(bench):
    """A provider that stays down ends the try, not the run; the next try goes on with the same job."""
    bench.write([line(1)])
    run = bench.run()
    run.begin(first_try=True)
    run.advance()
    with pytest.raises(ProviderError):
        run.advance()
    bench.fake.faults.poll_status = []
    assert bench.finish(first_try=False).outcomes["succeeded"] == 1
    assert len(bench.fake.batches) == 1


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=2, silent_unrun=True))
def test_cancelled_rows_go_again_with_the_next_try(bench):
    """Killed, then cleared: what was answered is kept, the rest is asked, without counting as a round."""
    bench.write([line(n) for n in range(5)])
    run = bench.run(rounds=1)
    run.begin(first_try=True)
    run.advance()
    assert run.cancel() == [bench.fake.batches[0]["id"]]
    bench.fake.faults.hold_after_rows = None
    bench.fake.faults.silent_unrun = False
    summary = bench.finish(rounds=1, first_try=False)
    assert summary.outcomes["succeeded"] == 5
    assert summary.jobs[0]["succeeded"] + summary.jobs[1]["succeeded"] == 5


def test_a_killed_task_creates_nothing_more(bench):
    """The stop flag is asked before each create."""
    bench.write([line(n, model=f"m{n}") for n in range(3)])
    run = bench.run(stopped=lambda: len(bench.fake.batches) >= 1)
    run.begin(first_try=True)
    with pytest.raises(PermanentError, match="killed"):
        run.advance()
    assert len(bench.fake.batches) == 1


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=0))
def test_deadline_leaves_the_jobs_and_a_new_try_gives_time(bench):
    """At the deadline the jobs are named and left alone; a new try goes on with them."""
    bench.write([line(1)])
    run = bench.run(timeout=60)
    run.begin(first_try=True)
    job = run.advance().jobs[0]
    bench.clock.ahead += 61
    with pytest.raises(DeadlineError, match=job):
        run.advance()
    again = bench.run(timeout=60)
    again.begin(first_try=False)
    assert again.advance().jobs == (job,)
    assert len(bench.fake.batches) == 1


def test_jobs_in_flight_are_bounded(bench):
    """Five shards and two slots: never more than two batches alive."""
    bench.write([line(n, model=f"m{n}") for n in range(5)])
    run = bench.run(max_jobs_in_flight=2)
    run.begin(first_try=True)
    while isinstance(outcome := run.advance(), Waiting):
        assert len(outcome.jobs) <= 2
        assert outcome.rule.on_any_end or not outcome.jobs or len(bench.fake.batches) == 5
    assert outcome.summary.outcomes["succeeded"] == 5


def test_route_is_checked_before_any_upload(bench):
    """An unknown option is an error before a byte is sent."""
    bench.write([line(1)])
    with pytest.raises(ConfigurationError, match="backend_options priority are unknown"):
        bench.finish(backend_options={"priority": "high"})
    assert bench.fake.requests == []
