"""A connection type as Airflow's web UI draws it."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from airflow_batch_provider.connections.base import STANDARD, ConnectionType, fact
from airflow_batch_provider.connections.settings import ADDITIONS, Settings


def form(row: ConnectionType) -> dict[str, Any]:
    """The row of ``connection-types``, in the shape of Airflow's provider schema."""
    standard = row.standard
    return {
        "connection-type": row.name,
        "hook-class-name": row.hook_path,
        "hook-name": row.label,
        "ui-field-behaviour": {
            "hidden-fields": [name for name in STANDARD if name not in standard],
            "relabeling": {name: each.label for name, each in standard.items()},
            "placeholders": {name: each.placeholder for name, each in standard.items() if each.placeholder},
        },
        "conn-fields": {name: _field(info, row.example_model) for name, info in ordered(row.settings)},
    }


def ordered(settings: type[Settings]) -> Iterator[tuple[str, FieldInfo]]:
    """The fields as the form shows them: those without a section first, of these the type's own; sections in one piece,
    further headers last."""

    def rank(item: tuple[str, FieldInfo]) -> int:
        name, info = item
        section = fact(info, "section")
        if section is None:
            return int(name in Settings.model_fields)
        return 3 if section == ADDITIONS else 2

    yield from sorted(settings.model_fields.items(), key=rank)


def _field(info: FieldInfo, example: str) -> dict[str, Any]:
    schema: dict[str, Any] = _schema(info.annotation)
    if fact(info, "hide") in ("text", "parts"):
        schema = {"type": ["string", "null"], "format": "password"}
    for check in info.metadata:
        bounds = {"minimum": getattr(check, "ge", None), "maximum": getattr(check, "le", None)}
        schema.update({name: bound for name, bound in bounds.items() if bound is not None})
    if info.default is True or "enum" in schema:
        schema["default"] = info.default
    if section := fact(info, "section"):
        schema["section"] = section
    description = (info.description or "").replace("MODEL", example)
    return {"label": info.title, "description": description, "schema": schema}


def _schema(annotation: Any) -> dict[str, Any]:
    """What a form lets one type; a list is one line of text."""
    kind = _bare(annotation)
    if get_origin(kind) is Literal:
        return {"type": ["string", "null"], "enum": list(get_args(kind))}
    names = {bool: "boolean", int: "integer", dict: "object"}
    return {"type": [names.get(get_origin(kind) or kind, "string"), "null"]}


def _bare(annotation: Any) -> Any:
    """A type without ``None`` and without what is checked of it."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, UnionType):
            annotation = next(each for each in get_args(annotation) if each is not type(None))
        else:
            return annotation
