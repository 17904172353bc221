"""What the connections of gateways have in common: who may be behind them, and the clouds' places and keys."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pydantic import field_validator

from airflow_batch_provider.backends.gateways.cloud_place import Behind
from airflow_batch_provider.connections.azure_openai import PROVIDER as AZURE
from airflow_batch_provider.connections.base import ProviderBehind
from airflow_batch_provider.connections.bedrock import PROVIDER as BEDROCK
from airflow_batch_provider.connections.openai import PROVIDER as OPENAI
from airflow_batch_provider.connections.settings import FACTS, FAMILIES, ExtraSettings, Facts, setting
from airflow_batch_provider.connections.vertex_ai import PROVIDER as VERTEX_AI
from airflow_batch_provider.core.provider_facts import ProviderFacts

BEHIND: dict[Behind, ProviderBehind] = {
    "openai": ProviderBehind("OpenAI", OPENAI),
    "azure_openai": ProviderBehind("Azure", AZURE),
    # Gateways speak OpenAI's wire whoever is behind them. None writes embeddings for Bedrock.
    "bedrock": ProviderBehind(
        "Bedrock",
        ProviderFacts(replace(BEDROCK.limits, endpoints=("/v1/chat/completions",)), BEDROCK.price_list),
    ),
    "vertex_ai": ProviderBehind("Vertex AI", ProviderFacts(VERTEX_AI.limits, VERTEX_AI.price_list)),
}
CLOUDS = "Bedrock or Vertex AI behind the gateway"
KEYS = "Cloud credentials, if the gateway has none"
CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
GEMINI = "gemini-2.5-flash"
ROLE = "arn:aws:iam::123456789012:role/BatchRole"
FAKE_AWS = {"aws_region": "us-east-1", "aws_s3_bucket": "fake-bucket", "role_arn": ROLE}
FAKE_GOOGLE = {"behind": "vertex_ai", "vertex_region": "us-central1", "vertex_storage_bucket_name": "fake-bucket"}


def narrowed(behind: Behind, source: str, max_bytes: int | None = None) -> ProviderBehind:
    """A provider as a gateway passes its files on.

    :param source: who says so of the gateway.
    :param max_bytes: what the gateway takes in a file; None where it takes as much as the provider behind.
    """
    provider = BEHIND[behind]
    limits = provider.facts.limits
    most = min(max_bytes or limits.max_bytes, limits.max_bytes)
    narrow = replace(limits, max_bytes=most, source=f"{source}; {limits.source}")
    return replace(provider, facts=replace(provider.facts, limits=narrow))


def behind_setting() -> Any:
    """The setting that names the provider behind a gateway."""
    return setting("Provider behind", "The provider behind the gateway.", default="openai")


class CloudSettings(ExtraSettings):
    """Extra fields for Bedrock and Vertex AI behind a gateway; names as in Portkey's own client."""

    aws_region: str | None = setting(
        "AWS region", "Bedrock: the region of the jobs and the bucket, e.g. us-east-1.", section=CLOUDS
    )
    aws_s3_bucket: str | None = setting("S3 bucket", "Bedrock: the bucket for input and output.", section=CLOUDS)
    role_arn: str | None = setting(
        "Service role ARN", "Bedrock: the role that it assumes to read and write the bucket.", section=CLOUDS
    )
    kms_key_id: str | None = setting("KMS key", "Bedrock: the key to encrypt the output with.", section=CLOUDS)
    vertex_region: str | None = setting(
        "Vertex AI region", "Vertex AI: the region of the jobs, e.g. us-central1, or global.", section=CLOUDS
    )
    vertex_storage_bucket_name: str | None = setting(
        "Google bucket", "Vertex AI: the bucket for input and output.", section=CLOUDS
    )
    output_uri: str | None = setting(
        "Output URI", "An s3:// or gs:// prefix for output. Default: beside the input.", section=CLOUDS
    )
    prefix: str = setting("Prefix", "The prefix of every object in the bucket.", default="", section=CLOUDS)
    job_name: str | None = setting("Job name", "The prefix of the jobs' names.", section=CLOUDS)
    min_rows: int | None = setting(
        "Minimum records", "The account's quota for a job. Default: 100 for Bedrock, else 1.", section=CLOUDS, ge=1
    )
    max_rows: int | None = setting("Maximum records", "The account's quota for a job.", section=CLOUDS, ge=1)
    max_bytes: int | None = setting(
        "Maximum bytes", "The account's quota for the input of a job.", section=CLOUDS, ge=1
    )
    model_families: dict[str, str] = setting("Model families", FAMILIES, default=dict, section=CLOUDS)
    model_facts: Facts = setting("Model facts", FACTS, default=dict, section=CLOUDS)


class SigningSettings(CloudSettings):
    """The cloud's own credentials as well, for a gateway that holds none."""

    aws_access_key_id: str | None = setting(
        "AWS access key ID", "Bedrock: the key that the gateway uses.", section=KEYS, hide="text"
    )
    aws_secret_access_key: str | None = setting(
        "AWS secret access key", "Bedrock: the secret of this key.", section=KEYS, hide="text"
    )
    aws_session_token: str | None = setting(
        "AWS session token", "Bedrock: required if the key is temporary.", section=KEYS, hide="text"
    )
    vertex_project_id: str | None = setting(
        "Google project", "Vertex AI: the project of the jobs. Default: that of the service account key.", section=KEYS
    )
    # Masked by its parts: its project and address are no secrets.
    vertex_service_account_json: str | None = setting(
        "Service account key", "Vertex AI: the JSON of the key.", section=KEYS, hide="parts"
    )

    @field_validator("vertex_service_account_json", mode="before")
    @classmethod
    def _one_line(cls, value: Any) -> Any:
        """A header takes no line ends, and pasted keys have them."""
        if isinstance(value, str):
            try:
                value = json.loads(value, strict=False)
            except ValueError:
                raise ValueError("this is not the JSON of a service account's key") from None
        if value is not None and not isinstance(value, dict):
            raise ValueError("this is not a service account's key")
        return None if value is None else json.dumps(value)
