"""Google's embeddings before Gemini (textembedding-gecko, text-embedding-00x, text-multilingual-embedding-00x).

Source: Google, "Get batch text embeddings": ``{"content"}`` in, ``{"instance", "predictions", "status"}`` out, at most
30,000 a job; ``task_type`` and ``title`` as "Text embeddings API" has them. The number of dimensions is a parameter of
the job there, so a row cannot choose it; all these models make 768 by default.
"""

from __future__ import annotations

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.completion import count, object_of, objects_of
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.embeddings import (
    OneTextDialect,
    embedding_list,
    google_text,
    refuse,
    wants_base64,
    with_truncation,
)

_DIMENSIONS = 768
_REMEDY = "use gemini-embedding-001, which supports it"


class TextEmbedDialect(OneTextDialect):
    """Embeddings by Google's older models."""

    def request(self, body: JSON) -> JSON:
        """The instance."""
        text, given = google_text(body, "Google's text embedding", self.notes)
        out: JSON = {"content": text, **given}
        dimensions = body.get("dimensions")
        if dimensions is not None and (type(dimensions) is not int or dimensions != _DIMENSIONS):
            raise refuse("dimensions", f"{self._model} makes {_DIMENSIONS} dimensions in batches; {_REMEDY}")
        if wants_base64(body):
            raise refuse("encoding_format", f"{self._model} does not support base64 in batches; {_REMEDY}")
        return out

    def answer(self, output: JSON) -> JSON | Failure:
        """The vector as OpenAI's list of one embedding."""
        embeddings = [object_of(one.get("embeddings")) for one in objects_of(output.get("predictions"))]
        found = embeddings[0] if embeddings else {}
        statistics = object_of(found.get("statistics"))
        made = embedding_list([found.get("values")], self._model, count(statistics.get("token_count")), as_base64=False)
        return with_truncation(made, statistics)
