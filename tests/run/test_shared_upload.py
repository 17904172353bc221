"""Runs over a file that the author has uploaded: it may serve several runs, and serves the first round only."""

import json

import pytest

from airflow_batch_provider.core.errors import LostCreateError
from tests.run.benching import Bench, line


def uploaded(bench, count=10):
    """The file at the provider, and the same beside the run."""
    bench.write([line(number) for number in range(count)])
    with bench.input.open("rb") as stream:
        return bench.backend.upload_file("mine.jsonl", stream)


def test_a_further_round_asks_only_what_is_open(bench):
    """The author's file holds all rows; what expired goes up in a file of its own."""
    bench.fake.faults.expired_fraction = 0.5
    bench.fake.faults.jobs = 1
    run = bench.run(input_file_id=uploaded(bench))
    summary = bench.finish(run)
    assert summary.outcomes["succeeded"] == 10
    assert [batch["request_counts"]["total"] for batch in bench.fake.batches] == [10, 5]


def test_a_lost_create_does_not_take_another_runs_job(bench, tmp_path):
    """Two runs over one upload: the answer to the second create is lost before anything was made."""
    bench.fake.faults.hold_after_rows = 1
    file_id = uploaded(bench)
    first = bench.run(input_file_id=file_id)
    first.begin(first_try=True)
    first.advance()
    (tmp_path / "other").mkdir()
    other = Bench(tmp_path / "other", bench.fake)
    uploaded_again = other.run(run_key="dag/task/other/-1", input_file_id=file_id)
    other.input.write_bytes(bench.input.read_bytes())
    bench.fake.faults.cut_before_accept = 1
    uploaded_again.begin(first_try=True)
    uploaded_again.advance()
    assert uploaded_again.cancel() == []
    other.clock.ahead += 1000
    with pytest.raises(LostCreateError):
        uploaded_again.advance()
    assert [batch["status"] for batch in bench.fake.batches] == ["in_progress"]
    assert json.loads((bench.path / "run.json").read_text())["run_key"] == "dag/task/run/-1"
    other.backend.close()
