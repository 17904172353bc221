"""What a connection says of the cloud behind a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from airflow_batch_provider.dialects.facts import ModelFacts

Behind: TypeAlias = Literal["openai", "azure_openai", "bedrock", "vertex_ai"]
"""Who may be behind a gateway."""


@dataclass(frozen=True)
class CloudPlace:
    """What a connection says of the cloud behind its gateway.

    :param role_arn: Bedrock's service role, which reads and writes the bucket.
    :param output_uri: an ``s3://`` or ``gs://`` prefix for output; beside the input where it is None.
    :param kms_key_id: encrypts Bedrock's output.
    :param prefix: of every key in the bucket.
    :param job_name: the stem of the jobs' names.
    :param families: from a model's name to the family whose lines it takes.
    :param model_facts: from a model or a pattern to the facts that differ from the tables'.
    :param min_rows: the account's own quota; ``max_rows``, ``max_bytes`` likewise.
    :param keys: what the gateway signs with, by the end of its header's name.
    """

    region: str | None = None
    bucket: str | None = None
    project: str | None = None
    role_arn: str | None = None
    output_uri: str | None = None
    kms_key_id: str | None = None
    prefix: str = ""
    job_name: str | None = None
    families: Mapping[str, str] = field(default_factory=dict)
    model_facts: ModelFacts = field(default_factory=dict)
    min_rows: int | None = None
    max_rows: int | None = None
    max_bytes: int | None = None
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
