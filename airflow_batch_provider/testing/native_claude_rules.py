"""What Claude's models refuse, by model and cloud, in the words with which they refuse it.

Written from those words as people met them, on purpose without the package's own tables: what one side gets wrong the
other side shall not get wrong the same way. Where only some accounts are refused, this side refuses. A model that no
row names is a newer one, and refuses all that the newest refuse.
"""

from __future__ import annotations

import re
from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.native_claude_schema import check_schema
from airflow_batch_provider.testing.native_shared import refuse

_OLD = r"claude-(?:instant|v2|2|3)\S*"
_FOUR = r"claude-(?:sonnet|opus)-4"
_HALF = r"claude-(?:sonnet|opus|haiku)-4-5"
_SIX = r"claude-(?:sonnet|opus)-4-6"
_SEVEN = r"claude-opus-4-[78]"
_FIVE = r"claude-(?:sonnet|opus)-5"
_FABLE = r"claude-(?:fable|mythos)-5"
_KNOWN = (_OLD, _FOUR, r"claude-opus-4-1", _HALF, _SIX, _SEVEN, _FIVE, _FABLE)
_BOTH = ("bedrock", "vertex")
_CHOOSY = (_OLD, _FOUR, r"claude-opus-4-1", _HALF)
_TAKEN: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    # "output_config.format: Extra inputs are not permitted": vercel/ai#14773, #19988; anthropic-sdk-python#1759.
    ("output_config.format", ("bedrock",), ("claude-opus-4-5", "claude-sonnet-4-5", _SIX)),
    ("output_config.format", ("vertex",), ()),
    # "tools.0.custom.strict: Extra inputs are not permitted": litellm#33193, #31943; lobehub#19876; vercel/ai#17919.
    ("tools.strict", ("bedrock",), (_HALF, _SIX)),
    ("tools.strict", ("vertex",), ()),
    # 'tool_choice: type "tool" and "any" are not supported for this model.': oh-my-pi#12939.
    ("tool_choice forced", _BOTH, _KNOWN),
    # "Thinking may not be enabled when tool_choice forces tool use.": vercel/ai#17729, langchain-aws#1141.
    ("tool_choice forced, thinking", ("bedrock",), ("claude-opus-4-8", _FIVE, _FABLE)),
    ("tool_choice forced, thinking", ("vertex",), ()),
    ("temperature, top_p", _BOTH, (_OLD, _FOUR)),
    # "`temperature` is deprecated for this model."
    ("temperature", _BOTH, (*_CHOOSY, _SIX)),
    ("top_p", _BOTH, (*_CHOOSY, _SIX)),
    ("top_k", _BOTH, (*_CHOOSY, _SIX)),
    ("prefill", _BOTH, _CHOOSY),
    ("thinking.type=enabled", _BOTH, ("claude-3-7-sonnet", *_CHOOSY[1:], _SIX)),
    ("thinking.type=disabled", _BOTH, (*_CHOOSY, _SIX, _SEVEN, _FIVE, "claude-haiku-5-5")),
    ("thinking.type=between_tools", _BOTH, ("claude-sonnet-5-5",)),
)
"""What a request holds, the clouds, and the models that take it: every other refuses it."""
_REFUSED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("thinking.type=adaptive", _CHOOSY),
    ("output_config.effort", (_OLD, _FOUR, r"claude-opus-4-1", r"claude-(?:sonnet|haiku)-4-5")),
    ("output_config.effort=xhigh", ("claude-opus-4-5", _SIX)),
    ("output_config.effort=max", ("claude-opus-4-5",)),
)
_CEILINGS = (
    (r"claude-3-(?:opus|sonnet|haiku)|claude-(?:instant|v2|2)\S*", 4096),
    (r"claude-3-5\S*", 8192),
    (r"claude-3-7\S*|claude-sonnet-4(?:-[56])?|claude-(?:opus|haiku)-4-5", 64_000),
    (r"claude-opus-4(?:-1)?", 32_000),
)
_TOP = re.compile(r"^(?:[\w-]+\.)*")
_DATE = re.compile(r"(?:[-@]\d{8})?(?:-v\d+)?(?::\d+k?)*$")


def bare_claude(name: str) -> str:
    """``claude-opus-4-1`` of any spelling; empty for a name that says nothing."""
    found = _DATE.sub("", _TOP.sub("", name.split(":0:", maxsplit=1)[0], count=1), count=1)
    return found if found.startswith("claude") else ""


def _is(name: str, *rows: str) -> bool:
    return any(re.fullmatch(row, name) for row in rows)


