"""Azure OpenAI."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_batch_provider.backends.wire.azure_openai import azure_backend
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.hooks.azure_credentials import SCOPE, EntraAccess, sign_in
from airflow_batch_provider.hooks.base import BatchInferenceHook, Settings, base_url, password
from airflow_batch_provider.hooks.fields import Address


class AzureOpenAISettings(Settings):
    """Extra fields of an ``azure_openai_batch`` connection.

    :param deployment: a Global Batch or Data Zone Batch deployment, asked where neither operator nor line names one.
    :param api_version: empty, ``preview`` or ``latest`` for the v1 API; a date (``2024-10-21``) for the older one.
    :param entra: signs in with Microsoft Entra ID as DefaultAzureCredential finds; what follows implies it.
    :param tenant_id: of an application that signs in with Microsoft Entra ID: login is its client id, password its
        secret.
    :param managed_identity_client_id: signs in as this user-assigned managed identity.
    :param token_scope: of the tokens, where it is not the public cloud's.
    :param authority_host: where applications sign in, where it is not the public cloud's.
    """

    deployment: str | None = None
    api_version: str | None = None
    entra: bool = False
    tenant_id: str | None = None
    managed_identity_client_id: str | None = None
    token_scope: str = SCOPE
    authority_host: Address | None = None


class AzureOpenAIBatchHook(BatchInferenceHook):
    """Batches on Azure OpenAI; host is ``https://RESOURCE.openai.azure.com``, password the resource's key.

    Or Microsoft Entra ID is signed in to: see the settings.
    """

    conn_type = "azure_openai_batch"
    hook_name = "LLM batch: Azure OpenAI"
    default_conn_name = "azure_openai_batch_default"
    settings_class: ClassVar[type[Settings]] = AzureOpenAISettings

    def make_backend(self, connection: Any, settings: AzureOpenAISettings) -> OpenAIBackend:
        """The deployment is the default model."""
        settings.default_model = settings.default_model or settings.deployment
        secret = password(connection)
        access = EntraAccess(
            self.conn_id,
            tenant_id=settings.tenant_id,
            client_id=(connection.login or "").strip(),
            client_secret=secret,
            managed_identity_client_id=settings.managed_identity_client_id,
            scope=settings.token_scope,
            authority_host=settings.authority_host,
        )
        by_entra = settings.entra or access.is_application or access.managed_identity_client_id
        self._mask(secret)
        return azure_backend(
            base_url(connection),
            "" if by_entra else secret,
            api_version=settings.api_version,
            models=settings.models(),
            sign_in=sign_in(access) if by_entra else None,
        )
