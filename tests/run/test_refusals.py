"""Refusals by a provider, end to end: of rows, of whole batches, of creates and uploads.

The words are the providers': curator#296, eva#1011 (rows), hato-bot#4552 (a create), openai-dotnet#312 (a file that is
not ready), tobert/kaibo#169 (whole batches).
"""

import time
from email.utils import formatdate

import pytest

from airflow_batch_provider.core.errors import (
    AccountError,
    DeadlineError,
    JobFailedError,
    RequestRejectedError,
    ToleranceError,
)
from airflow_batch_provider.core.finding import Seen
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.core.records import Admission
from airflow_batch_provider.run.run import Done
from airflow_batch_provider.run.submitter import Submitter
from airflow_batch_provider.testing import Said
from tests.run.benching import line

QUOTA = Said(
    429,
    "You exceeded your current quota, please check your plan and billing details.",
    code="insufficient_quota",
    kind="insufficient_quota",
)
BILLING = Said(400, "Billing hard limit has been reached", code="billing_hard_limit_reached")
PENDING = Said(400, "The input file is not ready: its status is 'pending'.", kind="invalid_request_error")


def ledger_files(bench):
    return sorted(path.name for path in (bench.path / "ledger").iterdir() if path.name.startswith("r0-"))


@pytest.mark.parametrize(
    "said",
    [
        BILLING,
        Said(402, "Payment Required", kind="billing_error"),
        Said(401, "Incorrect API key provided.", code="invalid_api_key"),
        Said(403, "You do not have access to this resource.", kind="permission_error"),
        Said(404, "The API deployment for this resource does not exist.", code="DeploymentNotFound"),
        Said(400, "litellm.RateLimitError: Error code: 429 - {'error': {'code': 'insufficient_quota'}}", kind="x"),
    ],
)
def test_rows_refused_for_the_account(bench, said):
    """A4: before, final for ever. No round of the same try sends them again, the next try does, and only them."""
    bench.fake.faults.fail_rows = {"row-1": said, "row-3": said}
    bench.write([line(number) for number in range(5)])
    summary = bench.finish(rounds=3)
    assert (summary.rounds, summary.retryable, len(bench.fake.batches)) == (1, 2, 1)
    with pytest.raises(ToleranceError):
        judge(summary, 0.0)
    bench.fake.faults.fail_rows = {}
    assert bench.finish(first_try=False).outcomes["succeeded"] == 5
    assert [batch["request_counts"]["total"] for batch in bench.fake.batches] == [5, 2]


def test_a_bad_row_stays_final(bench):
    """A4: the third class; a request that is bad is never sent again."""
    bench.fake.faults.fail_rows = {"row-1": Said(400, "Unsupported value: 'temperature'", code="unsupported_value")}
    bench.write([line(number) for number in range(3)])
    assert bench.finish().retryable == 0
    assert bench.finish(first_try=False).rounds == 1


def test_no_quota_at_create(bench):
    """A5: before, a create a minute until the deadline. Four creates of one upload, then the provider's words."""
    bench.fake.faults.create_status = [QUOTA] * 1000
    bench.write([line(number) for number in range(3)])
    begun = bench.clock()
    with pytest.raises(AccountError, match=r"r0-00000 was refused 4 times: .*You exceeded your current quota"):
        bench.finish()
    assert bench.clock() - begun >= 60 + 120 + 240
    assert (len(bench.fake.creates), len(bench.fake.calls("upload"))) == (4, 1)
    assert [name.split(".", 2)[2] for name in ledger_files(bench)] == ["intent.json", "intent.json", "refused.json"]
    bench.fake.faults.create_status = []
    assert bench.finish(first_try=False).outcomes["succeeded"] == 3
    assert (len(bench.fake.batches), len(bench.fake.calls("upload"))) == (1, 1)


def test_no_quota_for_many_shards(bench):
    """A5: what refuses one file refuses all, so the others are not sent in vain."""
    bench.fake.faults.create_status = [QUOTA] * 1000
    bench.write([line(number, model=f"m{number}") for number in range(20)])
    with pytest.raises(AccountError):
        bench.finish()
    assert (len(bench.fake.creates), len(bench.fake.calls("upload"))) == (4, 1)


