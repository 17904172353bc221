"""Embeddings by Amazon Titan Text Embeddings V2.

Shapes and bounds: AWS, "Amazon Titan Embeddings Text": one text of at most 50,000 characters, 256, 512 or 1024
dimensions. Base64, which Titan does not speak (its ``binary`` are single bits), is made here from the floats.
"""

from __future__ import annotations

import base64
import struct
from typing import Any

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.chat import Dialect, Failure
from airflow_batch_provider.dialects.completion import count, object_of
from airflow_batch_provider.dialects.families import Family

_DIMENSIONS = (256, 512, 1024)
_LONGEST = 50_000
_FIELDS = frozenset({"model", "input", "dimensions", "encoding_format", "normalize", "user"})


class TitanEmbeddings(Dialect):
    """Titan V2. Its answers come with their request (``BedrockRecord(echo=True)``), where the wish for base64 stands.

    :param model: named in answers.
    """

    def __init__(self, family: Family, model: str) -> None:
        super().__init__()
        self._model = model

    def request(self, body: JSON) -> JSON:
        """Titan's request; ``embeddingTypes``, which changes nothing, is our mark of a wish for base64."""
        for name in body.keys() - _FIELDS:
            if body[name] is not None:
                raise _refuse(name, "Titan has no such parameter; leave it out")
        if body.get("user") is not None:
            self.notes.setdefault("body.user", "left out for Titan: it changes no answer")
        out: JSON = {"inputText": one_text(body.get("input"), "Titan")}
        dimensions = body.get("dimensions")
        if dimensions is not None:
            if type(dimensions) is not int or dimensions not in _DIMENSIONS:
                raise _refuse("dimensions", f"Titan makes 256, 512 or 1024 dimensions, not {dimensions!r}")
            out["dimensions"] = dimensions
        normalize = body.get("normalize")
        out["normalize"] = True if normalize is None else normalize
        if type(out["normalize"]) is not bool:
            raise _refuse("normalize", "must be true or false")
        if wants_base64(body):
            out["embeddingTypes"] = ["float"]
        return out

    def answer(self, output: JSON) -> JSON | Failure:
        """The vector as OpenAI's list of one embedding."""
        vector = output.get("embedding")
        if not isinstance(vector, list):
            vector = object_of(output.get("embeddingsByType")).get("float")
        wished = "embeddingTypes" in object_of(output.get("modelInput"))
        return embedding_list(vector, self._model, count(output.get("inputTextTokenCount")), as_base64=wished)


def one_text(given: Any, provider: str) -> str:
    """The one text of an embeddings request.

    :raises UntranslatableError: for several texts, and for tokens.
    """
    if isinstance(given, list) and given and all(isinstance(item, str) for item in given):
        if len(given) > 1:
            raise _refuse("input", f"{provider} embeds one text a line; write {len(given)} lines with one text each")
        given = given[0]
    if isinstance(given, list):
        raise _refuse("input", f"{provider} takes text, no token numbers; write the text itself")
    if not isinstance(given, str) or not given.strip():
        raise _refuse("input", "must be a text")
    if len(given) > _LONGEST:
        raise _refuse("input", f"{len(given):,} characters; {provider} takes {_LONGEST:,}, cut it into several lines")
    return given


def wants_base64(body: JSON) -> bool:
    """Whether ``encoding_format`` asks for base64."""
    wish = body.get("encoding_format")
    if wish not in (None, "float", "base64"):
        raise _refuse("encoding_format", "must be float or base64")
    return bool(wish == "base64")


def embedding_list(vector: Any, model: str, tokens: int, *, as_base64: bool) -> JSON | Failure:
    """OpenAI's embeddings answer with one vector.

    :param as_base64: little-endian 32-bit floats, as OpenAI writes them.
    """
    if not isinstance(vector, list) or not vector or any(type(number) not in (int, float) for number in vector):
        return Failure(None, "The record's output holds no embedding.")
    embedding: Any = vector
    if as_base64:
        try:
            embedding = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        except (OverflowError, struct.error):
            return Failure(None, "The record's embedding holds a number that is no 32-bit float.")
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": embedding}],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _refuse(field: str, message: str) -> UntranslatableError:
    return UntranslatableError(f"body.{field}", message)
