"""The pages that are made from the code say what the code says."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType
from typing import get_args

import pytest

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core import reconciling
from airflow_batch_provider.core.answers import UNUSABLE_CODES
from airflow_batch_provider.core.refusal_facts import OWN
from airflow_batch_provider.run.facts import Fact
from tests.architecture.measure import PACKAGE, ROOT

WRITERS = ("ledger", "storage", "staging", "results", "collect", "run")
"""The modules that name files of a run directory."""


def script(name: str) -> ModuleType:
    """A script of docs/ that writes pages."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_guarantees_are_generated():
    """docs/guarantees.md is what docs/guarantees.py writes; run `make pages` after changing a backend."""
    module = script("guarantees")
    assert module.PAGE.read_text() == module.page()


@pytest.mark.parametrize("name", ["connections.md", "cli.md"])
def test_the_reference_is_generated(name):
    """The pages of connection fields and commands are what docs/reference.py writes; `make pages` writes them anew."""
    module = script("reference")
    assert (module.FOLDER / name).read_text() == module.PAGES[name]()
    assert set(module.PAGES) == {"connections.md", "cli.md"}


@pytest.mark.parametrize("path", ["README.md", "docs/index.md", "docs/hooks.md", "docs/cost.md", "docs/testing.md"])
def test_the_rows_are_generated(path):
    """The tables of the connection types are what docs/rows.py writes: run `make pages` after changing a row."""
    module = script("rows")
    assert (ROOT / path).read_text() == module.page(path)
    assert path in module.PARTS
    assert len(module.PARTS) == 5


def test_every_link_in_the_docs_leads_somewhere():
    """A relative link names a file that exists."""

    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def test_every_file_of_a_run_directory_is_described():
    """Each kind of fact, and each file that the code names, is in a row of the tables in docs/concepts.md."""
    rows = "\n".join(line.split("|")[1] for line in page("concepts").split("\n") if line.startswith("| `"))
    assert [kind for kind in get_args(Fact) if f".1.{kind}" not in rows] == []
    named = set()
    for module in WRITERS:
        text = (PACKAGE / "run" / f"{module}.py").read_text()
        named |= {name.rpartition("/")[2] for name in re.findall(r'f?"([a-z/]+\.jsonl?)"', text)}
    assert {"run.json", "summary.json", "failed.jsonl", "tries.json", "archiving.json", "unsent.json"} <= named
    assert [name for name in named if f"`{name}`" not in rows] == []
    assert [folder for folder in ("input", "shards", "collected", "results") if f"`{folder}/" not in rows] == []


def test_every_code_of_a_row_is_described():
    """Each code that this package gives to a row is in the table of docs/troubleshooting.md."""
    table = page("troubleshooting").partition("\n## By code\n")[2]
    first = "\n".join(line.split("|")[1] for line in table.split("\n") if line.startswith("| `"))
    codes = {*OWN, *UNUSABLE_CODES, reconciling.OVER_QUOTA, "batch_expired"}
    assert len(codes) > 15
    assert [code for code in sorted(codes) if f"`{code}`" not in first] == []


def test_every_member_of_a_backend_is_named():
    """Each public method and property of the interface is in docs/add_a_backend.md."""
    text = page("add_a_backend")
    public = {name for name in (*vars(Backend), *Backend.__annotations__) if not name.startswith("_")}
    assert {"job_pages", "find", "handles"} <= public
    assert [name for name in sorted(public) if f"`{name}`" not in text] == []
