"""OpenAI."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route, WireFacts
from airflow_batch_provider.hooks.base import BatchInferenceHook, Settings, base_url, password

OPENAI_URL = "https://api.openai.com/v1"
CONSOLE = "https://platform.openai.com/batches/{id}"


class OpenAISettings(Settings):
    """Extra fields of an ``openai_batch`` connection.

    :param organization: bills another organization of the key's.
    :param project: bills another project of the key's.
    """

    organization: str | None = None
    project: str | None = None


class OpenAIBatchHook(BatchInferenceHook):
    """Batches on OpenAI; password is the API key, host another base URL than OpenAI's."""

    conn_type = "openai_batch"
    hook_name = "LLM batch: OpenAI"
    default_conn_name = "openai_batch_default"
    settings_class: ClassVar[type[Settings]] = OpenAISettings

    def make_backend(self, connection: Any, settings: OpenAISettings) -> OpenAIBackend:
        """Key, organization and project as headers."""
        url = base_url(connection, OPENAI_URL)
        headers = {
            "Authorization": f"Bearer {password(connection)}" if password(connection) else None,
            "OpenAI-Organization": settings.organization,
            "OpenAI-Project": settings.project,
        }
        identity = {"organization": settings.organization or "", "project": settings.project or ""}
        facts = WireFacts(
            self.conn_type,
            missing=() if password(connection) else ("the API key is missing; set it as the password",),
            console=CONSOLE if url == OPENAI_URL else None,
            # What answers elsewhere may cost what it likes.
            price_list="openai" if url == OPENAI_URL else None,
            identity=identity,
            takes_expiry=url == OPENAI_URL,
        )
        route = Route(url, tuple((name, value) for name, value in headers.items() if value))
        return OpenAIBackend(route, facts, settings.models())
