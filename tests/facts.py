"""What the rows know of their providers, and backends that are made with it, for tests that need no connection."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from airflow_batch_provider.backends.bedrock import jobs as bedrock_jobs
from airflow_batch_provider.backends.gateways import gateway
from airflow_batch_provider.backends.vertex import jobs as vertex_jobs
from airflow_batch_provider.backends.wire import azure_openai
from airflow_batch_provider.backends.wire import jobs as wire_jobs
from airflow_batch_provider.backends.wire.route import WireFacts
from airflow_batch_provider.connections import own_types
from airflow_batch_provider.core.provider_facts import PriceList

OPENAI = own_types()["openai_batch"].known
AZURE = own_types()["azure_openai_batch"].known
BEDROCK = own_types()["bedrock_batch"].known
VERTEX_AI = own_types()["vertex_ai_batch"].known
LISTS = {known.price_list.name: known.price_list for known in (OPENAI, AZURE, BEDROCK, VERTEX_AI) if known.price_list}
LISTS["anthropic"] = PriceList("anthropic", discount=0.5, source="Anthropic, batch processing")

read_wire_job = partial(wire_jobs.read_job, statuses=OPENAI.statuses)
read_bedrock_job = partial(bedrock_jobs.read_job, statuses=BEDROCK.statuses)
read_vertex_job = partial(vertex_jobs.read_job, statuses=VERTEX_AI.statuses)
azure_backend = partial(azure_openai.azure_backend, provider=AZURE)
portkey_backend = partial(gateway.portkey_backend, providers=own_types()["portkey_batch"].providers)
truefoundry_backend = partial(gateway.truefoundry_backend, providers=own_types()["truefoundry_batch"].providers)


def wire_facts(name: str = "openai_batch", **facts: Any) -> WireFacts:
    """OpenAI's wire as its service has it, without prices: what a test's server bills is not known."""
    return WireFacts(name, replace(OPENAI, price_list=None), **facts)
