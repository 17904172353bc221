"""Label reviews with a language model, as one batch, into a table.

It works with any connection of this package: only `conn_id` decides which provider answers.
Set the Airflow Variables `quickstart_source` (a CSV file with the columns id and text) and `quickstart_folder` (where
runs are kept, on any object store), and a database connection `results_db`. `make demo` does this for you.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_batch_provider.operators import (
    BatchInferenceOperator,
    BatchInferencePrepareOperator,
    BatchInferenceValidateOperator,
)
from airflow_batch_provider.transfers import BatchResultsToSqlOperator

RUN = "{{ var.value.quickstart_folder }}/{{ run_id }}"

SENTIMENT = {
    "type": "object",
    "properties": {"sentiment": {"type": "string", "enum": ["positive", "negative"]}},
    "required": ["sentiment"],
    "additionalProperties": False,
}

with DAG(
    dag_id="quickstart",
    schedule="@daily",
    catchup=False,
    # If a worker is killed, a retry continues the run with the batch that is already paid for.
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
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
        messages=[
            {"role": "system", "content": "You are a sentiment classifier. Reply in JSON."},
            {
                "role": "user",
                "content": "Is the sentiment of this review positive or negative?\n\nReview: {{ row.text }}",
            },
        ],
        body={"temperature": 0},
        json_schema=SENTIMENT,
        output_path=f"{RUN}/requests.jsonl",
        allow_local_path=True,  # a local folder is enough if every task runs on one machine
    )
    checked = BatchInferenceValidateOperator(
        task_id="validate", input_path=requests.output, conn_id="{{ params.conn_id }}", model="{{ params.model }}"
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
    load = BatchResultsToSqlOperator(
        task_id="load",
        run_path=answers.output["run_path"],
        sql_conn_id="results_db",
        table="review_sentiment",
    )
    checked >> answers
