"""The steps apart: prepare, submit, wait, fetch, load; each a task of its own, to put other tasks between them.

Set the Airflow Variables `quickstart_source` (a CSV file with the columns id and text) and `quickstart_folder` (where
runs are kept; any object store will do) and a database connection `results_db`. Any connection of this package will do
for `conn_id`. One operator for all of it, which also asks failed rows again: `dags/quickstart.py`.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_batch_provider.operators import (
    BatchInferenceFetchOperator,
    BatchInferencePrepareOperator,
    BatchInferenceSubmitOperator,
)
from airflow_batch_provider.sensors import BatchInferenceSensor
from airflow_batch_provider.transfers import BatchResultsToSqlOperator

RUN = "{{ var.value.quickstart_folder }}/{{ run_id }}"

with DAG(
    dag_id="four_steps",
    schedule=None,
    # A killed worker is resumed by a retry, which finds the batch it has already paid for.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    params={
        "conn_id": Param("local_batch", type="string", description="The connection whose provider answers."),
        "model": Param("smollm2-135m-instruct", type="string", description="The model, as the provider names it."),
        "rows": Param(100, type="integer", minimum=1, description="How many reviews to ask about."),
    },
    doc_md=__doc__,
    tags=["batch-inference"],
):
    requests = BatchInferencePrepareOperator(
        task_id="prepare",
        source="{{ var.value.quickstart_source }}",
        limit="{{ params.rows }}",
        custom_id="review-{{ row.id }}",
        prompt="Is the sentiment of this review positive or negative? Answer with one word.\n\n{{ row.text }}",
        body={"temperature": 0, "max_tokens": 50},
        output_path=f"{RUN}/requests.jsonl",
        allow_local_path=True,  # a local folder will do while every task runs on one machine
    )
    submitted = BatchInferenceSubmitOperator(
        task_id="submit",
        input_path=requests.output,
        output_path=f"{RUN}/answers",
        conn_id="{{ params.conn_id }}",
        model="{{ params.model }}",
        allow_local_path=True,
    )
    ended = BatchInferenceSensor(task_id="wait", run_path=submitted.output["run_path"], poll_interval=5)
    answers = BatchInferenceFetchOperator(task_id="fetch", run_path=submitted.output["run_path"])
    BatchResultsToSqlOperator(
        task_id="load", run_path=answers.output["run_path"], sql_conn_id="results_db", table="four_steps"
    )
    ended >> answers
