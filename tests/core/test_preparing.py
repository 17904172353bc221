"""Rows become requests: each once, in order, unchanged, or a problem that names its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.cells import plain
from airflow_batch_provider.core.errors import ConfigurationError, InputError
from airflow_batch_provider.core.jsonl import read_lines
from airflow_batch_provider.core.preparing import RequestTemplate, prepare
from airflow_batch_provider.core.rows import Row, format_of, read_rows

CHAT = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "Sentiment of: {{ row.text }}"}]
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))  # Python 3.10's csv refuses NUL


def csv_bytes(rows: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
    return out.getvalue().encode()


def jsonl_bytes(rows: list[dict[str, object]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def run(data: bytes, source_format: str = "csv", limit: int | None = None, **template: object) -> list[dict]:
    compiled = RequestTemplate.compile(**({"messages": CHAT} | template))  # type: ignore[arg-type]
    rows = read_rows(io.BytesIO(data), "rows", source_format)  # type: ignore[arg-type]
    return [json.loads(line) for line in prepare(rows, compiled, "rows", limit)]


def problems(data: bytes, source_format: str = "csv", **template: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        run(data, source_format, **template)
    return [str(problem) for problem in caught.value.problems]


@given(st.lists(TEXT, min_size=1))
def test_every_csv_row_once_in_order(texts: list[str]) -> None:
    """Any text of a CSV stands in its own request, in the order of the rows."""
    made = run(
        csv_bytes([["id", "text"], *([str(i), text] for i, text in enumerate(texts))]), custom_id="r{{ row.id }}"
    )
    assert [line["custom_id"] for line in made] == [f"r{i}" for i in range(len(texts))]
    assert [line["body"]["messages"][1]["content"] for line in made] == [f"Sentiment of: {text}" for text in texts]


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_every_json_row_once_in_order(texts: list[str]) -> None:
    """Any text of a JSON Lines file, NUL and U+2028 among it, stands in its own request."""
    made = run(jsonl_bytes([{"text": text} for text in texts]), "jsonl", prompt="{{ row.text }}", messages=None)
    assert [line["custom_id"] for line in made] == [f"row-{number:08d}" for number in range(1, len(texts) + 1)]
    assert [line["body"]["messages"] for line in made] == [[{"role": "user", "content": text}] for text in texts]


@given(st.lists(TEXT, min_size=1))
def test_one_request_is_one_line(texts: list[str]) -> None:
    """What is written has exactly one line per row, whatever separators the text holds."""
    template = RequestTemplate.compile(prompt="{{ row.text }}")
    rows = read_rows(io.BytesIO(jsonl_bytes([{"text": text} for text in texts])), "rows", "jsonl")
    written = b"".join(line + b"\n" for line in prepare(rows, template, "rows"))
    assert len(list(read_lines(io.BytesIO(written)))) == len(texts)


def test_a_whole_request() -> None:
    """A request has id, method, url and a body of model, prompt, schema and the further fields."""
    schema = {
        "title": "Answer of a judge",
        "type": "object",
        "properties": {"s": {"type": "string"}},
        "required": ["s"],
        "additionalProperties": False,
    }
    data = csv_bytes([["id", "text"], ["7", "good"]])
    made = run(
        data,
        custom_id="r-{{ row.id }}",
        model="m",
        body={"temperature": 0, "user": "u{{ row.id }}"},
        json_schema=schema,
    )
    assert made == [
        {
            "custom_id": "r-7",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "m",
                "messages": [
                    {"role": "system", "content": "Judge."},
                    {"role": "user", "content": "Sentiment of: good"},
                ],
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "Answer_of_a_judge", "strict": True, "schema": schema},
                },
                "temperature": 0,
                "user": "u7",
            },
        }
    ]


@pytest.mark.parametrize(
    ("endpoint", "field"),
    [
        ("/v1/embeddings", "input"),
        ("/v1/moderations", "input"),
        ("/v1/responses", "input"),
        ("/v1/completions", "prompt"),
    ],
)
def test_a_prompt_goes_where_the_endpoint_has_it(endpoint: str, field: str) -> None:
    """One prompt serves every endpoint under the endpoint's own name."""
    made = run(csv_bytes([["text"], ["a"]]), prompt="<{{ row.text }}>", messages=None, endpoint=endpoint)
    assert made[0]["body"] == {field: "<a>"}
    assert made[0]["url"] == endpoint


