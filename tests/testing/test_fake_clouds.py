"""The fakes of gateways over clouds answer as the real ones do."""

from __future__ import annotations

import io
import json
import re
import time
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest

from airflow_batch_provider.testing import FakeProvider, FaultPlan
from tests.testing.speaking import rows

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
GEMINI = "gemini-2.5-flash"
ROLE = "arn:aws:iam::123456789012:role/batch"
BEDROCK = {
    "x-portkey-aws-s3-bucket": "b",
    "x-portkey-aws-bedrock-model": CLAUDE,
    "x-portkey-aws-s3-object-key": "in.jsonl",
}
VERTEX = {
    "x-portkey-vertex-storage-bucket-name": "b",
    "x-portkey-provider-model": GEMINI,
    "x-portkey-provider-file-name": "in.jsonl",
    "x-portkey-vertex-region": "us-central1",
}


class Speaker:
    """Plain HTTP to a fake, with a virtual key."""

    def __init__(self, fake: FakeProvider, **headers: str) -> None:
        self.fake = fake
        self.headers = {"x-portkey-api-key": fake.api_key, "x-portkey-virtual-key": "v", **headers}

    def ask(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return httpx.request(method, self.fake.base_url + path, headers=self.headers, trust_env=False, **kwargs)

    def upload(self, data: bytes) -> httpx.Response:
        return self.ask("POST", "/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", io.BytesIO(data))})

    def create(self, file_id: str, **body: Any) -> httpx.Response:
        return self.ask("POST", "/batches", json={"input_file_id": file_id, **body})

    def job(self, data: bytes, **body: Any) -> dict[str, Any]:
        """A job that has ended."""
        told = self.create(self.upload(data).json()["id"], **body).json()
        path = f"/batches/{quote(unquote(told['id']), safe='')}"
        while True:
            told = self.ask("GET", path).json()
            if told["status"] in {"completed", "failed", "stopped", "expired"}:
                return told
            time.sleep(0.01)

    def lines(self, path: str) -> list[Any]:
        return [json.loads(line) for line in self.ask("GET", path).content.split(b"\n") if line]


@pytest.fixture
def bedrock() -> Any:
    with FakeProvider("portkey", behind="bedrock") as fake:
        yield Speaker(fake, **BEDROCK)


@pytest.fixture
def vertex() -> Any:
    with FakeProvider("portkey", behind="vertex-ai") as fake:
        yield Speaker(fake, **VERTEX)


# ---- Bedrock -------------------------------------------------------------------------------------------------------


def test_bedrocks_objects(bedrock: Speaker) -> None:
    """A file's id is an encoded URI, a create tells nothing but an id, times are milliseconds, nothing is counted."""
    file = bedrock.upload(rows(100)).json()
    assert file["id"] == "s3%3A%2F%2Fb%2Fin.jsonl"
    assert (file["filename"], file["status_details"]) == ("s3://b/in.jsonl", "")
    created = bedrock.create(file["id"], model=CLAUDE, role_arn=ROLE).json()
    assert set(created) == {"id", "object"}
    assert unquote(created["id"]).startswith("arn:aws:bedrock:us-east-1:")
    job = bedrock.job(rows(100), model=CLAUDE, role_arn=ROLE)
    assert job["created_at"] > 1e12
    assert unquote(job["output_file_id"]) == "s3://b/"
    assert not {"request_counts", "endpoint", "metadata"} & set(job)
    listed = bedrock.ask("GET", "/batches?limit=100").json()["data"]
    assert {one["status"] for one in listed} <= {"Completed", "InProgress", "Validating"}


def test_bedrocks_output(bedrock: Speaker) -> None:
    """The translation has Bedrock's finish words; a failed record is a bare error; the folder is no file."""
    bedrock.fake.faults.fail_rows = {"row-1": 400}
    job = bedrock.job(rows(100), model=CLAUDE, role_arn=ROLE)
    lines = bedrock.lines(f"/batches/{job['id']}/output")
    assert len(lines) == 100
    bare = [line for line in lines if "custom_id" not in line]
    assert [set(line) for line in bare] == [{"errorCode", "errorMessage"}]
    body = lines[0]["response"]["body"]
    assert (body["provider"], body["choices"][0]["finish_reason"], lines[0]["error"]) == ("bedrock", "end_turn", None)
    answer = bedrock.ask("GET", f"/files/{quote(unquote(job['output_file_id']), safe='')}/content")
    assert (answer.status_code, "NoSuchKey" in answer.text) == (500, True)


def test_what_bedrock_refuses(bedrock: Speaker) -> None:
    """Missing headers and role, blank lines, too many characters, unknown models: each in the gateway's own words."""
    plain = Speaker(bedrock.fake)
    missing = "Please make sure you have x-portkey-aws-s3-bucket and x-portkey-aws-bedrock-model headers provided."
    assert plain.upload(rows(1)).json() == {"status": "failure", "message": missing}
    blank = bedrock.upload(rows(1) + b"\n" + rows(1))
    assert (blank.status_code, "empty lines" in blank.text) == (500, True)
    large = bedrock.upload(rows(10_000))
    assert (large.status_code, "EntityTooSmall" in large.text) == (500, True)
    file_id = bedrock.upload(rows(100)).json()["id"]
    assert bedrock.create(file_id, model=CLAUDE).status_code == 400
    assert bedrock.create(file_id, role_arn=ROLE).status_code == 400
    other = Speaker(bedrock.fake, **{**BEDROCK, "x-portkey-aws-bedrock-model": "qwen.qwen3"})
    assert "Invalid model slug" in other.upload(rows(1)).text
    assert bedrock.ask("DELETE", f"/files/{file_id}").status_code == 500
    assert bedrock.fake.batches == []


