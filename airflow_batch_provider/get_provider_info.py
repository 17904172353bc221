"""All that Airflow discovers of this package, one literal: the web UI draws the forms from it and imports no hook."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the shape of Airflow's provider schema."""
    return {
        "package-name": "airflow-batch-provider",
        "name": "LLM Batch Inference",
        "description": "LLM batch inference: one OpenAI-format JSONL on OpenAI, Azure OpenAI, TrueFoundry, Portkey "
        "or a local server, as one durable task.",
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
                    "default_model": {
                        "label": "Default model",
                        "schema": {"type": ["string", "null"]},
                        "description": "Asked where neither the operator nor the line names a model.",
                    },
                    "model_map": {
                        "label": "Model map",
                        "description": 'From a line\'s model to the one to ask, e.g. {"gpt-4o": "my-deployment"}.',
                        "schema": {"type": ["object", "null"]},
                    },
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
                    "default_model": {
                        "label": "Default model",
                        "schema": {"type": ["string", "null"]},
                        "description": "Asked where neither the operator nor the line names a model.",
                    },
                    "model_map": {
                        "label": "Model map",
                        "description": 'From a line\'s model to the one to ask, e.g. {"gpt-4o": "my-deployment"}.',
                        "schema": {"type": ["object", "null"]},
                    },
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
                        "schema": {"type": ["string", "null"], "enum": ["openai", "azure_openai"], "default": "openai"},
                        "description": "What the gateway leads to.",
                    },
                    "azure_api_version": {
                        "label": "Azure API version",
                        "schema": {"type": ["string", "null"]},
                        "description": "Sent as x-tfy-azure-api-version; needed for Azure, e.g. 2024-12-01-preview.",
                    },
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
                    "default_model": {
                        "label": "Default model",
                        "schema": {"type": ["string", "null"]},
                        "description": "Asked where neither the operator nor the line names a model.",
                    },
                    "model_map": {
                        "label": "Model map",
                        "description": 'From a line\'s model to the one to ask, e.g. {"gpt-4o": "my-deployment"}.',
                        "schema": {"type": ["object", "null"]},
                    },
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
                        "description": "openai, azure-openai or an integration's "
                        "@slug; or set a virtual key or a "
                        "config.",
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
                        "schema": {"type": ["string", "null"], "enum": ["openai", "azure_openai"], "default": "openai"},
                        "description": "What the gateway leads to.",
                    },
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
                    "default_model": {
                        "label": "Default model",
                        "schema": {"type": ["string", "null"]},
                        "description": "Asked where neither the operator nor the line names a model.",
                    },
                    "model_map": {
                        "label": "Model map",
                        "description": 'From a line\'s model to the one to ask, e.g. {"gpt-4o": "my-deployment"}.',
                        "schema": {"type": ["object", "null"]},
                    },
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
                    "default_model": {
                        "label": "Default model",
                        "schema": {"type": ["string", "null"]},
                        "description": "Asked where neither the operator nor the line names a model.",
                    },
                    "model_map": {
                        "label": "Model map",
                        "description": 'From a line\'s model to the one to ask, e.g. {"gpt-4o": "my-deployment"}.',
                        "schema": {"type": ["object", "null"]},
                    },
                },
            },
        ],
        "extra-links": ["airflow_batch_provider.links.batch_inference.BatchInferenceLink"],
    }
