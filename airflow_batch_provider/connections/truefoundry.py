"""TrueFoundry AI gateway."""

from __future__ import annotations

from airflow_batch_provider.backends.gateways.cloud_place import Behind
from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard
from airflow_batch_provider.connections.gateways import (
    BEHIND,
    CLAUDE,
    FAKE_AWS,
    FAKE_GOOGLE,
    GEMINI,
    CloudSettings,
    behind_setting,
    narrowed,
)
from airflow_batch_provider.connections.settings import setting


class TrueFoundrySettings(CloudSettings):
    """Extra fields of a ``truefoundry_batch`` connection."""

    provider_name: str | None = setting(
        "Provider name",
        "The name of the provider integration; sent as x-tfy-provider-name with every call.",
        required=True,
    )
    behind: Behind = behind_setting()
    azure_api_version: str | None = setting(
        "Azure API version",
        "Required for Azure, e.g. 2024-12-01-preview; sent as x-tfy-azure-api-version.",
    )


_SOURCE = "TrueFoundry Files API: batch .jsonl of at most 50 MB"

CONNECTION = ConnectionType(
    "truefoundry_batch",
    "TrueFoundry",
    TrueFoundrySettings,
    {"host": Standard("Base URL", "https://{controlPlaneUrl}/api/llm"), "password": Standard("Access token")},
    needs="host = gateway's base URL; password = key; extra `provider_name`, `behind`, `azure_api_version`, "
    "`extra_headers`, `extra_body`",
    example_model="gpt-5-mini",
    behind={name: narrowed(name, _SOURCE, 50_000_000) for name in BEHIND},
    hook="airflow_batch_provider.hooks.truefoundry.TrueFoundryBatchHook",
    fakes={
        "truefoundry": Fake(flavor="truefoundry", extra={"provider_name": "openai-main"}),
        "truefoundry_bedrock": Fake(
            flavor="truefoundry",
            options={"behind": "bedrock"},
            extra={"provider_name": "bedrock-main", "behind": "bedrock", **FAKE_AWS},
            model=CLAUDE,
            min_rows=100,
            behind="bedrock",
        ),
        "truefoundry_vertex": Fake(
            flavor="truefoundry",
            options={"behind": "vertex-ai"},
            extra={"provider_name": "vertex-main", **FAKE_GOOGLE},
            model=GEMINI,
            behind="vertex_ai",
        ),
    },
)
