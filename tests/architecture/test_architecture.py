"""The shape of the house, as checks that fail."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

from airflow_batch_provider.get_provider_info import get_provider_info
from tests.architecture.import_everything import import_everything
from tests.architecture.measure import PACKAGE, ROOT, files, functions
from tests.patience import PATIENCE

HEAVY = ("openai", "boto3", "botocore", "google.cloud", "google.auth", "azure", "xllamacpp", "uvicorn", "moto")
SEEN_BY_DAGS = ("hooks", "links", "operators", "sensors", "transfers", "triggers", "get_provider_info")


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """The contracts of a folder, on the package in it."""
    tool = Path(sys.executable).parent / "lint-imports"
    env = {**os.environ, "PYTHONPATH": str(folder)}
    argv = [tool, "--no-cache", "--no-logo"]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)


def tracked_text() -> dict[str, str]:
    """The text files that are, or are about to be, committed."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.split("\n")
    paths = [ROOT / name for name in listed if name]
    texts = {}
    for path in paths:
        if path.is_file():
            try:
                texts[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
    return texts


def test_layers_hold():
    """import-linter finds no import against the layers."""
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_slipped_through_once_is_caught(tmp_path):
    """An SDK in any module of a run, and a module of the root that belongs to no layer, break a contract."""
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    slipped = ("budget", "driver", "planner", "preview")
    for name in slipped:
        with (tmp_path / PACKAGE.name / "run" / f"{name}.py").open("a") as module:
            module.write("\nimport openai\n")
    (tmp_path / PACKAGE.name / "stray.py").write_text("")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    for name in slipped:
        assert f"airflow_batch_provider.run.{name} -> openai" in done.stdout
    assert "airflow_batch_provider.stray" in done.stdout


def test_no_circle_between_files():
    """No module imports, by way of others, itself: not for types and not inside a function either."""
    graph = grimp.build_graph("airflow_batch_provider", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()


def test_every_module_can_be_imported():
    """No module of the package fails on import."""
    assert len(import_everything()) > 50


def test_what_a_dag_imports_loads_no_sdk():
    """Operators, triggers and hooks load no SDK and no server; a DAG file is parsed every few seconds."""
    code = f"""
import importlib, pkgutil, sys
import airflow.sdk, airflow.configuration, airflow.triggers.base, airflow.providers.common.sql.hooks.sql
import airflow_batch_provider
before = set(sys.modules)
for module in pkgutil.walk_packages(airflow_batch_provider.__path__, "airflow_batch_provider."):
    if module.name.split(".")[1] in {SEEN_BY_DAGS}:
        importlib.import_module(module.name)
loaded = set(sys.modules) - before
heavy = [n for n in loaded if any(n == h or n.startswith(h + ".") for h in {HEAVY})]
assert "airflow_batch_provider.operators.batch_inference" in loaded
print("HEAVY:", sorted(heavy))
"""
    done = run(sys.executable, "-c", code)
    assert "HEAVY: []" in done.stdout, done.stdout + done.stderr[-3000:]


def test_parsing_a_dag_imports_only_what_it_declares():
    """What only a running task needs, the run and all it works with, is imported by the task; before, a DAG file paid
    for 76 modules and 190 ms of CPU each time that it was parsed."""
    code = """
import sys
import airflow.sdk, airflow.configuration  # which read what the provider says of itself
from airflow_batch_provider import operators, sensors, transfers
before = set(sys.modules)
for package in operators, sensors, transfers:
    for name in package.__all__:
        getattr(package, name)
loaded = {name.split(".")[1] for name in set(sys.modules) - before if name.startswith("airflow_batch_provider.")}
print("ROOMS:", sorted(loaded))
"""
    done = run(sys.executable, "-c", code)
    assert "ROOMS: ['core', 'links', 'operators', 'sensors', 'transfers']" in done.stdout, (
        done.stdout + done.stderr[-3000:]
    )


def test_no_file_is_too_long(record_property):
    """No file has more than 400 lines; the longest is named in the report."""
    longest = files()[0]
    record_property("longest file", str(longest))
    assert longest.lines <= 400, longest


def test_no_function_is_too_long(record_property):
    """No function body has more than 60 lines; the longest is named in the report."""
    longest = functions()[0]
    record_property("longest function", str(longest))
    assert longest.lines <= 60, longest


def test_provider_info_names_only_what_exists():
    """Every class and module that Airflow is told of can be imported."""
    info = get_provider_info()
    classes = [row["hook-class-name"] for row in info["connection-types"]] + list(info.get("extra-links", []))
    for path in classes:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path
    for kind in ("operators", "sensors", "hooks", "triggers"):
        for row in info.get(kind, []):
            for module in row["python-modules"]:
                importlib.import_module(module)


def test_no_path_of_a_machine_and_no_index_address():
    """What is committed names no home folder and no package index, so that it runs everywhere."""
    machine = re.compile(r"/(?:home|Users|root|work)/\w")
    index = re.compile(r"--(?:extra-)?index-url|--find-links|files\.pythonhosted|pypi\.org/simple")
    offenders = [
        f"{name}: {match.group()}"
        for name, text in tracked_text().items()
        for match in (*machine.finditer(text), *index.finditer(text))
        if name != "tests/architecture/test_architecture.py"
    ]
    assert offenders == []


def test_constraints_are_only_pins():
    """Every line of the constraints files is one exact version: no address, no option, no path."""
    pin = re.compile(r"[a-z0-9._-]+==[A-Za-z0-9.+!]+(?: ; [a-z_0-9' <>=!.*A-Z()-]+)?")
    for name in ("constraints.txt", "constraints-airflow31.txt"):
        lines = (ROOT / name).read_text().rstrip("\n").split("\n")
        assert [line for line in lines if not pin.fullmatch(line)] == []


def test_no_stub_is_left():
    """Nothing in the package is a promise: no TODO, no NotImplementedError, no skipped test."""
    promise = re.compile(r"\bTODO\b|\bFIXME\b|NotImplementedError|pytest\.(?:mark\.)?(?:skip|xfail)")
    offenders = [
        f"{name}: {match.group()}"
        for name, text in tracked_text().items()
        if name.endswith(".py") and name != "tests/architecture/test_architecture.py"
        for match in promise.finditer(text)
    ]
    assert offenders == []
