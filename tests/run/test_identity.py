"""Whose a job is: by what the directory and the bytes that were sent prove, never by who looks alike."""

import io
import json
import shutil
import time
from dataclasses import replace

import pytest

from airflow_batch_provider.backends.paging import Page, Pages
from airflow_batch_provider.core.errors import BatchInferenceError, InputError, LostCreateError, RunConflictError
from airflow_batch_provider.core.records import BatchRequest, JobStatus, Shard
from airflow_batch_provider.testing import FaultPlan, fake_route
from tests.patience import PATIENCE
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


# ---- what is left of a directory -----------------------------------------------------------------------------------


@pytest.fixture
def held(tmp_path):
    """OpenAI, on which the first jobs stay in progress."""
    with fake_route("openai", FaultPlan(hold_after_rows=0)) as route:
        bench = RouteBench(tmp_path / "b", route)
        bench.write([line(number, "abc"[number % 3]) for number in range(12)])
        yield bench


def started(bench, **options):
    run = bench.run(**options)
    run.begin(first_try=True)
    return run, run.advance().jobs


def again(bench, **options):
    run = bench.run(**options)
    run.begin(first_try=False)
    return run, run.advance().jobs


@pytest.mark.parametrize(
    "pattern",
    [
        "ledger/*",
        "ledger/r0-00001.*",
        "ledger/*.job.json",
        "ledger/*.intent.json",
        "ledger/r0.plan.json",
        "ledger/tries.json",
        "ledger/*[n]t.json",
        "run.json",
    ],
)
def test_a_part_of_the_directory_is_gone(held, pattern):
    """X6: whatever part of the record was deleted, the jobs are found, are ours, and no second one is made."""
    _, jobs = started(held)
    for path in held.path.glob(pattern):
        path.unlink()
    run, found = again(held)
    assert sorted(found) == sorted(jobs)
    assert len(held.fake.batches) == 3
    assert not any(attempt.is_borrowed for _, attempt in run.ledger.open_attempts())
    assert sorted(run.cancel()) == sorted(jobs)


@pytest.fixture
def in_round_1(held):
    """A run in its second round, whose jobs stay in progress."""
    held.fake.faults.hold_after_rows = None
    held.fake.faults.expire_after_rows, held.fake.faults.jobs = 2, 3
    run, jobs = started(held)
    until = time.time() + PATIENCE
    while len(held.fake.batches) == 3 and time.time() < until:
        time.sleep(0.02)
        run.advance()
    assert len(held.fake.batches) == 6
    return jobs


def forget(bench, pattern):
    for path in bench.path.glob(f"ledger/{pattern}"):
        path.unlink()


@pytest.mark.parametrize("pattern", ["r0-00001.*", "r0-0000*", "r0-00002.1.end.json", "r0-00001.1.[ij]*"])
def test_a_part_of_an_earlier_round_is_gone(held, in_round_1, pattern):
    """X6: a round that another follows has its jobs found again, too, so that the summary names them with their cost;
    before, it left them out and told the cost of the others as the whole."""
    forget(held, pattern)
    summary = held.finish(first_try=False)
    assert summary.outcomes["succeeded"] == 12
    assert {job["id"] for job in summary.jobs} == {batch["id"] for batch in held.fake.batches} > set(in_round_1)
    assert len(held.fake.batches) == 6
    assert [one["succeeded"] for one in summary.by_round] == [6, 6]


@pytest.mark.parametrize("lost", ["fail", "resubmit"])
def test_an_earlier_round_that_is_gone_and_not_found(held, in_round_1, lost):
    """X6: what a later round proves to have been sent is never created anew, whatever the policy."""
    forget(held, "r0-00001.*")
    pages = held.backend.job_pages

    def without(limit=None):
        jobs = [job for job in pages(limit) if job.id not in in_round_1]
        return Pages(lambda _: Page(jobs, None, more=False))

    held.backend.job_pages = without
    with pytest.raises(RunConflictError, match="the record of r0-00001 was deleted"):
        held.finish(first_try=False, on_lost_create=lost)
    assert len(held.fake.batches) == 6


def test_a_lost_directory_is_read_and_left_alone(held):
    """X3, X6: with the whole directory gone its jobs are found by their bytes, read, and never cancelled."""
    _, jobs = started(held)
    shutil.rmtree(held.path)
    run, found = again(held)
    assert found == jobs
    assert run.advance().borrowed == jobs
    assert run.cancel() == []
    assert held.fake.calls("cancel") == []
    assert len(held.fake.batches) == 3


