"""Amazon Bedrock."""

from __future__ import annotations

import re
from typing import Any

from airflow_batch_provider.backends.bedrock.backend import BedrockBackend, BedrockPlace
from airflow_batch_provider.connections.bedrock import CONNECTION, BedrockSettings
from airflow_batch_provider.hooks.aws_credentials import AwsAccess, session_factory
from airflow_batch_provider.hooks.base import BatchInferenceHook, password


class BedrockBatchHook(BatchInferenceHook):
    """Batches on Amazon Bedrock; login and password are an access key, or empty for boto3's default credentials."""

    row = CONNECTION

    def make_backend(self, connection: Any, settings: BedrockSettings) -> BedrockBackend:
        """The place of the jobs, and a session that is created when it is first used."""
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
            self.row.known,
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
