"""Claude on Bedrock and on Vertex AI.

What a model takes of sampling, thinking, effort and output is the model's own (Anthropic's migration guides and its
published skill ``claude-api``); what it takes of schemas, strict tools and forced tools is the cloud's, too. Where
sources disagree, the row says so and takes the way that works by both.

Images: Anthropic, "Vision": 100 for models of 200,000 tokens, 600 for all others; AWS, "API restrictions": Bedrock adds
no limit of its own. Documents count as images ("too many images and documents: 105 + 0 > 100", claude-code#30654), and
so many pages are the most of all PDFs, too (Anthropic, "PDF support"; claude-code#6231).
"""

from __future__ import annotations

from dataclasses import replace

from airflow_batch_provider.dialects.facts.record import Facts, Row

_SKILL = "anthropics/skills, claude-api, thinking-effort.md and models.md"
_FIVE_FIVE = "platform.claude.com, What's new in Claude Opus 5.5 and Sonnet 5.5; OpenRouter, Claude 5.5 migration guide"
_ALL = ("low", "medium", "high", "xhigh", "max")
MANY_IMAGES = 20
MANY_RULE = "none may be larger than 2000 x 2000 pixels"
"""Anthropic, "Vision", general limits: beyond so many images of a request; also on Bedrock (IDP-on-AWS#998)."""
_ROOM = 32_768
"""Output tokens of a model that thinks, where a request names none: thoughts share them with the answer."""

_THREE = Facts(
    "Anthropic, models overview (output) and extended thinking",
    schema="tool",
    max_temperature=1.0,
    forced_tools="unless_thinking",
    min_budget=1024,
    max_output=4096,
    max_images=100,
)
_FOUR = replace(_THREE, thinking="budget", max_output=64_000)
_FOUR_ONE = replace(_FOUR, sampling="one", max_output=32_000, source="aws-samples/bedrock-chat#979")
_FOUR_FIVE = replace(_FOUR_ONE, max_output=64_000, source=f"{_SKILL}; open-webui/open-webui#17922")
_FOUR_SIX = replace(
    _FOUR_FIVE,
    thinking="adaptive",
    efforts=("low", "medium", "high", "max"),
    max_output=128_000,
    max_images=600,
    prefill=False,
    source=f"{_SKILL}; aws-samples/bedrock-access-gateway#238",
)
_FOUR_SEVEN = replace(_FOUR_SIX, sampling="none", top_k=False, efforts=_ALL, source=_SKILL)
_FIVE = replace(
    _FOUR_SEVEN,
    thinks_unasked=True,
    thinking_off="disabled",
    default_output=_ROOM,
    source=f"{_SKILL}; promptfoo/promptfoo#10631; lobehub/lobehub#17620",
)
_ALWAYS = replace(_FIVE, thinking_off="never", source=_SKILL)
_NEWEST = replace(
    _ALWAYS, forced_tools="never", source=f"{_FIVE_FIVE}; can1357/oh-my-pi#12939; vercel/ai#21364; instructor#2681"
)
_UNKNOWN = replace(
    _NEWEST,
    source="no row: only what no known Claude of the newest kind refuses",
    known=False,
    schema="prompt",
    efforts=("low", "medium", "high"),
)

_MODELS: tuple[tuple[str, Facts], ...] = (
    (r"claude|claude-(?:instant|v?[12])(?:[-.:].*)?|claude-3-(?:opus|sonnet|haiku)", _THREE),
    (r"claude-3-5-(?:sonnet|haiku)(?:-v2)?", replace(_THREE, max_output=8192)),
    (r"claude-3-7-sonnet|claude-sonnet-4(?:-0)?", _FOUR),
    (r"claude-opus-4(?:-0)?", replace(_FOUR, max_output=32_000)),
    (r"claude-opus-4-1", _FOUR_ONE),
    (r"claude-(?:opus|sonnet|haiku)-4-5", _FOUR_FIVE),
    # 64,000 by the skill, 128,000 by Effect-TS/effect#7129.
    (r"claude-sonnet-4-6", replace(_FOUR_SIX, max_output=64_000)),
    (r"claude-opus-4-6", _FOUR_SIX),
    (r"claude-opus-4-[78]", _FOUR_SEVEN),
    (r"claude-(?:opus|sonnet)-5(?:-0)?", _FIVE),
    (r"claude-(?:fable|mythos)-5(?:-0)?", _ALWAYS),
    (r"claude-sonnet-5-5", replace(_NEWEST, thinking_off="between_tools")),
    (r"claude-haiku-5-5", replace(_NEWEST, thinking_off="disabled")),
    (r"claude-opus-5-5|claude-(?:fable|mythos)-5-[12]", _NEWEST),
    (r"claude-.*", _UNKNOWN),
)
VERTEX: tuple[Row, ...] = tuple(Row(models, facts) for models, facts in _MODELS)
"""Structured outputs and strict tools are off there until an organization allows them (Google Cloud, "Structured
outputs with Anthropic Claude models": constraints/vertexai.allowedPartnerModelFeatures), so schemas go by a tool."""

_AWS = 'AWS, "Get validated JSON results from models"'
_STRICT = "BerriAI/litellm#33193, vercel/ai#20128: strict tools taken"
_TOGETHER = "langchain-ai/langchain-aws#1141, lobehub/lobehub#19876: forced tools taken beside adaptive thinking"
_BEDROCK: tuple[Row, ...] = (
    # AWS's page names Haiku 4.5, too; some accounts are refused (vercel/ai#19988, vectorize-io/hindsight#3300), and
    # Sonnet 4.6 fills its answers up with blanks (vercel/ai#17881).
    Row(r"claude-(?:opus|sonnet)-4-5", replace(_FOUR_FIVE, schema="native", strict_tools=True, source=_AWS)),
    Row(r"claude-opus-4-6", replace(_FOUR_SIX, schema="native", strict_tools=True, source=_AWS)),
    Row(r"claude-haiku-4-5", replace(_FOUR_FIVE, strict_tools=True, source=_STRICT)),
    Row(r"claude-sonnet-4-6", replace(_FOUR_SIX, strict_tools=True, max_output=64_000, source=_STRICT)),
    # Opus 4.7, 4.8, 5, Sonnet 5, Fable 5: output_config.format and strict are "Extra inputs" (vercel/ai#14773, #17919,
    # anthropics/anthropic-sdk-python#1759, presenton#939). Of strict, sources disagree for Opus 5 (litellm#33193).
    Row(r"claude-opus-4-8", replace(_FOUR_SEVEN, forced_tools="always", source=_TOGETHER)),
    Row(r"claude-(?:opus|sonnet)-5(?:-0)?", replace(_FIVE, forced_tools="always", source=_TOGETHER)),
    Row(r"claude-(?:fable|mythos)-5(?:-0)?", replace(_ALWAYS, forced_tools="always", source=_TOGETHER)),
    *VERTEX,
)
BEDROCK: tuple[Row, ...] = tuple(Row(row.models, replace(row.facts, max_top_k=500)) for row in _BEDROCK)
"""AWS, "Anthropic Claude Messages API": top_k from 0 to 500."""
