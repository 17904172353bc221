"""Embeddings by Amazon Titan Text Embeddings V2.

Shapes and bounds: AWS, "Amazon Titan Embeddings Text": one text of at most 50,000 characters, 256, 512 or 1024
dimensions. Base64, which Titan does not speak (its ``binary`` are single bits), is made here from the floats.
"""

from __future__ import annotations

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.completion import count, object_of
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.embeddings import (
    OneTextDialect,
    check_fields,
    embedding_list,
    one_text,
    refuse,
    wants_base64,
)

_DIMENSIONS = (256, 512, 1024)
_LONGEST = 50_000
_FIELDS = frozenset({"model", "input", "dimensions", "encoding_format", "normalize"})


class TitanEmbeddings(OneTextDialect):
    """Titan V2. Its answers come with their request (``BedrockRecord(echo=True)``), which holds the wish for base64."""

    def request(self, body: JSON) -> JSON:
        """Titan's request; ``embeddingTypes``, which changes nothing, is our mark of a wish for base64."""
        check_fields(body, _FIELDS, "Titan", self.notes)
        out: JSON = {"inputText": one_text(body.get("input"), "Titan", _LONGEST)}
        dimensions = body.get("dimensions")
        if dimensions is not None:
            if type(dimensions) is not int or dimensions not in _DIMENSIONS:
                raise refuse("dimensions", f"Titan makes 256, 512 or 1024 dimensions, not {dimensions!r}")
            out["dimensions"] = dimensions
        normalize = body.get("normalize")
        out["normalize"] = True if normalize is None else normalize
        if type(out["normalize"]) is not bool:
            raise refuse("normalize", "must be true or false")
        if wants_base64(body):
            out["embeddingTypes"] = ["float"]
        return out

    def answer(self, output: JSON) -> JSON | Failure:
        """The vector as OpenAI's list of one embedding."""
        vector = output.get("embedding")
        if not isinstance(vector, list):
            vector = object_of(output.get("embeddingsByType")).get("float")
        asked = object_of(output.get("modelInput"))
        tokens = count(output.get("inputTextTokenCount"))
        raw = asked.get("normalize") is False
        return embedding_list([vector], self._model, tokens, as_base64="embeddingTypes" in asked, unit=not raw)
