"""Portkey over Bedrock and Vertex AI."""

from __future__ import annotations

import io
import json
import re
import time
from typing import Any

import pytest

from airflow_batch_provider.backends.gateways.cloud_place import CloudPlace
from airflow_batch_provider.backends.gateways.clouds import CloudBackend
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import CHAT
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.identity import content_part, make_token, own_part
from airflow_batch_provider.core.records import BatchRequest, ModelRules, Shard
from airflow_batch_provider.dialects.base import Sent
from airflow_batch_provider.testing import FakeProvider
from tests.backends.cloud_contract import CLAUDE, GEMINI, ROLE, BedrockContract, VertexContract
from tests.backends.contract import KEY
from tests.facts import portkey_backend

URL = "https://x/v1"
SECRET = "aws-secret-7f2a9c"


class TestBedrockByKeys(BedrockContract):
    """The contract on Bedrock by the plain name and AWS keys."""

    flavor = "portkey"

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        keys = {"aws-access-key-id": "AKIAFAKEFAKEFAKEFAKE", "aws-secret-access-key": key}
        place = CloudPlace(region="us-east-1", bucket="fake-bucket", role_arn=ROLE, prefix="a b/c", keys=keys)
        return portkey_backend(
            f"{base or world.origin}/v1", "", provider="bedrock", places={"bedrock": place}, models=self.rules()
        )


class TestVertexBySlug(VertexContract):
    """The contract on Vertex AI by an integration's slug, as at NYU."""

    flavor = "portkey"

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        place = CloudPlace(bucket="fake-bucket")
        return portkey_backend(
            f"{base or world.origin}/v1",
            key,
            provider="@vertexai",
            behind="vertex_ai",
            places={"vertex_ai": place},
            models=self.rules(),
        )


def bedrock(**changes: Any) -> CloudBackend:
    """Bedrock by keys, with these fields of the place changed."""
    keys = {"aws-access-key-id": "AKIAFAKEFAKEFAKEFAKE", "aws-secret-access-key": SECRET}
    fields = {"region": "us-east-1", "bucket": "fake-bucket", "role_arn": ROLE, "keys": keys, **changes}
    made = portkey_backend(URL, "", provider="bedrock", places={"bedrock": CloudPlace(**fields)})
    assert isinstance(made, CloudBackend)
    return made


def vertex(model_rules: ModelRules | None = None, **changes: Any) -> CloudBackend:
    """Vertex AI by a slug, with these fields of the place changed."""
    place = CloudPlace(**{"bucket": "fake-bucket", **changes})
    made = portkey_backend(URL, KEY, provider="@v", behind="vertex_ai", places={"vertex_ai": place}, models=model_rules)
    assert isinstance(made, CloudBackend)
    return made


def shard(model: str | None, endpoint: str = CHAT) -> Shard:
    return Shard(0, 0, 100, 10, model, endpoint)


# ---- what is asked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"region": None}, "set aws_region"),
        ({"bucket": None}, "set aws_s3_bucket"),
        ({"role_arn": None}, "role_arn is missing; set it to the service role"),
        ({"keys": {}}, "set aws_access_key_id and aws_secret_access_key"),
        ({"output_uri": "gs://b/x"}, "output_uri must begin with s3://"),
    ],
)
def test_what_bedrock_lacks(changes: dict[str, Any], told: str) -> None:
    """Each missing field is named with its remedy before anything is sent."""
    with pytest.raises(ConfigurationError, match=told):
        bedrock(**changes).check_route([CLAUDE], [CHAT], {})
    bedrock().check_route([CLAUDE], [CHAT], {})


def test_what_vertex_lacks() -> None:
    """A plain name brings nothing with it; a slug brings all but the bucket."""
    told = "set vertex_region.*set vertex_storage_bucket_name.*set vertex_service_account_json, or bearer"
    with pytest.raises(ConfigurationError, match=told):
        portkey_backend(URL, "", provider="vertex-ai").check_route([GEMINI], [CHAT], {})
    place = CloudPlace(region="global", bucket="b", project="p")
    token = portkey_backend(URL, "", provider="vertex-ai", bearer="ya29", places={"vertex_ai": place})
    token.check_route([GEMINI], [CHAT], {})
    vertex().check_route([GEMINI], [CHAT], {})


