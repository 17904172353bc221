"""Real processes killed with SIGKILL at random instants, on every route; ``benchmarks/kill.py`` at a small scale."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace

import psutil
import pytest

from airflow_batch_provider.testing.routes import DISTINCT
from benchmarks import kill
from benchmarks.kill import kill_on, line_of, total_of
from benchmarks.kill_attempts import PHASES, Zygote
from benchmarks.kill_checks import Account, Expected, Made
from benchmarks.kill_troubles import TROUBLES, dealt
from benchmarks.killing import BreachError, OneRun, Scenario, Tally, bench_of
from tests.patience import PATIENCE

SEED = 4
KILLS = 3


@pytest.fixture(scope="module")
def zygote():
    """One for all tests here: it takes some seconds to start."""
    with Zygote() as started:
        yield started


@pytest.fixture(scope="module")
def tallies():
    """What was counted, by route."""
    return {}


@pytest.mark.parametrize("route", DISTINCT)
def test_killed_again_and_again(zygote, tallies, route):
    """Three shards, two rounds, killed until done: jobs created = jobs needed, every row once, the equation holds."""
    tally = kill_on(route, zygote, KILLS, SEED, time.monotonic() + 120, measure=False)
    tallies[route] = tally
    print(f"\n{line_of(tally)}")
    assert tally.kills == KILLS
    assert tally.created == tally.needed
    if route == "bedrock":
        assert tally.refused == 0


def test_the_kills_hit_every_phase(tallies):
    """Over all routes there were kills inside create, inside a write of the ledger, and while rows were collected."""
    if set(tallies) != set(DISTINCT):
        pytest.fail("this counts what the test above did on every route; run the whole file")
    total = total_of(list(tallies.values()))
    print(f"\n{line_of(total)}")
    assert all(total.phases[phase] for phase in PHASES)
    assert total.twins


def test_a_provider_that_is_not_asked_makes_two_jobs_and_is_seen(zygote):
    """The harness sees a second job: an attempt that never finds what its killed predecessor created makes one."""
    slow = (0.5,) * 6
    scenario = Scenario(kills=1, slow=slow, sabotage="blind", aim=("create", 0, 0.25))
    with (
        pytest.raises(BreachError, match=r"(\d) jobs exist, (?!\1)\d were needed") as told,
        bench_of("openai", zygote, 1) as bench,
    ):
        bench.run(0, scenario)
    assert "--seed 1 --first-run 0" in str(told.value)
    assert "r0-00000.1.intent.json" in str(told.value)
    shutil.rmtree(bench.folder)


@pytest.fixture(scope="module")
def finished(zygote, tmp_path_factory):
    """A run that nobody killed, with all that the checks need."""
    with bench_of("openai", zygote, 2) as bench:
        folder = tmp_path_factory.mktemp("kill") / "finished"
        scenario = Scenario(kills=0)
        bench.plan_faults(scenario, 0)
        one = OneRun(bench, folder, scenario, 0)
        one.to_the_end()
        yield one.account()


def twice(folder, jobs):
    jobs.append(jobs[0])


def twice_by_another_name(folder, jobs):
    """As a directory makes it that has forgotten its id."""
    jobs.append(Made(f"b{'0' * 19}-{jobs[0].content}"))


def strange(folder, jobs):
    jobs[0] = Made(None)


def missing_job(folder, jobs):
    jobs.pop()


def stopped(folder, jobs):
    jobs[0] = replace(jobs[0], stopped=True)


def borrowed(folder, jobs):
    path = folder / "ledger" / "r0-00000.1.job.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "borrowed": True}))


def answers_swapped(folder, jobs):
    """X1: the answers of two rows of one shard, each under the other's custom_id."""
    part = folder / "results" / "part-r0-00002.jsonl"
    lines = [json.loads(line) for line in part.read_bytes().split(b"\n")[:-1]]
    lines[0]["custom_id"], lines[1]["custom_id"] = lines[1]["custom_id"], lines[0]["custom_id"]
    part.write_text("".join(json.dumps(line) + "\n" for line in lines))


def untold_twin(folder, jobs):
    path = folder / "summary.json"
    summary = json.loads(path.read_bytes())
    path.write_text(json.dumps({**summary, "surplus": [{"id": "batch_unheard_of"}]}))


def row_twice(folder, jobs):
    part = folder / "results" / "part-r0-00000.jsonl"
    lines = part.read_bytes().split(b"\n")
    part.write_bytes(b"\n".join([lines[0], *lines]))


def row_lost(folder, jobs):
    part = folder / "results" / "part-r1-00001.jsonl"
    part.write_bytes(part.read_bytes().split(b"\n", 1)[1])


