"""The options of a request to Claude that depend on each other: tools, answer format, thinking.

A schema of the answer goes the first of these ways that the model takes: structured outputs, a tool that must be
called, a tool that may be called and is requested in words, words alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.chat_keys import HELD
from airflow_batch_provider.dialects.claude_schema import answer_tool, check_tool_schema, is_native
from airflow_batch_provider.dialects.claude_thinking import (
    REMEDY,
    Thinks,
    check_beside_thinking,
    switch_off,
    write_thinking,
)
from airflow_batch_provider.dialects.facts import Facts
from airflow_batch_provider.dialects.facts.tool_names import CLAUDE
from airflow_batch_provider.dialects.options import (
    JSON_ONLY,
    Choice,
    Note,
    Schema,
    Tool,
    read_choice,
    read_format,
    read_tools,
    refuse,
)

LINKED = frozenset({"tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "thinking"})


def write_linked(facts: Facts, body: JSON, out: JSON, called: Sequence[str], note: Note) -> None:
    """Write tools, format and thinking.

    :param called: the functions that the history calls.
    :param note: notes that a field was left out or changed, with the reason.
    """
    tools = read_tools(body["tools"], CLAUDE) if body.get("tools") else []
    choice = read_choice(body.get("tool_choice"), tools)
    thinks = write_thinking(facts, body, out, note)
    if thinks == "asked":
        check_beside_thinking(out)
    if choice.mode == "required":
        _check_forced(facts, thinks, out, note)
    _write_tools(facts, tools, choice, out, called, note)
    if body.get("response_format") is not None:
        _write_format(facts, body, out, choice, thinks, note)
    if body.get("parallel_tool_calls") is False and out.get("tools"):
        choice = out.setdefault("tool_choice", {"type": "auto"})
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    elif body.get("parallel_tool_calls") is False:
        note("parallel_tool_calls", "there are no tools")


# ---- tools -------------------------------------------------------------------------------------------------------


def _may_force(facts: Facts, thinks: Thinks, out: JSON, note: Note) -> bool:
    """Whether a tool call can be forced; a Claude that thinks by itself is kept from it where that is the condition."""
    if facts.forced_tools != "unless_thinking" or thinks == "off":
        return facts.forced_tools != "never"
    if thinks == "asked" or facts.thinking_off == "never":
        return False
    switch_off(facts, out, "tool_choice")
    note("thinking", "a tool call is forced, beside which it may not think; thinking is switched off", "changed")
    return True


def _check_forced(facts: Facts, thinks: Thinks, out: JSON, note: Note) -> None:
    if _may_force(facts, thinks, out, note):
        return
    if facts.forced_tools == "never" or thinks == "unasked":
        message = (
            f"this model refuses requests that force a tool call; write auto, and request the call in the "
            f"prompt, {REMEDY}"
        )
        raise refuse("tool_choice", message)
    raise refuse(
        "tool_choice", "Claude cannot be forced to call a tool while it thinks; write auto, or turn thinking off"
    )


def _write_tools(facts: Facts, tools: list[Tool], choice: Choice, out: JSON, called: Sequence[str], note: Note) -> None:
    allowed = [tool for tool in tools if choice.allowed is None or tool.name in choice.allowed]
    if allowed:
        out["tools"] = [_tool(facts, tool, note) for tool in allowed]
        if choice.named:
            out["tool_choice"] = {"type": "tool", "name": choice.named}
        elif choice.mode != "auto":
            out["tool_choice"] = {"type": "any" if choice.mode == "required" else "none"}
    elif called:
        # Claude wants the tools of its history declared; a request without tools may call none.
        out["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in called]
        out["tool_choice"] = {"type": "none"}


def _tool(facts: Facts, tool: Tool, note: Note) -> JSON:
    path = f"{tool.path}.function.parameters"
    schema = check_tool_schema(tool.parameters or {"type": "object", "properties": {}}, path)
    written: JSON = {"name": tool.name, "input_schema": schema}
    if tool.description:
        written["description"] = tool.description
    if tool.strict:
        if facts.strict_tools and is_native(schema):
            written["strict"] = True
        else:
            reason = "this schema" if facts.strict_tools else "a tool's schema"
            note(f"{tool.path}.function.strict", f"the model cannot be held to {reason} strictly there")
    return written


# ---- answer format -----------------------------------------------------------------------------------------------


def _write_format(facts: Facts, body: JSON, out: JSON, choice: Choice, thinks: Thinks, note: Note) -> None:
    wanted = read_format(body["response_format"])
    if wanted == "text":
        return
    if wanted == "json_object":
        _instruct(out, JSON_ONLY)
        return
    if out["messages"][-1]["role"] == "assistant":
        raise refuse("response_format", "Claude answers by a schema only when the user speaks last")
    if facts.schema == "none":
        raise refuse("response_format", f"this model does not accept a schema; write json_object, {REMEDY}")
    schema = wanted.schema
    if wanted.description and "description" not in schema:
        schema = {"description": wanted.description, **schema}
    _check_citations(out)
    native = facts.schema == "native" and is_native(schema)
    if wanted.strict is not None:
        note(
            "response_format.json_schema.strict", HELD.reason if native else "its replacement is not enforced strictly"
        )
    if native:
        out.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
    elif choice.mode == "required":
        note(
            "response_format",
            "tool_choice requires a call, so there is no answer that could follow a schema; remove one of them",
        )
    elif facts.schema != "prompt" and _may_force(facts, thinks, out, note):
        _force_answer(answer_tool(wanted, schema), out, choice)
    else:
        _offer_answer(wanted, schema, out)
        note("response_format", "the schema goes into the prompt and is not enforced; check the answers", "changed")


def _check_citations(out: JSON) -> None:
    if any("citations" in block for turn in out["messages"] for block in turn["content"]):
        raise refuse("response_format", "Claude gives no citations in an answer by a schema; leave one of them out")


def _force_answer(tool: JSON, out: JSON, choice: Choice) -> None:
    free = out.get("tools") and "tool_choice" not in out and choice.mode == "auto"
    out["tools"] = [*out.get("tools", ()), tool]
    out["tool_choice"] = {"type": "any"} if free else {"type": "tool", "name": tool["name"]}
    if not free:
        out["tool_choice"]["disable_parallel_tool_use"] = True


def _offer_answer(wanted: Schema, schema: JSON, out: JSON) -> None:
    if out.get("tool_choice"):
        # No tool may be called, so the answer is a text.
        _instruct(out, f"{JSON_ONLY} It must fit this JSON schema: {orjson.dumps(schema).decode()}")
        return
    tool = answer_tool(wanted, schema)
    out["tools"] = [*out.get("tools", ()), tool]
    _instruct(out, f"Give your answer by one call of the tool {tool['name']}, and write nothing besides.")


def _instruct(out: JSON, text: str) -> None:
    system = out.get("system")
    if isinstance(system, str):
        system = [{"type": "text", "text": system}]
    out["system"] = [*system, {"type": "text", "text": text}] if system else text
