"""The prepare operator: from a file on any store to a request file, whole or not at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.operators.errors import AirflowFailException
from airflow_batch_provider.operators.prepare import BatchInferencePrepareOperator

ROWS = "id,text\n1,good\n2,bad\n3,so so\n"


class FakeTI:
    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def operator(**arguments: Any) -> BatchInferencePrepareOperator:
    defaults = {"task_id": "prepare", "prompt": "Sentiment of: {{ row.text }}", "custom_id": "r-{{ row.id }}"}
    return BatchInferencePrepareOperator(**(defaults | {"allow_local_path": True} | arguments))


def execute(task: BatchInferencePrepareOperator) -> dict[str, Any]:
    ti = FakeTI()
    assert task.execute({"ti": ti}) == task.output_path  # type: ignore[arg-type]
    return ti.pushed


def requests(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.split(b"\n") if line]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return path


def test_csv_to_requests(source: Path, tmp_path: Path) -> None:
    """Every row becomes a request; the path is returned and the number of rows pushed."""
    target = tmp_path / "new folder" / "requests.jsonl"
    assert execute(operator(source=str(source), output_path=str(target))) == {"rows": 3}
    made = requests(target.read_bytes())
    assert [line["custom_id"] for line in made] == ["r-1", "r-2", "r-3"]
    assert made[2]["body"]["messages"] == [{"role": "user", "content": "Sentiment of: so so"}]
    assert [path.name for path in target.parent.iterdir()] == ["requests.jsonl"]


def test_airflow_renders_paths_and_leaves_rows(source: Path, tmp_path: Path) -> None:
    """Airflow renders source, output_path, model and limit; templates of rows are left for the rows."""
    task = operator(
        source="{{ params.folder }}/rows.csv",
        output_path="{{ params.folder }}/{{ run_id }}.jsonl",
        model="{{ params.model }}",
        limit="{{ params.limit }}",
        body={"user": "{{ row.id }}"},
    )
    context: Any = {"params": {"folder": str(tmp_path), "model": "m", "limit": 2}, "run_id": "manual__1"}
    task.render_template_fields(context)
    assert execute(task) == {"rows": 2}
    made = requests((tmp_path / "manual__1.jsonl").read_bytes())
    assert [line["body"]["user"] for line in made] == ["1", "2"]
    assert {line["body"]["model"] for line in made} == {"m"}


def test_a_bad_row_leaves_the_last_file(source: Path, tmp_path: Path) -> None:
    """A problem in the last row fails for good, names it, and leaves what was there as it was."""
    target = tmp_path / "requests.jsonl"
    target.write_text("before")
    source.write_text(ROWS + "3,again\n")
    with pytest.raises(
        AirflowFailException, match=r"rows\.csv: 1 problem.*\n  line 5, custom_id: 'r-3' is already the id of line 4"
    ):
        execute(operator(source=str(source), output_path=str(target)))
    assert target.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["requests.jsonl", "rows.csv"]


def test_from_store_to_store() -> None:
    """Source and target may lie on an object store with a connection; the file is put there whole."""
    store = MemoryFileSystem()
    attach("s3", "store", fs=store)
    store.pipe("/bucket/in/rows.jsonl.gz", gzip.compress(b'{"id": 1, "text": "a\\u2028b"}\n'))
    try:
        execute(
            operator(source="s3://store@bucket/in/rows.jsonl.gz", output_path="s3://store@bucket/out/requests.jsonl")
        )
        made = requests(store.cat_file("/bucket/out/requests.jsonl"))
    finally:
        store.rm("/bucket", recursive=True)
    assert made[0]["body"]["messages"][0]["content"] == "Sentiment of: a\u2028b"


@pytest.mark.parametrize(
    ("source_name", "message"),
    [
        ("absent.csv", r"InputError: .*absent\.csv: 1 problem.*\n  file: there is no such file"),
        ("folder.csv", r"InputError: .*folder\.csv: 1 problem.*\n  file: cannot be read"),
        ("rows.csv/inner.csv", r"InputError: .*inner\.csv: 1 problem.*\n  file: cannot be read"),
        ("rows.txt", "ConfigurationError: .*the format is not clear"),
    ],
)
def test_sources_that_cannot_be_read(source: Path, tmp_path: Path, source_name: str, message: str) -> None:
    """An unreadable source fails for good, names the path, and writes nothing."""
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(AirflowFailException, match=message):
        execute(operator(source=str(tmp_path / source_name), output_path=str(tmp_path / "out" / "requests.jsonl")))
    assert not (tmp_path / "out" / "requests.jsonl").exists()


def test_a_store_that_nothing_serves(source: Path) -> None:
    """A scheme whose extra is not installed is told with the command that installs it."""
    with pytest.raises(AirflowFailException, match=r"pip install 'airflow-batch-provider\[abfs\]'"):
        execute(operator(source=str(source), output_path="abfs://container/requests.jsonl"))


def test_the_source_is_not_overwritten(source: Path) -> None:
    """Rows and requests cannot be the same file."""
    with pytest.raises(AirflowFailException, match="output_path and source are the same file"):
        execute(operator(source=str(source), output_path=str(source)))
    assert source.read_text() == ROWS


@pytest.mark.parametrize("limit", ["0", "many", -1, "", "None", "1.5"])
def test_a_limit_that_is_none(source: Path, tmp_path: Path, limit: Any) -> None:
    """X14: a limit is a whole number of one or more; a template that renders to nothing does not remove it."""
    with pytest.raises(AirflowFailException, match="limit must be a whole number"):
        execute(operator(source=str(source), output_path=str(tmp_path / "r.jsonl"), limit=limit))


def test_a_broken_template_is_an_import_error() -> None:
    """A template that cannot work for any row is refused when the DAG is parsed."""
    with pytest.raises(ConfigurationError, match="prompt: ds is unknown"):
        operator(source="a.csv", output_path="b.jsonl", prompt="{{ ds }} {{ row.text }}")


def test_other_delimiters_and_names(tmp_path: Path) -> None:
    """A file of any name and delimiter is read when both are given."""
    (tmp_path / "rows.txt").write_text("id;text\n1;a,b\n")
    task = operator(
        source=str(tmp_path / "rows.txt"), output_path=str(tmp_path / "r.jsonl"), source_format="csv", delimiter=";"
    )
    execute(task)
    assert requests((tmp_path / "r.jsonl").read_bytes())[0]["body"]["messages"][0]["content"] == "Sentiment of: a,b"
