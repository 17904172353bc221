"""Azure OpenAI."""

from __future__ import annotations

from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard
from airflow_batch_provider.connections.settings import Address, Settings, setting

SCOPE = "https://cognitiveservices.azure.com/.default"
"""Azure OpenAI's own, from its how-to for keyless connections."""
ENTRA = "Microsoft Entra ID, instead of an API key"


class AzureOpenAISettings(Settings):
    """Extra fields of an ``azure_openai_batch`` connection."""

    deployment: str | None = setting(
        "Deployment",
        "A Global Batch or Data Zone Batch deployment, for rows for which neither the operator nor the line names a "
        "model.",
    )
    api_version: str | None = setting(
        "API version", "Empty, preview or latest for the v1 API; a date such as 2024-10-21 for the older one."
    )
    default_model: str | None = setting("Default model", "Used instead of the deployment, where it is set.")
    entra: bool = setting(
        "Sign in as DefaultAzureCredential finds",
        "Without a key: signs in with the identity of the workers and the triggerer. Not required with a tenant or a "
        "managed identity below.",
        default=False,
        section=ENTRA,
    )
    tenant_id: str | None = setting(
        "Tenant ID",
        "Signs in as an application: its client ID is the login, its client secret the password.",
        section=ENTRA,
    )
    managed_identity_client_id: str | None = setting(
        "Managed identity", "The client ID of a user-assigned managed identity to sign in as.", section=ENTRA
    )
    token_scope: str = setting("Token scope", f"Empty for {SCOPE}.", default=SCOPE, section=ENTRA)
    authority_host: Address | None = setting(
        "Authority",
        "The sign-in server outside of the public cloud, e.g. https://login.microsoftonline.us.",
        section=ENTRA,
    )


CONNECTION = ConnectionType(
    "azure_openai_batch",
    "Azure OpenAI",
    AzureOpenAISettings,
    {
        "host": Standard("Endpoint", "https://RESOURCE.openai.azure.com"),
        "login": Standard("Client ID (Entra only)", "empty with an API key"),
        "password": Standard("API key, or client secret"),
    },
    summary="Azure OpenAI, v1 or dated API",
    needs="host = endpoint; password = key; extra `deployment`, `api_version`",
    example_model="my-deployment",
    hook="airflow_batch_provider.hooks.azure_openai.AzureOpenAIBatchHook",
    fakes={"azure_openai": Fake(flavor="azure")},
)
