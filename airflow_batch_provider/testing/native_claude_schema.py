"""What Claude's structured outputs refuse of a JSON schema, on purpose without the package's own tables.

Sources: Anthropic, "Structured outputs", JSON Schema limitations; the anthropic SDK's ``lib/_parse/_transform.py``,
which keeps what the API takes (formats of strings, values of ``enum``).
"""

from __future__ import annotations

import re
from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.native_shared import refuse

_BOUNDS = {
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems", "contains"),
    "object": ("patternProperties", "propertyNames", "minProperties", "maxProperties"),
}
_PLACE = "output_config.format.schema"
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")


def check_schema(schema: Any) -> None:
    """Refuse what structured outputs do not take.

    :raises RefusedError: in Claude's words.
    """
    _look(schema, schema, ())


def _look(node: Any, root: JSON, above: tuple[str, ...]) -> None:
    if isinstance(node, list):
        for item in node:
            _look(item, root, above)
    if not isinstance(node, dict):
        return
    _check_bounds(node)
    _check_values(node)
    reference = node.get("$ref")
    if isinstance(reference, str):
        _look(_target(reference, root, above), root, (*above, reference))
    for name in ("properties", "$defs", "definitions"):
        if isinstance(node.get(name), dict):
            _look(list(node[name].values()), root, above)
    for name in ("items", "anyOf", "allOf"):
        _look(node.get(name), root, above)


def _check_bounds(node: JSON) -> None:
    if node.get("type") == "object" and node.get("additionalProperties") is not False:
        raise refuse(f"{_PLACE}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    for name, keys in _BOUNDS.items():
        if found := [key for key in keys if key in node]:
            raise refuse(f"{_PLACE}: For '{name}' type, properties {', '.join(found)} are not supported")
    if node.get("minItems", 0) not in (0, 1):
        raise refuse(f"{_PLACE}: For 'array' type, 'minItems' values other than 0 or 1 are not supported")


def _check_values(node: JSON) -> None:
    if "format" in node and node["format"] not in _FORMATS:
        raise refuse(f"{_PLACE}: String format '{node['format']}' is not supported")
    if any(isinstance(value, (dict, list)) for value in [*(node.get("enum") or []), node.get("const")]):
        raise refuse(f"{_PLACE}: Enum values must be of a simple type")
    if re.search(r"\(\?[=!<]|\\[bB1-9]", str(node.get("pattern", ""))):
        raise refuse(f"{_PLACE}: The pattern uses a feature that is not supported")


def _target(reference: str, root: JSON, above: tuple[str, ...]) -> Any:
    if not reference.startswith("#/"):
        raise refuse(f"{_PLACE}: External references are not supported")
    if reference in above:
        raise refuse(f"{_PLACE}: Recursive schemas are not supported")
    target: Any = root
    for step in reference[2:].split("/"):
        target = target.get(step) if isinstance(target, dict) else None
    return target
