"""The laws of reconciling: whatever a provider makes of its output, every row ends up in the books once."""

import collections
import json
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.records import OUTCOMES, Job, JobError, JobStatus, Limits, ModelRules, Shard
from airflow_batch_provider.core.redaction import Redactor
from airflow_batch_provider.dialects.openai import OpenAIFormat
from airflow_batch_provider.run.collect import collect
from airflow_batch_provider.run.storage import RunDirectory

SETTINGS = settings(deadline=None, derandomize=True, max_examples=150)
URL = "/v1/chat/completions"
IDS = ["a", "b", 'quoted "c"', "ü\u2028d", "e" * 70]
STRANGERS = ["A", "", " a", "a\n", "r0000000000", "[]"]
ENDS = [status for status in JobStatus if status.is_terminal]
MISSING = {
    JobStatus.EXPIRED: "expired",
    JobStatus.CANCELLED: "cancelled",
    JobStatus.FAILED: "failed",
    JobStatus.COMPLETED: "missing",
    JobStatus.PARTIALLY_COMPLETED: "missing",
}
# What a line says -> what its row becomes.
TELLS = {
    "succeeded": {"response": {"status_code": 200, "request_id": "q", "body": {"choices": []}}, "error": None},
    "invalid": {"response": None, "error": None},
    "failed": {"response": {"status_code": 400, "request_id": "q", "body": {"error": {}}}, "error": None},
    "expired": {"response": None, "error": {"code": "batch_expired", "message": "late"}},
    "cancelled": {"response": None, "error": {"code": "batch_cancelled", "message": "stopped"}},
}
BARE_ERROR = b'{"errorCode": 400, "errorMessage": "no"}'
JUNK = st.sampled_from(
    [
        b"{",
        b"null",
        b"[1]",
        b'"a"',
        b"\xff\xfe",
        b'{"response": {}, "custom_id": "a',
        b'{"custom_id": null, "response": null, "error": null}',
        b'{"custom_id": ["a"]}',
        BARE_ERROR,
        b"{}",
        b"[" * 3000,
    ]
)


@pytest.fixture(autouse=True)
def quick_disk():
    """What a disk does after power loss is not this test's matter, and costs most of its time."""
    with mock.patch("os.fsync"):
        yield


@st.composite
def lines(draw):
    """Output lines as ``(custom_id, what it tells)``, None and junk for a line that carries no id; any order."""
    told = st.tuples(st.sampled_from([*IDS, *STRANGERS]), st.sampled_from(sorted(TELLS)))
    junk = st.tuples(st.none(), JUNK)
    return draw(st.permutations(draw(st.lists(told | junk, max_size=25))))


class Outputs:
    """As much of a backend as collecting asks: what a job has put out, in chunks of any size."""

    limits = Limits(100, 10**6, "a test", (URL,))
    price_list = None
    models = ModelRules()
    redactor = Redactor(())

    def __init__(self, data, step):
        self.chunks = [data[at : at + step] for at in range(0, len(data), step)]

    def outputs(self, job):
        return iter(self.chunks)

    def line_format(self, model, endpoint):
        return OpenAIFormat(model, endpoint)


def written(line, number):
    custom_id, told = line
    if custom_id is None:
        return told
    return json.dumps({"id": f"line-{number}", "custom_id": custom_id, **TELLS[told]}, ensure_ascii=number % 2).encode()


def collected(folder, given_lines, status, step, ends):
    directory = RunDirectory(str(folder))
    shard = Shard(0, 0, len(IDS), 0, "m", URL)
    asked = [{"custom_id": one, "method": "POST", "url": URL, "body": {"model": "m"}} for one in IDS]
    directory.write(f"input/{shard.name}.jsonl", b"".join(json.dumps(one).encode() + b"\n" for one in asked))
    data = b"".join(written(line, number) + ends[number % len(ends)] for number, line in enumerate(given_lines))
    job = Job("j", status, errors=(JobError("bad"),))
    end = collect(directory, Outputs(data, step), shard, job, 0.0)
    parts = directory.read(f"collected/{shard.name}.jsonl").split(b"\n")
    assert parts.pop() == b""
    return end, [json.loads(part) for part in parts]


@SETTINGS
@given(
    lines(),
    st.sampled_from(ENDS),
    st.integers(1, 4000),
    st.lists(st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \t\n"]), min_size=1, max_size=3),
)
def test_any_output_gives_every_row_one_outcome(tmp_path_factory, given_lines, status, step, ends):
    """Lost, doubled, shuffled, foreign, nameless and broken lines: ids once and in request order, a success before any
    failure, else the first line told, else the reason of the job; and the lines that do not fit are counted. Where
    one of those has no id and may be an answer, a row without a line is missing, whatever became of the job."""
    end, results = collected(tmp_path_factory.getbasetemp() / "reconciling", given_lines, status, step, ends)
    assert [result["custom_id"] for result in results] == IDS
    mine = collections.defaultdict(list)
    for number, (custom_id, told) in enumerate(given_lines):
        mine[custom_id].append((told != "succeeded", number, told))
    outcomes = collections.Counter()
    unlabelled = any(junk != BARE_ERROR for *_, junk in mine.get(None, ()))
    for result in results:
        told = mine.get(result["custom_id"])
        if told is None:
            outcomes["missing" if unlabelled else MISSING[status]] += 1
            assert result["response"] is None
            assert result["error"]["message"]
        else:
            _, number, outcome = min(told)
            outcomes[outcome] += 1
            assert result["id"] == f"line-{number}"
    assert end.outcomes == outcomes
    assert sum(end.outcomes[name] for name in OUTCOMES if name in end.outcomes) == len(IDS)
    assert end.lines == {
        "received": len(given_lines),
        "duplicates": sum(len(mine[one]) - 1 for one in IDS if one in mine),
        "foreign": sum(len(mine[one]) for one in STRANGERS if one in mine),
        "nameless": len(mine.get(None, ())),
    }


@SETTINGS
@given(lines(), st.sampled_from(ENDS), st.integers(1, 4000))
def test_collecting_again_gives_the_same_file(tmp_path_factory, given_lines, status, step):
    """A process killed before its ledger entry collects once more: same bytes, same counts."""
    folder = tmp_path_factory.getbasetemp() / "again"
    assert collected(folder, given_lines, status, step, [b"\n"]) == collected(folder, given_lines, status, 7, [b"\n"])
