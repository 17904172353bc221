"""A run directory and a trigger's row that commit f421530 left behind are gone on with; ``old_run/make.py`` made them.

Six rows, two models, one job at a time: round 0 is collected, with row-1 and row-4 failed by 500 and row-2 by 400. Of
round 1 the first job is in flight, and the second shard is not sent.
"""

import asyncio
import json
import shutil
import time
from importlib import import_module
from pathlib import Path

import pytest
from airflow.models.trigger import Trigger

from airflow_batch_provider.cli import main
from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator
from airflow_batch_provider.testing import FakeProvider
from tests.airflow.world import TaskInstance, resume

OLD = Path(__file__).parent / "old_run"
IN_FLIGHT = "batch_bcbfb475e9921ba7d45deca18457d9b5"
EVENT = {"v": 1, "reason": "jobs_ended", "message": ""}


@pytest.fixture
def old(tmp_path, monkeypatch):
    """The folder as it was left, at a provider that has its files and jobs; the job in flight goes on."""
    fake = FakeProvider("openai")
    known = json.loads((OLD / "provider.json").read_text())
    for file in known["files"]:
        fake._store.path(file["id"]).write_text(known["content"][file["id"]])
        fake._store.add_file(file)
    for batch in known["batches"]:
        fake._store.add_batch({**batch, "expires_at": int(time.time()) + 86_400})
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    for file in folder.rglob("*.json*"):
        file.write_text(file.read_text().replace("ORIGIN", fake.origin).replace("FOLDER", str(folder)))
    connection = {"conn_type": "openai_batch", "host": fake.base_url, "password": fake.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", json.dumps(connection))
    with fake:
        yield folder, fake


def task(folder):
    """The task with the arguments that it had."""
    return BatchInferenceOperator(
        input_path=str(folder / "in.jsonl"),
        output_path=str(folder / "run"),
        **json.loads((OLD / "task.json").read_text()),
    )


def fire(folder):
    """The event of the trigger's row, read as Airflow reads it.

    :return: what the row calls, and with which event.
    """
    row = json.loads((folder / "trigger.json").read_text())
    module, _, name = row["classpath"].rpartition(".")
    trigger = getattr(import_module(module), name)(**Trigger._decrypt_kwargs(row["encrypted_kwargs"]))
    event = asyncio.run(asyncio.wait_for(anext(trigger.run()), 30)).payload
    return row["method_name"], event


def show(folder, capsys):
    """What ``airflow-batch show`` prints."""
    capsys.readouterr()
    assert main(["show", str(folder / "run")]) == 0
    return capsys.readouterr().out


def go_on(folder, how):
    """The task's end: as a try that the trigger's event resumes, or as a retry."""
    one, context = task(folder), {"ti": TaskInstance(try_number=2 if how == "retried" else 1)}
    if how == "resumed":
        method, event = fire(folder)
        one.execute = lambda context: getattr(one, method)(context, event)
    return resume(one, context)[0]


def test_the_trigger_fires(old):
    """The row as it is in Airflow's database: its class is found, its arguments are taken, the event is the same."""
    folder, _ = old
    assert fire(folder) == ("execute_complete", {**EVENT, "run_path": str(folder / "run")})


@pytest.mark.parametrize("how", ["resumed", "retried"])
def test_the_run_is_ended(old, capsys, how):
    """Nothing that was sent is sent again: one job more, for the one shard that was not sent."""
    folder, fake = old
    made = len(fake.batches)
    before = show(folder, capsys)
    assert IN_FLIGHT in before
    assert "not sent" in before
    told = go_on(folder, how)
    assert (told["total"], told["succeeded"], told["failed"], told["rounds"], told["jobs"]) == (6, 5, 1, 2, 4)
    assert len(fake.batches) == made + 1
    assert not fake.calls("cancel")
    results = [json.loads(raw) for part in (folder / "run/results").iterdir() for raw in part.open()]
    answers = {one["custom_id"]: (one["response"] or {}).get("body", {}).get("choices") for one in results}
    assert len(results) == 6
    for number in (0, 1, 3, 4, 5):
        assert answers[f"row-{number}"][0]["message"]["content"] == f"say {number}"
    (failed,) = [json.loads(raw) for raw in (folder / "run/failed.jsonl").open()]
    assert (failed["custom_id"], failed["error"]["status_code"]) == ("row-2", 400)
    after = show(folder, capsys)
    assert "5 succeeded" in after
    assert "nothing" in after


def test_it_is_not_gone_on_with_twice(old):
    """A task that is cleared after the end reads its results and sends nothing."""
    folder, fake = old
    go_on(folder, "resumed")
    made = len(fake.creates)
    again = go_on(folder, "retried")
    assert again["succeeded"] == 5
    assert len(fake.creates) == made


def test_a_job_whose_id_was_not_recorded_is_found(old):
    """Killed between a create and its record, the old process left an intent: its job is found by the old token."""
    folder, fake = old
    made = len(fake.batches)
    (folder / "run/ledger/r1-00000.1.job.json").unlink()
    told = go_on(folder, "retried")
    assert (told["succeeded"], told["jobs"]) == (5, 4)
    assert len(fake.batches) == made + 1
    assert IN_FLIGHT in (folder / "run/ledger/r1-00000.1.job.json").read_text()
