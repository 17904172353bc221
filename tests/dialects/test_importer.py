"""Files for Gemini batches: no line that the importer refuses, and no two lines in one file that contradict."""

from __future__ import annotations

import contextlib
import copy
from collections import defaultdict
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.columns import NotImportableError, columns, pruned
from airflow_batch_provider.dialects.gemini_format import MOST_VARIANTS
from tests.dialects import laws
from tests.dialects.vertex_tools import (
    GEMINI_2,
    GEMINI_3,
    ImportRefusedError,
    check_import,
    check_types,
    line_format,
    row,
    wire,
)

HI = [{"role": "user", "content": "Hi"}]
BROAD = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def schema_body(schema: Any) -> JSON:
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    return {"messages": HI, "response_format": form}


def tool_body(parameters: JSON) -> JSON:
    return {"messages": HI, "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]}


def history_body(arguments: JSON, result: str = "x") -> JSON:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": orjson.dumps(arguments).decode()}}
    return {
        "messages": [
            *HI,
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": result},
        ]
    }


def refusal(body: JSON) -> UntranslatableError:
    with pytest.raises(UntranslatableError) as caught:
        line_format().encode(row(body), 0)
    return caught.value


def variants(*bodies: JSON, model: str = GEMINI_2) -> list[int]:
    one = line_format(model)
    return [one.variant(row(body, str(number), model)) for number, body in enumerate(bodies)]


TEXT = {"type": "string"}

# ---- single lines ----------------------------------------------------------------------------------------------------


def nested(levels: int) -> JSON:
    schema: JSON = TEXT
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def test_depth() -> None:
    """15 levels are taken, one more is refused with its path."""
    wire(schema_body(nested(5)))
    error = refusal(schema_body(nested(6)))
    assert error.field.startswith("body.response_format.json_schema.schema.properties.a.properties.a")
    assert "15" in error.message


@pytest.mark.parametrize("name", ["first name", "$x", "1st", "a-b", "a.b", "", "naïve"])
def test_property_names(name: str) -> None:
    """A property whose name is no column's is an error of the row that names the path, in schemas and in tools."""
    schema = {"type": "object", "properties": {name: TEXT}}
    error = refusal(schema_body(schema))
    assert error.field == f"body.response_format.json_schema.schema.properties.{name}"
    assert "rename" in error.message
    assert refusal(tool_body(schema)).field == f"body.tools[0].function.parameters.properties.{name}"
    assert refusal(history_body({name: "x"})).field == "body.messages"
    assert f"functionCall.args.{name}:" in refusal(history_body({name: "x"})).message


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"a": [[1]]}, "args.a[0]"),
        ({"a": [None]}, "args.a[0]"),
        ({"a": [1, "x"]}, "args.a[1]"),
        ({"a": [{"b": 1}, {"b": "x"}]}, "args.a[1].b"),
        ({"a": 1, "A": 2}, "args.A"),
        ({"a": [{}]}, "args.a[0]"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": {"k": 1}}}}}}}}}}}, "args.a.b.c.d.e.f.g.h.i.j"),
    ],
)
def test_arguments(arguments: JSON, path: str) -> None:
    """Arguments of earlier calls that the importer cannot read are errors with the path on the wire line."""
    error = refusal(history_body(arguments))
    assert error.field == "body.messages"
    assert f"functionCall.{path}:" in error.message


def test_two_tools_that_contradict() -> None:
    """Parameters of one name whose schemas differ in type cannot be in one line."""
    tools = [tool_body({"type": "object", "properties": {"x": {"enum": enum}}})["tools"][0] for enum in (["a"], [1])]
    tools[1]["function"]["name"] = "other"
    assert refusal({"messages": HI, "tools": tools}).field.startswith("body.tools[1].function.parameters.properties.x")


