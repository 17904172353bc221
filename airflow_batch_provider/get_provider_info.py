"""All that Airflow discovers of this package: the web UI draws the forms from it and imports no hook."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the shape of Airflow's provider schema."""
    from airflow_batch_provider.connections import connection_types
    from airflow_batch_provider.connections.forms import form

    rows = [*connection_types().values()]
    titles = [row.title for row in rows]
    return {
        "package-name": "airflow-batch-provider",
        "name": "LLM Batch Inference",
        "description": "LLM batch inference: one OpenAI-format JSONL as one durable task, on "
        f"{', '.join(titles[:-1])} or {titles[-1]}.",
        "integrations": [
            {
                "integration-name": "LLM Batch Inference",
                "external-doc-url": "https://platform.openai.com/docs/guides/batch",
                "tags": ["ai"],
            }
        ],
        "operators": [
            {
                "integration-name": "LLM Batch Inference",
                "python-modules": ["airflow_batch_provider.operators.batch_inference"],
            }
        ],
        "sensors": [
            {
                "integration-name": "LLM Batch Inference",
                "python-modules": ["airflow_batch_provider.sensors.batch_inference"],
            }
        ],
        "triggers": [
            {
                "integration-name": "LLM Batch Inference",
                "python-modules": ["airflow_batch_provider.triggers.batch_inference"],
            }
        ],
        "hooks": [
            {
                "integration-name": "LLM Batch Inference",
                "python-modules": list(dict.fromkeys(row.hook_path.rpartition(".")[0] for row in rows)),
            }
        ],
        "transfers": [
            {
                "source-integration-name": "LLM Batch Inference",
                "target-integration-name": "Common SQL",
                "python-module": "airflow_batch_provider.transfers.results_to_sql",
            }
        ],
        "connection-types": [form(row) for row in rows],
        "extra-links": ["airflow_batch_provider.links.batch_inference.BatchInferenceLink"],
    }
