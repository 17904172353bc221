"""Azure OpenAI: OpenAI's wire with another address, key header and spelling.

Facts from Azure's batch how-to and REST reference (2026): 100,000 requests and 200 MB a file; a job that takes longer
than 24 h goes on and is not expired; the job's endpoint is ``/chat/completions``; the model of every line is the name
of a deployment of type Global Batch or Data Zone Batch.
"""

from __future__ import annotations

from typing import ClassVar

from airflow_batch_provider.backends.openai import CHAT, RESPONSES, OpenAIBackend, Route, WireFacts
from airflow_batch_provider.core.records import Limits, ModelRules

AZURE_LIMITS = Limits(
    max_rows=100_000,
    max_bytes=200_000_000,
    endpoints=(CHAT, RESPONSES),
    source="Azure OpenAI Global Batch limits: 100,000 requests and 200 MB a file; jobs do not expire",
    window_hours=72,
)
AZURE_URLS = {CHAT: "/chat/completions"}
"""Azure's spelling of the chat endpoint, on lines and in the create call."""


class AzureOpenAIBackend(OpenAIBackend):
    """Batches on Azure OpenAI."""

    name: ClassVar[str] = "azure_openai_batch"


def azure_backend(
    endpoint: str, api_key: str, *, api_version: str | None = None, models: ModelRules | None = None
) -> AzureOpenAIBackend:
    """A backend for one Azure resource.

    :param endpoint: ``https://RESOURCE.openai.azure.com``, or any address below its ``/openai``.
    :param api_key: the resource's key.
    :param api_version: None or ``v1`` for the v1 API, a date such as ``2024-10-21`` for the older one.
    """
    base = _resource(endpoint)
    missing = []
    if not base:
        missing.append("the endpoint is missing; set it to https://RESOURCE.openai.azure.com")
    if not api_key:
        missing.append("the API key is missing; set the resource's key as the password")
    dated = api_version if api_version != "v1" else None
    query = (("api-version", dated),) if dated else ()
    path = "/openai" if dated else "/openai/v1"
    route = Route(base and base + path, (("api-key", api_key),) if api_key else (), query)
    facts = WireFacts(
        AzureOpenAIBackend.name,
        limits=AZURE_LIMITS,
        missing=tuple(missing),
        job_urls=AZURE_URLS,
        line_urls=AZURE_URLS,
        # A deployment that is called like its model has the model's price; of any other it is unknown.
        price_list="azure",
    )
    return AzureOpenAIBackend(route, facts, models)


def _resource(endpoint: str) -> str:
    """The resource's address, without what Azure's pages show behind it; its host's name may begin with ``openai``."""
    scheme, mark, rest = endpoint.split("?", maxsplit=1)[0].partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}{mark}{host}" + f"/{path}/".split("/openai/")[0].rstrip("/")
