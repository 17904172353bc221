"""The snippets of the gateways' own guides run against the fakes as they stand.

Only the key, the base URL and the ids that the guides leave blank are filled in.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from airflow_batch_provider.testing import FakeProvider
from tests.patience import PATIENCE
from tests.testing.speaking import client_of, output, wait

TRUEFOUNDRY_CLIENT = """
from openai import OpenAI

client = OpenAI(
    api_key="your-truefoundry-api-key",
    base_url="https://{controlPlaneUrl}/api/llm",
    default_headers={
        "x-tfy-provider-name": "openai-main"  # truefoundry provider integration name
    }
)
"""
TRUEFOUNDRY_UPLOAD = """
# Upload the input file
file = client.files.create(
    file=open("request.jsonl", "rb"),
    purpose="batch"
)

print(file.id)  # Example: file-PnFGrFLN5LjjcWr4eFsStK
"""
TRUEFOUNDRY_CREATE = """
batch_job = client.batches.create(
    input_file_id=file.id,
    endpoint="/v1/chat/completions",
    completion_window="24h"
)

print(batch_job.id)  # Example: batch_67f7bfc50b288190893f242d9fa47c52
"""
TRUEFOUNDRY_STATUS = """
batch_status = client.batches.retrieve(batch_job.id)
print(batch_status.status)  # Example: completed, validating, in_progress, etc.
"""
TRUEFOUNDRY_FETCH = """
if batch_status.status == "completed":
    output_content = client.files.content(batch_status.output_file_id)
    print(output_content.content.decode('utf-8'))
"""
TRUEFOUNDRY_FILE = """\
{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-3.5-turbo-0125", "messages": [{"role": "system", "content": "You are a helpful assistant."},{"role": "user", "content": "Hello world!"}],"max_tokens": 1000}}
{"custom_id": "request-2", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-3.5-turbo-0125", "messages": [{"role": "system", "content": "You are an unhelpful assistant."},{"role": "user", "content": "Hello world!"}],"max_tokens": 1000}}
{"custom_id": "request-3", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4-vision-preview", "messages": [{"role": "user", "content": [{"type": "text", "text": "What's in this image?"}, {"type": "image_url", "image_url": {"url": "https://example.com/image.jpg"}}]}], "max_tokens": 1000}}
"""  # noqa: E501 - as it stands in the guide


class Guide:
    """Runs snippets one after another, as their reader would."""

    def __init__(self, fake: FakeProvider) -> None:
        self._fake = fake
        self.names: dict[str, Any] = {}

    def run(self, snippet: str) -> None:
        filled = snippet.replace("your-truefoundry-api-key", self._fake.api_key)
        filled = filled.replace("https://{controlPlaneUrl}/api/llm", self._fake.base_url)
        exec(compile(filled, "<guide>", "exec"), self.names)


@pytest.mark.filterwarnings("ignore:unclosed file")  # the guide leaves its file open
@pytest.mark.parametrize(("lines", "status"), [(2, "completed"), (3, "failed")])
def test_truefoundry_guide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lines: int, status: str
) -> None:
    """The four steps give answers for the guide's first two lines; the third has another model, and fails the job."""
    monkeypatch.chdir(tmp_path)
    Path("request.jsonl").write_text("".join(TRUEFOUNDRY_FILE.splitlines(keepends=True)[:lines]))
    with FakeProvider("truefoundry") as fake:
        guide = Guide(fake)
        for snippet in (TRUEFOUNDRY_CLIENT, TRUEFOUNDRY_UPLOAD, TRUEFOUNDRY_CREATE, TRUEFOUNDRY_STATUS):
            guide.run(snippet)
        end = time.monotonic() + PATIENCE
        while guide.names["batch_status"].status not in {"completed", "failed"} and time.monotonic() < end:
            guide.run(TRUEFOUNDRY_STATUS)
        capsys.readouterr()
        guide.run(TRUEFOUNDRY_FETCH)
        batch = guide.names["batch_status"]
        assert batch.status == status
        printed = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line]
    if status == "completed":
        assert {line["custom_id"] for line in printed} == {"request-1", "request-2"}
        assert {line["response"]["body"]["choices"][0]["message"]["content"] for line in printed} == {"Hello world!"}
    else:
        assert [(error.code, error.line) for error in batch.errors.data] == [("mismatched_model", 3)]


def test_portkey_guide_by_its_headers() -> None:
    """The Portkey guide's calls by the openai client, with the headers its createHeaders makes, go through."""
    with FakeProvider("portkey") as fake:
        client = openai.OpenAI(
            api_key="PLACEHOLDER_NOT_USED",
            base_url=fake.base_url,
            default_headers={
                "x-portkey-provider": "openai",
                "x-portkey-api-key": fake.api_key,
                "x-portkey-virtual-key": "VIRTUAL_KEY",
            },
        )
        file = client.files.create(file=("a.jsonl", TRUEFOUNDRY_FILE.splitlines()[0].encode()), purpose="batch")
        start_batch_response = client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={}
        )
        batches = client.batches.list()
        assert [batch.id for batch in batches] == [start_batch_response.id]
        batch = wait(client, start_batch_response.id)
        assert output(client, batch.id).json()["custom_id"] == "request-1"  # the guide's REST call
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(batch_id=batch.id)


def test_a_batch_made_with_curl(tmp_path: Path) -> None:
    """A batch made with curl, as the guides' REST tabs do, is found by the client."""
    import subprocess

    path = tmp_path / "in.jsonl"
    path.write_text(TRUEFOUNDRY_FILE.splitlines()[0])
    with FakeProvider("portkey") as fake:
        headers = ["-H", f"x-portkey-api-key: {fake.api_key}", "-H", "x-portkey-virtual-key: vk"]

        def curl(*options: str) -> Any:
            done = subprocess.run(["curl", "-sS", *headers, *options], check=True, capture_output=True)
            return json.loads(done.stdout)

        file = curl("--form", "purpose=batch", "--form", f"file=@{path}", f"{fake.base_url}/files")
        create = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        made = curl("-H", "Content-Type: application/json", "--data", json.dumps(create), f"{fake.base_url}/batches")
        assert wait(client_of(fake), made["id"]).status == "completed"
