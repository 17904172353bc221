"""What a run directory tells to a person, at every stage of a run."""

import json
import time

import pytest

from airflow_batch_provider.cli import main
from airflow_batch_provider.core.errors import RunConflictError
from airflow_batch_provider.run.show import describe, table
from airflow_batch_provider.run.storage import RunDirectory
from tests.run.benching import line


def told(bench):
    return describe(RunDirectory(str(bench.path)), time.time())


def test_no_run(tmp_path, capsys):
    """A folder without a run is told as such, and the command ends with 1."""
    with pytest.raises(RunConflictError, match="There is no run in"):
        describe(RunDirectory(str(tmp_path)), 0.0)
    assert main(["show", str(tmp_path)]) == 1
    assert "There is no run in" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["run.json", "ledger/r0.plan.json", "summary.json"])
@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_broken_file(bench, capsys, name, text):
    """A file of the record that somebody has spoilt is named, and the command ends with 1."""
    bench.write([line(0)])
    bench.finish()
    (bench.path / name).write_text(text)
    assert main(["show", str(bench.path)]) == 1
    assert f"{bench.path}/{name} is not the JSON object that was written there" in capsys.readouterr().err


def test_an_unknown_store(capsys):
    """A scheme that nothing serves is told with those that are, and the command ends with 2."""
    assert main(["show", "nowhere://bucket/run"]) == 2
    assert "Nothing installed can open nowhere://" in capsys.readouterr().err


def test_while_it_runs(bench):
    """Running jobs with their ids, unsent shards, the deadline."""
    bench.fake.faults.hold_after_rows = 1
    bench.write([line(number, model) for number, model in enumerate(["m", "m", "n"])])
    run = bench.run(max_jobs_in_flight=1)
    run.begin(first_try=True)
    run.advance()
    seen = told(bench)
    (shards,) = [a_round["shards"] for a_round in seen["rounds"]]
    assert [(shard["state"], shard["rows"], shard["model"]) for shard in shards] == [
        ("running", 2, "m"),
        ("not sent", 1, "n"),
    ]
    assert shards[0]["job_id"] == bench.fake.batches[0]["id"]
    assert seen["next"].startswith("waiting for 1 job; 1 shard not sent yet; the deadline is 20")
    assert seen["summary"] is None
    assert "cost so far: 0.0000 USD" in table(seen)
    run.cancel()
    assert told(bench)["rounds"][0]["shards"][0]["state"] == "being cancelled"


def test_a_lost_create(bench):
    """A create whose answer was lost is told as such."""
    bench.fake.faults.cut_before_accept = 1
    bench.write([line(0)])
    run = bench.run()
    run.begin(first_try=True)
    run.advance()
    assert told(bench)["rounds"][0]["shards"][0]["state"] == "answer lost"
    assert "searched" in told(bench)["next"]


def test_the_end(bench, capsys):
    """Rounds, outcomes, tokens; the same by the command line, to read and as JSON."""
    bench.fake.faults.expired_fraction = 0.5
    bench.fake.faults.jobs = 1
    bench.write([line(number) for number in range(10)])
    summary = bench.finish()
    seen = told(bench)
    assert [shard["outcomes"] for a_round in seen["rounds"] for shard in a_round["shards"]] == [
        {"succeeded": 5, "expired": 5},
        {"succeeded": 5},
    ]
    assert seen["summary"]["outcomes"] == summary.outcomes
    assert seen["next"].startswith("nothing")
    text = table(seen)
    assert "r1-00000" in text
    assert "cost: unknown" in text
    assert main(["show", str(bench.path)]) == 0
    assert capsys.readouterr().out == text + "\n"
    assert main(["show", str(bench.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(seen))
