"""The checklist of docs/add_a_backend.md, item by item, for every connection type."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.cli import backend_of
from airflow_batch_provider.connections import connection_types
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import BatchRequest
from airflow_batch_provider.dialects.base import LineFormat
from airflow_batch_provider.get_provider_info import get_provider_info
from airflow_batch_provider.hooks.base import BatchInferenceHook
from airflow_batch_provider.testing.routes import ROUTES, fake_route
from tests.architecture.measure import PACKAGE, ROOT

HOOKS = {name: row.hook_path for name, row in connection_types().items()}

PAGE = ROOT / "docs" / "add_a_backend.md"
INFO = get_provider_info()
TYPES = sorted(HOOKS)
CHAT = "/v1/chat/completions"


@cache
def routed(kind: str) -> tuple[str, str] | None:
    """The connection type and the model of the fake that serves a type, as it says when it runs."""
    if provider(kind) not in ROUTES:
        return None
    with fake_route(provider(kind)) as route:
        return str(route.connection["conn_type"]), route.model


def backend_for(kind: str) -> Backend | None:
    try:
        return backend_of(kind, None)
    except ConfigurationError:
        return None


def hook_for(kind: str) -> type[BatchInferenceHook] | None:
    module, _, name = HOOKS.get(kind, "").rpartition(".")
    return getattr(importlib.import_module(module), name) if module else None


def form_of(kind: str) -> dict[str, Any] | None:
    return next((row for row in INFO["connection-types"] if row["connection-type"] == kind), None)


def provider(kind: str) -> str:
    return kind.removesuffix("_batch")


def text(*path: str) -> str:
    file = ROOT.joinpath(*path)
    return file.read_text() if file.is_file() else ""


@cache
def load_script(name: str) -> ModuleType:
    """A page's generator in docs/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- the checks: each yields what is missing -----------------------------------------------------------------------


def line_format(kind: str) -> Iterator[str]:
    backend = backend_for(kind)
    if backend is None:
        yield "a line format, for there is no backend"
        return
    _, model = routed(kind) or (kind, "m")
    made = backend.line_format(model, CHAT)
    if not isinstance(made, LineFormat):
        yield f"a LineFormat, not {type(made).__name__}"
        return
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
    request = BatchRequest("row-7", CHAT, model, body, orjson.dumps({"body": body}), 1)
    wires = {made.encode(request, position) for position in (0, 9_999)}
    if len({len(wire) for wire in wires}) != 1:
        yield "lines whose length does not depend on their position"
    if not all(made.row_of(wire) for wire in wires):
        yield "the row's id on each line, as row_of reads it"


def backend(kind: str) -> Iterator[str]:
    made = backend_for(kind)
    if made is None:
        yield "a backend"
        return
    if not type(made).__module__.startswith("airflow_batch_provider.backends."):
        yield f"its place in backends/, not {type(made).__module__}"
    if inspect.isabstract(type(made)):
        yield "all of Backend's methods"


def facts(kind: str) -> Iterator[str]:
    made = backend_for(kind)
    if made is None:
        yield "facts, for there is no backend"
        return
    for name in ("source", "endpoints", "max_rows", "max_bytes"):
        if not getattr(made.limits, name):
            yield f"limits.{name}"
    row = connection_types()[kind]
    for known in row.providers.values() if row.behind else [row.facts]:
        if known is None or not (known.limits.source and (known.price_list is None or known.price_list.source)):
            yield "facts of its row, with their sources"
    if not made.handles:
        yield "handles"
    if made.identity.get("type") != kind:
        yield "identity with its type"


def hook(kind: str) -> Iterator[str]:
    found = hook_for(kind)
    if found is None:
        yield "a hook in HOOKS"
        return
    if (found.conn_type, found.hook_name[:10]) != (kind, "LLM batch:"):
        yield f"conn_type {kind!r} and a hook_name that begins with 'LLM batch:'"
    if not found.default_conn_name:
        yield "default_conn_name"
    for name, info in found.settings_class.model_fields.items():
        if not (info.title and info.description):
            yield f"title and description of the field {name}"


