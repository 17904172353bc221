"""The same requests to two connections, side by side in one table: which model, which provider, at what cost.

A connection names the provider or gateway, so this compares two models of one provider as well as one model on two
providers or behind a gateway. Set the Airflow Variables `quickstart_source` (a CSV file with the columns id and text)
and `quickstart_folder` (where runs are kept, on any object store) and a database connection `results_db`.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_batch_provider.operators import BatchInferenceOperator, BatchInferencePrepareOperator
from airflow_batch_provider.transfers import BatchResultsToSqlOperator

RUN = "{{ var.value.quickstart_folder }}/{{ run_id }}"

with DAG(
    dag_id="compare_models",
    schedule=None,
    # If a worker is killed, a retry continues the run with the batch that is already paid for.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    params={
        "conn_id": Param("local_batch", type="string", description="The connection of side a."),
        "model": Param("smollm2-135m-instruct", type="string", description="The model of side a."),
        "conn_id_b": Param("local_batch", type="string", description="The connection of side b."),
        "model_b": Param("smollm2-135m-instruct", type="string", description="The model of side b."),
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
    for side, conn_id, model in (("a", "conn_id", "model"), ("b", "conn_id_b", "model_b")):
        answers = BatchInferenceOperator(
            task_id=f"answer_{side}",
            input_path=requests.output,
            output_path=f"{RUN}/{side}",
            conn_id=f"{{{{ params.{conn_id} }}}}",
            model=f"{{{{ params.{model} }}}}",
            poll_interval=5,  # seconds; the default of 60 is right for batches that take hours
            allow_local_path=True,
        )
        # One table: model, route and run key distinguish the answers, custom_id matches them.
        BatchResultsToSqlOperator(
            task_id=f"load_{side}",
            run_path=answers.output["run_path"],
            sql_conn_id="results_db",
            table="compare_models",
        )
