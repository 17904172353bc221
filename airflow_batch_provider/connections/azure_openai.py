"""Azure OpenAI."""

from __future__ import annotations

from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard
from airflow_batch_provider.connections.settings import Address, Settings, setting

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
    token_scope: str = setting("Token scope", f"Default: {SCOPE}", default=SCOPE, section=ENTRA)
    authority_host: Address | None = setting(
        "Authority",
        "The sign-in server outside the public cloud, e.g. https://login.microsoftonline.us.",
        section=ENTRA,
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
    hook="airflow_batch_provider.hooks.azure_openai.AzureOpenAIBatchHook",
    fakes={"azure_openai": Fake(flavor="azure")},
)
