"""Gateways are rows of data: what holds for all. Their own headers are in ``test_truefoundry`` and ``test_portkey``."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import CHAT
from airflow_batch_provider.connections.gateways import BEHIND
from airflow_batch_provider.core.errors import ConfigurationError
from tests.backends.contract import KEY
from tests.backends.wire_contract import FakedWireRoute
from tests.facts import portkey_backend, truefoundry_backend


class TestPlainProviderName(FakedWireRoute):
    """Through Portkey to Azure, by Azure's plain name and nothing else; the wire is that of a config to Azure."""

    flavor = "portkey"
    has_bearer = False
    options = {"behind": "azure"}  # noqa: RUF012

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        return portkey_backend(f"{base or world.origin}/v1", key, provider="azure-openai")

    def test_the_name_speaks_for_itself(self, backend: OpenAIBackend) -> None:
        """Azure's spelling and limits need no further field."""
        assert backend.identity["behind"] == "azure_openai"
        assert backend.limits.max_rows == 100_000
        assert b'"url":"/chat/completions"' in self.wire(backend, 1)


@pytest.mark.parametrize(
    ("provider", "behind", "url"),
    [("openai", "openai", CHAT), ("azure-openai", "azure_openai", "/chat/completions"), ("@slug", "openai", CHAT)],
)
def test_plain_names_and_slugs(provider: str, behind: str, url: str) -> None:
    """Portkey's plain provider names decide the spelling; a slug leaves it to the field ``behind``."""
    for backend in (
        portkey_backend("https://x/v1", KEY, provider=provider),
        portkey_backend("https://x/v1", KEY, extra_headers={"X-Portkey-Provider": provider}),
    ):
        assert backend.identity["behind"] == behind
        assert backend.identity["provider"] == provider
        assert backend.create_body(CHAT, "f", {}, {})["endpoint"] == url


@pytest.mark.parametrize(("provider", "behind"), [("bedrock", "bedrock"), ("vertex-ai", "vertex_ai")])
def test_clouds(provider: str, behind: str) -> None:
    """Their plain names speak for themselves, too, and what they lack is said before anything is paid."""
    backend = portkey_backend("https://x/v1", KEY, provider=provider)
    assert backend.identity["behind"] == behind
    with pytest.raises(ConfigurationError, match=r"the region is missing.*the bucket is missing"):
        backend.check_route(["m"], [CHAT], {})


@pytest.mark.parametrize("behind", sorted(BEHIND))
def test_limits_are_those_of_the_provider_behind(behind: Any) -> None:
    """A gateway's own limit only narrows them, and both sources are told."""
    provider = BEHIND[behind].facts.limits
    portkey = portkey_backend("https://x/v1", KEY, provider="@slug", behind=behind).limits
    truefoundry = truefoundry_backend("https://x/api/llm", KEY, "p", behind=behind).limits
    size = 900_000 if behind == "bedrock" else provider.max_bytes
    assert (portkey.max_rows, portkey.max_bytes) == (provider.max_rows, size)
    assert portkey.min_rows == truefoundry.min_rows == (100 if behind == "bedrock" else 1)
    assert (truefoundry.max_rows, truefoundry.max_bytes) == (provider.max_rows, 50_000_000)
    assert portkey.endpoints == truefoundry.endpoints == provider.endpoints
    assert provider.source in portkey.source
    assert provider.source in truefoundry.source
