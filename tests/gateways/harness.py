"""A real Portkey gateway on loopback, and the front that plays the internet to it.

The gateway hard-codes its upstream hosts, so the preload ``guard.cjs`` leads every name to the front here, which hands
each call to the fake that plays that host. Nothing leaves the machine.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import httpx
import orjson

from airflow_batch_provider.local.server import listen
from airflow_batch_provider.testing.processes import Processes, until
from tests.patience import PATIENCE

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".cache" / "gateway"
PROGRAM = INSTALLED / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
INSTALL = (
    "the gateway is not installed; `make test-gateways` installs and runs it (Node 18 or newer and npm are needed)"
)
AWS_REGION = "us-east-1"
GCP_REGION = "us-central1"
HOSTS = (
    "api.openai.com",
    "*.openai.azure.com",
    f"bedrock.{AWS_REGION}.amazonaws.com",
    f"*.s3.{AWS_REGION}.amazonaws.com",
    "storage.googleapis.com",
    f"{GCP_REGION}-aiplatform.googleapis.com",
    "oauth2.googleapis.com",
)
_NOT_FORWARDED = frozenset({"host", "connection", "transfer-encoding", "content-length", "accept-encoding"})
_NOT_BACK = frozenset({"connection", "transfer-encoding", "content-length", "content-encoding", "date", "server"})


@dataclass
class Call:
    """A call that the gateway made to a provider."""

    method: str
    host: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What the provider answered."""

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


Play = Callable[[Call, httpx.AsyncClient], Awaitable[Answer]]
"""One provider: a call in, its answer out."""


async def ask(client: httpx.AsyncClient, origin: str, call: Call, path: str | None = None) -> Answer:
    """Hand the call to a fake, its path byte for byte as it came unless another is given."""
    target = path if path is not None else call.path + (f"?{call.query}" if call.query else "")
    url = httpx.URL(origin).copy_with(raw_path=target.encode())
    headers = {name: value for name, value in call.headers.items() if name not in _NOT_FORWARDED}
    said = await client.request(call.method, url, content=call.body, headers=headers)
    back = [(name, value) for name, value in said.headers.multi_items() if name.lower() not in _NOT_BACK]
    return Answer(said.status_code, said.content, back)


def forward(origin: str) -> Play:
    """A fake that speaks as its host does."""
    return lambda call, client: ask(client, origin, call)


def s3(origin: str) -> Play:
    """S3: the bucket, which is in the host's name, goes to the path."""

    def play(call: Call, client: httpx.AsyncClient) -> Awaitable[Answer]:
        path = f"/{call.host.split('.s3.')[0]}{call.path}"
        return ask(client, origin, call, path + (f"?{call.query}" if call.query else ""))

    return play


def gcs(origin: str, media_type: str = "application/octet-stream") -> Play:
    """Google Cloud Storage's XML API in front of an emulator that knows the JSON API only.

    :param media_type: of every object. The gateway hands out bytes of the default alone as they are; text/plain it
        wraps in JSON, of any other it makes a 500.
    """

    async def play(call: Call, client: httpx.AsyncClient) -> Answer:
        bucket, _, key = call.path.removeprefix("/").partition("/")
        name = quote(unquote(key), safe="")
        if call.method == "PUT" and name:
            path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
            said = await ask(client, origin, Call("POST", call.host, path, "", call.headers, call.body), path)
            return Answer(said.status) if said.status == 200 else said
        if call.method in {"GET", "HEAD"} and name:
            path = f"/download/storage/v1/b/{bucket}/o/{name}?alt=media"
            said = await ask(client, origin, Call("GET", call.host, path, "", call.headers, b""), path)
            kept = [(name, value) for name, value in said.headers if name.lower() != "content-type"]
            return Answer(said.status, said.body, [*kept, ("content-type", media_type)])
        return Answer(400, b"<Error><Code>InvalidURI</Code></Error>")

    return play


def vertex(origin: str) -> Play:
    """Vertex AI, whose JSON takes one value for a list of one, as the gateway writes ``gcsSource.uris``."""

    async def play(call: Call, client: httpx.AsyncClient) -> Answer:
        if call.method == "POST" and call.path.endswith("/batchPredictionJobs"):
            job = orjson.loads(call.body)
            source = job["inputConfig"]["gcsSource"]
            if isinstance(source["uris"], str):
                source["uris"] = [source["uris"]]
            call = replace(call, body=orjson.dumps(job))
        return await ask(client, origin, call)

    return play


