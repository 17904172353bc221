"""Each fake behaves as its provider does, seen through the official client."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote, unquote

import openai
import pytest

from airflow_batch_provider.testing import FakeProvider, FaultPlan
from tests.testing.speaking import CHAT, client_of, lines_of, output, raw_of, rows, run, submit, wait

FLAVORS = ("openai", "azure", "truefoundry", "portkey")


@pytest.mark.parametrize("flavor", FLAVORS)
def test_all_verbs(flavor: Any) -> None:
    """Every verb of the client works on every flavor, and is recorded with what was sent."""
    with FakeProvider(flavor) as fake:
        client = client_of(fake)
        batch = run(client, 3, metadata={"token": "t"})
        assert batch.status == "completed"
        assert {line["custom_id"] for line in lines_of(client, batch.output_file_id)} == {"row-0", "row-1", "row-2"}
        assert client.files.retrieve(batch.input_file_id).filename == "requests.jsonl"
        assert [item.id for item in client.batches.list(limit=1)] == [batch.id]
        assert client.files.delete(batch.input_file_id).deleted
        with pytest.raises(openai.NotFoundError):
            client.batches.retrieve("batch_unknown")
    assert {call.kind for call in fake.requests} == {"upload", "create", "poll", "download", "other", "list", "delete"}
    (create,) = fake.creates
    assert create.body == {
        "input_file_id": batch.input_file_id,
        "endpoint": CHAT,
        "completion_window": "24h",
        "metadata": {"token": "t"},
    }
    assert fake.api_key in create.headers["authorization"]
    assert fake.api_key not in repr(create)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_wrong_key(flavor: Any) -> None:
    """A wrong key is 401 on every flavor, and makes nothing."""
    with FakeProvider(flavor, api_key="right") as fake:
        client = client_of(fake).with_options(api_key="wrong")
        for call in (lambda: submit(client), client.batches.list):
            with pytest.raises(openai.AuthenticationError):
                call()
        assert fake.batches == []


@pytest.mark.parametrize("flavor", FLAVORS)
def test_cancel(flavor: Any) -> None:
    """A batch that is held can be cancelled, and keeps what it has."""
    with FakeProvider(flavor, FaultPlan(hold_after_rows=2)) as fake:
        client = client_of(fake)
        created = submit(client, 5)
        wait(client, created.id, "in_progress")
        client.batches.cancel(created.id)
        batch = wait(client, created.id)
        assert batch.status == "cancelled"
        assert len(lines_of(client, batch.output_file_id)) <= 2
        assert len(lines_of(client, batch.output_file_id)) + len(lines_of(client, batch.error_file_id)) == 5


# Azure


def test_azure_tells_new_batches_otherwise() -> None:
    """While new: a capital status, ISO times, null counts; while running: empty ids; then an error file of no bytes."""
    with FakeProvider("azure", FaultPlan(hold_after_rows=0)) as fake:
        client = client_of(fake)
        created = submit(client, rows(2, url="/chat/completions"), endpoint="/chat/completions")
        assert created.status == "Validating"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00", str(created.created_at))
        assert created.request_counts.model_dump() == {"total": None, "completed": None, "failed": None}
        running = wait(client, created.id, "in_progress")
        assert (running.output_file_id, running.error_file_id) == ("", "")
        assert isinstance(running.created_at, int)
        fake.faults.hold_after_rows = None
        batch = run(client, rows(2, url="/chat/completions"), endpoint="/chat/completions")
        assert batch.status == "completed"
        assert raw_of(client, batch.error_file_id) == b""
        assert client.files.retrieve(batch.error_file_id).bytes == 0
        for line in lines_of(client, batch.output_file_id):
            assert set(line) == {"custom_id", "response", "error"}
            assert "content_filter_results" in line["response"]["body"]["choices"][0]


def test_azure_lines_may_name_another_endpoint() -> None:
    """Azure takes the endpoint from the lines, in both spellings, but one endpoint for all."""
    line = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "m", "input": "say it"}}
    with FakeProvider("azure") as fake:
        client = client_of(fake)
        batch = run(client, json.dumps(line).encode(), endpoint="/chat/completions")
        assert lines_of(client, batch.output_file_id)[0]["response"]["body"]["object"] == "response"
        mixed = rows(1) + rows(1, url="/chat/completions").replace(b"row-0", b"row-1") + json.dumps(line).encode()
        assert [(item.code, item.line) for item in run(client, mixed).errors.data] == [("url_mismatch", 3)]


def test_azure_by_api_version_and_key_header() -> None:
    """The older API works with AzureOpenAI and its api-key header, and not without api-version."""
    with FakeProvider("azure") as fake:
        client = openai.AzureOpenAI(
            azure_endpoint=fake.origin, api_version="2024-10-21", api_key=fake.api_key, max_retries=0
        )
        batch = run(client, 2)
        assert batch.status == "completed"
        assert len(lines_of(client, batch.output_file_id)) == 2
        assert fake.creates[0].path == "/openai/batches"
        assert fake.creates[0].headers["api-key"] == fake.api_key
        without = openai.OpenAI(base_url=f"{fake.origin}/openai", api_key=fake.api_key, max_retries=0)
        with pytest.raises(openai.NotFoundError):
            without.batches.list()


def test_azure_quota_and_no_expiry() -> None:
    """A full quota refuses the create with 400 token_limit_exceeded, and creates nothing; jobs do not expire."""
    with FakeProvider("azure", FaultPlan(token_limit=1, hold_after_rows=1), rules={"window": 0.01}) as fake:
        client = client_of(fake)
        with pytest.raises(openai.BadRequestError) as caught:
            submit(client)
        assert caught.value.code == "token_limit_exceeded"
        assert fake.batches == []
        assert wait(client, submit(client).id, "in_progress").request_counts.completed <= 1


# TrueFoundry


def test_truefoundry_needs_its_headers() -> None:
    """Without the provider's name every call is refused; with an Azure one the API version is needed too."""
    with FakeProvider("truefoundry") as fake:
        bare = openai.OpenAI(base_url=fake.base_url, api_key=fake.api_key, max_retries=0)
        calls = (
            lambda client: client.files.create(file=("a.jsonl", rows(1)), purpose="batch"),
            lambda client: client.batches.list(),
            lambda client: client.batches.retrieve("batch_x"),
            lambda client: client.files.content("file_x"),
        )
        for call in calls:
            with pytest.raises(openai.BadRequestError, match="x-tfy-provider-name"):
                call(bare)
        azure = client_of(fake, x_tfy_provider_name="azure-main")
        with pytest.raises(openai.BadRequestError, match="x-tfy-azure-api-version"):
            azure.batches.list()
        azure = client_of(fake, x_tfy_provider_name="azure-main", x_tfy_azure_api_version="2024-12-01-preview")
        created = submit(azure, rows(1, url="/chat/completions"), endpoint="/chat/completions")
        assert created.status == "Validating"
        assert wait(azure, created.id).status == "completed"


