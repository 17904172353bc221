"""TrueFoundry's gateway, over OpenAI and over Azure."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.core.errors import ConfigurationError, RequestRejectedError
from airflow_batch_provider.testing import FakeProvider
from tests.backends.contract import KEY
from tests.backends.wire_contract import FaultyWireContract
from tests.facts import truefoundry_backend


class TestTrueFoundry(FaultyWireContract):
    """The contract through TrueFoundry to OpenAI."""

    flavor = "truefoundry"

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        return truefoundry_backend(f"{base or world.origin}/api/llm/", key, "openai-main")

    async def test_provider_name_goes_with_every_call(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """The gateway refuses calls without it, the triggerer's too."""
        job = self.until(backend, self.send(backend, 1))
        list(backend.outputs(job))
        await backend.apoll([job.id])
        assert {call.headers["x-tfy-provider-name"] for call in world.requests} == {"openai-main"}

    def test_output_endpoint(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """Where no file is named, the results come from ``/batches/{id}/output``."""
        world.faults.no_output = True
        job = self.until(backend, self.send(backend, 3))
        assert job.outputs == ()
        assert len(self.rows(backend, job)) == 3
        assert len(world.calls("output")) == 1

    def test_virtual_model(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """What the gateway refuses is told in its words."""
        backend = truefoundry_backend(world.base_url, KEY, "virtual-model")
        with pytest.raises(RequestRejectedError, match="Virtual models are not supported"):
            self.send(backend, 1)
        backend.close()

    def test_without_provider_name(self, world: FakeProvider) -> None:
        """The missing name is told with its remedy, and nothing is sent."""
        backend = truefoundry_backend(world.base_url, KEY, None)
        with pytest.raises(ConfigurationError, match="provider_name is missing"):
            self.send(backend, 1)
        assert world.requests == []

    def test_limits(self, backend: OpenAIBackend) -> None:
        """The gateway takes smaller files than the provider behind it."""
        assert (backend.limits.max_rows, backend.limits.max_bytes) == (50_000, 50_000_000)
        assert "TrueFoundry" in backend.limits.source


class TestTrueFoundryOverAzure(FaultyWireContract):
    """The contract through TrueFoundry to Azure."""

    flavor = "truefoundry"

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        url = f"{base or world.origin}/api/llm"
        return truefoundry_backend(
            url, key, "azure-main", behind="azure_openai", azure_api_version="2024-12-01-preview"
        )

    def test_version_and_spelling(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """Azure's version is a header, its spelling of the endpoint is kept."""
        backend.probe()
        assert world.requests[-1].headers["x-tfy-azure-api-version"] == "2024-12-01-preview"
        assert backend.create_request(self.shard(b"{}\n"), "t", "f", {})["endpoint"] == "/chat/completions"
        assert b'"url":"/chat/completions"' in self.wire(backend, 1)
        assert (backend.limits.max_rows, backend.limits.max_bytes) == (100_000, 50_000_000)


def test_missing_fields() -> None:
    """All of them are named at once."""
    told = "base URL is missing.*API key is missing.*provider_name is missing.*azure_api_version is missing"
    with pytest.raises(ConfigurationError, match=told):
        truefoundry_backend("", "", None, behind="azure_openai").check_route([], [], {})


def test_further_headers() -> None:
    """Any header can be added and replaces ours of the same name, however it is written; each is sent once."""
    extra = {"X-TFY-Provider-Name": "mine", "x-tfy-metadata": "{}", "AUTHORIZATION": "Bearer other"}
    backend = truefoundry_backend("https://x/api/llm", KEY, None, extra_headers=extra, extra_body={"role": "r"})
    backend.check_route([], [], {})
    names = [name.lower() for name, _ in backend.route.headers]
    assert len(names) == len(set(names))
    assert dict(backend.route.headers) == {
        "x-tfy-provider-name": "mine",
        "x-tfy-metadata": "{}",
        "authorization": "Bearer other",
    }
    assert backend.identity["provider"] == "mine"
    assert backend.create_body("/v1/chat/completions", "f", {"extra_body": {"b": 1}}, {}).items() >= {
        ("role", "r"),
        ("b", 1),
    }
