"""The words that users read, and how many of them are not those of the field."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

QUAINT = {
    "told, tell": r"\btold\b|\btell(?:s|ing)?\b",
    "ask": r"\bask(?:s|ed|ing)?\b",
    "nobody": r"\bnobody\b",
    "made elsewhere": r"\bmade elsewhere\b",
    "Needed.": r"(?-i:\bNeeded\.)",
    "stay": r"\bstay(?:s|ed)?\b",
    "wants": r"\bwants\b",
    "is no X": r"\b(?:is|are|was|were) no(?! (?:longer|more)\b)\b",
    "to be had": r"\bto be had\b",
    "cannot say": r"\bcannot say\b",
    "stands": r"\bstands?\b",
    ", for": r"[,;] for (?:it|its|they|there|the|asking|what|nothing|no|only)\b",
}
"""What is counted, and how it is known."""
QUOTED = {"testing"}
"""Packages whose messages are in the words of others: the fakes speak as providers do."""


def messages(package: Path) -> Iterator[str]:
    """Every string of several words that is no docstring: messages, logs, help, titles of fields."""
    for tree in _trees(package):
        apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and id(node) not in apart else None
            if isinstance(text, str) and " " in text.strip():
                yield text


def docstrings(package: Path) -> Iterator[str]:
    """The docstrings of modules, classes and functions with a public name."""
    for tree in _trees(package):
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node)
                if text and not getattr(node, "name", "").startswith("_"):
                    yield text


def pages(root: Path) -> Iterator[str]:
    """The README and the pages of the site."""
    for path in (root / "README.md", *sorted((root / "docs").rglob("*.md"))):
        yield path.read_text()


def _trees(package: Path) -> Iterator[ast.Module]:
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] not in QUOTED:
            yield ast.parse(path.read_bytes())


def counts(root: Path, package: Path) -> dict[str, tuple[int, int, int]]:
    """How often each word is in messages, in docstrings and in pages; the last row is their sum."""
    texts = ("\n".join(messages(package)), "\n".join(docstrings(package)), "\n".join(pages(root)))
    found = {word: tuple(len(re.findall(sign, text, re.IGNORECASE)) for text in texts) for word, sign in QUAINT.items()}
    found["all"] = tuple(map(sum, zip(*found.values(), strict=True)))
    return {word: (many[0], many[1], many[2]) for word, many in found.items()}
