"""Whatever comes back, every row has exactly one outcome."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import ReconciliationError
from airflow_batch_provider.core.reconciling import Books, absence, check_equation
from airflow_batch_provider.core.records import BatchResult, JobError, JobStatus

IDS = ["a", "b", "c", "d"]
LINES = st.lists(
    st.tuples(st.sampled_from([*IDS, "foreign", None]), st.sampled_from(["succeeded", "failed"])), max_size=30
)


@given(LINES)
def test_any_lines_give_one_outcome_a_row(lines):
    """Lost, doubled, reordered, foreign and nameless lines: each row once, in request order, and success wins."""
    books = Books(IDS)
    for place, (custom_id, outcome) in enumerate(lines):
        books.enter(BatchResult(custom_id, outcome, b"{}"), place)
    places = list(books.places())
    assert [custom_id for custom_id, _ in places] == IDS
    for custom_id, place in places:
        mine = [line for line in lines if line[0] == custom_id]
        assert (place is None) == (not mine)
        if place is not None:
            assert lines[place][0] == custom_id
            assert lines[place][1] == ("succeeded" if ("succeeded" in {o for _, o in mine}) else "failed")
    taken = sum(place is not None for _, place in places)
    assert taken + books.duplicates + books.foreign + books.nameless == len(lines)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (JobStatus.EXPIRED, "batch_expired"),
        (JobStatus.CANCELLED, "batch_cancelled"),
        (JobStatus.FAILED, "batch_failed"),
        (JobStatus.COMPLETED, "missing"),
        (JobStatus.PARTIALLY_COMPLETED, "missing"),
    ],
)
def test_absent_rows_say_why(status, code):
    """A row without a line gets the reason of its job."""
    told, message = absence(status, [JobError("bad", "invalid_json_line", 3)], 2, "{x}")
    assert told == code
    assert message
    if status is JobStatus.FAILED:
        assert "line 3: bad [invalid_json_line]" in message


def test_a_breach_of_the_equation_is_an_error():
    """Rows in and outcomes out must balance."""
    check_equation(3, {"succeeded": 2, "missing": 1})
    with pytest.raises(ReconciliationError, match="3 rows went in, but 2 succeeded"):
        check_equation(3, {"succeeded": 2})
