"""Extract fields from texts: every answer follows a JSON schema, and its fields become columns of a table.

Set the Airflow Variables `quickstart_source` (a CSV file with the columns id and text) and `quickstart_folder` (where
runs are kept, on any object store) and a database connection `results_db`. `conn_id` may be any connection of this
package; the schema is sent as the provider's structured output.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_batch_provider.operators import BatchInferenceOperator, BatchInferencePrepareOperator
from airflow_batch_provider.transfers import BatchResultsToSqlOperator

RUN = "{{ var.value.quickstart_folder }}/{{ run_id }}"

REVIEW = {
    "title": "review",
    "type": "object",
    "properties": {
        "sentiment": {"type": "string", "enum": ["positive", "negative"]},
        "subject": {"type": "string", "description": "What the review is about, in three words at most."},
    },
    "required": ["sentiment", "subject"],
    "additionalProperties": False,
}

with DAG(
    dag_id="structured_extraction",
    schedule=None,
    # If a worker is killed, a retry continues the run with the batch that is already paid for.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    params={
        "conn_id": Param("local_batch", type="string", description="The connection whose provider answers."),
        "model": Param("smollm2-135m-instruct", type="string", description="The model, as the provider names it."),
        "rows": Param(100, type="integer", minimum=1, description="How many reviews to read."),
    },
    doc_md=__doc__,
    tags=["batch-inference"],
):
    requests = BatchInferencePrepareOperator(
        task_id="prepare",
        source="{{ var.value.quickstart_source }}",
        limit="{{ params.rows }}",
        custom_id="review-{{ row.id }}",
        prompt="What is this review about, and is it positive or negative? Reply in JSON.\n\n{{ row.text }}",
        body={"temperature": 0, "max_tokens": 200},
        json_schema=REVIEW,
        output_path=f"{RUN}/requests.jsonl",
        allow_local_path=True,  # a local folder is enough if every task runs on one machine
    )
    answers = BatchInferenceOperator(
        task_id="answer",
        input_path=requests.output,
        output_path=f"{RUN}/answers",
        conn_id="{{ params.conn_id }}",
        model="{{ params.model }}",
        poll_interval=5,  # seconds; the default of 60 is right for batches that take hours
        allow_local_path=True,
    )
    BatchResultsToSqlOperator(
        task_id="load",
        run_path=answers.output["run_path"],
        sql_conn_id="results_db",
        table="structured_extraction",
        json_fields={"sentiment": "sentiment", "subject": "subject"},
    )
