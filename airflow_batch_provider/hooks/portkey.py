"""Portkey gateway, hosted or self-hosted."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from airflow_batch_provider.backends.gateways.gateway import Behind, portkey_backend
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.hooks.base import BatchInferenceHook, HeaderText, Settings, base_url, password
from airflow_batch_provider.hooks.gateway_fields import SigningSettings

PORTKEY_URL = "https://api.portkey.ai/v1"


class PortkeySettings(SigningSettings):
    """Extra fields of a ``portkey_batch`` connection. One of provider, virtual_key and config is needed.

    :param provider: ``openai``, ``azure-openai``, ``bedrock``, ``vertex-ai``, or an integration's ``@slug``.
    :param virtual_key: a virtual key.
    :param config: a config id or JSON.
    :param bearer: sent as ``Authorization: Bearer``: the provider's own key, or the Portkey key where the gateway
        wants it there.
    :param behind: what the provider, key or config leads to.
    :param extra_headers: further headers; every value is treated as a secret.
    :param extra_body: added to every create call.
    """

    provider: str | None = None
    virtual_key: str | None = None
    config: HeaderText | None = None
    bearer: str | None = None
    behind: Behind = "openai"
    extra_headers: dict[str, HeaderText] = Field(default_factory=dict)
    extra_body: dict[str, Any] = Field(default_factory=dict)


class PortkeyBatchHook(BatchInferenceHook):
    """Batches through Portkey; host is the gateway's base URL, password the Portkey key."""

    conn_type = "portkey_batch"
    hook_name = "LLM batch: Portkey"
    default_conn_name = "portkey_batch_default"
    settings_class: ClassVar[type[Settings]] = PortkeySettings
    secret_settings = (
        "extra_headers",
        "virtual_key",
        "config",
        "bearer",
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
    )
    """``vertex_service_account_json`` is masked by its parts: its project and address are no secrets."""

    def make_backend(self, connection: Any, settings: PortkeySettings) -> OpenAIBackend:
        """Headers for every call."""
        return portkey_backend(
            base_url(connection, PORTKEY_URL),
            password(connection),
            provider=settings.provider,
            virtual_key=settings.virtual_key,
            config=settings.config,
            bearer=settings.bearer,
            behind=settings.behind,
            places=settings.places(),
            extra_headers=settings.extra_headers,
            extra_body=settings.extra_body,
            models=settings.models(),
        )