def test_truefoundry_output_limit_and_virtual_models() -> None:
    """Output has an address of its own; files above 50 MB and virtual models are refused."""
    with FakeProvider("truefoundry", virtual_models=frozenset({"team/router"})) as fake:
        client = client_of(fake)
        batch = run(client, 3)
        answer = output(client, batch.id)
        assert (answer.status_code, answer.content) == (200, raw_of(client, batch.output_file_id))
        with pytest.raises(openai.BadRequestError, match="Virtual models"):
            submit(client, 1, extra_body={"model": "team/router"})
        with pytest.raises(openai.APIStatusError) as caught:
            client.files.create(file=("a.jsonl", b"x" * (51 << 20)), purpose="batch")
        assert caught.value.status_code == 413


# Portkey


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "Either x-portkey-config or x-portkey-provider header is required"),
        ({"x-portkey-provider": "nobody"}, "Invalid provider passed"),
    ],
)
def test_portkey_refuses_a_call_without_route(headers: dict[str, str], message: str) -> None:
    """A call that names no provider, virtual key or config is 400 in Portkey's own shape."""
    with FakeProvider("portkey") as fake:
        client = openai.OpenAI(base_url=fake.base_url, api_key=fake.api_key, default_headers=headers, max_retries=0)
        with pytest.raises(openai.BadRequestError) as caught:
            client.batches.list()
        assert caught.value.response.json() == {"status": "failure", "message": message}