def form(kind: str) -> Iterator[str]:
    row, found = form_of(kind), hook_for(kind)
    if row is None or found is None:
        yield "a row of connection-types in get_provider_info()"
        return
    if row["hook-class-name"] != HOOKS[kind]:
        yield f"its hook {HOOKS[kind]}"
    for name in set(row["conn-fields"]) ^ set(found.settings_class.model_fields):
        yield f"the field {name} in both form and settings"
    for name in {*row["conn-fields"]} & {*found.secret_settings} - {"extra_headers"}:
        if row["conn-fields"][name]["schema"].get("format") != "password":
            yield f"the format password of {name}"


def provider_info(kind: str) -> Iterator[str]:
    modules = [module for row in INFO["hooks"] for module in row["python-modules"]]
    if HOOKS.get(kind, "").rpartition(".")[0] not in modules:
        yield "the hook's module under hooks in get_provider_info()"


def extra(kind: str) -> Iterator[str]:
    made = backend_for(kind)
    if made is None:
        yield "the packages of a backend, for there is none"
        return
    begin = {HOOKS[kind].rpartition(".")[0], type(made).__module__}
    known, holders = declared(), importlib.metadata.packages_distributions()
    for name in sorted(third_parties(begin)):
        if not {normal(one) for one in holders.get(name, [name])} & known:
            yield f"{name} in pyproject.toml"


def fake(kind: str) -> Iterator[str]:
    if (served := routed(kind)) is None or served[0] != kind:
        yield f"the route {provider(kind)!r} in testing/routes.py"


def contract_test(kind: str) -> Iterator[str]:
    from tests.backends import test_rows
    from tests.backends.contract import BackendContract

    here = [each for each in vars(test_rows).values() if isinstance(each, type) and issubclass(each, BackendContract)]
    if any("row" in vars(each) and each.row.name == kind for each in here):
        return
    if not (ROOT / "tests" / "backends" / f"test_{provider(kind)}.py").is_file():
        yield f"tests/backends/test_{provider(kind)}.py"
        return
    module = importlib.import_module(f"tests.backends.test_{provider(kind)}")
    classes = [each for name, each in inspect.getmembers(module, inspect.isclass) if name.startswith("Test")]
    if not any(issubclass(each, BackendContract) and each.__module__ == module.__name__ for each in classes):
        yield "a test class that inherits BackendContract"


def example_dag(kind: str) -> Iterator[str]:
    if kind in HOOKS and not connection_types()[kind].hook:
        return  # a row alone has no behaviour of its own to show
    prefix = provider(kind) + "_"
    files = [path for path in (ROOT / "dags").glob("*.py") if path.name.startswith(prefix) or kind in path.read_text()]
    if not files:
        yield f"a file in dags/ that is named {prefix}..., or names {kind}"
    for path in files:
        if not any(path.stem in test for test in dag_tests()):
            yield f"a test that runs {path.name}"


def provider_page(kind: str) -> Iterator[str]:
    name = f"providers/{provider(kind)}"
    page, row = text("docs", f"{name}.md"), form_of(kind)
    if f"`{kind}`" not in page:
        yield f"docs/{name}.md, with the connection type"
    if not re.search(rf"^{name}$", text("docs", "index.md"), re.MULTILINE):
        yield f"{name} in docs/index.md"
    for field in row["conn-fields"] if row else ():
        if f"`{field}`" not in page:
            yield f"the field {field} in docs/{name}.md"


def readme_row(kind: str) -> Iterator[str]:
    page = f"docs/providers/{provider(kind)}.md"
    if not re.search(rf"^\| `{kind}` \|.*\({page}\) \|$", text("README.md"), re.MULTILINE):
        yield f"a row in README's table, with a link to {page}"


