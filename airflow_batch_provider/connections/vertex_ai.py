"""Google Vertex AI."""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard
from airflow_batch_provider.connections.settings import FACTS, FAMILIES, Address, Facts, Names, Settings, setting
from airflow_batch_provider.core.provider_facts import PriceList, ProviderFacts
from airflow_batch_provider.core.records import JobStatus, Limits

SIGN_IN = "Other ways to sign in"
NETWORK = "Output and network"
JOBS = "Jobs and limits"


class VertexAISettings(Settings):
    """Extra fields of a ``vertex_ai_batch`` connection."""

    project: str | None = setting("Project", "The project of the jobs. Default: that of the service account key.")
    region: str | None = setting("Region", "The region of the jobs, e.g. us-central1, or global.", required=True)
    bucket: str | None = setting(
        "Bucket", "The Cloud Storage bucket for input and output, in the same region.", required=True
    )
    prefix: str = setting("Prefix", "The prefix of every object in the bucket.", default="")
    key_path: str | None = setting(
        "Key file", "The path of a service account key on the workers and the triggerer.", section=SIGN_IN
    )
    gcp_conn_id: str | None = setting(
        "Google connection", "The ID of an Airflow connection of type google_cloud_platform.", section=SIGN_IN
    )
    impersonation_chain: Names = setting(
        "Impersonation chain",
        "Service accounts, comma-separated; the last one is the caller.",
        default=(),
        section=SIGN_IN,
    )
    token: str | None = setting(
        "Access token", "Valid for at most an hour; for tests and short runs.", section=SIGN_IN, hide="text"
    )
    # Masked by its parts: its project and address are no secrets, and belong in logs.
    keyfile_dict: dict[str, Any] | str | None = setting(
        "Key (JSON)", "The service account key, instead of the standard field.", section=SIGN_IN, hide="parts"
    )
    output_prefix: str | None = setting(
        "Output prefix", "A gs:// prefix for output. Default: in the bucket.", section=NETWORK
    )
    vertex_url: Address | None = setting(
        "Vertex AI URL", "Another address, e.g. of a private endpoint.", section=NETWORK
    )
    storage_url: Address | None = setting("Storage URL", "Another address for Cloud Storage.", section=NETWORK)
    labels: dict[str, str] = setting("Labels", 'Set on every job, e.g. {"team": "search"}.', default=dict, section=JOBS)
    row_labels: bool = setting(
        "Label every row",
        "Writes the ID of each Gemini row as a label, which appears in billing exports. Without it, an answer is "
        "matched by the ID beside the request, or by the request itself.",
        default=True,
        section=JOBS,
    )
    max_rows: int | None = setting("Maximum requests", "Maximum number of requests in a job.", section=JOBS, ge=1)
    max_bytes: int | None = setting("Maximum bytes", "Maximum size of a job's input.", section=JOBS, ge=1)
    model_families: dict[str, str] = setting("Model families", FAMILIES, default=dict, section=JOBS)
    model_facts: Facts = setting("Model facts", FACTS, default=dict, section=JOBS)


PROVIDER = ProviderFacts(
    Limits(
        max_rows=200_000,
        max_bytes=1_000_000_000,
        window_hours=96,
        endpoints=("/v1/chat/completions", "/v1/embeddings"),
        source="Google, batch inference: 200,000 requests and 1 GB a job; queued for 72 h, then running for 24 h",
    ),
    PriceList(
        "google",
        discount=0.5,
        source="Google, Batch inference with Gemini: 50 % less than real-time inference",
        # Google names a price for sound where it is another one than that of text.
        sound_as_text=True,
        bare_names=True,
    ),
    # JobState of google.cloud.aiplatform.v1.
    statuses={
        "JOB_STATE_UNSPECIFIED": JobStatus.UNKNOWN,
        "JOB_STATE_QUEUED": JobStatus.VALIDATING,
        "JOB_STATE_PENDING": JobStatus.VALIDATING,
        "JOB_STATE_RUNNING": JobStatus.IN_PROGRESS,
        "JOB_STATE_SUCCEEDED": JobStatus.COMPLETED,
        "JOB_STATE_FAILED": JobStatus.FAILED,
        "JOB_STATE_CANCELLING": JobStatus.CANCELLING,
        "JOB_STATE_CANCELLED": JobStatus.CANCELLED,
        "JOB_STATE_PAUSED": JobStatus.IN_PROGRESS,
        "JOB_STATE_EXPIRED": JobStatus.EXPIRED,
        "JOB_STATE_UPDATING": JobStatus.IN_PROGRESS,
        "JOB_STATE_PARTIALLY_SUCCEEDED": JobStatus.PARTIALLY_COMPLETED,
    },
)

CONNECTION = ConnectionType(
    "vertex_ai_batch",
    "Google Vertex AI",
    VertexAISettings,
    {"password": Standard("Service account key (JSON)", "leave empty to sign in another way")},
    summary="Google Vertex AI: Gemini, Claude, open models",
    needs="password = service account key, or extra `key_path`, `gcp_conn_id`, `impersonation_chain`, or the worker's "
    "account; extra `project`, `region`, `bucket`",
    example_model="gemini-2.5-flash",
    facts=PROVIDER,
    hook="airflow_batch_provider.hooks.vertex_ai.VertexAIBatchHook",
    fakes={
        "vertex_ai": Fake(
            "airflow_batch_provider.testing.routes.start_vertex_ai",
            model="gemini-2.5-flash",
            rules="`engine`, `project`, `region`, `bucket`, `location`, `deny`: permissions that are refused",
        )
    },
)
