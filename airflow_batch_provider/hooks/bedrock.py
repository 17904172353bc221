"""Amazon Bedrock."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import Field

from airflow_batch_provider.backends.bedrock.backend import BedrockBackend, BedrockPlace
from airflow_batch_provider.hooks.aws_credentials import AwsAccess, session_factory
from airflow_batch_provider.hooks.base import BatchInferenceHook, Settings, password
from airflow_batch_provider.hooks.fields import Address, Facts, Names


class BedrockSettings(Settings):
    """Extra fields of a ``bedrock_batch`` connection.

    :param session_token: belongs to temporary keys in login and password.
    :param profile: a profile of the worker's AWS configuration.
    :param aws_conn_id: an Airflow connection of type ``aws``.
    :param assume_role_arn: the caller's role, taken on by STS; not the role that Bedrock works with.
    :param assume_role_external_id: what that role's trust policy asks for.
    :param region: where the jobs run and the bucket lies.
    :param bucket: for input and, without ``output_uri``, output.
    :param prefix: of every key in the bucket.
    :param role_arn: the service role that Bedrock takes on to read and write the bucket.
    :param output_uri: an ``s3://`` prefix for output.
    :param kms_key_id: encrypts input and output.
    :param bucket_owner: the account of the bucket, where it is another one.
    :param subnet_ids: of the VPC that a job works in, with ``security_group_ids``.
    :param tags: of every job.
    :param timeout_hours: after which Bedrock gives a job up.
    :param model_families: from a model to the family whose lines it takes.
    :param model_facts: from a model or a pattern to what it takes, where the tables do not know it or are wrong.
    :param min_rows: the account's quota of the fewest records in a job; ``max_rows``, ``max_bytes`` likewise.
    :param bedrock_url: another address of Bedrock's; ``s3_url``, ``sts_url`` likewise.
    """

    session_token: str | None = None
    profile: str | None = None
    aws_conn_id: str | None = None
    assume_role_arn: str | None = None
    assume_role_external_id: str | None = None
    region: str | None = None
    bucket: str | None = None
    prefix: str = ""
    role_arn: str | None = None
    output_uri: str | None = None
    kms_key_id: str | None = None
    bucket_owner: str | None = None
    subnet_ids: Names = ()
    security_group_ids: Names = ()
    tags: dict[str, str] = Field(default_factory=dict)
    timeout_hours: int | None = Field(default=None, ge=24, le=168)
    model_families: dict[str, str] = Field(default_factory=dict)
    model_facts: Facts = Field(default_factory=dict)
    min_rows: int | None = Field(default=None, ge=1)
    max_rows: int | None = Field(default=None, ge=1)
    max_bytes: int | None = Field(default=None, ge=1)
    bedrock_url: Address | None = None
    s3_url: Address | None = None
    sts_url: Address | None = None


class BedrockBatchHook(BatchInferenceHook):
    """Batches on Amazon Bedrock; login and password are an access key, or the chain of credentials is asked."""

    conn_type = "bedrock_batch"
    hook_name = "LLM batch: Amazon Bedrock"
    default_conn_name = "bedrock_batch_default"
    settings_class: ClassVar[type[Settings]] = BedrockSettings
    secret_settings = ("session_token", "assume_role_external_id")

    def make_backend(self, connection: Any, settings: BedrockSettings) -> BedrockBackend:
        """The place of the jobs, and a session that is made when it is first asked for."""
        access = AwsAccess(
            self.conn_id,
            settings.region or "",
            access_key=(connection.login or "").strip(),
            secret_key=password(connection),
            session_token=settings.session_token,
            profile=settings.profile,
            aws_conn_id=settings.aws_conn_id,
            assume_role_arn=settings.assume_role_arn,
            external_id=settings.assume_role_external_id,
            sts_url=settings.sts_url,
        )
        place = BedrockPlace(
            region=settings.region or "",
            bucket=settings.bucket or "",
            role_arn=settings.role_arn or "",
            prefix=settings.prefix,
            output_uri=settings.output_uri,
            kms_key_id=settings.kms_key_id,
            bucket_owner=settings.bucket_owner,
            subnet_ids=settings.subnet_ids,
            security_group_ids=settings.security_group_ids,
            tags=settings.tags,
            timeout_hours=settings.timeout_hours,
            families=settings.model_families,
            model_facts=settings.model_facts,
            min_rows=settings.min_rows,
            max_rows=settings.max_rows,
            max_bytes=settings.max_bytes,
            account=_account(settings.role_arn),
            missing=(*_missing(settings), *access.missing),
        )
        return BedrockBackend(
            place,
            session_factory(access),
            bedrock_url=settings.bedrock_url,
            s3_url=settings.s3_url,
            models=settings.models(),
        )


def _missing(settings: BedrockSettings) -> list[str]:
    missing = []
    if not settings.region:
        missing.append("the region is missing; set region, e.g. to us-east-1, where the bucket lies, too")
    if not settings.bucket:
        missing.append("the bucket is missing; set bucket to one in the same region")
    return missing


def _account(role_arn: str | None) -> str:
    """The account that a role belongs to, which is where its jobs run."""
    found = re.match(r"arn:[\w-]+:iam::(\d{12}):role/", role_arn or "")
    return found[1] if found else ""
