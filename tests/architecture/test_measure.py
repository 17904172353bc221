"""The figures of the house, on a house so small that each can be counted by eye."""

from pathlib import Path

import pytest

from tests.architecture import measure, words

HOUSE = {
    "a.py": '''"""Asks nobody."""
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_batch_provider import b

class Thing:
    """A thing that stands."""

    def __init__(self, one: Any, *, two: Any) -> None:
        self.facts = one

    def read(self, record):
        "told" in record
        raise ValueError(f"line {record['line']} is no line; nobody told {self.facts.get('x')}")
''',
    "b.py": '''from dataclasses import dataclass, field
from airflow_batch_provider.core import c

@dataclass
class Row:
    one: int
    two: int = field(init=False)

def _hidden():
    """It is told."""

def late(ledger):
    import airflow_batch_provider.a

    log.info("%s is no longer there", (ledger.tries() or {})["deadline"])
''',
    "core/__init__.py": "",
    "core/c.py": "record = {}\nrecord['core reads none']\n",
    "testing/__init__.py": 'text = "I tell what I am told"\n',
}


@pytest.fixture
def house(tmp_path):
    for name, text in HOUSE.items():
        path = tmp_path / measure.NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("It wants a key, and it stays.")
    (tmp_path / "docs/page.md").write_text("Needed. There is no such thing.")
    return tmp_path / measure.NAME


def test_circles_through_types_and_functions(house):
    """An import for types and one inside a function make a circle; a package that is only imported makes none."""
    assert measure.circles(house) == [["airflow_batch_provider.a", "airflow_batch_provider.b"]]
    assert measure.imports(house)["airflow_batch_provider.b"] >= {"airflow_batch_provider.core.c"}


def test_constructors_any_and_records(house):
    """Parameters without self; fields that the constructor sets; the three ways to read a record by a string."""
    assert measure.constructors(house) == [
        (2, "airflow_batch_provider/a.py Thing"),
        (1, "airflow_batch_provider/b.py Row"),
    ]
    assert measure.any_count(house) == 2
    assert [Path(read).name.partition(":")[0] for read in measure.record_reads(house)] == [
        "a.py",
        "a.py",
        "a.py",
        "b.py",
    ]


def test_words_of_users(house):
    """Messages, public docstrings and pages; not names of keys, not hidden docstrings, not what a fake says."""
    counts = words.counts(house.parent, house)
    assert counts.pop("all") == (3, 3, 4)
    assert {word: many for word, many in counts.items() if any(many)} == {
        "told, tell": (1, 0, 0),
        "ask": (0, 1, 0),
        "nobody": (1, 1, 0),
        "is no X": (1, 0, 1),
        "stands": (0, 1, 0),
        "wants": (0, 0, 1),
        "stay": (0, 0, 1),
        "Needed.": (0, 0, 1),
    }


def test_the_report_names_every_figure(house):
    """One text with all figures."""
    text = measure.report(house.parent)
    for figure in (
        "files: 5, lines: ",
        "root modules: 2",
        "circles: 1",
        "of 2, the most",
        "Any: 2, ",
        "string: 4 in 2",
    ):
        assert figure in text
