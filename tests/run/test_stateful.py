"""A run against a provider that misbehaves in every way a test can draw, in processes that die anywhere.

Hypothesis draws the story: who does what, what each call meets, when the process is killed, when another one joins in,
how jobs end. After each step, and once all has ended, the laws of money and of rows are looked at.
"""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_batch_provider.core.errors import BatchInferenceError, LostCreateError
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.run.run import Done
from tests.run.benching import line
from tests.run.misbehaving import ANSWERS, LATE_OUTPUTS, LOST, NOISE, REFUSALS, Killed, Process, World

ROWS = [line(number, model="aaabb"[number]) for number in range(5)]
IDS = [row["custom_id"] for row in ROWS]
ENDS = [status for status in JobStatus if status.is_terminal]
DEAD = (JobStatus.CANCELLING, JobStatus.CANCELLED, JobStatus.FAILED)
FAR = [100.0, 800.0, 5000.0, 1e9]
"""How late something comes: soon, before anybody believes that it never will, after, never."""

FIRST = st.sampled_from([0, 0, 0, 1, 2])
CREATES = st.tuples(
    st.just("create"),
    FIRST,
    st.sampled_from(
        [*REFUSALS, *LOST, *LOST, "killed", "killed after", "another", "another after", "another 429", "stop"]
    ),
)
CALLS = st.tuples(
    st.sampled_from(["upload", "find", "retrieve", "cancel"]),
    FIRST,
    st.sampled_from(["500", "down", "429", "401", "404", "killed", "another", "slow", "stop"]),
)
DOWNLOADS = st.tuples(st.just("outputs"), FIRST, st.sampled_from(["torn", "down", "404", "killed", "another"]))
WRITES = st.tuples(
    st.sampled_from(["write", "written"]), st.integers(0, 14), st.sampled_from(["killed", "killed", "another"])
)
FAULTS = st.lists(CREATES | CREATES | CALLS | DOWNLOADS | WRITES, max_size=4)


