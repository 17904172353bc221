"""Loading results: every row once, all or none, as often as one likes, on real databases."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import tempfile
import threading
import tracemalloc
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import ConfigurationError, RetryableError
from airflow_batch_provider.operators.errors import AirflowFailException
from airflow_batch_provider.testing.routes import ROUTES, fake_route
from airflow_batch_provider.transfers import results_to_sql, tables
from airflow_batch_provider.transfers.results_to_sql import BatchResultsToSqlOperator
from airflow_batch_provider.transfers.rows import prices_of
from tests.airflow import databases
from tests.airflow.databases import Database

SECRET = "the patient said"


def chat(custom_id: str, content: str | None, **body: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    answer = {"id": "x", "model": "tiny", "choices": [choice], "usage": usage, **body}
    return {"id": "b", "custom_id": custom_id, "response": {"status_code": 200, "body": answer}, "error": None}


def failure(custom_id: str, code: str, status: int | None = None) -> dict[str, Any]:
    response = None if status is None else {"status_code": status, "body": {"error": {"code": code, "message": SECRET}}}
    error = {"code": code, "message": SECRET} if status is None else None
    return {"id": "b", "custom_id": custom_id, "response": response, "error": error}


def run_record(key: str, rows: int) -> dict[str, Any]:
    told = {"version": 2, "run_key": key, "fingerprint": "", "input_path": "", "rows": rows, "begun_at": 0}
    return {**told, "conn_id": "", "identity": {}, "options": {}}


def write_run(
    folder: Path, lines: list[dict[str, Any]], *, parts: int = 2, key: str = "dag/task/run", **summary: Any
) -> str:
    (folder / "results").mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines[part::parts])
        (folder / "results" / f"part-r0-{part:05d}.jsonl").write_bytes(data)
    (folder / "run.json").write_text(json.dumps(run_record(key, len(lines))))
    (folder / "summary.json").write_text(json.dumps({"total": len(lines)} | summary))
    return str(folder)


def load(run_path: str, **arguments: Any) -> int:
    defaults = {"task_id": "load", "run_path": run_path, "sql_conn_id": "db", "table": "answers"}
    return BatchResultsToSqlOperator(**(defaults | arguments)).execute({})


ALL = "SELECT * FROM answers ORDER BY run_key, custom_id"


def test_every_kind_of_row(database: Database, tmp_path: Path) -> None:
    """Answers, failures and rows without any answer stand in the table with what is known of them."""
    lines = [
        chat("a", "gut \u2028 \U0001f600"),
        chat("b", None, choices=[{"message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}]),
        failure("c", "batch_expired"),
        failure("d", "bad_request", 400),
        {"id": "e", "custom_id": "e", "response": {"status_code": 200, "body": {"data": [{"embedding": [0.5, 1]}]}}},
    ]
    assert load(write_run(tmp_path / "run", lines)) == 5
    columns = "custom_id, outcome, status_code, content, finish_reason, error_code, error_message, model, prompt_tokens"
    assert database.query(f"SELECT {columns} FROM answers ORDER BY custom_id") == [
        ("a", "succeeded", 200, "gut \u2028 \U0001f600", "stop", None, None, "tiny", 5),
        ("b", "succeeded", 200, None, "stop", "refusal", "no", "tiny", 5),
        ("c", "expired", None, None, None, "batch_expired", SECRET, None, None),
        ("d", "failed", 400, None, None, "bad_request", SECRET, None, None),
        ("e", "succeeded", 200, "[0.5,1]", None, None, None, None, None),
    ]
    ((key, tokens, response),) = database.query(
        "SELECT run_key, completion_tokens, response FROM answers WHERE custom_id = 'a'"
    )
    assert (key, tokens, json.loads(response)) == ("dag/task/run", 2, lines[0]["response"]["body"])


def test_loading_again_changes_nothing(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second load of the same run leaves every value as it was, loaded_at too."""
    run = write_run(tmp_path / "run", [chat(str(i), f"answer {i}") for i in range(1200)], parts=3)
    assert load(run) == 1200
    database.query("UPDATE answers SET loaded_at = 'then'")
    before = database.query(ALL)
    assert load(run) == 1200
    assert database.query(ALL) == before
    assert len(before) == 1200