def test_a_schema_of_responses() -> None:
    """The responses endpoint has messages as input, and the schema under text.format."""
    made = run(csv_bytes([["text"], ["a"]]), endpoint="/v1/responses", json_schema={"type": "object"})
    assert made[0]["body"]["input"][1]["content"] == "Sentiment of: a"
    assert made[0]["body"]["text"]["format"]["name"] == "answer"


def test_values_stand_as_text_or_json() -> None:
    """Text is not escaped, null is nothing, everything else is JSON and not Python."""
    row = {"a": "<b>&'\"", "b": None, "c": True, "d": {"x": [1, None]}, "e": 12345678901234567890123, "f": 1.5}
    template = "{{ row.a }}|{{ row.b }}|{{ row.c }}|{{ row.d }}|{{ row.e }}|{{ row.f }}|{{ row.a | tojson }}"
    made = run(jsonl_bytes([row]), "jsonl", messages=None, prompt=template)
    content = made[0]["body"]["messages"][0]["content"]
    assert content == '<b>&\'"||true|{"x":[1,null]}|12345678901234567890123|1.5|"<b>&\'\\""'


def test_columns_named_like_methods() -> None:
    """A column called items, keys or title is the column; a value that looks like a template stays as it is."""
    data = csv_bytes([["items", "title", "keys"], ["a", "{{ row.items }}", "{% raw %}"]])
    made = run(data, messages=None, prompt="{{ row.items }} {{ row.title }} {{ row['keys'] }}\n")
    assert made[0]["body"]["messages"][0]["content"] == "a {{ row.items }} {% raw %}\n"


def test_the_template_language() -> None:
    """Conditions, loops, filters, defaults and nested values work."""
    template = (
        "{% for k, v in row.items() %}{{ k }}={{ v }};{% endfor %}{% if row.a.b > 1 %}big{% endif %}"
        "{{ row.none | default('-') }}{{ row.t | upper }}{{ range(3) | list | length }}"
    )
    made = run(jsonl_bytes([{"t": "x", "a": {"b": 2}}]), "jsonl", messages=None, prompt=template)
    assert made[0]["body"]["messages"][0]["content"] == 't=x;a={"b":2};big-X3'


def test_a_missing_column_names_line_field_and_columns() -> None:
    """A column that is not there is told with the row's line, the template's place and what there is."""
    assert problems(csv_bytes([["id", "txt"], ["1", "a\nb"], ["2", "c"]])) == [
        "line 2, messages[1].content: column 'text' does not exist; the columns are 'id', 'txt'",
        "line 4, messages[1].content: column 'text' does not exist; the columns are 'id', 'txt'",
    ]


@pytest.mark.parametrize(
    "template", ["{{ row.items }}", "{{ row.text + 1 }}", "{{ row.text.__class__.mro() }}", "{{ 1 / 0 }}"]
)
def test_an_expression_that_fails(template: str) -> None:
    """Whatever an expression does, it ends as a problem of its row; the sandbox lets nothing out."""
    assert problems(csv_bytes([["text"], ["a"]]), messages=None, prompt=template)[0].startswith("line 2, prompt: ")


def test_ids_come_once() -> None:
    """An id that comes twice names both lines; an empty one is refused."""
    data = csv_bytes([["id", "text"], ["a", "1"], ["b", "2"], ["a", "3"], [" ", "4"]])
    assert problems(data, custom_id="{{ row.id }}") == [
        "line 4, custom_id: 'a' is already the id of line 2; ids must be unique",
        "line 5, custom_id: empty; every row needs its own id",
    ]


