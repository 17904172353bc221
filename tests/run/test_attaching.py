"""Taking over a job that was made elsewhere."""

import pytest

from airflow_batch_provider.core.errors import NotFoundError
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.run.attach import attach
from airflow_batch_provider.testing import FaultPlan
from tests.patience import PATIENCE
from tests.run.benching import line


def made_elsewhere(bench, rows):
    """A job of another run, in another directory, whose input file is then deleted."""
    bench.write([line(n) for n in range(rows)])
    run = bench.run("dag/elsewhere/run/-1")
    run.begin(first_try=True)
    run.advance()
    batch = bench.fake.batches[0]
    bench.path = bench.path.parent / "taken"
    return batch


class Said(list):
    """A log that keeps its warnings."""

    def info(self, message, /, *args):
        """Nothing to keep."""

    def warning(self, message, /, *args):
        self.append(message % args)

    error = warning


def test_a_job_whose_input_is_gone_is_known_by_its_answers(bench):
    """A17: "No such File object" kept the answers out of reach; the rows are those that come back, and it is said."""
    batch = made_elsewhere(bench, 3)
    ended(bench)
    bench.backend.delete(batch["input_file_id"])
    run = bench.run("dag/fetch/run/-1")
    run.log = Said()
    attach(run, batch["id"])
    assert "its input file is gone" in run.log[0]
    run.more_time()
    summary = bench.go_on(run)
    judge(summary, 0.0)
    assert (summary.total, summary.outcomes["succeeded"]) == (3, 3)
    assert set(bench.results()) == {f"row-{n}" for n in range(3)}
    assert len(bench.fake.batches) == 1
    again = bench.run("dag/fetch/run/-1")
    attach(again, batch["id"])
    assert bench.go_on(again) == summary


def ended(bench):
    import time

    until = time.time() + PATIENCE
    while bench.fake.batches[0]["status"] != "completed" and time.time() < until:
        time.sleep(0.01)


@pytest.mark.fake(faults=FaultPlan(hold_after_rows=0))
def test_a_live_job_whose_input_is_gone_says_what_to_do(bench):
    """A17: while it lives nothing is known of its rows."""
    batch = made_elsewhere(bench, 3)
    bench.backend.delete(batch["input_file_id"])
    with pytest.raises(NotFoundError, match="when it has ended"):
        attach(bench.run("dag/fetch/run/-1"), batch["id"])
