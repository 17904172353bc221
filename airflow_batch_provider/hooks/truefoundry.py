"""TrueFoundry AI gateway."""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.backends.gateways.cloud_place import CloudPlace
from airflow_batch_provider.backends.gateways.gateway import truefoundry_backend
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.connections.truefoundry import CONNECTION, TrueFoundrySettings
from airflow_batch_provider.hooks.base import BatchInferenceHook, base_url, password
from airflow_batch_provider.hooks.gateway_places import bedrock_place, vertex_place


class TrueFoundryBatchHook(BatchInferenceHook):
    """Batches through TrueFoundry; host is ``https://{controlPlaneUrl}/api/llm``, password an access token."""

    row = CONNECTION

    def make_backend(self, connection: Any, settings: TrueFoundrySettings) -> OpenAIBackend:
        """Headers for every call."""
        places = {"bedrock": bedrock_place, "vertex_ai": vertex_place}
        return truefoundry_backend(
            base_url(connection),
            password(connection),
            settings.provider_name,
            providers=self.row.providers,
            behind=settings.behind,
            azure_api_version=settings.azure_api_version,
            place=places[settings.behind](settings) if settings.behind in places else CloudPlace(),
            extra_headers=settings.extra_headers,
            extra_body=settings.extra_body,
            models=settings.models(),
        )
