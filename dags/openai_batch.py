"""Label reviews with OpenAI, as one batch with a budget, and load the answers into a table.

Set the Airflow Variables `quickstart_source` (a CSV file with the columns id and text) and `quickstart_folder` (where
runs are kept, on any object store), a connection `openai_batch` and a database connection `results_db`. `conn_id`
may be any connection of this package, e.g. `local_batch`.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_batch_provider.operators import BatchInferenceOperator, BatchInferencePrepareOperator
from airflow_batch_provider.transfers import BatchResultsToSqlOperator

RUN = "{{ var.value.quickstart_folder }}/{{ run_id }}"

with DAG(
    dag_id="openai_batch",
    schedule=None,
    # If a worker is killed, a retry continues the run with the batch that is already paid for.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    params={
        "conn_id": Param("openai_batch", type="string", description="The connection whose provider answers."),
        "model": Param("gpt-5-mini", type="string", description="A model of the Batch API."),
        "rows": Param(100, type="integer", minimum=1, description="How many reviews to send."),
        "budget": Param(
            None, type=["null", "number"], exclusiveMinimum=0, description="US dollars it may cost; empty for no limit."
        ),
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
            {
                "role": "user",
                "content": "Is this review positive or negative? Answer with one word.\n\n{{ row.text }}",
            },
        ],
        body={"temperature": 0, "max_tokens": 50},
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
        max_cost_usd="{{ params.budget }}",
        allow_local_path=True,
    )
    BatchResultsToSqlOperator(
        task_id="load",
        run_path=answers.output["run_path"],
        sql_conn_id="results_db",
        table="openai_batch",
    )
