"""The version of ``run.json`` is checked wherever a run directory is read, before anything is sent or cancelled."""

import json

import pytest

from airflow_batch_provider import __version__
from airflow_batch_provider.core.errors import RunConflictError
from airflow_batch_provider.operators.connected import ConnectedOperator
from airflow_batch_provider.run.attach import attach
from airflow_batch_provider.run.facts import RunRecord
from airflow_batch_provider.run.ledger import Ledger
from airflow_batch_provider.run.show import describe
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.transfers.rows import EndedRun
from airflow_batch_provider.triggers.batch_inference import note_cancelled
from tests.run.benching import line

pytestmark = pytest.mark.fake(faults=FaultPlan(hold_after_rows=0))

READS = {
    "begin": lambda bench, run: run.begin(first_try=False),
    "advance": lambda bench, run: run.advance(),
    "cancel": lambda bench, run: run.cancel(),
    "live jobs": lambda bench, run: run.live_jobs(),
    "attach": lambda bench, run: attach(run, "batch-1"),
    "follow": lambda bench, run: ConnectedOperator(task_id="t").follow(str(bench.path)),
    "show": lambda bench, run: describe(run.directory, 0.0),
    "load": lambda bench, run: EndedRun.read(run.directory),
    "the trigger's note": lambda bench, run: note_cancelled(str(bench.path), [bench.fake.batches[0]["id"]]),
}


@pytest.fixture
def begun(bench):
    """A run with a job in flight."""
    bench.write([line(0)])
    run = bench.run()
    run.begin(first_try=True)
    run.advance()
    return bench


def rewrite(bench, **fields):
    path = bench.path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def files(bench):
    return {path: path.read_bytes() for path in bench.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("read", READS)
def test_a_later_version_is_refused(begun, read):
    """Issue 11.3: before, only ``follow`` looked at it; the others went on with a record they might misread."""
    rewrite(begun, version=3)
    before, made = files(begun), len(begun.fake.creates)
    with pytest.raises(RunConflictError) as caught:
        READS[read](begun, begun.run())
    told = str(caught.value)
    assert told.startswith(f"{begun.path}/run.json is a record of version 3; airflow-batch-provider {__version__}")
    assert "reads records of version 1 and 2. Install the release that wrote it" in told
    assert files(begun) == before
    assert len(begun.fake.creates) == made
    assert not begun.fake.calls("cancel")


@pytest.mark.parametrize("version", [None, 0, "2", "new"])
def test_what_no_release_wrote_is_refused(begun, version):
    """A record that somebody has changed is to be restored, not read by another release."""
    rewrite(begun, version=version)
    with pytest.raises(RunConflictError, match=r"is not a record of any release: .* Restore it from a copy"):
        begun.run().advance()


def test_a_record_that_lacks_a_field_is_named(begun):
    """Before, a bare KeyError."""
    path = begun.path / "run.json"
    record = json.loads(path.read_text())
    del record["identity"]
    path.write_text(json.dumps(record))
    with pytest.raises(RunConflictError, match=r"run.json does not hold what was written there .*identity"):
        begun.run().advance()


def test_fields_of_a_later_release_are_passed_over(begun):
    """A field more in any file of the record: the run is ended, and nothing is sent again."""
    for path in [begun.path / "run.json", *(begun.path / "ledger").glob("*.json")]:
        record = json.loads(path.read_text())
        for shard in record.get("shards", ()):
            shard["of_tomorrow"] = 1
        path.write_text(json.dumps({**record, "of_tomorrow": {"a": 1}}))
    run = begun.run()
    run.begin(first_try=False)
    assert run.live_jobs() == [begun.fake.batches[0]["id"]]
    assert describe(run.directory, 0.0)["rounds"][0]["shards"][0]["state"] == "running"
    assert len(begun.fake.creates) == 1


def test_a_record_is_written_as_it_was_read(begun):
    """What is read and written again is the same, field for field: the files have the form they always had."""
    directory = RunDirectory(str(begun.path))
    ledger = Ledger(directory)
    assert ledger.run().written() == directory.read_json("run.json")
    assert isinstance(ledger.run(), RunRecord)
    [attempt] = ledger.rounds()[0].attempts["r0-00000"]
    assert attempt.intent.written() == directory.read_json("ledger/r0-00000.1.intent.json")
    assert attempt.job.written() == directory.read_json("ledger/r0-00000.1.job.json")
    assert ledger.tries().written() == directory.read_json("ledger/tries.json")
