"""TrueFoundry AI gateway."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from airflow_batch_provider.backends.gateways.cloud_place import CloudPlace
from airflow_batch_provider.backends.gateways.gateway import Behind, truefoundry_backend
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.hooks.base import BatchInferenceHook, HeaderText, Settings, base_url, password
from airflow_batch_provider.hooks.gateway_fields import CloudSettings


class TrueFoundrySettings(CloudSettings):
    """Extra fields of a ``truefoundry_batch`` connection.

    :param provider_name: the provider integration, sent as ``x-tfy-provider-name`` with every call.
    :param behind: what the integration is.
    :param azure_api_version: sent as ``x-tfy-azure-api-version``; needed for Azure.
    :param extra_headers: further headers; every value is treated as a secret.
    :param extra_body: added to every create call.
    """

    provider_name: str | None = None
    behind: Behind = "openai"
    azure_api_version: str | None = None
    extra_headers: dict[str, HeaderText] = Field(default_factory=dict)
    extra_body: dict[str, Any] = Field(default_factory=dict)


class TrueFoundryBatchHook(BatchInferenceHook):
    """Batches through TrueFoundry; host is ``https://{controlPlaneUrl}/api/llm``, password an access token."""

    conn_type = "truefoundry_batch"
    hook_name = "LLM batch: TrueFoundry"
    default_conn_name = "truefoundry_batch_default"
    settings_class: ClassVar[type[Settings]] = TrueFoundrySettings

    def make_backend(self, connection: Any, settings: TrueFoundrySettings) -> OpenAIBackend:
        """Headers for every call."""
        places = {"bedrock": settings.bedrock, "vertex_ai": settings.vertex_ai}
        return truefoundry_backend(
            base_url(connection),
            password(connection),
            settings.provider_name,
            behind=settings.behind,
            azure_api_version=settings.azure_api_version,
            place=places[settings.behind]() if settings.behind in places else CloudPlace(),
            extra_headers=settings.extra_headers,
            extra_body=settings.extra_body,
            models=settings.models(),
        )
