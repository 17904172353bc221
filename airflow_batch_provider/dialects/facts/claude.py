"""Claude on Bedrock and on Vertex AI.

What a model takes of sampling, thinking, effort and output is the model's own (Anthropic's documents and its published
skill ``claude-api``, "Thinking & Effort"); what it takes of schemas is the cloud's, too.
"""

from __future__ import annotations

from dataclasses import replace

from airflow_batch_provider.dialects.facts.record import Facts, Row

_SKILL = "anthropics/skills, claude-api: thinking-effort.md"
_FOUR_LEVELS = ("low", "medium", "high", "max")
_LEVELS = ("low", "medium", "high", "xhigh", "max")

_THREE = Facts("Anthropic, models", schema="tool", max_temperature=1.0)
_FOUR = replace(_THREE, thinking="budget", max_output=32_000)
_FOUR_ONE = replace(_FOUR, sampling="one", source="aws-samples/bedrock-chat#979")
_FOUR_FIVE = replace(_FOUR_ONE, schema="native", strict_tools=True, max_output=64_000, source=_SKILL)
_FOUR_SIX = replace(_FOUR_FIVE, thinking="adaptive", efforts=_FOUR_LEVELS, max_output=128_000, prefill=False)
_FOUR_SEVEN = replace(_FOUR_SIX, sampling="none", top_k=False, efforts=_LEVELS)
_FIVE = replace(_FOUR_SEVEN, thinks_unasked=True, thinking_off="disabled")
_ALWAYS = replace(_FIVE, thinking_off="never")
_UNKNOWN = replace(
    _ALWAYS,
    source="no row: what no known Claude refuses",
    known=False,
    schema="prompt",
    strict_tools=False,
    forced_tools=False,
    efforts=("low", "medium", "high"),
    max_output=None,
)

_MODELS: tuple[tuple[str, Facts], ...] = (
    (r"claude|claude-(?:instant|v?[12])\b.*|claude-3(?:-5)?-(?:opus|sonnet|haiku)", _THREE),
    (r"claude-3-7-sonnet", replace(_FOUR, max_output=64_000)),
    (r"claude-sonnet-4(?:-0)?", replace(_FOUR, max_output=64_000)),
    (r"claude-opus-4(?:-0)?", _FOUR),
    (r"claude-opus-4-1", _FOUR_ONE),
    (r"claude-(?:opus|sonnet|haiku)-4-5", _FOUR_FIVE),
    (r"claude-(?:opus|sonnet)-4-6", _FOUR_SIX),
    (r"claude-opus-4-[78]", _FOUR_SEVEN),
    (r"claude-(?:opus|sonnet)-5", _FIVE),
    (r"claude-(?:fable|mythos)-5", _ALWAYS),
    (r"claude-(?:opus|sonnet|haiku)-5-5|claude-(?:fable|mythos)-5-[12]", replace(_ALWAYS, forced_tools=False)),
    (r"claude-.*", _UNKNOWN),
)
VERTEX: tuple[Row, ...] = tuple(Row(models, facts) for models, facts in _MODELS)
BEDROCK: tuple[Row, ...] = VERTEX
