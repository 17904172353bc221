"""Prepare, submit, wait, fetch, load: each is a separate task, so that other tasks can run between them.

Set the Airflow Variables `quickstart_source` (a CSV file with the columns id and text) and `quickstart_folder` (where
runs are kept, on any object store) and a database connection `results_db`. `conn_id` may be any connection of this
package. `dags/quickstart.py` does it with one operator, which also sends failed rows again.
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
    # If a worker is killed, a retry continues the run with the batch that is already paid for.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    params={
        "conn_id": Param("local_batch", type="string", description="The connection whose provider answers."),
        "model": Param("smollm2-135m-instruct", type="string", description="The model, as the provider names it."),
        "rows": Param(100, type="integer", minimum=1, description="How many reviews to send."),
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
        allow_local_path=True,  # a local folder is enough if every task runs on one machine
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
