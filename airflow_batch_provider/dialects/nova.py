"""Amazon Nova's own request and answer, as InvokeModel takes them: Converse's shapes, and tools, also in batches.

Sources: AWS, Nova user guide, "Complete request schema" (``schemaVersion`` messages-v1; topK and reasoningConfig are
in ``inferenceConfig``), "Using the Invoke API" (no documents there), "Tool choice" (auto, any, tool; none is missing),
"Troubleshooting tool calls" (of a tool's schema only type, properties and required at the top level), "Extended
thinking" (Nova 2 Lite; with high effort no temperature, topP and maxTokens). Blocks of tools: botocore, service
``bedrock-runtime``, ToolConfiguration, ToolUseBlock, ToolResultBlock.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.chat import nothing
from airflow_batch_provider.dialects.chat_keys import ChatKeys
from airflow_batch_provider.dialects.claude_schema import ANSWER_TOOL
from airflow_batch_provider.dialects.converse import Converse
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.families import Family
from airflow_batch_provider.dialects.keys import Left
from airflow_batch_provider.dialects.leftovers import PARTS
from airflow_batch_provider.dialects.nova_schema import tool_schema
from airflow_batch_provider.dialects.options import (
    JSON_ONLY,
    Choice,
    Schema,
    Tool,
    read_choice,
    read_effort,
    read_format,
    read_tools,
    read_whole,
    schema_in_words,
)
from airflow_batch_provider.dialects.parts import Blob, ToolCall, ToolResult
from airflow_batch_provider.dialects.tool_turns import pair

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_LINKED = ("tools", "tool_choice", "response_format")
"""What :meth:`Nova._write_tools` reads together."""


class Nova(Converse):
    """Nova by InvokeModel.

    :param model: named in answers, which do not name it themselves.
    """

    provider = "Nova"
    nested = ChatKeys(
        format_strict=Left("schemas are written as tools, which have no such mode"),
        tool_strict=Left("its tools have no such mode"),
    )

    def __init__(self, family: Family, model: str) -> None:
        super().__init__(family, model)
        self._called: set[str] = set()
        self.fields |= {
            "parallel_tool_calls": self._parallel,
            "reasoning_effort": self._effort,
            **dict.fromkeys(_LINKED, nothing),
        }

    # ---- request -----------------------------------------------------------------------------------------------

    def request(self, body: JSON) -> JSON:
        """The request without a model."""
        self._called = set()
        out = super().request(body)
        if self.used_tools:
            pair(out["messages"], "content", _call_id, _result_id)
        self._write_tools(body, out)
        return {"schemaVersion": "messages-v1", **out}

    def _message(self, role: str, message: JSON, index: int, names: dict[str, str]) -> list[JSON]:
        return super(Converse, self)._message(role, message, index, names)

    def document(self, blob: Blob, path: str) -> JSON:
        """Documents are Converse's alone."""
        remedy = f'set the connection\'s model_families to {{"{self._model}": "nova-converse"}}'
        raise self.refuse(f"{path}.file", f"Nova takes files by Converse only, where it takes no tools; {remedy}")

    def call(self, call: ToolCall) -> JSON:
        """A toolUse block."""
        self._called.add(call.name)
        return {"toolUse": {"toolUseId": _tool_id(call.id), "name": call.name, "input": call.arguments}}

    def result(self, result: ToolResult) -> JSON:
        """A toolResult block; blank texts, which no block may hold, go into an object."""
        text = result.content
        content: JSON = {"text": text} if text.strip() else {"json": {"output": text}}
        return {"toolResult": {"toolUseId": _tool_id(result.id), "content": [content]}}

    # ---- options -----------------------------------------------------------------------------------------------

    def _top_k(self, value: Any, body: JSON, out: JSON) -> None:
        facts = self._family.facts
        if not facts.top_k:
            raise self.refuse("top_k", f"{self._model} does not accept top_k; remove it")
        out["inferenceConfig"]["topK"] = read_whole("top_k", value, low=0, most=facts.max_top_k)

    def _effort(self, value: Any, body: JSON, out: JSON) -> None:
        effort = read_effort(value)
        if effort == "none":
            return
        if self._family.facts.thinking != "level":
            self.note("reasoning_effort", "this model does not think")
            return
        level = _LEVELS[effort]
        if level == "high":
            for name in ("temperature", "top_p", "max_tokens", "max_completion_tokens"):
                if body.get(name) is not None:
                    raise self.refuse(name, "must be left out while Nova thinks with high effort; or set medium")
        out["inferenceConfig"]["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": level}

    def _parallel(self, value: Any, body: JSON, out: JSON) -> None:
        if value is False:
            self.note("parallel_tool_calls", "it calls as many tools at once as it likes")

    def _write_tools(self, body: JSON, out: JSON) -> None:
        tools = read_tools(body["tools"], self.tool_names) if body.get("tools") else []
        choice = read_choice(body.get("tool_choice"), tools)
        allowed = [tool for tool in tools if choice.allowed is None or tool.name in choice.allowed]
        if self._called and not tools:
            raise self.refuse("tools", "the messages call tools, so Nova requires their declaration; write them here")
        if choice.mode == "none" and tools:
            if self._called:
                message = "Nova cannot be kept from calling the tools that its messages have called"
                raise self.refuse("tool_choice", message)
            allowed = []
        if choice.mode == "required" and self._family.facts.forced_tools == "never":
            raise self.refuse("tool_choice", "this model refuses requests that force a tool call; write auto")
        specs = [{"toolSpec": self._tool(tool)} for tool in allowed]
        tool_choice: JSON = {}
        if choice.named:
            tool_choice = {"tool": {"name": choice.named}}
        elif choice.mode == "required":
            tool_choice = {"any": {}}
        wanted = "text" if body.get("response_format") is None else read_format(body["response_format"])
        if wanted == "json_object":
            out.setdefault("system", []).append({"text": JSON_ONLY})
        elif isinstance(wanted, Schema) and self._in_words():
            out.setdefault("system", []).append({"text": schema_in_words(wanted, self.note)})
        elif isinstance(wanted, Schema):
            tool_choice = self._answer_tool(wanted, specs, tool_choice, choice)
        if specs:
            out["toolConfig"] = {"tools": specs, **({"toolChoice": tool_choice} if tool_choice else {})}

    def _in_words(self) -> bool:
        """Whether a schema is an instruction, because no tool stands in for it."""
        facts = self._family.facts
        if facts.schema == "none":
            raise self.refuse("response_format", "this model does not accept a schema; write json_object")
        return facts.schema == "prompt" or facts.forced_tools == "never"

    def _tool(self, tool: Tool) -> JSON:
        spec: JSON = {"name": tool.name}
        if tool.description:
            spec["description"] = tool.description
        spec["inputSchema"] = {"json": tool_schema(tool.parameters, f"{tool.path}.function.parameters", self.note)}
        return spec

    def _answer_tool(self, wanted: Schema, specs: list[JSON], tool_choice: JSON, choice: Choice) -> JSON:
        """The tool whose input is the answer, beside the others, and what must be called."""
        if tool_choice:
            self.note(
                "response_format",
                "tool_choice requires a call, so there is no answer that could follow a schema; remove one of them",
            )
            return tool_choice
        described = wanted.description or "Give the answer, the whole answer and nothing but the answer."
        schema = tool_schema(wanted.schema, "response_format.json_schema.schema", self.note)
        free = bool(specs) and choice.mode == "auto"
        specs.append({"toolSpec": {"name": ANSWER_TOOL, "description": described, "inputSchema": {"json": schema}}})
        return {"any": {}} if free else {"tool": {"name": ANSWER_TOOL}}

    # ---- answer ------------------------------------------------------------------------------------------------

    def answer(self, output: JSON) -> JSON | Failure:
        """From Nova's answer, which is a ConverseResponse but for the names of cached tokens."""
        usage = output.get("usage")
        if isinstance(usage, dict):
            renamed = {
                name: usage[f"{name[:-1]}Count"]
                for name in ("cacheReadInputTokens", "cacheWriteInputTokens")
                if usage.get(name) is None and f"{name[:-1]}Count" in usage
            }
            output = {**output, "usage": {**usage, **renamed}}
        found = super().answer(output)
        return found if isinstance(found, Failure) else _unwrapped(found)


