"""What Airflow is told of this package: it fits the schema, names what exists, and the forms fit the settings."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_batch_provider.connections import connection_types
from airflow_batch_provider.get_provider_info import get_provider_info

HOOKS = {name: row.hook_path for name, row in connection_types().items()}

INFO = get_provider_info()
ROWS = {row["connection-type"]: row for row in INFO["connection-types"]}
STANDARD = {"host", "login", "password", "port", "schema", "extra", "description"}


def load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_airflows_own_schema() -> None:
    """The metadata fits the schema that Airflow checks at discovery."""
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


def test_the_package_is_found() -> None:
    """The entry point leads here, under the name of the distribution; another name breaks discovery for everybody."""
    points = importlib.metadata.entry_points(group="apache_airflow_provider")
    (ours,) = [point for point in points if point.dist and point.dist.name == INFO["package-name"]]
    assert ours.load()() == INFO


def test_a_fresh_literal() -> None:
    """Airflow may change what it gets; the next caller gets it whole."""
    get_provider_info()["connection-types"].clear()
    assert get_provider_info() == INFO


def test_one_row_for_each_hook() -> None:
    """The table of the hooks and the rows that Airflow sees are the same, names included."""
    assert {conn_type: row["hook-class-name"] for conn_type, row in ROWS.items()} == HOOKS
    for conn_type, row in ROWS.items():
        hook = load(row["hook-class-name"])
        assert (hook.conn_type, hook.hook_name) == (conn_type, row["hook-name"])
        assert "__" not in conn_type


@pytest.mark.parametrize("conn_type", sorted(ROWS))
def test_forms_are_the_settings(conn_type: str) -> None:
    """A form has exactly the fields that its settings take, none of them mandatory, secrets hidden."""
    hook = load(HOOKS[conn_type])
    fields = ROWS[conn_type]["conn-fields"]
    assert set(fields) == set(hook.settings_class.model_fields)
    for name, field in fields.items():
        assert field["label"]
        assert "null" in field["schema"]["type"], f"{name} would be mandatory"
        if name in set(hook.secret_settings) - {"extra_headers"}:
            assert field["schema"]["format"] == "password"


@pytest.mark.parametrize("conn_type", sorted(ROWS))
def test_an_empty_form_is_accepted(conn_type: str) -> None:
    """What a form sends when nothing is filled in, defaults and nulls, is valid."""
    sent = {name: field["schema"].get("default") for name, field in ROWS[conn_type]["conn-fields"].items()}
    load(HOOKS[conn_type]).settings_class.model_validate({k: v for k, v in sent.items() if v is not None})


@pytest.mark.parametrize("conn_type", sorted(ROWS))
def test_labels_of_the_standard_fields(conn_type: str) -> None:
    """Only fields that exist are hidden or renamed, and none is both."""
    behaviour = ROWS[conn_type]["ui-field-behaviour"]
    hidden = set(behaviour["hidden-fields"])
    assert hidden <= STANDARD
    assert set(behaviour["relabeling"]) <= STANDARD - hidden
    assert set(behaviour["placeholders"]) <= (STANDARD - hidden) | set(ROWS[conn_type]["conn-fields"])


def test_everything_named_exists() -> None:
    """Every module and class can be imported; an integration that is named is declared."""
    for path in [*HOOKS.values(), *INFO["extra-links"]]:
        assert isinstance(load(path), type), path
    names = {row["integration-name"] for row in INFO["integrations"]}
    for kind in ("operators", "sensors", "triggers", "hooks"):
        for row in INFO[kind]:
            assert row["integration-name"] in names
            for module in row["python-modules"]:
                importlib.import_module(module)
    for row in INFO["transfers"]:
        importlib.import_module(row["python-module"])
        assert row["source-integration-name"] in names