@pytest.mark.parametrize(
    ("data", "source_format", "message"),
    [
        (b"", "csv", "file: the file has no header; its first line must name the columns"),
        (b"text\n", "csv", "file: the input has no rows"),
        (b"", "jsonl", "file: the input has no rows"),
        (b"a,a\n1,2\n", "csv", "file: the header names columns twice: 'a'"),
        (b"id,text\n1\n", "csv", "line 2: 1 field, but the header names 2; quote fields that contain ','"),
        (b"id,text\n1,a,b\n", "csv", "line 2: 3 fields, but the header names 2; quote fields that contain ','"),
        (b'text\n"a\nb\n', "csv", "line 2: not CSV (unexpected end of data); the rest of the file was not read"),
        (b"text\n" + b"a\n" * 9000 + b"\xff\n", "csv", "line 8"),
        (b"\xff\n", "csv", "file: the header is not UTF-8 here or a few lines on (byte 0xff, invalid start byte)"),
        (b'"a', "csv", "file: the header is not CSV"),
        (gzip.compress(b"text\na\n", mtime=0)[:-8] + b"\0" * 8, "csv", "file: the gzip file is damaged or cut off"),
        (b'{"text": "a"}\n[1]\n', "jsonl", "line 2: a JSON list; every line must be an object"),
        (b'{"text": NaN}\n', "jsonl", "line 1: not JSON (NaN is not a JSON value)"),
        (b'{"text": "\xff"}\n', "jsonl", "line 1: not UTF-8: byte 0xff at byte 11 of the line"),
        (gzip.compress(b"text\na\n", mtime=0)[:-9], "csv", "file: the gzip file is damaged or cut off"),
    ],
)
def test_bad_sources(data: bytes, source_format: str, message: str) -> None:
    """What is wrong with a source is said in plain words and by line."""
    assert problems(data, source_format)[0].startswith(message)


def test_text_that_no_json_can_hold() -> None:
    """Half a surrogate pair is a problem of its row, not a crash."""
    assert problems(b'{"text": "\\ud83d"}\n', "jsonl")[0].startswith("line 1: cannot be written as JSON")


def test_kind_sources() -> None:
    """A byte order mark, CRLF, gzip, blank lines and no last end of line change nothing."""
    for data in (b"\xef\xbb\xbftext\r\n\r\na\r\n\r\nb", gzip.compress(b"text\na\n\nb\n", mtime=0)):
        assert [line["body"]["messages"][1]["content"][-1] for line in run(data)] == ["a", "b"]


def test_a_field_larger_than_pythons_limit() -> None:
    """A document of more than 128 KB in a column is taken whole."""
    document = "x" * 300_000
    assert run(csv_bytes([["text"], [document]]))[0]["body"]["messages"][1]["content"].endswith(document)


def test_a_limit_takes_the_first_rows() -> None:
    """Rows beyond the limit are not even read."""
    made = run(b'{"text": 1}\n{"text": 2}\nbroken\n', "jsonl", limit=2)
    assert [line["custom_id"] for line in made] == ["row-00000001", "row-00000002"]


STRICT = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"messages": None}, "would be empty"),
        ({"prompt": "x"}, "not both"),
        ({"messages": []}, "must be a list"),
        ({"endpoint": "/v1/embeddings"}, "messages is not supported for /v1/embeddings"),
        ({"endpoint": "/v1/images", "messages": None, "prompt": "x"}, "prompt is not supported for"),
        ({"body": {"messages": []}}, "body.messages is set"),
        ({"model": "m", "body": {"model": "n"}}, "body.model is set"),
        ({"messages": [{"role": "user", "content": "{{ row.a"}]}, r"messages\[0\].content: not a Jinja template"),
        ({"custom_id": "{{ run_id }}"}, "custom_id: run_id is unknown"),
        ({"body": {"user": {"a": ["{{ ds }}"]}}}, r"body.user.a\[0\]: ds is unknown"),
        ({"body": {"user": object()}}, "must be plain JSON"),
        ({"json_schema": STRICT}, "json_schema: a strict schema requires b;"),
        ({"json_schema": {"anyOf": [{"properties": {}}]}}, r"json_schema.anyOf\[0\]: a strict schema has"),
        (
            {"json_schema": {}, "endpoint": "/v1/embeddings", "messages": None, "prompt": "x"},
            "json_schema is not supported for",
        ),
    ],
)
def test_arguments_that_cannot_work(arguments: dict, message: str) -> None:
    """What cannot work for any row is refused before the first."""
    with pytest.raises(ConfigurationError, match=message):
        RequestTemplate.compile(**({"messages": CHAT} | arguments))


