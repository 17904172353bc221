"""X15: keys never follow a redirect; a file that is kept in a bucket is read there without any of our headers."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.errors import BatchInferenceError, ConfigurationError, NotFoundError, ProviderError
from airflow_batch_provider.core.records import Job, JobStatus, Shard
from airflow_batch_provider.testing.routes import ROUTES, FakeRoute, fake_route
from tests.backends.scripted import Scripted, answer

SECRETS = {
    "truefoundry_batch": {"extra_headers": {"x-team-key": "hd-81c5d2ae"}},
    "portkey_batch": {"extra_headers": {"x-team-key": "hd-81c5d2ae"}},
}
WIRE = tuple(name for name in ROUTES if name not in ("bedrock", "vertex_ai"))
LINE = b'{"custom_id": "a", "response": {"status_code": 200, "body": {}}, "error": null}\n'
OURS = {"host", "accept", "accept-encoding", "connection", "user-agent"}
"""What any client sends; nothing else may reach a host that a redirect names."""


def routed(name: str, url: str) -> Backend:
    """The backend of a route's own connection, at another address, with keys wherever one may be."""
    with fake_route(name) as route:
        connection = dict(route.connection)
        model = route.model
    extra = {"default_model": model, **connection.get("extra", {}), **SECRETS.get(connection["conn_type"], {})}
    if name in ("bedrock", "vertex_ai"):
        extra |= {field: url for field in extra if field.endswith("_url")}
    else:
        connection["host"] = url
    return FakeRoute(name, None, {**connection, "extra": extra}, model, 1).backend()


def job_of(name: str) -> Job:
    if name == "bedrock":
        return Job("arn:aws:bedrock:us-east-1:1:model-invocation-job/a", JobStatus.COMPLETED, outputs=("s3://b/o/a/",))
    if name == "vertex_ai":
        return Job("projects/p/locations/l/batchPredictionJobs/1", JobStatus.COMPLETED, outputs=("gs://b/o/",))
    return Job("batch_1", JobStatus.COMPLETED, outputs=("file-out.jsonl",))


def calls_of(backend: Any, name: str) -> dict[str, Callable[[], Any]]:
    """Every call that a backend makes, by its name."""
    job = job_of(name)
    file = {"bedrock": "s3://b/k.jsonl", "vertex_ai": "gs://b/k.jsonl"}.get(name, "file-1")
    shard = Shard(0, 0, 1, 10, backend.models.default, "/v1/chat/completions")
    request = backend.create_request(shard, "tok0", file, {})
    return {
        "retrieve": lambda: backend.retrieve(job.id),
        "list": lambda: list(backend.list_jobs(limit=1)),
        "find": lambda: backend.find([]),
        "upload": lambda: backend.upload(shard, "tok0", io.BytesIO(LINE), {}),
        "upload_file": lambda: backend.upload_file("a.jsonl", io.BytesIO(LINE)),
        "create": lambda: backend.create(request),
        "cancel": lambda: backend.cancel(job.id),
        "check": backend.probe,
        "poll": lambda: asyncio.run(backend.apoll([job.id])),
        "acancel": lambda: asyncio.run(backend.acancel([job.id])),
        "download": lambda: list(backend.download(file)),
        "outputs": lambda: list(backend.outputs(job)),
    }


DOWNLOADS = frozenset({"download", "outputs"})


@pytest.fixture
def other() -> Iterator[Scripted]:
    """The host that a redirect names; it counts who comes."""
    with Scripted(answer("200 OK", LINE, "Content-Type: application/octet-stream")) as server:
        yield server


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 T", "308 P"])
@pytest.mark.parametrize("name", ROUTES)
def test_no_key_follows_a_redirect(name: str, status: str, other: Scripted) -> None:
    """X15: whatever is called, the other host sees nobody, and the error names both hosts and the remedy. Content is
    read there, without one header of the connection."""
    with Scripted(answer(status, b"<html>moved</html>", f"Location: {other.base_url}/there")) as server:
        backend = routed(name, server.base_url.removesuffix("/v1"))
        for call, make in calls_of(backend, name).items():
            before = len(other.requests)
            made, error = outcome(make)
            seen = other.requests[before:]
            if error is None:
                assert call in DOWNLOADS, (call, made)
                assert name in WIRE, (call, made)
                assert b"".join(made) == LINE
                assert headers_of(seen) <= OURS, (call, seen)
                continue
            assert seen == [], (call, seen)
            if not (name == "bedrock" and status[:3] == "303"):  # urllib3 breaks on it: no answer, nothing followed
                assert f"{server.base_url.removesuffix('/v1')}/" in error, (call, error)
                assert f"{other.base_url}/there" in error, (call, error)
                assert "host" in error, (call, error)
        backend.close()
        assert server.requests, "nothing was called"


