"""Preparing from a database: a SELECT becomes requests as a file's rows do, streamed, and no row is ever quoted."""

from __future__ import annotations

import json
import logging
import tracemalloc
import uuid
from pathlib import Path
from typing import Any

import pytest

from airflow_batch_provider.core.errors import ConfigurationError, RetryableError
from airflow_batch_provider.operators import sql as sql_reading
from airflow_batch_provider.operators.errors import AirflowFailException
from airflow_batch_provider.operators.prepare import BatchInferencePrepareOperator
from tests.airflow import databases
from tests.airflow.databases import Database
from tests.airflow.world import TaskInstance

SECRET = "the patient said"


@pytest.fixture
def lite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """SQLite alone."""
    return databases.sqlite(tmp_path / "reviews.db", monkeypatch)


def operator(path: Path, sql: str, **arguments: Any) -> BatchInferencePrepareOperator:
    defaults = {"task_id": "prepare", "custom_id": "r-{{ row.id }}", "prompt": "Sentiment of: {{ row.text }}"}
    defaults |= {"sql_conn_id": "db", "output_path": str(path / "requests.jsonl"), "allow_local_path": True}
    return BatchInferencePrepareOperator(sql=sql, **(defaults | arguments))


def prepared(path: Path, sql: str, **arguments: Any) -> list[tuple[str, str]]:
    """Ids and prompts, in order."""
    task, instance = operator(path, sql, **arguments), TaskInstance()
    assert task.execute({"ti": instance}) == task.output_path  # type: ignore[arg-type,typeddict-item]
    lines = [json.loads(line) for line in Path(task.output_path).read_bytes().split(b"\n") if line]
    assert instance.pushed == {"rows": len(lines)}
    return [(line["custom_id"], line["body"]["messages"][0]["content"]) for line in lines]


def failure(path: Path, sql: str, **arguments: Any) -> str:
    with pytest.raises(AirflowFailException) as caught:
        prepared(path, sql, **arguments)
    assert not (path / "requests.jsonl").exists()
    return str(caught.value)


def test_every_row_once_in_order(database: Database, tmp_path: Path) -> None:
    """More rows than are fetched at once become requests, each once, in the order of the SELECT."""
    database.query("CREATE TABLE reviews (id INTEGER, text TEXT)")
    texts = [f"{number} '\"\\ \u2028 \U0001f600\n% {{{{ row.id }}}}" for number in range(2500)]
    database.many("INSERT INTO reviews VALUES (?, ?)", list(enumerate(texts)))
    made = prepared(tmp_path, "SELECT id, text FROM reviews ORDER BY id DESC;\n-- all of them: 100 %\n")
    assert made == [(f"r-{number}", f"Sentiment of: {texts[number]}") for number in range(2499, -1, -1)]


def test_the_default_id_is_the_rows_number(database: Database, tmp_path: Path) -> None:
    """Rows are numbered through, however many are fetched at once."""
    numbers = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 2100) SELECT id FROM n"
    made = prepared(tmp_path, numbers, custom_id=None, prompt="{{ row.id }}")
    assert made == [(f"row-{number:08d}", str(number)) for number in range(1, 2101)]


def test_parameters_and_limit(database: Database, tmp_path: Path) -> None:
    """Placeholders are the driver's own, and a limit takes the first rows."""
    database.query("CREATE TABLE reviews (id INTEGER, text TEXT)")
    database.many("INSERT INTO reviews VALUES (?, ?)", [(number, str(number)) for number in range(20)])
    sql = "SELECT * FROM reviews WHERE id >= ? AND text <> ? ORDER BY id".replace("?", database.mark)
    assert [made[0] for made in prepared(tmp_path, sql, parameters=[10, "12"], limit=3)] == ["r-10", "r-11", "r-13"]
    named = "SELECT * FROM reviews WHERE id = " + ("%(wanted)s" if database.is_postgres else ":wanted")
    assert prepared(tmp_path, named, parameters={"wanted": 7}) == [("r-7", "Sentiment of: 7")]


def test_null_is_nothing(database: Database, tmp_path: Path) -> None:
    """NULL stands in a prompt as an empty field of a CSV does, and a template can ask for it."""
    sql = "SELECT 1 AS id, NULL AS text, 'x' AS other"
    prompt = "<{{ row.text }}>{% if row.text is none %}none{% endif %}"
    assert prepared(tmp_path, sql, prompt=prompt) == [("r-1", "<>none")]


