"""Azure OpenAI."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_batch_provider.backends.azure_openai import azure_backend
from airflow_batch_provider.backends.openai import OpenAIBackend
from airflow_batch_provider.hooks.base import BatchInferenceHook, Settings, base_url, password


class AzureOpenAISettings(Settings):
    """Extra fields of an ``azure_openai_batch`` connection.

    :param deployment: a Global Batch or Data Zone Batch deployment, asked where neither operator nor line names one.
    :param api_version: empty for the v1 API; a date such as ``2024-10-21`` for the older one.
    """

    deployment: str | None = None
    api_version: str | None = None


class AzureOpenAIBatchHook(BatchInferenceHook):
    """Batches on Azure OpenAI; host is ``https://RESOURCE.openai.azure.com``, password the resource's key."""

    conn_type = "azure_openai_batch"
    hook_name = "LLM batch: Azure OpenAI"
    default_conn_name = "azure_openai_batch_default"
    settings_class: ClassVar[type[Settings]] = AzureOpenAISettings

    def make_backend(self, connection: Any, settings: AzureOpenAISettings) -> OpenAIBackend:
        """The deployment is the default model."""
        settings.default_model = settings.default_model or settings.deployment
        return azure_backend(
            base_url(connection), password(connection), api_version=settings.api_version, models=settings.models()
        )
