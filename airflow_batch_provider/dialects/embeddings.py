"""What the embeddings dialects share: reading ``input``, and writing OpenAI's list of vectors."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.dialect import Dialect, Failure
from airflow_batch_provider.dialects.families import Family
from airflow_batch_provider.dialects.leftovers import FIELDS

_NEAR = 1e-6
"""How far from 1 a length may be by the rounding of 32-bit floats."""
_UNHEARD = frozenset({"user", "safety_identifier", "metadata", "store", "service_tier"})
_OF_GOOGLE = frozenset({"model", "input", "dimensions", "encoding_format", "task_type", "title"})


class OneTextDialect(Dialect):
    """Embeddings by a model that takes one text a record.

    :param family: facts of the model's family.
    :param model: the model's id, named in answers.
    """

    texts_per_record = 1

    def __init__(self, family: Family, model: str) -> None:
        super().__init__()
        self._model = model


def read_texts(given: Any, provider: str, longest: int | None = None) -> list[str]:
    """The texts of an embeddings request, one or several.

    :param longest: the most characters of one of them.
    :raises UntranslatableError: for tokens, for blank texts and for longer ones, naming the text.
    """
    texts = [given] if isinstance(given, str) else given
    if isinstance(texts, list) and texts and not any(isinstance(item, str) for item in texts):
        raise refuse("input", f"{provider} accepts text only, not token numbers; write the text itself")
    if not isinstance(texts, list) or not texts:
        raise refuse("input", "must be a text or a list of texts")
    for index, text in enumerate(texts):
        field = "input" if len(texts) == 1 else f"input[{index}]"
        if not isinstance(text, str) or not text.strip():
            raise refuse(field, "must be a text")
        if longest is not None and len(text) > longest:
            raise refuse(field, f"{len(text):,} characters; {provider} takes {longest:,}, cut it into several texts")
    return texts


def one_text(given: Any, provider: str, longest: int | None = None) -> str:
    """The one text of a part; see :attr:`airflow_batch_provider.dialects.dialect.Dialect.texts_per_record`."""
    texts = read_texts(given, provider, longest)
    if len(texts) > 1:
        raise refuse("input", f"{provider} embeds one text a record")
    return texts[0]


def split_texts(body: JSON, most: int) -> list[JSON]:
    """A body as bodies of so many texts each, in order; the body itself where that is enough."""
    given = body.get("input") if most else None
    if not isinstance(given, list) or len(given) <= most or not isinstance(given[0], str):
        return [body]
    return [{**body, "input": given[first : first + most]} for first in range(0, len(given), most)]


def check_fields(body: JSON, known: frozenset[str], provider: str, notes: dict[str, str]) -> None:
    """Refuse the fields that are unknown there, and note those that change no vector."""
    for name, value in body.items():
        if value is None or name in known:
            continue
        if name not in _UNHEARD:
            raise refuse(name, f"{provider} does not support this parameter; remove it")
        notes.setdefault(f"body.{name}", f"left out for {provider}: it changes no answer")


def google_text(body: JSON, provider: str, notes: dict[str, str]) -> tuple[str, JSON]:
    """The text of a request to Google, and what describes it: ``task_type`` and ``title``, as written.

    Source: Google, "Text embeddings API".

    :param provider: named in a refusal.
    """
    check_fields(body, _OF_GOOGLE, provider, notes)
    given: JSON = {name: body[name] for name in ("task_type", "title") if body.get(name) is not None}
    for name, value in given.items():
        if not isinstance(value, str):
            raise refuse(name, "must be a string")
    return one_text(body.get("input"), provider), given


def read_word(body: JSON, name: str, words: Mapping[str, str], provider: str) -> str | None:
    """One of a parameter's words, in the provider's spelling.

    :param words: the author's word -> the provider's.
    """
    given = body.get(name)
    if given is None:
        return None
    if not isinstance(given, str) or given not in words:
        raise refuse(name, f"{provider} knows {', '.join(words)}, not {given!r}")
    return words[given]


def wants_base64(body: JSON) -> bool:
    """Whether ``encoding_format`` is base64."""
    wish = body.get("encoding_format")
    if wish not in (None, "float", "base64"):
        raise refuse("encoding_format", "must be float or base64")
    return bool(wish == "base64")


def embedding_list(vectors: Any, model: str, tokens: int, *, as_base64: bool, unit: bool = True) -> JSON | Failure:
    """OpenAI's embeddings answer.

    OpenAI's vectors have length 1, so that a dot product is the cosine. Others' have not: Google normalizes
    gemini-embedding-001 at 3072 dimensions only and leaves it to the caller for fewer ("Embeddings", on the quality of
    smaller dimensions; AstroVela/vane#360).

    :param vectors: one for each text, in order.
    :param as_base64: little-endian 32-bit floats, as OpenAI writes them.
    :param unit: bring each vector to length 1; False for the raw one.
    """
    if not isinstance(vectors, Sequence) or not vectors or not all(map(_is_vector, vectors)):
        return Failure(None, "The record's output holds no embedding.")
    if unit:
        vectors = [_unit(vector) for vector in vectors]
    try:
        written = [_base64(vector) for vector in vectors] if as_base64 else vectors
    except (OverflowError, struct.error):
        return Failure(None, "The record's embedding holds a number that is not a 32-bit float.")
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(written)],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def with_truncation(answer: JSON | Failure, statistics: Any) -> JSON | Failure:
    """Keep Google's word that a text was cut, which no member of OpenAI's answer holds."""
    if isinstance(answer, dict) and isinstance(statistics, dict) and statistics.get("truncated") is True:
        answer[FIELDS] = {"statistics": {"truncated": True}}
    return answer


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(number) in (int, float) for number in value)


def _unit(vector: list[float]) -> list[float]:
    """The vector at length 1; as it is where it has that length already, or none."""
    try:
        length = math.hypot(*vector)
    except OverflowError:
        return vector
    if abs(length - 1) < _NEAR or not 0 < length < math.inf:
        return vector
    return [number / length for number in vector]


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def refuse(field: str, message: str) -> UntranslatableError:
    """The error of a field of the body."""
    return UntranslatableError(f"body.{field}", message)
