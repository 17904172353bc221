"""Azure OpenAI."""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.backends.wire.azure_openai import azure_backend
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.connections.azure_openai import CONNECTION, AzureOpenAISettings
from airflow_batch_provider.hooks.azure_credentials import EntraAccess, sign_in
from airflow_batch_provider.hooks.base import BatchInferenceHook, base_url, password


class AzureOpenAIBatchHook(BatchInferenceHook):
    """Batches on Azure OpenAI; host is ``https://RESOURCE.openai.azure.com``, password the resource's key.

    Or Microsoft Entra ID is signed in to: see the settings.
    """

    row = CONNECTION

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
            self.row.known,
            api_version=settings.api_version,
            models=settings.models(),
            sign_in=sign_in(access) if by_entra else None,
        )