def test_bedrocks_minimum(bedrock: Speaker) -> None:
    """99 records make a job that has failed, and put out nothing."""
    job = bedrock.job(rows(99), model=CLAUDE, role_arn=ROLE)
    assert job["status"] == "failed"
    assert "less records (99) than the required minimum of: 100" in job["errors"]["data"][0]["message"]
    assert bedrock.ask("GET", f"/batches/{job['id']}/output").status_code == 500


def test_bedrock_stops() -> None:
    """A cancel is answered with the decoded id, and ends as stopped."""
    with FakeProvider("portkey", FaultPlan(hold_after_rows=0), behind="bedrock") as fake:
        speaker = Speaker(fake, **BEDROCK)
        created = speaker.create(speaker.upload(rows(100)).json()["id"], model=CLAUDE, role_arn=ROLE).json()
        answer = speaker.ask("POST", f"/batches/{created['id']}/cancel").json()
        assert answer == {"status": "success", "object": "batch", "id": unquote(created["id"])}
        path = f"/batches/{created['id']}"
        while (status := speaker.ask("GET", path).json()["status"]) != "stopped":
            assert status in {"validating", "in_progress", "stopping"}
            time.sleep(0.01)


# ---- Vertex AI -----------------------------------------------------------------------------------------------------


def test_vertex_objects(vertex: Speaker) -> None:
    """create_at in milliseconds, counts as strings beside a total that holds a -1, a folder for errors."""
    file = vertex.upload(rows(3)).json()
    assert (file["id"], file["create_at"] > 1e12, "created_at" in file) == ("gs%3A%2F%2Fb%2Fin.jsonl", True, False)
    job = vertex.job(rows(3), model=GEMINI)
    assert job["id"].isdecimal()
    assert job["request_counts"] == {"total": 2, "completed": "3", "failed": "0"}
    assert re.fullmatch(r"gs://b/prediction-model-[\dT:.-]+Z-\w{6}/predictions\.jsonl", unquote(job["output_file_id"]))
    assert unquote(job["error_file_id"]) == "gs://b/"
    assert vertex.ask("GET", f"/files/{quote(unquote(job['error_file_id']), safe='')}/content").status_code == 404


def test_vertex_output_both_ways(vertex: Speaker) -> None:
    """The file is Vertex AI's own, the output a translation with an empty string for no error."""
    vertex.fake.faults.fail_rows = {"row-1": 400}
    job = vertex.job(rows(2), model=GEMINI)
    raw = vertex.lines(f"/files/{quote(unquote(job['output_file_id']), safe='')}/content")
    assert [line["requestId"] for line in raw] == ["row-0", "row-1"]
    assert raw[0]["response"]["candidates"][0]["finishReason"] == "STOP"
    assert raw[1]["status"].startswith("Bad Request: {")
    good, bad = vertex.lines(f"/batches/{job['id']}/output")
    assert (good["error"], good["id"].startswith(f"batch-{job['id']}--")) == ("", True)
    assert (bad["response"]["body"], bad["error"].startswith("Bad Request")) == (False, True)


def test_what_vertex_refuses(vertex: Speaker) -> None:
    """Missing headers, an output that is no string, a page by an id, deleting."""
    plain = Speaker(vertex.fake).upload(rows(1))
    assert (plain.status_code, "x-portkey-provider-model" in plain.json()["error"]) == (400, True)
    file_id = vertex.upload(rows(1)).json()["id"]
    assert vertex.create(file_id, model=GEMINI, output_data_config={"a": 1}).status_code == 400
    assert vertex.ask("GET", "/batches?limit=100&after=1").status_code == 400
    assert vertex.ask("DELETE", f"/files/{file_id}").status_code == 404


def test_early_output(vertex: Speaker) -> None:
    """Before there is anything, the output is an error without a word."""
    vertex.fake.faults.hold_after_rows = 0
    job = vertex.create(vertex.upload(rows(2)).json()["id"], model=GEMINI).json()
    answer = vertex.ask("GET", f"/batches/{job['id']}/output")
    assert (answer.status_code, answer.json()) == (500, {})


def test_a_cancel_says_nothing(vertex: Speaker) -> None:
    """Google's own answer is an empty object."""
    vertex.fake.faults.hold_after_rows = 0
    job = vertex.create(vertex.upload(rows(2)).json()["id"], model=GEMINI).json()
    assert vertex.ask("POST", f"/batches/{job['id']}/cancel").json() == {}


# ---- who signs -----------------------------------------------------------------------------------------------------


def test_who_signs() -> None:
    """A plain name takes the cloud's own credentials, anything else Portkey's key; TrueFoundry wants both its own."""
    with FakeProvider("portkey", api_key="right", behind="bedrock") as fake:
        own = {"x-portkey-provider": "bedrock", "x-portkey-aws-secret-access-key": "right"}
        for headers, status in (
            ({}, 400),
            (own, 200),
            ({**own, "x-portkey-aws-secret-access-key": "wrong"}, 403),
            ({"x-portkey-provider": "@slug", "x-portkey-api-key": "right"}, 200),
            ({"x-portkey-provider": "@slug", "x-portkey-api-key": "wrong"}, 401),
        ):
            assert httpx.get(f"{fake.base_url}/batches", headers=headers, trust_env=False).status_code == status
    with FakeProvider("truefoundry", api_key="right", behind="vertex-ai") as fake:
        bearer = {"authorization": "Bearer right"}
        for headers, status in (({}, 401), (bearer, 400), ({**bearer, "x-tfy-provider-name": "p"}, 200)):
            assert httpx.get(f"{fake.base_url}/batches", headers=headers, trust_env=False).status_code == status
