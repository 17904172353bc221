"""Label a data set day by day, also for past days: `airflow backfill create --dag-id backfill_reviews ...`.

Each day has its own run directory, so days may run in parallel. A day that is run again reads the answers it has; it is
sent again only if its file changed (the old answers are kept under `history/`). Set the Airflow Variables
`reviews_by_day` (a folder with one CSV file per day, `2026-01-31.csv`, with the columns id and text) and
`quickstart_folder` (where runs are kept, on any object store) and a database connection `results_db`.
"""

from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG, Param

from airflow_batch_provider.operators import BatchInferenceOperator, BatchInferencePrepareOperator
from airflow_batch_provider.transfers import BatchResultsToSqlOperator

DAY = "{{ data_interval_start | ds }}"
RUN = f"{{{{ var.value.quickstart_folder }}}}/backfill_reviews/{DAY}"

with DAG(
    dag_id="backfill_reviews",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=4,
    # If a worker is killed, a retry continues the run with the batch that is already paid for.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    params={
        "conn_id": Param("local_batch", type="string", description="The connection whose provider answers."),
        "model": Param("smollm2-135m-instruct", type="string", description="The model, as the provider names it."),
    },
    doc_md=__doc__,
    tags=["batch-inference"],
):
    requests = BatchInferencePrepareOperator(
        task_id="prepare",
        source=f"{{{{ var.value.reviews_by_day }}}}/{DAY}.csv",
        custom_id="{{ row.id }}",
        prompt="Is the sentiment of this review positive or negative? Answer with one word.\n\n{{ row.text }}",
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
        on_changed_input="restart",
        allow_local_path=True,
    )
    BatchResultsToSqlOperator(
        task_id="load", run_path=answers.output["run_path"], sql_conn_id="results_db", table="backfill_reviews"
    )