def test_jobs_that_run_are_waited_for(bench):
    """A5: the quota runs out between two creates: what was created is collected before the task fails."""
    bench.write([line(number, model=f"m{number}") for number in range(2)])
    run = bench.run(max_jobs_in_flight=1)
    run.begin(first_try=True)
    run.advance()
    bench.fake.faults.create_status = [QUOTA] * 1000
    with pytest.raises(AccountError):
        bench.go_on(run)
    assert [len(end) for end in ([a for a in r.ends() if a.job_id] for r in run.ledger.rounds())] == [1]
    bench.fake.faults.create_status = []
    assert bench.finish(first_try=False).outcomes["succeeded"] == 2
    assert len(bench.fake.batches) == 2


def test_what_ended_at_the_deadline_is_not_denied(bench):
    """The very look that finds the deadline passed has collected a job: before, the error said that nothing was sent
    and nothing is billed."""
    bench.write([line(number, model=f"m{number}") for number in range(2)])
    run = bench.run(max_jobs_in_flight=1, timeout=3600)
    run.begin(first_try=True)
    assert len(run.advance().jobs) == 1
    while bench.fake.batches[0]["status"] != "completed":
        time.sleep(0.01)
    bench.clock.sleep(4000)
    with pytest.raises(DeadlineError, match=r"no job is known to be running\. 1 shard is unsent"):
        run.advance()


def test_many_refusals_keep_one_record(bench):
    """X26: before, two files for each refusal; and A5: the last refusal is in the error at the deadline."""
    bench.fake.faults.create_status = [429] * 1000
    bench.write([line(number, model=f"m{number}") for number in range(3)])
    with pytest.raises(DeadlineError) as caught:
        bench.finish(timeout=86_400)
    told = str(caught.value)
    assert told.startswith("The deadline passed before anything was sent: no job is running and nothing is billed.")
    assert "3 shards are unsent. Last refusal (of " in told
    assert "HTTP 429 requests: Rate limit reached" in told
    assert len(bench.fake.creates) < 120  # a day; before, 1,440 a shard
    assert len(ledger_files(bench)) <= 9
    assert sum("refused" in name for name in ledger_files(bench)) <= 3
    bench.fake.faults.create_status = []
    assert bench.finish(first_try=False).outcomes["succeeded"] == 3
    assert len(bench.fake.batches) == 3


def test_a_sleeper_cannot_take_a_removed_number(bench):
    """X26: the fence holds although records are removed: whoever slept since an old refusal sends nothing."""
    bench.fake.faults.create_status = [429] * 4
    bench.write([line(0)])
    run = bench.run()
    run.begin(first_try=True)
    run.advance()
    shard = run.ledger.rounds()[0].shards[0]
    stale = run.ledger.rounds()[0].last(shard)
    for _ in range(3):
        bench.clock.ahead += 1000
        run.advance()
    sleeper = bench.run()
    record = sleeper.ledger.run()
    bench.clock.ahead += 1000
    made = len(bench.fake.creates)
    assert stale.number == 1
    Submitter(sleeper, sleeper._looker(record)).submit(shard, [stale], "unsure", Seen())
    assert len(bench.fake.creates) == made
    assert run.ledger.rounds()[0].last(shard).number == 4
    assert bench.go_on(run).outcomes["succeeded"] == 1
    assert len(bench.fake.batches) == 1


def test_a_file_that_is_not_ready(bench):
    """A11: before, failed at once. The same create again within minutes, with the same file."""
    bench.fake.faults.create_status = [PENDING] * 5
    bench.write([line(number) for number in range(3)])
    begun = bench.clock()
    assert bench.finish().outcomes["succeeded"] == 3
    assert 5 + 10 + 20 + 40 + 60 <= bench.clock() - begun < 300
    assert (len(bench.fake.batches), len(bench.fake.calls("upload"))) == (1, 1)


def test_a_file_that_never_gets_ready(bench):
    """A11: after a quarter of an hour the provider's words; the next try uploads anew."""
    bench.fake.faults.create_status = [PENDING] * 1000
    bench.write([line(number) for number in range(3)])
    with pytest.raises(RequestRejectedError, match=r"refused \d+ times in 1\d minutes: .*'pending'"):
        bench.finish()
    assert len(bench.fake.creates) < 25
    bench.fake.faults.create_status = []
    assert bench.finish(first_try=False).outcomes["succeeded"] == 3
    assert len(bench.fake.calls("upload")) == 2


@pytest.mark.parametrize(
    "error",
    [
        {"code": "internal_error", "message": "An internal error occurred."},
        {"code": "server_error", "message": "The server had an error."},
        {"code": None, "message": "The server is overloaded, please try again later."},
        {"code": None, "message": "Cannot find file file-VC5, or organization org-Rem does not have access to it."},
    ],
)
def test_a_batch_that_failed_for_a_passing_reason(bench, error):
    """A12: before, JobFailedError, for good. The next round sends its rows again."""
    bench.fake.faults.job_errors, bench.fake.faults.jobs = [error], 1
    bench.write([line(number) for number in range(4)])
    summary = bench.finish()
    assert (summary.outcomes["succeeded"], summary.rounds, len(bench.fake.batches)) == (4, 2, 2)


