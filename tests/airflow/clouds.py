"""Fakes of the clouds behind Airflow connections, directly and behind gateways."""

from __future__ import annotations

import contextlib

from airflow_batch_provider.testing import FakeProvider, FaultPlan


@contextlib.contextmanager
def cloud(name: str, faults: FaultPlan | None = None, **rules):
    """A fake cloud and the Airflow connection to it.

    :param name: ``bedrock``, ``vertex_ai``, ``portkey_bedrock`` or ``portkey_vertex``.
    """
    if name == "bedrock":
        from airflow_batch_provider.testing.bedrock import FakeBedrock

        with FakeBedrock(faults, **rules) as fake:
            yield fake, bedrock_connection(fake)
    elif name == "vertex_ai":
        from airflow_batch_provider.testing.vertex import FakeVertex

        with FakeVertex(faults, **rules) as fake:
            yield fake, vertex_connection(fake)
    else:
        behind = {"portkey_bedrock": "bedrock", "portkey_vertex": "vertex-ai"}[name]
        with FakeProvider("portkey", faults, behind=behind) as fake:
            yield fake, portkey_connection(fake, behind)


def bedrock_connection(fake, **extra):
    """The connection to a fake Bedrock."""
    key, secret = fake.credentials
    own = {
        "region": fake.region,
        "bucket": fake.bucket,
        "role_arn": fake.role_arn,
        "bedrock_url": fake.bedrock_url,
        "s3_url": fake.s3_url,
    }
    return {"conn_type": "bedrock_batch", "login": key, "password": secret, "extra": {**own, **extra}}


def vertex_connection(fake, **extra):
    """The connection to a fake Vertex AI."""
    own = {
        "project": fake.project,
        "region": fake.region,
        "bucket": fake.bucket,
        "token": fake.token,
        "vertex_url": fake.vertex_url,
        "storage_url": fake.storage_url,
    }
    return {"conn_type": "vertex_ai_batch", "extra": {**own, **extra}}


def portkey_connection(fake, behind):
    """The connection to a fake Portkey over a cloud: explicit AWS keys, or an integration's slug."""
    bedrock = {
        "provider": "bedrock",
        "aws_region": "us-east-1",
        "aws_s3_bucket": "fake-bucket",
        "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key": fake.api_key,
        "role_arn": "arn:aws:iam::123456789012:role/BatchRole",
    }
    vertex = {
        "provider": "@vertexai",
        "behind": "vertex_ai",
        "vertex_region": "us-central1",
        "vertex_storage_bucket_name": "fake-bucket",
    }
    extra = bedrock if behind == "bedrock" else vertex
    return {"conn_type": "portkey_batch", "host": fake.base_url, "password": fake.api_key, "extra": extra}