def test_changed_rows_are_updated(database: Database, tmp_path: Path) -> None:
    """After another round, rows that changed are updated and no row is added."""
    load(write_run(tmp_path / "run", [chat("a", "1"), failure("b", "batch_expired"), failure("c", "batch_expired")]))
    database.query("UPDATE answers SET loaded_at = 'then'")
    load(write_run(tmp_path / "run", [chat("a", "1"), chat("b", "2"), failure("c", "batch_cancelled")]))
    assert database.query(
        "SELECT custom_id, content, outcome, error_code, loaded_at = 'then' FROM answers ORDER BY 1"
    ) == [
        ("a", "1", "succeeded", None, True),
        ("b", "2", "succeeded", None, False),
        ("c", None, "cancelled", "batch_cancelled", False),
    ]


def test_runs_stand_side_by_side(database: Database, tmp_path: Path) -> None:
    """The same custom_id of two runs is two rows."""
    load(write_run(tmp_path / "one", [chat("a", "1")], key="one"))
    load(write_run(tmp_path / "two", [chat("a", "2")], key="two"))
    assert database.query("SELECT run_key, content FROM answers ORDER BY 1") == [("one", "1"), ("two", "2")]


@example(["\\N", "\\.", "a\tb\r\nc\\", "\r", "\0\x01\x7f\x80"], 1)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=8), parts=st.integers(1, 3))
def test_any_text_survives(database: Database, answers: list[str], parts: int) -> None:
    """Any answer and id reads back as it was; only NUL becomes U+FFFD; however results are cut into parts."""
    ids = [f"{i} '\"; -- {answer}" for i, answer in enumerate(answers)]
    lines = [chat(*pair) for pair in zip(ids, answers, strict=True)]
    database.query("DROP TABLE IF EXISTS answers")
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder), lines, parts=parts, key="'; DROP TABLE answers; --")
        assert load(run) == load(run) == len(lines)
    clean = [tuple(text.replace("\0", "\ufffd") for text in pair) for pair in zip(ids, answers, strict=True)]
    assert sorted(database.query("SELECT custom_id, content FROM answers")) == sorted(clean)


@pytest.mark.parametrize("before", [[], [chat("0", "as it was")]])
def test_a_failure_leaves_the_table_unchanged(database: Database, tmp_path: Path, before: list[Any]) -> None:
    """A line that cannot be read, after hundreds that can, loads none; not even a new table stays."""
    if before:
        load(write_run(tmp_path / "run", before))
    run = write_run(tmp_path / "run", [chat(str(i), "new") for i in range(1500)], parts=1)
    with (tmp_path / "run" / "results" / "part-r0-00000.jsonl").open("ab") as stream:
        stream.write(b'{"custom_id": "torn", "resp\n')
    with pytest.raises(AirflowFailException, match=r"part-r0-00000\.jsonl, line 1501 is not a result"):
        load(run)
    if before:
        assert database.query("SELECT custom_id, content FROM answers") == [("0", "as it was")]
    else:
        tables = "sqlite_master" if database.mark == "?" else "pg_class"
        assert database.query(
            f"SELECT count(*) FROM {tables} WHERE {'rel' * (database.mark == '%s')}name = 'answers'"
        ) == [(0,)]


def test_the_books_must_balance(database: Database, tmp_path: Path) -> None:
    """Fewer result lines than the summary says load nothing."""
    with pytest.raises(AirflowFailException, match=r"results/ has 1 row, summary.json says 2"):
        load(write_run(tmp_path / "run", [chat("a", "1")], total=2))


