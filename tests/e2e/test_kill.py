"""Real processes killed with SIGKILL at random instants, on every route; ``benchmarks/kill.py`` at a small scale."""

from __future__ import annotations

import os
import shutil
import time

import psutil
import pytest

from benchmarks import kill
from benchmarks.kill import ROUTES, kill_on, line_of, total_of
from benchmarks.kill_attempts import PHASES, Zygote
from benchmarks.kill_checks import breaches
from benchmarks.killing import BreachError, OneRun, Scenario, Tally, bench_of

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


@pytest.mark.parametrize("route", ROUTES)
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
    if set(tallies) != set(ROUTES):
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
    """A run that nobody killed: its folder, its rows, and the tokens of its jobs."""
    with bench_of("openai", zygote, 2) as bench:
        folder = tmp_path_factory.mktemp("kill") / "finished"
        scenario = Scenario(kills=0)
        bench.plan_faults(scenario, 0)
        one = OneRun(bench, folder, scenario, 0)
        one.to_the_end()
        yield folder / "run", bench.ids, [bench.token_of(job) for job in one.jobs()]


def twice(folder, tokens):
    tokens.append(tokens[0])


def strange(folder, tokens):
    tokens[0] = None


def missing_job(folder, tokens):
    tokens.pop()


def row_twice(folder, tokens):
    part = folder / "results" / "part-r0-00000.jsonl"
    lines = part.read_bytes().split(b"\n")
    part.write_bytes(b"\n".join([lines[0], *lines]))


def row_lost(folder, tokens):
    part = folder / "results" / "part-r1-00001.jsonl"
    part.write_bytes(part.read_bytes().split(b"\n", 1)[1])


def no_summary(folder, tokens):
    (folder / "summary.json").unlink()


def books_wrong(folder, tokens):
    path = folder / "summary.json"
    path.write_bytes(path.read_bytes().replace(b'"succeeded": 12', b'"succeeded": 11', 1))


def one_job_for_two(folder, tokens):
    first, second = (folder / "ledger" / f"r0-0000{number}.1.job.json" for number in (0, 1))
    first.write_bytes(second.read_bytes())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (twice, "7 jobs exist, 6 were needed"),
        (strange, "jobs by shard"),
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
    folder, ids, tokens = finished
    assert breaches(folder, ids, tokens) == []
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    spoiled = list(tokens)
    spoil(copy, spoiled)
    with pytest.raises(AssertionError, match=said):
        assert not (found := breaches(copy, ids, spoiled)), "\n".join(found)


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
        assert attempt.follow(time.monotonic() + 20, lambda word: word == "+create")
        pids = [zygote.pid, attempt.pid]
        zygote.close()
        os.close(attempt.handle)
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