def outcome(make: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return make(), None
    except BatchInferenceError as error:
        return None, str(error)


def headers_of(requests: list[bytes]) -> set[str]:
    heads = [one.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:] for one in requests]
    return {line.partition(":")[0].lower() for head in heads for line in head}


def test_entra_refuses_redirects(other: Scripted) -> None:
    """X15: the client secret travels in the body of the call for a token, which no redirect may repeat elsewhere."""
    from airflow_batch_provider.hooks.azure_credentials import EntraAccess, sign_in

    for status in ("302 Found", "307 Temporary Redirect"):
        with Scripted(answer(status, b"", f"Location: {other.base_url}")) as server:
            host = server.base_url.removesuffix("/v1")
            access = EntraAccess("c", tenant_id="t", client_id="i", client_secret="s3cr3t-91", authority_host=host)
            with pytest.raises(BatchInferenceError):
                sign_in(access).token()
    assert other.requests == []


def downloaded(*locations: str, status: str = "302 Found") -> bytes:
    """What is downloaded when each host names the next one."""
    with Scripted(answer(status, b"", f"Location: {locations[0]}")) as server:
        backend = routed("portkey", server.base_url)
        try:
            return b"".join(backend.download("file-1"))
        finally:
            backend.close()


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://storage.example.com/f?sig=s3cr3t-91", "not an https address"),
        ("file:///etc/passwd", "not an https address"),
        ("ftp://storage.example.com/f", "not an https address"),
        ("/elsewhere", "on the same host"),
        ("https://user:s3cr3t-91@", "not an https address"),
    ],
)
def test_content_is_read_at_proper_addresses_only(location: str, said: str) -> None:
    """X15: https alone, plain http between loopback addresses; no signature is quoted."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        downloaded(location)
    assert "s3cr3t-91" not in str(caught.value)


def test_a_plain_address_beside_a_public_provider(other: Scripted) -> None:
    """X15: a provider on the internet cannot make a worker read what listens on its loopback."""
    from airflow_batch_provider.backends.redirects import read_elsewhere

    with pytest.raises(ConfigurationError, match="not an https address"):
        list(read_elsewhere("GET /f", "https://api.example.com/v1/f", other.base_url, {}))
    assert other.requests == []


def test_redirects_of_content_are_bounded() -> None:
    """X15: hosts that name each other end in an error."""
    loop = Scripted(None)
    loop.reply = answer("302 Found", b"", f"Location: {loop.base_url.replace('127.0.0.1', 'localhost')}/f")
    with loop, pytest.raises(ConfigurationError, match="more than 5 redirects"):
        downloaded(loop.base_url)
    assert len(loop.requests) == 5


@pytest.mark.parametrize(
    ("status", "kind"), [("404 Not Found", NotFoundError), ("403 Forbidden", ProviderError), ("503 X", ProviderError)]
)
def test_what_the_bucket_refuses(status: str, kind: type[Exception]) -> None:
    """X15: an expired signature is not the connection's key: the next call is given a new address."""
    with Scripted(answer(status)) as bucket, pytest.raises(kind, match="where the provider keeps the file"):
        downloaded(f"{bucket.base_url}/f?sig=s3cr3t-91")


def test_content_elsewhere_that_is_cut() -> None:
    """X15: what breaks off there is a failed download, as it is at the provider."""
    with (
        Scripted(answer("200 OK", LINE, length=500)) as bucket,
        pytest.raises(ProviderError, match="broke off") as caught,
    ):
        downloaded(f"{bucket.base_url}/f?sig=s3cr3t-91")
    assert "s3cr3t-91" not in str(caught.value)


def test_a_run_over_presigned_addresses(other: Scripted) -> None:
    """X15: a gateway that hands out its bucket's address for every file works as one that streams it."""
    with Scripted(answer("302 Found", b"", f"Location: {other.base_url}/f?sig=1")) as server:
        backend = routed("azure_openai", server.base_url.removesuffix("/v1"))
        job = replace(job_of("azure_openai"), outputs=("f1", "f2"))
        assert b"".join(backend.outputs(job)) == LINE * 2
        backend.close()
