"""OpenAI."""

from __future__ import annotations

from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard, Wire
from airflow_batch_provider.connections.settings import Settings, setting
from airflow_batch_provider.core.provider_facts import PriceList, ProviderFacts
from airflow_batch_provider.core.records import Life, Limits


class OpenAISettings(Settings):
    """Extra fields of an ``openai_batch`` connection."""

    organization: str | None = setting(
        "Organization", "The organization to bill (org-...), if the key belongs to several.", section="Billing"
    )
    project: str | None = setting(
        "Project", "The project to bill (proj_...), if the key belongs to several.", section="Billing"
    )


PROVIDER = ProviderFacts(
    Limits(
        max_rows=50_000,
        max_bytes=200_000_000,
        endpoints=(
            "/v1/chat/completions",
            "/v1/responses",
            "/v1/embeddings",
            "/v1/completions",
            "/v1/moderations",
        ),
        # OpenAI's SDK: BatchCreateParams.endpoint for the texts of a job, EmbeddingCreateParams.input for a request's.
        max_texts=50_000,
        max_row_texts=2_048,
        max_row_tokens=300_000,
        source="OpenAI Batch guide: 50,000 requests and 200 MB a file, window 24 h; embeddings: 2,048 texts and "
        "300,000 tokens a request, 50,000 texts a job",
        life=Life(3_600, 2_592_000, "OpenAI's OpenAPI document: FileExpirationAfter, BatchFileExpirationAfter"),
    ),
    PriceList("openai", discount=0.5, source="OpenAI, Batch API guide: 50 % less than synchronous calls"),
)

CONNECTION = ConnectionType(
    "openai_batch",
    "OpenAI",
    OpenAISettings,
    {
        "host": Standard("Base URL", "https://api.openai.com/v1"),
        "password": Standard("API key", missing="the API key is missing; set it as the password"),
    },
    needs="password = API key; extra `organization`, `project`; host only for another base URL",
    example_model="gpt-5-mini",
    hook="airflow_batch_provider.hooks.openai.OpenAIBatchHook",
    facts=PROVIDER,
    wire=Wire(
        base_url="https://api.openai.com/v1",
        headers={"OpenAI-Organization": "organization", "OpenAI-Project": "project"},
        identity=("organization", "project"),
        console="https://platform.openai.com/batches/{id}",
        takes_expiry=True,
        checks_chat=True,
    ),
    fakes={"openai": Fake()},
)
