"""Embeddings bodies in the models' own formats, read as OpenAI's and answered in their own.

Sources: AWS, Titan Text Embeddings V2, Cohere Embed v3 and v4; Google, "Get batch text embeddings".
"""

from __future__ import annotations

import hashlib

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import EMBEDDINGS
from airflow_batch_provider.testing.native_shared import Native, refuse

_MALFORMED = "Malformed input request: "
_KINDS = ("search_document", "search_query", "classification", "clustering")


def read_titan(model: str, request: JSON) -> Native:
    """Titan's request: one text.

    :raises RefusedError: with what the service says of it.
    """
    _only(request, {"inputText", "dimensions", "normalize", "embeddingTypes"})
    text = request.get("inputText")
    if not isinstance(text, str) or not text:
        raise refuse(f"{_MALFORMED}expected minLength: 1, actual: 0")
    if request.get("dimensions", 1024) not in (256, 512, 1024):
        raise refuse(f"{_MALFORMED}#/dimensions: is not a valid enum value")

    def write(answer: JSON) -> JSON:
        vector = answer["data"][0]["embedding"]
        count = answer["usage"]["prompt_tokens"]
        return {"embedding": vector, "embeddingsByType": {"float": vector}, "inputTextTokenCount": count}

    return Native(EMBEDDINGS, {"model": model, "input": text}, write)


def read_cohere(model: str, request: JSON) -> Native:
    """Cohere's request: up to 96 texts.

    :raises RefusedError: with what the service says of it.
    """
    v4 = "embed-v4" in model
    _only(request, {"texts", "input_type", "truncate", "embedding_types", *(("output_dimension",) if v4 else ())})
    texts = request.get("texts")
    if not isinstance(texts, list) or not texts or len(texts) > 96:
        raise refuse(f"{_MALFORMED}#/texts: expected minimum item count: 1, maximum item count: 96")
    for number, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            raise refuse(f"{_MALFORMED}#/texts/{number}: expected type: String")
        if not v4 and len(text) > 2048:
            raise refuse(f"{_MALFORMED}#/texts/{number}: expected maxLength: 2048, actual: {len(text)}")
    if request.get("input_type") not in _KINDS:
        raise refuse(f"{_MALFORMED}#: required key [input_type] not found")
    if request.get("truncate", "NONE") not in (("NONE", "LEFT", "RIGHT") if v4 else ("NONE", "START", "END")):
        raise refuse(f"{_MALFORMED}#/truncate: is not a valid enum value")
    if request.get("output_dimension", 1024) not in (256, 512, 1024, 1536):
        raise refuse(f"{_MALFORMED}#/output_dimension: is not a valid enum value")

    def write(answer: JSON) -> JSON:
        vectors = [item["embedding"] for item in answer["data"]]
        by_type = "embedding_types" in request
        return {
            "id": hashlib.sha256("\0".join(texts).encode()).hexdigest()[:36],
            "texts": texts,
            "embeddings": {"float": vectors} if by_type else vectors,
            "response_type": "embeddings_by_type" if by_type else "embeddings_floats",
        }

    return Native(EMBEDDINGS, {"model": model, "input": texts}, write)


def read_instance(model: str, instance: JSON) -> Native:
    """An instance of Google's text embeddings before Gemini.

    :raises RefusedError: with what the service says of it.
    """
    text = instance.get("content")
    if not isinstance(text, str) or not text.strip():
        raise refuse("The text content is empty.")
    if set(instance) - {"content", "task_type", "title"}:
        raise refuse(f"Invalid instance: {sorted(instance)}")

    def write(answer: JSON) -> JSON:
        statistics = {"token_count": answer["usage"]["prompt_tokens"], "truncated": False}
        vector = answer["data"][0]["embedding"]
        return {"predictions": [{"embeddings": {"statistics": statistics, "values": vector}}]}

    return Native(EMBEDDINGS, {"model": model, "input": text}, write)


def _only(request: JSON, known: set[str]) -> None:
    extraneous = sorted(set(request) - known)
    if extraneous:
        raise refuse(f"{_MALFORMED}extraneous key [{extraneous[0]}] is not permitted")
