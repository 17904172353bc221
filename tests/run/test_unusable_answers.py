"""A16 in a run: a run of empty answers is not silently green."""

import json

import pytest

from airflow_batch_provider.core.errors import RowsFailedError
from airflow_batch_provider.core.progress import summary_line, unusable_line
from airflow_batch_provider.core.reconciling import judge
from tests.run.benching import line


@pytest.fixture
def emptied(bench, monkeypatch):
    """A provider whose model spends all its tokens on reasoning (covan#112)."""
    outputs = type(bench.backend).outputs

    def spent(self, job):
        for raw in b"".join(outputs(self, job)).splitlines():
            one = json.loads(raw)
            choice = one["response"]["body"]["choices"][0]
            if one["custom_id"] != "row-0":
                choice["message"]["content"] = ""
                choice["finish_reason"] = "length"
            yield json.dumps(one).encode() + b"\n"

    monkeypatch.setattr(type(bench.backend), "outputs", spent)
    bench.write([line(number) for number in range(5)])
    return bench


def test_they_are_counted_and_reported(emptied):
    summary = emptied.finish()
    assert summary.outcomes["succeeded"] == 5
    assert summary.answers == {"empty": 4, "cut": 4, "refused": 0, "filtered": 0, "tool_calls": 0, "media": 0}
    assert (summary.flat()["empty"], summary.flat()["cut"]) == (4, 4)
    assert json.loads((emptied.path / "summary.json").read_text())["answers"]["empty"] == 4
    assert "5 succeeded (of these 4 empty, 4 cut off)" in summary_line(summary)
    assert "raise max_tokens" in str(unusable_line(summary)).lower()


def test_they_fail_where_the_author_says_so(emptied):
    summary = emptied.finish(on_unusable="invalid")
    assert (summary.outcomes["succeeded"], summary.outcomes["invalid"], summary.retryable) == (1, 4, 0)
    assert summary.usage.output_tokens > 0
    with pytest.raises(RowsFailedError, match="4 x cut_off: The answer was cut off"):
        judge(summary, 0.5)
    judge(summary, 0.8)
    assert {one["error"]["code"] for one in emptied.failed()} == {"cut_off"}
    assert len(emptied.fake.batches) == 1
    kept = emptied.results()["row-3"]
    assert kept["response"]["body"]["choices"][0]["finish_reason"] == "length"
