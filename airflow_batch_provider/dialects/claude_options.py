"""The options of a request to Claude that depend on each other: tools, answer format, thinking.

Rules: Anthropic, "Extended thinking" (temperature 1, no top_k, no forced tool, budget below ``max_tokens``), "Adaptive
thinking", "Structured outputs" (the subset of JSON Schema); token budgets for efforts are those of LiteLLM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.families import Family
from airflow_batch_provider.dialects.options import (
    JSON_ONLY,
    Choice,
    Schema,
    Tool,
    read_choice,
    read_effort,
    read_format,
    read_max_tokens,
    read_tools,
    read_whole,
    refuse,
)

LINKED = frozenset({"tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "thinking"})
ANSWER_TOOL = "json_schema_answer"
"""The tool that stands in for structured outputs: its input is the answer."""
_LEAST_BUDGET = 1024
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
_NOT_NATIVE = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "contains",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "not",
        "oneOf",
        "if",
    }
)


def write_linked(
    family: Family, body: JSON, out: JSON, called: Sequence[str], note: Callable[[str, str], None]
) -> None:
    """Write tools, format and thinking.

    :param called: the functions that the history calls.
    :param note: tells that a field was left out, with the reason.
    """
    tools = read_tools(body["tools"]) if body.get("tools") else []
    choice = read_choice(body.get("tool_choice"), tools)
    thinks = _write_thinking(family, body, out, note)
    if thinks:
        _check_thinking(out, choice)
    _write_tools(family, tools, choice, out, called, note)
    if body.get("response_format") is not None:
        _write_format(family, body, out, choice, thinks)
    if body.get("parallel_tool_calls") is False and out.get("tools"):
        told = out.setdefault("tool_choice", {"type": "auto"})
        if told["type"] != "none":
            told["disable_parallel_tool_use"] = True


# ---- tools -------------------------------------------------------------------------------------------------------


def _write_tools(
    family: Family,
    tools: list[Tool],
    choice: Choice,
    out: JSON,
    called: Sequence[str],
    note: Callable[[str, str], None],
) -> None:
    allowed = [tool for tool in tools if choice.allowed is None or tool.name in choice.allowed]
    if allowed:
        out["tools"] = [_tool(family, tool, note) for tool in allowed]
        if choice.named:
            out["tool_choice"] = {"type": "tool", "name": choice.named}
        elif choice.mode != "auto":
            out["tool_choice"] = {"type": "any" if choice.mode == "required" else "none"}
    elif called:
        # Claude wants the tools of its history declared; a request without tools may call none.
        out["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in called]
        out["tool_choice"] = {"type": "none"}


def _tool(family: Family, tool: Tool, note: Callable[[str, str], None]) -> JSON:
    schema = tool.parameters or {"type": "object", "properties": {}}
    if schema.get("type", "object") != "object":
        raise refuse(f"{tool.path}.function.parameters.type", "must be object")
    told: JSON = {"name": tool.name, "input_schema": schema if "type" in schema else {"type": "object", **schema}}
    if tool.description:
        told["description"] = tool.description
    if tool.strict:
        if family.facts.schema == "native" and is_native(schema):
            told["strict"] = True
        else:
            note("tools.function.strict", "it cannot hold this schema strictly")
    return told


# ---- answer format -----------------------------------------------------------------------------------------------


def _write_format(family: Family, body: JSON, out: JSON, choice: Choice, thinks: bool) -> None:
    wanted = read_format(body["response_format"])
    if wanted == "text":
        return
    if wanted == "json_object":
        _instruct(out, JSON_ONLY)
        return
    if out["messages"][-1]["role"] == "assistant":
        raise refuse("response_format", "Claude answers by a schema only when the user speaks last")
    schema = wanted.schema
    if wanted.description and "description" not in schema:
        schema = {"description": wanted.description, **schema}
    if family.facts.schema == "native" and is_native(schema):
        out.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
    elif choice.mode != "required":
        if thinks:
            message = "this schema needs a forced tool, which a thinking Claude refuses; leave the thinking out"
            raise refuse("response_format", message)
        _force_answer(wanted, schema, out, choice)


def _force_answer(wanted: Schema, schema: JSON, out: JSON, choice: Choice) -> None:
    if schema.get("type", "object") != "object":
        raise refuse("response_format.json_schema.schema.type", "must be object")
    tool = {
        "name": ANSWER_TOOL,
        "description": wanted.description or "Give the answer, the whole answer and nothing but the answer.",
        "input_schema": schema if "type" in schema else {"type": "object", **schema},
    }
    free = out.get("tools") and "tool_choice" not in out and choice.mode == "auto"
    out["tools"] = [*out.get("tools", ()), tool]
    out["tool_choice"] = {"type": "any"} if free else {"type": "tool", "name": ANSWER_TOOL}
    if not free:
        out["tool_choice"]["disable_parallel_tool_use"] = True


def _instruct(out: JSON, text: str) -> None:
    system = out.get("system")
    if isinstance(system, str):
        system = [{"type": "text", "text": system}]
    out["system"] = [*system, {"type": "text", "text": text}] if system else text


def is_native(schema: JSON) -> bool:
    """Whether Claude's structured outputs take a schema: closed objects, no bounds, no recursion."""
    return _is_native(schema, schema, ())


