"""The connection type ``acme_batch``: OpenAI's wire at Acme's address, for a team that pays."""

from __future__ import annotations

from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard, Wire
from airflow_batch_provider.connections.settings import ExtraSettings, setting
from airflow_batch_provider.core.provider_facts import WIRE_STATUSES, PriceList, ProviderFacts
from airflow_batch_provider.core.records import JobStatus, Limits


class AcmeSettings(ExtraSettings):
    """Extra fields of an ``acme_batch`` connection."""

    team: str | None = setting("Team", "The team that pays, sent as X-Acme-Team.", required=True)


CONNECTION = ConnectionType(
    "acme_batch",
    "Acme gateway",
    AcmeSettings,
    {
        "host": Standard("Base URL", "https://llm.acme.example/v1"),
        "password": Standard("API key", missing="the API key is missing; set it as the password"),
    },
    needs="password = API key; extra `team`",
    example_model="acme-small",
    facts=ProviderFacts(
        Limits(
            max_rows=10_000,
            max_bytes=50_000_000,
            endpoints=("/v1/chat/completions",),
            source="Acme's wiki, batch gateway: 10,000 requests and 50 MB a file",
        ),
        PriceList("openai", discount=0.2, source="Acme's wiki, batch gateway: batches cost a fifth less"),
        statuses={**WIRE_STATUSES, "parked": JobStatus.VALIDATING},
    ),
    wire=Wire(
        base_url="https://llm.acme.example/v1",
        headers={"X-Acme-Team": "team"},
        identity=("team",),
    ),
    fakes={"acme": Fake(extra={"team": "search"}, same_as="openai")},
)
