"""What the public packages export, and that it costs nothing until it is used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys

import pytest

from tests.architecture.measure import PACKAGE
from tests.patience import PATIENCE

PUBLIC = ("hooks", "operators", "sensors", "transfers", "triggers")
BASES = {"ConnectedOperator", "RunOperator", "ApiKeyHook", "GatewayHook", "PlainHook"}
"""What classes share that are exported."""


def public_classes(package: str) -> set[str]:
    """The classes of a package that users name: operators, hooks, sensors, triggers."""
    kinds = ("Operator", "Hook", "Sensor", "Trigger")
    return {
        node.name
        for path in (PACKAGE / package).glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name.endswith(kinds) and not node.name.startswith("_")
    } - BASES


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_exported(package):
    """Each public class can be imported from its package, and is the one of its module."""
    module = importlib.import_module(f"airflow_batch_provider.{package}")
    assert set(module.__all__) == public_classes(package)
    for name in module.__all__:
        found = getattr(module, name)
        assert getattr(importlib.import_module(found.__module__), name) is found
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        module.Nothing  # noqa: B018 - the look itself


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_alone_imports_no_airflow(package):
    """Importing a package imports none of the modules that define its names."""
    code = f"import sys, airflow_batch_provider.{package}; print([n for n in sys.modules if n == 'airflow'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.strip() == "[]"
