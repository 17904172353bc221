"""All that Airflow discovers of this package, in one place: the web UI draws the forms from it and imports no hook."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the shape of Airflow's provider schema."""
    return {
        "package-name": "airflow-batch-provider",
        "name": "LLM Batch Inference",
        "description": "LLM batch inference: one OpenAI-format JSONL on OpenAI, Azure OpenAI, Amazon Bedrock, "
        "Google Vertex AI, TrueFoundry, Portkey or a local server, as one durable task.",
        "integrations": [
            {
                "integration-name": "LLM Batch Inference",
                "external-doc-url": "https://platform.openai.com/docs/guides/batch",
                "tags": ["ai"],
            }
        ],
        "operators": [
            {
                "integration-name": "LLM Batch Inference",
                "python-modules": ["airflow_batch_provider.operators.batch_inference"],
            }
        ],
        "sensors": [
            {
                "integration-name": "LLM Batch Inference",
                "python-modules": ["airflow_batch_provider.sensors.batch_inference"],
            }
        ],
        "triggers": [
            {
                "integration-name": "LLM Batch Inference",
                "python-modules": ["airflow_batch_provider.triggers.batch_inference"],
            }
        ],
        "hooks": [
            {
                "integration-name": "LLM Batch Inference",
                "python-modules": [
                    "airflow_batch_provider.hooks.openai",
                    "airflow_batch_provider.hooks.azure_openai",
                    "airflow_batch_provider.hooks.truefoundry",
                    "airflow_batch_provider.hooks.portkey",
                    "airflow_batch_provider.hooks.bedrock",
                    "airflow_batch_provider.hooks.vertex_ai",
                    "airflow_batch_provider.hooks.local",
                ],
            }
        ],
        "transfers": [
            {
                "source-integration-name": "LLM Batch Inference",
                "target-integration-name": "Common SQL",
                "python-module": "airflow_batch_provider.transfers.results_to_sql",
            }
        ],
        "connection-types": [
            {
                "connection-type": "openai_batch",
                "hook-class-name": "airflow_batch_provider.hooks.openai.OpenAIBatchHook",
                "hook-name": "LLM batch: OpenAI",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {"host": "Base URL", "password": "API key"},
                    "placeholders": {"host": "https://api.openai.com/v1"},
                },
                "conn-fields": {
                    **_models("gpt-5-mini"),
                    **_section(
                        "Billing",
                        organization=_text("Organization", "Bills another organization of the key's, org-..."),
                        project=_text("Project", "Bills another project of the key's, proj_..."),
                    ),
                },
            },
            {
                "connection-type": "azure_openai_batch",
                "hook-class-name": "airflow_batch_provider.hooks.azure_openai.AzureOpenAIBatchHook",
                "hook-name": "LLM batch: Azure OpenAI",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port"],
                    "relabeling": {
                        "host": "Endpoint",
                        "login": "Client ID (Entra only)",
                        "password": "API key, or client secret",
                    },
                    "placeholders": {
                        "host": "https://RESOURCE.openai.azure.com",
                        "login": "empty with an API key",
                    },
                },
                "conn-fields": {
                    "deployment": _text(
                        "Deployment",
                        "A Global Batch or Data Zone Batch deployment; asked where neither the operator nor the line "
                        "names a model.",
                    ),
                    "api_version": _text(
                        "API version",
                        "Empty, preview or latest for the v1 API; a date such as 2024-10-21 for the older one.",
                    ),
                    **_section(
                        "Microsoft Entra ID, instead of an API key",
                        entra=_field(
                            "Sign in as DefaultAzureCredential finds",
                            "Without a key: who the workers and the triggerer are signs in. A tenant or a managed "
                            "identity below needs no tick here.",
                            type="boolean",
                        ),
                        tenant_id=_text(
                            "Tenant ID",
                            "Signs in as an application: its client id is the login, its client secret the password.",
                        ),
                        managed_identity_client_id=_text(
                            "Managed identity", "The client id of a user-assigned managed identity to sign in as."
                        ),
                        token_scope=_text("Token scope", "Empty for https://cognitiveservices.azure.com/.default."),
                        authority_host=_text(
                            "Authority",
                            "Where to sign in, outside of the public cloud, e.g. https://login.microsoftonline.us.",
                        ),
                    ),
                    **_models("my-deployment", first="Asked instead of the deployment, where it is set."),
                },
            },
            {
                "connection-type": "truefoundry_batch",
                "hook-class-name": "airflow_batch_provider.hooks.truefoundry.TrueFoundryBatchHook",
                "hook-name": "LLM batch: TrueFoundry",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {"host": "Base URL", "password": "Access token"},
                    "placeholders": {"host": "https://{controlPlaneUrl}/api/llm"},
                },
                "conn-fields": {
                    "provider_name": _text(
                        "Provider name",
                        "Needed. The provider integration, sent as x-tfy-provider-name with every call.",
                    ),
                    "behind": _behind(),
                    "azure_api_version": _text(
                        "Azure API version",
                        "Needed for Azure, e.g. 2024-12-01-preview; sent as x-tfy-azure-api-version.",
                    ),
                    **_models("gpt-5-mini"),
                    **_clouds_behind(),
                    **_additions(),
                },
            },
            {
                "connection-type": "portkey_batch",
                "hook-class-name": "airflow_batch_provider.hooks.portkey.PortkeyBatchHook",
                "hook-name": "LLM batch: Portkey",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {"host": "Base URL", "password": "Portkey API key"},
                    "placeholders": {"host": "https://api.portkey.ai/v1"},
                },
                "conn-fields": {
                    "provider": _text(
                        "Provider",
                        "openai, azure-openai, bedrock, vertex-ai or an integration's @slug; or set a virtual key or "
                        "a config.",
                    ),
                    "virtual_key": _secret("Virtual key", "Instead of a provider."),
                    "config": _secret("Config", "A config's id or its JSON, instead of a provider."),
                    "bearer": _secret("Bearer", "Sent as Authorization: Bearer, where the gateway wants a key there."),
                    "behind": _behind(),
                    **_models("gpt-5-mini"),
                    **_clouds_behind(),
                    **_section(
                        "Cloud keys, for a gateway that holds none",
                        aws_access_key_id=_secret("AWS access key ID", "Bedrock: what the gateway signs with."),
                        aws_secret_access_key=_secret("AWS secret access key", "Bedrock: of that key."),
                        aws_session_token=_secret("AWS session token", "Bedrock: of temporary keys."),
                        vertex_project_id=_text("Google project", "Vertex AI: the service account's unless set."),
                        vertex_service_account_json=_secret("Service account key", "Vertex AI: its JSON."),
                    ),
                    **_additions(),
                },
            },
            {
                "connection-type": "bedrock_batch",
                "hook-class-name": "airflow_batch_provider.hooks.bedrock.BedrockBatchHook",
                "hook-name": "LLM batch: Amazon Bedrock",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "port"],
                    "relabeling": {"login": "AWS access key ID", "password": "AWS secret access key"},
                    "placeholders": {"login": "empty for another way to sign in, below"},
                },
                "conn-fields": {
                    "region": _text("Region", "Needed. Where the jobs run and the bucket lies, e.g. us-east-1."),
                    "bucket": _text("S3 bucket", "Needed. For input and output, in the same region."),
                    "role_arn": _text("Service role ARN", "Needed. Bedrock takes it on to read and write the bucket."),
                    "prefix": _text("Prefix", "What every key in the bucket begins with."),
                    **_models("amazon.nova-lite-v1:0"),
                    **_section(
                        "Signing in without keys",
                        profile=_text("Profile", "Of the workers' AWS configuration."),
                        aws_conn_id=_text("AWS connection", "An Airflow connection of type aws."),
                        assume_role_arn=_text("Assume role ARN", "The caller's role; not the service role."),
                        assume_role_external_id=_secret("External ID", "Asked for by that role's trust policy."),
                        session_token=_secret("Session token", "Of temporary keys, beside the two standard fields."),
                    ),
                    **_section(
                        "Bucket, encryption, network",
                        output_uri=_text("Output URI", "An s3:// prefix for output; the bucket unless set."),
                        bucket_owner=_text("Bucket owner", "The bucket's account, 12 digits, where it is another one."),
                        kms_key_id=_text("KMS key", "Encrypts input and output."),
                        subnet_ids=_text("Subnets", "Of the VPC that the jobs work in, separated by commas."),
                        security_group_ids=_text("Security groups", "Of that VPC, separated by commas."),
                        bedrock_url=_text("Bedrock URL", "Another address, e.g. a VPC endpoint's."),
                        s3_url=_text("S3 URL", "Another address of S3."),
                        sts_url=_text("STS URL", "Another address of STS."),
                    ),
                    **_section(
                        "Jobs and the account's quotas",
                        timeout_hours=_number("Timeout in hours", "Of a job, 24 to 168.", minimum=24, maximum=168),
                        tags=_object("Tags", 'Of every job, e.g. {"team": "search"}.'),
                        **_quotas("100 unless set"),
                    ),
                },
            },
            {
                "connection-type": "vertex_ai_batch",
                "hook-class-name": "airflow_batch_provider.hooks.vertex_ai.VertexAIBatchHook",
                "hook-name": "LLM batch: Google Vertex AI",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "login", "port"],
                    "relabeling": {"password": "Service account key (JSON)"},
                    "placeholders": {"password": "empty for another way to sign in, below"},
                },
                "conn-fields": {
                    "project": _text("Project", "The service account's unless set."),
                    "region": _text("Region", "Needed. Of the jobs, e.g. us-central1, or global."),
                    "bucket": _text("Bucket", "Needed. In Cloud Storage, for input and output, in the same region."),
                    "prefix": _text("Prefix", "What every name in the bucket begins with."),
                    **_models("gemini-2.5-flash"),
                    **_section(
                        "Other ways to sign in",
                        key_path=_text("Key file", "Path of a service account's key on the workers and the triggerer."),
                        gcp_conn_id=_text("Google connection", "An Airflow connection of type google_cloud_platform."),
                        impersonation_chain=_text(
                            "Impersonation chain", "Service accounts, separated by commas; the last one calls."
                        ),
                        token=_secret("Access token", "Ends within the hour; for tests and short runs."),
                        keyfile_dict=_secret(
                            "Key in extra", "The same key as in the standard fields; set one of them."
                        ),
                    ),
                    **_section(
                        "Output and network",
                        output_prefix=_text("Output prefix", "A gs:// prefix for output; the bucket unless set."),
                        vertex_url=_text("Vertex AI URL", "Another address, e.g. a private endpoint's."),
                        storage_url=_text("Storage URL", "Another address of Cloud Storage."),
                    ),
                    **_section(
                        "Jobs and the account's quotas",
                        labels=_object("Labels", 'Of every job, e.g. {"team": "search"}.'),
                        row_labels=_field(
                            "Label every row",
                            "Gemini's rows carry their id as a label, too, which billing exports list. Without it, "
                            "rows are known by the id beside the request, or by the request itself.",
                            type="boolean",
                            default=True,
                        ),
                        max_rows=_number("Most requests", "In one job."),
                        max_bytes=_number("Most bytes", "In one job's input."),
                        **_families(),
                    ),
                },
            },
            {
                "connection-type": "local_batch",
                "hook-class-name": "airflow_batch_provider.hooks.local.LocalBatchHook",
                "hook-name": "LLM batch: local server",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {"host": "Base URL", "password": "Token"},
                    "placeholders": {"host": "http://127.0.0.1:8900/v1"},
                },
                "conn-fields": {
                    **_models("smollm2-135m-instruct"),
                },
            },
        ],
        "extra-links": ["airflow_batch_provider.links.batch_inference.BatchInferenceLink"],
    }


