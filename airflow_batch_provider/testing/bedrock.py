"""A fake Amazon Bedrock and S3 for tests with the real boto3.

::

    with FakeBedrock(BedrockFaults(expire_after_rows=50)) as fake:
        key, secret = fake.credentials
        client = boto3.client("bedrock", endpoint_url=fake.bedrock_url, region_name=fake.region, ...)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import Engine
from airflow_batch_provider.local.engines.echo import EchoEngine
from airflow_batch_provider.testing.bedrock_runner import BedrockFaults
from airflow_batch_provider.testing.calls import Call
from airflow_batch_provider.testing.faults import FaultPlan

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BedrockFaults", "FakeBedrock"]


class FakeBedrock:
    """Bedrock's control plane and S3 on free loopback ports, for as long as the ``with`` block lasts.

    :param faults: what it does wrong; may be changed while it runs. ``fail_rows`` takes record ids, positions as
        strings, and ``"*"``.
    :param engine: answers the records.
    :param bucket: exists and is empty at the start.
    :param min_records: fewer in a job fail it.
    :param deny: IAM actions that the caller may not do, such as ``s3:DeleteObject``; may be changed while it runs.
    """

    role_arn = "arn:aws:iam::123456789012:role/bedrock-batch"
    credentials = ("AKIAFAKEBEDROCK00001", "fake-secret-of-bedrock")

    def __init__(
        self,
        faults: FaultPlan | None = None,
        *,
        engine: Engine | None = None,
        region: str = "us-east-1",
        bucket: str = "batch-bucket",
        min_records: int = 100,
        deny: frozenset[str] = frozenset(),
    ) -> None:
        from airflow_batch_provider.local.server import LocalServer
        from airflow_batch_provider.testing.bedrock_api import ControlPlane
        from airflow_batch_provider.testing.bedrock_runner import BedrockRunner
        from airflow_batch_provider.testing.bedrock_s3 import FakeS3

        self.faults = BedrockFaults() if faults is None else faults
        self.region = region
        self.bucket = bucket
        self.deny = deny
        keys = frozenset({self.credentials[0]})
        self._s3 = FakeS3(keys, lambda: self.deny, self.faults)
        self._client = self._s3.client(region)
        self._plane = ControlPlane(
            region=region,
            keys=keys,
            deny=lambda: self.deny,
            faults=self.faults,
            runner=BedrockRunner(self._client, engine or EchoEngine(), min_records),
            exists=self._exists,
        )
        self.requests: list[Call] = self._plane.calls
        self._s3.calls = self.requests
        self._server = LocalServer(self._plane)
        self.bedrock_url = self._server.origin
        self.s3_url = self._s3.url
        self._before: frozenset[str] = frozenset()

    @property
    def creates(self) -> list[Call]:
        """The calls that tried to create a job, refused ones included."""
        return self.calls("create")

    @property
    def batches(self) -> list[JSON]:
        """The jobs that exist, as GetModelInvocationJob would tell them, oldest first."""
        return [dict(job.told) for job in list(self._plane.jobs)]

    def calls(self, kind: str) -> list[Call]:
        """The calls of one kind: ``create``, ``poll``, ``list``, ``cancel``; of S3 ``upload``, ``part``, ``complete``,
        ``abort``, ``download``, ``delete``, ``objects``, ``head``."""
        return [call for call in list(self.requests) if call.kind == kind]

    def objects(self, bucket: str | None = None) -> list[str]:
        """The objects in a bucket."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket or self.bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    @property
    def s3(self) -> Any:
        """A client that may do all and is not recorded."""
        return self._client

    def _exists(self, uri: str) -> bool:
        from botocore.exceptions import ClientError

        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            found = self._client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        except ClientError:
            return False
        return bool(found) and (not key.endswith(".jsonl") or found[0]["Key"] == key)

    def start(self) -> Self:
        """Start, and return when calls are answered."""
        self._s3.start()
        self._before = self._buckets()
        if self.bucket in self._before:  # moto's memory is the process's
            self._empty(self.bucket)
        else:
            where = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
            more: JSON = {"CreateBucketConfiguration": where} if where else {}
            self._client.create_bucket(Bucket=self.bucket, **more)
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop, and leave nothing behind."""
        self._server.stop()
        for bucket in self._buckets() - self._before:
            self._empty(bucket)
            self._client.delete_bucket(Bucket=bucket)
        self._client.close()
        self._s3.stop()

    def _buckets(self) -> frozenset[str]:
        return frozenset(bucket["Name"] for bucket in self._client.list_buckets()["Buckets"])

    def _empty(self, bucket: str) -> None:
        for key in self.objects(bucket):
            self._client.delete_object(Bucket=bucket, Key=key)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