def test_a_schema_and_json(database: Database, tmp_path: Path) -> None:
    """A schema may be named apart or with the table; content_json holds an answer that is JSON, and no other."""
    schema = "main"
    if database.mark == "%s":
        schema = "warehouse"
        database.query("CREATE SCHEMA warehouse")
    run = write_run(tmp_path / "run", [chat("a", '{"s": 1}'), chat("b", "{oops"), failure("c", "batch_expired")])
    assert load(run, table=f"{schema}.answers", parse_json=True) == load(run, schema=schema, parse_json=True) == 3
    rows = database.query(f"SELECT custom_id, content_json FROM {schema}.answers ORDER BY 1")
    assert rows == [("a", '{"s": 1}'), ("b", None), ("c", None)]


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (None, "ConfigurationError: answers could not be loaded and is unchanged: .*answers"),
        ("CREATE TABLE answers (run_key TEXT, custom_id TEXT)", "outcome"),
    ],
)
def test_a_table_that_does_not_fit(
    database: Database, tmp_path: Path, create: str | None, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A table that is missing or has other columns fails for good and names what is wrong."""
    if create:
        database.query(create)
    with pytest.raises(AirflowFailException, match=message):
        load(write_run(tmp_path / "run", [chat("a", "1")]), create_table=False)


def test_answers_never_reach_errors_or_logs(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When the database refuses a value, neither the exception, its causes nor the log show it."""
    load(write_run(tmp_path / "run", [chat("a", "1")]))
    if database.mark == "?":
        trigger = "CREATE TRIGGER no BEFORE INSERT ON answers BEGIN SELECT RAISE(ABORT, 'refused'); END"
        database.query(trigger)
    else:
        database.query("ALTER TABLE answers ADD CONSTRAINT short CHECK (length(content) < 5)")
    with caplog.at_level(logging.DEBUG), pytest.raises(AirflowFailException) as caught:
        load(write_run(tmp_path / "run", [chat("a", SECRET), failure("b", "x")]))
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ if error.__cause__ or error.__suppress_context__ else error.__context__
    assert SECRET not in caplog.text
    assert database.query("SELECT content FROM answers") == [("1",)]


def test_parallel_loads_of_a_new_table(database: Database, tmp_path: Path) -> None:
    """Mapped tasks may load their runs into the same new table at the same time."""
    runs = [write_run(tmp_path / str(i), [chat(str(j), "x") for j in range(100)], key=str(i)) for i in range(6)]
    failures: list[BaseException] = []

    def work(run: str) -> None:
        try:
            load(run)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert database.query("SELECT count(*), count(DISTINCT run_key) FROM answers") == [(600, 6)]


def test_a_locked_database_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy SQLite file is an error that a retry helps."""
    path = tmp_path / "answers.db"
    uri = {"conn_type": "sqlite", "host": str(path), "extra": {"timeout": "0"}}
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps(uri))
    monkeypatch.setattr(
        "sqlite3.connect", lambda *a, _connect=sqlite3.connect, **k: _connect(*a, **(k | {"timeout": 0}))
    )
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RetryableError, match="database is locked"):
            load(write_run(tmp_path / "run", [chat("a", "1")]))


@pytest.mark.parametrize("name", ["a b", 'a"b', "1a", "", "a.b.c", "x" * 64, "ä"])
def test_names_are_checked(tmp_path: Path, name: str) -> None:
    """What is no plain name of a table never reaches the database."""
    with pytest.raises(AirflowFailException, match="is not a name of a table or schema"):
        load(write_run(tmp_path / "run", []), table=name)


def test_a_run_must_have_ended(tmp_path: Path) -> None:
    """A folder without a run, and a run without a summary, are refused."""
    with pytest.raises(AirflowFailException, match="There is no run in"):
        load(str(tmp_path / "nowhere"))
    run = write_run(tmp_path / "run", [])
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(AirflowFailException, match="has not ended"):
        load(run)
    # Written when a job could not be read: what has no result yet would be loaded as missing.
    run = write_run(tmp_path / "stopped", [chat("a", "1")], open=["r0-00001"])
    with pytest.raises(AirflowFailException, match=r"has not ended .* r0-00001"):
        load(run)


def test_other_databases_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection of another type is refused, with the types that are taken."""
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "file"}))
    with pytest.raises(AirflowFailException, match=r"type 'file'.*loads into sqlite and postgres"):
        load(write_run(tmp_path / "run", []))


