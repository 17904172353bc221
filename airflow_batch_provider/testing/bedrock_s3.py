"""S3 by moto, behind a door that records, asks for the key, denies and breaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from airflow_batch_provider.testing.calls import Call
from airflow_batch_provider.testing.echo import text_of
from airflow_batch_provider.testing.faults import FaultPlan

SERVICE_KEY = "AKIAFAKESERVICEROLE0"
"""Who the fake itself is when it reads input and writes output: neither recorded nor denied."""

_ACTIONS = {
    "upload": "s3:PutObject",
    "part": "s3:PutObject",
    "complete": "s3:PutObject",
    "abort": "s3:AbortMultipartUpload",
    "download": "s3:GetObject",
    "stat": "s3:GetObject",
    "delete": "s3:DeleteObject",
    "objects": "s3:ListBucket",
    "head": "s3:ListBucket",
    "location": "s3:GetBucketLocation",
    "bucket": "s3:CreateBucket",
}
_CODES = {403: "AccessDenied", 404: "NoSuchKey", 429: "SlowDown", 500: "InternalError", 503: "ServiceUnavailable"}


class FakeS3:
    """moto's S3 on a free loopback port.

    :param keys: the access keys that are known.
    :param deny: IAM actions that the caller may not do; may change.
    """

    def __init__(self, keys: frozenset[str], deny: Callable[[], frozenset[str]], faults: FaultPlan) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Silent(WSGIRequestHandler):
            def log(self, *_: Any) -> None:
                """A fake says nothing of its own."""

        self.calls: list[Call] = []
        self._keys = keys
        self._deny = deny
        self._faults = faults
        self._inner = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._door, threaded=True, request_handler=Silent)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="fake-s3", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and return when the thread has ended."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def client(self, region: str, key: str = SERVICE_KEY) -> Any:
        """A client of the fake's own."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key="own",  # noqa: S106 - nobody's
            config=Config(s3={"addressing_style": "path"}, ignore_configured_endpoint_urls=True, proxies={}),
        )

    def _door(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        key = _access_key(str(environ.get("HTTP_AUTHORIZATION") or ""))
        if key == SERVICE_KEY:
            return self._inner(environ, start)  # type: ignore[no-any-return]
        call = _call(environ)
        self.calls.append(call)
        if self._faults.latency:
            time.sleep(self._faults.latency)
        refusal = self._refusal(call, key)
        if refusal is not None:
            _drain(environ)
            status, code = refusal
            self._faults.heard = text_of(call)
            return _refuse(start, status, code, self._faults, has_body=call.method != "HEAD")
        if call.kind == "download":
            return self._download(environ, start)
        return self._inner(environ, start)  # type: ignore[no-any-return]

    def _download(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """An object, or what faults leave of it."""
        faults = self._faults
        if faults.no_ranges:
            environ.pop("HTTP_RANGE", None)
        begun: list[Any] = []
        content = b"".join(self._inner(environ, lambda *told: begun.extend(told)))
        status, headers = begun[:2]
        is_ours = status.startswith("20")
        if is_ours and faults.take("short_downloads"):
            content = faults.short(content)
        elif is_ours and faults.take("ragged_downloads"):
            content = faults.ragged(content)
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start(status, [*kept, ("Content-Length", str(len(content)))])
        # Less than the length promises: the server then closes the connection.
        return [content[: faults.cut_at(len(content))] if is_ours else content]

    def _refusal(self, call: Call, key: str) -> tuple[int, str] | None:
        if key not in self._keys:
            return 403, "InvalidAccessKeyId" if key else "AccessDenied"
        if _ACTIONS.get(call.kind) in self._deny():
            return 403, "AccessDenied"
        said = self._faults.take_status(call.kind)
        return None if said is None else (said.status, said.code or _CODES.get(said.status, "InvalidRequest"))


def _access_key(authorization: str) -> str:
    _, _, scope = authorization.partition("Credential=")
    return scope.partition("/")[0]


def _call(environ: Mapping[str, Any]) -> Call:
    parts = urlsplit(str(environ.get("RAW_URI") or environ["PATH_INFO"]))
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    names = {name: name[5:].replace("_", "-").lower() for name in environ if name.startswith("HTTP_")}
    headers = {told: str(environ[name]) for name, told in names.items()}
    call = Call(str(environ["REQUEST_METHOD"]), parts.path, query, headers)
    call.kind = _kind(call.method, "/" in parts.path.strip("/"), query)
    return call


def _kind(method: str, is_object: bool, query: Mapping[str, str]) -> str:
    if is_object:
        if method == "POST":
            return "upload" if "uploads" in query else "complete"
        if method == "PUT":
            return "part" if "partNumber" in query else "upload"
        if method == "DELETE":
            return "abort" if "uploadId" in query else "delete"
        return "stat" if method == "HEAD" else "download"
    if method == "GET":
        return "location" if "location" in query else "objects"
    return {"HEAD": "head", "PUT": "bucket"}.get(method, "other")


def _refuse(start: Callable[..., Any], status: int, code: str, faults: FaultPlan, *, has_body: bool) -> Iterable[bytes]:
    said = f"The fake refuses with {code}." if code != "InvalidAccessKeyId" else "The AWS access key does not exist."
    if faults.echo_headers:
        said = f"{said} {faults.heard}"
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{escape(said)}</Message></Error>".encode()
    body = body if has_body else b""
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    headers += [("Retry-After", wait) for wait in faults.wait_headers(status).values()]
    start(f"{status} {code}", headers)
    return [body]


def _drain(environ: Mapping[str, Any]) -> None:
    """Read what was sent, or the client sees a closed connection instead of the answer."""
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left > 0:
        piece = environ["wsgi.input"].read(min(left, 1 << 20))
        if not piece:
            return
        left -= len(piece)
