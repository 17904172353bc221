"""Two DAGs joined by an asset: the first submits and ends; then the second starts, waits, fetches and loads.

So one team can submit and another can load, each with its own schedule, owners and retries, and the first DAG does not
wait for the batch. Set the Airflow Variables `quickstart_source` (a CSV file with the columns
id and text) and `quickstart_folder` (where runs are kept, on any object store) and a database connection
`results_db`.
"""

from datetime import timedelta

from airflow.sdk import DAG, Asset, Metadata, Param, task

from airflow_batch_provider.operators import (
    BatchInferenceFetchOperator,
    BatchInferencePrepareOperator,
    BatchInferenceSubmitOperator,
)
from airflow_batch_provider.transfers import BatchResultsToSqlOperator

RUN = "{{ var.value.quickstart_folder }}/{{ run_id }}"
# If a worker is killed, a retry continues the run with the batch that is already paid for.
RETRIES = {"retries": 3, "retry_delay": timedelta(minutes=5)}
SENT = Asset("reviews-sent")

with DAG(
    dag_id="submit_here",
    schedule=None,
    default_args=RETRIES,
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

    @task(outlets=[SENT])
    def tell(run_path: str):
        """Tell whoever listens where the run is."""
        yield Metadata(SENT, extra={"run_path": run_path})

    tell(submitted.output["run_path"])

with DAG(dag_id="fetch_there", schedule=[SENT], default_args=RETRIES, doc_md=__doc__, tags=["batch-inference"]):

    @task
    def heard(triggering_asset_events=None) -> list[str]:
        """The runs that were sent since this DAG last ran."""
        return [event.extra["run_path"] for event in triggering_asset_events[SENT]]

    fetched = BatchInferenceFetchOperator.partial(task_id="fetch", poll_interval=5).expand(run_path=heard())
    BatchResultsToSqlOperator.partial(task_id="load", sql_conn_id="results_db", table="fetched_there").expand(
        run_path=fetched.output.map(lambda told: told["run_path"])
    )
