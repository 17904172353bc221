"""Amazon Bedrock."""

from __future__ import annotations

from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard
from airflow_batch_provider.connections.settings import FACTS, FAMILIES, Address, Facts, Names, Settings, setting

SIGN_IN = "Signing in without keys"
NETWORK = "Bucket, encryption, network"
JOBS = "Jobs and the account's quotas"


class BedrockSettings(Settings):
    """Extra fields of a ``bedrock_batch`` connection."""

    region: str | None = setting("Region", "The region of the jobs and the bucket, e.g. us-east-1.", required=True)
    bucket: str | None = setting("S3 bucket", "For input and output, in the same region.", required=True)
    role_arn: str | None = setting(
        "Service role ARN", "The role Bedrock assumes to read and write the bucket.", required=True
    )
    prefix: str = setting("Prefix", "What every key in the bucket begins with.", default="")
    profile: str | None = setting("Profile", "A profile of the workers' AWS configuration.", section=SIGN_IN)
    aws_conn_id: str | None = setting("AWS connection", "An Airflow connection of type aws.", section=SIGN_IN)
    assume_role_arn: str | None = setting(
        "Assume role ARN", "The role that the caller assumes; not the service role.", section=SIGN_IN
    )
    assume_role_external_id: str | None = setting(
        "External ID", "The external ID that this role's trust policy requires.", section=SIGN_IN, hide="text"
    )
    session_token: str | None = setting(
        "Session token", "Of temporary keys in the two standard fields.", section=SIGN_IN, hide="text"
    )
    output_uri: str | None = setting(
        "Output URI", "An s3:// prefix for output; the bucket unless set.", section=NETWORK
    )
    bucket_owner: str | None = setting(
        "Bucket owner", "The account that owns the bucket, 12 digits, where it is another one.", section=NETWORK
    )
    kms_key_id: str | None = setting("KMS key", "Encrypts input and output.", section=NETWORK)
    subnet_ids: Names = setting("Subnets", "Subnet ids of the jobs' VPC, comma-separated.", default=(), section=NETWORK)
    security_group_ids: Names = setting(
        "Security groups", "Security group ids, comma-separated.", default=(), section=NETWORK
    )
    bedrock_url: Address | None = setting("Bedrock URL", "Another address, e.g. a VPC endpoint's.", section=NETWORK)
    s3_url: Address | None = setting("S3 URL", "Another address of S3.", section=NETWORK)
    sts_url: Address | None = setting("STS URL", "Another address of STS.", section=NETWORK)
    timeout_hours: int | None = setting(
        "Timeout in hours", "After which Bedrock stops a job, 24 to 168.", section=JOBS, ge=24, le=168
    )
    tags: dict[str, str] = setting("Tags", 'Set on every job, e.g. {"team": "search"}.', default=dict, section=JOBS)
    min_rows: int | None = setting(
        "Fewest records", "The account's quota for a job; 100 unless set.", section=JOBS, ge=1
    )
    max_rows: int | None = setting("Most records", "The account's quota for a job.", section=JOBS, ge=1)
    max_bytes: int | None = setting("Most bytes", "The account's quota for a job's input.", section=JOBS, ge=1)
    model_families: dict[str, str] = setting("Model families", FAMILIES, default=dict, section=JOBS)
    model_facts: Facts = setting("Model facts", FACTS, default=dict, section=JOBS)


CONNECTION = ConnectionType(
    "bedrock_batch",
    "Amazon Bedrock",
    BedrockSettings,
    {
        "login": Standard("AWS access key ID", "empty for another way to sign in, below"),
        "password": Standard("AWS secret access key"),
    },
    needs="login, password = access key, or extra `profile`, `aws_conn_id`, `assume_role_arn`, or the worker's role; "
    "extra `region`, `bucket`, `role_arn`",
    example_model="amazon.nova-lite-v1:0",
    hook="airflow_batch_provider.hooks.bedrock.BedrockBatchHook",
    fakes={
        "bedrock": Fake(
            "airflow_batch_provider.testing.routes.start_bedrock",
            model="meta.llama3-1-8b-instruct-v1:0",
            min_rows=100,
            rules="`engine`, `region`, `bucket`, `min_records`, `deny`: IAM actions that are refused",
        )
    },
)
