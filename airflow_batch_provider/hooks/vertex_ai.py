"""Google Vertex AI."""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.backends.vertex.backend import VertexBackend, VertexPlace
from airflow_batch_provider.connections.vertex_ai import CONNECTION, VertexAISettings
from airflow_batch_provider.hooks.base import BatchInferenceHook, password
from airflow_batch_provider.hooks.google_credentials import GoogleAccess, credentials_factory


class VertexAIBatchHook(BatchInferenceHook):
    """Batches on Google Vertex AI; password is a service account's key, or empty for Google's default credentials."""

    row = CONNECTION

    def make_backend(self, connection: Any, settings: VertexAISettings) -> VertexBackend:
        """The place of the jobs, and credentials that are created when they are first used."""
        access = GoogleAccess(
            self.conn_id,
            token=settings.token,
            keyfile=settings.keyfile_dict or password(connection) or None,
            key_path=settings.key_path,
            gcp_conn_id=settings.gcp_conn_id,
            impersonation_chain=settings.impersonation_chain,
        )
        self._mask(*access.secrets)
        project = settings.project or access.project() or ""
        place = VertexPlace(
            project=project,
            region=settings.region or "",
            bucket=settings.bucket or "",
            prefix=settings.prefix,
            output_prefix=settings.output_prefix,
            labels=settings.labels,
            families=settings.model_families,
            model_facts=settings.model_facts,
            row_labels=settings.row_labels,
            max_rows=settings.max_rows,
            max_bytes=settings.max_bytes,
            missing=(*_missing(settings, project), *access.missing),
        )
        return VertexBackend(
            place,
            credentials_factory(access),
            self.row.known,
            vertex_url=settings.vertex_url,
            storage_url=settings.storage_url,
            models=settings.models(),
        )


def _missing(settings: VertexAISettings, project: str) -> list[str]:
    missing = []
    if not project:
        missing.append("the project is missing; set project to its id")
    if not settings.region:
        missing.append(
            "the region is missing; set region, e.g. to us-central1, where the bucket lies, too, or to global"
        )
    if not settings.bucket:
        missing.append("the bucket is missing; set bucket to one in the same region")
    return missing
