"""Label reviews with Gemini on Google Vertex AI, as one batch job, into a table.

The connection holds project, region and bucket; each line is translated to Gemini's own format and back.
Set the Airflow Variables `quickstart_source` (a CSV file with the columns id and text) and `quickstart_folder` (where
runs are kept, on any object store), a connection `vertex_ai_batch` and a database connection `results_db`.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_batch_provider.operators import BatchInferenceOperator, BatchInferencePrepareOperator
from airflow_batch_provider.transfers import BatchResultsToSqlOperator

RUN = "{{ var.value.quickstart_folder }}/{{ run_id }}"

with DAG(
    dag_id="vertex_ai_batch",
    schedule=None,
    # If a worker is killed, a retry continues the run with the batch that is already paid for.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    params={
        "conn_id": Param("vertex_ai_batch", type="string", description="The connection whose provider answers."),
        "model": Param("gemini-2.5-flash", type="string", description="The model, as Vertex AI names it."),
        "rows": Param(150, type="integer", minimum=1, description="How many reviews to send."),
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
        body={"temperature": 0, "max_tokens": 200},
        json_schema={
            "type": "object",
            "properties": {"sentiment": {"type": "string", "enum": ["positive", "negative"]}},
            "required": ["sentiment"],
            "additionalProperties": False,
        },
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
        table="vertex_ai_batch",
    )