def test_a_batch_that_fails_in_every_round(bench):
    """A12: a provider that is down for longer than the rounds: a retry of Airflow's helps."""
    bench.fake.faults.job_errors = [{"code": "internal_error", "message": "An internal error occurred."}]
    bench.write([line(number) for number in range(4)])
    summary = bench.finish()
    with pytest.raises(ToleranceError, match="internal_error"):
        judge(summary, 0.0)
    assert len(bench.fake.batches) == 2
    bench.fake.faults.job_errors = []
    assert bench.finish(first_try=False).outcomes["succeeded"] == 4


def test_a_full_queue_in_words_only(bench):
    """A12: no code; it is paused and halved as with one."""
    bench.fake.faults.job_errors = [{"code": None, "message": "The batch queue is full for this organization."}]
    bench.fake.faults.jobs = 1
    bench.write([line(number) for number in range(4)])
    begun = bench.clock()
    summary = bench.finish(rounds=1)
    assert summary.outcomes["succeeded"] == 4
    assert [job["rows"] for job in summary.jobs] == [4, 2, 2]
    assert bench.clock() - begun >= 300


def test_a_batch_refused_for_the_account(bench):
    """A4, A12: the next try sends it again, no round does."""
    bench.fake.faults.job_errors = [{"code": BILLING.code, "message": BILLING.message}]
    bench.write([line(number) for number in range(4)])
    summary = bench.finish(rounds=3)
    assert len(bench.fake.batches) == 1
    with pytest.raises(ToleranceError, match="Billing hard limit"):
        judge(summary, 0.0)
    bench.fake.faults.job_errors = []
    assert bench.finish(first_try=False).outcomes["succeeded"] == 4


def test_a_batch_refused_for_its_file(bench):
    """A12: an error that names a line is the file's; none retries it, clearing the task sends it again."""
    bench.fake.faults.job_errors = [{"code": "server_error", "message": "?", "line": 3}]
    bench.write([line(number) for number in range(4)])
    with pytest.raises(JobFailedError):
        judge(bench.finish(), 0.0)
    assert len(bench.fake.batches) == 1
    bench.fake.faults.job_errors = []
    assert bench.finish(first_try=False).outcomes["succeeded"] == 4


@pytest.mark.parametrize(("wait", "least", "most"), [(50, 50, 60), ("date", 35, 60), (5000, 120, 130)])
def test_retry_after_at_upload(bench, wait, least, most):
    """A15: before, 1 s whatever the header said. As seconds, as a date, and bounded."""
    date = formatdate(time.time() + 40, usegmt=True)
    bench.fake.faults.retry_after = date if wait == "date" else wait
    bench.fake.faults.upload_status = [429]
    bench.write([line(0)])
    run = bench.run()
    run.begin(first_try=True)
    begun = bench.clock.ahead
    run.advance()
    assert least <= bench.clock.ahead - begun <= most
    assert bench.go_on(run).outcomes["succeeded"] == 1


def test_retry_after_at_create(bench):
    """A15: as a date."""
    bench.fake.faults.retry_after = formatdate(time.time() + 700, usegmt=True)
    bench.fake.faults.create_status = [429]
    bench.write([line(0)])
    run = bench.run()
    run.begin(first_try=True)
    waiting = run.advance()
    assert not isinstance(waiting, Done)
    assert 600 < waiting.rule.look_at - bench.clock() <= 700
    assert bench.go_on(run).outcomes["succeeded"] == 1


def test_nothing_sent_for_want_of_room(bench):
    """The words at the deadline: jobs that run are named, one is one, what is unsent is said."""
    bench.backend.admission = Admission(max_jobs=1)
    bench.write([line(number, model=f"m{number}") for number in range(2)])
    bench.fake.faults.hold_after_rows = 0
    run = bench.run(timeout=100)
    run.begin(first_try=True)
    job = run.advance().jobs[0]
    bench.clock.ahead += 101
    with pytest.raises(DeadlineError) as caught:
        run.advance()
    assert str(caught.value).startswith(
        f"The deadline passed with 1 job running ({job}); it was left running and may be"
    )
    assert "1 shard is unsent. Clear the task" in str(caught.value)
