"""From a provider and a model to what is known of it."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from airflow_batch_provider.dialects.facts import claude, converse, gemini, nova, open_models
from airflow_batch_provider.dialects.facts.overrides import ModelFacts, overridden
from airflow_batch_provider.dialects.facts.record import Facts, Row

Cloud: TypeAlias = Literal["bedrock", "vertex"]

TABLES: dict[Cloud, tuple[Row, ...]] = {
    "bedrock": (*claude.BEDROCK, *nova.BEDROCK, *open_models.BEDROCK, *converse.BEDROCK),
    "vertex": (*claude.VERTEX, *gemini.VERTEX, *open_models.VERTEX),
}
_NO_ROW = Facts("no row", known=False)
_VERSION = re.compile(r"(?:[-@](?:\d{8}|default|latest))?(?:-v\d+)?(?::\d+)?(?::\d+k)?(?:@\w+)?$")
_MAKER = re.compile(
    r"^(?:anthropic|amazon|cohere|ai21|writer|meta|mistral|deepseek|openai|qwen|moonshot(?:ai)?|minimax)[./]"
)


def plain_name(model: str) -> str:
    """A model's name without maker, date and version: ``claude-opus-4-1`` of both
    ``anthropic.claude-opus-4-1-20250805-v1:0`` and ``claude-opus-4-1@20250805``.

    :param model: the bare model id, without region and ARN.
    """
    return _VERSION.sub("", _MAKER.sub("", model, count=1), count=1)


def facts_of(cloud: Cloud, bare: str, model: str = "", overrides: ModelFacts | None = None) -> Facts:
    """What is known of a model.

    :param bare: its id without region and ARN, or the id of the model whose facts hold for it.
    :param model: as the author writes it, for ``overrides``.
    :param overrides: the connection's ``model_facts``.
    """
    name = plain_name(bare)
    found = next((row.facts for row in TABLES[cloud] if re.fullmatch(row.models, name)), _NO_ROW)
    return overridden(found, (model, bare, name), overrides or {})
