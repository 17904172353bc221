"""Every fault of the fakes on every backend: a whole run under it, and what came of it, printed as one table.

A cell is ``recovered``, the run ended with every row answered although the fault was there, or ``typed error: X``: the
run stopped with one of the package's own errors, and the next try, without the fault, ended with every row answered.
There is no other cell. In both, the fake has not one job more than the rows needed. ``pytest -s`` shows the table.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_batch_provider.core.errors import BatchInferenceError, LostCreateError, LostJobError
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.run.run import BatchRun, Done
from airflow_batch_provider.testing import Said, fake_route
from airflow_batch_provider.testing.routes import DISTINCT
from tests.patience import PATIENCE
from tests.run.benching import Bench, line

OUTAGE = [503] * 20
"""Longer than anybody waits within one try."""
table: dict[str, dict[str, str]] = {}


def until_ended(bench: "TableBench", run: BatchRun) -> None:
    """Wait until the fake has worked the job off."""
    until = time.time() + PATIENCE
    while time.time() < until and not bench.backend.retrieve(run.live_jobs()[0]).status.is_terminal:
        time.sleep(0.01)


def cancel(bench: "TableBench", run: BatchRun) -> None:
    """A kill: every live job is asked to stop."""
    run.cancel()


def cancel_too_late(bench: "TableBench", run: BatchRun) -> None:
    """A kill at the moment in which the job ends."""
    until_ended(bench, run)
    run.cancel()


def cancel_in_mid_work(bench: "TableBench", run: BatchRun) -> None:
    """A kill when some rows are answered."""
    time.sleep(0.1)
    run.cancel()


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    :param plan: fields of the fault plan; ``SOME`` stands for as many rows as the backend takes in a job of their own.
    :param jobs: how many jobs the rows need under it, where that is more than one.
    :param uncounted: the same behind a gateway that tells no counts, where that is another number.
    :param meanwhile: what happens once the job was created; the next try begins after it.
    """

    plan: dict[str, Any] = field(default_factory=dict)
    jobs: int = 1
    uncounted: int | None = None
    meanwhile: Callable[["TableBench", BatchRun], None] | None = None


SOME = "half of the rows"
NO_QUOTA = Said(
    429, "You exceeded your current quota, please check your plan and billing details.", "insufficient_quota"
)
WRAPPED = "litellm.RateLimitError: Error code: 429 - {'error': {'message': 'quota', 'code': 'insufficient_quota'}}"
PROVISIONED = "Service agents are being provisioned. So please try again in a few minutes."
BILLING = Said(400, "Billing hard limit has been reached", code="billing_hard_limit_reached")
SERVER_ERROR = {"code": "server_error", "message": "The server had an error while processing your batch."}
DATE = "Wed, 21 Oct 2099 07:28:00 GMT"

