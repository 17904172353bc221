"""Bad input for Bedrock and Vertex AI: one clear error before any upload, and nothing left in the bucket.

Run with ``-s`` to read the messages.
"""

import json

import boto3
import httpx
import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator
from airflow_batch_provider.testing.bedrock import FakeBedrock
from airflow_batch_provider.testing.vertex import FakeVertex
from tests.airflow.clouds import bedrock_connection, vertex_connection
from tests.airflow.world import TaskInstance, request, write

CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
LLAMA = "meta.llama3-1-8b-instruct-v1:0"
GEMINI = "gemini-2.5-flash"
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def bedrock():
    with FakeBedrock() as fake:
        yield fake


@pytest.fixture(scope="module")
def vertex():
    with FakeVertex() as fake:
        yield fake


def s3(fake):
    key, secret = fake.credentials
    return boto3.client(
        "s3",
        endpoint_url=fake.s3_url,
        region_name=fake.region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


def left_in_s3(fake, bucket=None):
    return [item["Key"] for item in s3(fake).list_objects_v2(Bucket=bucket or fake.bucket).get("Contents", [])]


def left_in_gcs(fake):
    answer = httpx.get(f"{fake.storage_url}/storage/v1/b/{fake.bucket}/o")
    return [item["name"] for item in answer.json().get("items", [])]


def run(tmp_path, monkeypatch, connection, lines, model):
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps(connection))
    operator = BatchInferenceOperator(
        task_id="t",
        input_path=write(tmp_path / "in.jsonl", lines),
        output_path=str(tmp_path / "run"),
        conn_id="cloud",
        model=model,
        deferrable=False,
        poll_interval=0.02,
        allow_local_path=True,
    )
    return operator.execute({"ti": TaskInstance()})


def refused(*arguments):
    with pytest.raises(AirflowFailException) as caught:
        run(*arguments)
    print(f"\n{caught.value}")
    return str(caught.value)


def picture(url):
    return [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]


def rows(count=100, **first):
    return [request(number, **(first if number == 0 else {})) for number in range(count)]


@pytest.mark.parametrize(
    ("count", "first", "model", "said"),
    [
        (99, {}, CLAUDE, ("99 rows", "at least 100")),
        (
            100,
            {"messages": [{"role": "user", "content": picture("https://example.com/cat.png")}]},
            CLAUDE,
            ("line 1", "body.messages[0].content[1].image_url.url", "data: URL"),
        ),
        (100, {"tools": [TOOL]}, LLAMA, ("line 1", "body.tools")),
        (100, {"n": 2}, LLAMA, ("line 1", "body.n", "lines instead")),
        (100, {}, "acme.unheard-of", ("acme.unheard-of", "model_families")),
    ],
)
def test_rows_that_bedrock_cannot_take(bedrock, tmp_path, monkeypatch, count, first, model, said):
    """Too few rows, what a line cannot say, an unknown model: named, with the remedy, and nothing was uploaded."""
    message = refused(tmp_path, monkeypatch, bedrock_connection(bedrock), rows(count, **first), model)
    for words in said:
        assert words in message
    assert left_in_s3(bedrock) == []
    assert bedrock.creates == []


def test_a_bucket_elsewhere(bedrock, tmp_path, monkeypatch):
    """A bucket in another region than the job's is refused, both named."""
    s3(bedrock).create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    connection = bedrock_connection(bedrock, bucket="elsewhere")
    message = refused(tmp_path, monkeypatch, connection, rows(), CLAUDE)
    assert "eu-west-1" in message
    assert bedrock.region in message
    assert left_in_s3(bedrock, "elsewhere") == []
    assert bedrock.creates == []


@pytest.mark.parametrize("role", ["", "BatchRole"])
def test_no_role(bedrock, tmp_path, monkeypatch, role):
    """A service role that is missing, or no ARN, is told as a field of the connection."""
    message = refused(tmp_path, monkeypatch, bedrock_connection(bedrock, role_arn=role), rows(), CLAUDE)
    assert "role_arn" in message
    assert left_in_s3(bedrock) == []


@pytest.mark.parametrize("name", ["region", "bucket"])
def test_a_missing_field(bedrock, tmp_path, monkeypatch, name):
    """A field without which nothing can be sent is named."""
    message = refused(tmp_path, monkeypatch, bedrock_connection(bedrock, **{name: ""}), rows(), CLAUDE)
    assert name in message
    assert left_in_s3(bedrock) == []


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (
            {"messages": [{"role": "user", "content": picture("https://example.com/cat.png")}]},
            ("line 1", "body.messages[0].content[1].image_url.url"),
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "s",
                        "schema": {"type": "object", "properties": {"a": {"enum": [1, "one"]}}},
                    },
                }
            },
            ("line 1", "response_format", "enum"),
        ),
        ({"logprobs": True}, ("line 1", "body.logprobs")),
    ],
)
def test_rows_that_vertex_cannot_take(vertex, tmp_path, monkeypatch, first, said):
    """What Gemini's importer or body cannot take is told by line and field, and nothing was uploaded."""
    message = refused(tmp_path, monkeypatch, vertex_connection(vertex), rows(3, **first), GEMINI)
    for words in said:
        assert words in message
    assert left_in_gcs(vertex) == []
    assert vertex.creates == []


def test_schemas_that_do_not_fit_together(vertex, tmp_path, monkeypatch):
    """Rows whose schemas give one path two JSON types go into two jobs, and all are answered."""

    def schema(default):
        properties = {"a": {"type": "string" if isinstance(default, str) else "integer", "default": default}}
        spec = {"name": "s", "schema": {"type": "object", "properties": properties}}
        return {"response_format": {"type": "json_schema", "json_schema": spec}}

    lines = [request(number, **schema(number if number % 2 else str(number))) for number in range(6)]
    before = len(vertex.batches)
    done = run(tmp_path, monkeypatch, vertex_connection(vertex), lines, GEMINI)
    assert done["succeeded"] == 6
    assert len(vertex.batches) - before == done["jobs"] >= 2
