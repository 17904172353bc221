"""Which dialect, in which envelope, the lines of a model are written in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.dialects.anthropic import Anthropic
from airflow_batch_provider.dialects.base import LineFormat
from airflow_batch_provider.dialects.cohere_embed import CohereEmbeddings
from airflow_batch_provider.dialects.converse import Converse
from airflow_batch_provider.dialects.dialect import Dialect
from airflow_batch_provider.dialects.envelopes import (
    BedrockRecord,
    InstanceRecord,
    KeyedRecord,
    VertexRecord,
)
from airflow_batch_provider.dialects.fact_uses import check_given, unknown_model
from airflow_batch_provider.dialects.families import EMBEDDINGS, Family
from airflow_batch_provider.dialects.gemini import GeminiDialect
from airflow_batch_provider.dialects.gemini_embed import GeminiEmbedDialect
from airflow_batch_provider.dialects.gemini_format import GeminiFormat
from airflow_batch_provider.dialects.nova import Nova
from airflow_batch_provider.dialects.open_lines import OpenModelLines
from airflow_batch_provider.dialects.openai_body import OpenAIBody
from airflow_batch_provider.dialects.text_embed import TextEmbedDialect
from airflow_batch_provider.dialects.titan import TitanEmbeddings
from airflow_batch_provider.dialects.translated import TranslatedFormat

MakeDialect: TypeAlias = "Callable[[Family, str], Dialect]"
_DIALECTS: dict[str, MakeDialect] = {
    "gemini": GeminiDialect,
    "gemini_embed": GeminiEmbedDialect,
    "converse": Converse,
    "anthropic": Anthropic,
    "openai": OpenAIBody,
    "nova": Nova,
    "titan_embed": TitanEmbeddings,
    "cohere_embed": CohereEmbeddings,
    "text_embed": TextEmbedDialect,
}


def bedrock_format(family: Family, model: str, endpoint: str) -> LineFormat:
    """How lines for a Bedrock model are written and read.

    :raises ConfigurationError: when the family does not serve the endpoint.
    """
    return TranslatedFormat(_dialect(family, model, endpoint), BedrockRecord(echo=family.endpoint == EMBEDDINGS))


def vertex_format(family: Family, model: str, endpoint: str, *, row_labels: bool = True) -> LineFormat:
    """How lines for a Vertex AI model are written and read.

    :param row_labels: Gemini only: whether each row carries its id as a label, too.
    :raises ConfigurationError: when the family does not serve the endpoint.
    """
    if family.dialect == "openai":
        _check_endpoint(family, model, endpoint)
        if family.facts.given:
            names = ", ".join(sorted(family.facts.given))
            raise ConfigurationError(f"model_facts of {model!r}: its requests go as written; leave out {names}")
        made = OpenModelLines(family, model, endpoint)
        made.notes |= unknown_model(family, model)
        return made
    dialect = _dialect(family, model, endpoint)
    if family.dialect == "gemini_embed":
        return TranslatedFormat(dialect, KeyedRecord())
    if family.dialect == "text_embed":
        return TranslatedFormat(dialect, InstanceRecord())
    if isinstance(dialect, GeminiDialect):
        return GeminiFormat(dialect, VertexRecord(labels=row_labels))
    return TranslatedFormat(dialect, VertexRecord())


def _dialect(family: Family, model: str, endpoint: str) -> Dialect:
    _check_endpoint(family, model, endpoint)
    check_given(family, model)
    dialect = _DIALECTS[family.dialect](family, model)
    dialect.notes |= unknown_model(family, model)
    return dialect


def _check_endpoint(family: Family, model: str, endpoint: str) -> None:
    if endpoint != family.endpoint:
        raise ConfigurationError(f"Model {model!r} supports batches for {family.endpoint}, not for {endpoint}")
