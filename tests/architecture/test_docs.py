"""The pages that are made from the code say what the code says."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest

from tests.architecture.measure import ROOT


def script(name: str) -> ModuleType:
    """A script of docs/ that writes pages."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_guarantees_are_generated():
    """docs/guarantees.md is what docs/guarantees.py writes; run it after changing a backend."""
    module = script("guarantees")
    assert module.PAGE.read_text() == module.page()


@pytest.mark.parametrize("name", ["connections.md", "cli.md"])
def test_the_reference_is_generated(name):
    """The pages of connection fields and commands are what docs/reference.py writes; run it after changing either."""
    module = script("reference")
    assert (module.FOLDER / name).read_text() == module.PAGES[name]()
    assert set(module.PAGES) == {"connections.md", "cli.md"}


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
