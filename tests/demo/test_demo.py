"""The demonstration's own parts: which reviews it takes, and when it says that it has failed."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing

import pytest

from demo.fetch import CLEAR, Review, choose
from demo.report import report

REVIEWS = [Review(f"{number}_1", f"text {number}", rating / 100) for number, rating in enumerate(range(-400, 400, 2))]


def test_the_choice_is_balanced_clear_and_does_not_depend_on_order():
    """Half the rows are positive, all are clearly rated, and another order of the source changes nothing."""
    chosen = choose(REVIEWS)
    assert len(chosen) == 100
    assert sum(review.rating > 0 for review in chosen) == 50
    assert all(abs(review.rating) >= CLEAR for review in chosen)
    shuffled = random.Random(1).sample(REVIEWS, len(REVIEWS))
    assert choose(shuffled) == chosen


@pytest.fixture
def finished(tmp_path):
    """A run directory, a table and a CSV of two reviews, as a good run leaves them."""
    summary = {
        "run_key": "key",
        "usage": {"input_tokens": 7, "output_tokens": 3},
        "begun_at": 1.0,
        "ended_at": 3.0,
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "reviews.csv").write_text("id,text,rating\na,fine,2.0\nb,awful,-2.0\n")
    with closing(sqlite3.connect(tmp_path / "db")) as connection, connection:
        connection.execute("CREATE TABLE review_sentiment (run_key, custom_id, content)")
        rows = [("key", "review-a", '{"sentiment": "positive"}'), ("key", "review-b", '{"sentiment": "positive"}')]
        connection.executemany("INSERT INTO review_sentiment VALUES (?, ?, ?)", [*rows, ("old", "review-a", "?")])
    return tmp_path


def run_report(folder, *, expect_json=True):
    return report(folder, folder / "db", folder / "reviews.csv", expect_json=expect_json)


def change(folder, statement):
    with closing(sqlite3.connect(folder / "db")) as connection, connection:
        connection.execute(statement)


def test_a_complete_run_is_a_success_whatever_the_model_thinks(finished, capsys):
    """Rows, validity, accuracy and tokens are shown; accuracy decides nothing."""
    assert run_report(finished) == 0
    printed = capsys.readouterr().out
    assert "rows           2 of 2" in printed
    assert "valid JSON     2 of 2" in printed
    assert "accuracy       0.50 (1 of 2" in printed
    assert "tokens         7 in, 3 out" in printed


@pytest.mark.parametrize("content", ["positive", '{"sentiment": "mixed"}', '{"other": 1}', "[1]", ""])
def test_an_answer_not_as_asked_fails(finished, content):
    """Anything but the schema's JSON is a failure, except from the echo engine."""
    change(finished, f"UPDATE review_sentiment SET content = '{content}' WHERE custom_id = 'review-b'")
    assert run_report(finished) == 1
    assert run_report(finished, expect_json=False) == 0


def test_a_missing_row_fails(finished):
    """A review without a row in the table is a failure."""
    change(finished, "DELETE FROM review_sentiment WHERE run_key = 'key' AND custom_id = 'review-b'")
    assert run_report(finished) == 1