def _clouds_behind() -> dict[str, Any]:
    """What a gateway is told of Bedrock and Vertex AI."""
    return _section(
        "Bedrock or Vertex AI behind the gateway",
        aws_region=_text("AWS region", "Bedrock: where the jobs run and the bucket lies, e.g. us-east-1."),
        aws_s3_bucket=_text("S3 bucket", "Bedrock: for input and output."),
        role_arn=_text("Service role ARN", "Bedrock takes it on to read and write the bucket."),
        kms_key_id=_text("KMS key", "Encrypts Bedrock's output."),
        vertex_region=_text("Vertex AI region", "Where the jobs run, e.g. us-central1, or global."),
        vertex_storage_bucket_name=_text("Google bucket", "Vertex AI: for input and output."),
        output_uri=_text("Output URI", "An s3:// or gs:// prefix for output; beside the input unless set."),
        prefix=_text("Prefix", "What every key in the bucket begins with."),
        job_name=_text("Job name", "What the jobs' names begin with."),
        **_quotas("Bedrock's is 100 unless set"),
    )


def _quotas(fewest: str) -> dict[str, Any]:
    return {
        "min_rows": _number("Fewest records", f"The account's quota of a job; {fewest}."),
        "max_rows": _number("Most records", "The account's quota of a job."),
        "max_bytes": _number("Most bytes", "Of a job's input."),
        **_families(),
    }


