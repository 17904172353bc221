"""The tables of decisions: creating, waiting, judging."""

import pytest

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    JobFailedError,
    ProviderError,
    RateLimitedError,
    RowsFailedError,
    ToleranceError,
)
from airflow_batch_provider.core.finding import Seen
from airflow_batch_provider.core.polling import Wait, Wake, WakeRule
from airflow_batch_provider.core.polling import decide as poll
from airflow_batch_provider.core.progress import Progress
from airflow_batch_provider.core.reconciling import judge, tolerated
from airflow_batch_provider.core.records import OUTCOMES, Job, JobStatus, RequestCounts
from airflow_batch_provider.core.submission import (
    Attach,
    Attached,
    Borrow,
    Create,
    LastCreate,
    Look,
    LookAgain,
    Refuse,
    Repeat,
    decide,
)
from airflow_batch_provider.core.summary import RunSummary

ONE, TWO = Job("j1", JobStatus.IN_PROGRESS), Job("j2", JobStatus.VALIDATING)
DEAD, OVER = Job("j0", JobStatus.CANCELLED), Job("j4", JobStatus.COMPLETED)
ENDING, LATE = Job("j5", JobStatus.CANCELLING), Job("j6", JobStatus.EXPIRED, counts=RequestCounts(5, 3, 0))
NEVER = Job("j7", JobStatus.EXPIRED)
INTENT = LastCreate(3, intent_at=1000.0)
AGAIN = LastCreate(3, intent_at=1000.0, repeatable=True)
REFUSED = LastCreate(2, 0, refused=True)
NONE, UNSURE, BROKEN = Seen(), Seen(complete=False), Seen(complete=False, broken="it did not end")
ABSENT, UNKNOWN = "the provider lists no such job", "the provider's list cannot prove that no such job exists"
ENDLESS = "the provider's list of jobs could not be read to its end: it did not end"


def own(*jobs):
    return Seen(own=jobs)


def same(*jobs):
    return Seen(same=jobs)


@pytest.mark.parametrize(
    ("last", "looked", "now", "policy", "wanted"),
    [
        (None, None, 0, "fail", Create(1)),
        (LastCreate(1, 0, "j"), None, 9e9, "fail", Attached("j")),
        (LastCreate(1, 0, "j", refused=True), None, 9e9, "fail", Attached("j")),
        (REFUSED, None, 0, "fail", Look()),
        (REFUSED, NONE, 0, "fail", Create(3)),
        (REFUSED, BROKEN, 0, "fail", LookAgain(60)),
        (REFUSED, UNSURE, 890, "fail", LookAgain(900)),
        (REFUSED, UNSURE, 900, "fail", Create(3)),
        (REFUSED, own(ONE, TWO), 0, "fail", Attach(ONE, (TWO,))),
        (REFUSED, same(ONE), 0, "fail", Create(3)),
        (INTENT, None, 1000, "resubmit", Look()),
        (INTENT, own(ONE), 1001, "fail", Attach(ONE)),
        (INTENT, Seen(own=(ONE,), complete=False), 9e9, "fail", Attach(ONE)),
        (INTENT, own(ONE, TWO), 1001, "fail", Attach(ONE, (TWO,))),
        (INTENT, own(DEAD, ONE), 1001, "fail", Attach(ONE, (DEAD,))),
        (INTENT, own(ONE, OVER), 1001, "fail", Attach(OVER, (ONE,))),
        (INTENT, own(DEAD, ENDING), 1001, "fail", Attach(ENDING, (DEAD,))),
        (INTENT, own(DEAD), 1001, "fail", Attach(DEAD)),
        (INTENT, same(ONE), 1001, "fail", LookAgain(1061)),
        (INTENT, Seen(likely=(ONE,), complete=False), 1001, "fail", Borrow(ONE)),
        (INTENT, Seen(own=(TWO,), likely=(ONE,)), 1001, "fail", Attach(TWO)),
        (REFUSED, Seen(likely=(ONE,), complete=False), 0, "fail", LookAgain(60)),
        (AGAIN, None, 1000, "fail", Look()),
        (AGAIN, own(ONE), 1001, "fail", Attach(ONE)),
        (AGAIN, NONE, 1001, "fail", Repeat()),
        (AGAIN, UNSURE, 9e9, "resubmit", Repeat()),
        (INTENT, NONE, 1001, "resubmit", LookAgain(1061)),
        (INTENT, NONE, 1890, "resubmit", LookAgain(1900)),
        (INTENT, NONE, 1900, "resubmit", Create(4)),
        (INTENT, UNSURE, 1900, "resubmit", Create(4)),
        (INTENT, BROKEN, 1001, "resubmit", LookAgain(1061)),
        (INTENT, BROKEN, 1900, "resubmit", Refuse(ENDLESS)),
        (INTENT, NONE, 1900, "fail", Refuse(ABSENT)),
        (INTENT, UNSURE, 1900, "fail", Refuse(UNKNOWN)),
    ],
)
def test_submission_table(last, looked, now, policy, wanted):
    """Every row of the table in the module's docstring of which the ledger has something, or nothing because the shard
    is new."""
    assert decide(last, looked=looked, now=now, settle_seconds=900, on_lost_create=policy) == wanted


