"""JSON schemas in the one form that Gemini batches can carry."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from tests.dialects.vertex_tools import line_format, request_of, row

HI = [{"role": "user", "content": "Hi"}]
TEXT = {"type": "string"}


def schema_body(schema: Any) -> JSON:
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    return {"messages": HI, "response_format": form}


def written(schema: JSON) -> Any:
    """The schema as it is sent, which Google's types and importer take."""
    before = copy.deepcopy(schema)
    config = request_of(schema_body(schema))["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert schema == before
    return config.get("responseJsonSchema")


def refusal(body: JSON) -> UntranslatableError:
    with pytest.raises(UntranslatableError) as caught:
        line_format().encode(row(body), 0)
    return caught.value


def test_references_are_inlined() -> None:
    """$defs and $ref, which are no column names, become the schemas they stand for; $schema and $id go."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "x",
        "$defs": {"City": {"type": "object", "properties": {"name": TEXT}}, "a/b": TEXT},
        "type": "object",
        "properties": {
            "home": {"$ref": "#/$defs/City"},
            "work": {"$ref": "#/$defs/City", "description": "where to"},
            "odd": {"$ref": "#/$defs/a~1b"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/City"}},
        },
    }
    city = {"type": "object", "properties": {"name": TEXT}}
    assert written(schema) == {
        "type": "object",
        "properties": {
            "home": city,
            "work": {**city, "description": "where to"},
            "odd": TEXT,
            "list": {"type": "array", "items": city},
        },
    }


@pytest.mark.parametrize(
    "schema",
    [
        {
            "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
            "$ref": "#/$defs/Node",
        },
        {"type": "object", "properties": {"child": {"$ref": "#"}}},
        {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"},
    ],
)
def test_recursion(schema: JSON) -> None:
    """A schema that contains itself is refused by name."""
    error = refusal(schema_body(schema))
    assert error.field.startswith("body.response_format.json_schema.schema")
    assert "contains itself" in error.message


def test_too_large() -> None:
    """References that multiply are refused before they fill the memory."""
    defs: JSON = {"D0": TEXT}
    for number in range(1, 25):
        ref = {"$ref": f"#/$defs/D{number - 1}"}
        defs[f"D{number}"] = {"anyOf": [ref, {**ref, "title": "x"}]}
    assert "too large" in refusal(schema_body({"$defs": defs, "$ref": "#/$defs/D24"})).message


@pytest.mark.parametrize("ref", ["#/$defs/None", "https://x/y", "other.json#/a"])
def test_reference_to_nowhere(ref: str) -> None:
    """A reference that leads nowhere is refused where it stands."""
    error = refusal(schema_body({"type": "object", "properties": {"a": {"$ref": ref}}}))
    assert error.field == "body.response_format.json_schema.schema.properties.a.$ref"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": ["string", "null"]}, {"anyOf": [TEXT, {"type": "null"}]}),
        (
            {"type": ["string", "null"], "description": "d", "minLength": 1},
            {"description": "d", "anyOf": [{"minLength": 1, "type": "string"}, {"type": "null"}]},
        ),
        ({"type": ["string", "integer"]}, {"anyOf": [TEXT, {"type": "integer"}]}),
        ({"type": ["string"]}, TEXT),
        ({"type": ["string", "null"], "enum": ["a", None]}, {"anyOf": [{**TEXT, "enum": ["a"]}, {"type": "null"}]}),
        ({"enum": ["a", None]}, {"anyOf": [{"enum": ["a"]}, {"type": "null"}]}),
        ({"type": ["string", "null"], "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"type": "string", "enum": ["a", None]}, {"type": "string", "enum": ["a"]}),
        ({"enum": [None]}, {"type": "null"}),
        ({"const": "a"}, {"enum": ["a"]}),
        ({"const": None}, {"type": "null"}),
        ({"anyOf": [TEXT, {"type": "null"}]}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 1.0}),
        ({"enum": [1, 0.5]}, {"enum": [1.0, 0.5]}),
        ({"type": "array", "items": [TEXT, {}]}, {"type": "array", "prefixItems": [TEXT, {"title": "any"}]}),
        ({"type": "array", "items": {}}, {"type": "array"}),
        ({"additionalProperties": False, "properties": {}}, {"additionalProperties": False}),
        ({"type": "object", "additionalProperties": True}, {"type": "object"}),
        ({"type": "object", "additionalProperties": TEXT}, {"type": "object", "additionalProperties": TEXT}),
        ({"properties": {"a": {}, "b": True}}, {"properties": {"a": {"title": "any"}, "b": {"title": "any"}}}),
        ({"type": "string", "default": "x", "examples": [1], "title": None, "required": []}, TEXT),
        ({}, None),
    ],
)  # fmt: skip
def test_keywords(given: JSON, expected: Any) -> None:
    """Each keyword is written in one form, without nulls and empty objects, and means the same."""
    assert written(given) == expected