@pytest.mark.parametrize("driver", databases.KINDS[1:])
def test_types_of_postgres(postgres_host: str, driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell stands as text that means the same: JSON as JSON, dates as ISO, numbers exactly."""
    databases.postgres(postgres_host, driver, monkeypatch, options="-c timezone=UTC")
    cells = {
        '{"a": [1, null, "\u00fc"]}': """'{"a": [1, null, "\u00fc"]}'::jsonb""",
        '{"b": true}': """'{"b": true}'::json""",
        "2026-01-31": "'2026-01-31'::date",
        "2026-01-31T12:30:00": "'2026-01-31 12:30'::timestamp",
        "2026-01-31T12:30:00+00:00": "'2026-01-31 12:30Z'::timestamptz",
        "12:30:00": "'12:30'::time",
        "0.0000001": "0.0000001::numeric",
        "12345678901234567890123.50": "12345678901234567890123.50::numeric",
        "9223372036854775807": "9223372036854775807::bigint",
        "0.25": "0.25::float8",
        "true": "true",
        '["a","b"]': "ARRAY['a', 'b']",
        str(uuid.UUID(int=5)): f"'{uuid.UUID(int=5)}'::uuid",
        "1 day, 2:00:00": "'26 hours'::interval",
        "AP8=": r"'\x00ff'::bytea",
    }
    columns = ", ".join(f"{sql} AS c{index}" for index, sql in enumerate(cells.values()))
    prompt = "\n".join(f"{{{{ row.c{index} }}}}" for index in range(len(cells)))
    ((_, made),) = prepared(tmp_path, f"SELECT 1 AS id, {columns}", prompt=prompt)
    assert [_compact(text) for text in made.split("\n")] == [_compact(text) for text in cells]


def _compact(text: str) -> str:
    return json.dumps(json.loads(text)) if text[0] in "{[" else text


def test_cells_of_json_are_values(postgres: Database, tmp_path: Path) -> None:
    """A template reaches into a JSON cell, calculates with a number, and writes either as JSON."""
    sql = """SELECT 1 AS id, '{"who": {"name": "Ann"}}'::jsonb AS doc, 2.50::numeric AS price"""
    prompt = "{{ row.doc.who.name }} {{ row.price > 2 }} {{ row.price | tojson }} {{ [row.price] }}"
    assert prepared(tmp_path, sql, prompt=prompt)[0][1] == "Ann true 2.50 [2.50]"


def test_bytes_and_text_of_sqlite(lite: Database, tmp_path: Path) -> None:
    """A BLOB is base64, so that an image in a table can be asked about."""
    prompt = "data:image/png;base64,{{ row.image }}"
    assert prepared(tmp_path, "SELECT 1 AS id, x'00ff' AS image", prompt=prompt)[0][1].endswith(",AP8=")


@pytest.mark.parametrize("cursor", ["dictcursor", "namedtuplecursor"])
def test_a_connection_with_a_cursor_of_its_own(
    postgres_host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cursor: str
) -> None:
    """What the connection says about cursors changes nothing."""
    for driver in databases.KINDS[1:]:
        databases.postgres(postgres_host, driver, monkeypatch, cursor=cursor)
        assert prepared(tmp_path, "SELECT 1 AS id, 'a' AS text") == [("r-1", "Sentiment of: a")]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT 1 AS id, 'a' AS text, 'b' AS text", "names a column twice: 'text'; write SELECT ... AS another_name"),
        ("SELECT 1 AS id, '' AS \"\"", "column 2 has no name; write SELECT ... AS name"),
        ("SELECT 1 AS id, 'a' AS txt", "line 1, prompt: column 'text' does not exist; the columns are 'id', 'txt'"),
        ("SELECT 1 AS id, 'a' AS text WHERE 1 = 0", "the input has no rows"),
        ("SELECT 1 AS id FROM nowhere", "nowhere"),
        ("SELECT oops FROM (SELECT 1 AS id) AS rows", "oops"),
        ("SELEC 1", "SELEC"),
        ("CREATE TABLE made (id INTEGER)", "The SELECT on 'db' "),
    ],
)
def test_a_select_that_cannot_serve(database: Database, tmp_path: Path, sql: str, message: str) -> None:
    """What is wrong with a query fails for good, says so in plain words, and writes nothing."""
    if database.is_postgres and '""' in sql:
        sql = "SELECT 1 AS id, 1 + 1"  # PostgreSQL knows no empty name, and calls this one ?column?
    assert message in failure(tmp_path, sql)


def test_rows_never_reach_errors_or_logs(database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a template, nor an id that comes twice, nor the database's own message shows a value of a row."""
    database.query("CREATE TABLE notes (id TEXT, text TEXT)")
    database.many("INSERT INTO notes VALUES (?, ?)", [(SECRET, SECRET)] * 2)
    select = "SELECT id, text FROM notes"
    with caplog.at_level(logging.DEBUG):
        told = [
            failure(tmp_path, select),
            failure(tmp_path, select, prompt="{{ row[row.text] }}"),
            failure(tmp_path, select, prompt="{{ {}[row.text] }}"),
            failure(tmp_path, select, prompt="{{ '%d' % row.text }}"),
            failure(tmp_path, select, prompt="{{ range(1)[row.text] }}"),
        ]
        if database.is_postgres:
            told.append(failure(tmp_path, "SELECT id, text::integer AS text FROM notes"))
            assert "InvalidTextRepresentation 22P02" in told[-1]
    assert "line 2, custom_id: it is already the id of line 1" in told[0]
    assert SECRET not in "".join(told) + caplog.text


def test_a_failure_after_thousands_of_rows(postgres: Database, tmp_path: Path) -> None:
    """A query that fails while it is read leaves no file, and says what kind of failure it was."""
    told = failure(tmp_path, "SELECT id, 'x' || (10 / (5000 - id)) AS text FROM generate_series(1, 6000) AS id")
    assert "DivisionByZero 22012" in told


def test_a_lost_connection_is_tried_again(postgres: Database, tmp_path: Path) -> None:
    """A database that goes away is an error that a retry helps."""
    with pytest.raises(RetryableError, match=r"The SELECT on 'db' could not be read: (AdminShutdown|OperationalError)"):
        prepared(
            tmp_path, "SELECT id, pg_terminate_backend(pg_backend_pid())::text AS text FROM generate_series(1, 2) AS id"
        )


def test_nothing_is_fetched_whole(postgres: Database, tmp_path: Path) -> None:
    """Forty megabytes of rows pass through a few."""
    sql = "SELECT id, repeat('x', 20000) AS text FROM generate_series(1, 2000) AS id"
    prepared(tmp_path, "SELECT 1 AS id, 'a' AS text")
    tracemalloc.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sql_reading, "_ROWS_AT_ONCE", 100)
            operator(tmp_path, sql).execute({"ti": TaskInstance()})  # type: ignore[arg-type,typeddict-item]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "requests.jsonl").stat().st_size > 40_000_000
    assert peak < 16_000_000