FAULTS = {
    "latency": Fault({"latency": 0.02}),
    "429 and 503 on upload": Fault({"upload_status": [429, 503], "retry_after": 3}),
    "429 on create": Fault({"create_status": [429, 429], "retry_after": 3}),
    "503 on create": Fault({"create_status": [503]}),
    "429 and 503 on poll": Fault({"poll_status": [429, 503]}),
    "429 and 503 on list": Fault({"list_status": [429, 503], "cut_after_accept": 1}),
    "429 and 503 on download": Fault({"download_status": [429, 503]}),
    "503 on listing the bucket": Fault({"objects_status": [503, 503]}),
    "outage of upload": Fault({"upload_status": OUTAGE}),
    "outage of poll": Fault({"poll_status": OUTAGE}),
    "outage of list": Fault({"list_status": OUTAGE, "cut_after_accept": 1}),
    "outage of download": Fault({"download_status": OUTAGE}),
    "queue full": Fault({"token_limit": 2}),
    "cut before accept": Fault({"cut_before_accept": 1}),
    "cut after accept": Fault({"cut_after_accept": 1}),
    "late accept": Fault({"late_accept": [0.05]}),
    "accepted after all hope": Fault({"late_accept": [0.7]}),
    "500 although accepted": Fault({"accepted_status": [500]}),
    "expired at 50 %": Fault({"expired_fraction": 0.5, "jobs": 1}, jobs=2),
    "expired before the first row": Fault({"expired_fraction": 1.0, "jobs": 1}, jobs=2),
    "failed at validation": Fault({"job_errors": [{"code": "bad", "message": "No."}], "jobs": 1}, jobs=2),
    "every row fails with 429": Fault({"fail_rows": {"*": 429}, "jobs": 1}, jobs=2),
    "cancelled by the provider": Fault({"cancel_after_rows": SOME, "jobs": 1}, jobs=2),
    "the same, unrun rows untold": Fault({"cancel_after_rows": SOME, "silent_unrun": True, "jobs": 1}, jobs=2),
    "killed in mid-work": Fault({"hold_after_rows": SOME, "jobs": 1}, jobs=2, meanwhile=cancel_in_mid_work),
    "cancel after the end": Fault(meanwhile=cancel_too_late),
    "cancel accepted in vain": Fault({"cancel_in_vain": True}, meanwhile=cancel),
    # A4, A5, A11, A12, A15: in the providers' words; see test_refusals.py for their sources.
    "no quota on create": Fault({"create_status": [NO_QUOTA] * 20}),
    "no quota, told by a gateway": Fault({"create_status": [Said(400, WRAPPED, kind="x")] * 20}),
    "file not ready on create": Fault({"create_status": [Said(400, "The file's status is 'pending'.", kind="x")] * 3}),
    "service agents not ready": Fault({"create_status": [Said(400, PROVISIONED, "FAILED_PRECONDITION")] * 3}),
    "queue full, in words only": Fault({"create_status": [Said(400, "The batch queue is full.", kind="x")] * 2}),
    "Retry-After as a date": Fault({"upload_status": [429], "create_status": [429], "retry_after": DATE}),
    "every row over the billing limit": Fault({"fail_rows": {"*": BILLING}, "jobs": 1}, jobs=2),
    "every row fails with 402": Fault({"fail_rows": {"*": 402}, "jobs": 1}, jobs=2),
    "every row fails with 403": Fault({"fail_rows": {"*": 403}, "jobs": 1}, jobs=2),
    "batch failed with server_error": Fault({"job_errors": [SERVER_ERROR], "jobs": 1}, jobs=2),
    "500 on cancel": Fault({"cancel_status": [500] * 4}, meanwhile=cancel),
    "lines in reverse": Fault({"reorder": True}),
    "lines lost": Fault({"drop": SOME, "jobs": 1}, uncounted=2),
    "lines twice": Fault({"duplicate": 5}),
    "foreign ids": Fault({"foreign": 5}),
    "malformed lines": Fault({"malformed": 5}),
    "cut download": Fault({"cut_downloads": 2}),
    "download always cut": Fault({"cut_downloads": 50}),
    "short download": Fault({"short_downloads": 1}),
    "download cut again and again": Fault({"cut_every": 2000}),
    "the same, ranges ignored": Fault({"cut_downloads": 2, "no_ranges": True}),
    "download short by lines": Fault({"ragged_downloads": 1}),
    "U+2028 and NEL": Fault({"line_separators": True}),
    "BOM": Fault({"bom": True}),
    "CRLF": Fault({"crlf": True}),
    "lying counts": Fault({"lying_counts": True}),
    "unknown status": Fault({"unknown_status_polls": 3}),
    "no times": Fault({"null_times": True}),
    "times in milliseconds": Fault({"ms_times": True}),
    "times in ISO 8601": Fault({"iso_times": True}),
    "empty error file": Fault({"empty_error_file": True}),
    "completed without output": Fault({"no_output": True, "jobs": 1}),
    "output not to be had": Fault({"lost_output": True, "jobs": 1}),
    "output named later": Fault({"late_output": 3, "jobs": 1}),
    "job not known any more": Fault({"lost_job": True, "jobs": 1}),
    "output under another name": Fault({"strange_names": True, "jobs": 1}),
}