def test_a_part_is_gone_and_the_rows_come_in_another_order(held):
    """X1, X6: records of other bytes are not taken for those of the rows that are there now."""
    started(held)
    (held.path / "ledger" / "r0.plan.json").unlink()
    (held.path / "run.json").unlink()
    held.write([line(number, "abc"[number % 3]) for number in reversed(range(12))])
    run = held.run()
    run.begin(first_try=False)
    with pytest.raises(RunConflictError, match="r0-00000 now holds other rows than create 1 sent"):
        run.advance()
    assert len(held.fake.batches) == 3


def test_a_lost_directory_whose_jobs_are_dead(held):
    """X3: a cancelled job is never taken for ours by its bytes alone, however old the run is."""
    run, jobs = started(held)
    run.cancel()
    held.fake.faults.reset()
    shutil.rmtree(held.path)
    summary = held.finish(first_try=False)
    assert summary.outcomes["succeeded"] == 12
    assert not {job["id"] for job in summary.jobs} & set(jobs)


def test_a_cleared_task_that_never_planned_looks_for_nothing(held):
    """X25: try 1 fails on a bad line; what was never planned was never sent, so try 2 reads no list first."""
    held.input.write_text("{}\n")
    with pytest.raises(InputError):
        held.run().begin(first_try=True)
    held.write([line(number, "abc"[number % 3]) for number in range(12)])
    run = held.run()
    run.begin(first_try=False)
    assert held.fake.calls("list") == []
    assert len(run.advance().jobs) == 3
    assert len(held.fake.calls("list")) == 1


def test_many_shards_are_looked_for_at_once(held):
    """X25: before, 20 shards x 5 names x pages; now the list is read once, and once more for second jobs."""
    held.write([line(number, f"m{number}") for number in range(20)])
    _, jobs = started(held)
    shutil.rmtree(held.path)
    before = len(held.fake.calls("list"))
    _, found = again(held)
    assert sorted(found) == sorted(jobs)
    assert len(held.fake.calls("list")) - before <= 2


def test_a_gateway_over_a_cloud_that_lists_nothing(tmp_path):
    """X6: where the list cannot prove that nothing lives, a lost directory is a stated refusal with a way to go on."""
    with fake_route("portkey_bedrock", FaultPlan(hold_after_rows=0)) as route:
        bench = RouteBench(tmp_path / "b", route)
        bench.asking(range(100))
        with pytest.raises(
            LostCreateError, match=r"whether r0-00000 was sent before is unknown.*holds 'c[0-9a-f]{15}'"
        ):
            bench.finish(first_try=False)
        assert route.fake.batches == []
        route.fake.faults.reset()
        assert bench.finish(first_try=False, on_lost_create="resubmit").outcomes["succeeded"] == 100


# ---- second jobs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["openai", "azure_openai", "portkey", "vertex_ai", "portkey_vertex"])
def test_a_gateway_that_repeats_our_create(tmp_path, name):
    """A2: two jobs of one create: the run goes on with one, the other is cancelled and named with what it may cost."""
    with fake_route(name, FaultPlan(create_twice=1, hold_after_rows=0, jobs=2)) as route:
        bench = RouteBench(tmp_path / "b", route)
        bench.asking(range(12))
        run = bench.run()
        run.begin(first_try=True)
        jobs = run.advance().jobs
        assert (len(jobs), len(route.fake.batches), len(route.fake.calls("cancel"))) == (1, 2, 1)
        [twin] = run.ledger.rounds()[0].attempts["r0-00000"][0].twins
        assert twin.cancelled
        assert twin.job_id not in jobs
        run.cancel()
        summary = bench.go_on(run)
        assert [one["id"] for one in summary.surplus] == [twin.job_id]
        assert len(route.fake.calls("create")) == 1