def no_summary(folder, jobs):
    (folder / "summary.json").unlink()


def books_wrong(folder, jobs):
    path = folder / "summary.json"
    path.write_bytes(path.read_bytes().replace(b'"succeeded": 12', b'"succeeded": 11', 1))


def one_job_for_two(folder, jobs):
    first, second = (folder / "ledger" / f"r0-0000{number}.1.job.json" for number in (0, 1))
    first.write_bytes(second.read_bytes())
    (folder / "ledger" / "r0-00000.1.end.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (twice, "7 jobs exist, 6 were needed"),
        (twice_by_another_name, "jobs of this run that ask the same: \\{'c[0-9a-f]{15}': 2\\}"),
        (strange, "jobs of no shard: \\[None\\]"),
        (stopped, "jobs that were stopped, and no other has their token"),
        (borrowed, "taken for another directory's"),
        (answers_swapped, "2 rows do not hold their own answer"),
        (untold_twin, "0 second jobs exist, the summary names"),
        (missing_job, "5 jobs exist"),
        (row_twice, "more than once: \\['row-0'\\]"),
        (row_lost, "11 lines of 11 ids"),
        (no_summary, "no summary"),
        (books_wrong, "equation does not hold"),
        (one_job_for_two, "one job for two shards"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_breach_is_seen(finished, tmp_path, spoil, said):
    """A run as it should be passes the checks; each thing that is wrong with it is named."""
    assert finished.breaches() == []
    copy = tmp_path / "run"
    shutil.copytree(finished.folder, copy)
    jobs = list(finished.jobs)
    spoil(copy, jobs)
    with pytest.raises(AssertionError, match=said):
        assert not (found := Account(copy, finished.ids, jobs).breaches()), "\n".join(found)


def test_jobs_of_a_neighbour_and_of_an_earlier_life_are_needed(finished):
    """X3, X1: what another directory made, and what was made before rows came in another order, is no second job; yet
    one of them too many, or one that nobody planned, is seen."""
    near = Expected(neighbour=finished.folder)
    assert Account(finished.folder, finished.ids, finished.jobs, expected=near).needed == 12
    earlier = [Made(f"b{number:019}-c{number:015}") for number in range(3)]
    jobs = [*earlier, *finished.jobs]
    turned = Account(finished.folder, finished.ids, jobs, expected=Expected(before=3, lost=True))
    assert turned.needed == 9
    assert turned.breaches() == []
    assert "jobs of no shard" in "\n".join(replace(turned, expected=Expected(lost=True)).breaches())
    again = replace(turned, jobs=[earlier[0], *jobs], expected=Expected(before=4, lost=True))
    assert "jobs of this run that ask the same" in "\n".join(again.breaches())


def test_a_cancel_without_a_second_job_is_seen(finished):
    """X2: whoever takes one job for two, and stops it, is found out even where the job had ended before."""
    told = replace(finished, cancels=1).breaches()
    assert told == ["1 jobs were asked to stop, and none is a second one"]


def test_every_trouble_is_dealt():
    """Over as many runs as there are troubles each one is met once, on every route."""
    for offset in range(len(DISTINCT)):
        assert {dealt(number, offset) for number in range(len(TROUBLES))} == set(TROUBLES)


@pytest.mark.parametrize("broken", [True, False], ids=["breach", "no breach"])
def test_the_exit_code_tells_of_a_breach(monkeypatch, capsys, broken):
    """The command's answer is 1 when any route had a breach, whose story is printed, and the others are run."""

    def pretend(name, *_):
        if broken and name == "openai":
            raise BreachError("BREACH on openai: 7 jobs exist, 6 were needed")
        return Tally(name, kills=5, created=6, needed=6)

    monkeypatch.setattr(kill, "kill_on", pretend)
    assert kill.run_all(["openai", "portkey"], None, 10, 1, 60, 0) == int(broken)
    told = capsys.readouterr().out
    assert ("BREACH on openai: 7 jobs exist" in told) == broken
    assert ("no breach" in told) != broken
    assert "\nportkey " in told


def test_nothing_is_left_behind(zygote):
    """When the zygote's line closes in the middle of an attempt, as it does when the parent dies, all are gone."""
    assert psutil.Process(zygote.pid).children(recursive=True) == []
    with bench_of("openai", zygote, 3) as bench:
        bench.plan_faults(Scenario(kills=0, slow=(1.0,)), 0)
        attempt = bench.start(bench.order(bench.folder, 0, True, "fail", ""))
        assert attempt.follow(time.monotonic() + PATIENCE, lambda word: word == "+create")
        pids = [zygote.pid, attempt.pid]
        zygote.close()
        os.close(attempt.handle)
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
