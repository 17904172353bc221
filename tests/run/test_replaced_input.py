"""X20: what is sent is what was checked, also when the file is replaced between the two readings."""

import json

import pytest

from airflow_batch_provider.core.errors import RunConflictError
from airflow_batch_provider.run import staging
from tests.run.benching import line

BEFORE = [line(number, max_tokens=10) for number in range(4)]


def changed(number, **body):
    return [*BEFORE[:number], {**BEFORE[number], "body": {**BEFORE[number]["body"], **body}}, *BEFORE[number + 1 :]]


@pytest.mark.parametrize(
    "after",
    [
        changed(1, max_tokens=100_000),
        changed(3, messages=[{"role": "user", "content": "say X"}]),
        [*BEFORE[:2], BEFORE[1], BEFORE[3]],
        [*BEFORE, line(4)],
        BEFORE[:3],
        [*BEFORE[:2], {"custom_id": "row-2"}, BEFORE[3]],
        BEFORE[::-1],
    ],
    ids=["a dearer row", "another prompt", "an id twice", "a row more", "a row less", "a bad row", "another order"],
)
def test_a_file_replaced_after_it_was_checked_is_not_sent(bench, monkeypatch, after):
    bench.write(BEFORE)
    opened = []

    def file_source(path):
        real = source_before(path)

        def lines():
            if opened:
                bench.write(after)
            opened.append(path)
            return real()

        return lines

    source_before = staging.file_source
    monkeypatch.setattr(staging, "file_source", file_source)
    with pytest.raises(RunConflictError, match=r"changed between checking it and cutting it.*nothing was sent"):
        bench.finish()
    assert bench.fake.requests == []
    assert len(opened) == 2


def test_the_replaced_file_is_sent_by_a_try_that_may_begin_anew(bench, monkeypatch):
    bench.write(BEFORE)
    source_before = staging.file_source
    opened = []

    def file_source(path):
        real = source_before(path)

        def lines():
            if len(opened) == 1:
                bench.write(changed(1, max_tokens=20))
            opened.append(path)
            return real()

        return lines

    monkeypatch.setattr(staging, "file_source", file_source)
    with pytest.raises(RunConflictError):
        bench.finish()
    assert bench.finish(first_try=False, on_changed_input="restart").outcomes["succeeded"] == 4
    assert len(bench.fake.batches) == 1
    sent = [json.loads(raw) for raw in (bench.path / "input/r0-00000.jsonl").read_bytes().splitlines()]
    assert [one["body"]["max_tokens"] for one in sent] == [10, 20, 10, 10]
