"""What ``max_cost_usd`` stops, and that what it lets through adds up."""

import json

import pytest

from airflow_batch_provider.core.errors import BudgetError
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.core.records import Found, ModelRules
from airflow_batch_provider.run.budget import cost_range
from airflow_batch_provider.run.ledger import Ledger
from airflow_batch_provider.testing import FaultPlan
from tests.run.benching import line

PRICES = {"m": {"input": 100.0, "output": 1000.0}}
"""So dear that a row of ten output tokens may cost about two cents."""


def rows(count, **body):
    return [line(number, **{"max_tokens": 10, **body}) for number in range(count)]


@pytest.fixture
def priced(bench):
    bench.backend.models = ModelRules(prices=PRICES)
    return bench


def test_over_budget_leaves_no_trace(priced):
    """A file that may cost more is refused with the range, and the provider hears nothing."""
    priced.write(rows(10))
    with pytest.raises(BudgetError, match=r"10 rows may cost 0\.0\d+ to 0\.3\d+ USD.*max_cost_usd=0\.05"):
        priced.finish(max_cost_usd=0.05)
    assert priced.fake.requests == []
    assert not (priced.path / "run.json").exists()


def test_more_money_is_enough(priced):
    """The same task with a budget that holds goes through, and cost less than the upper end."""
    priced.write(rows(10))
    with pytest.raises(BudgetError):
        priced.finish(max_cost_usd=0.05)
    summary = priced.finish(first_try=False, max_cost_usd=0.5)
    assert summary.outcomes["succeeded"] == 10
    assert 0 < summary.cost_usd < 0.5


def test_a_price_nobody_knows(bench):
    """With a budget an unknown price is refused with the remedy; without one the cost is unknown, not nothing."""
    bench.write(rows(3))
    with pytest.raises(BudgetError, match=r'no price is known for m; add one to the connection.s field "prices"'):
        bench.finish(max_cost_usd=5.0)
    assert bench.fake.requests == []
    assert bench.finish().cost_usd is None


def test_answers_of_any_length(priced):
    """Rows without max_tokens need expected_output_tokens when there is a budget."""
    priced.write([*rows(2), line(7)])
    with pytest.raises(
        BudgetError, match=r"1 row sets no max_tokens.*expected_output_tokens.*The first without max_tokens is line 3"
    ):
        priced.finish(max_cost_usd=5.0)
    assert priced.fake.requests == []
    with pytest.raises(BudgetError, match="may cost"):
        priced.finish(max_cost_usd=5.0, expected_output_tokens=10_000)
    assert priced.finish(max_cost_usd=5.0, expected_output_tokens=10).outcomes["succeeded"] == 3


@pytest.mark.fake(faults=FaultPlan(expire_after_rows=5, jobs=1))
def test_a_second_round_that_would_break_the_budget(priced):
    """The answered rows are kept, the others are not asked again and say why; more money asks them."""
    priced.write(rows(10))
    run = priced.run(max_cost_usd=10.0)
    run.begin(first_try=True)
    run.advance()
    summary = priced.finish(first_try=False, max_cost_usd=0.06)
    assert (summary.outcomes["succeeded"], summary.outcomes["expired"]) == (5, 5)
    assert len(priced.fake.batches) == 1
    assert summary.stopped.startswith("budget_exceeded: 0.0")
    with pytest.raises(BudgetError, match=r"5 of 10 rows did not succeed.*Stopped by budget_exceeded"):
        judge(summary, 0.0)
    judge(summary, 0.5)
    again = priced.finish(first_try=False, max_cost_usd=10.0)
    assert (again.outcomes["succeeded"], again.stopped) == (10, None)
    assert [batch["request_counts"]["total"] for batch in priced.fake.batches] == [10, 5]


def test_each_create_is_weighed(priced):
    """When the first jobs cost more than was thought, later ones are not created, and their rows say why."""
    priced.write([line(number, model=f"m{number % 3}", max_tokens=10) for number in range(9)])
    # Between the plan and the creates the price of the tokens rises a thousandfold.
    priced.backend.models = ModelRules(prices={"*": PRICES["m"]})
    run = priced.run(max_cost_usd=1.0, max_jobs_in_flight=1)
    run.begin(first_try=True)
    run.advance()
    priced.backend.models = ModelRules(prices={"*": {"input": 10_000.0, "output": 100_000.0}})
    summary = priced.go_on(run)
    assert len(priced.fake.batches) == 1
    assert (summary.outcomes["succeeded"], summary.outcomes["cancelled"]) == (3, 6)
    assert {row["error"]["code"] for row in priced.failed()} == {"budget_exceeded"}
    assert summary.retryable == 6
    # Nothing of it is lost: the same task with more money asks exactly the rest.
    assert priced.finish(first_try=False, max_cost_usd=1e6).outcomes["succeeded"] == 9
    assert [batch["request_counts"]["total"] for batch in priced.fake.batches] == [3, 3, 3]


