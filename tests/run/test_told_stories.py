"""Stories of :mod:`tests.run.test_stateful` that once ended badly, each as short as it could be made."""

import pytest

from airflow_batch_provider.core.records import JobStatus
from tests.run.test_stateful import Story


def tried(*faults):
    return lambda story: story.new_try(faults=list(faults), far=100.0, checked=False)


def resumed(*faults):
    return lambda story: story.resume(faults=list(faults), far=100.0)


def lost(story):
    story.the_directory_is_lost()


def part_lost(*kinds):
    return lambda story: story.a_part_of_the_directory_is_lost(kinds=set(kinds))


def later(story):
    story.time_passes(seconds=61.0)


def long_after(story):
    story.time_passes(seconds=1000.0)


def far_after(story):
    story.time_passes(seconds=25_000.0)


def checked(story):
    story.new_try(faults=[], far=100.0, checked=True)


def expired(story):
    story.world.end(story.world.live()[0], JobStatus.EXPIRED, ["none"])
    story.world.end(story.world.live()[0], JobStatus.COMPLETED)


def errors_first(status, *answers):
    def ends(story):
        story.world.end(story.world.live()[0], status, answers, late=("errors", 400.0))

    return ends


def over_quota(story):
    first, second = story.world.live()
    second.error = "token_limit_exceeded"
    story.world.end(first, JobStatus.EXPIRED, ["none"])
    story.world.end(second, JobStatus.FAILED, ["bad"])


def in_part(story):
    """The first line to be read is an expired row's, the answer beside it comes later."""
    story.world.end(story.world.live()[0], JobStatus.COMPLETED)
    story.a_job_ends(
        which=0,
        status=JobStatus.PARTIALLY_COMPLETED,
        answers=["good", "expired"],
        noise=["repeated"],
        late=("part", 100.0),
        error="invalid",
        seed=2,
    )


def errors_of_all(story):
    """Each row has an error's line, and the answer of one of them comes later."""
    story.a_job_ends(
        which=1,
        status=JobStatus.COMPLETED,
        answers=["busy", "good"],
        noise=["repeated", "worse"],
        late=("errors", 100.0),
        error="invalid",
        seed=0,
    )


def ended(which, *answers):
    def ends(story):
        live = story.world.live()
        story.world.end(live[which % len(live)], JobStatus.COMPLETED, answers)

    return ends


def theirs(story):
    story.another_airflow(faults=[], far=100.0)


def nameless_errors_first(story):
    """Errors without an id as many as rows, and their answers come when everybody believes that they never will."""
    story.a_job_ends(
        which=1,
        status=JobStatus.COMPLETED,
        answers=["good"],
        noise=["nameless", "nameless"],
        late=("errors", 5000.0),
        error="invalid",
        seed=98,
    )


def killed(story):
    story.killed_by_a_person(faults=[])


REPEATABLE = {"repeatable": True}
LATE = ("create", 0, "late")
TOLD = {
    "the repeat of a lost create meets 429": (REPEATABLE, [tried(LATE, ("create", 0, "429")), later, resumed()]),
    "the repeat of a lost create meets 401": (REPEATABLE, [tried(LATE, ("create", 0, "401")), later, tried()]),
    "the task is killed before it repeats": (REPEATABLE, [tried(LATE, ("find", 0, "stop")), later, tried()]),
    "a surplus job cannot be cancelled yet": ({}, [tried(("create", 0, "twice"), ("cancel", 0, "down")), tried()]),
    "killed while a surplus job is cancelled": ({}, [tried(("create", 0, "twice"), ("cancel", 0, "killed")), tried()]),
    "the directory is lost after a 429": ({}, [tried(("create", 0, "429")), later, resumed(), lost, tried()]),
    "the directory is lost after a resubmit": (
        {},
        [tried(("create", 0, "killed")), long_after, checked, lost, tried()],
    ),
    "the directory is lost, then killed": ({}, [tried(), lost, tried(("written", 4, "killed")), tried()]),
    "the directory is lost in round 1": ({}, [tried(), expired, resumed(), lost, tried(), resumed()]),
    "another process plans the next round meanwhile": (
        {},
        [tried(), expired, resumed(("outputs", 0, "another"))],
    ),
    "a full queue leaves nothing to ask": ({}, [tried(), over_quota, resumed()]),
    "only the doubt in another directory's job is left": (
        {},
        [tried(), lost, tried(), resumed(("retrieve", 0, "404")), part_lost("intent", "job"), checked, later, tried()],
    ),
    "rows failed in one of two jobs of the same bytes": (
        {},
        [tried(), lost, ended(1, "good"), theirs, ended(1, "busy"), tried()],
    ),
    "rows failed in the older of two jobs of the same bytes": (
        {},
        [theirs, tried(), lost, tried(), ended(0, "busy"), ended(0, "busy"), resumed()],
    ),
    "the second of two jobs of the same bytes vanishes": (
        {},
        [theirs, tried(), lost, tried(), ended(0, "busy", "good"), resumed(("retrieve", 1, "404")), resumed()],
    ),
    "answers come later than as many errors without an id": (
        {"complete": False},
        [tried(), nameless_errors_first, resumed(), long_after, resumed(), long_after, resumed()],
    ),
    "a lost job is found again after the rows of another were sent again": (
        {},
        [
            tried(),
            ended(1, "good"),
            *[resumed(("outputs", 0, "404")), long_after] * 3,
            ended(0, "busy"),
            resumed(),
        ],
    ),
    "a lost job is found again with a row that has no line": (
        {"positional": True},
        [
            tried(),
            ended(1, "good", "none"),
            *[resumed(("outputs", 0, "404")), long_after] * 3,
            ended(0, "good"),
            resumed(),
            tried(),
        ],
    ),
    "an answer comes later than an error": ({}, [tried(), in_part, tried()]),
    "an answer comes later than an error of the same row": ({}, [tried(), errors_of_all, tried()]),
    "given up at the deadline, then stopped": (
        {"on_deadline": "cancel", "in_flight": 1},
        [tried(), far_after, killed, checked],
    ),
    "expired rows are there before the answers": (
        {},
        [tried(), errors_first(JobStatus.EXPIRED, "expired", "good"), resumed(), long_after, resumed()],
    ),
    "refused rows are there before the answers": (
        {},
        [
            tried(),
            errors_first(JobStatus.PARTIALLY_COMPLETED, "good", "bad", "expired"),
            resumed(),
            long_after,
            resumed(),
        ],
    ),
    "refused rows of a stopped job are there before the answers": (
        {},
        [tried(), errors_first(JobStatus.CANCELLED, "bad", "good"), resumed(), long_after, checked],
    ),
    "another process repeats, the first is refused": (REPEATABLE, [tried(("create", 0, "another 429")), killed]),
}


@pytest.mark.parametrize("name", TOLD)
def test_stories_that_once_ended_badly(name):
    """The same laws hold in stories that broke one of them before."""
    world, steps = TOLD[name]
    story = Story()
    try:
        story.a_world(**{"complete": True, "repeatable": False, "min_rows": 1, "skew": 0.0, "resubmit": False, **world})
        for step in steps:
            step(story)
            story.no_law_is_broken()
    finally:
        story.teardown()
