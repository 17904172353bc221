"""Where Bedrock jobs run, and what a create call says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_batch_provider.backends.base import no_model
from airflow_batch_provider.backends.bedrock import checks
from airflow_batch_provider.backends.bedrock.jobs import TOKEN_KEY
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.identity import own_of
from airflow_batch_provider.core.records import JSON, Limits, Shard
from airflow_batch_provider.dialects.facts import ModelFacts
from airflow_batch_provider.dialects.families import Family, bedrock_family


@dataclass(frozen=True)
class BedrockPlace:
    """Where jobs run and what they are given.

    :param role_arn: the service role that Bedrock takes on to read and write the bucket.
    :param prefix: of every key in the bucket; made safe for Bedrock.
    :param output_uri: an ``s3://`` prefix; ``output/`` below the prefix where it is None.
    :param kms_key_id: encrypts input and output.
    :param bucket_owner: the account of the bucket.
    :param families: from a model's id or ARN to a family's name.
    :param model_facts: from a model or a pattern to the facts that differ from the tables'.
    :param min_rows: the account's own quota; ``max_rows``, ``max_bytes`` likewise.
    :param account: distinguishes accounts where a run is resumed; may be empty.
    :param missing: fields that are missing, as sentences with their remedy.
    """

    region: str
    bucket: str
    role_arn: str
    prefix: str = ""
    output_uri: str | None = None
    kms_key_id: str | None = None
    bucket_owner: str | None = None
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    timeout_hours: int | None = None
    families: Mapping[str, str] = field(default_factory=dict)
    model_facts: ModelFacts = field(default_factory=dict)
    min_rows: int | None = None
    max_rows: int | None = None
    max_bytes: int | None = None
    account: str = ""
    missing: tuple[str, ...] = ()

    def family(self, model: str) -> Family:
        """The model's family and facts.

        :raises ConfigurationError: when it is not known how its lines are written.
        """
        return bedrock_family(model, self.families, self.model_facts)

    @property
    def home(self) -> str:
        """Bucket and prefix as a URI that ends with a slash."""
        prefix = checks.safe_key(self.prefix)
        return f"s3://{self.bucket}/{prefix}/" if prefix else f"s3://{self.bucket}/"

    def output(self, options: Mapping[str, Any]) -> str:
        """The output URI before a job adds its own name; ends with a slash."""
        chosen = options.get("output_uri") or self.output_uri
        return f"{str(chosen).removesuffix('/')}/" if chosen else f"{self.home}output/"

    def kms_key(self, options: Mapping[str, Any]) -> str | None:
        """The key that a run encrypts with."""
        return options.get("kms_key_id") or self.kms_key_id

    def hours(self, options: Mapping[str, Any]) -> int | None:
        """When Bedrock gives a job up, None for its own default."""
        hours = options.get("timeout_hours")
        return hours if hours is not None else self.timeout_hours

    def role(self, options: Mapping[str, Any]) -> str:
        """The service role of a run."""
        return options.get("role_arn") or self.role_arn

    def all_tags(self, options: Mapping[str, Any]) -> dict[str, str]:
        """The connection's tags and the run's."""
        return {**self.tags, **(options.get("tags") or {})}


def named(model: str | None) -> str:
    """The model, which a job names.

    :raises ConfigurationError: when there is none.
    """
    if not model:
        raise ConfigurationError(no_model("Bedrock"))
    return model


def check_values(place: BedrockPlace, options: Mapping[str, Any], limits: Limits) -> None:
    """Refuse what Bedrock would refuse of a place and a run's options.

    :param limits: Bedrock's own.
    :raises ConfigurationError: naming the field and the remedy.
    """
    checks.check_place(
        place.bucket, place.role(options), place.output(options), place.kms_key(options), place.bucket_owner
    )
    checks.check_hours(place.hours(options), limits)
    checks.check_job(place.all_tags(options), place.subnet_ids, place.security_group_ids)


def create_call(place: BedrockPlace, shard: Shard, token: str, input_id: str, options: Mapping[str, Any]) -> JSON:
    """The arguments of CreateModelInvocationJob."""
    model = named(shard.model)
    job_name = checks.job_name(str(options.get("job_name") or shard.name), token)
    owner = {"s3BucketOwner": place.bucket_owner} if place.bucket_owner else {}
    kms_key_id = place.kms_key(options)
    key = {"s3EncryptionKeyId": kms_key_id} if kms_key_id else {}
    tags = {**place.all_tags(options), TOKEN_KEY: token}
    request: JSON = {
        "jobName": job_name,
        # AWS answers a token that it knows with that job, even one that was stopped: so it is this create's alone.
        "clientRequestToken": own_of(token),
        "modelId": model,
        "roleArn": place.role(options),
        "modelInvocationType": place.family(model).invocation,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": input_id, "s3InputFormat": "JSONL", **owner}},
        # A folder of its own for each create: the outputs of two never mix.
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"{place.output(options)}{job_name}/", **key, **owner}},
        "tags": [{"key": name, "value": value} for name, value in tags.items()],
    }
    if place.subnet_ids:
        groups = list(place.security_group_ids)
        request["vpcConfig"] = {"subnetIds": list(place.subnet_ids), "securityGroupIds": groups}
    hours = place.hours(options)
    if hours is not None:
        request["timeoutDurationInHours"] = hours
    return request
