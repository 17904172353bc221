"""What the connections of gateways say of the clouds behind them."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field, field_validator

from airflow_batch_provider.backends.gateways.cloud_place import CloudPlace
from airflow_batch_provider.hooks.base import Settings
from airflow_batch_provider.hooks.fields import Facts


class CloudSettings(Settings):
    """Extra fields for Bedrock and Vertex AI behind a gateway; names as in Portkey's own client.

    :param aws_region: where Bedrock's jobs run and the bucket lies.
    :param aws_s3_bucket: for input and, without ``output_uri``, output.
    :param role_arn: the service role that Bedrock takes on to read and write the bucket.
    :param kms_key_id: encrypts Bedrock's output.
    :param vertex_region: where Vertex AI's jobs run.
    :param vertex_storage_bucket_name: for input and, without ``output_uri``, output.
    :param output_uri: an ``s3://`` or ``gs://`` prefix for output.
    :param prefix: of every key in the bucket.
    :param job_name: the stem of the jobs' names.
    :param model_families: from a model to the family whose lines it takes.
    :param model_facts: from a model or a pattern to what it takes, where the tables do not know it or are wrong.
    :param min_rows: the account's quota of the fewest records in a job; ``max_rows``, ``max_bytes`` likewise.
    """

    aws_region: str | None = None
    aws_s3_bucket: str | None = None
    role_arn: str | None = None
    kms_key_id: str | None = None
    vertex_region: str | None = None
    vertex_storage_bucket_name: str | None = None
    output_uri: str | None = None
    prefix: str = ""
    job_name: str | None = None
    model_families: dict[str, str] = Field(default_factory=dict)
    model_facts: Facts = Field(default_factory=dict)
    min_rows: int | None = Field(default=None, ge=1)
    max_rows: int | None = Field(default=None, ge=1)
    max_bytes: int | None = Field(default=None, ge=1)

    def bedrock(self, **keys: str | None) -> CloudPlace:
        """Bedrock's place.

        :param keys: what the gateway signs with, by the end of its header's name.
        """
        shared = self._shared(keys)
        return CloudPlace(
            region=self.aws_region,
            bucket=self.aws_s3_bucket,
            role_arn=self.role_arn,
            kms_key_id=self.kms_key_id,
            **shared,
        )

    def vertex_ai(self, project: str | None = None, **keys: str | None) -> CloudPlace:
        """Vertex AI's place.

        :param keys: what the gateway signs with, by the end of its header's name.
        """
        shared = self._shared(keys)
        return CloudPlace(region=self.vertex_region, bucket=self.vertex_storage_bucket_name, project=project, **shared)

    def _shared(self, keys: dict[str, str | None]) -> dict[str, Any]:
        return {
            "output_uri": self.output_uri,
            "prefix": self.prefix,
            "job_name": self.job_name,
            "families": self.model_families,
            "model_facts": self.model_facts,
            "min_rows": self.min_rows,
            "max_rows": self.max_rows,
            "max_bytes": self.max_bytes,
            "keys": {name.replace("_", "-"): value for name, value in keys.items() if value},
        }


class SigningSettings(CloudSettings):
    """The cloud's own credentials as well, for a gateway that holds none.

    :param aws_access_key_id: with ``aws_secret_access_key`` and perhaps ``aws_session_token``.
    :param vertex_project_id: the project of the jobs; the service account's unless set.
    :param vertex_service_account_json: a service account's key, as an object or its JSON.
    """

    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = None
    aws_session_token: str | None = None
    vertex_project_id: str | None = None
    vertex_service_account_json: str | None = None

    @field_validator("vertex_service_account_json", mode="before")
    @classmethod
    def _one_line(cls, value: Any) -> Any:
        """A header takes no line ends, and pasted keys have them."""
        if isinstance(value, str):
            try:
                value = json.loads(value, strict=False)
            except ValueError:
                raise ValueError("this is no JSON of a service account's key") from None
        if value is not None and not isinstance(value, dict):
            raise ValueError("this is no service account's key")
        return None if value is None else json.dumps(value)

    def places(self) -> dict[str, CloudPlace]:
        """Both places, by what may be behind the gateway."""
        return {
            "bedrock": self.bedrock(
                aws_access_key_id=self.aws_access_key_id,
                aws_secret_access_key=self.aws_secret_access_key,
                aws_session_token=self.aws_session_token,
            ),
            "vertex_ai": self.vertex_ai(
                self.vertex_project_id, vertex_service_account_json=self.vertex_service_account_json
            ),
        }