def test_nothing_is_loaded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows travel in chunks; no statement holds more than one of them."""
    monkeypatch.setattr(tables, "_MOST_ROWS", 2)
    path = tmp_path / "answers.db"
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    sizes: list[int] = []
    upsert = tables.SqliteTable.upsert
    monkeypatch.setattr(tables.SqliteTable, "upsert", lambda self, rows: (sizes.append(rows), upsert(self, rows))[1])
    assert load(write_run(tmp_path / "run", [chat(str(i), "x") for i in range(5)])) == 5
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("size", [1, 100, 1 << 18])
def test_copy_in_pieces_of_any_size(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """However small the pieces are that COPY is fed with, every row arrives once and whole."""
    monkeypatch.setattr(tables, "_COPY_BYTES", size)
    lines = [chat(str(i), "\u00fc" * (i * 17 % 400)) for i in range(300)]
    run = write_run(tmp_path / "run", lines)
    assert load(run) == 300
    made = postgres.query("SELECT custom_id, content FROM answers ORDER BY custom_id::integer")
    assert made == [(str(i), "\u00fc" * (i * 17 % 400)) for i in range(300)]


def test_copy_holds_little(postgres: Database, tmp_path: Path) -> None:
    """Forty megabytes of answers pass through a few."""
    run = write_run(tmp_path / "run", [chat(str(i), "x" * 20_000) for i in range(2000)])
    load(write_run(tmp_path / "other", [chat("a", "x")]))
    tracemalloc.start()
    try:
        assert load(run) == 2000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000


def test_a_missing_provider_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose Airflow provider is not installed is told with the command that installs it."""
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "file"}))
    monkeypatch.setitem(results_to_sql.TABLES, "file", tables.SqliteTable)
    with pytest.raises(AirflowFailException, match="pip install apache-airflow-providers-file"):
        load(write_run(tmp_path / "run", []))


JOBS = [
    {"id": "batch_1", "shard": "r0-00000", "model": "gpt-4o-mini"},
    {"id": "batch_2", "shard": "r0-00001", "model": "in-no-list"},
]
RUN = {"conn_id": "llm", "identity": {"type": "portkey_batch", "behind": "openai"}}


def connect(monkeypatch: pytest.MonkeyPatch, **extra: Any) -> None:
    fields = {"conn_type": "openai_batch", "password": "sk-not-a-key", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_LLM", json.dumps(fields))


def test_where_rows_come_from(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row, failed ones too, names the model asked, the route and the job; its cost is that of its own tokens."""
    connect(monkeypatch)
    run = write_run(
        tmp_path / "run",
        [chat("a", "1", model="gpt-4o-mini-2024-07-18"), chat("b", "2"), failure("c", "batch_expired")],
        jobs=JOBS,
    )
    write_record(run, **RUN)
    load(run)
    columns = "custom_id, model, route, job_id, cost_usd"
    made = {row[0]: row[1:] for row in database.query(f"SELECT {columns} FROM answers")}
    assert {name: row[:3] for name, row in made.items()} == {
        "a": ("gpt-4o-mini", "portkey_batch/openai", "batch_1"),
        "b": ("in-no-list", "portkey_batch/openai", "batch_2"),
        "c": ("gpt-4o-mini", "portkey_batch/openai", "batch_1"),
    }
    # 5 input and 2 output tokens at half of 0.15 and 0.60 USD a million.
    assert float(made["a"][3]) == pytest.approx(5 * 0.075e-6 + 2 * 0.3e-6)
    assert made["b"][3] is None
    assert made["c"][3] is None


def test_costs_by_the_connections_own_prices(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Own prices win, cached tokens have their own, and all rows together cost what the run did."""
    connect(monkeypatch, prices={"*": {"input": 1, "output": 10, "cached_input": 0.5}})
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 40}}
    run = write_run(tmp_path / "run", [chat(str(i), "x", usage=usage) for i in range(7)], jobs=JOBS)
    write_record(run, **RUN)
    load(run)
    ((total,),) = database.query("SELECT sum(cost_usd) FROM answers")
    assert float(total) == pytest.approx(7 * (60 * 1 + 40 * 0.5 + 7 * 10) / 1e6)


def write_record(run: str, **fields: Any) -> None:
    path = Path(run) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("conn_id", ["nowhere", "db", None])
