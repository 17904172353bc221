"""Two processes of one task on one run directory, where one has looked and not yet written."""

import json

import pytest

from airflow_batch_provider.core.errors import BatchInferenceError
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.run.run import Done
from tests.run.benching import line
from tests.run.misbehaving import Killed, Process, World


class Stage:
    """A world with one shard of two rows, and the processes that come and go."""

    def __init__(self, folder):
        self.folder = folder
        self.world = World()
        self.world.on_accept = lambda batch: None
        rows = [line(number, model="a") for number in range(2)]
        (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def process(self):
        return Process(self.world, self.folder)

    def goes_on(self, process=None, *faults, first_try=False):
        """One process does all it can; what came of it."""
        for fault in faults:
            self.world.arm(*fault)
        process = process or self.process()
        try:
            process.run.begin(first_try=first_try)
            return process.run.advance()
        except (Killed, BatchInferenceError) as error:
            return error
        finally:
            self.world.armed.clear()

    def two_jobs_and_no_record(self):
        """A gateway made two jobs of one create, whose process died before it knew either."""
        died = self.goes_on(None, ("create", 0, "twice"), ("find", 0, "killed"), first_try=True)
        assert isinstance(died, Killed)
        assert len(self.world.batches) == 2

    def attempt(self):
        return self.process().run.ledger.rounds()[0].attempts["r0-00000"][-1]

    def to_the_end(self):
        for _ in range(10):
            outcome = self.goes_on()
            if isinstance(outcome, Done):
                return outcome.summary
            for batch in self.world.live():
                self.world.end(batch, JobStatus.COMPLETED)
            self.world.sleep(1000.0)
        raise AssertionError(f"no end: {outcome}")


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)
    return Stage(tmp_path)


def between_look_and_record(process, happens):
    """Let something happen once a process has seen the list, and before it writes down what it saw."""
    find = process.run.backend.find

    def found(*given):
        jobs = find(*given)
        process.run.backend.find = find
        happens()
        return jobs

    process.run.backend.find = found


@pytest.mark.parametrize("first_ends", [JobStatus.FAILED, JobStatus.COMPLETED])
def test_two_that_see_different_jobs_go_on_with_the_recorded_one(stage, first_ends):
    """X2, A2: the slower process takes what the ledger says, and never cancels the job that the run goes on with;
    before, each took another job as the run's, and each cancelled the other's."""
    stage.two_jobs_and_no_record()
    first, second = stage.world.batches
    slow = stage.process()
    quick = []

    def meanwhile():
        stage.world.end(first if first_ends is JobStatus.FAILED else second, first_ends)
        quick.append(stage.goes_on())

    between_look_and_record(slow, meanwhile)
    outcome = stage.goes_on(slow)
    assert stage.attempt().job_id == second.id
    assert not second.cancel_asked
    summary = stage.to_the_end()
    assert [job["id"] for job in summary.jobs] == [second.id]
    assert [one["id"] for one in summary.surplus] == [first.id]
    assert first.cancel_asked
    if first_ends is JobStatus.FAILED:
        assert outcome.jobs == quick[0].jobs == (second.id,)
    assert summary.outcomes["succeeded"] == 2


@pytest.mark.parametrize("kind", ["write", "written", "cancel"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_killed_before_the_second_job_is_cancelled(stage, kind, after):
    """A2: wherever the process dies, the very next pass cancels the second job and names it, not only the end."""
    stage.two_jobs_and_no_record()
    first, second = stage.world.batches
    stage.goes_on(None, (kind, after, "killed"))
    stage.goes_on()
    assert (stage.attempt().job_id, first.cancel_asked, second.cancel_asked) == (first.id, False, True)
    assert [twin.job_id for twin in stage.attempt().twins] == [second.id]
    summary = stage.to_the_end()
    assert ([job["id"] for job in summary.jobs], [one["id"] for one in summary.surplus]) == ([first.id], [second.id])


@pytest.mark.parametrize("kind", ["write", "written", "cancel"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_killed_before_the_second_job_of_a_lost_record_is_cancelled(stage, kind, after):
    """A2, X6: the same where the shard's record was deleted, so that the jobs are found by the directory's names."""
    stage.two_jobs_and_no_record()
    for path in (stage.folder / "run" / "ledger").glob("r0-00000.*"):
        path.unlink()
    first, second = stage.world.batches
    stage.goes_on(None, (kind, after, "killed"))
    stage.goes_on()
    assert (stage.attempt().job_id, first.cancel_asked, second.cancel_asked) == (first.id, False, True)
    assert [twin.job_id for twin in stage.attempt().twins] == [second.id]


def test_a_killed_task_cancels_the_second_job_too(stage):
    """A2: a person stops the task after the process died that had only written down which job is the second one."""
    stage.two_jobs_and_no_record()
    assert isinstance(stage.goes_on(None, ("cancel", 0, "killed")), Killed)
    assert stage.process().run.cancel() == ["batch-0", "batch-1"]
    assert [batch.cancel_asked for batch in stage.world.batches] == [True, True]
    stage.goes_on()
    assert [twin.job_id for twin in stage.attempt().twins] == ["batch-1"]


def test_the_creator_goes_on_with_what_another_recorded(stage):
    """A2: its create was answered with one job, and meanwhile another process found and recorded the other."""
    stage.world.arm("create", 0, "other of two")
    process = stage.process()
    stage.world.meanwhile = stage.goes_on
    process.run.begin(first_try=True)
    outcome = process.run.advance()
    first, second = stage.world.batches
    assert stage.attempt().job_id == first.id
    assert outcome.jobs == (first.id,)
    assert (first.cancel_asked, second.cancel_asked) == (False, True)