@pytest.mark.fake(faults=FaultPlan(expire_after_rows=6, jobs=1, duplicate=1))
def test_the_cost_is_the_sum_over_lines(priced):
    """Per job, per round and in all: what the result lines say, times the price; the expired job's answers count."""
    priced.write(rows(10))
    summary = priced.finish(max_cost_usd=10.0)
    told = [one["response"]["body"]["usage"] for one in priced.results().values()]
    cost = sum(one["prompt_tokens"] * 100.0 + one["completion_tokens"] * 1000.0 for one in told) / 1e6
    assert summary.cost_usd == pytest.approx(cost)
    assert [a_round["rows"] for a_round in summary.by_round] == [10, 4]
    assert [a_round["succeeded"] for a_round in summary.by_round] == [6, 4]
    assert sum(a_round["cost_usd"] for a_round in summary.by_round) == pytest.approx(cost)
    assert sum(job["cost_usd"] for job in summary.jobs) == pytest.approx(cost)
    assert json.loads((priced.path / "summary.json").read_text())["cost_usd"] == pytest.approx(cost)


@pytest.mark.parametrize(("budget", "creates"), [(0.2, 1), (0.3, 2)])
def test_a_lost_create_keeps_its_place_in_the_budget(priced, budget, creates):
    """A create whose answer was lost may bill: its upper end, 0.12 USD here, counts when another would follow."""
    priced.write(rows(4))
    priced.fake.faults.cut_before_accept = 1
    priced.backend.find_settle_seconds = 5
    summary = priced.finish(max_cost_usd=budget, on_lost_create="resubmit")
    assert len(priced.fake.creates) == creates
    assert summary.outcomes["succeeded"] == (4 if creates == 2 else 0)
    assert (summary.stopped is None) == (creates == 2)


def test_the_record_is_read_once_for_all_creates(priced, monkeypatch):
    """X27: with a budget, what was spent is added up once for a pass, however many jobs the pass creates."""
    reads = []
    rounds = Ledger.rounds
    monkeypatch.setattr(Ledger, "rounds", lambda self: reads.append(1) or rounds(self))
    priced.backend.models = ModelRules(prices={"*": PRICES["m"]})
    counted = {}
    for jobs in (3, 30):
        priced.path = priced.path.with_name(f"run-{jobs}")
        priced.write([line(number, model=f"m{number}", max_tokens=10) for number in range(jobs)])
        reads.clear()
        run = priced.run(max_cost_usd=10.0)
        run.begin(first_try=True)
        run.advance()
        counted[jobs] = len(reads)
    assert len(priced.fake.batches) == 33
    assert counted[30] == counted[3]


def test_creates_of_one_pass_add_up(priced):
    """X27: although the record is not read again between them, creates of one pass are weighed together."""
    priced.write([line(number, model=f"m{number}", max_tokens=10) for number in range(6)])
    priced.backend.models = ModelRules(prices={"*": PRICES["m"]})
    run = priced.run(max_cost_usd=1.0)
    run.begin(first_try=True)
    # Each may cost 0.031 USD by the plan; then prices rise eightfold, so that four of six fit.
    priced.backend.models = ModelRules(prices={"*": {"input": 800.0, "output": 8000.0}})
    summary = priced.go_on(run)
    assert (summary.outcomes["succeeded"], summary.outcomes["cancelled"]) == (4, 2)
    assert len(priced.fake.batches) == 4


@pytest.mark.parametrize("lagging", [0, 1, 3])
def test_a_create_that_was_refused_and_accepted_all_the_same_counts(priced, monkeypatch, lagging):
    """X11: 429 from a gateway whose upstream has made the job, and a list that cannot say so at the first look: none is
    made beside it, so a budget for one job holds."""
    priced.write(rows(10))
    find, looks = priced.backend.find, []

    def late(*given):
        looks.append(given)
        return find(*given) if len(looks) > lagging else Found((), complete=False)

    monkeypatch.setattr(priced.backend, "find", late)
    planned = priced.run(max_cost_usd=100.0)
    planned.begin(first_try=True)
    [shard] = planned.ledger.rounds()[0].shards
    one_job = cost_range(priced.backend, [shard], None).high
    priced.fake.faults.accepted_status = [429]
    summary = priced.finish(max_cost_usd=one_job)
    assert len(priced.fake.batches) == 1
    assert len(looks) > lagging
    assert summary.outcomes["succeeded"] == 10
    assert summary.cost_usd <= one_job
