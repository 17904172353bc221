"""One DAG of operators that are not ours, run by a real Airflow against ``airflow-batch serve``."""

from __future__ import annotations

import json

import pytest

from airflow_batch_provider.testing.airflow_stack import base_env
from airflow_batch_provider.testing.server_process import ServerProcess
from tests.airflow.dag_process import returned_by
from tests.clients.servers import Watched, jsonl, request, said

DAG_FILE = """
from airflow.providers.common.ai.operators.llm_batch import LLMBatchOperator
from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.providers.openai.operators.openai import OpenAITriggerBatchOperator
from airflow.sdk import DAG, task

FOLDER = "{{ var.value.folder }}"
LANDED = {"result_path": "file://" + FOLDER + "/landed", "llm_conn_id": "llm", "poll_interval": 0.1}

with DAG("theirs", schedule=None) as dag:

    @task
    def upload(path):
        return OpenAIHook().upload_file(path, "batch").id

    @task.llm_batch(model_id="openai:decorated", deferrable=True, **LANDED)
    def decorated(count):
        return [f"prompt {number}" for number in range(count)]

    file_id = upload(FOLDER + "/requests.jsonl")
    sent = {"file_id": file_id, "endpoint": "/v1/chat/completions", "metadata": {"task": "{{ task.task_id }}"}}
    sent |= {"wait_seconds": 0.1, "poll_interval": 0.1}
    OpenAITriggerBatchOperator(task_id="waited", **sent)
    OpenAITriggerBatchOperator(task_id="deferred", deferrable=True, **sent)
    OpenAITriggerBatchOperator(task_id="left", wait_for_completion=False, **sent)
    prompts = [f"of {{{{ task.task_id }}}}, prompt {number}" for number in range(4)]
    LLMBatchOperator(task_id="llm_waited", model_id="openai:m", requests=prompts, **LANDED)
    LLMBatchOperator(task_id="llm_deferred", model_id="openai:m", requests=prompts, deferrable=True, **LANDED)
    decorated(3)
"""
RUNNER = """
import sys
from airflow.providers.common.ai.operators import llm_batch

llm_batch._MIN_POLL_INTERVAL = 0  # half a minute else
sys.path.insert(0, sys.argv[1])
from theirs_dag import dag

run = dag.test()
tasks = {ti.task_id: [str(ti.state), ti.xcom_pull(task_ids=ti.task_id)] for ti in run.get_task_instances()}
returned = [str(run.state), tasks]
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory, migrate):
    """The DAG, run once.

    :return: the server, each task's state and what it returned, and the log of everything.
    """
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "dags").mkdir()
    (folder / "dags" / "theirs_dag.py").write_text(DAG_FILE)
    (folder / "requests.jsonl").write_bytes(jsonl([request(number) for number in range(8)]))
    with ServerProcess(folder / "server") as process:
        server = Watched(process.url, process.token)
        env = base_env(folder / "airflow", folder / "dags") | {
            "AIRFLOW_CONN_OPENAI_DEFAULT": server.connection("openai"),
            "AIRFLOW_CONN_LLM": server.connection("pydanticai"),
            "AIRFLOW_VAR_FOLDER": str(folder),
        }
        migrate(folder / "airflow")
        (state, tasks), printed = returned_by(RUNNER, env, str(folder / "dags"))
        assert state == "success", printed[-4000:]
        yield server, tasks, printed
        server.close()


def test_every_task_has_one_batch(ended):
    """Six tasks, waiting in the worker, in the trigger or not at all: each ends well, with one batch of its own."""
    server, tasks, _ = ended
    names = {"upload", "waited", "deferred", "left", "llm_waited", "llm_deferred", "decorated"}
    assert {name: state for name, (state, _) in tasks.items()} == dict.fromkeys(names, "success")
    told = [tasks[name][1] for name in ("waited", "deferred", "left")]
    told += [tasks[name][1]["batch_id"] for name in ("llm_waited", "llm_deferred", "decorated")]
    assert sorted(told) == sorted(batch["id"] for batch in server.batches())
    assert {server.ended(batch_id)["status"] for batch_id in told} == {"completed"}


def test_the_openai_providers_rows(ended):
    """Every row of each batch is answered under its name; the rendered metadata is the batch's."""
    server, tasks, _ = ended
    for name in ("waited", "deferred", "left"):
        batch = server.ended(tasks[name][1])
        assert batch["metadata"] == {"task": name}
        assert batch["input_file_id"] == tasks["upload"][1]
        assert server.answers(batch) == {f"row-{number}": said(number) for number in range(8)}


def test_common_ais_rows(ended):
    """Every prompt is landed as a row, and the manifest counts them all as succeeded."""
    _, tasks, _ = ended
    prompts = {name: [f"of {name}, prompt {number}" for number in range(4)] for name in ("llm_waited", "llm_deferred")}
    prompts["decorated"] = [f"prompt {number}" for number in range(3)]
    for name, asked in prompts.items():
        manifest = tasks[name][1]
        assert (manifest["counts"]["succeeded"], manifest["terminal_reason"]) == (len(asked), "succeeded")
        with open(manifest["result_uri"].removeprefix("file://"), "rb") as stream:
            rows = sorted((json.loads(line) for line in stream), key=lambda row: row["index"])
        assert [row["output"] for row in rows] == asked
        assert [row["custom_id"] for row in rows] == [
            f"{manifest['custom_id_prefix']}-{number}" for number in range(len(asked))
        ]


def test_deferred_is_deferred(ended):
    """Three tasks waited in a trigger."""
    _, _, output = ended
    assert output.count("running trigger in line") == 3