@pytest.mark.parametrize("memory", ["unsure", "lost"])
@pytest.mark.parametrize(
    ("looked", "policy", "wanted"),
    [
        (None, "fail", Look()),
        (own(ONE, TWO), "fail", Attach(ONE, (TWO,))),
        (Seen(own=(ONE,), same=(OVER,)), "fail", Attach(ONE)),
        (own(ENDING), "fail", Attach(ENDING)),
        (own(DEAD), "fail", Create(1)),
        (same(ONE, TWO, DEAD), "fail", Borrow(ONE, (TWO,))),
        (same(ONE, OVER), "fail", Borrow(OVER, (ONE,))),
        (same(LATE), "fail", Borrow(LATE)),
        (Seen(own=(DEAD,), same=(ONE,)), "fail", Borrow(ONE)),
        (same(DEAD), "fail", Create(1)),
        (same(ENDING), "fail", Create(1)),
        (same(NEVER), "fail", Borrow(NEVER)),
        (NONE, "fail", Create(1)),
    ],
)
def test_a_shard_whose_record_may_have_been_deleted(memory, looked, policy, wanted):
    """X3, X6: what is proven ours is gone on with, what asks the same is read, what is dead is nobody's."""
    assert decide(None, memory=memory, looked=looked, now=0, settle_seconds=900, on_lost_create=policy) == wanted


@pytest.mark.parametrize(
    ("memory", "looked", "policy", "wanted"),
    [
        ("unsure", UNSURE, "fail", Create(1)),
        ("unsure", BROKEN, "fail", Create(1)),
        ("lost", UNSURE, "fail", Refuse(UNKNOWN)),
        ("lost", UNSURE, "resubmit", Create(1)),
        ("lost", BROKEN, "fail", Refuse(ENDLESS)),
        ("lost", BROKEN, "resubmit", Refuse(ENDLESS)),
        ("sent", UNSURE, "resubmit", Refuse(UNKNOWN)),
        ("sent", BROKEN, "resubmit", Refuse(ENDLESS)),
        ("sent", None, "fail", Look()),
        ("sent", own(ONE, TWO), "fail", Attach(ONE, (TWO,))),
        ("sent", same(LATE), "fail", Borrow(LATE)),
    ],
)
def test_a_list_that_proves_nothing(memory, looked, policy, wanted):
    """A13: after a lost directory nothing is created on a list that cannot prove that nothing lives, and what a later
    round proves to have been sent is found or refused (X6)."""
    assert decide(None, memory=memory, looked=looked, now=0, settle_seconds=900, on_lost_create=policy) == wanted


RULE = WakeRule(1000.0)


def look(seen, *, now=100.0, rule=RULE, failures=0, started=0.0):
    return poll(seen, rule=rule, now=now, started=started, poll_interval=10, failures=failures)


DONE = Job("j3", JobStatus.EXPIRED)


