"""Google Vertex AI."""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard
from airflow_batch_provider.connections.settings import FACTS, FAMILIES, Address, Facts, Names, Settings, setting

SIGN_IN = "Other ways to sign in"
NETWORK = "Output and network"
JOBS = "Jobs and the account's quotas"


class VertexAISettings(Settings):
    """Extra fields of a ``vertex_ai_batch`` connection."""

    project: str | None = setting("Project", "The project of the jobs; the service account's unless set.")
    region: str | None = setting("Region", "The region of the jobs, e.g. us-central1, or global.", required=True)
    bucket: str | None = setting("Bucket", "In Cloud Storage, for input and output, in the same region.", required=True)
    prefix: str = setting("Prefix", "What every name in the bucket begins with.", default="")
    key_path: str | None = setting(
        "Key file", "Path of a service account's key on the workers and the triggerer.", section=SIGN_IN
    )
    gcp_conn_id: str | None = setting(
        "Google connection", "An Airflow connection of type google_cloud_platform.", section=SIGN_IN
    )
    impersonation_chain: Names = setting(
        "Impersonation chain", "Service accounts, comma-separated; the last one calls.", default=(), section=SIGN_IN
    )
    token: str | None = setting(
        "Access token", "Valid for at most an hour; for tests and short runs.", section=SIGN_IN, hide="text"
    )
    # Masked by its parts: its project and address are no secrets, and belong in logs.
    keyfile_dict: dict[str, Any] | str | None = setting(
        "Key in extra", "The same key as in the standard fields; set one of them.", section=SIGN_IN, hide="parts"
    )
    output_prefix: str | None = setting(
        "Output prefix", "A gs:// prefix for output; the bucket unless set.", section=NETWORK
    )
    vertex_url: Address | None = setting(
        "Vertex AI URL", "Another address, e.g. a private endpoint's.", section=NETWORK
    )
    storage_url: Address | None = setting("Storage URL", "Another address of Cloud Storage.", section=NETWORK)
    labels: dict[str, str] = setting("Labels", 'Set on every job, e.g. {"team": "search"}.', default=dict, section=JOBS)
    row_labels: bool = setting(
        "Label every row",
        "Also writes the id of each Gemini row as a label, which billing exports list. Without it, rows are known by "
        "the id beside the request, or by the request itself.",
        default=True,
        section=JOBS,
    )
    max_rows: int | None = setting("Most requests", "Most requests in a job.", section=JOBS, ge=1)
    max_bytes: int | None = setting("Most bytes", "Most bytes in a job's input.", section=JOBS, ge=1)
    model_families: dict[str, str] = setting("Model families", FAMILIES, default=dict, section=JOBS)
    model_facts: Facts = setting("Model facts", FACTS, default=dict, section=JOBS)


CONNECTION = ConnectionType(
    "vertex_ai_batch",
    "Google Vertex AI",
    VertexAISettings,
    {"password": Standard("Service account key (JSON)", "empty for another way to sign in, below")},
    summary="Google Vertex AI: Gemini, Claude, open models",
    needs="password = service account key, or extra `key_path`, `gcp_conn_id`, `impersonation_chain`, or the worker's "
    "account; extra `project`, `region`, `bucket`",
    example_model="gemini-2.5-flash",
    hook="airflow_batch_provider.hooks.vertex_ai.VertexAIBatchHook",
    fakes={
        "vertex_ai": Fake(
            "airflow_batch_provider.testing.routes.start_vertex_ai",
            model="gemini-2.5-flash",
            rules="`engine`, `project`, `region`, `bucket`, `location`, `deny`: permissions that are refused",
        )
    },
)
