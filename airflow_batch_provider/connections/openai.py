"""OpenAI."""

from __future__ import annotations

from airflow_batch_provider.backends.wire.route import OPENAI_LIMITS
from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard, Wire
from airflow_batch_provider.connections.settings import Settings, setting


class OpenAISettings(Settings):
    """Extra fields of an ``openai_batch`` connection."""

    organization: str | None = setting(
        "Organization", "The organization to bill (org-...), if the key belongs to several.", section="Billing"
    )
    project: str | None = setting(
        "Project", "The project to bill (proj_...), if the key belongs to several.", section="Billing"
    )


CONNECTION = ConnectionType(
    "openai_batch",
    "OpenAI",
    OpenAISettings,
    {
        "host": Standard("Base URL", "https://api.openai.com/v1"),
        "password": Standard("API key", missing="the API key is missing; set it as the password"),
    },
    needs="password = API key; extra `organization`, `project`; host only for another base URL",
    example_model="gpt-5-mini",
    hook="airflow_batch_provider.hooks.openai.OpenAIBatchHook",
    wire=Wire(
        OPENAI_LIMITS,
        base_url="https://api.openai.com/v1",
        headers={"OpenAI-Organization": "organization", "OpenAI-Project": "project"},
        identity=("organization", "project"),
        console="https://platform.openai.com/batches/{id}",
        price_list="openai",
        takes_expiry=True,
        checks_chat=True,
    ),
    fakes={"openai": Fake()},
)