def test_a_lax_schema() -> None:
    """strict=False takes any schema, and is an error without one."""
    with pytest.raises(ConfigurationError, match="strict=False is of a json_schema, and none is passed"):
        run(csv_bytes([["text"], ["a"]]), strict=False)
    made = run(csv_bytes([["text"], ["a"]]), json_schema=STRICT, strict=False)
    assert made[0]["body"]["response_format"]["json_schema"]["strict"] is False


def test_formats_by_name() -> None:
    """The name tells the format, gzipped or not; a name that does not is refused with the remedy."""
    assert format_of("s3://b/A.CSV.gz") == ("csv", ",")
    assert format_of("a.tsv") == ("csv", "\t")
    assert format_of("a.jsonl.gz") == format_of("a.ndjson") == ("jsonl", "")
    with pytest.raises(ConfigurationError, match="source_format"):
        format_of("a.txt")


SECRET = "the patient said"


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ({"prompt": "{{ row.txt }}"}, "line 1, prompt: column 'txt' does not exist; the columns are 'text'"),
        ({"prompt": "{{ row[row.text] }}"}, "line 1, prompt: it uses a value that does not exist"),
        ({"prompt": "{{ {}[row.text] }}"}, "line 1, prompt: it uses a value that does not exist"),
        ({"prompt": "{{ row.text | round }}"}, "line 1, prompt: TypeError"),
        ({"custom_id": "{{ row.text }}"}, "line 2, custom_id: it is already the id of line 1; ids must be unique"),
    ],
)
def test_problems_that_quote_no_row(template: dict[str, str], told: str) -> None:
    """Where rows are not to be quoted, a problem says what is wrong in the author's own words alone."""
    rows = enumerate([Row(text=SECRET)] * 2, start=1)
    compiled = RequestTemplate.compile(**({"prompt": "x"} | template))  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        list(prepare(rows, compiled, "rows", show_values=False))
    assert str(caught.value.problems[0]) == told
    assert SECRET not in str(caught.value)


class Lob:
    def read(self) -> str:
        return "a long text"


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        (True, "true"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("1E+3"), "1000"),
        (datetime(2026, 1, 31, 12, 30, tzinfo=timezone.utc), "2026-01-31T12:30:00+00:00"),
        (date(2026, 1, 31), "2026-01-31"),
        (time(12, 30), "12:30:00"),
        (timedelta(hours=26), "1 day, 2:00:00"),
        ([date(2026, 1, 31), Decimal("1.50"), None], '["2026-01-31",1.50,null]'),
        ({"a": {"b": Decimal("NaN")}}, '{"a":{"b":null}}'),
        ((1, "x"), '[1,"x"]'),
        (frozenset({1}), "[1]"),
        (bytearray(b"\x00\xff"), "AP8="),
        (memoryview(b"\x00\xff"), "AP8="),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Lob(), "a long text"),
    ],
)
def test_cells_of_a_database(cell: object, text: str) -> None:
    """Whatever a driver hands out stands in a prompt as text that means the same."""
    compiled = RequestTemplate.compile(prompt="{{ row.cell }}")
    (line,) = prepare([(1, Row(cell=plain(cell)))], compiled, "rows")
    assert json.loads(line)["body"]["messages"][0]["content"] == text


def test_a_cell_without_a_text() -> None:
    """A value that could only be written as its address in memory is refused rather than paid for."""
    with pytest.raises(TypeError, match="a object has no text; cast the column to text"):
        plain(object())
