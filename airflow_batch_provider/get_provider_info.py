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
                    "organization": {"label": "Organization", "schema": {"type": ["string", "null"]}},
                    "project": {"label": "Project", "schema": {"type": ["string", "null"]}},
                    **_models("my-deployment"),
                },
            },
            {
                "connection-type": "azure_openai_batch",
                "hook-class-name": "airflow_batch_provider.hooks.azure_openai.AzureOpenAIBatchHook",
                "hook-name": "LLM batch: Azure OpenAI",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {"host": "Endpoint", "password": "API key"},
                    "placeholders": {"host": "https://RESOURCE.openai.azure.com"},
                },
                "conn-fields": {
                    "deployment": {
                        "label": "Deployment",
                        "schema": {"type": ["string", "null"]},
                        "description": "A Global Batch or Data Zone Batch deployment; the default model.",
                    },
                    "api_version": {
                        "label": "API version",
                        "schema": {"type": ["string", "null"]},
                        "description": "Empty for the v1 API; a date such as 2024-10-21 for the older one.",
                    },
                    **_models("my-deployment"),
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
                    "provider_name": {
                        "label": "Provider name",
                        "schema": {"type": ["string", "null"]},
                        "description": "The provider integration, sent as x-tfy-provider-name with every call.",
                    },
                    "behind": {
                        "label": "Provider behind",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["openai", "azure_openai", "bedrock", "vertex_ai"],
                            "default": "openai",
                        },
                        "description": "What the gateway leads to.",
                    },
                    "azure_api_version": {
                        "label": "Azure API version",
                        "schema": {"type": ["string", "null"]},
                        "description": "Sent as x-tfy-azure-api-version; needed for Azure, e.g. 2024-12-01-preview.",
                    },
                    **_clouds_behind(),
                    "extra_headers": {
                        "label": "Extra headers",
                        "description": "Sent with every call; every value is treated as a secret.",
                        "schema": {"type": ["object", "null"]},
                    },
                    "extra_body": {
                        "label": "Extra body",
                        "description": "Added to every create call.",
                        "schema": {"type": ["object", "null"]},
                    },
                    **_models("my-deployment"),
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
                    "provider": {
                        "label": "Provider",
                        "schema": {"type": ["string", "null"]},
                        "description": "openai, azure-openai, bedrock, vertex-ai or an integration's @slug; or set a "
                        "virtual key or a config.",
                    },
                    "virtual_key": {
                        "label": "Virtual key",
                        "schema": {"type": ["string", "null"], "format": "password"},
                    },
                    "config": {
                        "label": "Config",
                        "schema": {"type": ["string", "null"], "format": "password"},
                        "description": "A config id or JSON.",
                    },
                    "bearer": {
                        "label": "Bearer",
                        "schema": {"type": ["string", "null"], "format": "password"},
                        "description": "Sent as Authorization: Bearer, where the gateway wants a key there.",
                    },
                    "behind": {
                        "label": "Provider behind",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": ["openai", "azure_openai", "bedrock", "vertex_ai"],
                            "default": "openai",
                        },
                        "description": "What the gateway leads to.",
                    },
                    **_clouds_behind(),
                    "aws_access_key_id": _secret("AWS access key ID", "For a gateway that holds no AWS keys."),
                    "aws_secret_access_key": _secret("AWS secret access key", "Of that key."),
                    "aws_session_token": _secret("AWS session token", "Of temporary keys."),
                    "vertex_project_id": _text("Google project", "The service account's unless set."),
                    "vertex_service_account_json": _secret(
                        "Service account key", "Its JSON, for a gateway that holds no Google key."
                    ),
                    "extra_headers": {
                        "label": "Extra headers",
                        "description": "Sent with every call; every value is treated as a secret.",
                        "schema": {"type": ["object", "null"]},
                    },
                    "extra_body": {
                        "label": "Extra body",
                        "description": "Added to every create call.",
                        "schema": {"type": ["object", "null"]},
                    },
                    **_models("my-deployment"),
                },
            },
            {
                "connection-type": "bedrock_batch",
                "hook-class-name": "airflow_batch_provider.hooks.bedrock.BedrockBatchHook",
                "hook-name": "LLM batch: Amazon Bedrock",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "port"],
                    "relabeling": {"login": "AWS access key ID", "password": "AWS secret access key"},
                    "placeholders": {"login": "empty: profile, aws_conn_id, or what the workers have"},
                },
                "conn-fields": {
                    "region": _text("Region", "Where the jobs run and the bucket lies, e.g. us-east-1."),
                    "bucket": _text("S3 bucket", "For input and output, in the same region."),
                    "prefix": _text("Prefix", "Of every key in the bucket."),
                    "role_arn": _text("Service role ARN", "Bedrock takes it on to read and write the bucket."),
                    "output_uri": _text("Output URI", "An s3:// prefix for output; the bucket unless set."),
                    "kms_key_id": _text("KMS key", "Encrypts input and output."),
                    "bucket_owner": _text("Bucket owner", "The bucket's account, 12 digits, where it is another one."),
                    "subnet_ids": _text("Subnets", "Of the VPC that the jobs work in, separated by commas."),
                    "security_group_ids": _text("Security groups", "Of that VPC, separated by commas."),
                    "tags": _object("Tags", 'Of every job, e.g. {"team": "search"}.'),
                    "timeout_hours": _number("Timeout in hours", "24 to 168.", minimum=24, maximum=168),
                    "session_token": _secret("Session token", "Of temporary keys."),
                    "profile": _text("Profile", "Of the workers' AWS configuration, instead of keys."),
                    "aws_conn_id": _text("AWS connection", "An Airflow connection of type aws, instead of keys."),
                    "assume_role_arn": _text("Assume role ARN", "The caller's role; not the service role."),
                    "assume_role_external_id": _secret("External ID", "Asked for by that role's trust policy."),
                    "bedrock_url": _text("Bedrock URL", "Another address, e.g. a VPC endpoint's."),
                    "s3_url": _text("S3 URL", "Another address of S3."),
                    "sts_url": _text("STS URL", "Another address of STS."),
                    "min_rows": _number("Fewest records", "The account's quota of a job; 100 unless set."),
                    "max_rows": _number("Most records", "The account's quota of a job."),
                    "max_bytes": _number("Most bytes", "The account's quota of a job's input."),
                    "model_families": _object(
                        "Model families", "Where a name does not tell its kind: from the model to its family."
                    ),
                    **_models("amazon.nova-lite-v1:0"),
                },
            },
            {
                "connection-type": "vertex_ai_batch",
                "hook-class-name": "airflow_batch_provider.hooks.vertex_ai.VertexAIBatchHook",
                "hook-name": "LLM batch: Google Vertex AI",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "login", "port"],
                    "relabeling": {"password": "Service account key (JSON)"},
                    "placeholders": {"password": "empty: key_path, gcp_conn_id, or what the workers have"},
                },
                "conn-fields": {
                    "project": _text("Project", "The service account's unless set."),
                    "region": _text("Region", "Of the jobs, e.g. us-central1, or global."),
                    "bucket": _text("Bucket", "In Cloud Storage, for input and output, in the same region."),
                    "prefix": _text("Prefix", "Of every name in the bucket."),
                    "output_prefix": _text("Output prefix", "A gs:// prefix for output; the bucket unless set."),
                    "labels": _object("Labels", 'Of every job, e.g. {"team": "search"}.'),
                    "keyfile_dict": _secret("Service account key", "Its JSON; or use the password."),
                    "key_path": _text("Key file", "The path of such a key on the workers and the triggerer."),
                    "gcp_conn_id": _text(
                        "Google connection", "An Airflow connection of type google_cloud_platform, instead of a key."
                    ),
                    "impersonation_chain": _text(
                        "Impersonation chain", "Service accounts, separated by commas; the last one calls."
                    ),
                    "token": _secret("Access token", "Ends within the hour; for tests and short runs."),
                    "vertex_url": _text("Vertex AI URL", "Another address, e.g. a private endpoint's."),
                    "storage_url": _text("Storage URL", "Another address of Cloud Storage."),
                    "max_rows": _number("Most requests", "In one job."),
                    "max_bytes": _number("Most bytes", "In one job's input."),
                    "model_families": _object(
                        "Model families", "Where a name does not tell its kind: from the model to its family."
                    ),
                    **_models("gemini-2.5-flash"),
                },
            },
            {
                "connection-type": "local_batch",
                "hook-class-name": "airflow_batch_provider.hooks.local.LocalBatchHook",
                "hook-name": "LLM batch: local server",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {"host": "Base URL", "password": "Token"},
                    "placeholders": {"host": "http://127.0.0.1:8000/v1"},
                },
                "conn-fields": {
                    **_models("my-deployment"),
                },
            },
        ],
        "extra-links": ["airflow_batch_provider.links.batch_inference.BatchInferenceLink"],
    }


