"""A provider that takes no fewer than so many rows in a job."""

import json
from dataclasses import replace

import pytest

from tests.run.benching import line


@pytest.mark.parametrize(("expired", "sent_again"), [(0.5, 10), (0.1, 0)])
def test_a_remainder_below_the_minimum_is_not_sent(bench, expired, sent_again):
    """What is left goes again where the provider takes so few; else its rows end as below_minimum in failed.jsonl."""
    facts = bench.backend.facts
    bench.backend.facts = replace(facts, limits=replace(facts.limits, min_rows=5))
    bench.fake.faults.expired_fraction = expired
    bench.fake.faults.jobs = 1
    bench.write([line(number) for number in range(20)])
    summary = bench.finish(rounds=3)
    assert [batch["request_counts"]["total"] for batch in bench.fake.batches] == [20, *[sent_again] * bool(sent_again)]
    assert summary.outcomes["succeeded"] == (20 if sent_again else 18)
    failed = [json.loads(raw) for raw in (bench.path / "failed.jsonl").read_bytes().split(b"\n")[:-1]]
    assert [row["error"]["code"] for row in failed] == ["below_minimum"] * (0 if sent_again else 2)
    if not sent_again:
        assert "2 rows of this model are open" in failed[0]["error"]["message"]
        assert "batch_expired" in failed[0]["error"]["message"]
        assert summary.retryable == 0
        assert sum(summary.outcomes.values()) == 20