def guarantees_row(kind: str) -> Iterator[str]:
    ways = load_script("guarantees").WAYS
    row = form_of(kind) or {"conn-fields": {}}
    behinds = row["conn-fields"].get("behind", {"schema": {}})["schema"].get("enum", [None])
    for behind in behinds:
        named = [name for name, way in ways.items() if way == (kind, behind)]
        if not named or f"| {named[0]} |" not in text("docs", "guarantees.md"):
            yield f"a row in docs/guarantees.py and its page{f' for {behind}' if behind else ''}"


def connections_page(kind: str) -> Iterator[str]:
    if f"## `{kind}`" not in text("docs", "connections.md"):
        yield "a section of docs/connections.md"


CHECKS: dict[str, Callable[[str], Iterator[str]]] = {
    "line_format": line_format,
    "backend": backend,
    "facts": facts,
    "hook": hook,
    "form": form,
    "provider_info": provider_info,
    "extra": extra,
    "fake_route": fake,
    "contract_test": contract_test,
    "example_dag": example_dag,
    "provider_page": provider_page,
    "readme_row": readme_row,
    "guarantees_row": guarantees_row,
    "connections_page": connections_page,
}


# ---- what the checks look up ---------------------------------------------------------------------------------------


@cache
def dag_tests() -> tuple[str, ...]:
    folders = ("airflow", "e2e", "demo")
    paths = [path for folder in folders for path in (ROOT / "tests" / folder).glob("*.py")]
    return tuple(path.read_text() for path in [*paths, ROOT / "demo" / "__main__.py"])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;(]", name.strip(), maxsplit=1)[0]).lower()


@cache
def declared() -> frozenset[str]:
    """The distributions of pyproject's dependencies and extras, and those that they themselves require."""
    told = text("pyproject.toml").partition("\ndependencies = [")[2].partition("[project.scripts]")[0]
    direct = {normal(one) for one in re.findall(r'"([^"]+)"', told.partition("\ndev = [")[0])}
    installed = {normal(name) for name in itertools.chain(*importlib.metadata.packages_distributions().values())}
    behind = itertools.chain(*(importlib.metadata.requires(name) or [] for name in direct & installed))
    return frozenset(direct | {normal(one) for one in behind if "extra ==" not in one})


def third_parties(modules: set[str]) -> set[str]:
    """The packages that these modules import, wherever in the file, and those of backends and hooks behind them."""
    seen: set[str] = set()
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        path = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
        if module in seen or not path.is_file():
            continue
        seen.add(module)
        for name in imports(path):
            if name.startswith(("airflow_batch_provider.backends.", "airflow_batch_provider.hooks.")):
                waiting.append(name)
            elif not name.startswith("airflow_batch_provider"):
                found.add(name.split(".")[0])
    return found - set(sys.stdlib_module_names)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def items(page: str) -> list[str]:
    """The names of the checklist's items, in order."""
    return re.findall(r"^- \[ \] `(\w+)`:", page, re.MULTILINE)


# ---- the tests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kind", TYPES)
def test_a_connection_type_has(kind: str, check: str) -> None:
    """Every connection type has what the item of the checklist asks."""
    assert list(CHECKS[check](kind)) == []


@pytest.mark.parametrize("check", CHECKS)
def test_a_stranger_lacks(check: str) -> None:
    """Each check can fail: of a type that nobody has made, every item is missing."""
    assert list(CHECKS[check]("stranger_batch"))


def test_every_type_is_checked() -> None:
    """The types of the hooks and those that Airflow is told of are the same ones."""
    assert sorted(row["connection-type"] for row in INFO["connection-types"]) == TYPES
    assert len(TYPES) >= 7


def test_the_page_lists_the_checks() -> None:
    """The items of the page are the checks, in their order: none is unchecked, none unlisted."""
    page = PAGE.read_text()
    assert items(page) == list(CHECKS)
    assert items(page.replace("- [ ] `form`:", "- [ ] `shape`:")) != list(CHECKS)
    assert items(page.replace("- [ ] `hook`:", "- `hook`:")) != list(CHECKS)
