"""Messages about nothing, one thing and several: "1 row", never "1 rows"; what is zero is left out."""

from __future__ import annotations

import pytest

from airflow_batch_provider.core.counts import Usage, counted
from airflow_batch_provider.core.doubts import doubt_of
from airflow_batch_provider.core.errors import ReconciliationError, RowsFailedError
from airflow_batch_provider.core.progress import summary_line, unusable_line
from airflow_batch_provider.core.reconciling import Books, check_equation, judge
from airflow_batch_provider.core.records import OUTCOMES, Job, JobStatus, RequestCounts
from airflow_batch_provider.core.summary import RunSummary
from airflow_batch_provider.run.show import table

ROWS = {0: "0 rows", 1: "1 row", 2: "2 rows", 1_200: "1,200 rows"}


def summary(**counts):
    outcomes = {name: counts.get(name, 0) for name in OUTCOMES}
    return RunSummary("k", "p", sum(counts.values()), outcomes, 0, 1, Usage(), 0.0, {}, (), (), 0, 1)


@pytest.mark.parametrize(("number", "rows"), ROWS.items())
def test_a_count(number, rows):
    """The one place where a number and its noun are put together."""
    assert counted(number, "row") == rows


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({}, "0 rows: no rows were sent;"),
        ({"succeeded": 1}, "1 row: 1 succeeded;"),
        ({"succeeded": 2, "failed": 1}, "3 rows: 2 succeeded, 1 failed;"),
    ],
)
def test_the_last_line_of_a_run(counts, line):
    """Outcomes that no row had are left out."""
    assert summary_line(summary(**counts)).startswith(line)


@pytest.mark.parametrize(("number", "rows"), [(1, "1 succeeded row: 1 cut"), (2, "2 succeeded rows: 1 cut")])
def test_unusable_answers(number, rows):
    """Nothing is said where all can be used."""
    assert unusable_line(summary(succeeded=number)) is None
    became = summary(succeeded=number)
    became.answers["cut"] = 1
    assert rows in str(unusable_line(became))


@pytest.mark.parametrize(
    ("number", "rows"), [(1, "1 of 1 row did"), (2, "2 of 2 rows did"), (1_200, "1,200 of 1,200 r")]
)
def test_a_run_that_failed(number, rows):
    """The first words of the error."""
    with pytest.raises(RowsFailedError, match=f"^{rows}"):
        judge(summary(failed=number), 0.0)


@pytest.mark.parametrize(("number", "rows"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows")])
def test_counts_that_do_not_match(number, rows):
    """A bug is reported in words that are right, too."""
    with pytest.raises(ReconciliationError, match=f"^{rows} went in, but 3 succeeded"):
        check_equation(number, {"succeeded": 3})


@pytest.mark.parametrize(
    ("completed", "rows", "what"),
    [
        (1, 1, "it counts 1 answer, but 0 were found"),
        (2, 2, "it counts 2 answers, but 0 were found"),
        (0, 1, "it is completed, but only 0 of 1 row had an answer"),
        (0, 2, "it is completed, but only 0 of 2 rows had an answer"),
    ],
)
def test_answers_that_are_not_there(completed, rows, what):
    """What a job counts, and what was read of it."""
    job = Job("j", JobStatus.COMPLETED, counts=RequestCounts(rows, completed, 0))
    assert doubt_of(job, Books(f"r{number}" for number in range(rows)), ()).what == what


@pytest.mark.parametrize(("number", "rows"), [(0, "0 rows by c"), (1, "1 row by c"), (2, "2 rows by c")])
def test_show(number, rows):
    """The first line counts the rows, the total leaves out what no row became."""
    usage = {"input_tokens": 0, "output_tokens": 0}
    became = {"outcomes": {"succeeded": number, "failed": 0}, "usage": usage}
    shown = table(
        {
            "run_path": "p",
            "rows": number,
            "conn_id": "c",
            "run_key": "k",
            "rounds": [],
            "summary": became,
            "cost_usd": 0.0,
            "next": "nothing",
        }
    )
    assert rows in shown
    assert f"total: {f'{number} succeeded' if number else 'no rows'};" in shown
    assert " 0 " not in shown.replace("; 0 input and 0 output", "").replace(": 0 rows by", "")