@pytest.mark.parametrize(
    "headers",
    [
        {"x-portkey-provider": "@my-slug"},
        {"x-portkey-virtual-key": "vk-1"},
        {"x-portkey-config": '{"provider": "openai"}'},
        {"x-portkey-provider": "azure-openai"},
    ],
)
def test_portkey_routes_and_keys(headers: dict[str, str]) -> None:
    """Every way to name a route works, with the key in Portkey's header and a placeholder as bearer."""
    with FakeProvider("portkey") as fake:
        client = openai.OpenAI(
            base_url=fake.base_url,
            api_key="PLACEHOLDER_NOT_USED",
            default_headers={**headers, "x-portkey-api-key": fake.api_key},
            max_retries=0,
        )
        assert run(client, 1).status == "completed"


def test_portkey_times_and_counts() -> None:
    """Times are in milliseconds; counts are null while the batch runs and strings when it has ended."""
    with FakeProvider("portkey", FaultPlan(hold_after_rows=0, jobs=1)) as fake:
        client = client_of(fake)
        created = submit(client)
        assert created.created_at > 1e12
        assert created.request_counts.model_dump() == {"total": 0, "completed": None, "failed": None}
        batch = run(client)
        told = json.loads(client.batches.with_raw_response.retrieve(batch.id).content)
        assert told["request_counts"] == {"total": 3, "completed": "3", "failed": "0"}  # the client makes them numbers
        assert batch.completed_at > 1e12


def test_portkey_ids_are_quoted_and_decoded_once() -> None:
    """Encoded ids work when the client quotes the decoded id, and fail when it quotes the encoded one again."""
    with FakeProvider("portkey", uri_ids=True) as fake:
        client = client_of(fake)
        file = client.files.create(file=("a.jsonl", rows(3)), purpose="batch")
        assert file.id.startswith("s3%3A%2F%2F")
        assert (file.created_at, file.model_extra["create_at"] > 1e12) == (None, True)  # type: ignore[index]
        for given in (file.id, unquote(file.id)):
            made = client.batches.create(input_file_id=given, endpoint=CHAT, completion_window="24h")
            assert made.id.startswith("arn%3Aaws%3Abedrock")
        with pytest.raises(openai.BadRequestError):
            client.batches.retrieve(made.id)  # the client encodes the encoded id once more
        batch = wait(client, unquote(made.id))
        assert batch.output_file_id.startswith("s3%3A%2F%2F")
        assert len(lines_of(client, unquote(batch.output_file_id))) == 3
        assert len(output(client, quote(unquote(batch.id), safe="")).content.split(b"\n")) == 4
        first, second = client.batches.list(limit=1).data[0], client.batches.list(limit=1, after=made.id).data[0]
        assert (first.id == made.id, second.id != made.id) == (True, True)


def test_portkey_output_over_openai() -> None:
    """Nothing put out: 404 for a batch without success, and 200 with the errors for one that failed."""
    with FakeProvider("portkey", FaultPlan(fail_rows={"*": 400}, jobs=1)) as fake:
        client = client_of(fake)
        answer = output(client, run(client).id)
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, "No such File object: null")
        assert answer.json()["provider"] == "openai"
        answer = output(client, run(client, b"no json").id)
        assert (answer.status_code, answer.json()["object"]) == (200, "list")
        assert answer.json()["data"][0]["code"] == "invalid_json_line"
        batch = run(client)
        assert output(client, batch.id).content == raw_of(client, batch.output_file_id)


def test_portkey_over_azure() -> None:
    """Over Azure the output falls back to the error file, and lines and statuses are Azure's."""
    with FakeProvider("portkey", FaultPlan(fail_rows={"*": 400}, jobs=1), behind="azure") as fake:
        client = client_of(fake, x_portkey_provider="@azure")
        created = submit(client)
        assert created.status == "Validating"
        batch = wait(client, created.id)
        assert output(client, batch.id).content == raw_of(client, batch.error_file_id) != b""
        assert "id" not in lines_of(client, run(client).output_file_id)[0]
