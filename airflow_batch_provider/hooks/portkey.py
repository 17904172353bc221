"""Portkey gateway, hosted or self-hosted."""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.backends.gateways.gateway import portkey_backend
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.connections.portkey import CONNECTION, PORTKEY_URL, PortkeySettings
from airflow_batch_provider.hooks.base import BatchInferenceHook, base_url, password
from airflow_batch_provider.hooks.gateway_places import signing_places


class PortkeyBatchHook(BatchInferenceHook):
    """Batches through Portkey; host is the gateway's base URL, password the Portkey key."""

    row = CONNECTION

    def make_backend(self, connection: Any, settings: PortkeySettings) -> OpenAIBackend:
        """Headers for every call."""
        return portkey_backend(
            base_url(connection, PORTKEY_URL),
            password(connection),
            providers=self.row.providers,
            provider=settings.provider,
            virtual_key=settings.virtual_key,
            config=settings.config,
            bearer=settings.bearer,
            behind=settings.behind,
            places=signing_places(settings),
            extra_headers=settings.extra_headers,
            extra_body=settings.extra_body,
            models=settings.models(),
        )