class TableBench(Bench):
    """A run of its own on a fake and a backend that many runs share."""

    def __init__(self, folder, route, backend, name, fault):
        folder.mkdir()
        self._shared = backend
        super().__init__(folder, route.fake)
        self.key = f"dag/{name}/run/-1"
        in_part = SOME in fault.plan.values() or "expired_fraction" in fault.plan
        self.rows = route.min_rows * (2 if in_part else 1) + 20 if route.min_rows > 1 else 12
        self.write([line(number, route.model, max_tokens=20) for number in range(self.rows)])
        self.before = len(route.fake.batches)
        self.called = len(route.fake.creates)
        self.sent_again = 0

    def make_backend(self, fake):
        return self._shared

    def plan(self, fault):
        """Set the fault's plan, for the jobs to come."""
        plan = {name: self.rows // 2 if value == SOME else value for name, value in fault.plan.items()}
        if "jobs" in plan:
            plan["jobs"] += self.before
        for name, value in plan.items():
            setattr(self.fake.faults, name, list(value) if isinstance(value, list) else value)

    def tried(self, fault):
        """A first try, and a second one where it was killed; fails as the operator would."""
        run = self.run(self.key)
        run.begin(first_try=True)
        if fault.meanwhile is not None:
            assert not isinstance(run.advance(), Done)
            fault.meanwhile(self, run)
            run = self.run(self.key)
            run.begin(first_try=False)
        return self.judged(run)

    def judged(self, run):
        summary = self.go_on(run)
        judge(summary, 0.0)
        return summary

    def again(self, error, fault):
        """The next try, when the fault is gone; a person who has looked at the provider says what it may do."""
        until = time.time() + PATIENCE
        while fault.plan.get("late_accept") and len(self.fake.batches) == self.before and time.time() < until:
            time.sleep(0.02)
        nobody = isinstance(error, LostCreateError) and len(self.fake.batches) == self.before
        try:
            return self.another_try(on_lost_create="resubmit" if nobody else "fail")
        except LostJobError:
            # What a cloud never wrote stays lost, and is sent again when somebody says so.
            assert len(self.fake.batches) == self.before + 1
            self.sent_again = 1
            return self.another_try(on_lost_job="resubmit")

    def another_try(self, **options):
        run = self.run(self.key, **options)
        run.begin(first_try=False)
        return self.judged(run)

    def check(self, summary, jobs):
        """Every row once, the equation, not one job more than needed, every create under a token of its own."""
        assert summary.total == self.rows
        assert sum(summary.outcomes.values()) == self.rows
        assert set(self.results()) == {f"row-{number}" for number in range(self.rows)}
        made = self.fake.batches[self.before :]
        assert len(made) == jobs
        attempts = self.attempts()
        ids = [attempt.job_id for _, attempt in attempts if attempt.job_id]
        assert len(ids) == len(set(ids)) == jobs
        # A create that was refused made nothing, so the shard's next one may have its token; no other may.
        used: Counter[str] = Counter()
        for _, attempt in attempts:
            # A refusal stands for those before it, which had the same token.
            used[attempt.token] += 1 + attempt.number - (attempt.refused.first if attempt.refused else attempt.number)
        assert len({(shard, attempt.token) for shard, attempt in attempts}) == len(used)
        open_ones = [attempt.token for _, attempt in attempts if attempt.refused is None]
        assert len(open_ones) == len(set(open_ones))
        sent = [json.dumps(call.body) for call in self.fake.creates[self.called :] if call.body is not None]
        told = Counter([token for token in used if token in body][-1] for body in sent)
        if not self.backend.create_is_repeatable:
            # A refusal stands for those before it.
            for _, attempt in attempts:
                used[attempt.token] += attempt.refused.times - 1 if attempt.refused else 0
            assert told <= used

    def attempts(self):
        """Every create of the run, with the shard it was for."""
        rounds = self.run(self.key).ledger.rounds()
        return [(name, one) for a_round in rounds for name, many in a_round.attempts.items() for one in many]


@pytest.fixture(scope="module", params=DISTINCT)
def world(request):
    with fake_route(request.param) as route:
        backend = route.backend()
        yield route, backend
        backend.close()


@pytest.fixture(scope="module", autouse=True)
def print_table():
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)
    names = [name for name in DISTINCT if name in table]
    width = max(map(len, FAULTS)) + 2
    print(f"\n\n{'':{width}}" + "".join(f"{name:<24}" for name in names))
    for fault in (one for one in FAULTS if any(one in cells for cells in table.values())):
        cells = [table[name].get(fault, "-").removeprefix("typed error: ") for name in names]
        print(f"{fault:<{width}}" + "".join(f"{cell:<24}" for cell in cells))
    counted = Counter(cell for cells in table.values() for cell in cells.values())
    print(f"\n{dict(counted)}")


@pytest.mark.parametrize("name", FAULTS)
def test_fault(world, tmp_path, name):
    """Recovered, or a typed error after which the next try loses nothing and pays nothing twice."""
    route, backend = world
    fault = FAULTS[name]
    cells = table.setdefault(route.name, {})
    cells[name] = "BREACH"
    bench = TableBench(tmp_path / "bench", route, backend, name, fault)
    bench.plan(fault)
    try:
        try:
            summary = bench.tried(fault)
            cell = "recovered"
        except BatchInferenceError as error:
            cell = f"typed error: {type(error).__name__}"
            route.fake.faults.reset()
            summary = bench.again(error, fault)
    finally:
        route.fake.faults.reset()
    # What only could not be read is there when it can be read again.
    unread = cell == "typed error: ProviderError"
    uncounted = fault.uncounted is not None and cell == "recovered"
    bench.check(summary, 1 if unread else (fault.uncounted if uncounted else fault.jobs) + bench.sent_again)
    cells[name] = cell
