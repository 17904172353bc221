"""A connection type of another package: installed by pip, found by its entry point, run by the operator."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_batch_provider import connections
from airflow_batch_provider.connections import GROUP, connection_types, own_types
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.hooks.base import hook_class
from airflow_batch_provider.run.pricing import find_price
from airflow_batch_provider.testing.airflow_stack import base_env
from tests.airflow.dag_process import returned_by
from tests.airflow.world import request, write
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
DAG = """
from airflow.sdk import DAG
from airflow_batch_provider.operators import BatchInferenceOperator

with DAG(dag_id="foreign", schedule=None, params={"folder": ""}) as dag:
    BatchInferenceOperator(
        task_id="answer",
        input_path="{{ params.folder }}/in.jsonl",
        output_path="{{ params.folder }}/run",
        conn_id="acme",
        allow_local_path=True,
        poll_interval=0.2,
        retries=1,
    )
"""
RUN = """
import os, sys
from airflow.providers_manager import ProvidersManager
from airflow_batch_provider.testing import fake_route
from foreign import dag

known = ProvidersManager().hooks["acme_batch"]
with fake_route("acme") as route:
    os.environ["AIRFLOW_CONN_ACME"] = route.connection_json
    run = dag.test(run_conf={"folder": sys.argv[1]})
    returned = {
        "state": str(run.state),
        "label": known.hook_name,
        "class": known.hook_class_name,
        "jobs": len(route.fake.batches),
        "teams": sorted({call.headers["x-acme-team"] for call in route.fake.requests}),
    }
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip has installed the package into, without an index."""
    folder = tmp_path_factory.mktemp("foreign")
    shutil.copytree(ROOT / "tests" / "foreign", folder / "source")  # a build leaves its files beside the source
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    argv += ["--no-build-isolation", "--target", str(folder / "site"), str(folder / "source")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_it_runs(installed: Path, tmp_path: Path, migrate: Any) -> None:
    """Airflow shows its form, and a DAG with nothing but its conn_id runs a batch on it."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "foreign.py").write_text(DAG)
    write(tmp_path / "in.jsonl", [request(number) for number in range(7)])
    env = base_env(tmp_path / "airflow", tmp_path / "dags")
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(installed), str(tmp_path / "dags")])
    migrate(tmp_path / "airflow")
    seen, printed = returned_by(RUN, env, str(tmp_path))
    assert seen == {
        "state": "success",
        "label": "LLM batch: Acme gateway",
        "class": "airflow_batch_provider.hooks.plain.AcmeBatchHook",
        "jobs": 1,
        "teams": ["search"],
    }, printed[-3000:]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["total"], summary["outcomes"]["succeeded"]) == (7, 7)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["identity"]["type"] == "acme_batch"


# ---- packages that are wrong ---------------------------------------------------------------------------------------


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[importlib.metadata.EntryPoint]]:
    """The entry points that are installed."""
    made: list[importlib.metadata.EntryPoint] = []
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: made if group == GROUP else [])
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "foreign"))
    connection_types.cache_clear()
    yield made
    connection_types.cache_clear()


def point(name: str, value: str) -> importlib.metadata.EntryPoint:
    return importlib.metadata.EntryPoint(name, value, GROUP)


def test_it_is_added_behind_our_own(points: list[Any]) -> None:
    """Our own types come first; docs and tests of this package do not see it."""
    points.append(point("acme_batch", "acme_llm.connection:CONNECTION"))
    assert [*connection_types()] == [*own_types(), "acme_batch"]


def test_what_it_says_of_its_provider_holds(points: list[Any]) -> None:
    """Limits, discount and status words are those of its row, none of ours."""
    points.append(point("acme_batch", "acme_llm.connection:CONNECTION"))
    connection = Connection(conn_id="c", conn_type="acme_batch", password="k", extra='{"team": "search"}')
    backend = hook_class("c", "acme_batch")("c", connection=connection).backend
    assert (backend.limits.max_rows, backend.limits.endpoints) == (10_000, ("/v1/chat/completions",))
    ours = find_price(own_types()["openai_batch"].known.price_list, "gpt-5-mini", {})
    theirs = find_price(backend.price_list, "gpt-5-mini", {})
    assert ours is not None
    assert theirs is not None
    assert theirs.output == pytest.approx(ours.output / 0.5 * 0.8)
    assert backend.facts.provider.statuses["parked"] is JobStatus.VALIDATING


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("acme_batch", "acme_llm.nowhere:CONNECTION", "No module named 'acme_llm.nowhere'"),
        ("acme_batch", "acme_llm.connection:ELSE", "ELSE"),
        ("acme_batch", "acme_llm.connection:AcmeSettings", "not a ConnectionType"),
        ("other_batch", "acme_llm.connection:CONNECTION", "use one name"),
        ("openai_batch", "airflow_batch_provider.connections.openai:CONNECTION", "the name is taken"),
    ],
)
def test_a_wrong_one_is_left_out(points: list[Any], caplog: Any, name: str, value: str, said: str) -> None:
    """It is named in a warning, and everything else works."""
    points += [point(name, value), point("acme_batch", "acme_llm.connection:CONNECTION")]
    with caplog.at_level(logging.WARNING, connections.__name__):
        known = connection_types()
    assert [*known] == [*own_types(), "acme_batch"]
    assert known["openai_batch"] is own_types()["openai_batch"]
    assert said in caplog.text
    assert repr(name) in caplog.text
