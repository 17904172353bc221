"""Answers whose id is gone: paid, of nobody knows which row. Never sent again by themselves, never counted as answered,
always said."""

import json
from dataclasses import replace

import pytest

from airflow_batch_provider.core.errors import LostJobError
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.testing import FakeProvider
from airflow_batch_provider.testing.shell import Shell
from tests.facts import LISTS
from tests.run.benching import Bench, line


def spoil(monkeypatch, change):
    """From here on every download is what ``change`` makes of it."""
    asked = Shell.__call__

    async def call(self, scope, receive, send):
        parts = []

        async def telling(message):
            if not scope.get("path", "").endswith("/content") or message.get("status", 200) >= 400:
                await send(message)
            elif message["type"] == "http.response.start":
                parts.append(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    data = change(b"".join(parts[1:]))
                    headers = [one for one in parts[0]["headers"] if one[0].lower() != b"content-length"]
                    headers.append((b"content-length", str(len(data)).encode()))
                    await send({**parts[0], "headers": headers})
                    await send({"type": "http.response.body", "body": data})

        await asked(self, scope, receive, telling)

    monkeypatch.setattr(Shell, "__call__", call)


def by_line(change):
    return lambda data: b"".join(change(json.loads(one)) + b"\n" for one in data.split(b"\n") if one)


def renamed(**fields):
    return by_line(lambda one: json.dumps({**one, **(fields if one["custom_id"] == "row-1" else {})}).encode())


SHAPES = {
    "the id is null": (renamed(custom_id=None), 3),
    "the id is a list": (renamed(custom_id=["row-1"]), 3),
    "no line has one": (by_line(lambda one: json.dumps({**one, "custom_id": None}).encode()), 0),
    "one line for all": (lambda data: b"[" + data.rstrip(b"\n").replace(b"\n", b",") + b"]\n", 0),
    "cut in the middle": (lambda data: data.replace(b'"custom_id":"row-1"', b'"custom_id":"ro\n'), 3),
}


def bench_of(tmp_path, fake):
    bench = Bench(tmp_path, fake)
    bench.write([line(number, max_tokens=20) for number in range(4)])
    return bench


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("counts", [True, False])
def test_answers_without_an_id_are_not_sent_again(tmp_path, monkeypatch, shape, counts):
    """A1, B11: one job, no second one; the rows are missing, the cost is unknown, and the message says why."""
    change, answered = SHAPES[shape]
    spoil(monkeypatch, change)
    with FakeProvider() as fake:
        fake.faults.lying_counts = not counts
        bench = bench_of(tmp_path, fake)
        summary = bench.finish()
        assert len(fake.batches) == 1
        assert summary.outcomes["succeeded"] == answered
        assert summary.outcomes["missing"] == 4 - answered
        assert summary.cost_usd is None
        assert [job["rows"] for job in summary.lost] == [4 - answered]
        assert "without a readable custom_id" in summary.lost[0]["message"]
        with pytest.raises(LostJobError, match="without a readable custom_id"):
            judge(summary, 0.0)


def test_they_are_sent_again_where_the_author_allows_it(tmp_path, monkeypatch):
    """A3: on_lost_job="resubmit" sends what is missing, and nothing else, in a new job."""
    change, _ = SHAPES["the id is null"]
    with FakeProvider() as fake:
        first = []

        def change_first(data):
            first.append(data)
            return change(data) if data == first[0] else data

        spoil(monkeypatch, change_first)
        summary = bench_of(tmp_path, fake).finish(on_lost_job="resubmit")
        assert summary.outcomes["succeeded"] == 4
        assert len(fake.batches) == 2


@pytest.mark.parametrize("counted_as_failed", [True, False])
def test_errors_without_an_id_are_no_answers(tmp_path, monkeypatch, counted_as_failed):
    """B11: Portkey loses the id of a refused row; nothing was paid, so it is sent again. Where the job counts every row
    as completed, it may have been: then it is lost, for the author to decide."""
    bare = b'{"errorCode": 400, "errorMessage": "no"}'
    first = []

    def change(data):
        first.append(data)
        if data != first[0]:
            return data
        return by_line(lambda one: bare if one["custom_id"] == "row-1" else json.dumps(one).encode())(data)

    spoil(monkeypatch, change)
    with FakeProvider() as fake:
        bench = bench_of(tmp_path, fake)
        retrieve = bench.backend.retrieve

        def counting(job_id):
            job = retrieve(job_id)
            done = job.counts.completed == 4 and counted_as_failed
            return replace(job, counts=replace(job.counts, completed=3, failed=1)) if done else job

        monkeypatch.setattr(bench.backend, "retrieve", counting)
        summary = bench.finish()
        assert (summary.outcomes["succeeded"], len(fake.batches)) == ((4, 2) if counted_as_failed else (3, 1))
        assert [job["rows"] for job in summary.lost] == ([] if counted_as_failed else [1])


UNREADABLE = {
    "null": {"status_code": 200, "body": None},
    "a text": {"status_code": 200, "body": "hello"},
    "a list": {"status_code": 200, "body": []},
    "a number": {"status_code": 200, "body": 5},
    "no body": {"status_code": 200},
    "no response": None,
    "a response that is a list": [],
    "neither status nor body": {},
}


@pytest.mark.parametrize("response", UNREADABLE.values(), ids=UNREADABLE)
def test_an_answer_without_a_body(tmp_path, monkeypatch, response):
    """X14: the row is invalid, its reason shows the line, it is not sent again, and what it cost is unknown."""
    spoil(monkeypatch, renamed(response=response, error=None))
    with FakeProvider() as fake:
        bench = bench_of(tmp_path, fake)
        bench.backend.price_list = LISTS["openai"]
        bench.write([line(number, "gpt-4o-mini", max_tokens=20) for number in range(4)])
        summary = bench.finish()
        assert (summary.outcomes["succeeded"], summary.outcomes["invalid"], len(fake.batches)) == (3, 1, 1)
        assert summary.cost_usd is None
        assert "without a count of tokens" in summary.cost_unknown
        [reason] = summary.reasons
        assert reason.startswith("unreadable_answer: The provider's line has neither answer nor error: {")


NOTHING = [None, "", "null", "None", " nil ", "undefined", False, {}, [], [None], {"code": None}, {"code": 200}]


@pytest.mark.parametrize("error", [*NOTHING, {"code": "200", "message": "OK"}, {"message": "null"}])
def test_an_error_that_says_nothing_is_none(tmp_path, monkeypatch, error):
    """B8: a paid answer beside "no error" in any spelling is an answer."""
    spoil(monkeypatch, renamed(error=error))
    with FakeProvider() as fake:
        summary = bench_of(tmp_path, fake).finish()
        assert (summary.outcomes["succeeded"], len(fake.batches)) == (4, 1)


def test_an_answer_about_the_job_that_leaves_out_its_id(tmp_path, monkeypatch):
    """X14: the job is known by the id that was recorded; else it is in no summary, and its cost is 0."""
    with FakeProvider() as fake:
        bench = bench_of(tmp_path, fake)
        bench.backend.price_list = LISTS["openai"]
        bench.write([line(number, "gpt-4o-mini", max_tokens=20) for number in range(4)])
        retrieve = bench.backend.retrieve
        monkeypatch.setattr(bench.backend, "retrieve", lambda job_id: replace(retrieve(job_id), id=""))
        summary = bench.finish()
        assert [job["id"] for job in summary.jobs] == [fake.batches[0]["id"]]
        assert summary.cost_usd > 0


def test_answers_in_one_list_of_many_lines(tmp_path, monkeypatch):
    """A1: the brackets and commas of a JSON list take no answer away."""
    spoil(monkeypatch, lambda data: b"[\n" + data.rstrip(b"\n").replace(b"\n", b",\n") + b"\n]\n")
    with FakeProvider() as fake:
        summary = bench_of(tmp_path, fake).finish()
        assert (summary.outcomes["succeeded"], len(fake.batches)) == (4, 1)


@pytest.mark.parametrize("size", [-1, -40, 60])
def test_a_torn_line_holds_up_its_own_row_alone(tmp_path, monkeypatch, size):
    """X4: a line that is cut behind its id is an unreadable answer of that row; the rows that ran out of time are sent
    again, the torn one is not."""
    torn = []

    def change(data):
        if not torn and b'"row-0"' in data:
            torn.append(data)
            lines = data.split(b"\n")
            cut = next(number for number, one in enumerate(lines) if b'"row-0"' in one)
            at = lines[cut].index(b'"row-0"') + size if size > 0 else size
            lines[cut] = lines[cut][:at]
            return b"\n".join(lines)
        return data

    spoil(monkeypatch, change)
    with FakeProvider() as fake:
        fake.faults.expire_after_rows = 2
        fake.faults.jobs = 1
        bench = bench_of(tmp_path, fake)
        summary = bench.finish()
        assert (summary.outcomes["succeeded"], summary.outcomes["invalid"]) == (3, 1)
        assert [job["rows"] for job in summary.jobs] == [4, 2]
        assert summary.lost == ()
        assert summary.cost_usd is None
        [error] = bench.failed()
        assert (error["custom_id"], error["error"]["code"]) == ("row-0", "unreadable_answer")


def test_failed_rows_that_are_counted_as_completed(tmp_path, monkeypatch):
    """A1: vllm-project/aibrix#2253 never counts a row as failed; its error stands for one that is counted as completed,
    so that no other row of a job that was stopped counts as lost."""
    with FakeProvider() as fake:
        fake.faults.fail_rows = {"row-0": 400}
        fake.faults.cancel_after_rows = 2
        fake.faults.silent_unrun = True
        fake.faults.jobs = 1
        bench = bench_of(tmp_path, fake)
        retrieve = bench.backend.retrieve

        def counting(job_id):
            job = retrieve(job_id)
            done = (job.counts.completed or 0) + (job.counts.failed or 0)
            return replace(job, counts=replace(job.counts, completed=done, failed=0))

        monkeypatch.setattr(bench.backend, "retrieve", counting)
        summary = bench.finish()
        outcomes = [summary.outcomes[name] for name in ("succeeded", "failed", "cancelled", "missing")]
        assert outcomes == [1, 1, 2, 0]
        assert summary.lost == ()


def written_raw(text):
    """Every answer with a line feed in it that the server does not escape."""

    def change(data):
        lines = []
        for raw in data.split(b"\n")[:-1]:
            one = json.loads(raw)
            one["response"]["body"]["choices"][0]["message"]["content"] = text
            lines.append(json.dumps(one).encode().replace(b"\\n", b"\n"))
        return b"\n".join(lines)

    return change


@pytest.mark.parametrize(
    "change",
    [written_raw("a\nb"), written_raw("{\n}\n"), by_line(lambda one: json.dumps(one, indent=1).encode())],
    ids=["line feeds", "code", "indented"],
)
def test_lines_that_are_torn_are_read_whole(tmp_path, monkeypatch, change):
    """Before: no answer was readable, all were paid; where the last line was torn, the download was taken for cut."""
    spoil(monkeypatch, change)
    with FakeProvider() as fake:
        bench = bench_of(tmp_path, fake)
        bench.write([line(number) for number in range(4)])
        summary = bench.finish()
        assert (summary.outcomes["succeeded"], len(fake.batches)) == (4, 1)


def test_a_torn_row_puts_no_other_in_doubt(tmp_path, monkeypatch):
    """One row is torn beyond repair; another has no line, and the job itself counts one that failed."""

    def change(data):
        kept = []
        for raw in data.split(b"\n")[:-1]:
            custom_id = json.loads(raw)["custom_id"]
            if custom_id == "row-1":
                kept += [raw[:-30], b"lost", raw[-30:-2]]
            elif custom_id != "row-2":
                kept.append(raw)
        return b"\n".join([*kept, b""])

    spoil(monkeypatch, change)
    with FakeProvider() as fake:
        bench = bench_of(tmp_path, fake)
        bench.write([line(number) for number in range(4)])
        retrieve = bench.backend.retrieve

        def counted(job_id):
            job = retrieve(job_id)
            return replace(job, counts=replace(job.counts, completed=job.counts.total - 1, failed=1))

        bench.backend.retrieve = counted
        summary = bench.finish(rounds=1)
        assert (summary.outcomes["succeeded"], summary.outcomes["invalid"], summary.outcomes["missing"]) == (2, 1, 1)
        assert summary.lost == ()
