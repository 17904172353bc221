"""OpenAI."""

from __future__ import annotations

from airflow_batch_provider.connections.openai import CONNECTION
from airflow_batch_provider.hooks.plain import PlainHook


class OpenAIBatchHook(PlainHook):
    """Batches on OpenAI; password is the API key, host another base URL than OpenAI's."""

    row = CONNECTION
