"""Azure OpenAI."""

from __future__ import annotations

from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard
from airflow_batch_provider.connections.settings import Address, Settings, setting
from airflow_batch_provider.core.provider_facts import PriceList, ProviderFacts
from airflow_batch_provider.core.records import Life, Limits

SCOPE = "https://cognitiveservices.azure.com/.default"
"""Azure OpenAI's own, from its how-to for keyless connections."""
ENTRA = "Microsoft Entra ID instead of an API key"


class AzureOpenAISettings(Settings):
    """Extra fields of an ``azure_openai_batch`` connection."""

    deployment: str | None = setting(
        "Deployment",
        "A Global Batch or Data Zone Batch deployment, used if neither the operator nor the row names a model.",
    )
    api_version: str | None = setting(
        "API version", "Empty, preview or latest for the v1 API; a date such as 2024-10-21 for the older one."
    )
    default_model: str | None = setting("Default model", "If set, used instead of the deployment.")
    entra: bool = setting(
        "Default credentials",
        "Sign in with DefaultAzureCredential, the identity of the workers and the triggerer. Not required with a "
        "tenant or a managed identity below.",
        default=False,
        section=ENTRA,
    )
    tenant_id: str | None = setting(
        "Tenant ID",
        "The tenant of an application that signs in; its client ID is the login, its client secret the password.",
        section=ENTRA,
    )
    managed_identity_client_id: str | None = setting(
        "Managed identity", "The client ID of a user-assigned managed identity that signs in.", section=ENTRA
    )
    token_scope: str = setting("Token scope", f"Default: {SCOPE}.", default=SCOPE, section=ENTRA)
    authority_host: Address | None = setting(
        "Authority",
        "The sign-in server outside the public cloud, e.g. https://login.microsoftonline.us.",
        section=ENTRA,
    )


PROVIDER = ProviderFacts(
    Limits(
        max_rows=100_000,
        max_bytes=200_000_000,
        endpoints=("/v1/chat/completions", "/v1/responses"),
        source="Azure OpenAI Global Batch limits: 100,000 requests and 200 MB a file; jobs do not expire",
        # "We aim to process batch requests within 24 hours; we do not expire the jobs that take longer."
        window_hours=72,
        life=Life(1_209_600, 2_592_000, "MicrosoftDocs/azure-ai-docs 0a3ff776, includes/batch/batch-python.md"),
    ),
    # A deployment that is called like its model has the model's price; of any other it is unknown.
    PriceList("azure", discount=0.5, source="Microsoft, Azure OpenAI batch how-to: 50 % less than Global Standard"),
    # On lines and in the create call.
    urls={"/v1/chat/completions": "/chat/completions"},
)

CONNECTION = ConnectionType(
    "azure_openai_batch",
    "Azure OpenAI",
    AzureOpenAISettings,
    {
        "host": Standard("Endpoint", "https://RESOURCE.openai.azure.com"),
        "login": Standard("Client ID (Entra only)", "leave empty with an API key"),
        "password": Standard("API key, or client secret"),
    },
    summary="Azure OpenAI, v1 or dated API",
    needs="host = endpoint; password = key; extra `deployment`, `api_version`",
    example_model="my-deployment",
    facts=PROVIDER,
    hook="airflow_batch_provider.hooks.azure_openai.AzureOpenAIBatchHook",
    fakes={"azure_openai": Fake(flavor="azure")},
)