def test_the_cursor_is_the_servers(postgres: Database, tmp_path: Path) -> None:
    """PostgreSQL computes only what is fetched: a limit ends a query that would never end."""
    endless = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, 'a' AS text FROM n"
    assert len(prepared(tmp_path, endless, limit=5)) == 5


def test_airflow_renders_the_query(lite: Database, tmp_path: Path) -> None:
    """sql, its connection and its parameters are rendered by Airflow; a .sql file may hold the query."""
    task = operator(
        tmp_path, "SELECT 1 AS id, '{{ ds }}' || ? AS text", parameters=["{{ run_id }}"], sql_conn_id="{{ params.db }}"
    )
    task.render_template_fields({"ds": "2026-01-31", "run_id": "r", "params": {"db": "db"}})  # type: ignore[arg-type]
    task.execute({"ti": TaskInstance()})  # type: ignore[arg-type,typeddict-item]
    assert "Sentiment of: 2026-01-31r" in Path(task.output_path).read_text()
    assert task.template_ext == (".sql",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "a.csv"}, "Give either source or sql"),
        ({"sql": None}, "Give either source or sql"),
        ({"sql_conn_id": None}, "sql_conn_id is missing"),
        ({"sql": None, "source": "a.csv"}, "sql_conn_id and parameters go with sql"),
        ({"sql": None, "source": "a.csv", "sql_conn_id": None, "parameters": [1]}, "go with sql"),
        ({"delimiter": ";"}, "source_format and delimiter go with source"),
    ],
)
def test_one_origin(arguments: dict[str, Any], message: str) -> None:
    """A file or a query, each with its own arguments, or the DAG cannot be imported."""
    defaults = {"task_id": "prepare", "prompt": "x", "sql": "SELECT 1", "sql_conn_id": "db", "output_path": "r.jsonl"}
    with pytest.raises(ConfigurationError, match=message):
        BatchInferencePrepareOperator(**(defaults | arguments))


def test_a_connection_that_is_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection of another kind, or of one that nothing serves, is refused with the remedy."""
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "local_batch", "host": "http://127.0.0.1:9"}))
    assert "is of type 'local_batch', which is not a database" in failure(tmp_path, "SELECT 1")
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "mysql"}))
    assert "pip install apache-airflow-providers-mysql" in failure(tmp_path, "SELECT 1")
