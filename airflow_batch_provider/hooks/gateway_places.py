"""From the settings of a gateway's connection to the cloud behind it."""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.backends.gateways.cloud_place import CloudPlace
from airflow_batch_provider.connections.gateways import CloudSettings, SigningSettings


def bedrock_place(settings: CloudSettings, **keys: str | None) -> CloudPlace:
    """Bedrock's place.

    :param keys: what the gateway signs with, by the end of its header's name.
    """
    return CloudPlace(
        region=settings.aws_region,
        bucket=settings.aws_s3_bucket,
        role_arn=settings.role_arn,
        kms_key_id=settings.kms_key_id,
        **_shared(settings, keys),
    )


def vertex_place(settings: CloudSettings, project: str | None = None, **keys: str | None) -> CloudPlace:
    """Vertex AI's place.

    :param keys: what the gateway signs with, by the end of its header's name.
    """
    return CloudPlace(
        region=settings.vertex_region,
        bucket=settings.vertex_storage_bucket_name,
        project=project,
        **_shared(settings, keys),
    )


def signing_places(settings: SigningSettings) -> dict[str, CloudPlace]:
    """Both places with the cloud's own credentials, by what may be behind the gateway."""
    return {
        "bedrock": bedrock_place(
            settings,
            aws_access_key_id=settings.aws_access_key_id,
            aws_secret_access_key=settings.aws_secret_access_key,
            aws_session_token=settings.aws_session_token,
        ),
        "vertex_ai": vertex_place(
            settings, settings.vertex_project_id, vertex_service_account_json=settings.vertex_service_account_json
        ),
    }


def _shared(settings: CloudSettings, keys: dict[str, str | None]) -> dict[str, Any]:
    return {
        "output_uri": settings.output_uri,
        "prefix": settings.prefix,
        "job_name": settings.job_name,
        "families": settings.model_families,
        "model_facts": settings.model_facts,
        "min_rows": settings.min_rows,
        "max_rows": settings.max_rows,
        "max_bytes": settings.max_bytes,
        "keys": {name.replace("_", "-"): value for name, value in keys.items() if value},
    }
