"""docs/sql.md says what the operators do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from airflow.sdk import DAG

from airflow_batch_provider.transfers.columns import COLUMNS

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets_make_operators(snippet: str) -> None:
    """Every snippet stands in a DAG file as it is."""
    with DAG(dag_id="docs") as dag:
        exec(compile(snippet, "docs/sql.md", "exec"), {})
    assert len(dag.tasks) == 1


def test_the_columns_are_those_of_the_table() -> None:
    """The page names every column with its type, in order."""
    told = re.findall(r"^\| `(\w+)` \| ([A-Z]+) \|", PAGE, re.MULTILINE)
    assert told == [(name, kind.split()[0]) for name, kind in COLUMNS.items()]
    assert len(SNIPPETS) == 2
