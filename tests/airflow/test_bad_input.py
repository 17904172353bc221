"""Every bad input ends in one clear message, before anything is sent; run with ``-s`` to read them all."""

import json
import os

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_batch_provider.operators.batch_inference import BatchInferenceFetchOperator, BatchInferenceOperator
from airflow_batch_provider.testing import FakeProvider

GOOD = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "m", "messages": [{"role": "user", "content": "x"}]},
}


def one(**changes):
    return json.dumps({**GOOD, **changes}, ensure_ascii=False).encode()


class TaskInstance:
    """As much of a task instance as an operator uses."""

    dag_id, task_id, run_id, map_index, try_number = "d", "t", "r", -1, 1

    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


@pytest.fixture
def world(tmp_path, monkeypatch):
    with FakeProvider(flavor="openai") as fake:
        connection = {"conn_type": "openai_batch", "host": fake.base_url, "password": fake.api_key}
        monkeypatch.setenv("AIRFLOW_CONN_OPENAI", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW_CONN_WRONG_KEY", json.dumps({**connection, "password": "sk-wrong"}))
        monkeypatch.setenv("AIRFLOW_CONN_NO_KEY", json.dumps({**connection, "password": ""}))
        yield fake, tmp_path


def run(world, content, **options):
    _, folder = world
    path = folder / "in.jsonl"
    if content is not None:
        path.write_bytes(content)
    arguments = {
        "task_id": "t",
        "input_path": str(path),
        "output_path": str(folder / "run"),
        "conn_id": "openai",
        "deferrable": False,
        "poll_interval": 0.02,
        "allow_local_path": True,
        "retries": 3,
        **options,
    }
    ti = TaskInstance()
    return BatchInferenceOperator(**arguments).execute({"ti": ti})


def refused(world, content, **options):
    with pytest.raises(AirflowFailException) as caught:
        run(world, content, **options)
    print(f"\n{caught.value}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file: the file is empty"),
        (one() + b"\n\n" + one(custom_id="b"), "line 2: the line is blank"),
        (b"# requests of today\n" + one(), "line 1: JSON Lines allow no comments"),
        (one() + b"\n{oops", "line 2: not JSON"),
        (b"[" + one() + b"]", "line 1: a JSON array"),
        (one() + b"\n" + one(), "line 2, custom_id: 'a' is already used on line 1"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "custom_id"}).encode(), "line 1, custom_id: missing"),
        (one(url="/v1/chat"), "line 1, url: '/v1/chat' is not an endpoint of this connection; it supports /v1/ch"),
        (None, "there is no such file"),
    ],
    ids=["empty", "blank", "comment", "not JSON", "array", "duplicate id", "missing id", "wrong url", "no file"],
)
def test_bad_files(world, content, said):
    """A bad file is refused with its line, and not one call was made."""
    message = refused(world, content)
    assert said in message
    assert "nothing was sent" in message
    assert world[0].requests == []


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + one(),
        one() + b"\r\n" + one(custom_id="b") + b"\r\n",
        one() + b"\n" + one(custom_id="b"),
        one(body={"model": "m", "messages": [{"role": "user", "content": "a\u2028b\u0085c"}]}),
    ],
    ids=["BOM", "CRLF", "no last newline", "U+2028"],
)
def test_harmless_oddities(world, content):
    """What cannot change the meaning is taken as it is meant, and no row is lost."""
    told = run(world, content)
    assert told["succeeded"] == told["total"] == content.count(b"custom_id")
    if "\u2028".encode() in content:
        results = (world[1] / "run/results/part-r0-00000.jsonl").read_bytes()
        assert "a\u2028b\u0085c" in json.loads(results)["response"]["body"]["choices"][0]["message"]["content"]


def test_unreadable_path(world):
    """A folder instead of a file."""
    assert "this is a folder" in refused(world, None, input_path=str(world[1]))


def test_missing_extra_for_s3(world):
    """An object store that nothing installed can open names the extra, before anything else happens."""
    for option in ("input_path", "output_path"):
        message = refused(world, one(), **{option: "s3://bucket/x"})
        assert "pip install 'airflow-batch-provider[s3]'" in message
    assert world[0].requests == []


def test_wrong_and_missing_key(world):
    """A wrong key is told with the provider's words and without the key; a missing one before any call."""
    message = refused(world, one(), conn_id="wrong_key")
    assert "HTTP 401" in message
    assert "check the connection's key" in message
    assert "sk-wrong" not in message
    assert world[0].batches == []
    assert "the API key is missing" in refused(world, one(), conn_id="no_key", output_path=str(world[1] / "other"))


def test_unknown_batch_id(world):
    """Fetching a batch that this key does not know."""
    operator = BatchInferenceFetchOperator(
        task_id="f", batch_id="batch_nowhere", conn_id="openai", output_path=str(world[1] / "x"), allow_local_path=True
    )
    with pytest.raises(AirflowFailException, match="HTTP 404") as caught:
        operator.execute({"ti": TaskInstance()})
    print(f"\n{caught.value}")


def test_output_folder_of_another_run(world):
    """A run directory belongs to one run."""
    run(world, one())
    TaskInstance.run_id = "another"
    try:
        assert "holds the run 'd/t/r/-1', this task is 'd/t/another/-1'" in refused(world, one())
    finally:
        TaskInstance.run_id = "r"
    assert len(world[0].batches) == 1


def test_model_not_found(world):
    """The provider's own line and reason are in the message."""
    world[0].faults.job_errors = [{"code": "model_not_found", "message": "The model 'm' does not exist", "line": 1}]
    message = refused(world, one())
    assert "line 1: The model 'm' does not exist [model_not_found]" in message
    assert "failed.jsonl" in message


def test_a_quarter_gigabyte_splits(world):
    """250 MB of requests become two files of at most 200 MB, every row once."""
    _, folder = world
    path = folder / "big.jsonl"
    filler = "x" * 1_000_000
    with path.open("wb") as out:
        for number in range(250):
            out.write(one(custom_id=f"row-{number}", body={"model": "m", "input": filler}, url="/v1/responses") + b"\n")
    assert os.path.getsize(path) > 250_000_000
    told = run(world, None, input_path=str(path))
    assert (told["succeeded"], told["jobs"]) == (250, 2)
    sizes = [os.path.getsize(folder / "run/input" / name) for name in sorted(os.listdir(folder / "run/input"))]
    print(f"\n250 MB: {sizes} bytes")
    assert max(sizes) <= 200_000_000
