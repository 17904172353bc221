"""The JSON schemas of Claude: what its structured outputs take, what its tools take, and the tool that holds an answer.

Sources: Anthropic, "Structured outputs" (the subset of JSON Schema); the anthropic SDK's ``lib/_parse/_transform.py``
(formats of strings, values of ``enum`` and ``const``); vercel/ai, release 4.0.208 of
@ai-sdk/amazon-bedrock (at most ten optional properties); anthropics/claude-code#5319 and trycua/cua#3303 (no anyOf,
oneOf, allOf at the top of a tool's schema); IDP-on-AWS#709 and unusual-whales-mcp#57 (names of properties, at the top).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.options import Schema, refuse

ANSWER_TOOL = "json_schema_answer"
"""The tool that stands in for structured outputs: its input is the answer."""
WRAPPED_TOOL = "json_schema_answer_value"
"""The same for a schema that no tool of Claude's may have: the answer is the member ``answer`` of its input."""
ANSWER_TOOLS = frozenset({ANSWER_TOOL, WRAPPED_TOOL})
_MEMBER = "answer"
_KEY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_FORMATS = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"])
_BEYOND = re.compile(r"\(\?[=!<]|\\[bB1-9]")
"""Of patterns: looking around, borders of words, references back."""
_COMBINED = ("anyOf", "oneOf", "allOf")
_DEFINITIONS = ("$defs", "definitions")
_MOST_OPTIONAL = 10
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


# ---- structured outputs ------------------------------------------------------------------------------------------


def is_native(schema: JSON) -> bool:
    """Whether Claude's structured outputs take a schema: closed objects, no bounds, no recursion, few optional
    properties, plain values, known formats and plain patterns."""
    return _is_native(schema, schema, ()) and sum(_optional(schema)) <= _MOST_OPTIONAL


def _is_native(node: Any, root: JSON, above: tuple[str, ...]) -> bool:
    if not isinstance(node, dict):
        return True
    if not _NOT_NATIVE.isdisjoint(node):
        return False
    if (node.get("type") == "object" or "properties" in node) and node.get("additionalProperties") is not False:
        return False
    if not _is_plain(node):
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


def _is_plain(node: JSON) -> bool:
    """Whether its values, format and pattern are of those that are taken."""
    values = node.get("enum")
    given = [*(values if isinstance(values, list) else ()), node.get("const")]
    if any(isinstance(value, (dict, list)) for value in given):
        return False
    form, pattern = node.get("format"), node.get("pattern")
    return (form is None or form in _FORMATS) and not (isinstance(pattern, str) and _BEYOND.search(pattern))


def _values(node: JSON, name: str) -> list[Any]:
    value = node.get(name)
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _optional(node: Any) -> Iterator[int]:
    """How many properties each object leaves optional; definitions count once."""
    if isinstance(node, list):
        for item in node:
            yield from _optional(item)
    elif isinstance(node, dict):
        properties, required = node.get("properties"), node.get("required")
        if isinstance(properties, dict):
            yield len(properties.keys() - set(required if isinstance(required, list) else ()))
        for value in node.values():
            yield from _optional(value)


# ---- tools -------------------------------------------------------------------------------------------------------


def check_tool_schema(schema: JSON, path: str) -> JSON:
    """The schema of an author's tool as Claude takes it.

    :param path: its place in the body.
    :raises UntranslatableError: for what Claude refuses.
    """
    if schema.get("type", "object") != "object":
        raise refuse(f"{path}.type", "must be object")
    for name in _COMBINED:
        if name in schema:
            message = "Claude takes it inside a property only, not at the top of a tool's parameters; move it into one"
            raise refuse(f"{path}.{name}", message)
    for name in _properties(schema):
        if not _KEY.fullmatch(name):
            message = f"{name!r} is not a name that Claude takes: 1 to 64 letters, digits, _, . and -; rename it"
            raise refuse(f"{path}.properties", message)
    return schema if "type" in schema else {"type": "object", **schema}


def answer_tool(wanted: Schema, schema: JSON) -> JSON:
    """The tool whose input is the answer.

    :param schema: the schema of ``wanted``, with its description.
    """
    described = wanted.description or "Give the answer, the whole answer and nothing but the answer."
    if _fits(schema):
        made = schema if "type" in schema else {"type": "object", **schema}
        return {"name": ANSWER_TOOL, "description": described, "input_schema": made}
    for reference in _references(schema):
        if not reference.startswith(tuple(f"#/{name}/" for name in _DEFINITIONS)):
            message = (
                f"{reference!r}: Claude's tools take references to $defs only, where the top is not a plain object"
            )
            raise refuse("response_format.json_schema.schema", message)
    inner = {name: value for name, value in schema.items() if name not in _DEFINITIONS}
    outer = {name: schema[name] for name in _DEFINITIONS if name in schema}
    made = {"type": "object", "properties": {_MEMBER: inner}, "required": [_MEMBER], **outer}
    return {"name": WRAPPED_TOOL, "description": f'{described} It is the value of "{_MEMBER}".', "input_schema": made}


def answer_in(name: Any, given: Any) -> Any:
    """The answer in the input of one of :data:`ANSWER_TOOLS`."""
    return given[_MEMBER] if name == WRAPPED_TOOL and isinstance(given, dict) and _MEMBER in given else given


def _fits(schema: JSON) -> bool:
    plain = schema.get("type", "object") == "object" and not any(name in schema for name in (*_COMBINED, "$ref"))
    return plain and all(_KEY.fullmatch(name) for name in _properties(schema))


def _properties(schema: JSON) -> list[str]:
    found = schema.get("properties")
    return [*found] if isinstance(found, dict) else []


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
