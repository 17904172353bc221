"""Whose a job is: by what the directory and the bytes that were sent prove, never by who looks alike."""

import shutil

import pytest

from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.testing import FaultPlan, fake_route
from tests.run.benching import Bench, line


class RouteBench(Bench):
    """A bench on any route; its rows are told apart by what they ask."""

    def __init__(self, folder, route):
        self._route = route
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, route.fake)

    def make_backend(self, fake):
        return self._route.backend()

    def asking(self, order):
        """Write rows in this order; the endpoint echoes what each asks."""
        self.write([line(number, self._route.model, max_tokens=20) for number in order])

    def strangers(self):
        """Rows that hold another row's answer."""
        return [name for name, one in self.results().items() if content(one) != asked(name)]


def asked(custom_id):
    return f"say {custom_id.removeprefix('row-')}"


def content(result):
    """What a row was answered; the fakes echo what they were asked."""
    return result["response"]["body"]["choices"][0]["message"]["content"].removeprefix("echo: ").strip()


def second(bench, path, **options):
    """Another run directory of the same run key, on the same account."""
    mine, bench.path = bench.path, path
    try:
        return bench.run(**options)
    finally:
        bench.path = mine


CLOUDS = ("bedrock", "vertex_ai", "portkey_bedrock", "portkey_vertex")


@pytest.mark.parametrize("name", ["openai", *CLOUDS])
@pytest.mark.parametrize("first_try", [False, True])
def test_rows_that_come_in_another_order_are_other_bytes(tmp_path, name, first_try):
    """X1: a job made before the directory was lost answers the order of then, not that of now."""
    with fake_route(name) as route:
        bench = RouteBench(tmp_path / "b", route)
        order = list(range(120))
        bench.asking(order)
        run = bench.run()
        run.begin(first_try=True)
        run.advance()
        shutil.rmtree(bench.path)
        bench.asking(order[1:] + order[:1])
        lost = "fail" if name in ("openai", "bedrock", "vertex_ai") else "resubmit"
        assert bench.finish(first_try=first_try, on_lost_create=lost).outcomes["succeeded"] == 120
        assert bench.strangers() == []


@pytest.mark.parametrize("name", ["openai", "azure_openai", "portkey", *CLOUDS])
def test_one_job_that_is_listed_twice_is_one(tmp_path, name):
    """X2: a list that shows a job twice has no second job, so none is cancelled."""
    with fake_route(name, FaultPlan(cut_after_accept=1, double_list=True)) as route:
        bench = RouteBench(tmp_path / "b", route)
        bench.asking(range(120))
        assert bench.finish().outcomes["succeeded"] == 120
        assert len(route.fake.batches) == 1
        assert route.fake.calls("cancel") == []


@pytest.mark.parametrize("name", ["openai", *CLOUDS])
def test_two_directories_of_one_run_key_leave_each_other_alone(tmp_path, name):
    """X3: staging and production, one key, the same scheduled run and input: each has its own job."""
    with fake_route(name, FaultPlan(hold_after_rows=0, jobs=1)) as route:
        bench = RouteBench(tmp_path / "b", route)
        bench.asking(range(120))
        production = bench.run()
        production.begin(first_try=True)
        job = production.advance().jobs
        route.fake.faults.cut_after_accept = 1
        staging = second(bench, tmp_path / "staging")
        staging.begin(first_try=True)
        bench.go_on(staging)
        assert len(route.fake.batches) == 2
        assert route.fake.calls("cancel") == []
        assert production.advance().jobs == job


@pytest.mark.parametrize("name", ["openai", "bedrock", "vertex_ai"])
def test_a_restart_back_to_the_first_input_is_a_run_of_its_own(tmp_path, name):
    """X3: A, then B, then A again: what A had cancelled is not taken for A's second life."""
    with fake_route(name, FaultPlan(hold_after_rows=0, jobs=2)) as route:
        bench = RouteBench(tmp_path / "b", route)
        for rows in (120, 130, 120):
            bench.asking(range(rows))
            run = bench.run(on_changed_input="restart")
            run.begin(first_try=rows == 0)
            run.advance()
            bench.clock.sleep(2)
        summary = bench.go_on(run)
        assert summary.outcomes["succeeded"] == 120
        assert len(route.fake.batches) == 3
        statuses = [bench.backend.retrieve(job["id"]).status for job in summary.jobs]
        assert statuses == [JobStatus.COMPLETED]
