"""A job runs out of time: what was answered is kept, and exactly the rest goes again where the provider takes it."""

import json
from dataclasses import replace

import pytest

from airflow_batch_provider.core.errors import RowsFailedError
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.testing import ROUTES, FaultPlan, fake_route
from tests.run.benching import Bench, line

BEDROCK = [name for name in ROUTES if name.endswith("bedrock")]
OTHERS = [name for name in ROUTES if name not in BEDROCK]


class RouteBench(Bench):
    """A bench on one of the routes."""

    def __init__(self, folder, route):
        self.route = route
        super().__init__(folder, route.fake)

    def make_backend(self, fake):
        return self.route.backend()

    def write_rows(self, count):
        self.write([line(number, self.route.model, max_tokens=20) for number in range(count)])

    def sent(self):
        """The custom_ids of each job, in order, as the run has kept them."""
        files = sorted((self.path / "input").glob("r*.jsonl"))
        return [[json.loads(raw)["custom_id"] for raw in one.read_bytes().split(b"\n")[:-1]] for one in files]


def expired(route_name, folder, rows, answered, **options):
    """A whole run whose first job expires after so many answers.

    :return: the bench and the summary.
    """
    with fake_route(route_name, FaultPlan(expire_after_rows=answered, jobs=1)) as route:
        bench = RouteBench(folder, route)
        bench.write_rows(rows)
        try:
            summary = bench.finish(**options)
        finally:
            bench.backend.close()
        assert len(route.fake.batches) == len(bench.sent()) == len(summary.jobs)
    return bench, summary


@pytest.mark.parametrize("name", OTHERS)
def test_exactly_ten_go_again(tmp_path, name):
    """100 rows, 90 answered: the other 10, each once, make up the second job."""
    bench, summary = expired(name, tmp_path, 100, 90)
    assert summary.outcomes["succeeded"] == sum(summary.outcomes.values()) == 100
    first, second = bench.sent()
    assert (len(first), len(second), len(set(second))) == (100, 10, 10)
    assert [job["succeeded"] for job in summary.jobs] == [90, 10]
    assert set(bench.results()) == set(first)


@pytest.mark.parametrize("name", BEDROCK)
def test_exactly_150_go_again(tmp_path, name):
    """Bedrock, 1,000 rows, 850 answered: exactly the 150 others are asked again."""
    bench, summary = expired(name, tmp_path, 1000, 850)
    assert summary.outcomes["succeeded"] == sum(summary.outcomes.values()) == 1000
    first, second = bench.sent()
    assert (len(first), len(second), len(set(second))) == (1000, 150, 150)
    assert [job["succeeded"] for job in summary.jobs] == [850, 150]
    assert set(bench.results()) == set(first)


@pytest.mark.parametrize("name", BEDROCK)
def test_ten_are_below_the_minimum(tmp_path, name):
    """Bedrock, 1,000 rows, 990 answered: it takes no ten; they end as ``below_minimum``, and nothing is padded."""
    bench, summary = expired(name, tmp_path, 1000, 990, rounds=3)
    assert (summary.outcomes["succeeded"], sum(summary.outcomes.values())) == (990, 1000)
    assert [len(sent) for sent in bench.sent()] == [1000]
    assert len(bench.results()) == 1000
    failed = bench.failed()
    assert len({row["custom_id"] for row in failed}) == 10
    assert [row["error"]["code"] for row in failed] == ["below_minimum"] * 10
    assert "Open rows of this model: 10" in failed[0]["error"]["message"]
    assert "at least 100" in failed[0]["error"]["message"]
    assert summary.retryable == 0
    with pytest.raises(RowsFailedError, match="below_minimum"):
        judge(summary, 0.0)


@pytest.mark.parametrize(("answered", "sent"), [(95, [100, 5]), (96, [100])])
def test_any_minimum(bench, answered, sent):
    """The minimum is a fact of the backend: as many rows as it go again, one fewer do not."""
    facts = bench.backend.facts
    bench.backend.facts = replace(
        facts, provider=replace(facts.provider, limits=replace(facts.provider.limits, min_rows=5))
    )
    bench.fake.faults.expire_after_rows, bench.fake.faults.jobs = answered, 1
    bench.write([line(number) for number in range(100)])
    summary = bench.finish(rounds=3)
    assert [batch["request_counts"]["total"] for batch in bench.fake.batches] == sent
    left = 100 - sum(job["succeeded"] for job in summary.jobs)
    assert [row["error"]["code"] for row in bench.failed()] == ["below_minimum"] * left
    if left:
        assert "batch_expired" in bench.failed()[0]["error"]["message"]