def _unwrapped(found: JSON) -> JSON:
    """An answer by schema as the content that the author waits for; chatter beside it would make it no JSON."""
    choice = found["choices"][0]
    message = choice["message"]
    calls = message.get("tool_calls", [])
    answers = [call for call in calls if call["function"]["name"] == ANSWER_TOOL]
    if not answers:
        return found
    beside = [{"text": message["content"]}] if message["content"] else []
    for left in (*beside, *({"toolUse": call["function"]} for call in answers[1:])):
        message.setdefault(PARTS, []).append({"part": left})
    message["content"] = answers[0]["function"]["arguments"]
    rest = [call for call in calls if call["function"]["name"] != ANSWER_TOOL]
    if rest:
        message["tool_calls"] = rest
    else:
        del message["tool_calls"]
        choice["finish_reason"] = "stop" if choice["finish_reason"] == "tool_calls" else choice["finish_reason"]
    return found


def _call_id(block: JSON) -> str | None:
    return block["toolUse"]["toolUseId"] if "toolUse" in block else None


def _result_id(block: JSON) -> str | None:
    return block["toolResult"]["toolUseId"] if "toolResult" in block else None


def _tool_id(given: str) -> str:
    """The id as it is, or one that Bedrock accepts, the same for a call and its result."""
    return given if _ID.fullmatch(given) else "tooluse_" + hashlib.blake2b(given.encode(), digest_size=12).hexdigest()
