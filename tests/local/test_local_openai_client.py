"""The official client alone works against the embedded server (must-show 2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.local.serving import CHAT, jsonl, lines_of, request, requests, served, submit, wait


@pytest.fixture
def client(tmp_path: Path) -> Iterator[openai.OpenAI]:
    with served(tmp_path, token="secret-token") as client:
        yield client


def test_chat_end_to_end(client: openai.OpenAI) -> None:
    """Upload, create, retrieve, content: every row is answered once, with usage, in OpenAI's shapes."""
    created = submit(client, jsonl(requests(3)), metadata={"run": "one"})
    assert created.status == "validating"
    assert created.request_counts.model_dump() == {"total": 0, "completed": 0, "failed": 0}
    batch = wait(client, created.id)
    assert batch.status == "completed"
    assert batch.request_counts.model_dump() == {"total": 3, "completed": 3, "failed": 0}
    assert (batch.model, batch.metadata, batch.errors, batch.error_file_id) == ("echo", {"run": "one"}, None, None)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    assert batch.expires_at == batch.created_at + 86_400
    assert batch.usage.total_tokens == batch.usage.input_tokens + batch.usage.output_tokens == 18
    lines = lines_of(client, batch.output_file_id)
    answers = {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in lines}
    assert answers == {f"row-{number}": f"text number {number}" for number in range(3)}
    assert all(set(line) == {"id", "custom_id", "response", "error"} and line["error"] is None for line in lines)
    assert all(line["response"]["status_code"] == 200 for line in lines)
    output = client.files.retrieve(batch.output_file_id)
    assert (output.purpose, output.bytes) == ("batch_output", len(client.files.content(output.id).content))


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/embeddings", {"input": ["one text", "another"]}),
        ("/v1/completions", {"prompt": "say it"}),
        ("/v1/responses", {"input": "say it"}),
        ("/v1/moderations", {"input": "say it"}),
    ],
)
def test_other_endpoints(client: openai.OpenAI, endpoint: str, body: dict[str, object]) -> None:
    """Every endpoint of the server makes a batch."""
    line = {"custom_id": "a", "method": "POST", "url": endpoint, "body": {"model": "echo", **body}}
    batch = wait(client, submit(client, jsonl([line]), endpoint).id)
    assert batch.request_counts.completed == 1
    answered = lines_of(client, batch.output_file_id)[0]["response"]["body"]
    if endpoint == "/v1/embeddings":
        assert [item["index"] for item in answered["data"]] == [0, 1]
        assert batch.usage.input_tokens == 3


def test_a_failed_row_is_in_the_error_file(client: openai.OpenAI) -> None:
    """A bad row is a line of the error file with the response's status, and error null; the batch is completed."""
    bad = {"custom_id": "bad", "method": "POST", "url": CHAT, "body": {"model": "echo", "messages": 7}}
    batch = wait(client, submit(client, jsonl([request("good"), bad, request("stream", stream=True)])).id)
    assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("completed", 1, 2)
    failed = {line["custom_id"]: line for line in lines_of(client, batch.error_file_id)}
    assert set(failed) == {"bad", "stream"}
    assert failed["bad"]["response"]["status_code"] == 400
    assert failed["bad"]["response"]["body"]["error"]["type"] == "invalid_request_error"
    assert failed["bad"]["error"] is None


def test_all_rows_failed_is_completed_without_output(client: openai.OpenAI) -> None:
    """A batch none of whose rows succeeded is completed, with an error file and no output file."""
    batch = wait(client, submit(client, jsonl([request("a", stream=True)])).id)
    assert (batch.status, batch.output_file_id) == ("completed", None)
    assert len(lines_of(client, batch.error_file_id)) == 1


def test_list_pages_newest_first(client: openai.OpenAI) -> None:
    """Lists come newest first, page by page, each batch once."""
    ids = [submit(client, jsonl([request("a")])).id for _ in range(5)]
    page = client.batches.list(limit=2)
    assert [batch.id for batch in page.data] == ids[:2:-1]
    assert page.has_more
    assert [batch.id for batch in client.batches.list(limit=2)] == ids[::-1]
    with pytest.raises(openai.BadRequestError):
        client.batches.list(limit=101)
    with pytest.raises(openai.BadRequestError):
        client.batches.list(after="batch_unknown")