def test_costs_nobody_knows(
    database: Database, tmp_path: Path, conn_id: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A run whose connection is gone, or another's, is loaded all the same; its cost is NULL and never 0."""
    run = write_run(tmp_path / "run", [chat("a", "1")], jobs=JOBS)
    write_record(run, conn_id=conn_id)
    assert load(run) == 1
    assert database.query("SELECT cost_usd, route, job_id FROM answers") == [(None, None, "batch_1")]
    assert ("cost_usd is NULL" in caplog.text) == (conn_id is not None)


@pytest.mark.parametrize("name", ROUTES)
def test_prices_ask_no_provider(name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The price of a run's model is found by its connection alone."""
    with fake_route(name) as route:
        monkeypatch.setenv("AIRFLOW_CONN_LLM", route.connection_json)
        price = prices_of("llm")("in-no-list")
        assert route.fake.requests == []
    assert price is not None
    assert price.asked is None
    assert "cannot be read" not in caplog.text


@pytest.mark.parametrize("driver", databases.KINDS[1:])
@pytest.mark.parametrize("cursor", ["dictcursor", "namedtuplecursor"])
def test_a_connection_with_a_cursor_of_its_own(
    postgres_host: str, driver: str, cursor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the connection says about cursors changes nothing."""
    database = databases.postgres(postgres_host, driver, monkeypatch, cursor=cursor)
    run = write_run(tmp_path / "run", [chat("a", "1"), chat("b", "2")])
    assert load(run) == load(run) == 2
    assert database.query("SELECT content FROM answers ORDER BY 1") == [("1",), ("2",)]


FIELDS = {"sentiment": "sentiment", "score": "result.score", "second": "tags.1", "result": "result"}


def test_fields_of_an_answer(database: Database, tmp_path: Path) -> None:
    """Asked fields are columns: text as it is, everything else JSON, NULL where there is none or no JSON."""
    answers = [
        '{"sentiment": "good\\t\\\\N \\u0000", "result": {"score": 12345678901234567890123}, "tags": ["a", "b"]}',
        '{"sentiment": null, "result": {"score": 0.1, "why": ["\\u0000", "\\\\u0000"]}, "tags": {"1": true}}',
        '{"sentiment": "", "result": 1e999, "tags": [1]}',
        '{"sentiment": "\\ud83d"}',
        "[1, 2]",
        "not JSON",
        None,
    ]
    run = write_run(tmp_path / "run", [chat(str(i), answer) for i, answer in enumerate(answers)])
    assert load(run, json_fields=FIELDS) == load(run, json_fields=FIELDS) == len(answers)
    assert database.query("SELECT sentiment, score, second, result FROM answers ORDER BY custom_id") == [
        ("good\t\\N \ufffd", "12345678901234567890123", "b", '{"score": 12345678901234567890123}'),
        (None, "0.1", "true", '{"score": 0.1, "why": ["\ufffd", "\\\\u0000"]}'),
        ("", None, None, None),
        ("\ufffd", None, None, None),
        *[(None, None, None, None)] * 3,
    ]


@pytest.mark.parametrize(
    "fields", [{"a b": "x"}, {"Content": "x"}, {"a": "x", "A": "y"}, {"a": ""}, {"a": "x..y"}, {"a": 1}]
)
def test_columns_that_cannot_be(fields: dict[str, Any]) -> None:
    """A column of another's name, or a path that is none, is an error of the DAG."""
    with pytest.raises(ConfigurationError, match="json_fields: "):
        BatchResultsToSqlOperator(task_id="load", run_path="r", sql_conn_id="db", table="t", json_fields=fields)


OWN = """CREATE TABLE answers (
    number BIGSERIAL, run_key VARCHAR(200), custom_id VARCHAR(50), outcome TEXT, status_code SMALLINT, content TEXT,
    finish_reason TEXT, error_code TEXT, error_message TEXT, prompt_tokens INTEGER, completion_tokens INTEGER,
    cost_usd NUMERIC(12, 8), model TEXT, route TEXT, job_id TEXT, response JSON, loaded_at TIMESTAMPTZ,
    content_json JSONB, score DOUBLE PRECISION, UNIQUE (run_key, custom_id))"""


def test_a_table_of_the_authors_own(postgres: Database, tmp_path: Path) -> None:
    """A table with more columns and with types of its own is filled, and loading again changes nothing."""
    postgres.query(OWN)
    lines = [chat("a", '{"score": 0.25, "nul": "\\u0000"}'), chat("b", "\0no JSON"), failure("c", "batch_expired")]
    run = write_run(tmp_path / "run", lines)
    for _ in range(2):
        assert load(run, parse_json=True, json_fields={"score": "score"}, create_table=False) == 3
        rows = postgres.query("SELECT custom_id, score, content_json, loaded_at < now() FROM answers ORDER BY 2")
        assert rows[0] == ("a", 0.25, {"score": 0.25, "nul": "\ufffd"}, True)
        assert len(rows) == 3
    before = postgres.query("SELECT xmin::text, * FROM answers ORDER BY custom_id")
    load(run, parse_json=True, json_fields={"score": "score"})
    assert postgres.query("SELECT xmin::text, * FROM answers ORDER BY custom_id") == before


def test_a_value_that_a_column_refuses(postgres: Database, tmp_path: Path) -> None:
    """The error names the column, never the value."""
    postgres.query(OWN)
    run = write_run(tmp_path / "run", [chat("a", json.dumps({"score": SECRET}))])
    with pytest.raises(AirflowFailException, match=r"InvalidTextRepresentation 22P02, column 'score'$") as caught:
        load(run, json_fields={"score": "score"}, parse_json=True)
    assert SECRET not in str(caught.value)
    assert postgres.query("SELECT * FROM answers") == []


@pytest.mark.parametrize(
    ("create", "message"),
    [
        ("CREATE TABLE answers (run_key TEXT, custom_id TEXT, outcome TEXT, Content TEXT)", "lacks the columns status"),
        ("CREATE TABLE answers (run_key TEXT, custom_id TEXT)", '"answers" lacks the columns outcome TEXT NOT NULL, '),
    ],
)
def test_missing_columns_are_named(database: Database, tmp_path: Path, create: str, message: str) -> None:
    """A table with fewer columns is left as it is; the error has their names and types."""
    database.query(create)
    with pytest.raises(AirflowFailException, match=message):
        load(write_run(tmp_path / "run", [chat("a", "1")]), json_fields={"score": "score"})
    with pytest.raises(AirflowFailException, match="score TEXT; add them"):
        load(write_run(tmp_path / "run", [chat("a", "1")]), json_fields={"score": "score"})


def test_a_table_without_the_key(postgres: Database, tmp_path: Path) -> None:
    """Without a unique key nothing could be loaded twice, so it is refused the first time."""
    postgres.query(OWN.replace(", UNIQUE (run_key, custom_id)", ""))
    with pytest.raises(AirflowFailException, match="no unique or exclusion constraint matching"):
        load(write_run(tmp_path / "run", [chat("a", "1")]), parse_json=True, json_fields={"score": "score"})


def test_ids_that_become_one(database: Database, tmp_path: Path) -> None:
    """Two ids that differ by a NUL alone would be one row; nothing is lost in silence."""
    with pytest.raises(AirflowFailException, match="differs from another's only by a NUL"):
        load(write_run(tmp_path / "run", [chat("a\0", "1"), chat("a\ufffd", "2")]))
    load(write_run(tmp_path / "run", [chat("a\0", "1"), chat("b\0", "2")]))
    assert database.query("SELECT custom_id FROM answers ORDER BY 1") == [("a\ufffd",), ("b\ufffd",)]


def test_who_may_not_load(postgres: Database, postgres_host: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Missing rights are told by what they are missing on, and what docs/sql.md names is enough."""
    role = f"loader_{uuid.uuid4().hex}"
    postgres.query(f"CREATE ROLE {role} LOGIN")
    postgres.query(OWN)
    fields = json.loads(os.environ["AIRFLOW_CONN_DB"]) | {"login": role}
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps(fields))
    arguments: dict[str, Any] = {"parse_json": True, "json_fields": {"score": "score"}}
    run = write_run(tmp_path / "run", [chat("a", '{"score": 1}')])
    postgres.query(f"GRANT USAGE ON SCHEMA public TO {role}")
    with pytest.raises(AirflowFailException, match="permission denied for table answers"):
        load(run, **arguments)
    postgres.query(f"GRANT SELECT, INSERT, UPDATE ON answers TO {role}")
    postgres.query(f"GRANT USAGE ON SEQUENCE answers_number_seq TO {role}")
    assert load(run, **arguments) == load(run, **arguments) == 1
