"""Gemini's embeddings, as Vertex AI's batches take them: one text a line.

Source: Google's "Batch embeddings" page; ``task_type`` and ``title`` are Gemini's own and go through as written.
"""

from __future__ import annotations

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.completion import count, object_of
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.embeddings import (
    OneTextDialect,
    embedding_list,
    google_text,
    refuse,
    wants_base64,
    with_truncation,
)
from airflow_batch_provider.dialects.envelopes import AS_BASE64


class GeminiEmbedDialect(OneTextDialect):
    """Embeddings by Gemini."""

    def request(self, body: JSON) -> JSON:
        """The request; see :class:`~airflow_batch_provider.dialects.dialect.Dialect`."""
        text, config = google_text(body, "Gemini", self.notes)
        dimensions = body.get("dimensions")
        if dimensions is not None:
            if type(dimensions) is not int or dimensions < 1:
                raise refuse("dimensions", "must be a whole number, 1 or more")
            config["output_dimensionality"] = dimensions
        made: JSON = {"content": {"parts": [{"text": text}]}}
        if config:
            made["embed_content_config"] = config
        if wants_base64(body):
            made[AS_BASE64] = True
        return made

    def answer(self, output: JSON) -> JSON | Failure:
        """The answer; see :class:`~airflow_batch_provider.dialects.dialect.Dialect`."""
        found = object_of(output.get("embedding"))
        tokens = count(output.get("tokenCount") or object_of(output.get("usageMetadata")).get("promptTokenCount"))
        wished = output.get(AS_BASE64) is True
        made = embedding_list([found.get("values")], self._model, tokens, as_base64=wished)
        return with_truncation(made, found.get("statistics"))
