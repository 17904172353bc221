"""Fetching batches on Bedrock and Vertex AI that another tool has made, in the provider's own lines."""

import io
import json

import boto3
import httpx
import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_batch_provider.core.records import Shard
from airflow_batch_provider.hooks.base import BatchInferenceHook
from airflow_batch_provider.operators.batch_inference import (
    BatchInferenceFetchOperator,
    BatchInferenceSubmitOperator,
)
from airflow_batch_provider.testing.bedrock import FakeBedrock
from airflow_batch_provider.testing.vertex import FakeVertex, VertexFaults
from tests.airflow.clouds import bedrock_connection, vertex_connection
from tests.airflow.world import TaskInstance, request, resume, rows

LLAMA = "meta.llama3-1-8b-instruct-v1:0"
GEMINI = "gemini-2.5-flash"


def fetch(tmp_path, batch):
    return BatchInferenceFetchOperator(
        task_id="fetch",
        batch_id=batch,
        conn_id="cloud",
        output_path=str(tmp_path / "out"),
        poll_interval=0.02,
        allow_local_path=True,
    )


@pytest.mark.parametrize("name", ["CALL{:07d}".format, lambda number: f"r{number + 1:010d}"], ids=["own", "like ours"])
def test_a_bedrock_job_made_elsewhere(tmp_path, monkeypatch, name):
    """Records of one's own ids, by boto3 alone: each is answered under its id, also where it looks like ours."""
    with FakeBedrock() as fake:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps(bedrock_connection(fake)))
        key, secret = fake.credentials
        session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=fake.region)
        records = [
            {
                "recordId": name(number),
                "modelInput": {"messages": [{"role": "user", "content": [{"text": f"say {number}"}]}]},
            }
            for number in range(100)
        ]
        body = "".join(json.dumps(record) + "\n" for record in records)
        session.client("s3", endpoint_url=fake.s3_url).put_object(Bucket=fake.bucket, Key="x.jsonl", Body=body)
        job = session.client("bedrock", endpoint_url=fake.bedrock_url).create_model_invocation_job(
            jobName="made-by-hand",
            roleArn=fake.role_arn,
            modelId=LLAMA,
            modelInvocationType="Converse",
            inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://{fake.bucket}/x.jsonl"}},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{fake.bucket}/out/"}},
        )
        told, _ = resume(fetch(tmp_path, job["jobArn"]), {"ti": TaskInstance()})
        assert (told["total"], told["succeeded"], len(fake.creates)) == (100, 100, 1)
        found = rows(told["run_path"])
        assert {row[0]: row[2] for row in found} == {name(number): f"say {number}" for number in range(100)}


@pytest.mark.parametrize(
    ("names", "faults"),
    [
        (("id-0", "id-1", "id-2"), VertexFaults()),
        (("2", "1", "0"), VertexFaults()),
        (("a", "b", "c"), VertexFaults(keys_not_echoed=True)),
        ((), VertexFaults()),
    ],
    ids=["keys", "numbers", "not echoed", "none"],
)
def test_a_vertex_job_made_elsewhere(tmp_path, monkeypatch, names, faults):
    """Lines with ids are answered under them, whatever becomes of the ids; lines without are refused, because nothing
    tells them apart."""
    with FakeVertex(faults) as fake:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps(vertex_connection(fake)))
        lines = [
            {**({"key": names[number]} if names else {}), "request": {"contents": [{"role": "user", "parts": [part]}]}}
            for number, part in enumerate({"text": f"say {number}"} for number in range(3))
        ]
        content = "".join(json.dumps(line) + "\n" for line in lines)
        headers = {"Authorization": f"Bearer {fake.token}"}
        upload = f"{fake.storage_url}/upload/storage/v1/b/{fake.bucket}/o?uploadType=media&name=x.jsonl"
        httpx.post(upload, content=content, headers=headers).raise_for_status()
        body = {
            "displayName": "by hand",
            "model": f"publishers/google/models/{GEMINI}",
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [f"gs://{fake.bucket}/x.jsonl"]}},
            "outputConfig": {
                "predictionsFormat": "jsonl",
                "gcsDestination": {"outputUriPrefix": f"gs://{fake.bucket}/out"},
            },
        }
        jobs = f"{fake.vertex_url}/v1/projects/{fake.project}/locations/{fake.region}/batchPredictionJobs"
        job = httpx.post(jobs, json=body, headers=headers).json()
        if not names:
            with pytest.raises(AirflowFailException, match="line 1 has no id"):
                resume(fetch(tmp_path, job["name"]), {"ti": TaskInstance()})
            return
        told, _ = resume(fetch(tmp_path, job["name"]), {"ti": TaskInstance()})
        assert (told["total"], told["succeeded"], len(fake.creates)) == (3, 3, 1)
        found = {row[0]: row[2] for row in rows(told["run_path"])}
        assert found == {custom_id: f"say {number}" for number, custom_id in enumerate(names)}


def test_openais_lines_are_never_sent_to_bedrock(tmp_path, monkeypatch):
    """A file of OpenAI's lines that lies in the bucket already is refused: its lines must be written anew."""
    with FakeBedrock() as fake:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps(bedrock_connection(fake)))
        body = "".join(json.dumps(request(number)) + "\n" for number in range(100))
        fake.s3.put_object(Bucket=fake.bucket, Key="x.jsonl", Body=body)
        submit = BatchInferenceSubmitOperator(
            task_id="t",
            input_file_id=f"s3://{fake.bucket}/x.jsonl",
            output_path=str(tmp_path / "run"),
            conn_id="cloud",
            model=LLAMA,
            allow_local_path=True,
        )
        with pytest.raises(AirflowFailException, match="written anew; give input_path"):
            submit.execute({"ti": TaskInstance()})
        assert fake.creates == []


def test_embeddings_made_elsewhere(tmp_path, monkeypatch):
    """No cloud tells what a job asks; its model does."""
    with FakeBedrock() as fake:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps(bedrock_connection(fake)))
        backend = BatchInferenceHook.for_conn_id("cloud").backend
        body = "".join(
            json.dumps({"recordId": f"e{n}", "modelInput": {"inputText": f"t {n}"}}) + "\n" for n in range(100)
        )
        uri = backend.upload_file("x.jsonl", io.BytesIO(body.encode()))
        shard = Shard(0, 0, 100, len(body), "amazon.titan-embed-text-v2:0", "/v1/embeddings")
        job = backend.create(backend.create_request(shard, "tok", uri, {}))
        told, _ = resume(fetch(tmp_path, job.id), {"ti": TaskInstance()})
        assert (told["total"], told["succeeded"]) == (100, 100)
        backend.close()