@pytest.mark.parametrize("depth", [20, 300, 900])
def test_whatever_the_depth(depth: int) -> None:
    """However deep arguments and schemas are, the answer is an error of the row."""
    text = '{"a":' * depth + "1" + "}" * depth
    body = history_body({})
    body["messages"][1]["tool_calls"][0]["function"]["arguments"] = text
    assert refusal(body).field == "body.messages"
    deep: JSON = orjson.loads('{"properties":{"a":' * (depth // 2) + "{}" + "}}" * (depth // 2))
    assert refusal(schema_body(deep)).field.startswith("body.response_format")
    assert refusal(tool_body(deep)).field.startswith("body.tools")


def test_integers_beside_floats() -> None:
    """Integers in a column of floats are written as floats, wherever they stand; the author's body stays."""
    body = history_body({"a": [{"x": 1}, {"x": 0.5}], "b": [1, 2.5], "c": 3})
    before = copy.deepcopy(body)
    call = wire(body)["request"]["contents"][1]["parts"][0]["functionCall"]
    assert orjson.dumps(call["args"]) == b'{"a":[{"x":1.0},{"x":0.5}],"b":[1.0,2.5],"c":3}'
    assert body == before


# ---- files -----------------------------------------------------------------------------------------------------------


def test_plain_text_is_one_file() -> None:
    """Lines of plain text, whatever their options, are of one variant."""
    assert variants(
        {"messages": HI},
        {"messages": HI, "temperature": 1, "max_tokens": 3, "stop": "x"},
        {"messages": HI, "temperature": 0.5, "reasoning_effort": "low", "response_format": {"type": "json_object"}},
    ) == [0, 0, 0]


def test_schemas_are_kept_apart() -> None:
    """Different response schemas are never in one file; the same is, however it is written."""
    one = {"type": "object", "properties": {"a": TEXT, "b": TEXT}}
    same = {"properties": {"b": TEXT, "a": TEXT}, "type": "object", "$schema": "x"}
    other = {"type": "object", "properties": {"a": TEXT}}
    found = variants(schema_body(one), schema_body(other), {"messages": HI}, schema_body(same), schema_body(other))
    assert found[0] == found[3] != found[1] == found[4]
    assert found[2] == 0
    assert 0 not in (found[0], found[1])


def test_lines_that_contradict_are_kept_apart() -> None:
    """A line goes into the first file whose columns it does not contradict."""
    found = variants(
        history_body({"x": 1}),
        history_body({"x": "a"}),
        history_body({"y": "a"}),
        history_body({"y": 1}),
        history_body({"x": ["a"]}),
        history_body({"x": [1]}),
        history_body({"x": 0.5}),
        history_body({"X": 1}),
        history_body({"x": 2, "y": "b"}),
    )
    assert found[0] == found[2] == found[8] == 0
    assert found[1] == found[3] == 1
    assert len({found[0], found[1], found[4], found[5], found[6]}) == 5
    assert found[7] not in (found[0], found[6])


def test_results_of_many_shapes_share_a_file() -> None:
    """Results that are texts never contradict."""
    bodies = [history_body({"x": 1}, text) for text in ("a", "1", "[1]", "null", '{"a": null}')]
    assert variants(*bodies) == [0] * 5


def test_most_variants() -> None:
    """More kinds of lines than anyone would want jobs for are refused, saying why."""
    one = line_format()
    bodies = [schema_body({"type": "object", "properties": {f"p{number}": TEXT}}) for number in range(MOST_VARIANTS)]
    for body in bodies[:-1]:
        one.variant(row(body))
    with pytest.raises(UntranslatableError, match="another response schema"):
        one.variant(row(bodies[-1]))
    one = line_format()
    assert one.variant(row(history_body({"x0": "a"}))) == 0
    for number in range(MOST_VARIANTS - 1):
        clash = {f"x{place}": "a" if place == number + 1 else 1 for place in range(number + 2)}
        assert one.variant(row(history_body(clash))) == number + 1
    with pytest.raises(UntranslatableError, match=r"args\.x0 is 'x0 boolean' here, 'x0 string' before"):
        one.variant(row(history_body({f"x{place}": True for place in range(MOST_VARIANTS)})))


def test_columns_of_a_file_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file takes no more columns than the table may have; the next file takes the line."""
    monkeypatch.setattr("airflow_batch_provider.dialects.gemini_format.MAX_COLUMNS", 30)
    found = variants(*(history_body({f"p{number}": "x"}) for number in range(40)))
    assert found == sorted(found)
    assert 1 < found[-1] < 10


def test_both_passes_agree() -> None:
    """Checking asks encode then variant, writing variant then encode: the same files and the same lines."""
    bodies = [history_body({"x": value}) for value in (1, "a", 0.5, [1], 2)] + [
        schema_body(nested(2)),
        {"messages": HI},
    ]
    requests = [row(body) for body in bodies]
    one, two = line_format(), line_format()
    first = [(one.encode(it, 0), one.variant(it)) for it in requests]
    second = [(two.variant(it), two.encode(it, 0)) for it in requests]
    assert first == [(line, variant) for variant, line in second]
    assert len(one.encode(requests[0], 0)) == len(one.encode(requests[0], 123_456_789))


SCALARS = st.text(max_size=4) | st.integers(-9, 9) | st.floats(-9, 9) | st.booleans() | st.none()
LABELS = st.sampled_from(["a", "b", "A", "c d", "e1"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LABELS, inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(["string", "integer", "null", "object", ["string", "null"], ["integer", "string"]])
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": KINDS,
            "enum": st.lists(st.sampled_from(["a", "b", 1, 0.5, None]), max_size=3),
            "minimum": st.sampled_from([1, 0.5]),
            "default": VALUES,
            "const": SCALARS,
            "$ref": st.sampled_from(["#", "#/$defs/a", "#/properties/b"]),
        },
    )
    | st.booleans(),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": KINDS,
            "properties": st.dictionaries(LABELS, inner, max_size=3),
            "items": inner | st.lists(inner, max_size=2),
            "anyOf": st.lists(inner, max_size=3),
            "additionalProperties": inner,
            "$defs": st.dictionaries(LABELS, inner, max_size=2),
            "required": st.lists(LABELS, max_size=2),
        },
    ),
    max_leaves=8,
)


@st.composite
def any_body(draw: st.DrawFn) -> JSON:
    """Bodies that are good but for what the author shapes himself."""
    body = draw(laws.chat_bodies())
    kind = draw(st.sampled_from(["as it is", "schema", "tool", "history"]))
    if kind == "schema":
        return {**body, **schema_body(draw(SCHEMAS)), "messages": body["messages"]}
    if kind == "tool":
        return {**body, "tools": tool_body(draw(SCHEMAS))["tools"], "tool_choice": "auto"}
    if kind == "history":
        arguments = draw(st.dictionaries(LABELS, VALUES, max_size=3))
        return history_body(arguments, orjson.dumps(draw(VALUES)).decode())
    return body


@settings(BROAD, max_examples=120)
@given(st.lists(any_body(), min_size=1, max_size=6), st.sampled_from([GEMINI_2, GEMINI_3]))
def test_files_never_break(bodies: list[JSON], model: str) -> None:
    """Lines sorted by variant make files that the importer takes, and what it would not take was refused before."""
    one = line_format(model)
    files: dict[int, list[JSON]] = defaultdict(list)
    for number, body in enumerate(bodies):
        before = copy.deepcopy(body)
        request = row(body, f"row {number}", model)
        with contextlib.suppress(UntranslatableError):
            line = orjson.loads(one.encode(request, number))
            check_types(line)
            files[one.variant(request)].append(line)
        assert body == before
    for lines in files.values():
        check_import(lines)
        schemas = [
            orjson.dumps(line["request"].get("generationConfig", {}).get("responseJsonSchema")) for line in lines
        ]
        assert len({orjson.dumps(orjson.loads(schema), option=orjson.OPT_SORT_KEYS) for schema in schemas}) == 1


@BROAD
@given(st.dictionaries(LABELS, VALUES, max_size=4))
def test_rules_agree(value: JSON) -> None:
    """columns() takes exactly what the test's own importer takes, integers beside floats apart."""
    mine = copy.deepcopy(value)
    try:
        columns(mine)
    except NotImportableError:
        with pytest.raises(ImportRefusedError):
            check_import([value])
    else:
        check_import([mine])
        assert mine == value


@BROAD
@given(VALUES)
def test_pruning(value: Any) -> None:
    """What was pruned has nothing left to prune, and is the value itself where there was nothing."""
    before = copy.deepcopy(value)
    found = pruned(value)
    assert value == before
    assert pruned(found) == found
    assert found == value or "null" in orjson.dumps(value).decode() or "{}" in orjson.dumps(value).decode()


def test_nothing_is_left_of_nothing() -> None:
    """Nulls and empty objects vanish with what holds nothing else."""
    assert pruned({"a": None, "b": {"c": {"d": None}}}) is None
    assert pruned({"a": 0, "b": [], "c": "", "d": False, "e": [None, {}]}) == {
        "a": 0,
        "b": [],
        "c": "",
        "d": False,
        "e": [None, {}],
    }
