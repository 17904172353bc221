"""The pages that are made from the code say what the code says."""

from __future__ import annotations

import importlib.util
import re

from tests.architecture.measure import ROOT


def test_guarantees_are_generated():
    """docs/guarantees.md is what docs/guarantees.py writes; run it after changing a backend."""
    spec = importlib.util.spec_from_file_location("guarantees", ROOT / "docs" / "guarantees.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page()


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