def _families() -> dict[str, Any]:
    told = "Where a name does not tell its kind: from the model to its family, or to the id of the model behind it."
    facts = (
        "What a model takes and refuses, where the tables do not know it or are wrong: from a model, or a pattern "
        'with *, to facts: {"anthropic.claude-*": {"schema": "tool"}}.'
    )
    return {"model_families": _object("Model families", told), "model_facts": _object("Model facts", facts)}


def _behind() -> dict[str, Any]:
    known = ["openai", "azure_openai", "bedrock", "vertex_ai"]
    return _field("Provider behind", "What the gateway leads to.", type="string", enum=known, default="openai")


def _additions() -> dict[str, Any]:
    """What is sent besides what we know of."""
    return _section(
        "Headers and body",
        extra_headers=_object("Extra headers", "Sent with every call; no value of them is ever logged."),
        extra_body=_object("Extra body", "Added to every create call."),
    )


def _section(title: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """Fields that the form folds away under a title of their own; the others stand under "Extra Fields"."""
    return {name: {**field, "schema": {**field["schema"], "section": title}} for name, field in fields.items()}


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    kind = schema.pop("type")
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


def _text(label: str, description: str) -> dict[str, Any]:
    return _field(label, description, type="string")


def _secret(label: str, description: str) -> dict[str, Any]:
    return _field(label, description, type="string", format="password")


def _object(label: str, description: str) -> dict[str, Any]:
    return _field(label, description, type="object")


def _number(label: str, description: str, *, minimum: int = 1, **schema: Any) -> dict[str, Any]:
    return _field(label, description, type="integer", minimum=minimum, **schema)


def _models(
    example: str, first: str = "Asked where neither the operator nor the line names a model."
) -> dict[str, Any]:
    """What every connection type knows of models."""
    return {
        "default_model": _text("Default model", first),
        **_section(
            "Models, prices, limits",
            model_map=_object("Model map", f'From a line\'s model to the one to ask: {{"gpt-4o": "{example}"}}.'),
            prices=_object(
                "Prices",
                "US dollars for a million tokens as billed in a batch, by model or *, where the public lists do not "
                f'tell: {{"{example}": {{"input": 0.1, "output": 0.4}}}}.',
            ),
            max_jobs_in_flight=_number(
                "Jobs in flight",
                "Jobs of one run that may be alive at once; as many as the provider allows unless set.",
            ),
            max_enqueued_tokens=_object(
                "Enqueued tokens",
                "Input tokens of one run that may be enqueued at once, by model or *; larger files are sent in waves: "
                f'{{"{example}": 2000000}}.',
            ),
        ),
    }
