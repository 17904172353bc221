"""A day of waiting on a clock that tests move, in the triggerer and in the worker: the same laws for both."""

import asyncio
import itertools
import re
from types import SimpleNamespace

import pytest

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    NotFoundError,
    ProviderError,
    RateLimitedError,
)
from airflow_batch_provider.core.polling import (
    JITTER_SHARE,
    MAX_BACKOFF_SECONDS,
    PERMANENT_FAILURES,
    TRANSIENT_FAILURES,
    WakeRule,
)
from airflow_batch_provider.core.records import Job, JobStatus, RequestCounts
from airflow_batch_provider.core.retry_after import LONGEST_SECONDS
from airflow_batch_provider.hooks.base import BatchInferenceHook
from airflow_batch_provider.operators import base
from airflow_batch_provider.run.run import Waiting
from airflow_batch_provider.triggers import batch_inference

DAY = 24 * 3600.0
BEGAN = 1_800_000_000.0
ROWS = 40_000


class World:
    """A provider whose every look is scripted, a clock, and what was logged when.

    :param look: from seconds since the beginning and the number of the connection's reading to jobs or an error.
    """

    def __init__(self, look):
        self.now = BEGAN
        self.look = look
        self.looks = []
        self.reads = 0
        self.lines = []
        self.warnings = []

    @property
    def passed(self):
        return self.now - BEGAN

    def backend(self):
        """What the connection gives when it is read."""
        self.reads += 1
        read = self.reads

        def retrieve(job_id):
            self.looks.append(self.passed)
            seen = self.look(self.passed, read)
            if isinstance(seen, Exception):
                raise seen
            return seen

        async def apoll(job_ids):
            return [retrieve(job_id) for job_id in job_ids]

        return SimpleNamespace(retrieve=retrieve, apoll=apoll)

    def told(self, kept):
        return lambda message, *values: kept.append((self.passed, message % values if values else message))

    @property
    def log(self):
        return SimpleNamespace(info=self.told(self.lines), warning=self.told(self.warnings), error=self.told([]))


def wait_in_triggerer(world, monkeypatch, rule, poll_interval, spent):
    async def read(conn_id):
        return SimpleNamespace(backend=world.backend())

    async def sleep(seconds):
        world.now += seconds

    class Told(batch_inference.BatchInferenceTrigger):
        log = world.log

    names = {name: getattr(asyncio, name) for name in ("wait_for", "to_thread", "gather")}
    monkeypatch.setattr(BatchInferenceHook, "afor_conn_id", staticmethod(read))
    monkeypatch.setattr(batch_inference, "asyncio", SimpleNamespace(sleep=sleep, **names))
    monkeypatch.setattr(batch_inference, "time", SimpleNamespace(time=lambda: world.now))
    one = Told(
        conn_id="c", jobs=["job-1"], run_path="r", deadline=rule.deadline, poll_interval=poll_interval, spent_usd=spent
    )
    event = asyncio.run(anext_of(one)).payload
    return event["reason"], event["message"]


async def anext_of(trigger):
    return await anext(trigger.run())


def wait_in_worker(world, monkeypatch, rule, poll_interval, spent):
    def sleep(seconds):
        world.now += seconds

    class Told(base.RunOperator):
        log = world.log

        @staticmethod
        def hook(conn_id):
            return SimpleNamespace(backend=world.backend())

    monkeypatch.setattr(base, "time", SimpleNamespace(time=lambda: world.now, sleep=sleep))
    task = Told(task_id="t", conn_id="c", poll_interval=poll_interval)
    task._spent_usd = spent
    wake = task.wait_here(world.backend(), Waiting(("job-1",), rule))
    return wake.reason, wake.message


@pytest.fixture(params=[wait_in_triggerer, wait_in_worker], ids=["triggerer", "worker"])
def wait(request, monkeypatch):
    """``wait(look, ...)`` waits to the end.

    :return: the world, the reason of the end and its message.
    """

    def do(look, *, deadline=DAY, poll_interval=60.0, spent=None):
        world = World(look)
        rule = WakeRule(BEGAN + deadline)
        return world, *request.param(world, monkeypatch, rule, poll_interval, spent)

    return do


def running(done, status=JobStatus.IN_PROGRESS, raw="in_progress", usage=None):
    return Job("job-1", status, raw, counts=RequestCounts(ROWS, done, 0), usage=usage)


def ended():
    return running(ROWS, JobStatus.COMPLETED)


