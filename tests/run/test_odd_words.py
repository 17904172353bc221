"""What servers say in odd words is read as what it is, and nothing is paid again for it."""

from dataclasses import replace

import pytest

from airflow_batch_provider.backends.wire import openai as wire
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.core.records import RequestCounts
from airflow_batch_provider.testing import FaultPlan
from tests.facts import wire_facts
from tests.run.benching import line


@pytest.mark.parametrize("counts", [(3, 0, 0), (0, 0, 0), (1, 1, 0), (None, None, 1)])
@pytest.mark.fake(faults=FaultPlan(ragged_downloads=2))
def test_counts_that_promise_less_do_not_make_a_cut_output_whole(bench, monkeypatch, counts):
    """A1, X5: a completed job has a line for each row; servers that leave counts at 0 are no reason to pay again."""
    read = wire.read_job
    monkeypatch.setattr(wire, "read_job", lambda *given: replace(read(*given), counts=RequestCounts(*counts)))
    bench.write([line(n) for n in range(6)])
    assert bench.finish().outcomes["succeeded"] == 6
    assert len(bench.fake.batches) == 1


@pytest.mark.parametrize("kept", ["fake-key", "acme2026batch"])
def test_ids_in_which_a_header_stands_keep_their_answers(bench, kept):
    """X17: what redaction takes out of an id on the wire is known again by the ids that were sent."""
    headers = (("Authorization", f"Bearer {bench.fake.api_key}"), ("x-team", "acme2026batch"))
    bench.backend = OpenAIBackend(Route(bench.fake.base_url, headers), wire_facts())
    bench.write([{**line(n), "custom_id": f"{kept}-{n}"} for n in range(3)])
    assert bench.finish().outcomes["succeeded"] == 3
    found = bench.results()
    assert {name: one["response"]["body"]["choices"][0]["message"]["content"] for name, one in found.items()} == {
        f"{kept}-{n}": f"say {n}" for n in range(3)
    }
    bench.backend.close()
