"""The embedded batch server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import OPENAI_LIMITS, Route, WireFacts
from airflow_batch_provider.hooks.base import BatchInferenceHook, Settings, base_url, password


class LocalBatchHook(BatchInferenceHook):
    """Batches on ``airflow-batch serve``; host is the address it printed, password its token, if it has one."""

    conn_type = "local_batch"
    hook_name = "LLM batch: local server"
    default_conn_name = "local_batch"

    def make_backend(self, connection: Any, settings: Settings) -> OpenAIBackend:
        """OpenAI's wire; the server has one model, so lines need none."""
        url = base_url(connection, scheme="http")
        if url and "/" not in url.partition("://")[2]:
            url += "/v1"
        missing = () if url else ("the host is missing; set it to the address that `airflow-batch serve` printed",)
        headers = (("Authorization", f"Bearer {password(connection)}"),) if password(connection) else ()
        limits = replace(OPENAI_LIMITS, model_required=False, source=f"local server; {OPENAI_LIMITS.source}")
        facts = WireFacts(self.conn_type, limits=limits, missing=missing)
        return OpenAIBackend(Route(url, headers), facts, settings.models())