def gaps(times):
    return [later - earlier for earlier, later in itertools.pairwise(times)]


STUMBLES = [
    ProviderError("HTTP 500", status=500),
    ProviderError("the connection was cut"),
    RateLimitedError("HTTP 429", retry_after=200.0),
    RateLimitedError("HTTP 429"),
    AuthenticationError("HTTP 401: a gateway that stumbles"),
    NotFoundError("HTTP 404: not there yet"),
]


def test_a_day_with_stumbles(wait):
    """20 hours, each seventh look fails in another way: all are borne, each is told, and the end is seen."""
    looks, stumbles = [], []

    def look(passed, _):
        looks.append(passed)
        if passed >= 20 * 3600:
            return ended()
        if len(looks) % 7 == 0:
            stumbles.append(passed)
            return STUMBLES[len(looks) // 7 % len(STUMBLES)]
        return running(int(ROWS * passed / (20 * 3600)))

    world, reason, _ = wait(look)
    assert reason == "jobs_ended"
    assert 20 * 3600 <= world.passed < 20 * 3600 + 300
    failed = len(stumbles)
    assert failed > 100
    assert len(world.warnings) == failed
    # A day is some 1,200 looks, not more; each pause is at least an ordinary one.
    assert 800 < len(looks) <= 20 * 60 + 2
    assert min(gaps(world.looks)) >= 59.9
    print(f"\n{len(looks)} looks, {failed} of them failed, {len(world.lines)} lines of progress")


def test_lines_at_sensible_intervals(wait):
    """Asked every second: at most a line in ten seconds with news, one in ten minutes without."""

    def look(passed, _):
        if passed < 3600:
            return running(int(passed))
        return running(3600) if passed < 4 * 3600 else ended()

    world, _, _ = wait(look, poll_interval=1.0)
    times = [at for at, _ in world.lines]
    busy = [at for at in times if at < 3600]
    quiet = [at for at in times if 3700 <= at < 4 * 3600]
    assert 10 <= min(gaps(busy)) <= max(gaps(busy)) < 13
    assert 600 <= min(gaps(quiet)) <= max(gaps(quiet)) < 603
    assert 250 < len(busy) <= 360
    assert len(quiet) in (17, 18)


def test_what_a_line_says(wait):
    """Done and total, failures, statuses, rate, time left, tokens where the provider counts them, and the cost."""

    def look(passed, _):
        counts = RequestCounts(ROWS, int(passed) * 2, 7)
        usage = Usage(input_tokens=int(passed) * 100, output_tokens=int(passed) * 10)
        return Job("job-1", JobStatus.IN_PROGRESS, counts=counts, usage=usage) if passed < 7200 else ended()

    world, _, _ = wait(look, spent=1.25)
    at, line = world.lines[50]
    said = re.fullmatch(
        r"([\d,]+)/40,000 requests done \((.*)%\), 7 failed; 2\.0 requests/s, about (.*) left; "
        r"jobs: 1 in_progress; ([\d,]+) input and [\d,]+ output tokens; cost so far 1\.2500 USD",
        line,
    )
    assert said, line
    assert int(said[1].replace(",", "")) == int(at) * 2 + 7
    assert int(said[4].replace(",", "")) == int(at) * 100
    print(f"\n{line}")


def test_a_slow_job_has_a_rate_too(wait):
    """Seven rows in an hour are 7 an hour, not 0.0 in a second; an unknown cost is not told as nothing."""
    world, _, _ = wait(lambda passed, _: running(int(passed / 514)) if passed < DAY / 2 else ended())
    _, line = world.lines[-2]
    assert re.search(r"; (7\.\d requests/h|0\.1 requests/min), about [\d.]+ h left; jobs: 1 in_progress$", line), line
    assert not any("USD" in line for _, line in world.lines)


def test_an_outage_is_borne_with_longer_pauses(wait):
    """Three hours of 503: pauses double up to ten minutes and a quarter, then looks are regular again."""

    def look(passed, _):
        if 3600 <= passed < 4 * 3600:
            return ProviderError("HTTP 503", status=503)
        return running(1) if passed < 6 * 3600 else ended()

    world, reason, _ = wait(look)
    assert reason == "jobs_ended"
    pauses = gaps([at for at in world.looks if 3600 <= at < 4 * 3600])
    for number, pause in enumerate(pauses, start=1):
        base = min(MAX_BACKOFF_SECONDS, 60 * 2.0**number)
        assert base <= pause + 0.01
        assert pause <= base * (1 + JITTER_SHARE) + 0.01
    assert len(pauses) < 25
    assert max(gaps([at for at in world.looks if at >= 4 * 3600 + 800])) < 62


def test_waiting_runs_do_not_come_back_in_step(wait):
    """After the same outage ten waits look again at ten different times."""

    def look(passed, _):
        return ProviderError("HTTP 503") if passed < 1800 else ended()

    assert len({round(wait(look)[0].passed, 3) for _ in range(10)}) > 5


def test_an_outage_without_end_is_given_up(wait):
    """After 30 failures in a row, within hours; the message says that the jobs were left alone."""
    world, reason, message = wait(lambda *_: ProviderError("HTTP 503 from the gateway"))
    assert reason == "polling_failed"
    assert len(world.looks) == TRANSIENT_FAILURES
    assert world.passed < 8 * 3600
    assert message.startswith(
        "30 status requests in a row failed; the jobs were not cancelled: ProviderError: HTTP 503"
    )


@pytest.mark.parametrize(
    "error",
    [AuthenticationError("HTTP 401: key"), AuthenticationError("HTTP 403: right"), NotFoundError("HTTP 404: job")],
    ids=["401", "403", "404"],
)
def test_a_refusal_is_believed_when_it_is_repeated(wait, error):
    """Three in a row, told apart in the message; the connection is read anew each time."""
    world, reason, message = wait(lambda *_: error)
    # What is not there is one job of several: whoever collects decides when to believe it (A3).
    assert reason == ("look_again" if isinstance(error, NotFoundError) else "polling_failed")
    assert len(world.looks) == PERMANENT_FAILURES
    assert f"{type(error).__name__}: {error}" in message
    assert world.reads >= PERMANENT_FAILURES


def test_a_refusal_after_an_outage_is_not_believed_at_once(wait):
    """Failures of another kind do not count towards it: 500, 500, 404 is one 404."""
    script = [ProviderError("500"), ProviderError("500"), NotFoundError("404"), NotFoundError("404")]
    world, reason, _ = wait(lambda *_: script.pop(0) if script else ended())
    assert reason == "jobs_ended"
    assert len(world.looks) == 5


def test_a_rotated_key_is_read_anew(wait):
    """The key is changed in mid-wait: one refused look, then the wait goes on with the new one."""

    def look(passed, read):
        if passed >= 7200:
            return ended()
        return AuthenticationError("HTTP 401") if passed >= 3600 and read == 1 else running(1)

    world, reason, _ = wait(look)
    assert (reason, world.reads) == ("jobs_ended", 2)
    assert len(world.warnings) == 1


def test_an_unknown_status_is_told_once_and_waited_for(wait):
    """Never a success and never a failure: each new word is warned of once, and the deadline ends it."""

    def look(passed, _):
        return running(0, JobStatus.UNKNOWN, "awaiting_moonrise" if passed < DAY / 2 else "awaiting_sunrise")

    world, reason, _ = wait(look)
    assert reason == "deadline"
    assert world.passed == pytest.approx(DAY, abs=2)
    words = [text for _, text in world.warnings]
    assert len(words) == 2
    assert "'awaiting_moonrise'" in words[0]
    assert "'awaiting_sunrise'" in words[1]


@pytest.mark.parametrize(("asked", "least"), [(900.0, 900.0), (5.0, 120.0), (10 * DAY, LONGEST_SECONDS), (None, 120.0)])
def test_retry_after(wait, asked, least):
    """What the provider asks for is the least; a day is not believed, and the ordinary back-off holds below it."""
    script = [RateLimitedError("429", retry_after=asked)]
    world, reason, _ = wait(lambda *_: script.pop(0) if script else ended())
    assert reason == "jobs_ended"
    (pause,) = gaps(world.looks)
    assert least - 0.01 <= pause <= least * (1 + JITTER_SHARE) + 0.01


def test_failures_do_not_make_a_patient_wait_impatient(wait):
    """Who looks every half hour looks no sooner because looks fail."""
    script = [ProviderError("500")] * 3
    world, _, _ = wait(lambda *_: script.pop(0) if script else ended(), poll_interval=1800.0)
    assert min(gaps(world.looks)) >= 1799.9


def test_the_deadline_holds_in_an_outage(wait):
    """Absolute: no pause reaches over it."""
    world, reason, _ = wait(lambda *_: ProviderError("503"), deadline=3000.0)
    assert reason == "deadline"
    assert world.passed == pytest.approx(3000, abs=2)
