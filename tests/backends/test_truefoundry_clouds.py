"""TrueFoundry over Bedrock and Vertex AI."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batch_provider.backends.gateways.cloud_place import CloudPlace
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import CHAT
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.testing import FakeProvider
from tests.backends.cloud_contract import CLAUDE, GEMINI, ROLE, BedrockContract, VertexContract
from tests.backends.contract import KEY
from tests.facts import truefoundry_backend

URL = "https://x/api/llm"


class TestVertex(VertexContract):
    """The contract on Vertex AI."""

    flavor = "truefoundry"

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        place = CloudPlace(region="europe-west4", bucket="fake-bucket", output_uri="gs://other/answers")
        url = f"{base or world.origin}/api/llm"
        return truefoundry_backend(url, key, "vertex-main", behind="vertex_ai", place=place, models=self.rules())

    def test_documented_headers(self, backend: OpenAIBackend, world: FakeProvider) -> None:
        """Integration, bucket and region with every call, the model with an upload; the output goes where told."""
        job = self.until(backend, self.send(backend, 1))
        list(backend.outputs(job))
        backend.probe()
        for call in world.requests:
            assert call.headers["x-tfy-provider-name"] == "vertex-main"
            assert call.headers["x-tfy-vertex-storage-bucket-name"] == "fake-bucket"
            assert call.headers["x-tfy-vertex-region"] == "europe-west4"
            assert ("x-tfy-provider-model" in call.headers) == (call.kind == "upload")
        assert world.creates[-1].body["output_data_config"].startswith("gs://other/answers/")
        assert world.creates[-1].body["output_data_config"].endswith("/")


class TestBedrock(BedrockContract):
    """The contract on Bedrock."""

    flavor = "truefoundry"

    def make(self, world: Any, key: str = KEY, base: str | None = None) -> OpenAIBackend:
        place = CloudPlace(region="us-east-1", bucket="fake-bucket", role_arn=ROLE)
        url = f"{base or world.origin}/api/llm"
        return truefoundry_backend(url, key, "bedrock-main", behind="bedrock", place=place, models=self.rules())


def test_limits() -> None:
    """The gateway takes 50 MB; the rest is the cloud's, and can be told otherwise."""
    place = CloudPlace(bucket="b", role_arn=ROLE)
    limits = truefoundry_backend(URL, KEY, "p", behind="bedrock", place=place).limits
    assert (limits.min_rows, limits.max_rows, limits.max_bytes) == (100, 50_000, 50_000_000)
    limits = truefoundry_backend(URL, KEY, "p", behind="vertex_ai").limits
    assert (limits.min_rows, limits.max_rows, limits.max_bytes) == (1, 200_000, 50_000_000)
    assert "TrueFoundry" in limits.source
    own = CloudPlace(min_rows=10, max_rows=20, max_bytes=30)
    limits = truefoundry_backend(URL, KEY, "p", behind="bedrock", place=own).limits
    assert (limits.min_rows, limits.max_rows, limits.max_bytes) == (10, 20, 30)


def test_missing_fields() -> None:
    """Each is named with its remedy; the integration brings credentials and region."""
    with pytest.raises(ConfigurationError, match=r"set aws_s3_bucket .*role_arn is missing") as caught:
        truefoundry_backend(URL, KEY, "p", behind="bedrock").check_route([CLAUDE], [CHAT], {})
    assert "region" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="set vertex_storage_bucket_name"):
        truefoundry_backend(URL, KEY, "p", behind="vertex_ai").check_route([GEMINI], [CHAT], {})


def test_further_headers_and_body_serve_as_the_fields_do() -> None:
    """TrueFoundry's names for Bedrock are inferred, so each can be said otherwise."""
    extra = {"X-TFY-AWS-S3-Bucket": "mine", "x-tfy-aws-account": "main"}
    backend = truefoundry_backend(
        URL,
        KEY,
        "p",
        behind="bedrock",
        extra_headers=extra,
        extra_body={"role_arn": ROLE, "model": "bedrock-main/claude"},
    )
    backend.check_route([CLAUDE], [CHAT], {})
    headers = dict(backend.route.headers)
    assert (headers["x-tfy-aws-s3-bucket"], headers["x-tfy-aws-account"]) == ("mine", "main")
    shard = TestBedrock().shard(b"{}\n")
    body = backend.create_request(shard, "tok", "s3://mine/k/in.jsonl", {"extra_body": {"tags": ["x"]}})
    assert (body["role_arn"], body["model"], body["tags"]) == (ROLE, "bedrock-main/claude", ["x"])