def _clouds_behind() -> dict[str, Any]:
    """What a gateway is told of Bedrock and Vertex AI."""
    return {
        "aws_region": _text("AWS region", "Bedrock: where the jobs run and the bucket lies, e.g. us-east-1."),
        "aws_s3_bucket": _text("S3 bucket", "Bedrock: for input and output."),
        "role_arn": _text("Service role ARN", "Bedrock takes it on to read and write the bucket."),
        "kms_key_id": _text("KMS key", "Encrypts Bedrock's output."),
        "vertex_region": _text("Vertex AI region", "Where the jobs run, e.g. us-central1, or global."),
        "vertex_storage_bucket_name": _text("Google bucket", "Vertex AI: for input and output."),
        "output_uri": _text("Output URI", "An s3:// or gs:// prefix for output; beside the input unless set."),
        "prefix": _text("Prefix", "Of every key in the bucket."),
        "job_name": _text("Job name", "What the jobs' names begin with."),
        "min_rows": _number("Fewest records", "The account's quota of a job; Bedrock's is 100 unless set."),
        "max_rows": _number("Most records", "The account's quota of a job."),
        "max_bytes": _number("Most bytes", "Of a job's input, for the cloud or for the gateway."),
        "model_families": _object(
            "Model families", "Where a name does not tell its kind: from the model to its family."
        ),
    }


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


def _models(example: str) -> dict[str, Any]:
    """What every connection type knows of models."""
    return {
        "default_model": _text("Default model", "Asked where neither the operator nor the line names a model."),
        "model_map": _object("Model map", f'From a line\'s model to the one to ask, e.g. {{"gpt-4o": "{example}"}}.'),
        "prices": _object(
            "Prices",
            "US dollars for a million tokens as billed in a batch, by model or *, where the public lists do not tell: "
            f'{{"{example}": {{"input": 0.1, "output": 0.4}}}}.',
        ),
        "max_jobs_in_flight": {
            "label": "Jobs in flight",
            "schema": {"type": ["integer", "null"], "minimum": 1},
            "description": "Jobs of one run that may be alive at once.",
        },
        "max_enqueued_tokens": _object(
            "Enqueued tokens",
            "Input tokens of one run that may be enqueued at once, by model or *; larger files are sent in waves: "
            f'{{"{example}": 2000000}}.',
        ),
    }
