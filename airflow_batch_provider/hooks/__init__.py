"""Hooks: an Airflow connection becomes a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batch_provider.core.exports import lazy

if TYPE_CHECKING:
    from airflow_batch_provider.hooks.azure_openai import AzureOpenAIBatchHook
    from airflow_batch_provider.hooks.base import BatchInferenceHook
    from airflow_batch_provider.hooks.bedrock import BedrockBatchHook
    from airflow_batch_provider.hooks.local import LocalBatchHook
    from airflow_batch_provider.hooks.openai import OpenAIBatchHook
    from airflow_batch_provider.hooks.portkey import PortkeyBatchHook
    from airflow_batch_provider.hooks.truefoundry import TrueFoundryBatchHook
    from airflow_batch_provider.hooks.vertex_ai import VertexAIBatchHook

__all__ = [
    "AzureOpenAIBatchHook",
    "BatchInferenceHook",
    "BedrockBatchHook",
    "LocalBatchHook",
    "OpenAIBatchHook",
    "PortkeyBatchHook",
    "TrueFoundryBatchHook",
    "VertexAIBatchHook",
]
__getattr__ = lazy(
    __name__,
    {
        "AzureOpenAIBatchHook": "azure_openai",
        "BatchInferenceHook": "base",
        "BedrockBatchHook": "bedrock",
        "LocalBatchHook": "local",
        "OpenAIBatchHook": "openai",
        "PortkeyBatchHook": "portkey",
        "TrueFoundryBatchHook": "truefoundry",
        "VertexAIBatchHook": "vertex_ai",
    },
)
