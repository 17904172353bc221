"""Embeddings by Cohere on Bedrock: up to 96 texts a record.

Shapes and bounds: AWS, "Cohere Embed v3" (2,048 characters a text, 1024 dimensions) and "Cohere Embed v4" (256, 512,
1024 or 1536 dimensions): with ``embedding_types`` the vectors are in an object by type, without it in a plain list.
Whether batches count tokens is not documented; ``meta.billed_units`` is what Cohere's own service reports, and read.
``input_type``, which Cohere requires and OpenAI has not, goes through as written.
"""

from __future__ import annotations

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.completion import count, object_of
from airflow_batch_provider.dialects.dialect import Dialect, Failure
from airflow_batch_provider.dialects.embeddings import (
    check_fields,
    embedding_list,
    read_texts,
    read_word,
    refuse,
    wants_base64,
)
from airflow_batch_provider.dialects.families import Family

_FIELDS = frozenset({"model", "input", "dimensions", "encoding_format", "input_type", "truncate"})
_KINDS = {name: name for name in ("search_document", "search_query", "classification", "clustering")}
_TRUNCATE_3 = {"NONE": "NONE", "START": "START", "END": "END", "LEFT": "START", "RIGHT": "END"}
_TRUNCATE_4 = {"NONE": "NONE", "LEFT": "LEFT", "RIGHT": "RIGHT", "START": "LEFT", "END": "RIGHT"}
_DIMENSIONS_4 = (256, 512, 1024, 1536)
_DIMENSIONS_3 = 1024
_LONGEST_3 = 2048


class CohereEmbeddings(Dialect):
    """Cohere Embed. Its answers come with their request (``BedrockRecord(echo=True)``), which says whether base64 was
    requested.

    :param family: v3 or v4.
    :param model: named in answers.
    """

    texts_per_record = 96

    def __init__(self, family: Family, model: str) -> None:
        super().__init__()
        self._model = model
        self._v4 = family.name == "cohere-embed-4"

    def request(self, body: JSON) -> JSON:
        """Cohere's request; ``embedding_types``, which changes no number, is our mark of a wish for base64."""
        check_fields(body, _FIELDS, "Cohere", self.notes)
        out: JSON = {"texts": read_texts(body.get("input"), "Cohere", None if self._v4 else _LONGEST_3)}
        kind = read_word(body, "input_type", _KINDS, "Cohere")
        if kind is None:
            kind = "search_document"
            self.notes.setdefault("body.input_type", f"Cohere requires one; {kind} is written where a row names none")
        out["input_type"] = kind
        truncate = read_word(body, "truncate", _TRUNCATE_4 if self._v4 else _TRUNCATE_3, "Cohere")
        if truncate is not None:
            out["truncate"] = truncate
        self._write_dimensions(body, out)
        if wants_base64(body):
            out["embedding_types"] = ["float"]
        return out

    def _write_dimensions(self, body: JSON, out: JSON) -> None:
        dimensions = body.get("dimensions")
        if dimensions is None:
            return
        if self._v4:
            if type(dimensions) is not int or dimensions not in _DIMENSIONS_4:
                raise refuse("dimensions", f"Cohere makes 256, 512, 1024 or 1536 dimensions, not {dimensions!r}")
            out["output_dimension"] = dimensions
        elif type(dimensions) is not int or dimensions != _DIMENSIONS_3:
            raise refuse("dimensions", f"{self._model} makes {_DIMENSIONS_3} dimensions, not {dimensions!r}")

    def answer(self, output: JSON) -> JSON | Failure:
        """The vectors as OpenAI's list."""
        asked = object_of(output.get("modelInput"))
        vectors = output.get("embeddings")
        if isinstance(vectors, dict):
            vectors = vectors.get("float")
        texts = asked.get("texts")
        if isinstance(vectors, list) and isinstance(texts, list) and len(vectors) != len(texts):
            return Failure(None, f"{len(texts)} texts were sent, and {len(vectors)} embeddings came back.")
        tokens = count(object_of(object_of(output.get("meta")).get("billed_units")).get("input_tokens"))
        return embedding_list(vectors, self._model, tokens, as_base64="embedding_types" in asked)
