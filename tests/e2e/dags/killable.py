"""One batch whose tasks are retried at once; the end-to-end tests kill what runs it."""

from datetime import timedelta

from airflow.sdk import DAG

from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator

with DAG("killable", schedule=None):
    BatchInferenceOperator(
        task_id="answer",
        input_path="{{ var.value.killable_folder }}/requests.jsonl",
        output_path="{{ var.value.killable_folder }}/{{ run_id }}",
        conn_id="local_batch",
        poll_interval=1,
        allow_local_path=True,
        retries=3,
        retry_delay=timedelta(seconds=1),
    )
