"""Embed texts as one batch, and load the vectors into a table.

Set the Airflow Variables `quickstart_source` (a CSV file with the columns id and text) and `quickstart_folder` (where
runs are kept, on any object store) and a database connection `results_db`. `conn_id` may be any connection of this
package; the model must be an embedding model.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_batch_provider.operators import BatchInferenceOperator, BatchInferencePrepareOperator
from airflow_batch_provider.transfers import BatchResultsToSqlOperator

RUN = "{{ var.value.quickstart_folder }}/{{ run_id }}"

with DAG(
    dag_id="embeddings_batch",
    schedule=None,
    # If a worker is killed, a retry continues the run with the batch that is already paid for.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    params={
        "conn_id": Param("local_batch", type="string", description="The connection whose provider answers."),
        "model": Param("smollm2-135m-instruct", type="string", description="The model, as the provider names it."),
        "rows": Param(100, type="integer", minimum=1, description="How many texts to embed."),
    },
    doc_md=__doc__,
    tags=["batch-inference"],
):
    requests = BatchInferencePrepareOperator(
        task_id="prepare",
        source="{{ var.value.quickstart_source }}",
        limit="{{ params.rows }}",
        custom_id="review-{{ row.id }}",
        prompt="{{ row.text }}",
        endpoint="/v1/embeddings",
        output_path=f"{RUN}/requests.jsonl",
        allow_local_path=True,  # a local folder is enough if every task runs on one machine
    )
    answers = BatchInferenceOperator(
        task_id="embed",
        input_path=requests.output,
        output_path=f"{RUN}/vectors",
        conn_id="{{ params.conn_id }}",
        model="{{ params.model }}",
        poll_interval=5,  # seconds; the default of 60 is right for batches that take hours
        allow_local_path=True,
    )
    # The vector of a row is its content, as JSON.
    BatchResultsToSqlOperator(
        task_id="load", run_path=answers.output["run_path"], sql_conn_id="results_db", table="embeddings_batch"
    )