def test_a_gateway_with_a_role_of_its_own() -> None:
    """Keys are not needed where the gateway takes on a role."""
    place = CloudPlace(region="us-east-1", bucket="b", role_arn=ROLE)
    extra = {"x-portkey-aws-auth-type": "assumedRole", "x-portkey-aws-role-arn": "arn:aws:iam::1:role/caller"}
    backend = portkey_backend(URL, "", provider="bedrock", places={"bedrock": place}, extra_headers=extra)
    backend.check_route([CLAUDE], [CHAT], {})


@pytest.mark.parametrize(
    "model", ["amazon.nova-lite-v1:0", "meta.llama4-scout-17b-instruct-v1:0", "qwen.qwen3-32b-v1:0"]
)
def test_models_that_portkey_cannot_write(model: str) -> None:
    """They are refused with the way that can."""
    with pytest.raises(ConfigurationError, match=f"{model}.*bedrock_batch"):
        bedrock().check_route([model], [CHAT], {})


@pytest.mark.parametrize("endpoint", ["/v1/embeddings", "/v1/responses"])
def test_endpoints_on_bedrock(endpoint: str) -> None:
    """Portkey's lines for them would be empty."""
    with pytest.raises(ConfigurationError, match="does not support batches for"):
        bedrock().check_route([CLAUDE], [endpoint], {})


# ---- bodies and headers --------------------------------------------------------------------------------------------


def test_create_body_for_bedrock() -> None:
    """Model, role, name and output, each as Portkey reads it; nothing that it drops stands in for a handle."""
    input_id = "s3://fake-bucket/a/in.jsonl"
    body = bedrock(job_name="my jobs!").create_request(shard(CLAUDE), "tok1", input_id, {})
    assert body == {
        "input_file_id": input_id,
        "endpoint": CHAT,
        "completion_window": "24h",
        "model": CLAUDE,
        "job_name": "my-jobs-tok1",
        "role_arn": ROLE,
    }
    output = bedrock(output_uri="s3://out/x", kms_key_id="arn:aws:kms:k").create_request(
        shard(CLAUDE), "t", input_id, {}
    )
    assert output["output_data_config"] == {
        "s3OutputDataConfig": {"s3Uri": "s3://out/x/r0-00000-t/", "s3EncryptionKeyId": "arn:aws:kms:k"}
    }
    beside = bedrock(kms_key_id="k").create_request(shard(CLAUDE), "t", input_id, {})
    assert beside["output_data_config"]["s3OutputDataConfig"]["s3Uri"] == "s3://fake-bucket/a/"


def test_names_are_what_bedrock_takes() -> None:
    """Whatever a stem holds, the job's name is within 63 letters, digits and hyphens, and ends in the token."""
    token = make_token(own_part("d", shard(CLAUDE), "f", 1), content_part("dag/task/run/-1", shard(CLAUDE), "f"))
    for stem in ("x" * 200, "scheduled__2026-01-01T00:00:00+00:00", "äöü", ""):
        name = bedrock(job_name=stem).create_request(shard(CLAUDE), token, "s3://b/i.jsonl", {})["job_name"]
        assert re.fullmatch(r"[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9+.-]){0,63}", name)
        assert len(name) <= 63
        assert name.endswith(f"-{token}")


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("gemini-2.5-flash", "gemini-2.5-flash"),
        ("publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("claude-3-5-haiku", "anthropic.claude-3-5-haiku"),
        ("anthropic.claude-3-5-haiku", "anthropic.claude-3-5-haiku"),
        ("@vertexai/gemini-2.5-flash", "gemini-2.5-flash"),
    ],
)
def test_models_on_vertex(model: str, named: str) -> None:
    """Portkey reads the publisher from a prefix, and takes a Gemini without one."""
    backend = vertex(output_uri="gs://out")
    backend.check_route([model], [CHAT], {})
    body = backend.create_request(shard(model), "t", "gs://b/i.jsonl", {})
    assert (body["model"], body["output_data_config"]) == (named, "gs://out/r0-00000-t/")
    assert "role_arn" not in body


