"""Connections of gateways over clouds: the seeds' own header names, and secrets that stay secret."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_batch_provider.backends.gateways.clouds import CloudBackend
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.hooks.base import BatchInferenceHook
from airflow_batch_provider.testing import FakeProvider
from tests.testing.speaking import rows

CHAT = "/v1/chat/completions"
CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
GEMINI = "gemini-3-flash-preview"
KEY = "key-of-the-tests-71cd"
ROLE = "arn:aws:iam::123456789012:role/BedrockBatchRole"

Connect = Callable[..., BatchInferenceHook]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Declares a connection in the environment and gives its hook."""

    def make(conn_type: str, fake: FakeProvider, password: str = KEY, **extra: Any) -> BatchInferenceHook:
        fields = {"conn_type": conn_type, "host": fake.base_url, "password": password, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_GATEWAY", json.dumps(fields))
        return BatchInferenceHook.for_conn_id("gateway")

    return make


def run(hook: BatchInferenceHook, model: str, count: int) -> None:
    """A whole job by the hook's verbs."""
    file_id = hook.upload(io.BytesIO(rows(count, model=model)), "rows.jsonl")
    job = hook.create(file_id, model=model)
    while not (job := hook.retrieve(job.id)).status.is_terminal:
        time.sleep(0.01)
    assert job.status is JobStatus.COMPLETED
    assert len(b"".join(hook.backend.outputs(job)).split(b"\n")) == count + 1
    assert hook.test_connection()[0]
    hook.backend.close()


def told(fake: FakeProvider, kind: str) -> dict[str, str]:
    """The gateway's headers of the last call of a kind, without its key."""
    headers = fake.calls(kind)[-1].headers
    return {name: value for name, value in headers.items() if name.startswith(("x-portkey", "x-tfy"))}


def test_portkeys_guide_to_bedrock(connect: Connect) -> None:
    """Plain provider, AWS keys, region, bucket, object key and model as headers; role, output and name in the body."""
    with FakeProvider("portkey", api_key="secret-of-aws-33", behind="bedrock") as fake:
        hook = connect(
            "portkey_batch",
            fake,
            provider="bedrock",
            aws_access_key_id="AKIDOFTHETESTS",
            aws_secret_access_key="secret-of-aws-33",
            aws_region="us-east-1",
            aws_s3_bucket="generations-raw",
            role_arn=ROLE,
            output_uri="s3://generations-raw/",
            kms_key_id="arn:aws:kms:us-west-2:517194595696:key/89b483cb",
            job_name="anthropi-requests-test",
        )
        run(hook, CLAUDE, 100)
        every = {
            "x-portkey-api-key": KEY,
            "x-portkey-provider": "bedrock",
            "x-portkey-aws-access-key-id": "AKIDOFTHETESTS",
            "x-portkey-aws-secret-access-key": "secret-of-aws-33",
            "x-portkey-aws-region": "us-east-1",
            "x-portkey-aws-s3-bucket": "generations-raw",
        }
        assert told(fake, "poll") == told(fake, "create") == told(fake, "list") == every
        upload = told(fake, "upload")
        key = upload.pop("x-portkey-aws-s3-object-key")
        assert key.endswith(".jsonl")
        assert upload == {**every, "x-portkey-aws-bedrock-model": CLAUDE}
        body = fake.creates[-1].body
        assert (body["model"], body["role_arn"]) == (CLAUDE, ROLE)
        assert body["job_name"].startswith("anthropi-requests-test-")
        s3 = body["output_data_config"]["s3OutputDataConfig"]
        assert s3["s3Uri"] == f"s3://generations-raw/{body['job_name']}/"
        assert s3["s3EncryptionKeyId"] == "arn:aws:kms:us-west-2:517194595696:key/89b483cb"


def test_nyus_guide_to_vertex(connect: Connect) -> None:
    """A slug and a bucket are enough; the model goes with the upload and into the body."""
    with FakeProvider("portkey", api_key=KEY, behind="vertex-ai") as fake:
        hook = connect(
            "portkey_batch", fake, provider="@vertexai", behind="vertex_ai", vertex_storage_bucket_name="nyu-bucket"
        )
        run(hook, GEMINI, 2)
        upload = told(fake, "upload")
        assert upload.pop("x-portkey-provider-file-name").endswith(".jsonl")
        assert upload == {
            "x-portkey-api-key": KEY,
            "x-portkey-provider": "@vertexai",
            "x-portkey-vertex-storage-bucket-name": "nyu-bucket",
            "x-portkey-provider-model": GEMINI,
        }
        assert fake.creates[-1].body["model"] == GEMINI


@pytest.mark.parametrize("as_text", [True, False])
def test_a_service_account(connect: Connect, as_text: bool) -> None:
    """A key pasted with line ends goes into one header line, and is masked whole and in parts."""
    account = {"type": "service_account", "project_id": "p-1", "private_key": f"-----BEGIN\n{KEY}\n-----END\n"}
    with FakeProvider("portkey", api_key=KEY, behind="vertex-ai") as fake:
        hook = connect(
            "portkey_batch",
            fake,
            "",
            provider="vertex-ai",
            vertex_region="us-central1",
            vertex_storage_bucket_name="b",
            vertex_service_account_json=json.dumps(account, indent=2) if as_text else account,
        )
        run(hook, GEMINI, 1)
        assert json.loads(told(fake, "poll")["x-portkey-vertex-service-account-json"]) == account
        assert isinstance(hook.backend, CloudBackend)
        assert account["private_key"] in set(hook.backend.secrets)
        assert KEY not in f"{hook.backend!r} {hook.backend.place!r} {dict(hook.backend.identity)}"


@pytest.mark.parametrize("value", ["no json", "[1]", 3])
def test_no_service_account(connect: Connect, value: Any) -> None:
    """What is no key is refused without being shown."""
    with FakeProvider("portkey", behind="vertex-ai") as fake:
        hook = connect("portkey_batch", fake, provider="vertex-ai", vertex_service_account_json=value)
        with pytest.raises(ConfigurationError, match="vertex_service_account_json") as caught:
            _ = hook.backend
        assert "no json" not in str(caught.value)


def test_truefoundrys_guide_to_vertex(connect: Connect) -> None:
    """Integration, bucket and region as headers, the model with the upload."""
    with FakeProvider("truefoundry", api_key=KEY, behind="vertex-ai") as fake:
        hook = connect(
            "truefoundry_batch",
            fake,
            provider_name="vertex-main",
            behind="vertex_ai",
            vertex_storage_bucket_name="bucket",
            vertex_region="europe-west4",
        )
        run(hook, "gemini-2-0-flash", 2)
        every = {
            "x-tfy-provider-name": "vertex-main",
            "x-tfy-vertex-storage-bucket-name": "bucket",
            "x-tfy-vertex-region": "europe-west4",
        }
        assert told(fake, "poll") == every
        assert told(fake, "upload").items() >= {**every, "x-tfy-provider-model": "gemini-2-0-flash"}.items()


def test_truefoundry_over_bedrock(connect: Connect) -> None:
    """The same by the names of AWS; what else a gateway wants goes with every call."""
    with FakeProvider("truefoundry", api_key=KEY, behind="bedrock") as fake:
        hook = connect(
            "truefoundry_batch",
            fake,
            provider_name="bedrock-main",
            behind="bedrock",
            aws_s3_bucket="bucket",
            aws_region="us-east-1",
            role_arn=ROLE,
            extra_headers={"x-tfy-metadata": {"team": "a"}},
            extra_body={"tags": ["x"]},
        )
        run(hook, CLAUDE, 100)
        assert told(fake, "upload")["x-tfy-aws-bedrock-model"] == CLAUDE
        assert told(fake, "poll")["x-tfy-metadata"] == '{"team": "a"}'
        assert fake.creates[-1].body.items() >= {("role_arn", ROLE)}
        assert fake.creates[-1].body["tags"] == ["x"]


def test_families_of_private_names(connect: Connect) -> None:
    """A name that tells no family is told one by the connection."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    with FakeProvider("truefoundry", api_key=KEY, behind="bedrock") as fake:
        fields = {"provider_name": "p", "behind": "bedrock", "aws_s3_bucket": "b", "role_arn": ROLE}
        with pytest.raises(ConfigurationError, match="model_families"):
            connect("truefoundry_batch", fake, **fields).backend.check_route([arn], [CHAT], {})
        hook = connect("truefoundry_batch", fake, **fields, model_families={arn: "claude-4"})
        hook.backend.check_route([arn], [CHAT], {})


def test_model_facts_of_a_connection(connect: Connect) -> None:
    """B1: the connection overrides what the tables say; a wrong fact is refused when the connection is read."""
    with FakeProvider("truefoundry", api_key=KEY, behind="bedrock") as fake:
        fields = {"provider_name": "p", "behind": "bedrock", "aws_s3_bucket": "b", "role_arn": ROLE}
        unknown = "us.anthropic.claude-opus-9"
        assert (
            "model_facts"
            in connect("truefoundry_batch", fake, **fields).backend.line_format(unknown, CHAT).notes["model"]
        )
        hook = connect("truefoundry_batch", fake, **fields, model_facts={unknown: {"schema": "tool"}})
        assert "model" not in hook.backend.line_format(unknown, CHAT).notes
        wrong = connect("truefoundry_batch", fake, **fields, model_facts={unknown: {"schema": "json"}})
        with pytest.raises(ConfigurationError, match=r"model_facts.*schema of .* must be one of"):
            wrong.backend.check_route([], [], {})
