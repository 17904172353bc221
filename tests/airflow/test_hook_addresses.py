"""However a connection is written, its address is the one that is meant, and its headers are what gateways take."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.hooks.base import BatchInferenceHook
from airflow_batch_provider.testing import FakeProvider


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Defines the connection ``c`` in the environment."""

    def define(conn_type: str, **fields: Any) -> BatchInferenceHook:
        monkeypatch.setenv("AIRFLOW_CONN_C", json.dumps({"conn_type": conn_type, "password": "pw-9f2c71", **fields}))
        return BatchInferenceHook.for_conn_id("c")

    return define


@pytest.fixture
def masked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was given to Airflow's masker."""
    seen: list[Any] = []
    monkeypatch.setattr("airflow.sdk.log.mask_secret", lambda secret, name=None: seen.append(secret))
    return seen


@pytest.mark.parametrize(
    ("conn_type", "fields", "url"),
    [
        ("openai_batch", {}, "https://api.openai.com/v1"),
        ("openai_batch", {"host": "gw.example.com/v1/"}, "https://gw.example.com/v1"),
        ("openai_batch", {"host": "gw.example.com", "schema": "v1"}, "https://gw.example.com/v1"),
        ("openai_batch", {"host": "gw.example.com/v1", "schema": "http"}, "http://gw.example.com/v1"),
        ("openai_batch", {"host": "http://gw.example.com", "port": 81}, "http://gw.example.com:81"),
        ("openai_batch", {"host": "http://[::1]/v1", "port": 81}, "http://[::1]:81/v1"),
        ("local_batch", {"host": "127.0.0.1", "port": 81}, "http://127.0.0.1:81/v1"),
        ("local_batch", {"host": "http://127.0.0.1:81"}, "http://127.0.0.1:81/v1"),
        ("local_batch", {"host": "https://batch.example.com/base/v1"}, "https://batch.example.com/base/v1"),
        ("portkey_batch", {}, "https://api.portkey.ai/v1"),
    ],
)
def test_host_port_and_schema(connect: Any, conn_type: str, fields: dict[str, Any], url: str) -> None:
    """They make one address; the local server is asked by plain HTTP and below ``/v1`` where nothing else is said."""
    assert connect(conn_type, **fields).backend.route.base_url == url


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("openai-batch://:key@gw.example.com/v1", "https://gw.example.com/v1"),
        ("openai-batch://:key@https%3A%2F%2Fgw.example.com%2Fv1", "https://gw.example.com/v1"),
        ("local-batch://:key@127.0.0.1:81/v1", "http://127.0.0.1:81/v1"),
        ("local-batch://:key@127.0.0.1:81", "http://127.0.0.1:81/v1"),
    ],
)
def test_connections_as_uris(monkeypatch: pytest.MonkeyPatch, uri: str, url: str) -> None:
    """Airflow reads the path of a URI into ``schema``; it is the address's path all the same."""
    monkeypatch.setenv("AIRFLOW_CONN_C", uri)
    route = BatchInferenceHook.for_conn_id("c").backend.route
    assert route.base_url == url
    assert dict(route.headers)["Authorization"] == "Bearer key"


def test_objects_as_header_values(connect: Any) -> None:
    """Gateways take metadata and configs as JSON; they may be written as objects."""
    extra = {"extra_headers": {"x-tfy-metadata": {"team": "a"}}, "provider_name": "p"}
    headers = dict(connect("truefoundry_batch", host="https://h/api/llm", extra=extra).backend.route.headers)
    assert json.loads(headers["x-tfy-metadata"]) == {"team": "a"}
    headers = dict(connect("portkey_batch", extra={"config": {"provider": "openai"}}).backend.route.headers)
    assert json.loads(headers["x-portkey-config"]) == {"provider": "openai"}


def test_every_header_value_is_masked(connect: Any, masked: list[Any]) -> None:
    """Keys, and whatever else travels as a header: Airflow itself masks by names that gateways do not use."""
    extra = {"provider": "@slug-77", "virtual_key": "vk-77", "config": "pc-77", "bearer": "br-77"}
    backend = connect("portkey_batch", extra={**extra, "extra_headers": {"x-any": "any-77"}}).backend
    texts = {secret for secret in masked if isinstance(secret, str)}
    assert {"pw-9f2c71", "@slug-77", "vk-77", "pc-77", "br-77", "any-77"} <= texts
    assert {value for _, value in backend.route.headers} <= texts


def test_words_of_everybody_are_not_masked(connect: Any, masked: list[Any]) -> None:
    """A provider's plain name and a version, once masked, would be missing from every log line."""
    extra = {"provider_name": "openai", "azure_api_version": "2024-10-21"}
    _ = connect("truefoundry_batch", host="https://h/api/llm", extra=extra).backend
    assert "pw-9f2c71" in masked
    assert "openai" not in masked
    assert "2024-10-21" not in masked


def test_secrets_of_a_refused_connection_are_masked(connect: Any, masked: list[Any]) -> None:
    """Masking comes before the check of the fields, so that no traceback of it can show a secret."""
    with pytest.raises(ConfigurationError):
        _ = connect("portkey_batch", extra={"virtual_key": "vk-77", "misspelt": 1}).backend
    assert "pw-9f2c71" in masked
    assert "vk-77" in masked


def test_clients_and_downloads(connect: Any) -> None:
    """The official client keeps the route after ``with_options``; a download goes to any open binary stream."""
    with FakeProvider() as fake:
        hook = connect("openai_batch", host=fake.base_url, password=fake.api_key)
        assert hook.get_conn().with_options(timeout=5).batches.list().data == []
        assert hook.get_conn().copy().batches.list().data == []
        out = io.BytesIO()
        assert hook.download(hook.upload(io.BytesIO(b"{}\n" * 9), name="mine.jsonl"), out) == 27
        assert out.getvalue() == b"{}\n" * 9
        hook.backend.close()


def test_create_refuses_what_cannot_work(connect: Any) -> None:
    """A wrong endpoint, option or pair of metadata is refused before a call."""
    with FakeProvider() as fake:
        hook = connect("openai_batch", host=fake.base_url, password=fake.api_key)
        with pytest.raises(ConfigurationError, match="/v1/nonsense"):
            hook.create("file-1", "/v1/nonsense")
        with pytest.raises(ConfigurationError, match="role_arn"):
            hook.create("file-1", role_arn="x")
        with pytest.raises(ConfigurationError, match="metadata"):
            hook.create("file-1", metadata={"k": "v" * 513})
        assert fake.requests == []
