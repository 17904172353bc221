"""A run directory that was put back as it was some time ago: what was sent since is found, and not sent again."""

import json
import shutil
import time

import pytest

from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.run.run import Done
from airflow_batch_provider.testing import FaultPlan, fake_route
from tests.patience import PATIENCE
from tests.run.benching import line
from tests.run.misbehaving import SETTLE, Process, World
from tests.run.test_identity import RouteBench

ROUTES = ["openai", "azure_openai", "vertex_ai", "bedrock", "portkey_bedrock"]


class Restoring(RouteBench):
    """A bench whose jobs of round 0 expire half answered."""

    def until(self, jobs, run=None):
        """Go on, in a new process for each pass unless one is given, until so many jobs exist."""
        until = time.time() + PATIENCE
        while len(self.fake.batches) < jobs and time.time() < until:
            time.sleep(0.02)
            (run or self.run()).advance()
        assert len(self.fake.batches) == jobs

    def lists(self):
        return len(self.fake.calls("list"))


@pytest.fixture(params=ROUTES)
def bench(tmp_path, request):
    with fake_route(request.param, FaultPlan(expire_after_rows=110, jobs=1)) as route:
        bench = Restoring(tmp_path / "b", route)
        bench.asking(range(220))
        yield bench


@pytest.mark.parametrize("new_try", [True, False])
def test_a_directory_that_is_older_than_its_last_round(bench, new_try):
    """X6: round 1 is planned anew, by a new try or by a task that resumes; its jobs are found by their names first."""
    bench.run().begin(first_try=True)
    bench.run().advance()
    backup = bench.path.with_name("backup")
    shutil.copytree(bench.path, backup)
    bench.until(2)
    shutil.rmtree(bench.path)
    backup.rename(bench.path)
    run = bench.run()
    if new_try:
        run.begin(first_try=False)
    summary = bench.go_on(run)
    assert summary.outcomes["succeeded"] == 220
    assert len(bench.fake.batches) == 2
    assert not any(job.get("borrowed") for job in summary.jobs)


@pytest.mark.parametrize("one_process", [True, False])
def test_an_ordinary_second_round_costs_at_most_one_look(bench, one_process):
    """X6: whoever has planned every round knows that nobody sent of them; a process that resumes looks once."""
    run = bench.run()
    run.begin(first_try=True)
    run.advance()
    first = bench.lists()
    bench.until(2, run if one_process else None)
    assert bench.lists() - first <= first + (not one_process)


def test_a_directory_that_is_older_than_its_last_create(tmp_path, monkeypatch):
    """X6: a create that was lost was sent again under its next name; put back to before that, the name is known."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    world = World()
    world.on_accept = lambda batch: None
    (tmp_path / "in.jsonl").write_text(json.dumps(line(0, model="a")) + "\n")

    def goes_on(*, first_try=False):
        process = Process(world, tmp_path, on_lost_create="resubmit")
        process.run.begin(first_try=first_try)
        return process.run.advance()

    world.arm("create", 0, "cut")
    goes_on(first_try=True)
    shutil.copytree(tmp_path / "run", tmp_path / "backup")
    for _ in range(2):
        world.sleep(SETTLE + 1)
        goes_on()
    assert len(world.batches) == 1
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "backup").rename(tmp_path / "run")
    assert goes_on().jobs == ("batch-0",)
    world.end(world.batches[0], JobStatus.COMPLETED)
    outcome = goes_on()
    assert isinstance(outcome, Done)
    assert outcome.summary.outcomes["succeeded"] == 1
    assert len(world.batches) == 1
