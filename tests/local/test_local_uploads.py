"""Uploads go to the disk as they arrive, and large batches stay out of memory."""

from __future__ import annotations

import http.client
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from airflow_batch_provider.local.objects import ApiError
from airflow_batch_provider.local.uploads import Upload
from tests.local.serving import Process, client_of, jsonl, request, requests, served, submit, wait

BODY = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\nline 1\r\nline 2\n\r\n--b--\r\n"
)


async def receive(tmp_path: Path, body: bytes, size: int, most: int = 1_000) -> Upload:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    upload = Upload("multipart/form-data; boundary=b", tmp_path / "part", most)
    await upload.receive(chunks())
    return upload


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
async def test_any_chunks_give_the_same_bytes(tmp_path: Path, size: int) -> None:
    """However the network cuts a form, fields and file come out byte for byte."""
    upload = await receive(tmp_path, BODY, size)
    assert (upload.fields, upload.filename, upload.size) == ({"purpose": "batch"}, "in.jsonl", 15)
    assert (tmp_path / "part").read_bytes() == b"line 1\r\nline 2\n"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (BODY[:-10], 400, "ends before"),
        (b"no form at all", 400, "not well-formed"),
        (BODY.replace(b"line 1", b"x" * 2_000), 413, "larger than 1000 bytes"),
        (BODY.replace(b"batch\r\n", b"x" * 20_000 + b"\r\n"), 400, "too long"),
    ],
)
async def test_bad_forms_are_refused(tmp_path: Path, body: bytes, status: int, message: str) -> None:
    """A form that is cut short, malformed or too large is refused with its HTTP status."""
    with pytest.raises(ApiError, match=message) as caught:
        await receive(tmp_path, body, 100)
    assert caught.value.http_status == status


def test_a_file_above_the_limit_is_413_and_leaves_nothing(tmp_path: Path) -> None:
    """A file above the upload limit is refused by size told and by size sent, and no bytes stay behind."""
    with served(tmp_path, max_upload_bytes=1_000) as client:
        with pytest.raises(openai.APIStatusError, match="larger than 1000") as caught:
            client.files.create(file=("in.jsonl", b"x" * 2_000), purpose="batch")
        assert caught.value.status_code == 413
        connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port or 0)
        connection.putrequest("POST", "/v1/files")
        connection.putheader("content-type", "multipart/form-data; boundary=b")
        connection.putheader("content-length", str(1 << 30))
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()
        assert not client.files.list().data
    assert not list((tmp_path / "files").iterdir())


def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    """An upload that stops in the middle leaves no file and no part of one."""
    with served(tmp_path) as client:
        connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port or 0)
        connection.putrequest("POST", "/v1/files")
        connection.putheader("content-type", "multipart/form-data; boundary=b")
        connection.putheader("content-length", "1000")
        connection.endheaders(BODY[:100])
        connection.close()
        assert not client.files.list().data
    assert not list((tmp_path / "files").glob("*"))


def test_a_large_upload_stays_out_of_memory(tmp_path: Path) -> None:
    """A file of 150 MB, checked and read back, adds little to the server's memory."""
    big = tmp_path / "big.jsonl"
    row = jsonl([request("row", "x" * 100_000)])
    with big.open("wb") as stream:
        for number in range(1_500):
            stream.write(row.replace(b'"row"', f'"row-{number}"'.encode()))
    with Process(tmp_path / "data", "--engine", "echo") as process:
        client = client_of(process.base_url)
        status = Path(f"/proc/{process.pid}/status")
        before = peak(status)
        with big.open("rb") as stream:
            file = client.files.create(file=("big.jsonl", stream), purpose="batch")
        assert file.bytes == big.stat().st_size > 150_000_000
        with client.files.with_streaming_response.content(file.id) as response:
            assert sum(len(chunk) for chunk in response.iter_bytes()) == file.bytes
        assert peak(status) - before < 60_000_000
        process.end(signal.SIGTERM)


def peak(status: Path) -> int:
    """The most memory a process ever had, in bytes."""
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1_024


def test_the_loop_lives_while_rows_run(tmp_path: Path) -> None:
    """An engine that never waits does not keep the server from answering."""
    with served(tmp_path) as client:
        batch = submit(client, jsonl(requests(10_000)))
        seen = {0}
        while max(seen) < 10_000:
            seen.add(client.batches.retrieve(batch.id).request_counts.completed)
        assert seen - {0, 10_000}


def test_the_data_directory_is_the_owners_alone(tmp_path: Path) -> None:
    """X19: uploads, answers and the database hold prompts; nobody else on the machine can read them."""
    folder = tmp_path / "data"
    with served(folder) as client:
        assert wait(client, submit(client, jsonl(requests(3))).id).status == "completed"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert (modes["data"], modes["files"], modes["batch.db"]) == (0o700, 0o700, 0o600)
    assert all(mode == 0o600 for name, mode in modes.items() if name.startswith("file-")), modes
