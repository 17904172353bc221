"""Portkey's gateway: over OpenAI and Azure, by virtual key, ``@slug`` or config, with plain and with encoded ids."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.testing import FakeProvider
from tests.backends.contract import KEY, new_token
from tests.backends.wire_contract import FakedWireRoute, FaultyWireContract
from tests.facts import portkey_backend


class TestVirtualKey(FaultyWireContract):
    """The contract by a virtual key to OpenAI."""

    flavor = "portkey"
    has_bearer = False

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        return portkey_backend(f"{base or world.origin}/v1", key, virtual_key="openai-virtual-3f2a")

    async def test_headers_go_with_every_call(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """Key and virtual key, the triggerer's calls too."""
        job = self.until(backend, self.send(backend, 1))
        list(backend.outputs(job))
        await backend.apoll([job.id])
        assert {call.headers["x-portkey-api-key"] for call in world.requests} == {KEY}
        assert {call.headers["x-portkey-virtual-key"] for call in world.requests} == {"openai-virtual-3f2a"}
        assert "openai-virtual-3f2a" not in f"{backend.route!r} {dict(backend.identity)!r}"

    def test_counts_and_times(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """Null counts while it runs, strings at the end, milliseconds always."""
        world.faults.hold_after_rows = 1
        job = self.send(backend, 2)
        job = self.until(backend, job, lambda seen: seen.status is JobStatus.IN_PROGRESS)
        assert (job.counts.completed, job.counts.failed) == (None, None)
        assert job.created_at == world.batches[-1]["created_at"]
        backend.cancel(job.id)
        job = self.until(backend, job)
        assert isinstance(job.counts.completed, int)
        assert job.ended_at == world.batches[-1]["cancelled_at"]

    def test_output_endpoint(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """Where no file is named, the results come from ``/batches/{id}/output``."""
        world.faults.no_output = True
        job = self.until(backend, self.send(backend, 3))
        assert len(self.rows(backend, job)) == 3

    def test_uploads_are_ascii(self, backend: OpenAIBackend) -> None:
        """The gateway corrupts UTF-8 at chunk borders, so nothing else is uploaded, and nothing is lost."""
        data = self.wire(backend, 1, "né \U0001f600")
        assert data.isascii()
        assert json.loads(data)["body"]["messages"][0]["content"] == "né \U0001f600 0"


class TestSlugOnOwnAddress(FakedWireRoute):
    """By an integration's slug on a gateway of one's own, which wants the key as bearer; else as by a virtual key."""

    flavor = "portkey"

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        return portkey_backend(f"{base or world.origin}/v1/", "", provider="@openai-prod", bearer=key)

    def test_identity(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """The slug tells accounts apart."""
        assert backend.identity["provider"] == "@openai-prod"
        backend.probe()
        assert world.requests[-1].headers["x-portkey-provider"] == "@openai-prod"
        assert "x-portkey-api-key" not in world.requests[-1].headers


class TestConfigOverAzure(FaultyWireContract):
    """The contract by a config to Azure."""

    flavor = "portkey"
    has_bearer = False
    options = {"behind": "azure"}  # noqa: RUF012

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        config = '{"provider": "azure-openai"}'
        return portkey_backend(f"{base or world.origin}/v1", key, config=config, behind="azure_openai")

    def test_spelling(self, backend: OpenAIBackend) -> None:
        """Azure's endpoint and limits hold through the gateway."""
        assert b'"url":"/chat/completions"' in self.wire(backend, 1).replace(b'": "', b'":"')
        assert backend.limits.max_rows == 100_000
        assert backend.identity["behind"] == "azure_openai"


class TestEncodedIds(FaultyWireContract):
    """The contract where ids are percent-encoded ARNs and URIs."""

    flavor = "portkey"
    has_bearer = False
    options = {"uri_ids": True}  # noqa: RUF012

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        return portkey_backend(f"{base or world.origin}/v1", key, provider="openai")

    def stranger(self, backend: OpenAIBackend) -> str:
        # Both prefixes of the fake are known; a file's serves for a job, for neither is there.
        return "s3://fake-bucket/nobody"

    def test_ids(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """They are kept decoded, go into a path encoded once, and serve encoded as well."""
        job = self.until(backend, self.send(backend, 1, new_token()))
        assert job.id.startswith("arn:aws:bedrock:")
        assert (job.input_id or "").startswith("s3://fake-bucket/")
        assert all(handle.startswith("s3://") for handle in job.outputs)
        path = world.calls("poll")[-1].path
        assert path.startswith("/v1/batches/arn%3Aaws%3A")
        assert "%25" not in path
        assert backend.retrieve(path.rsplit("/", 1)[1]) == job


def test_missing_fields() -> None:
    """All of them are named at once."""
    told = "base URL is missing.*key is missing.*none of provider, virtual_key and config"
    with pytest.raises(ConfigurationError, match=told):
        portkey_backend("", "").check_route([], [], {})


@pytest.mark.parametrize("name", ["x-portkey-config", "X-Portkey-Provider", "X-PORTKEY-VIRTUAL-KEY"])
def test_further_headers(name: str) -> None:
    """A header that says who is asked serves as the field does, and each name is sent once."""
    extra = {name: "v", "Authorization": "Bearer k", "x-portkey-trace-id": "1"}
    backend = portkey_backend("https://x/v1", "", extra_headers=extra)
    backend.check_route([], [], {})
    assert dict(backend.route.headers) == {name.lower(): "v", "authorization": "Bearer k", "x-portkey-trace-id": "1"}


def test_an_empty_header_is_none() -> None:
    """A header without a value does not count as the field."""
    backend = portkey_backend("https://x/v1", KEY, extra_headers={"x-portkey-config": ""})
    with pytest.raises(ConfigurationError, match="none of provider"):
        backend.check_route([], [], {})