def refusals(cloud: str, name: str) -> frozenset[str]:
    """What a model refuses: paths of a request, with a value or a condition behind them.

    :param cloud: ``bedrock`` or ``vertex``.
    :param name: as :func:`bare_claude` gives it.
    """
    found = {what for what, where, takers in _TAKEN if cloud in where and not _is(name, *takers)}
    return frozenset({*found, *(what for what, refusers in _REFUSED if _is(name, *refusers))})


def ceiling(name: str) -> int:
    """The most output tokens."""
    return next((most for row, most in _CEILINGS if re.fullmatch(row, name)), 128_000)


def thinks_by_itself(name: str) -> bool:
    """Whether a request that says nothing of thinking thinks."""
    return not _is(name, _OLD, _FOUR, r"claude-opus-4-1", _HALF, _SIX, _SEVEN)


def check_rules(cloud: str, model: str, request: JSON) -> None:
    """Refuse what the model refuses.

    :raises RefusedError: in its words.
    """
    name = bare_claude(model)
    if not name:
        return
    refused = refusals(cloud, name)
    _check_output(name, cloud, refused, request)
    _check_tools(name, refused, request)
    _check_sampling(refused, request)
    _check_thinking(refused, request)


def _check_output(name: str, cloud: str, refused: frozenset[str], request: JSON) -> None:
    config = request.get("output_config") or {}
    if "format" in config and "output_config.format" in refused:
        if cloud == "vertex":
            raise refuse("Structured outputs are disabled by constraints/vertexai.allowedPartnerModelFeatures.")
        raise refuse("output_config.format: Extra inputs are not permitted")
    if "format" in config:
        check_schema(config["format"].get("schema"))
    effort = config.get("effort")
    if effort and "output_config.effort" in refused:
        raise refuse("This model does not support the effort parameter.")
    if effort and f"output_config.effort={effort}" in refused:
        raise refuse(f"output_config.effort: this model does not support effort level '{effort}'.")
    if (request.get("thinking") or {}).get("type") in ("disabled", "between_tools") and effort in ("xhigh", "max"):
        raise refuse("thinking cannot be disabled with effort above high.")
    most = ceiling(name)
    if request["max_tokens"] > most:
        said = "which is the maximum allowed number of output tokens for"
        raise refuse(f"max_tokens: {request['max_tokens']} > {most}, {said} {name}")


def _check_tools(name: str, refused: frozenset[str], request: JSON) -> None:
    for number, tool in enumerate(request.get("tools") or []):
        if "strict" in tool and "tools.strict" in refused:
            raise refuse(f"tools.{number}.custom.strict: Extra inputs are not permitted")
        schema: Any = tool.get("input_schema") or {}
        if {"anyOf", "oneOf", "allOf"} & set(schema):
            said = "input_schema does not support oneOf, allOf, or anyOf at the top level"
            raise refuse(f"tools.{number}.custom.input_schema: {said}")
        for key in schema.get("properties") or {}:
            if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", key):
                raise refuse(
                    f"tools.{number}.custom.input_schema.properties: Property keys should match pattern "
                    "'^[a-zA-Z0-9_.-]{1,64}$'"
                )
    if (request.get("tool_choice") or {}).get("type") not in ("any", "tool"):
        return
    if "tool_choice forced" in refused:
        raise refuse('tool_choice: type "tool" and "any" are not supported for this model.')
    kind = (request.get("thinking") or {}).get("type")
    if "tool_choice forced, thinking" in refused and (
        kind in ("enabled", "adaptive") or (kind is None and thinks_by_itself(name))
    ):
        raise refuse("Thinking may not be enabled when tool_choice forces tool use.")


def _check_sampling(refused: frozenset[str], request: JSON) -> None:
    for key in ("temperature", "top_p", "top_k"):
        if key in request and key in refused:
            raise refuse(f"`{key}` is deprecated for this model.")
    if "temperature" in request and "top_p" in request and "temperature, top_p" in refused:
        raise refuse("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if request["messages"][-1].get("role") == "assistant" and "prefill" in refused:
        raise refuse("This model does not support assistant message prefill.")


def _check_thinking(refused: frozenset[str], request: JSON) -> None:
    thinking = request.get("thinking") or {}
    kind = thinking.get("type")
    if f"thinking.type={kind}" in refused:
        raise refuse(
            f'"thinking.type.{kind}" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    if kind == "enabled":
        budget = thinking.get("budget_tokens", 0)
        if budget < 1024 or request["max_tokens"] <= budget:
            raise refuse("`max_tokens` must be greater than `thinking.budget_tokens`, which is at least 1024.")
    if kind in ("enabled", "adaptive") and request.get("temperature", 1) != 1:
        raise refuse("`temperature` may only be set to 1 when thinking is enabled.")
