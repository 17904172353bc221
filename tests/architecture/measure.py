"""How long files and functions are: `python -m tests.architecture.measure` names the longest."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "airflow_batch_provider"
DATA = {"get_provider_info"}  # one literal dict, which Airflow wants from a function


@dataclass(frozen=True, order=True)
class Size:
    lines: int
    name: str

    def __str__(self) -> str:
        return f"{self.name}: {self.lines} lines"


def files(folder: Path = PACKAGE) -> list[Size]:
    """Every file, the longest first."""
    paths = folder.rglob("*.py")
    sizes = (Size(path.read_bytes().count(b"\n"), str(path.relative_to(folder.parent))) for path in paths)
    return sorted(sizes, reverse=True)


def functions(folder: Path = PACKAGE) -> list[Size]:
    """Every function without its signature, docstring and decorators, the longest first."""
    return sorted(
        (
            Size(_body_lines(node), f"{path.relative_to(folder.parent)}:{node.lineno} {node.name}")
            for path in folder.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_bytes()))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name not in DATA
        ),
        reverse=True,
    )


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


if __name__ == "__main__":
    print("longest file:    ", files()[0])
    print("longest function:", functions()[0])