class Google:
    """A service account, and the token endpoint that knows its key.

    :param project: where it lives.
    :param token: the access token that it is given.
    """

    def __init__(self, project: str, token: str) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = key.public_key()
        self._token = token
        self.account = {
            "type": "service_account",
            "project_id": project,
            "private_key_id": "key-of-the-tests",
            "private_key": key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
            "client_email": f"batch@{project}.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
        }

    async def play(self, call: Call, client: httpx.AsyncClient) -> Answer:
        """An access token for an assertion that the account's key has signed."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        (assertion,) = parse_qs(call.body.decode())["assertion"]
        signed, _, signature = assertion.rpartition(".")
        given = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        self._public.verify(given, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        body = {"access_token": self._token, "expires_in": 3599, "token_type": "Bearer"}
        return Answer(200, orjson.dumps(body), [("content-type", "application/json")])


class Front:
    """A TLS server that is every provider's host, and remembers what it was asked.

    :param folder: where its certificate goes, as ``ca.pem``.
    """

    def __init__(self, folder: Path) -> None:
        self.calls: list[Call] = []
        self.strays: list[Call] = []
        self.plays: dict[str, Play] = {}
        self.cut_after: Callable[[Call], bool] | None = None
        """Which answer, of the next call that fits, is lost on its way to the gateway."""
        self.ca = _certify(folder)
        self._socket = listen("127.0.0.1", 0)
        self.port: int = self._socket.getsockname()[1]
        self._ready = threading.Event()
        self._server = self._make_server()
        self._thread = threading.Thread(target=self._run, name=f"front-{self.port}", daemon=True)

    def _make_server(self) -> Any:
        import uvicorn

        front = self

        class Server(uvicorn.Server):
            async def startup(self, sockets: Any = None) -> None:
                await super().startup(sockets)
                front._ready.set()

        certificate = str(self.ca)
        config = uvicorn.Config(
            self, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2,
            ssl_certfile=certificate, ssl_keyfile=certificate,
        )  # fmt: skip
        return Server(config)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._ready.set()

    def __enter__(self) -> Front:
        self._thread.start()
        assert self._ready.wait(30), "the front did not start"
        assert self._server.started, "the front did not start; its log says why"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def play(self, plays: dict[str, Play]) -> None:
        """Play these hosts from now on; a name that begins with ``*.`` stands for all below it."""
        self.plays = plays
        self.calls.clear()
        self.strays.clear()
        self.cut_after = None

    def asked(self, method: str, pattern: str) -> list[Call]:
        """The calls of one method whose host and path match."""
        return [call for call in self.calls if call.method == method and re.search(pattern, call.host + call.path)]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One call of the gateway."""
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "").partition(":")[0]
        call = Call(scope["method"], host, scope["raw_path"].decode(), scope["query_string"].decode(), headers, body)
        self.calls.append(call)
        play = self.plays.get(host) or self.plays.get(f"*.{host.partition('.')[2]}")
        if play is None:
            self.strays.append(call)
            answer = Answer(502, b"nobody plays this host")
        else:
            async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
                answer = await play(call, client)
        if self.cut_after is not None and self.cut_after(call):
            self.cut_after = None
            await _cut(receive, send)
            return
        lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        if call.method != "HEAD":
            lines.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": lines})
        await send({"type": "http.response.body", "body": answer.body if call.method != "HEAD" else b""})


async def _cut(receive: Any, send: Any) -> None:
    """Close the connection without an answer; ASGI knows no word for it, uvicorn's own transport does."""
    send.__self__.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


class Gateway:
    """The gateway as a child process, which is ended by its pid.

    :param folder: for its log.
    :param front: what it takes for the internet.
    """

    NAME = "portkey-gateway"

    def __init__(self, folder: Path, front: Front) -> None:
        self.front = front
        self.port = 0
        self._folder = folder
        self._processes = Processes(folder)

    @property
    def url(self) -> str:
        """What goes into a connection as its host."""
        return f"http://127.0.0.1:{self.port}/v1"

    def processes(self) -> list[Any]:
        """What runs of it."""
        return self._processes.members()

    @property
    def log(self) -> str:
        """What it has printed."""
        return (self._folder / f"{self.NAME}.log").read_text(errors="replace")

    def __enter__(self) -> Gateway:
        # Nothing else from the environment: neither credentials nor a proxy.
        env = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        env |= {"NODE_EXTRA_CA_CERTS": str(self.front.ca), "GATEWAY_FRONT_PORT": str(self.front.port)}
        node = shutil.which("node") or "node"
        argv = [node, "--require", str(HERE / "guard.cjs"), str(PROGRAM), "--port=0", "--headless"]
        self._processes.start(self.NAME, argv, env)
        try:
            self.port = int(until(self._listening, PATIENCE, "the gateway to listen", 0.05)[1])
        except BaseException:
            self._processes.stop()
            raise
        return self

    def _listening(self) -> re.Match[str] | None:
        self._processes.check()
        return re.search(r"guard: listening on 127\.0\.0\.1:(\d+)", self.log)

    def __exit__(self, *_: object) -> None:
        self._processes.stop()


def _certify(folder: Path) -> Path:
    """A key and a certificate for all hosts that signs itself, so that it is its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "front of the gateway tests")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "ca.pem"
    path.touch(mode=0o600)
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path
