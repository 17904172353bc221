"""The ``portkey_ai`` SDK brings batches to our Portkey fakes: the guides' own snippets, and the SDK's other verbs.

Of a snippet only what its guide leaves to the reader is filled in: keys, addresses, names and ids. Where a guide names
no address the fake's is added.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from portkey_ai import AsyncPortkey, Portkey
from portkey_ai._vendor import openai as vendored
from portkey_ai.api_resources.exceptions import NotFoundError

from airflow_batch_provider.connections.gateways import CLAUDE, ROLE
from airflow_batch_provider.testing.routes import fake_route
from tests.clients.servers import CHAT, TERMINAL, jsonl, request, said
from tests.patience import PATIENCE

ENDED = (*TERMINAL, "stopped")

NYU_FILE = """\
{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gemini-3-flash-preview", "messages": [{"role": "user", "content": "Where is NYU located?"}], "max_tokens": 2048}}
{"custom_id": "request-2", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gemini-3-flash-preview", "messages": [{"role": "user", "content": "What resources are available for genAI research at nyu?"}], "max_tokens": 8196}}
"""  # noqa: E501 - as it stands in the guide
NYU_UPLOAD = """
from portkey_ai import Portkey
# Initialize the Portkey client
portkey = Portkey(
api_key="", # Replace with your Portkey API key
provider="@vertexai",
base_url="https://ai-gateway.apps.cloud.rt.nyu.edu/v1/",
vertex_storage_bucket_name="", # Specify the GCS bucket name
provider_file_name="test_dataset.jsonl", # Specify the file name in GCS
provider_model="gemini-3-flash-preview", # Specify the model to use
)
# Upload a file for batch inference
file = portkey.files.create(file=open("test_dataset.jsonl", mode="rb"), purpose="batch")
print(file)
"""
NYU_CREATE = """
from portkey_ai import Portkey
# Initialize the Portkey client
portkey = Portkey(
api_key="", # Replace with your Portkey API key
provider="@vertexai",
base_url="https://ai-gateway.apps.cloud.rt.nyu.edu/v1/",
vertex_storage_bucket_name="", # Specify the GCS bucket name
provider_model="gemini-3-flash-preview", # Specify the model to use
)
# Create a batch inference job
batch_job = portkey.batches.create(
input_file_id="", # Copy this from the output of the last script
endpoint="/v1/chat/completions", # API endpoint to use
completion_window="24h", # Time window for completion
model="gemini-3-flash-preview",
)
print(batch_job)
"""
NYU_STATUS = """
curl -H "x-portkey-api-key: " -H "x-portkey-provider: @vertexai" \
https://ai-gateway.apps.cloud.rt.nyu.edu/v1/batches/your-batch-inference-job-id
"""
NYU_OUTPUT = """
curl -H "x-portkey-api-key: " -H "x-portkey-provider: @vertexai" \
https://ai-gateway.apps.cloud.rt.nyu.edu/v1/batches/7284652661620604928/output
"""

BEDROCK_CLIENT = """
from portkey_ai import Portkey

# Initialize the Portkey client
portkey = Portkey(
    api_key="PORTKEY_API_KEY",  # Replace with your Portkey API key
    provider="bedrock",
    aws_access_key_id="YOUR_AWS_ACCESS_KEY_ID",
    aws_secret_access_key="YOUR_AWS_SECRET_ACCESS_KEY",
    aws_region="YOUR_AWS_REGION",
    aws_s3_bucket="YOUR_AWS_S3_BUCKET",
    aws_s3_object_key="YOUR_AWS_S3_OBJECT_KEY",
    aws_bedrock_model="YOUR_AWS_BEDROCK_MODEL"
)
"""
BEDROCK_CREATE = """
start_batch_response = portkey.batches.create(
  input_file_id="file_id", # file id of the input file
  endpoint="endpoint", # ex: /v1/chat/completions
  completion_window="completion_window", # ex: 24h
  metadata={}, # metadata for the batch,
  role_arn="arn:aws:iam::12312:role/BedrockBatchRole", # the role to use for creating the batch job
  model="anthropic.claude-3-5-sonnet-20240620-v1:0", # the model to use for the batch
  output_data_config={
    "s3OutputDataConfig": {
      "s3Uri": "s3://generations-raw/",
      "s3EncryptionKeyId": "arn:aws:kms:us-west-2:517194595696:key/89b483cb-130d-497b-aa37-7db177e7cd32" # this is optional, if you want to use a KMS key to encrypt the output data
    }
  }, # output_data_config is optional, if you want to specify a different output location for the batch job, default is the same as the input file
  job_name="anthropi-requests-test" # optional
)

print(start_batch_response)
"""  # noqa: E501 - as it stands in the guide
VIRTUAL_KEY_CLIENT = """
from portkey_ai import Portkey

# Initialize the Portkey client
portkey = Portkey(
    api_key="PORTKEY_API_KEY",  # Replace with your Portkey API key
    virtual_key="VIRTUAL_KEY",   # Add your provider's virtual key
)
"""
BEDROCK_LIST = """
batches = portkey.batches.list()

print(batches)
"""
BEDROCK_RETRIEVE = """
batch = portkey.batches.retrieve(batch_id="batch_id")

print(batch)
"""
BEDROCK_CANCEL = """
cancel_batch_response = portkey.batches.cancel(batch_id="batch_id")

print(cancel_batch_response)
"""
BEDROCK_OUTPUT = """
curl --location 'https://api.portkey.ai/v1/batches/<batch_id>/output' \
--header 'x-portkey-api-key: <portkey_api_key>' \
--header 'x-portkey-virtual-key: <virtual_key>' \
"""

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file"),  # the guide leaves its file open
    pytest.mark.filterwarnings("ignore:The `dict` method is deprecated"),  # the SDK's way to print an object
]


class Reader:
    """Who runs a guide's snippets one after another.

    :param capture: what was printed.
    :param blanks: text of the guide, and what its reader puts there.
    """

    def __init__(self, capture, **blanks):
        self._capture = capture
        self.blanks = blanks
        self.names = {}

    def _filled(self, snippet, fills):
        for blank, value in {**self.blanks, **fills}.items():
            snippet = snippet.replace(blank, value)
        return snippet

    def run(self, snippet, fills=None):
        """The JSON that the snippet prints, None when it prints nothing."""
        exec(compile(self._filled(snippet, fills or {}), "<guide>", "exec"), self.names)
        printed = self._capture.readouterr().out
        return json.loads(printed) if printed else None

    def curl(self, snippet, fills):
        """The lines that the snippet's curl writes."""
        argv = shlex.split(self._filled(snippet, fills).replace("\\\n", " "))
        done = subprocess.run([*argv, "-sS", "--noproxy", "*"], check=True, capture_output=True)
        return [json.loads(line) for line in done.stdout.split(b"\n") if line]


def until_ended(ask):
    """The first answer that tells an end."""
    end = time.monotonic() + PATIENCE
    while (batch := ask())["status"] not in ENDED:
        assert time.monotonic() < end, batch
        time.sleep(0.02)
    return batch


def answers(lines):
    """custom_id and what was answered."""
    told = {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in lines}
    assert len(told) == len(lines)
    return told


@pytest.fixture
def route(request):
    with fake_route(request.param) as route:
        yield route


def client_of(route, kind=Portkey):
    return kind(api_key=route.fake.api_key, base_url=route.fake.base_url, virtual_key="virtual", max_retries=0)


@pytest.mark.parametrize("route", ["portkey_vertex"], indirect=True)
def test_nyus_guide(route, tmp_path, monkeypatch, capsys):
    """NYU's way to Vertex AI: two scripts and two curls; what they print is what the guide says they print."""
    monkeypatch.chdir(tmp_path)
    Path("test_dataset.jsonl").write_text(NYU_FILE)
    fake = route.fake
    reader = Reader(
        capsys,
        **{
            'api_key=""': f'api_key="{fake.api_key}"',
            "x-portkey-api-key: ": f"x-portkey-api-key: {fake.api_key}",
            "https://ai-gateway.apps.cloud.rt.nyu.edu/v1": fake.base_url,
            'bucket_name=""': 'bucket_name="bucket"',
        },
    )
    file = reader.run(NYU_UPLOAD)
    assert list(file) == [
        *("id", "bytes", "created_at", "filename", "object", "purpose", "status", "status_details", "create_at")
    ]
    assert (file["filename"], file["created_at"], file["status"]) == ("test_dataset.jsonl", None, "processed")
    job = reader.run(NYU_CREATE, {'input_file_id=""': f'input_file_id="{file["id"]}"'})["id"]
    batch = until_ended(lambda: reader.curl(NYU_STATUS, {"your-batch-inference-job-id": job})[0])
    assert (batch["id"], batch["status"], batch["input_file_id"]) == (job, "completed", file["id"])
    assert batch["created_at"] > 1e12
    lines = reader.curl(NYU_OUTPUT, {"7284652661620604928": job})
    assert answers(lines) == {
        "request-1": "Where is NYU located?",
        "request-2": "What resources are available for genAI research at nyu?",
    }
    assert {line["response"]["body"]["provider"] for line in lines} == {"vertex-ai"}
    assert [one["status"] for one in fake.batches] == ["completed"]


@pytest.mark.parametrize("route", ["portkey_bedrock"], indirect=True)
def test_portkeys_guide_to_bedrock(route, capsys):
    """Portkey's way to Bedrock: own keys, then a virtual key; 100 rows come back under their names."""
    fake = route.fake
    reader = Reader(
        capsys,
        **{
            '"PORTKEY_API_KEY"': f'"{fake.api_key}", base_url="{fake.base_url}"',
            "YOUR_AWS_SECRET_ACCESS_KEY": fake.api_key,
            "YOUR_AWS_BEDROCK_MODEL": CLAUDE,
        },
    )
    reader.run(BEDROCK_CLIENT)
    upload = reader.names["portkey"].files.create(
        file=("rows.jsonl", jsonl([request(number) for number in range(100)])), purpose="batch"
    )
    made = reader.run(
        BEDROCK_CREATE, {'"file_id"': f'"{upload.id}"', '"endpoint"': f'"{CHAT}"', '"completion_window"': '"24h"'}
    )
    assert (made["object"], made["status"]) == ("batch", None)  # the gateway tells no more than the id
    reader.run(VIRTUAL_KEY_CLIENT)
    decoded = {'"batch_id"': f'"{unquote(made["id"])}"'}
    batch = until_ended(lambda: reader.run(BEDROCK_RETRIEVE, decoded))
    assert (batch["id"], batch["status"]) == (made["id"], "completed")
    listed = reader.run(BEDROCK_LIST)
    assert [(one["id"], one["status"]) for one in listed["data"]] == [(made["id"], "Completed")]
    with pytest.raises(vendored.ConflictError):
        reader.run(BEDROCK_CANCEL, decoded)
    here = {"https://api.portkey.ai/v1": fake.base_url, "<portkey_api_key>": fake.api_key}
    lines = reader.curl(BEDROCK_OUTPUT.rstrip("\\\n "), {**here, "<batch_id>": made["id"]})
    assert answers(lines) == {f"row-{number}": said(number) for number in range(100)}
    assert len(fake.batches) == 1


@pytest.mark.parametrize("route", ["portkey_bedrock"], indirect=True)
def test_ids_as_the_gateway_tells_them(route):
    """The SDK encodes an id once more for retrieve and cancel, and not at all for output, as the real gateway found."""
    client = Portkey(
        api_key=route.fake.api_key,
        base_url=route.fake.base_url,
        virtual_key="virtual",
        aws_s3_bucket="bucket",
        aws_bedrock_model=CLAUDE,
        max_retries=0,
    )
    file = client.files.create(file=("a.jsonl", jsonl([request(number) for number in range(100)])), purpose="batch")
    told = client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", role_arn=ROLE, model=CLAUDE
    ).id
    for verb in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(vendored.BadRequestError):
            verb(told)
    until_ended(lambda: client.batches.retrieve(unquote(told)))
    assert len(client.batches.output(told).content.split(b"\n")) == 101
    with pytest.raises(NotFoundError):
        client.batches.output(unquote(told))


@pytest.mark.parametrize("route", ["portkey"], indirect=True)
def test_every_verb_over_openai(route):
    """Upload, create, retrieve, list, output, content, delete: behind a virtual key, with OpenAI's own ids."""
    client = client_of(route)
    file = client.files.create(file=("in.jsonl", jsonl([request(number) for number in range(6)])), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"asked": "by portkey_ai"}
    )
    batch = until_ended(lambda: client.batches.retrieve(made.id))
    assert (batch.status, batch.metadata, batch.errors) == ("completed", {"asked": "by portkey_ai"}, None)
    assert batch.request_counts.model_dump() == {"completed": 6, "failed": 0, "total": 6}
    expected = {f"row-{number}": said(number) for number in range(6)}
    for content in (client.batches.output(made.id).content, client.files.content(batch.output_file_id).content):
        assert answers([json.loads(line) for line in content.split(b"\n") if line]) == expected
    assert client.files.retrieve(batch.output_file_id).purpose == "batch_output"
    assert [one.id for one in client.batches.list().data] == [made.id]
    assert {one.id for one in client.files.list().data} == {file.id, batch.output_file_id}
    assert client.files.delete(file.id).deleted
    assert len(route.fake.batches) == 1