def test_files_are_listed_and_deleted(client: openai.OpenAI) -> None:
    """A file is listed and read back byte for byte until it is deleted; afterwards it is 404."""
    content = jsonl([request("a", "ünïcode \u2028")])
    file = client.files.create(
        file=("in.jsonl", content), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert (file.bytes, file.filename, file.status) == (len(content), "in.jsonl", "processed")
    assert file.expires_at == file.created_at + 3600
    assert [item.id for item in client.files.list(purpose="batch")] == [file.id]
    assert client.files.content(file.id).content == content
    assert client.files.delete(file.id).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match="No such File object"):
            call(file.id)


def test_a_wrong_token_is_refused(client: openai.OpenAI) -> None:
    """Without the token every call is 401 in OpenAI's shape, and the token is told to nobody."""
    for key in ("wrong", "Bearer secret-token"):
        with pytest.raises(openai.AuthenticationError) as caught:
            client.with_options(api_key=key).files.list()
        assert caught.value.code == "invalid_api_key"
        assert "secret-token" not in str(caught.value)


def test_files_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is gone when its lifetime is over: the input's own, and the one that a create gives the output."""
    life = {"anchor": "created_at", "seconds": 3600}
    with served(tmp_path) as client:
        batch = wait(client, submit(client, jsonl([request("a")]), extra_body={"output_expires_after": life}).id)
        output = client.files.retrieve(batch.output_file_id)
        assert output.expires_at == output.created_at + 3600
        monkeypatch.setattr("airflow_batch_provider.local.app.now", lambda: output.created_at + 3600)
        with pytest.raises(openai.NotFoundError):
            client.files.content(batch.output_file_id)
        assert client.files.retrieve(batch.input_file_id).expires_at is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra_body": {"output_expires_after": {"anchor": "created_at", "seconds": 1}}}, "output_expires_after"),
        ({"extra_body": {"output_expires_after": 7}}, "anchor"),
        ({"endpoint": "/v1/unknown"}, "Supported values"),
        ({"completion_window": "48h"}, "Supported values are: '24h'"),
        ({"input_file_id": "file-unknown"}, "No such File object"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "at most 16"),
        ({"metadata": {"key": "x" * 513}}, "512"),
        ({"metadata": {"k" * 65: "x"}}, "64"),
    ],
)
def test_a_bad_create_is_400(client: openai.OpenAI, changes: dict[str, object], message: str) -> None:
    """A create that OpenAI refuses is refused, and makes no batch."""
    file = client.files.create(file=("in.jsonl", jsonl([request("a")])), purpose="batch")
    good = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    with pytest.raises(openai.BadRequestError, match=message):
        client.batches.create(**{**good, **changes})  # type: ignore[arg-type]
    assert not client.batches.list().data


def test_unknown_ids_paths_and_forms(client: openai.OpenAI) -> None:
    """What does not exist is 404, a wrong purpose or lifetime 400, each in OpenAI's shape."""
    with pytest.raises(openai.NotFoundError, match="No batch found"):
        client.batches.retrieve("batch_unknown")
    with pytest.raises(openai.NotFoundError, match="No batch found"):
        client.batches.cancel("batch_unknown")
    with pytest.raises(openai.NotFoundError, match="/v1/fine_tuning/jobs"):
        client.fine_tuning.jobs.list()
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=("a.jsonl", b"{}"), purpose="fine-tune")
    with pytest.raises(openai.BadRequestError, match="expires_after"):
        client.files.create(
            file=("a.jsonl", b"{}"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 60}
        )
    with pytest.raises(openai.BadRequestError, match="not a JSON object"):
        client.post("/batches", content=b"{", cast_to=object)
    with pytest.raises(openai.APIStatusError, match=r"415.*multipart"):
        client.post("/files", body={"a": 1}, cast_to=object)


def test_a_completed_batch_cannot_be_cancelled(client: openai.OpenAI) -> None:
    """Cancelling what has ended is 409 and changes nothing."""
    batch = wait(client, submit(client, jsonl([request("a")])).id)
    with pytest.raises(openai.ConflictError, match="completed"):
        client.batches.cancel(batch.id)
    assert client.batches.retrieve(batch.id).status == "completed"


def test_real_time_calls(client: openai.OpenAI) -> None:
    """The engine answers real-time calls too, and models are listed."""
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "say this"}])
    assert (answer.choices[0].message.content, answer.model) == ("say this", "m")
    assert len(client.embeddings.create(model="m", input="x").data[0].embedding) == 8
    assert client.responses.create(model="m", input="say that").output_text == "say that"
    assert client.completions.create(model="m", prompt="p").choices[0].text == "p"
    assert not client.moderations.create(input="p").results[0].flagged
    assert [model.id for model in client.models.list()] == ["echo"]
    with pytest.raises(openai.BadRequestError, match="stream"):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True)
