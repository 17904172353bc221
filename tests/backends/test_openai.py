"""OpenAI itself, and what all OpenAI-shaped backends refuse before anything is sent."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.core.errors import ConfigurationError, NotFoundError
from airflow_batch_provider.hooks.openai import OpenAIBatchHook
from airflow_batch_provider.testing import FakeProvider
from tests.backends.contract import KEY
from tests.backends.wire_contract import FaultyWireContract
from tests.facts import OPENAI, wire_facts

_IMPORT = """
import sys
import airflow_batch_provider.hooks.openai, airflow_batch_provider.hooks.azure_openai
import airflow_batch_provider.hooks.truefoundry, airflow_batch_provider.hooks.portkey
import airflow_batch_provider.hooks.local
import airflow_batch_provider.backends.gateways.gateway, airflow_batch_provider.backends.wire.calls
import airflow_batch_provider.operators.batch_inference, airflow_batch_provider.triggers.batch_inference
print(sorted({name.split(".")[0] for name in sys.modules} & {"openai", "uvicorn", "starlette", "xllamacpp", "boto3"}))
"""


def openai_backend(base_url: str, key: str = KEY, **extra: str) -> OpenAIBackend:
    fields = {"conn_id": "c", "conn_type": "openai_batch", "host": base_url, "password": key}
    connection = Connection(**fields, extra=json.dumps(extra))
    return OpenAIBatchHook("c", connection=connection).backend


class TestOpenAI(FaultyWireContract):
    """The contract on OpenAI."""

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        return openai_backend(f"{base or world.origin}/v1", key)

    def test_missing_output_file_is_no_empty_one(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """A completed job whose output file was deleted is an error, though its error file is there."""
        world.faults.fail_rows = {"row-1": 400}
        job = self.until(backend, self.send(backend, 3))
        assert len(job.outputs) == 2
        backend.delete(job.outputs[0])
        with pytest.raises(NotFoundError):
            list(backend.outputs(job))

    def test_no_output_named(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """A completed job that names no file has put out nothing."""
        world.faults.no_output = True
        assert list(backend.outputs(self.until(backend, self.send(backend, 2)))) == []

    def test_usage(self, backend: OpenAIBackend) -> None:
        """The batch's own usage is read."""
        job = self.until(backend, self.send(backend, 2))
        assert job.usage is not None
        assert job.usage.input_tokens > 0

    def test_organization_and_project(self, world: FakeProvider) -> None:
        """Where the connection names them, they are sent and tell accounts apart."""
        backend = openai_backend(world.base_url, organization="org-1", project="proj-1")
        backend.probe()
        backend.close()
        assert world.requests[-1].headers["openai-organization"] == "org-1"
        assert world.requests[-1].headers["openai-project"] == "proj-1"
        assert (backend.identity["organization"], backend.identity["project"]) == ("org-1", "proj-1")

    def test_console(self, world: FakeProvider) -> None:
        """Only OpenAI's own address has OpenAI's console."""
        assert self.make(world).console_url("batch_1") is None
        own = OpenAIBatchHook("c", connection=Connection(conn_id="c", conn_type="openai_batch", password=KEY)).backend
        assert own.console_url("batch/1") == "https://platform.openai.com/batches/batch%2F1"
        assert own.identity["base_url"] == "https://api.openai.com/v1"


