"""JSON schemas as Gemini batches can carry them.

Gemini takes JSON Schema itself (``responseJsonSchema``, ``parametersJsonSchema``), but the batch importer reads every
line as a row of a table: no ``$defs``, no nulls, no ``{}``, and each keyword in one form only.
"""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.columns import pruned
from airflow_batch_provider.dialects.keys import Note

_ANNOTATIONS = frozenset(
    {"default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$schema", "$id", "$comment", "$anchor"}
)
_BY_NAME = frozenset({"properties", "dependentSchemas", "patternProperties"})
_SINGLE = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
_SEVERAL = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_FLOATS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_DEFINITIONS = frozenset({"$defs", "definitions"})
_MOST_NODES = 20_000
_DEEPEST = 80
_ANYTHING: JSON = {"title": "any"}
"""Stands for the empty schema, where leaving it out would say something else."""


def clean(schema: Any, path: str, note: Note) -> JSON:
    """The same schema with references inlined, in keywords that the importer takes; ``{}`` when nothing is left.

    :param path: where it is in the body, for messages.
    :param note: takes what is left out; a keyword once for the whole schema, whatever the properties are called.
    :raises UntranslatableError: for recursion, for references that lead nowhere and for rules without an equivalent.
    """
    if not isinstance(schema, dict):
        raise UntranslatableError(f"body.{path}", "must be a JSON schema, that is an object")
    cleaner = _Cleaner(schema)
    made = cleaner.schema(schema, f"body.{path}", ())
    for keyword, place in cleaner.left.items():
        note(
            f"{path}..{keyword}", f"it binds no answer, and Vertex AI's importer requires one type per column: {place}"
        )
    return made


class _Cleaner:
    """Cleans one schema.

    :ivar left: keyword that was left out -> where first.
    """

    def __init__(self, root: JSON) -> None:
        self._root = root
        self._nodes = 0
        self.left: dict[str, str] = {}

    def schema(self, schema: Any, path: str, inside: tuple[str, ...]) -> JSON:
        """One schema; ``true`` is the empty one."""
        self._nodes += 1
        if self._nodes > _MOST_NODES or path.count(".") > _DEEPEST:
            raise UntranslatableError(path, "the schema is too large with its references inlined; simplify it")
        if not isinstance(schema, dict):
            return {} if schema is True else {"not": _ANYTHING}
        schema, inside = self._resolved(schema, path, inside)
        out: JSON = {}
        for name, value in schema.items():
            if value is None and name == "const":
                out["type"] = "null"
            elif name in _ANNOTATIONS:
                self.left.setdefault(name, f"{path}.{name}")
            elif name[0:1] == "$" and name not in _DEFINITIONS:
                raise UntranslatableError(f"{path}.{name}", "Gemini batches do not support this rule; write it out")
            elif value is not None and name not in _DEFINITIONS:
                self._keyword(name, value, f"{path}.{name}", inside, out)
        return _one_type(out)

    def _resolved(self, schema: JSON, path: str, inside: tuple[str, ...]) -> tuple[JSON, tuple[str, ...]]:
        while isinstance(ref := schema.get("$ref"), str):
            if ref in inside:
                name = ref.rpartition("/")[2] or "the schema"
                message = f"{name!r} contains itself; Gemini batches do not support recursive schemas, unroll it"
                raise UntranslatableError(path, message)
            inside = (*inside, ref)
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            schema = {**self._target(ref, path), **beside}
        return schema, inside

    def _target(self, ref: str, path: str) -> JSON:
        found: Any = self._root
        for name in ref.removeprefix("#").split("/")[1:]:
            plain = name.replace("~1", "/").replace("~0", "~")
            found = found.get(plain) if isinstance(found, dict) else None
        if not ref.startswith("#") or not isinstance(found, dict):
            raise UntranslatableError(f"{path}.$ref", f"{ref!r} does not exist in this schema; write it out")
        return found

    def _keyword(self, name: str, value: Any, path: str, inside: tuple[str, ...], out: JSON) -> None:
        if name in _BY_NAME and isinstance(value, dict):
            made = {key: self.schema(item, f"{path}.{key}", inside) or _ANYTHING for key, item in value.items()}
            if made:
                out[name] = made
        elif name in _SEVERAL or (name == "items" and isinstance(value, list)):
            # Draft 7 writes tuples as a list of items, where newer drafts write prefixItems.
            key = "prefixItems" if name == "items" else name
            items = value if isinstance(value, list) else []
            made_items = [self.schema(item, f"{path}[{index}]", inside) for index, item in enumerate(items)]
            if made_items:
                out[key] = [item or _ANYTHING for item in made_items]
        elif name in _SINGLE:
            self._single(name, value, path, inside, out)
        elif name == "const":
            out["enum"] = [value]
        elif name in _FLOATS and isinstance(value, int) and not isinstance(value, bool):
            out[name] = float(value)
        elif (made := pruned(value)) not in (None, []):
            if made != value:
                self.left.setdefault(name, path)
            # A copy, for the importer's columns may need its numbers widened.
            out[name] = made

    def _single(self, name: str, value: Any, path: str, inside: tuple[str, ...], out: JSON) -> None:
        if name == "additionalProperties" and value is False:
            out[name] = False
        elif value is not True and (made := self.schema(value, path, inside)):
            out[name] = made


def _one_type(schema: JSON) -> JSON:
    """``type`` as a string and ``enum`` without null: what allows null too becomes ``anyOf``."""
    kinds = schema.get("type")
    kinds = list(kinds) if isinstance(kinds, list) else [kinds] if isinstance(kinds, str) else []
    values = schema.get("enum")
    nothing = isinstance(values, list) and None in values
    if len(kinds) < 2 and not nothing:
        return {**schema, "type": kinds[0]} if isinstance(schema.get("type"), list) else schema
    around: JSON = {name: schema[name] for name in ("title", "description") if name in schema}
    rest = {name: value for name, value in schema.items() if name not in (*around, "type")}
    null = "null" in kinds or not kinds
    if nothing:
        rest["enum"] = [value for value in values or () if value is not None]
        if not rest["enum"]:
            return {**around, "type": "null"}
    elif values is not None:
        # A list of values without null forbids null, whatever the types say.
        null = False
    one = [{**rest, "type": kind} for kind in kinds if kind != "null"] or [rest]
    if null:
        one.append({"type": "null"})
    return {**around, **one[0]} if len(one) == 1 else {**around, "anyOf": one}
