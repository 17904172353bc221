"""Portkey gateway, hosted or self-hosted."""

from __future__ import annotations

from airflow_batch_provider.backends.gateways.cloud_place import Behind
from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard
from airflow_batch_provider.connections.gateways import (
    BEHIND,
    CLAUDE,
    FAKE_AWS,
    FAKE_GOOGLE,
    GEMINI,
    SigningSettings,
    behind_setting,
    narrowed,
)
from airflow_batch_provider.connections.settings import HeaderText, setting

PORTKEY_URL = "https://api.portkey.ai/v1"
_FAKE_KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "fake-key"}


class PortkeySettings(SigningSettings):
    """Extra fields of a ``portkey_batch`` connection. One of provider, virtual_key and config is required."""

    provider: str | None = setting(
        "Provider",
        "openai, azure-openai, bedrock, vertex-ai or an integration's @slug. Required unless a virtual key or a "
        "config is set.",
    )
    virtual_key: str | None = setting("Virtual key", "A virtual key, instead of a provider.", hide="text")
    config: HeaderText | None = setting("Config", "The ID or the JSON of a config, instead of a provider.", hide="text")
    bearer: str | None = setting(
        "Bearer token", "Sent as Authorization: Bearer, if the gateway requires a key there.", hide="text"
    )
    behind: Behind = behind_setting()


_SOURCE = "Portkey passes files through"
_BEDROCK_SOURCE = "Portkey uploads more than about 1,000,000 characters to S3 in parts that S3 refuses as too small"

CONNECTION = ConnectionType(
    "portkey_batch",
    "Portkey",
    PortkeySettings,
    {"host": Standard("Base URL", PORTKEY_URL), "password": Standard("Portkey API key")},
    needs="password = Portkey key; extra one of `provider`, `virtual_key`, `config`; `bearer`, `behind`, "
    "`extra_headers`, `extra_body`; host only for a gateway of your own",
    example_model="gpt-5-mini",
    behind={
        **{name: narrowed(name, _SOURCE) for name in BEHIND},
        "bedrock": narrowed("bedrock", _BEDROCK_SOURCE, 900_000),
    },
    hook="airflow_batch_provider.hooks.portkey.PortkeyBatchHook",
    fakes={
        "portkey": Fake(flavor="portkey", extra={"virtual_key": "vk-openai"}),
        "portkey_slug": Fake(flavor="portkey", extra={"provider": "@team-openai"}, same_as="portkey"),
        "portkey_bedrock": Fake(
            flavor="portkey",
            options={"behind": "bedrock"},
            extra={"provider": "bedrock", **FAKE_AWS, **_FAKE_KEYS},
            model=CLAUDE,
            min_rows=100,
            behind="bedrock",
        ),
        "portkey_vertex": Fake(
            flavor="portkey",
            options={"behind": "vertex-ai"},
            extra={"provider": "@vertexai", **FAKE_GOOGLE},
            model=GEMINI,
            behind="vertex_ai",
        ),
    },
)
