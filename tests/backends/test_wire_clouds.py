"""What clouds behind gateways have in common, by Portkey on Vertex AI with a service account's key."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from airflow_batch_provider.backends.gateways.cloud_place import CloudPlace
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.core.errors import ConfigurationError, ProviderError, RequestRejectedError
from airflow_batch_provider.core.records import Job, JobStatus
from airflow_batch_provider.dialects.base import Sent
from airflow_batch_provider.testing import FakeProvider
from tests.backends.cloud_contract import CLAUDE, GEMINI, ROLE, VertexContract
from tests.backends.contract import CHAT, KEY
from tests.backends.scripted import Scripted, answer
from tests.backends.tools import known_by
from tests.facts import BEDROCK, VERTEX_AI, portkey_backend


class TestByAccount(VertexContract):
    """The contract on Vertex AI by the plain name and a service account's key."""

    flavor = "portkey"

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        account = json.dumps({"type": "service_account", "private_key": f"-----BEGIN\n{key}\n-----END\n"})
        place = CloudPlace(region="us-central1", bucket="fake-bucket", keys={"vertex-service-account-json": account})
        return portkey_backend(
            f"{base or world.origin}/v1", "", provider="vertex-ai", places={"vertex_ai": place}, models=self.rules()
        )


def bedrock(url: str) -> OpenAIBackend:
    """Bedrock by a virtual key."""
    place = CloudPlace(bucket="b", role_arn=ROLE)
    return portkey_backend(url, KEY, virtual_key="v", behind="bedrock", places={"bedrock": place})


def failing(message: str) -> bytes:
    """A gateway's 500."""
    body = {"error": {"message": message, "type": None, "param": None, "code": 500}, "provider": "bedrock"}
    return answer("500 Internal Server Error", json.dumps(body).encode(), "Content-Type: application/json")


def test_an_upload_that_is_too_large_after_all() -> None:
    """The gateway's translation may be longer than the input: the remedy is told, and a retry is no use."""
    row = {
        "custom_id": "r",
        "method": "POST",
        "url": CHAT,
        "body": {"model": CLAUDE, "messages": [], "pad": "x" * 1_000_000},
    }
    with FakeProvider("portkey", api_key=KEY, behind="bedrock") as world:
        backend = bedrock(world.base_url)
        with pytest.raises(RequestRejectedError, match=r"EntityTooSmall.*set the connection's max_bytes to less"):
            backend.upload_file("x.jsonl", io.BytesIO(json.dumps(row).encode() + b"\n"))
        backend.close()


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.EXPIRED, JobStatus.CANCELLED, JobStatus.COMPLETED])
def test_output_that_cannot_be_had(status: JobStatus) -> None:
    """No output object is nothing, unless the job must have one; a gateway that did not get through is an error."""
    job = Job("arn:aws:bedrock:us-east-1:1:model-invocation-job/x", status, status.value, outputs=("s3://b/",))
    with Scripted(failing("bedrock error: <Error><Code>NoSuchKey</Code></Error>")) as server:
        backend = bedrock(server.base_url)
        if status is JobStatus.COMPLETED:
            with pytest.raises(ProviderError, match="NoSuchKey"):
                list(backend.outputs(job))
        else:
            assert list(backend.outputs(job)) == []
        for passing in ("fetch failed", "ThrottlingException: slow down", "connect: timed out"):
            server.reply = failing(passing)
            with pytest.raises(ProviderError, match=passing):
                list(backend.outputs(job))
        backend.close()


@pytest.mark.parametrize(
    ("message", "is_none"),
    [("listBatches is not supported by Google Vertex AI", True), ("fetch failed", False), ("Something broke", False)],
)
def test_only_a_list_that_is_not_there_is_unknown(message: str, is_none: bool) -> None:
    """Any other failure of a list is a failure, which a later look may not share."""
    with Scripted(failing(message)) as server:
        backend = bedrock(server.base_url)
        if is_none:
            found = backend.find([known_by("tok")])
            assert (found.jobs, found.complete) == ((), False)
        else:
            with pytest.raises(ProviderError):
                backend.find([known_by("tok")])
        backend.close()


def test_jobs_that_somebody_else_has_made() -> None:
    """A gateway does not tell a job's model: what it has translated is read without, Vertex AI's own file is not."""
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "end_turn"}]}
    line = {"id": "i", "custom_id": "theirs", "response": {"status_code": 200, "body": body}, "error": None}
    result = bedrock("https://x/v1").line_format(None, CHAT).decode(json.dumps(line).encode(), Sent())
    assert (result.custom_id, result.outcome) == ("theirs", "succeeded")
    place = CloudPlace(bucket="b")
    vertex = portkey_backend("https://x/v1", KEY, provider="@v", behind="vertex_ai", places={"vertex_ai": place})
    with pytest.raises(ConfigurationError, match="default_model"):
        vertex.line_format(None, CHAT)


def test_prices_are_the_clouds() -> None:
    """Behind a gateway the cloud's prices hold."""
    assert bedrock("https://x/v1").price_list == BEDROCK.price_list
    place = CloudPlace(bucket="b")
    vertex = portkey_backend("https://x/v1", KEY, provider="@v", behind="vertex_ai", places={"vertex_ai": place})
    vertex.check_route([GEMINI], [CHAT], {})
    assert vertex.price_list == VERTEX_AI.price_list