class Story(RuleBasedStateMachine):
    """One task's life, over any number of processes."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="story-"))
        self.path = self.folder / "run"
        self._write(ROWS)
        self.process = None
        self.tries = 0
        self.waiting = False
        self.lost_directory = self.lost_record = False
        # What a disk does after power loss is not this test's matter, and costs most of its time.
        self.quick = mock.patch("os.fsync")
        self.quick.start()

    @initialize(
        complete=st.booleans(),
        repeatable=st.booleans(),
        min_rows=st.sampled_from([1, 1, 2]),
        skew=st.sampled_from([0.0, 200.0, -200.0]),
        resubmit=st.booleans(),
        on_deadline=st.sampled_from(["fail", "cancel"]),
        in_flight=st.sampled_from([None, None, 1]),
        doubled=st.booleans(),
        positional=st.booleans(),
    )
    def a_world(
        self,
        complete,
        repeatable,
        min_rows,
        skew,
        resubmit,
        on_deadline="fail",
        in_flight=None,
        doubled=False,
        positional=False,
    ):
        """The provider's honest word on itself, and whether the author resubmits lost creates.

        Who resubmits accepts what comes later than the settle time: that window is documented. So such a story has
        none, and a provider whose list is complete hides nothing for longer either.
        """
        self.world = World(
            complete, repeatable, min_rows, skew, prompt=resubmit, doubled=doubled, positional=positional
        )
        self.resubmit = resubmit
        self.options = {"on_deadline": on_deadline, "max_jobs_in_flight": in_flight}
        self.world.on_accept = self._accepted
        self.world.meanwhile = self._another
        self.world.stop = self._stop

    # ---- what happens ------------------------------------------------------------------------------------------

    @rule(faults=FAULTS, far=st.sampled_from(FAR), checked=st.booleans())
    def new_try(self, faults, far, checked):
        """A first try, a retry, a cleared task. ``checked``: somebody has looked, and no lost job exists."""
        self.world.prompt = self.resubmit or (checked and self._truly_none())
        self.process = self._process()
        first, self.tries = self.tries == 0, self.tries + 1
        self._carry_out(lambda: self.process.run.begin(first_try=first), faults, far)

    @precondition(lambda self: self.waiting)
    @rule(faults=FAULTS, far=st.sampled_from(FAR))
    def resume(self, faults, far):
        """A deferred task goes on in a new process, without beginning."""
        self.process = self._process()
        self._carry_out(lambda: None, faults, far)

    @precondition(lambda self: self.waiting)
    @rule(faults=FAULTS)
    def killed_by_a_person(self, faults):
        """The task is marked failed: nothing more is created, and its jobs are cancelled."""
        process = self.process
        process.stop()
        self._guarded(process.run.cancel, faults)
        if not faults:
            known = {fact["job_id"] for fact in self._facts("job")}
            known -= {fact["job_id"] for fact in self._facts("job") if fact["borrowed"]}
            missed = [batch for batch in self.world.live() if batch.id in known and not batch.cancel_asked]
            assert not missed, f"not cancelled: {missed}"
        with contextlib.suppress(BatchInferenceError):
            process.run.advance()
        self.waiting = False

    @rule(seconds=st.sampled_from([1.0, 61.0, 400.0, 1000.0, 25_000.0]))
    def time_passes(self, seconds):
        self.world.sleep(seconds)

    @precondition(lambda self: self.world.live())
    @rule(
        which=st.integers(0, 9),
        status=st.sampled_from(ENDS),
        answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3),
        noise=st.lists(st.sampled_from(NOISE), max_size=3),
        seed=st.integers(0, 99),
        error=st.sampled_from(["invalid", "token_limit_exceeded"]),
        late=st.none() | st.tuples(st.sampled_from(LATE_OUTPUTS), st.sampled_from(FAR[:3])),
    )
    def a_job_ends(self, which, status, answers, noise, seed, error, late):
        """In any of the ways a job may end, whatever it was asked to do; its output may come later than its end."""
        live = self.world.live()
        live[which % len(live)].error = error
        self.world.end(live[which % len(live)], status, answers, noise, seed, late)

    @precondition(lambda self: self.world.live())
    @rule(which=st.integers(0, 9), status=st.sampled_from([s for s in JobStatus if not s.is_terminal]))
    def a_job_goes_on(self, which, status):
        """A new word for a status is no end."""
        live = self.world.live()
        live[which % len(live)].status = status

    @precondition(lambda self: self.path.exists() and self._all_in_sight())
    @rule()
    def the_directory_is_lost(self):
        """Somebody clears the bucket, while the provider's list shows every job."""
        shutil.rmtree(self.path)
        self.waiting = False
        self.lost_directory = True
        self._give_up_what_hangs_on_dead_jobs()

    def _give_up_what_hangs_on_dead_jobs(self):
        """What was cancelled or failed is never gone on with once its record is lost, nor what came after it."""
        self.lost_record = True
        if any(batch.status in DEAD for batch in self.world.batches):
            for batch in self.world.batches:
                batch.given_up = True

    @precondition(lambda self: self.path.exists())
    @rule(turn=st.integers(1, 4))
    def the_directory_is_lost_and_the_rows_turn(self, turn):
        """X1: what lived asks the rows in another order, so it is no longer ours, and is asked anew."""
        shutil.rmtree(self.path)
        self._write(ROWS[turn:] + ROWS[:turn])
        self.waiting = False
        self.lost_directory = True
        for batch in self.world.batches:
            batch.given_up = True

    @precondition(lambda self: self.path.exists() and self._all_in_sight())
    @rule(kinds=st.sets(st.sampled_from(["intent", "job", "refused", "plan", "tries"]), min_size=1))
    def a_part_of_the_directory_is_lost(self, kinds):
        """X6: some of the record is deleted, while the provider's list shows every job."""
        for kind in kinds:
            for path in (self.path / "ledger").glob(f"*{kind}.json"):
                path.unlink()
        self.waiting = False
        self._give_up_what_hangs_on_dead_jobs()

    @rule(faults=st.lists(CREATES, max_size=1), far=st.sampled_from(FAR))
    def another_airflow(self, faults, far):
        """X3: a second directory of the same run key, input and account, with a life of its own."""
        process = Process(self.world, self.folder, "theirs", on_lost_create="fail", **self.options)
        ours, self.process, waiting = self.process, process, self.waiting
        self._carry_out(lambda: process.run.begin(first_try=not (self.folder / "theirs").exists()), faults, far)
        self.process, self.waiting = ours, waiting

    def _write(self, rows):
        (self.folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def _all_in_sight(self):
        now = self.world.now
        return self.world.complete and all(max(one.appears, one.listed) <= now for one in self.world.batches)

    # ---- how it is carried out ---------------------------------------------------------------------------------

    def _process(self):
        lost = "resubmit" if self.world.prompt else "fail"
        return Process(self.world, self.folder, on_lost_create=lost, **self.options)

    def _carry_out(self, begin, faults, far):
        self.world.far = far
        self.waiting = False

        def steps():
            begin()
            outcome = self.process.run.advance()
            self.waiting = not isinstance(outcome, Done)
            return outcome

        return self._guarded(steps, faults)

    def _guarded(self, steps, faults=()):
        """Carry out what may fail or be killed; what it returned, or the error."""
        for fault in faults:
            self.world.arm(*fault)
        try:
            return steps()
        except (BatchInferenceError, Killed) as error:
            return error
        finally:
            self.world.armed.clear()

    def _stop(self):
        self.process.stop()

    def _another(self):
        """A second process of the same task does all it can, in the middle of a call of the first."""
        armed, self.world.armed = self.world.armed, {}
        process = self._process()
        first, self.tries = self.tries == 0, self.tries + 1
        with contextlib.suppress(BatchInferenceError):
            process.run.begin(first_try=first)
            process.run.advance()
        self.world.armed = armed

    def _truly_none(self):
        """Whether no job exists, or may yet appear, for any create whose answer was lost."""
        tokens = {fact["token"] for fact in self._facts("intent") if "token" in fact}  # one that gave up has none
        known = {fact["job_id"] for fact in self._facts("job")}
        return not any(one.token in tokens and one.id not in known and not one.surplus for one in self.world.batches)

    def _facts(self, kind):
        return [json.loads(path.read_bytes()) for path in (self.path / "ledger").glob(f"*.{kind}.json")]

    # ---- the laws ----------------------------------------------------------------------------------------------

    def _accepted(self, batch):
        """A job was paid: no row of it may have been answered before, or be alive in another job."""
        if batch.surplus:
            return
        for other in self.world.batches:
            if other is batch or other.surplus or other.given_up or other.owner != batch.owner:
                continue
            if self.lost_record and other.status in DEAD:
                continue  # it died after its record was lost
            if other.shard == batch.shard:
                self.world.breaches.append(f"{batch.shard} has two jobs: {other}, {batch}")
            shared = {row["name"] for row in other.rows} & {row["name"] for row in batch.rows}
            if shared and not other.status.is_terminal:
                self.world.breaches.append(f"{shared} asked in {batch} while alive in {other}")
            if not self.lost_directory:
                for row in shared:
                    if f'{other.id} answers {row}"'.encode() in other.output and not other.seems_failed(row):
                        self.world.breaches.append(f"{row} asked again in {batch}, answered in {other}")

    @invariant()
    def no_law_is_broken(self):
        assert not self.world.breaches, self.world.breaches

    def teardown(self):
        try:
            if hasattr(self, "world"):
                self._bring_to_an_end()
        finally:
            self.quick.stop()
            shutil.rmtree(self.folder)

    def _bring_to_an_end(self):
        """From now on the provider behaves: every story ends well."""
        world = self.world
        world.armed.clear()
        for _ in range(40):
            for batch in world.batches:
                batch.appears, batch.listed = min(batch.appears, world.now), min(batch.listed, world.now)
                batch.readable = min(batch.readable, world.now)
            outcome = self._end_of_a_try()
            for batch in world.live():
                world.end(batch, JobStatus.COMPLETED)
            world.sleep(1000.0)
            if isinstance(outcome, Done) and self._settled(outcome.summary):
                break
        else:
            raise AssertionError(f"the run comes to no end: {outcome!r}")
        assert not world.breaches, world.breaches
        self._check_end(outcome.summary)

    def _end_of_a_try(self):
        self.world.prompt = self._truly_none()
        self.process = self._process()

        def steps():
            self.process.run.begin(first_try=False)
            return self.process.run.advance()

        outcome = self._guarded(steps)
        assert not isinstance(outcome, LostCreateError) or not self.world.prompt, outcome
        return outcome

    def _settled(self, summary):
        try:
            judge(summary, 0.0)
        except BatchInferenceError:
            return not summary.retryable
        return True

    def _check_end(self, summary):
        """Every row once; what failed, failed for good; the counts are those of the files."""
        results = {}
        for part in sorted((self.path / "results").iterdir()):
            for raw in part.read_bytes().split(b"\n")[:-1]:
                result = json.loads(raw)
                assert result["custom_id"] not in results, f"{result} came twice"
                results[result["custom_id"]] = result
        assert sorted(results) == IDS
        failed = [json.loads(raw) for raw in (self.path / "failed.jsonl").read_bytes().split(b"\n")[:-1]]
        bad = {row["custom_id"]: row["error"] for row in failed}
        assert len(bad) == len(failed)
        for custom_id, result in results.items():
            response = result["response"]
            if response and response["status_code"] == 200:
                assert custom_id not in bad
                assert response["body"]["choices"][0]["message"]["content"].endswith(f" answers {custom_id}")
            else:
                error = bad[custom_id]
                final = error["code"] in ("below_minimum", "output_lost")
                assert final or error.get("status_code") == 400, error
        assert summary.total == len(IDS) == sum(summary.outcomes.values())
        assert summary.outcomes["succeeded"] == len(IDS) - len(bad)
        for custom_id in IDS:
            good = any(f'"{one.id} answers {custom_id}"'.encode() in one.output for one in self.world.batches)
            assert good or custom_id in bad
            paid = [one for one in self._counted(summary) if f'"{one.id} answers {custom_id}"'.encode() in one.output]
            assert custom_id not in bad or not paid, f"{custom_id} was answered in {paid[0]} and is reported as failed"
        known = {job["id"] for job in summary.jobs} | {one["id"] for one in summary.surplus}
        known |= {batch.id for batch in self.world.batches if batch.owner != "ours" or batch.given_up}
        for ids in self.world.found_together:
            silent = set(ids) - known - {batch.id for batch in self.world.batches if batch.cancel_asked}
            assert not silent, f"{silent} were found beside another job and neither cancelled nor reported"

    def _counted(self, summary):
        """Jobs whose answers must be among the results: not second ones, nor those of which the record was lost, nor
        those whose output came after everybody believed that it never would."""
        surplus = {one["id"] for one in summary.surplus}
        for one in [] if self.lost_record else self.world.batches:
            mine = one.owner == "ours" and not one.surplus and not one.given_up
            if mine and not one.is_too_late and one.id not in surplus:
                yield one


STORIES = int(os.environ.get("AIRFLOW_BATCH_STORIES", "100"))
Story.TestCase.settings = settings(
    max_examples=STORIES,
    stateful_step_count=30,
    deadline=None,
    # As many as are asked for are new ones; --hypothesis-seed repeats them.
    derandomize="AIRFLOW_BATCH_STORIES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestStory = pytest.mark.timeout(max(300, STORIES))(Story.TestCase)