@pytest.mark.parametrize(
    ("seen", "options", "wanted"),
    [
        ([ONE], {}, Wait(10)),
        ([DONE], {}, Wake("jobs_ended")),
        ([DONE], {"now": 2000.0}, Wake("jobs_ended")),
        ([ONE, DONE], {}, Wait(10)),
        ([ONE], {"now": 1000.0}, Wake("deadline")),
        ([ONE], {"now": 995.0}, Wait(5)),
        ([ONE, DONE], {"rule": WakeRule(1000, on_any_end=True)}, Wake("slot_free")),
        ([ONE, DONE], {"rule": WakeRule(1000, on_any_end=True), "started": 90.0}, Wait(10)),
        ([ONE], {"rule": WakeRule(1000, look_at=104)}, Wait(4)),
        ([ONE], {"rule": WakeRule(1000, look_at=100)}, Wake("look_again")),
        ([], {"rule": WakeRule(1000, look_at=104)}, Wait(4)),
        ([Job("x", JobStatus.UNKNOWN)], {}, Wait(10)),
        (ProviderError("x"), {"failures": 1}, Wait(20)),
        (ProviderError("x"), {"failures": 9, "rule": WakeRule(9e9)}, Wait(600)),
        (RateLimitedError("x", retry_after=77), {"failures": 1}, Wait(77)),
        (ProviderError("x"), {"now": 1000.0, "failures": 1}, Wake("deadline")),
    ],
)
def test_polling_table(seen, options, wanted):
    """What a wait does after each look."""
    assert look(seen, **options) == wanted


@pytest.mark.parametrize(("error", "bound"), [(AuthenticationError("no"), 3), (ProviderError("no"), 30)])
def test_failed_looks_are_borne_up_to_a_bound(error, bound):
    """A blip is borne; a wrong key is believed sooner than a bad network; the jobs are not cancelled."""
    assert isinstance(look(error, failures=bound - 1), Wait)
    given_up = look(error, failures=bound)
    assert given_up.reason == "polling_failed"
    assert "not cancelled" in given_up.message


def summary(retryable=0, job_errors=(), **outcomes):
    counts = {name: outcomes.get(name, 0) for name in OUTCOMES}
    return RunSummary("k", "p", sum(counts.values()), counts, retryable, 1, Usage(), None, {}, (), job_errors, 0, 1)


@pytest.mark.parametrize(
    ("became", "tolerance", "error"),
    [
        (summary(succeeded=10), 0.0, None),
        (summary(succeeded=9, failed=1), 0.1, None),
        (summary(succeeded=9, failed=1), 0.09, RowsFailedError),
        (summary(succeeded=8, failed=1, expired=1, retryable=1), 0.1, ToleranceError),
        (summary(failed=3), 1.0, RowsFailedError),
        (summary(failed=3, job_errors=("bad file",)), 1.0, JobFailedError),
    ],
)
def test_judging(became, tolerance, error):
    """The tolerance is a share of all rows; no success at all always fails; what can be retried says so."""
    if error is None:
        judge(became, tolerance)
    else:
        with pytest.raises(error, match=r"rows did not succeed.*p/failed\.jsonl"):
            judge(became, tolerance)


@pytest.mark.parametrize("total", [7, 100, 1_000, 12_345, 10_000_000])
@pytest.mark.parametrize("percent", range(101))
def test_the_tolerance_counts_rows(total, percent):
    """X22: 29 of 100 are within 0.29, though 0.29 * 100 is less than 29; one more is not."""
    tolerance = float(f"{percent / 100:.2f}")
    assert tolerated(total, tolerance) == percent * total // 100


def test_29_of_100_within_029():
    """X22 at the verdict."""
    judge(summary(succeeded=71, failed=29), 0.29)
    with pytest.raises(RowsFailedError):
        judge(summary(succeeded=70, failed=30), 0.29)


def test_progress_speaks_when_there_is_news():
    """First look, then news at most every ten seconds, and a sign of life every ten minutes."""
    progress = Progress()

    def at(now, done):
        return progress.line([Job("j", JobStatus.IN_PROGRESS, counts=RequestCounts(100, done, 0))], now)

    assert at(0, 0) == "0/100 requests done (0.0%), 0 failed; jobs: 1 in_progress"
    assert at(5, 10) is None
    assert at(20, 20) == "20/100 requests done (20.0%), 0 failed; 1.0 requests/s, about 80 s left; jobs: 1 in_progress"
    assert at(60, 20) is None
    assert "20/100" in at(620, 20)
