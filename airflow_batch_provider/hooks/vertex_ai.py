"""Google Vertex AI."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from airflow_batch_provider.backends.vertex.backend import VertexBackend, VertexPlace
from airflow_batch_provider.hooks.base import BatchInferenceHook, Settings, password
from airflow_batch_provider.hooks.fields import Address, Facts, Names
from airflow_batch_provider.hooks.google_credentials import GoogleAccess, credentials_factory


class VertexAISettings(Settings):
    """Extra fields of a ``vertex_ai_batch`` connection.

    :param project: the project of the jobs; the service account's unless set.
    :param region: of the jobs, e.g. ``us-central1``, or ``global``.
    :param bucket: for input and, without ``output_prefix``, output.
    :param prefix: of every name in the bucket.
    :param output_prefix: a ``gs://`` prefix for output.
    :param labels: of every job.
    :param token: an access token; it ends within the hour, so it is for tests and short runs.
    :param keyfile_dict: a service account's key, as an object or its JSON.
    :param key_path: the file of such a key on the workers and the triggerer.
    :param gcp_conn_id: an Airflow connection of type ``google_cloud_platform``.
    :param impersonation_chain: accounts to take on, each by the one before it; the last one calls.
    :param model_families: from a model to the family whose lines it takes.
    :param model_facts: from a model or a pattern to what it takes, where the tables do not know it or are wrong.
    :param row_labels: whether each row of Gemini carries its id as a label, too; billing exports list labels.
    :param max_rows: the most requests in a job; ``max_bytes`` likewise.
    :param vertex_url: another address of Vertex AI's; ``storage_url`` likewise.
    """

    project: str | None = None
    region: str | None = None
    bucket: str | None = None
    prefix: str = ""
    output_prefix: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    token: str | None = None
    keyfile_dict: dict[str, Any] | str | None = None
    key_path: str | None = None
    gcp_conn_id: str | None = None
    impersonation_chain: Names = ()
    model_families: dict[str, str] = Field(default_factory=dict)
    model_facts: Facts = Field(default_factory=dict)
    row_labels: bool = True
    max_rows: int | None = Field(default=None, ge=1)
    max_bytes: int | None = Field(default=None, ge=1)
    vertex_url: Address | None = None
    storage_url: Address | None = None


class VertexAIBatchHook(BatchInferenceHook):
    """Batches on Google Vertex AI; password is a service account's key, or the chain of credentials is asked."""

    conn_type = "vertex_ai_batch"
    hook_name = "LLM batch: Google Vertex AI"
    default_conn_name = "vertex_ai_batch_default"
    settings_class: ClassVar[type[Settings]] = VertexAISettings
    secret_settings = ("token",)
    """``keyfile_dict`` is masked by its parts: its project and address are no secrets, and belong in logs."""

    def make_backend(self, connection: Any, settings: VertexAISettings) -> VertexBackend:
        """The place of the jobs, and credentials that are made when they are first asked for."""
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
