"""The options of an OpenAI chat body that need reading before any provider can take them: tools, formats, numbers.

Shapes: OpenAI's API reference, "Create chat completion".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import orjson

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON

if TYPE_CHECKING:
    from airflow_batch_provider.dialects.facts.record import Facts
    from airflow_batch_provider.dialects.facts.tool_names import ToolNames

JSON_ONLY = "Answer with one JSON object and nothing else: no explanation, no code fence."
"""What stands in for ``json_object`` where a provider has no such mode."""
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call.

    :param parameters: its JSON schema; None for a function without parameters.
    :param path: its place in the body.
    """

    name: str
    description: str | None
    parameters: JSON | None
    strict: bool | None
    path: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether the model may, must or must not call, and which tools.

    :param named: the one function it must call.
    :param allowed: the names it may choose from; None for all.
    """

    mode: Literal["auto", "none", "required"]
    named: str | None = None
    allowed: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """The ``json_schema`` of a ``response_format``."""

    name: str
    schema: JSON
    description: str | None
    strict: bool | None


class Note(Protocol):
    """Says, once in a run, what became of a field."""

    def __call__(self, field: str, reason: str, what: str = "left out") -> None:
        """Note it."""


def refuse(field: str, message: str) -> UntranslatableError:
    """The error of a field of the body."""
    return UntranslatableError(f"body.{field}", message)


def read_tools(value: Any, names: ToolNames) -> list[Tool]:
    """``tools``, functions only, each of its own name.

    Claude refuses a name used twice ("tools: Tool names must be unique", eclipse-theia/theia#16122), Gemini does
    ("Duplicate function declaration found", lobehub/lobehub#12604), and Bedrock ("is already defined at
    toolConfig.tools").

    :param names: the names that the provider takes.
    """
    if not isinstance(value, list):
        raise refuse("tools", "must be an array")
    tools = [_read_tool(entry, f"tools[{index}]") for index, entry in enumerate(value)]
    seen: set[str] = set()
    for tool in tools:
        check_tool_name(tool.name, names, f"{tool.path}.function.name")
        if tool.name in seen:
            raise refuse(f"{tool.path}.function.name", f"another tool is called {tool.name}, too; rename one of them")
        seen.add(tool.name)
    return tools


def check_tool_name(name: str, names: ToolNames, field: str) -> None:
    """Refuse a name that the provider does not take.

    :param field: its place in the body.
    """
    if not names.pattern.fullmatch(name):
        raise refuse(field, f"{name!r} is not a valid name of a tool: it must be {names.said}; rename it")


def _read_tool(entry: Any, path: str) -> Tool:
    if not isinstance(entry, dict) or entry.get("type", "function") != "function":
        raise refuse(f"{path}.type", "only function tools are supported; describe the tool as a function")
    function = entry.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise refuse(f"{path}.function.name", "missing; every tool requires a name")
    parameters, description = function.get("parameters"), function.get("description")
    if parameters is not None and not isinstance(parameters, dict):
        raise refuse(f"{path}.function.parameters", "must be a JSON schema")
    if description is not None and not isinstance(description, str):
        raise refuse(f"{path}.function.description", "must be a string")
    strict = function.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise refuse(f"{path}.function.strict", "must be true or false")
    return Tool(function["name"], description or None, parameters, strict, path)


def read_choice(value: Any, tools: Sequence[Tool]) -> Choice:
    """``tool_choice``: a word, one function, or ``allowed_tools``."""
    if value is None:
        return Choice("auto")
    known = {tool.name for tool in tools}
    if isinstance(value, str) and value in ("auto", "none", "required"):
        if value == "required" and not known:
            raise refuse("tool_choice", "there are no tools to call")
        return Choice(cast("Literal['auto', 'none', 'required']", value))
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "function":
        return Choice("required", named=_known_name(value, known, "tool_choice.function.name"))
    if kind == "allowed_tools":
        return _allowed(value.get("allowed_tools"), known)
    raise refuse("tool_choice", "unsupported: use auto, none, required, one function or allowed_tools")


def _known_name(entry: Any, known: set[str], field: str) -> str:
    function = entry.get("function") if isinstance(entry, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or name not in known:
        raise refuse(field, f"{name!r} is not among the tools")
    return name


def _allowed(given: Any, known: set[str]) -> Choice:
    field = "tool_choice.allowed_tools"
    mode = given.get("mode") if isinstance(given, dict) else None
    entries = given.get("tools") if isinstance(given, dict) else None
    if mode not in ("auto", "required") or not isinstance(entries, list) or not entries:
        raise refuse(field, 'must be {"mode": "auto" or "required", "tools": [...]}')
    names = frozenset(_known_name(entry, known, f"{field}.tools[{index}]") for index, entry in enumerate(entries))
    return Choice("auto" if mode == "auto" else "required", allowed=names)


def read_format(value: Any) -> Schema | Literal["text", "json_object"]:
    """``response_format``."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return "text"
    if kind == "json_object":
        return "json_object"
    if kind != "json_schema":
        raise refuse("response_format.type", f"{kind!r} is unsupported: use text, json_object or json_schema")
    given = value.get("json_schema")
    schema = given.get("schema") if isinstance(given, dict) else None
    if not isinstance(schema, dict):
        raise refuse("response_format.json_schema.schema", "missing; it must be a JSON schema")
    name, description = given.get("name"), given.get("description")
    return Schema(
        (_NOT_IN_NAME.sub("_", name)[:64] if isinstance(name, str) else "") or "answer",
        schema,
        description if isinstance(description, str) and description else None,
        given["strict"] if isinstance(given.get("strict"), bool) else None,
    )


def schema_in_words(wanted: Schema, note: Note) -> str:
    """The instruction in place of a schema, with a note that nothing enforces it."""
    reason = "the schema goes into the prompt and is not enforced; check the answers"
    note("response_format", reason, "changed")
    return f"{JSON_ONLY} It must fit this JSON schema: {orjson.dumps(wanted.schema).decode()}"


def read_max_tokens(body: JSON) -> int | None:
    """The largest answer, in either spelling; the newer one wins."""
    name, value = "max_completion_tokens", body.get("max_completion_tokens")
    if value is None:
        name, value = "max_tokens", body.get("max_tokens")
    return value if value is None or (type(value) is int and value > 0) else read_whole(name, value, low=1)


def read_whole(field: str, value: Any, low: int, most: int | None = None) -> int:
    """A whole number, not below ``low`` and not above ``most``."""
    if type(value) is not int or value < low:
        raise refuse(field, f"must be a whole number of at least {low}")
    if most is not None and value > most:
        raise refuse(field, f"this model takes {most} at most, not {value}")
    return value


def read_number(field: str, value: Any, most: float, provider: str) -> float:
    """A number from 0 to ``most``."""
    if type(value) is not float and type(value) is not int:
        raise refuse(field, "must be a number")
    if not 0 <= value <= most:
        raise refuse(field, f"{provider} takes 0 to {most:g}, not {value:g}")
    return value


def bounded_tokens(most: int, ceiling: int | None, note: Note) -> int:
    """The largest answer, not above what the model gives; a larger number would be refused and change no answer.

    :param ceiling: the most output tokens of the model; None where it is not known.
    """
    if ceiling is None or most <= ceiling:
        return most
    note(
        "max_tokens",
        f"the model returns at most {ceiling:,} tokens; this limit is sent for requests that set more",
        "changed",
    )
    return ceiling


def read_effort(value: Any) -> str:
    """``reasoning_effort``."""
    if value not in EFFORTS:
        raise refuse("reasoning_effort", f"must be one of {', '.join(EFFORTS)}")
    return cast("str", value)


def with_effort(body: JSON, note: Note) -> JSON:
    """The body with ``reasoning: {"effort": ...}``, the spelling of OpenAI's responses, as ``reasoning_effort``."""
    given = body.get("reasoning")
    if given is None:
        return body
    if not isinstance(given, dict):
        raise refuse("reasoning", 'must be an object such as {"effort": "low"}')
    effort = given.get("effort")
    if effort is not None and effort not in EFFORTS:
        raise refuse("reasoning.effort", f"must be one of {', '.join(EFFORTS)}")
    if effort is not None and body.get("reasoning_effort") not in (None, effort):
        raise refuse("reasoning.effort", "reasoning_effort says something else; leave one of them out")
    for name, value in given.items():
        if name in ("summary", "generate_summary", "exclude"):
            note(f"reasoning.{name}", "the thoughts come as the provider gives them")
        elif name != "effort" and value is not None:
            raise refuse(f"reasoning.{name}", "has no equivalent; write effort, or leave it out")
    out = {name: value for name, value in body.items() if name != "reasoning"}
    return out if effort is None else {**out, "reasoning_effort": effort}


def check_sampling(facts: Facts, name: str, body: JSON, number: float) -> None:
    """Refuse a temperature or top_p that the model does not take: at all, so small, or beside the other."""
    if facts.sampling == "none":
        raise refuse(name, f"this model does not accept {name}; remove it")
    if facts.sampling == "one" and body.get("temperature") is not None and body.get("top_p") is not None:
        raise refuse(name, "this model takes temperature or top_p, not both; leave one out")
    check_least_top_p(facts, name, number)


def check_least_top_p(facts: Facts, name: str, number: float) -> None:
    """Refuse a top_p below the model's least."""
    if name == "top_p" and number < facts.min_top_p:
        raise refuse("top_p", f"this model takes {facts.min_top_p:g} or more, not {number:g}")


def nearest_effort(effort: str, taken: Sequence[str]) -> str:
    """The largest level taken that is not above the wanted one, else the smallest."""
    order = EFFORTS.index
    below = [level for level in taken if order(level) <= order(effort)]
    return max(below, key=order) if below else min(taken, key=order)


def check_call_ids(ids: Sequence[str]) -> None:
    """Refuse two calls of one id in a turn.

    Anthropic: "`tool_use` ids must be unique" (anthropics/claude-code#20901).
    """
    if len(set(ids)) < len(ids):
        raise refuse("messages", "two tool calls of one message have the same id; give each its own")


def check_text_only(content: Any, where: str, provider: str) -> None:
    """Refuse pictures, files and sound in a message of the assistant.

    :param where: the message's place in the body.
    """
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if isinstance(part, dict) and part.get("type") in ("image_url", "file", "input_audio"):
            message = f"{provider} takes text only from the assistant; move it into a user message"
            raise refuse(f"{where}.content[{number}]", message)


def check_images(facts: Facts, images: int, documents: int = 0) -> None:
    """Refuse more images, and documents where they count as such, than the model takes in a request."""
    if facts.max_images is not None and images + documents > facts.max_images:
        kinds = "images and documents" if documents else "images"
        message = f"the model takes at most {facts.max_images} {kinds} per request, not {images + documents}"
        raise refuse("messages", f"{message}; split the row")


def merge_system(out: JSON, system: list[JSON], note: Note) -> None:
    """Put system messages before the user's first words, for a model that knows none.

    :param out: a request with ``messages``, and perhaps ``system``.
    """
    out.pop("system", None)
    first = out["messages"][0]
    first["content"] = system + first["content"]
    note(
        "messages.system",
        "this model does not support system messages; their text goes before the first user message",
        "changed",
    )


def check_turns(turns: list[JSON], provider: str, notes: dict[str, str], *, prefill: bool) -> None:
    """The rules of Claude and Converse: the user begins, and the assistant's last words end in no white space.

    :param prefill: whether the assistant may speak last.
    """
    if turns[0]["role"] != "user":
        raise refuse("messages", f"{provider} requires a user message at the start; put one first")
    last = turns[-1]
    if last["role"] == "user":
        return
    if not prefill:
        raise refuse("messages", "this model requires a user message at the end; add one")
    part = last["content"][-1]
    if "text" in part and part["text"] != (bare := part["text"].rstrip()):
        part["text"] = bare
        reason = f"left out for {provider}: white space at the end of the assistant's last words"
        notes.setdefault("body.messages", reason)