def _is_native(node: Any, root: JSON, above: tuple[str, ...]) -> bool:
    if not isinstance(node, dict):
        return True
    if not _NOT_NATIVE.isdisjoint(node):
        return False
    if (node.get("type") == "object" or "properties" in node) and node.get("additionalProperties") is not False:
        return False
    reference = node.get("$ref")
    if isinstance(reference, str):
        if reference in above or not reference.startswith("#/"):
            return False
        target: Any = root
        for step in reference[2:].split("/"):
            target = target.get(step) if isinstance(target, dict) else None
        return isinstance(target, dict) and _is_native(target, root, (*above, reference))
    children = [*_values(node, "properties"), *_values(node, "anyOf"), *_values(node, "allOf"), node.get("items")]
    return all(_is_native(child, root, above) for child in children)


def _values(node: JSON, name: str) -> list[Any]:
    value = node.get(name)
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


# ---- thinking ----------------------------------------------------------------------------------------------------


def _write_thinking(family: Family, body: JSON, out: JSON, note: Callable[[str, str], None]) -> bool:
    """Whether Claude is asked to think."""
    given, effort = body.get("thinking"), body.get("reasoning_effort")
    if effort is not None and read_effort(effort) != "none" and family.facts.thinking == "none":
        note("reasoning_effort", "this model does not think")
        effort = None
    if effort == "none":
        effort = None
    kind, budget = _read_thinking(given, family)
    if kind == "disabled" or (kind is None and effort is None):
        return False
    meant = _BUDGETS.get(str(effort), _LEAST_BUDGET)
    if family.facts.thinking == "adaptive":
        out["thinking"] = {"type": "adaptive"}
        if read_max_tokens(body) is None:
            out["max_tokens"] += meant
        if budget:
            note("thinking.budget_tokens", "the model decides by itself how long it thinks")
        if effort is not None:
            out["output_config"] = {"effort": _level(family, effort)}
        return True
    _write_budget(body, out, budget, meant)
    return True


def _read_thinking(given: Any, family: Family) -> tuple[str | None, int | None]:
    """The type of ``thinking`` and its budget."""
    if given is None:
        return None, None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind not in ("enabled", "adaptive", "disabled"):
        raise refuse("thinking.type", "must be enabled, adaptive or disabled")
    if kind != "disabled" and family.facts.thinking == "none":
        raise refuse("thinking", "this model does not think; leave it out")
    if kind == "adaptive" and family.facts.thinking == "budget":
        raise refuse("thinking.type", "this model wants a budget: enabled, with budget_tokens")
    if kind != "enabled":
        return kind, None
    return kind, read_whole("thinking.budget_tokens", given.get("budget_tokens"), low=_LEAST_BUDGET)


def _level(family: Family, effort: str) -> str:
    if effort == "minimal":
        return "low"
    return "high" if effort == "xhigh" and "xhigh" not in family.facts.efforts else effort


def _write_budget(body: JSON, out: JSON, told: int | None, meant: int) -> None:
    """The budget as told, or as the effort means it, always below ``max_tokens``."""
    most = read_max_tokens(body)
    budget = told or meant
    if most is None:
        out["max_tokens"] += budget
    elif budget >= most:
        if told:
            raise refuse("thinking.budget_tokens", f"must be below the {most} tokens of the whole answer")
        if most <= _LEAST_BUDGET:
            message = f"Claude thinks with {_LEAST_BUDGET} tokens or more; allow more than that, or leave this out"
            raise refuse("reasoning_effort", message)
        budget = max(_LEAST_BUDGET, most // 2)
    out["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _check_thinking(out: JSON, choice: Choice) -> None:
    if out.get("temperature", 1) != 1:
        raise refuse("temperature", "must be 1 or left out while Claude thinks")
    if out.get("top_p", 1) < 0.95:
        raise refuse("top_p", "must be 0.95 or more, or left out, while Claude thinks")
    if "top_k" in out:
        raise refuse("top_k", "must be left out while Claude thinks")
    if choice.mode == "required":
        raise refuse("tool_choice", "a thinking Claude cannot be forced to call; write auto, or leave the thinking out")
    last = out["messages"][-1]
    if last["role"] == "assistant":
        raise refuse("messages", "a thinking Claude wants the user to speak last")
    if out["thinking"]["type"] == "enabled" and last["content"][0].get("type") == "tool_result":
        first = out["messages"][-2]["content"][0]
        if first["type"] not in ("thinking", "redacted_thinking"):
            message = "a thinking Claude wants its signed thinking_blocks back in the message that called the tools"
            raise refuse("messages", message)
