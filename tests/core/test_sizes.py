"""Limits in the unit that the provider counts: texts to embed and their tokens, beside rows and bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_batch_provider.core.planning import plan_shards
from airflow_batch_provider.core.records import ModelRules
from airflow_batch_provider.core.validation import Report, Rules, validate
from airflow_batch_provider.dialects.openai import OpenAIFormat
from tests.facts import OPENAI


def checked(*inputs: Any, endpoint: str = "/v1/embeddings") -> Report:
    lines = [
        json.dumps({"custom_id": f"r{n}", "method": "POST", "url": endpoint, "body": {"model": "m", "input": given}})
        for n, given in enumerate(inputs)
    ]
    numbered = ((number, line.encode()) for number, line in enumerate(lines, start=1))
    return validate(numbered, "f", Rules(ModelRules(), OPENAI.limits), OpenAIFormat)


def test_texts_fill_a_job() -> None:
    """A9: 600 rows of 100 texts are 60,000 texts, of which a job takes 50,000: two jobs, as even as can be."""
    report = checked(*[["text"] * 100] * 600)
    report.raise_for_problems()
    shards = plan_shards("f", report.groups, OPENAI.limits, 0)
    assert [shard.rows for shard in shards] == [300, 300]


def test_rows_of_one_text_fill_a_job_as_before() -> None:
    """A9: a text, and a text as numbers of tokens, are one each."""
    report = checked("a", [1, 2, 3], [[1], [2]], ["a", "b"])
    report.raise_for_problems()
    assert report.groups[0].total_lines == 6


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["x"] * 60_000, "60,000 texts; the provider accepts 2,048 per request"),
        (["x"] * 2_049, "2,049 texts"),
        ([[1, 2]] * 2_049, "2,049 texts"),
        ([7] * 300_001, "300,001 tokens; the provider accepts 300,000 per request"),
        ([[7] * 1_000] * 301, "301,000 tokens"),
    ],
)
def test_a_row_of_too_many_texts_is_a_problem_of_its_line(given: Any, said: str) -> None:
    """A9: what no request may hold is refused by line and field, before anything is uploaded."""
    report = checked("a", given)
    [problem] = report.problems
    assert (problem.line, problem.field) == (2, "body.input")
    assert said in problem.message


def test_the_largest_row_is_taken() -> None:
    """A9: the limits themselves are allowed."""
    assert checked(["x"] * 2_048, [[7] * 1_000] * 300).problem_count == 0


def test_texts_that_look_too_long_are_a_warning() -> None:
    """A9: tokens of text can only be counted by the provider, so a long row is sent, with a warning."""
    report = checked(["word " * 2_000] * 400, ["word " * 2_000] * 400)
    assert report.problem_count == 0
    assert len(report.warnings) == 1
    assert "line 1" in report.warnings[0]
    assert "300,000" in report.warnings[0]


def test_only_embeddings_count_texts() -> None:
    """A9: a list that is the input of another endpoint is one row."""
    report = checked([{"role": "user", "content": "a"}] * 3_000, endpoint="/v1/responses")
    assert report.problem_count == 0
    assert report.groups[0].total_lines == 1
