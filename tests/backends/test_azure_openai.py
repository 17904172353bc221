"""Azure OpenAI: the v1 API and the older one with ``api-version``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import CHAT
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.testing import FakeProvider
from tests.backends.contract import KEY
from tests.backends.tools import known_by
from tests.backends.wire_contract import FaultyWireContract
from tests.facts import AZURE, azure_backend


class AzureContract(FaultyWireContract):
    """What both APIs of Azure have in common."""

    flavor = "azure"
    has_bearer = False
    api_version: str | None = None

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        return azure_backend(base or world.origin, key, api_version=self.api_version)

    def test_signs_by_api_key(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """The resource's key goes as ``api-key``."""
        backend.probe()
        assert world.requests[-1].headers["api-key"] == KEY
        assert "authorization" not in world.requests[-1].headers

    def test_spelling(self, backend: OpenAIBackend) -> None:
        """Chat is ``/chat/completions`` on the line and in the create call, responses keep their own."""
        assert json.loads(self.wire(backend, 1))["url"] == "/chat/completions"
        assert backend.create_request(self.shard(b"{}\n"), "t", "f", {})["endpoint"] == "/chat/completions"
        assert backend.create_body("/v1/responses", "f", {}, {})["endpoint"] == "/v1/responses"
        assert CHAT in AZURE.limits.endpoints

    def test_a_new_job_is_told_azures_way(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """``Validating``, ISO times, null counts and empty ids are read like everybody else's."""
        world.faults.hold_after_rows = 0
        job = self.send(backend, 1)
        assert (job.status, job.raw_status) == (JobStatus.VALIDATING, "Validating")
        assert job.created_at is not None
        assert job.created_at == pytest.approx(world.batches[-1]["created_at"], abs=1)
        assert job.counts.total is None
        job = self.until(backend, job, lambda seen: seen.status is JobStatus.IN_PROGRESS)
        assert job.outputs == ()
        backend.cancel(job.id)
        self.until(backend, job)

    def test_success_has_an_empty_error_file(self, backend: OpenAIBackend) -> None:
        """Without a fault, too."""
        job = self.until(backend, self.send(backend, 2))
        assert len(job.outputs) == 2
        assert b"".join(backend.download(job.outputs[1])) == b""
        assert len(self.rows(backend, job)) == 2


class TestAzureV1(AzureContract):
    """The contract on the v1 API."""

    def test_path(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """Below ``/openai/v1``, without a version."""
        backend.probe()
        assert world.requests[-1].path == "/openai/v1/batches"
        assert "api-version" not in world.requests[-1].query


class TestAzureLegacy(AzureContract):
    """The contract on the older API."""

    api_version = "2024-10-21"

    async def test_version_goes_with_every_call(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """Below ``/openai``, and every call names the version, lists and the triggerer's too."""
        job = self.until(backend, self.send(backend, 1))
        list(backend.outputs(job))
        backend.find([known_by("t")])
        await backend.apoll([job.id])
        assert {call.query.get("api-version") for call in world.requests} == {"2024-10-21"}
        assert all(call.path.startswith("/openai/") and "/v1/" not in call.path for call in world.requests)
        assert {call.query.get("limit") for call in world.calls("list")} == {"100"}


@pytest.mark.parametrize(
    ("endpoint", "version", "url"),
    [
        ("https://r.openai.azure.com", None, "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/", None, "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/openai/v1/", None, "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/openai/v1", "2024-10-21", "https://r.openai.azure.com/openai"),
        ("https://r.services.ai.azure.com/openai", None, "https://r.services.ai.azure.com/openai/v1"),
    ],
)
def test_addresses(endpoint: str, version: str | None, url: str) -> None:
    """The address may be given with or without what the API adds to it."""
    assert azure_backend(endpoint, KEY, api_version=version).route.base_url == url


def test_missing_fields() -> None:
    """Both are named at once."""
    with pytest.raises(ConfigurationError, match=r"endpoint is missing.*API key is missing"):
        azure_backend("", "").check_route([], [], {})


def test_limits() -> None:
    """Azure's documented figures: more rows than OpenAI, and a job does not expire after a day."""
    assert (AZURE.limits.max_rows, AZURE.limits.max_bytes) == (100_000, 200_000_000)
    assert AZURE.limits.window_hours > 24