@pytest.mark.parametrize("route", ["portkey"], indirect=True)
def test_pages_and_cancel(route):
    """A list goes on after an id; a cancelled batch ends as cancelled."""
    client = client_of(route)
    file = client.files.create(file=("in.jsonl", jsonl([request(0), request(1)])), purpose="batch")
    route.fake.faults.hold_after_rows = 1
    made = [client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h").id for _ in range(3)]
    page = client.batches.list(limit=2)
    assert ([one.id for one in page.data], page["has_more"]) == (made[:0:-1], True)
    rest = client.batches.list(limit=2, after=page.data[-1].id)
    assert ([one.id for one in rest.data], rest["has_more"]) == (made[:1], False)
    assert client.batches.cancel(made[0]).status == "cancelling"
    assert until_ended(lambda: client.batches.retrieve(made[0])).status == "cancelled"


@pytest.mark.parametrize("route", ["portkey"], indirect=True)
async def test_the_asynchronous_sdk(route):
    """The asynchronous client does the same."""
    client = client_of(route, AsyncPortkey)
    file = await client.files.create(file=("in.jsonl", jsonl([request(0)])), purpose="batch")
    made = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    while (batch := await client.batches.retrieve(made.id)).status not in ENDED:
        pass
    assert batch.status == "completed"
    content = (await client.files.content(batch.output_file_id)).content
    assert answers([json.loads(content)]) == {"row-0": said(0)}
    assert [one["id"] for one in route.fake.batches] == [made.id]


@pytest.mark.parametrize("route", ["portkey"], indirect=True)
def test_a_failed_batch(route):
    """Why a batch failed is told, with its line."""
    client = client_of(route)
    file = client.files.create(file=("in.jsonl", jsonl([request(0), request(0)])), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    batch = until_ended(lambda: client.batches.retrieve(made.id))
    assert batch.status == "failed"
    assert [(error.code, error.line) for error in batch.errors.data] == [("duplicate_custom_id", 2)]