def test_a_job_known_by_another_id_is_no_second_one(tmp_path, caplog):
    """A2: a list that tells our only job by another id than its create did proves no second job."""
    with fake_route("openai", FaultPlan(hold_after_rows=0)) as route:
        bench = RouteBench(tmp_path / "b", route)
        bench.asking(range(3))
        pages = bench.backend.job_pages

        def renamed(limit=None):
            jobs = [replace(job, id=f"raw-{job.id}") for job in pages(limit)]
            return Pages(lambda _: Page(jobs, None, more=False))

        bench.backend.job_pages = renamed
        started(bench)
        assert route.fake.calls("cancel") == []
        assert "they are left alone" in caplog.text


@pytest.mark.parametrize("status", [400, 401, 404, 422, 425, 429, 499])
def test_a_refusal_although_the_batch_exists(tmp_path, status):
    """X10: a gateway answers 4xx and the batch is there: one look comes before the next create, in this try or the
    next."""
    with fake_route("openai", FaultPlan(accepted_status=[status])) as route:
        bench = RouteBench(tmp_path / "b", route)
        bench.asking(range(12))
        try:
            summary = bench.finish()
        except BatchInferenceError:
            summary = bench.finish(first_try=False)
        assert summary.outcomes["succeeded"] == 12
        assert len(route.fake.batches) == 1


# ---- lists that lie ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [{"stuck_list": True}, {"hollow_list": 1000}])
@pytest.mark.parametrize("name", ["openai", "bedrock", "vertex_ai"])
def test_a_list_that_cannot_be_read_to_its_end(tmp_path, name, fault):
    """A13: what cannot be shown to be the whole list proves nothing, also for who allows for second creates."""
    with fake_route(name, FaultPlan(**fault)) as route:
        bench = RouteBench(tmp_path / "b", route)
        bench.backend.create_is_repeatable = False
        bench.asking(range(120))
        bench.backend.create(bench.backend.create_request(*stranger(bench)))
        route.fake.faults.cut_before_accept = 1
        with pytest.raises(LostCreateError, match="could not be read to its end"):
            bench.finish(on_lost_create="resubmit")
        assert len(route.fake.calls("list")) < 200
        route.fake.faults.reset()
        assert bench.finish(first_try=False, on_lost_create="resubmit").outcomes["succeeded"] == 120


def stranger(bench):
    """A create of somebody else's, so that the list is not empty."""
    data = b"".join(
        bench.backend.line_format(bench._route.model, "/v1/chat/completions").encode(one, number) + b"\n"
        for number, one in enumerate(requests(bench))
    )
    shard = Shard(0, 9, 120, len(data), bench._route.model, "/v1/chat/completions")
    return shard, "b0", bench.backend.upload(shard, "b0", io.BytesIO(data), {}), {}


def requests(bench):
    """The rows that are written, as requests."""
    for number, raw in enumerate(bench.input.read_bytes().split(b"\n")[:-1]):
        one = json.loads(raw)
        yield BatchRequest(one["custom_id"], one["url"], bench._route.model, one["body"], raw, number + 1)


# ---- what earlier versions began -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [False, True])
def test_a_directory_of_version_1_in_mid_round(held, lost):
    """Recorded creates are looked for by their recorded token; new ones use an id that the directory gets once."""
    run, jobs = started(held)
    token = "b0123456789abcdef0123456"
    for path in (held.path / "ledger").glob("r0-00001.1.*.json"):
        fact = json.loads(path.read_bytes())
        if "intent" in path.name:
            request = {**fact["request"], "metadata": {"airflow_batch_token": token}}
            path.write_text(json.dumps({**fact, "token": token, "request": request}))
        elif lost:
            path.unlink()
    for path in (held.path / "ledger").glob("r0-00002.*.json"):
        path.unlink()
    plan = held.path / "ledger" / "r0.plan.json"
    record = json.loads(plan.read_bytes())
    for shard in record["shards"]:
        del shard["digest"]
    plan.write_text(json.dumps(record))
    record = json.loads((held.path / "run.json").read_bytes())
    del record["id"]
    (held.path / "run.json").write_text(json.dumps({**record, "version": 1}))
    run, found = again(held)
    assert found[:2] == jobs[:2]
    # The third was made under another id and is known by its bytes alone.
    assert found == jobs
    assert run.advance().borrowed == jobs[2:]
    assert json.loads((held.path / "ledger" / "id.json").read_bytes())["id"]
    held.fake.faults.reset()
    for job in held.fake.batches:
        held.backend.cancel(job["id"])
    held.go_on(run)
    assert held.finish(first_try=False).outcomes["succeeded"] == 12
