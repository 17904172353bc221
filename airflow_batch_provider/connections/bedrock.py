"""Amazon Bedrock."""

from __future__ import annotations

from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard
from airflow_batch_provider.connections.settings import FACTS, FAMILIES, Address, Facts, Names, Settings, setting
from airflow_batch_provider.core.provider_facts import PriceList, ProviderFacts
from airflow_batch_provider.core.records import Admission, JobStatus, Limits

SIGN_IN = "Other ways to sign in"
NETWORK = "Bucket, encryption, network"
JOBS = "Jobs and account quotas"


PROVIDER = ProviderFacts(
    Limits(
        min_rows=100,
        max_rows=50_000,
        max_bytes=1_000_000_000,
        # botocore: ModelInvocationJobTimeoutDurationInHours.
        window_hours=24,
        longest_hours=168,
        endpoints=("/v1/chat/completions", "/v1/embeddings"),
        source="AWS, quotas for Amazon Bedrock: at least 100 records a job, 50,000 records and 1 GB a file; they "
        "differ by model and account, set min_rows, max_rows, max_bytes of the connection to yours",
    ),
    PriceList("aws", discount=0.5, source="AWS, Amazon Bedrock pricing: batch inference at half the on-demand price"),
    # "Sum of in-progress and submitted batch inference jobs using a base model": 20 in most accounts.
    Admission(max_jobs=20),
    # botocore's ModelInvocationJobStatus. Expired: not begun in time; PartiallyCompleted: not done in time.
    statuses={
        "Submitted": JobStatus.VALIDATING,
        "Validating": JobStatus.VALIDATING,
        "Scheduled": JobStatus.VALIDATING,
        "InProgress": JobStatus.IN_PROGRESS,
        "Completed": JobStatus.COMPLETED,
        "PartiallyCompleted": JobStatus.PARTIALLY_COMPLETED,
        "Failed": JobStatus.FAILED,
        "Stopping": JobStatus.CANCELLING,
        "Stopped": JobStatus.CANCELLED,
        "Expired": JobStatus.EXPIRED,
    },
)


class BedrockSettings(Settings):
    """Extra fields of a ``bedrock_batch`` connection."""

    region: str | None = setting("Region", "The region of the jobs and the bucket, e.g. us-east-1.", required=True)
    bucket: str | None = setting("S3 bucket", "The bucket for input and output, in the same region.", required=True)
    role_arn: str | None = setting(
        "Service role ARN", "The role Bedrock assumes to read and write the bucket.", required=True
    )
    prefix: str = setting("Prefix", "The prefix of every object in the bucket.", default="")
    profile: str | None = setting("Profile", "A profile in the AWS configuration of the workers.", section=SIGN_IN)
    aws_conn_id: str | None = setting("AWS connection", "The ID of an Airflow connection of type aws.", section=SIGN_IN)
    assume_role_arn: str | None = setting(
        "Role to assume", "The ARN of a role that the caller assumes; not the service role.", section=SIGN_IN
    )
    assume_role_external_id: str | None = setting(
        "External ID", "The external ID that this role's trust policy requires.", section=SIGN_IN, hide="text"
    )
    session_token: str | None = setting(
        "Session token", "Required if the access key above is temporary.", section=SIGN_IN, hide="text"
    )
    output_uri: str | None = setting(
        "Output URI", "An s3:// prefix for output. Default: in the bucket.", section=NETWORK
    )
    bucket_owner: str | None = setting(
        "Bucket owner", "The ID (12 digits) of the account that owns the bucket, if it is another one.", section=NETWORK
    )
    kms_key_id: str | None = setting("KMS key", "The key to encrypt input and output with.", section=NETWORK)
    subnet_ids: Names = setting("Subnets", "Subnet IDs of the jobs' VPC, comma-separated.", default=(), section=NETWORK)
    security_group_ids: Names = setting(
        "Security groups", "Security group IDs, comma-separated.", default=(), section=NETWORK
    )
    bedrock_url: Address | None = setting("Bedrock URL", "Another address, e.g. of a VPC endpoint.", section=NETWORK)
    s3_url: Address | None = setting("S3 URL", "Another address for S3.", section=NETWORK)
    sts_url: Address | None = setting("STS URL", "Another address for STS.", section=NETWORK)
    timeout_hours: int | None = setting(
        "Timeout in hours",
        "Bedrock stops a job after this time, 24 to 168 hours.",
        section=JOBS,
        ge=PROVIDER.limits.window_hours,
        le=PROVIDER.limits.longest_hours,
    )
    tags: dict[str, str] = setting("Tags", 'Set on every job, e.g. {"team": "search"}.', default=dict, section=JOBS)
    min_rows: int | None = setting(
        "Minimum records", "The account's quota for a job. Default: 100.", section=JOBS, ge=1
    )
    max_rows: int | None = setting("Maximum records", "The account's quota for a job.", section=JOBS, ge=1)
    max_bytes: int | None = setting("Maximum bytes", "The account's quota for the input of a job.", section=JOBS, ge=1)
    model_families: dict[str, str] = setting("Model families", FAMILIES, default=dict, section=JOBS)
    model_facts: Facts = setting("Model facts", FACTS, default=dict, section=JOBS)


CONNECTION = ConnectionType(
    "bedrock_batch",
    "Amazon Bedrock",
    BedrockSettings,
    {
        "login": Standard("AWS access key ID", "leave empty to sign in another way"),
        "password": Standard("AWS secret access key"),
    },
    needs="login, password = access key, or extra `profile`, `aws_conn_id`, `assume_role_arn`, or the worker's role; "
    "extra `region`, `bucket`, `role_arn`",
    example_model="amazon.nova-lite-v1:0",
    facts=PROVIDER,
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
