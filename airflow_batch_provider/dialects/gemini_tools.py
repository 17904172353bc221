"""Tools that Google runs itself, as the author may write them (``Tool`` of google-genai 2.34)."""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.columns import pruned
from airflow_batch_provider.dialects.gemini_config import snake

_EXCLUDE = '{"exclude_domains": ["example.com"]}'
OWN_TOOLS = {
    "google_search": _EXCLUDE,
    "enterprise_web_search": _EXCLUDE,
    "google_search_retrieval": '{"dynamic_retrieval_config": {"mode": "MODE_DYNAMIC"}}',
    "google_maps": '{"enable_widget": false}',
    "retrieval": '{"vertex_ai_search": {"datastore": "..."}}',
    "parallel_ai_search": '{"custom_configs": {...}}',
    "exa_ai_search": '{"api_key": "..."}',
    "computer_use": '{"environment": "ENVIRONMENT_BROWSER"}',
    "url_context": "",
    "code_execution": "",
}
"""Each tool with an example of a setting; empty where it has none."""


def own_tool(entry: Any) -> tuple[str, JSON] | None:
    """Name and settings of ``{"google_search": {...}}`` or ``{"type": "google_search", ...}``; None for a function.

    Names may be written as Python or as REST writes them.
    """
    if not isinstance(entry, dict):
        return None
    kind = entry.get("type")
    if isinstance(kind, str) and snake(kind) in OWN_TOOLS:
        settings = entry.get(kind)
        rest = {name: value for name, value in entry.items() if name not in ("type", kind)}
        return snake(kind), pruned(settings if isinstance(settings, dict) else rest) or {}
    for name, settings in entry.items():
        if snake(name) in OWN_TOOLS and (settings is None or isinstance(settings, dict)):
            return snake(name), pruned(settings) or {}
    return None