def test_embeddings_say_so_at_the_upload() -> None:
    """Without the header Portkey makes chats of them and says nothing; its file of another name is found."""
    with FakeProvider("portkey", api_key=KEY, behind="vertex-ai") as world:
        place = CloudPlace(bucket="b")
        model = "gemini-embedding-001"
        backend = portkey_backend(world.base_url, KEY, provider="@v", behind="vertex_ai", places={"vertex_ai": place})
        asked = shard(model, "/v1/embeddings")
        line_format = backend.line_format(model, "/v1/embeddings")
        body = {"model": model, "input": ["hello you"]}
        line = line_format.encode(BatchRequest("a", "/v1/embeddings", model, body, b"", 1), 0)
        handle = backend.upload(asked, "tok", io.BytesIO(line + b"\n"), {})
        assert world.requests[-1].headers["x-portkey-provider-batch-endpoint"] == "/v1/embeddings"
        job = backend.create(backend.create_request(asked, "tok", handle, {}))
        while not (job := backend.retrieve(job.id)).status.is_terminal:
            time.sleep(0.01)
        (answer,) = b"".join(backend.outputs(job)).split(b"\n")[:-1]
        result = line_format.decode(answer, Sent(["a"]))
        assert (result.custom_id, result.outcome, result.usage.input_tokens) == ("a", "succeeded", 2)
        assert len(json.loads(result.line)["response"]["body"]["data"][0]["embedding"]) == 8
        backend.close()


def test_an_upload_of_any_file_tells_its_model() -> None:
    """The model and the endpoint of a foreign file are those of its first line, mapped as the connection says."""
    with FakeProvider("portkey", api_key=KEY, behind="vertex-ai") as world:
        rules = ModelRules(mapping={"gpt-4o": GEMINI}, default="gemini-2.0-flash")
        backend = portkey_backend(
            world.base_url,
            KEY,
            provider="@v",
            behind="vertex_ai",
            places={"vertex_ai": CloudPlace(bucket="b")},
            models=rules,
        )
        line = {"custom_id": "1", "method": "POST", "url": CHAT, "body": {"model": "gpt-4o", "messages": []}}
        for first, model in ((line, GEMINI), ({}, "gemini-2.0-flash")):
            backend.upload_file("some.jsonl", io.BytesIO(json.dumps(first).encode()))
            assert world.requests[-1].headers["x-portkey-provider-model"] == model
        backend.close()


# ---- limits and secrets --------------------------------------------------------------------------------------------


def test_limits() -> None:
    """Bedrock's minimum and Portkey's largest upload both bind, each with its source, unless told otherwise."""
    limits = bedrock().limits
    assert (limits.min_rows, limits.max_rows, limits.max_bytes, limits.endpoints) == (100, 50_000, 900_000, (CHAT,))
    assert "Portkey uploads" in limits.source
    assert "100 records" in limits.source
    assert (vertex().limits.min_rows, vertex().limits.max_rows, vertex().limits.max_bytes) == (
        1,
        200_000,
        1_000_000_000,
    )
    assert bedrock(max_bytes=5_000_000, min_rows=10).limits.max_bytes == 5_000_000


def test_secrets_and_words() -> None:
    """Credentials are masked whole and in parts; region, bucket and the provider's name stay readable."""
    account = json.dumps({"private_key": "-----BEGIN\nabc\n-----END\n", "private_key_id": "id-123", "project_id": "p"})
    backend = vertex(region="us-central1", keys={"vertex-service-account-json": account})
    masked = set(backend.secrets)
    assert {account, "-----BEGIN\nabc\n-----END\n", "-----BEGIN\\nabc\\n-----END\\n", "id-123", KEY} <= masked
    assert not {"us-central1", "fake-bucket", "p"} & masked
    masked = set(bedrock().secrets)
    assert SECRET in masked
    assert not {"bedrock", "us-east-1", "fake-bucket"} & masked
    assert SECRET not in f"{bedrock()!r} {bedrock().place!r} {bedrock().route!r} {bedrock().facts!r}"


@pytest.mark.parametrize("changes", [{"region": "eu-west-1"}, {"bucket": "b2"}, {"role_arn": "arn:aws:iam::2:role/x"}])
def test_identity_tells_accounts_apart(changes: dict[str, Any]) -> None:
    """A run does not go on in another region, bucket or account."""
    assert bedrock().identity != bedrock(**changes).identity
    assert bedrock().identity == bedrock().identity