def test_importing_loads_no_sdk() -> None:
    """Hooks, backends, operators and triggers load neither the SDK nor a server."""
    done = subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"colour": 1}, "colour"),
        ({"metadata": ["a"]}, "metadata must be an object"),
        ({"metadata": {"a": 1}}, "metadata 'a'"),
        ({"metadata": {"k" * 65: "v"}}, "64"),
        ({"metadata": {"k": "v" * 513}}, "512"),
        ({"metadata": {str(n): "v" for n in range(16)}}, "15 pairs"),
        ({"extra_body": "x"}, "extra_body must be an object"),
        ({"extra_body": {"input_file_id": "f"}}, "input_file_id"),
        ({"extra_body": {"metadata": {"a": 1}}}, "metadata 'a'"),
        ({"completion_window": 24}, "completion_window must be a string"),
        ({"file_name": 1}, "file_name must be a string"),
        ({"output_expires_after": 3600}, "output_expires_after must be an object"),
    ],
)
def test_wrong_options(options: dict[str, Any], told: str) -> None:
    """An option that cannot work is refused by name before any upload."""
    with pytest.raises(ConfigurationError, match=told):
        openai_backend("http://127.0.0.1:9/v1").check_route([], [], options)


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"metadata": ["a"]}, "extra_body metadata must be an object"),
        ({"metadata": {"a": 1}}, "metadata 'a'"),
        ({"metadata": {str(n): "v" for n in range(16)}}, "15 pairs"),
        ({"input_file_id": "f"}, "extra_body may not hold input_file_id"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 60}},
            "output_expires_after seconds must be 3600",
        ),
        ({"output_expires_after": 3600}, "output_expires_after must be"),
    ],
)
def test_wrong_options_of_a_connection(extra: dict[str, Any], told: str) -> None:
    """What the connection's ``extra_body`` adds to a create is checked as the run's own options are."""
    facts = wire_facts("truefoundry_batch", takes_expiry=True, extra_body=extra)
    backend = OpenAIBackend(Route("http://127.0.0.1:9/v1", (("Authorization", "Bearer k"),)), facts)
    with pytest.raises(ConfigurationError, match=told):
        backend.check_route([], [], {})


def test_right_options() -> None:
    """What the provider takes is accepted and sent."""
    backend = openai_backend("http://127.0.0.1:9/v1")
    expiry = {"anchor": "created_at", "seconds": 3600}
    options = {
        "completion_window": "24h",
        "metadata": {str(n): "v" for n in range(15)},
        "extra_body": {"a": 1},
        "file_name": "f",
        "output_expires_after": expiry,
        "expires_after": 86_400,
        "delete_inputs": False,
    }
    backend.check_route(["m"], ["/v1/chat/completions"], options)
    body = backend.create_body("/v1/embeddings", "file-1", options, {"t": "x"})
    assert body["output_expires_after"] == expiry
    assert (body["a"], body["endpoint"], len(body["metadata"])) == (1, "/v1/embeddings", 16)
    assert set(options) == OpenAIBackend.option_names


def test_limits() -> None:
    """OpenAI's documented figures."""
    assert (OPENAI.limits.max_rows, OPENAI.limits.max_bytes, OPENAI.limits.min_rows) == (50_000, 200_000_000, 1)


async def test_missing_field_stops_every_call() -> None:
    """A route that lacks a field sends nothing, whichever call is made, and names the field."""
    backend = openai_backend("http://127.0.0.1:9/v1", "")
    with pytest.raises(ConfigurationError, match="API key is missing"):
        backend.upload_file("x.jsonl", io.BytesIO(b""))
    with pytest.raises(ConfigurationError, match="API key is missing"):
        backend.check_route([], [], {})
    with pytest.raises(ConfigurationError, match="API key is missing"):
        await backend.apoll(["b"])
    with pytest.raises(ConfigurationError, match="API key is missing"):
        await backend.acancel(["b"])
    backend.close()


@pytest.mark.parametrize(
    "url", ["ftp://x/v1", "http://", "http://x:port/v1", "http://[::1", "nonsense", "https://user:hunter2@x/v1"]
)
def test_wrong_address(url: str) -> None:
    """What is no address is refused at once, and a password in it is not told."""
    with pytest.raises(ConfigurationError, match="base URL") as caught:
        Route(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["sk-secret\n", "sk-\u2013secret", " sk-secret", "sk-sec\x00ret", "sk-\x7fsecret"])
def test_wrong_key_characters(value: str) -> None:
    """A key that no header can carry is refused without being shown; HTTP libraries would quote it."""
    with pytest.raises(ConfigurationError, match="Authorization") as caught:
        Route("https://x/v1", (("Authorization", value),))
    assert "secret" not in str(caught.value)


def test_ids_are_encoded_once() -> None:
    """A handle is one segment of the path however it came."""
    from airflow_batch_provider.backends.wire.openai import _segment

    assert _segment("s3://b/k") == _segment("s3%3A%2F%2Fb%2Fk") == "s3%3A%2F%2Fb%2Fk"
    assert _segment("file-1") == "file-1"


def test_what_a_wire_has_by_itself() -> None:
    """A provider that differs in nothing needs no more than its name and its facts."""
    facts = wire_facts("x")
    assert (facts.provider.limits, facts.missing, facts.output_endpoint) == (OPENAI.limits, (), False)
    assert OpenAIBackend.find_is_complete
