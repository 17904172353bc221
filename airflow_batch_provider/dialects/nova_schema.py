"""The JSON schemas of Nova's tools.

AWS, Nova user guide, "Troubleshooting tool calls": at the top level only ``type`` (object), ``properties`` and
``required``; so definitions, which are there, are written out where they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.options import refuse

_TOP = frozenset({"type", "properties", "required"})
_COSMETIC = frozenset({"$schema", "$id", "$comment", "title", "description", "additionalProperties", "strict"})
_DEFINITIONS = frozenset({"$defs", "definitions"})
_MOST_NODES = 20_000


def tool_schema(schema: JSON | None, path: str, note: Callable[[str, str], None]) -> JSON:
    """A schema as Nova takes it.

    :param path: its place in the body.
    :param note: notes what was left out.
    :raises UntranslatableError: for rules at the top level that Nova would ignore, and for recursion.
    """
    given = _Inliner(schema or {}, path).written(schema or {}, ())
    if given.get("type", "object") != "object":
        raise refuse(f"{path}.type", "must be object")
    for name in given.keys() - _TOP - _DEFINITIONS:
        if name not in _COSMETIC:
            raise refuse(f"{path}.{name}", "Nova knows type, properties and required there; move it into a property")
        note(f"{path}.{name}", "at the top of a schema it knows type, properties and required only")
    return {
        "type": "object",
        "properties": given.get("properties") or {},
        **({"required": given["required"]} if given.get("required") else {}),
    }


class _Inliner:
    """Writes definitions out.

    :param root: the schema that they stand in.
    """

    def __init__(self, root: JSON, path: str) -> None:
        self._root = root
        self._path = path
        self._nodes = 0

    def written(self, node: Any, inside: tuple[str, ...], *, names: bool = False) -> Any:
        """A copy without references.

        :param inside: the references that led here.
        :param names: whether the members are properties, which may have any name.
        """
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise refuse(self._path, "far too large with its definitions written out")
        if isinstance(node, list):
            return [self.written(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        reference = None if names else node.get("$ref")
        if isinstance(reference, str):
            if reference in inside:
                raise refuse(self._path, f"{reference} refers to itself; Nova's tools do not support recursive schemas")
            beside = {name: item for name, item in node.items() if name != "$ref"}
            return self.written({**self._target(reference), **beside}, (*inside, reference))
        return {
            name: self.written(item, inside, names=name == "properties" and not names)
            for name, item in node.items()
            if names or name not in _DEFINITIONS
        }

    def _target(self, reference: str) -> JSON:
        found: Any = self._root if reference == "#" or reference.startswith("#/") else None
        for step in reference[2:].split("/") if len(reference) > 1 else ():
            plain = step.replace("~1", "/").replace("~0", "~")
            found = found.get(plain) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise refuse(self._path, f"{reference!r} does not exist in the schema")
        return found
