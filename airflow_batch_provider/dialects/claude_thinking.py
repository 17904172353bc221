"""Whether and how Claude thinks: OpenAI's effort, Claude's own ``thinking``, and what a model does by itself.

Rules: Anthropic, "Extended thinking" (temperature 1, no top_k, budget below ``max_tokens``), "Adaptive thinking"; token
budgets for efforts are those of LiteLLM.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.facts import Facts
from airflow_batch_provider.dialects.options import (
    Note,
    nearest_effort,
    read_effort,
    read_max_tokens,
    read_whole,
    refuse,
)

Thinks: TypeAlias = Literal["asked", "unasked", "off"]
_LEAST_BUDGET = 1024
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
_ROOM = 32_768
"""Output tokens of a request that asks to think adaptively and names none: thoughts share them with the answer."""
_KNOWN = frozenset({"type", "budget_tokens", "display"})
REMEDY = "or say otherwise in the connection's model_facts"


def write_thinking(facts: Facts, body: JSON, out: JSON, note: Note) -> Thinks:
    """Write ``thinking`` and the effort.

    :return: whether Claude thinks because the request says so, by itself, or not at all.
    """
    given, effort = body.get("thinking"), body.get("reasoning_effort")
    wanted = None if effort is None else read_effort(effort)
    kind, budget = _read_thinking(given, facts)
    if given is not None and given.get("budget_tokens") is not None and kind != "enabled":
        note("thinking.budget_tokens", f"it goes with enabled only, not with {kind}")
    if kind in ("disabled", "between_tools") or (kind is None and wanted == "none"):
        if wanted not in (None, "none"):
            note("reasoning_effort", "thinking is switched off in the same request")
        switch_off(facts, out, "reasoning_effort" if kind is None else "thinking.type")
        if given is not None and given.get("display") is not None:
            note("thinking.display", "thinking is switched off in the same request")
        return "off"
    if wanted == "none":
        note("reasoning_effort", "the request's own thinking is sent instead")
        wanted = None
    if facts.thinking == "none" and wanted is not None:
        note("reasoning_effort", "this model does not think")
        wanted = None
    if kind is None and wanted is None:
        return "unasked" if facts.thinks_unasked else "off"
    if budget and wanted is not None and facts.thinking != "adaptive":
        note("reasoning_effort", "the request's own budget_tokens is sent instead")
    if facts.thinking == "adaptive":
        _write_adaptive(facts, body, out, wanted, note)
        if budget:
            note("thinking.budget_tokens", "the model decides by itself how long it thinks")
    else:
        _write_budget(facts, body, out, budget, _BUDGETS.get(str(wanted), _LEAST_BUDGET))
    if isinstance(given, dict) and given.get("display") is not None:
        out["thinking"]["display"] = given["display"]
    return "asked"


def switch_off(facts: Facts, out: JSON, field: str) -> None:
    """Say "off" as the model takes it.

    :raises UntranslatableError: for a model that always thinks.
    """
    if facts.thinking_off == "never":
        raise refuse(field, f"this model cannot be kept from thinking; leave it out, set a low effort, {REMEDY}")
    if facts.thinking_off != "absent":
        out["thinking"] = {"type": facts.thinking_off}


def _read_thinking(given: Any, facts: Facts) -> tuple[str | None, int | None]:
    """The type of ``thinking`` and its budget."""
    if given is None:
        return None, None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind not in ("enabled", "adaptive", "disabled", "between_tools"):
        raise refuse("thinking.type", "must be enabled, adaptive, disabled or between_tools")
    for name in given:
        if name not in _KNOWN:
            raise refuse(f"thinking.{name}", "Claude has no such option of thinking; leave it out")
    if kind == "between_tools" and facts.thinking_off != "between_tools":
        raise refuse("thinking.type", "this model does not take between_tools; write disabled")
    if kind in ("disabled", "between_tools"):
        return kind, None
    if facts.thinking == "none":
        raise refuse("thinking", "this model does not think; leave it out")
    if kind == "adaptive" and facts.thinking == "budget":
        raise refuse("thinking.type", "this model requires a budget: write enabled, with budget_tokens")
    if kind != "enabled":
        return kind, None
    least = _least(facts)
    return kind, read_whole("thinking.budget_tokens", given.get("budget_tokens"), least, facts.max_budget)


def check_room(facts: Facts, out: JSON, note: Note) -> None:
    """Say that the answer may be cut before it begins."""
    thinks = out["thinking"]["type"] == "adaptive" if "thinking" in out else facts.thinks_unasked
    if not thinks or out["max_tokens"] >= _LEAST_BUDGET:
        return
    reason = "the model thinks before it answers, and thoughts may use all of it; allow more tokens"
    note("max_tokens", reason, "sent as it is")


def _least(facts: Facts) -> int:
    """The smallest budget; no row of Claude's but a stand-in has less."""
    return facts.min_budget if facts.min_budget > 1 or "min_budget" in facts.given else _LEAST_BUDGET


def _write_adaptive(facts: Facts, body: JSON, out: JSON, effort: str | None, note: Note) -> None:
    out["thinking"] = {"type": "adaptive"}
    if read_max_tokens(body) is None:
        out["max_tokens"] = max(out["max_tokens"], min(_ROOM, facts.max_output or _ROOM))
    if effort is None:
        return
    if not facts.efforts:
        note("reasoning_effort", "the model takes no levels of effort")
        return
    level = nearest_effort(effort, facts.efforts)
    if level != effort:
        note("reasoning_effort", f"{effort} is not a level of this model, {level} is sent", "changed")
    out["output_config"] = {"effort": level}


def _write_budget(facts: Facts, body: JSON, out: JSON, given: int | None, meant: int) -> None:
    """The budget as given, or as the effort means it, always below ``max_tokens``."""
    most = read_max_tokens(body)
    least = _least(facts)
    meant = max(meant, least)
    budget = given or min(meant, facts.max_budget or meant)
    if most is None:
        out["max_tokens"] = min(out["max_tokens"] + budget, facts.max_output or out["max_tokens"] + budget)
    if budget >= out["max_tokens"]:
        if given:
            raise refuse("thinking.budget_tokens", f"must be below the {out['max_tokens']} tokens of the whole answer")
        if out["max_tokens"] <= least:
            message = f"Claude thinks with {least} tokens or more; allow more than that, or leave this out"
            raise refuse("reasoning_effort", message)
        budget = max(least, out["max_tokens"] // 2)
    out["thinking"] = {"type": "enabled", "budget_tokens": budget}


def check_beside_thinking(out: JSON) -> None:
    """Refuse what Claude refuses while it thinks."""
    if out.get("temperature", 1) != 1:
        raise refuse("temperature", "must be 1 or left out while Claude thinks")
    if out.get("top_p", 1) < 0.95:
        raise refuse("top_p", "must be 0.95 or more, or left out, while Claude thinks")
    if "top_k" in out:
        raise refuse("top_k", "must be left out while Claude thinks")
    last = out["messages"][-1]
    if last["role"] == "assistant":
        raise refuse("messages", "while Claude thinks, the last message must be a user message")
    if out["thinking"]["type"] == "enabled" and last["content"][0].get("type") == "tool_result":
        first = out["messages"][-2]["content"][0]
        if first["type"] not in ("thinking", "redacted_thinking"):
            message = "while Claude thinks, the message that called the tools must hold its signed thinking_blocks"
            raise refuse("messages", message)
