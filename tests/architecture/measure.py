"""Figures of the house: ``python -m tests.architecture.measure [CHECKOUT]``.

Sizes, circles of imports, parameters of constructors, ``Any``, records read by string; words are in ``words``. Another
checkout is measured by the same rules, so that figures before and after can be set side by side.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.architecture import words

ROOT = Path(__file__).resolve().parents[2]
NAME = "airflow_batch_provider"
PACKAGE = ROOT / NAME
DATA = {"get_provider_info"}  # one literal dict, which Airflow wants from a function
RECORDS = {"record", "tries", "facts"}
"""What the run modules call the JSON objects of ``run.json`` and ``tries.json``, and the facts of a create."""
APART = {"backends", "dialects", "core", "hooks", "local", "testing", "images", "connections"}
"""Packages that read no record of a run."""


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
            for path, node in _nodes(folder)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name not in DATA
        ),
        reverse=True,
    )


def _nodes(folder: Path) -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            yield path, node


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


# ---- imports ---------------------------------------------------------------------------------------------------------


def _module(folder: Path, path: Path) -> str:
    return ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")


def imports(folder: Path = PACKAGE) -> dict[str, set[str]]:
    """What each module imports of the package, those for types and those inside functions included."""
    found: dict[str, set[str]] = {_module(folder, path): set() for path in folder.rglob("*.py")}
    for path, node in _nodes(folder):
        named: list[str] = []
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            named = [name if name in found else node.module for name in below]
        here = _module(folder, path)
        found[here].update(name for name in named if name in found and name != here)
    return found


def circles(folder: Path = PACKAGE) -> list[list[str]]:
    """The groups of modules that import each other, directly or through others."""
    edges = imports(folder)
    reached = {name: _reached(edges, name) for name in edges}
    groups = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in edges
        if name in reached[name]
    }
    return sorted(map(list, groups))


def _reached(edges: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    left = [*edges[start]]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += edges[name]
    return seen


# ---- what is passed around -------------------------------------------------------------------------------------------


def constructors(folder: Path = PACKAGE) -> list[tuple[int, str]]:
    """How many parameters each written ``__init__`` and each dataclass takes, the most first."""
    found: list[tuple[int, str]] = []
    for path, node in _nodes(folder):
        if isinstance(node, ast.ClassDef) and (count := _parameters(node)) is not None:
            found.append((count, f"{path.relative_to(folder.parent)} {node.name}"))
    return sorted(found, reverse=True)


def _parameters(node: ast.ClassDef) -> int | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            args = item.args
            return len([*args.posonlyargs, *args.args, *args.kwonlyargs]) - 1
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
        return sum("ClassVar" not in ast.unparse(one) and "init=False" not in ast.unparse(one) for one in fields)
    return None


def any_count(folder: Path = PACKAGE) -> int:
    """How often ``Any`` is used."""
    return sum(isinstance(node, ast.Name) and node.id == "Any" for _, node in _nodes(folder))


def record_reads(folder: Path = PACKAGE) -> list[str]:
    """Where a record of a run is read by a string: ``record["rows"]``, ``facts.get("job")``, ``"job" in facts``."""
    found = []
    for path, node in _nodes(folder):
        if path.relative_to(folder).parts[0] not in APART and _is_record_read(node):
            found.append(f"{path.relative_to(folder.parent)}:{getattr(node, 'lineno', 0)}")
    return found


def _is_record_read(node: ast.AST) -> bool:
    match node:
        case ast.Subscript(value=value, slice=ast.Constant(value=str())):
            return _is_record(value)
        case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[ast.Constant(value=str()), *_]):
            return _is_record(value)
        case ast.Compare(left=ast.Constant(value=str()), ops=[ast.In() | ast.NotIn()], comparators=[value]):
            return _is_record(value)
    return False


def _is_record(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Call(func=ast.Attribute(attr=name)):
            return name in RECORDS
        case ast.BoolOp(values=[first, *_]):
            return _is_record(first)
    return False


def report(root: Path) -> str:
    """All figures of a checkout."""
    package = root / NAME
    sizes, taken = files(package), constructors(package)
    lines = sum(size.lines for size in sizes)
    reads, many, found = record_reads(package), any_count(package), circles(package)
    told = [
        f"files: {len(sizes)}, lines: {lines}",
        f"longest file: {sizes[0]}",
        f"longest function: {functions(package)[0]}",
        f"root modules: {len([*package.glob('*.py')])}",
        f"circles: {len(found)}",
        *(f"  {', '.join(name.removeprefix(f'{NAME}.') for name in group)}" for group in found),
        f"parameters per constructor: {sum(count for count, _ in taken) / len(taken):.1f} of {len(taken)}, the most:",
        *(f"  {count} {name}" for count, name in taken[:6]),
        f"Any: {many}, {1000 * many / lines:.1f} per 1,000 lines",
        f"records read by string: {len(reads)} in {len({read.partition(':')[0] for read in reads})} files",
        "words, in messages, docstrings and docs:",
        *(f"  {word}: {', '.join(map(str, counts))}" for word, counts in words.counts(root, package).items()),
    ]
    return "\n".join(told)


if __name__ == "__main__":
    print(report(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT))
