"""From a connection to credentials at AWS and Google: each way there is, nothing asked too early, no secret shown."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import datetime
import json
import logging
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from airflow.sdk.log import mask_logs

from airflow_batch_provider.backends.bedrock.backend import BedrockBackend
from airflow_batch_provider.backends.vertex.backend import VertexBackend
from airflow_batch_provider.cli import main
from airflow_batch_provider.connections import connection_types
from airflow_batch_provider.connections.bedrock import BedrockSettings
from airflow_batch_provider.connections.vertex_ai import VertexAISettings
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.hooks.base import BatchInferenceHook
from airflow_batch_provider.hooks.check import check

HOOKS = {name: row.hook_path for name, row in connection_types().items()}

ROOT = Path(__file__).resolve().parents[2]
ROLE = "arn:aws:iam::123456789012:role/bedrock-batch"
CALLER = "arn:aws:iam::210987654321:role/caller"
ACCESS, SECRET = "AKIAOWNKEYOFTHETESTS", "own-secret-of-the-tests"
PLACE = {"region": "eu-central-1", "bucket": "batches", "role_arn": ROLE}
VERTEX = {"project": "our-project", "region": "europe-west4", "bucket": "batches"}
CLOUDS = {"bedrock_batch": BedrockBackend, "vertex_ai_batch": VertexBackend}

Declare = Callable[..., str]
Made = Callable[..., tuple[Any, Callable[[], Any], dict[str, Any]]]


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker without credentials of its own, and without a metadata server to ask for some."""
    import os

    for name in [*os.environ]:
        if name.startswith(("AWS_", "GOOGLE_", "GCLOUD_", "CLOUDSDK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Declares a connection in the environment and gives its id."""

    def make(conn_type: str, conn_id: str = "under_test", **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": conn_type, **fields}))
        return conn_id

    return make


@pytest.fixture
def made(declare: Declare, monkeypatch: pytest.MonkeyPatch) -> Made:
    """What a connection's hook hands to its backend: the place, the factory of credentials, the rest."""
    seen: list[tuple[Any, Any, dict[str, Any]]] = []

    def make(conn_type: str, **fields: Any) -> tuple[Any, Callable[[], Any], dict[str, Any]]:
        module, _, _ = HOOKS[conn_type].rpartition(".")
        kind = CLOUDS[conn_type]

        def watched(place: Any, factory: Any, provider: Any, **rest: Any) -> Any:
            seen.append((place, factory, rest))
            return kind(place, factory, provider, **rest)

        monkeypatch.setattr(f"{module}.{kind.__name__}", watched)
        _ = BatchInferenceHook.for_conn_id(declare(conn_type, **fields)).backend
        return seen[-1]

    return make


class Endpoint:
    """A loopback server that answers from a function and keeps what it was asked."""

    def __init__(self, answer: Callable[[str, dict[str, str], bytes], dict[str, Any]]) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked.append((self.path, dict(self.headers.items()), body))
                said = json.dumps(answer(*asked[-1])).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            do_GET = do_POST

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Endpoint:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


# ---- both clouds -----------------------------------------------------------------------------------------------------


def test_hooks_are_complete() -> None:
    """Both clouds are in the table of hooks, and every hook of the table can be imported."""
    assert {"bedrock_batch", "vertex_ai_batch"} <= set(HOOKS)
    for path in HOOKS.values():
        module, _, name = path.rpartition(".")
        __import__(module)
        assert issubclass(getattr(sys.modules[module], name), BatchInferenceHook)


@pytest.mark.parametrize("conn_type", CLOUDS)
async def test_the_type_decides(conn_type: str, declare: Declare) -> None:
    """for_conn_id and afor_conn_id give the cloud's hook and backend, without asking anybody."""
    conn_id = declare(conn_type, login="AKIA", password="nothing-yet")
    for hook in (BatchInferenceHook.for_conn_id(conn_id), await BatchInferenceHook.afor_conn_id(conn_id)):
        assert f"{type(hook).__module__}.{type(hook).__name__}" == HOOKS[conn_type]
        assert isinstance(hook.backend, CLOUDS[conn_type])
        assert hook.backend.name == conn_type


@pytest.mark.parametrize(
    ("conn_type", "model"), [("bedrock_batch", "amazon.nova-lite-v1:0"), ("vertex_ai_batch", "gemini-2.5-flash")]
)
def test_an_empty_connection_plans(
    conn_type: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits and lines are known offline, before there are any fields."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was asked"))
    path = tmp_path / "in.jsonl"
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    lines = [{"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(120)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code = main(["plan", str(path), "--to", conn_type])
    out = capsys.readouterr().out
    assert code == 0
    assert model in out
    assert "120" in out


@pytest.mark.parametrize(
    ("conn_type", "fields", "told"),
    [
        ("bedrock_batch", {"extra": {**PLACE, "region": ""}}, "region is missing"),
        ("bedrock_batch", {"extra": {**PLACE, "bucket": None}}, "bucket is missing"),
        ("bedrock_batch", {"login": ACCESS, "extra": PLACE}, "secret access key is missing"),
        ("bedrock_batch", {"password": SECRET, "extra": PLACE}, "access key id is missing"),
        ("bedrock_batch", {"extra": {**PLACE, "session_token": "only-token-77"}}, "session_token has no access key"),
        ("vertex_ai_batch", {"extra": {**VERTEX, "project": ""}}, "project is missing"),
        ("vertex_ai_batch", {"extra": {**VERTEX, "region": ""}}, "region is missing"),
        ("vertex_ai_batch", {"extra": {**VERTEX, "bucket": ""}}, "bucket is missing"),
        ("vertex_ai_batch", {"password": "only-token-77", "extra": VERTEX}, "is not JSON"),
        ("vertex_ai_batch", {"extra": {**VERTEX, "keyfile_dict": "[1]"}}, "is not a JSON object"),
        (
            "vertex_ai_batch",
            {"extra": {**VERTEX, "keyfile_dict": {"client_email": "a@b"}}},
            "lacks private_key, token_uri",
        ),
        (
            "vertex_ai_batch",
            {"extra": {**VERTEX, "keyfile_dict": {"type": "external_account"}}},
            "GOOGLE_APPLICATION_CREDENTIALS",
        ),
    ],
)
def test_missing_field(conn_type: str, fields: dict[str, Any], told: str, declare: Declare) -> None:
    """What the route lacks is named before anything is sent, with the remedy and without a secret."""
    conn_id = declare(conn_type, **fields)
    backend = BatchInferenceHook.for_conn_id(conn_id).backend
    with pytest.raises(ConfigurationError, match=told):
        backend.check_route([], ["/v1/chat/completions"], {})
    well, said = check(conn_id)
    assert (well, told in said) == (False, True)
    assert "only-token-77" not in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("conn_type", "extra", "told"),
    [
        ("bedrock_batch", {"rolearn": "secret-value"}, r"'rolearn': Extra inputs.*role_arn"),
        ("bedrock_batch", {"timeout_hours": 12}, "'timeout_hours': Input should be greater than or equal to 24"),
        ("bedrock_batch", {"min_rows": 0}, "'min_rows'"),
        ("bedrock_batch", {"tags": {"a": ["secret-value"]}}, "'tags.a'"),
        ("bedrock_batch", {"sts_url": "sts.example"}, "'sts_url'.*not an address"),
        ("bedrock_batch", {"s3_url": "https://me:secret-value@x"}, "'s3_url'.*not an address"),
        ("bedrock_batch", {"subnet_ids": {"a": "secret-value"}}, "'subnet_ids'"),
        ("vertex_ai_batch", {"projekt": "secret-value"}, r"'projekt': Extra inputs.*project"),
        ("vertex_ai_batch", {"labels": "secret-value"}, "'labels'"),
        ("vertex_ai_batch", {"storage_url": "ftp://secret-value"}, "'storage_url'.*not an address"),
        ("vertex_ai_batch", {"keyfile_dict": ["secret-value"]}, "'keyfile_dict"),
    ],
)
def test_wrong_field(conn_type: str, extra: dict[str, Any], told: str, declare: Declare) -> None:
    """A field that is unknown or unreadable is named, with those that are known; its value is not shown."""
    with pytest.raises(ConfigurationError, match=told) as caught:
        _ = BatchInferenceHook.for_conn_id(declare(conn_type, extra=extra)).backend
    assert "secret-value" not in str(caught.value)


@pytest.mark.parametrize(
    ("conn_type", "module", "told"),
    [("bedrock_batch", "boto3", r"provider\[bedrock\]"), ("vertex_ai_batch", "google.auth", r"provider\[vertex\]")],
)
def test_library_not_installed(
    conn_type: str, module: str, told: str, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cloud's own library is not installed, the error says how to install it."""
    _, factory, _ = made(conn_type)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=told):
        factory()


# ---- Bedrock: fields and credentials -----------------------------------------------------------------------------


def test_bedrock_fields_reach_the_backend(made: Made) -> None:
    """Each field of the form is where the backend looks; lists may be written as one line of text."""
    extra = {
        **PLACE,
        "prefix": "llm/nightly",
        "output_uri": "s3://answers/out/",
        "kms_key_id": "alias/batch",
        "bucket_owner": "210987654321",
        "subnet_ids": "subnet-1, subnet-2",
        "security_group_ids": ["sg-1"],
        "tags": {"team": "search"},
        "timeout_hours": 48,
        "model_families": {"arn:mine": "claude-4"},
        "model_facts": {"arn:mine": {"schema": "tool"}},
        "min_rows": 50,
        "max_rows": 900,
        "max_bytes": 10_000,
        "bedrock_url": "https://bedrock.internal/",
        "s3_url": "http://s3.internal:9000",
        "default_model": "amazon.nova-lite-v1:0",
        "model_map": {"gpt-4o": "amazon.nova-pro-v1:0"},
    }
    place, _, rest = made("bedrock_batch", extra=extra)
    given = dataclasses.asdict(place)
    for name in ("region", "bucket", "role_arn", "prefix", "output_uri", "kms_key_id", "bucket_owner", "tags"):
        assert given[name] == extra[name]
    for name in ("timeout_hours", "min_rows", "max_rows", "max_bytes"):
        assert given[name] == extra[name]
    assert (place.subnet_ids, place.security_group_ids) == (("subnet-1", "subnet-2"), ("sg-1",))
    assert (place.families, place.account, place.missing) == ({"arn:mine": "claude-4"}, "123456789012", ())
    assert place.family("arn:mine").facts.schema == "tool"
    assert (rest["bedrock_url"], rest["s3_url"]) == ("https://bedrock.internal", "http://s3.internal:9000")
    assert rest["models"].resolve("gpt-4o") == "amazon.nova-pro-v1:0"
    assert rest["models"].resolve(None) == "amazon.nova-lite-v1:0"


def test_own_keys_alone_count(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection with keys signs with them; the worker's AWS variables have no influence."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAENV",
        "AWS_SECRET_ACCESS_KEY": "env",
        "AWS_SESSION_TOKEN": "env",
        "AWS_PROFILE": "no-such-profile",
        "AWS_REGION": "us-west-1",
        "AWS_DEFAULT_REGION": "us-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_BEARER_TOKEN_BEDROCK": "bearer-of-the-worker",
    }.items():
        monkeypatch.setenv(name, value)
    _, session, _ = made("bedrock_batch", login=f" {ACCESS} ", password=f"{SECRET}\n", extra=PLACE)
    found = session().get_credentials().get_frozen_credentials()
    assert (found.access_key, found.secret_key, found.token) == (ACCESS, SECRET, None)
    assert session().region_name == "eu-central-1"
    assert session().client("s3").meta.endpoint_url.endswith("amazonaws.com")
    assert session() is session()
    with Endpoint(lambda *_: {"modelSummaries": []}) as bedrock:
        session().client("bedrock", endpoint_url=bedrock.url).list_foundation_models()
    signed = bedrock.asked[0][1]["Authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256")
    assert f"{ACCESS}/" in signed
    assert "/eu-central-1/bedrock/" in signed


def test_the_backend_signs_with_own_keys(declare: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the backend sends is signed with the connection's keys, whatever bearer token the worker has."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bearer-of-the-worker")
    with Endpoint(lambda *_: {"invocationJobSummaries": []}) as bedrock:
        extra = {**PLACE, "bedrock_url": bedrock.url}
        hook = BatchInferenceHook.for_conn_id(declare("bedrock_batch", login=ACCESS, password=SECRET, extra=extra))
        assert hook.list() == []
        hook.backend.close()
    path, headers, _ = bedrock.asked[0]
    assert path.startswith("/model-invocation-jobs")
    assert headers["Authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS}/")


def test_session_token(made: Made) -> None:
    """Temporary keys carry their token."""
    _, session, _ = made("bedrock_batch", login=ACCESS, password=SECRET, extra={**PLACE, "session_token": "temporary"})
    assert session().get_credentials().token == "temporary"


def test_profile(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile goes before the worker's variables and behind own keys; one that is not there is named."""
    (tmp_path / "aws-credentials").write_text("[batch]\naws_access_key_id=AKIAPROFILE\naws_secret_access_key=p\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env")
    _, session, _ = made("bedrock_batch", extra={**PLACE, "profile": "batch"})
    assert session().get_credentials().access_key == "AKIAPROFILE"
    assert session().region_name == "eu-central-1"
    _, session, _ = made("bedrock_batch", login=ACCESS, password=SECRET, extra={**PLACE, "profile": "batch"})
    assert session().get_credentials().access_key == ACCESS
    _, session, _ = made("bedrock_batch", extra={**PLACE, "profile": "other"})
    with pytest.raises(ConfigurationError, match=r"'under_test'.*profile \(other\)"):
        session()


def test_default_chain(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without credentials uses what boto3 finds on the worker."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env")
    _, session, _ = made("bedrock_batch", extra=PLACE)
    assert session().get_credentials().access_key == "AKIAENV"


def test_aws_connection(made: Made, declare: Declare) -> None:
    """An existing aws connection gives its credentials through the official hook."""
    declare("aws", "shared_aws", login="AKIASHARED", password="shared", extra={"region_name": "us-west-2"})
    _, session, _ = made("bedrock_batch", extra={**PLACE, "aws_conn_id": "shared_aws"})
    assert session().get_credentials().access_key == "AKIASHARED"
    assert session().region_name == "eu-central-1"


def test_unknown_aws_connection(made: Made, declare: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is not there, or of another kind, never falls back to the worker's own credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env")
    _, session, _ = made("bedrock_batch", extra={**PLACE, "aws_conn_id": "misspelt"})
    with pytest.raises(ConfigurationError, match="aws_conn_id 'misspelt': there is no such connection"):
        session()
    declare("http", "other_kind")
    _, session, _ = made("bedrock_batch", extra={**PLACE, "aws_conn_id": "other_kind"})
    with pytest.raises(ConfigurationError, match="'other_kind' has type 'http'"):
        session()


def test_aws_connection_without_the_provider(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the amazon provider is not installed, the error says how to install it."""
    monkeypatch.setitem(sys.modules, "airflow.providers.amazon.aws.hooks.base_aws", None)
    _, session, _ = made("bedrock_batch", extra={**PLACE, "aws_conn_id": "shared_aws"})
    with pytest.raises(ConfigurationError, match="pip install apache-airflow-providers-amazon"):
        session()


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Moto's server, for STS."""
    from moto.server import ThreadedMotoServer

    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def roles() -> list[Any]:
    """What STS was asked to assume, in this process's moto."""
    from moto.sts.models import sts_backends

    return [role for account in sts_backends.values() for part in account.values() for role in part.assumed_roles]


@pytest.mark.parametrize("source", ["keys", "aws_conn_id"])
def test_assume_role(source: str, made: Made, declare: Declare, sts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role is taken on at the first call, with its external id, from whichever credentials there are, and again
    before its credentials end."""
    declare("aws", "shared_aws", login="AKIASHARED", password="shared")
    fields = {"login": ACCESS, "password": SECRET} if source == "keys" else {}
    other = {"aws_conn_id": "shared_aws"} if source == "aws_conn_id" else {}
    role = f"{CALLER}-{source}"
    extra = {**PLACE, **other, "assume_role_arn": role, "assume_role_external_id": "external-11", "sts_url": sts}
    _, session, _ = made("bedrock_batch", **fields, extra=extra)
    credentials = session().get_credentials()
    assert [each for each in roles() if each.arn.endswith(f"/caller-{source}/airflow-batch")] == []
    first = credentials.get_frozen_credentials()
    assert first.access_key.startswith("ASIA")
    (asked,) = [each for each in roles() if each.role_arn == role]
    assert (asked.external_id, asked.session_name) == ("external-11", "airflow-batch")
    who = session().client("sts", endpoint_url=sts).get_caller_identity()["Arn"]
    assert who.endswith(f"assumed-role/caller-{source}/airflow-batch")
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=50)
    monkeypatch.setattr("botocore.credentials._local_now", lambda: later)  # the fetcher's clock
    credentials._time_fetcher = lambda: later  # and that of what it fetched
    assert credentials.get_frozen_credentials().access_key != first.access_key
    assert len([each for each in roles() if each.role_arn == role]) == 2


def test_assume_role_signs_with_the_source(made: Made) -> None:
    """STS is asked with the connection's own keys, in the connection's region."""
    from botocore.parsers import ResponseParserError

    with Endpoint(lambda *_: {}) as endpoint:
        extra = {**PLACE, "assume_role_arn": CALLER, "assume_role_external_id": "ext", "sts_url": endpoint.url}
        _, session, _ = made("bedrock_batch", login=ACCESS, password=SECRET, extra=extra)
        session()
        assert endpoint.asked == []
        with pytest.raises(ResponseParserError):
            session().get_credentials().get_frozen_credentials()
    _, headers, body = endpoint.asked[0]
    assert f"Credential={ACCESS}/" in headers["Authorization"]
    assert "/eu-central-1/sts/" in headers["Authorization"]
    asked = parse_qs(body.decode())
    assert (asked["RoleArn"], asked["ExternalId"]) == ([CALLER], ["ext"])


def test_assume_role_from_nobody(made: Made) -> None:
    """Where there are no credentials to assume a role with, the error says what to set."""
    _, session, _ = made("bedrock_batch", extra={**PLACE, "assume_role_arn": CALLER})
    with pytest.raises(ConfigurationError, match=r"no AWS credentials.*set login and password, profile or aws_conn_id"):
        session()


# ---- Vertex: fields and credentials ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def keyfile(signer: Any, token_uri: str = "http://127.0.0.1:9/token", **more: Any) -> dict[str, Any]:
    from cryptography.hazmat.primitives import serialization as form

    pem = signer.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()
    key = {"type": "service_account", "project_id": "key-project", "private_key_id": "key-id-4455", "private_key": pem}
    return {**key, "client_email": "caller@key-project.iam", "token_uri": token_uri, **more}


def refreshed(credentials: Any) -> str:
    from google.auth.transport.requests import Request

    credentials.refresh(Request())
    return str(credentials.token)


def test_vertex_fields_reach_the_backend(made: Made) -> None:
    """Each field of the form is where the backend looks."""
    extra = {
        **VERTEX,
        "prefix": "llm",
        "output_prefix": "gs://answers/out",
        "labels": {"team": "search"},
        "model_families": {"mine": "gemini"},
        "model_facts": {"mine": {"penalties": True}},
        "max_rows": 900,
        "max_bytes": 10_000,
        "vertex_url": "https://vertex.internal/",
        "storage_url": "http://storage.internal:4443",
        "model_map": {"gpt-4o": "gemini-2.5-flash"},
    }
    place, _, rest = made("vertex_ai_batch", extra=extra)
    for name in ("project", "region", "bucket", "prefix", "output_prefix", "labels", "max_rows", "max_bytes"):
        assert getattr(place, name) == extra[name]
    assert (place.families, place.missing) == ({"mine": "gemini"}, ())
    assert place.family("mine").facts.penalties
    assert (rest["vertex_url"], rest["storage_url"]) == ("https://vertex.internal", "http://storage.internal:4443")
    assert rest["models"].resolve("gpt-4o") == "gemini-2.5-flash"


def test_token_goes_first(made: Made, private_key: Any) -> None:
    """A static token is used as it is."""
    extra = {**VERTEX, "token": "static-token", "keyfile_dict": keyfile(private_key)}
    _, credentials, _ = made("vertex_ai_batch", extra=extra)
    assert (credentials().token, credentials().valid) == ("static-token", True)
    assert credentials() is credentials()


def test_a_key_in_the_wrong_field_is_not_shown(made: Any) -> None:
    """A private key that was pasted where a path belongs is in no message."""
    pasted = "-----BEGIN PRIVATE KEY-----\nSUPERSECRET\n-----END PRIVATE KEY-----"
    _, credentials, _ = made("vertex_ai_batch", extra={**VERTEX, "key_path": pasted})
    with pytest.raises(ConfigurationError, match="key_path") as caught:
        credentials()
    assert "SUPERSECRET" not in str(caught.value)


@pytest.mark.parametrize("where", ["keyfile_dict", "keyfile_text", "password", "key_path"])
def test_service_account(where: str, made: Made, private_key: Any, tmp_path: Path) -> None:
    """A service account's key signs for a token at the key's own address, for the cloud-platform scope; its project is
    the connection's unless that names one."""

    def answer(path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        return {"access_token": "made-for-the-key", "expires_in": 3600, "token_type": "Bearer"}

    with Endpoint(answer) as endpoint:
        key = keyfile(private_key, f"{endpoint.url}/token")
        (tmp_path / "key.json").write_text(json.dumps(key))
        place = {"region": "europe-west4", "bucket": "batches"}
        fields: dict[str, dict[str, Any]] = {
            "keyfile_dict": {"extra": {**place, "keyfile_dict": key}},
            "keyfile_text": {"extra": {**place, "keyfile_dict": json.dumps(key)}},
            "password": {"password": json.dumps(key), "extra": place},
            "key_path": {"extra": {**place, "key_path": str(tmp_path / "key.json")}},
        }
        at, credentials, _ = made("vertex_ai_batch", **fields[where])
        assert (at.project, at.missing) == ("key-project", ())
        assert endpoint.asked == []
        assert refreshed(credentials()) == "made-for-the-key"
    path, _, body = endpoint.asked[0]
    head, claims, signature = parse_qs(body.decode())["assertion"][0].split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert path == "/token"
    assert (said["iss"], said["scope"]) == ("caller@key-project.iam", "https://www.googleapis.com/auth/cloud-platform")
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    sign = base64.urlsafe_b64decode(signature + "==")
    private_key.public_key().verify(sign, f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())


def test_own_project_goes_first(made: Made, private_key: Any) -> None:
    """The connection's project is not the key's where it names one."""
    place, _, _ = made("vertex_ai_batch", extra={**VERTEX, "keyfile_dict": keyfile(private_key)})
    assert place.project == "our-project"


@pytest.mark.parametrize("content", [None, "no json", '{"type": "service_account"}', "bad key"])
def test_key_file_that_cannot_be_used(content: str | None, made: Made, private_key: Any, tmp_path: Path) -> None:
    """A key file that is absent, no JSON, incomplete or without a readable key is named, and nothing of it shown."""
    path = tmp_path / "key.json"
    if content is not None:
        broken = keyfile(
            private_key, private_key="-----BEGIN PRIVATE KEY-----\nhidden-part\n-----END PRIVATE KEY-----\n"
        )
        path.write_text(json.dumps(broken) if content == "bad key" else content)
    _, credentials, _ = made("vertex_ai_batch", extra={**VERTEX, "key_path": str(path)})
    with pytest.raises(ConfigurationError, match=r"'under_test': key_path .*key\.json") as caught:
        credentials()
    assert "hidden-part" not in str(caught.value)


def test_application_default(made: Made, private_key: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fields, the application default credentials and their project are used."""
    (tmp_path / "adc.json").write_text(json.dumps(keyfile(private_key)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    place, credentials, _ = made("vertex_ai_batch", extra={"region": "europe-west4", "bucket": "batches"})
    assert (place.project, place.missing) == ("key-project", ())
    assert credentials().service_account_email == "caller@key-project.iam"
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "named-project")
    place, _, _ = made("vertex_ai_batch", extra={"region": "europe-west4", "bucket": "batches"})
    assert place.project == "named-project"


def test_own_key_alone_counts(made: Made, private_key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection with a key takes neither account nor project from the worker's variables."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "no-such-file.json")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "worker-project")
    place, credentials, _ = made(
        "vertex_ai_batch", extra={"region": "r", "bucket": "batches", "keyfile_dict": keyfile(private_key)}
    )
    assert place.project == "key-project"
    assert credentials().service_account_email == "caller@key-project.iam"


def test_nobody_at_all(made: Made) -> None:
    """Where there are no credentials, the error says what to set."""
    _, credentials, _ = made("vertex_ai_batch", extra=VERTEX)
    with pytest.raises(ConfigurationError, match="no Google credentials; set keyfile_dict, key_path or gcp_conn_id"):
        credentials()


@pytest.mark.parametrize("chain", ["one@p.iam, two@p.iam", ["one@p.iam", "two@p.iam"]])
def test_impersonation(chain: Any, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last account of the chain is taken on, by way of those before it, with the source's token."""

    def answer(path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        return {"accessToken": "of-the-target", "expireTime": soon.strftime("%Y-%m-%dT%H:%M:%SZ")}

    with Endpoint(answer) as endpoint:
        address = endpoint.url + "/v1/projects/-/serviceAccounts/{}:generateAccessToken"
        monkeypatch.setattr("google.auth.iam._IAM_ENDPOINT", address)
        extra = {**VERTEX, "token": "of-the-source", "impersonation_chain": chain}
        _, credentials, _ = made("vertex_ai_batch", extra=extra)
        found = credentials()
        assert endpoint.asked == []
        # A token that is given has no refresh; the source is asked for one only when it is not valid.
        assert refreshed(found) == "of-the-target"
    path, headers, body = endpoint.asked[0]
    assert path.endswith("/serviceAccounts/two@p.iam:generateAccessToken")
    assert headers["authorization"] == "Bearer of-the-source"
    asked = json.loads(body)
    assert asked["delegates"] == ["one@p.iam"]
    assert asked["scope"] == ["https://www.googleapis.com/auth/cloud-platform"]


def test_google_connection(made: Made, declare: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    """An existing google_cloud_platform connection gives its credentials through the official hook's own call."""
    asked = []

    class GoogleBaseHook:
        def __init__(self, gcp_conn_id: str = "google_cloud_default", impersonation_chain: Any = None) -> None:
            asked.append((gcp_conn_id, impersonation_chain))

        def get_credentials(self) -> Any:
            from google.oauth2.credentials import Credentials

            return Credentials("of-the-connection")

    module = types.ModuleType("base_google")
    module.GoogleBaseHook = GoogleBaseHook  # type: ignore[attr-defined]
    for name in ("google", "google.common", "google.common.hooks"):
        monkeypatch.setitem(sys.modules, f"airflow.providers.{name}", types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "airflow.providers.google.common.hooks.base_google", module)
    declare("google_cloud_platform", "shared_gcp")
    _, credentials, _ = made("vertex_ai_batch", extra={**VERTEX, "gcp_conn_id": "shared_gcp"})
    assert asked == []
    assert credentials().token == "of-the-connection"
    assert asked == [("shared_gcp", None)]
    _, credentials, _ = made("vertex_ai_batch", extra={**VERTEX, "gcp_conn_id": "misspelt"})
    with pytest.raises(ConfigurationError, match="gcp_conn_id 'misspelt': there is no such connection"):
        credentials()


def test_google_connection_without_the_provider(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the google provider is not installed, the error says how to install it."""
    monkeypatch.setitem(sys.modules, "airflow.providers.google.common.hooks.base_google", None)
    _, credentials, _ = made("vertex_ai_batch", extra={**VERTEX, "gcp_conn_id": "shared_gcp"})
    with pytest.raises(ConfigurationError, match="pip install apache-airflow-providers-google"):
        credentials()


# ---- secrets ---------------------------------------------------------------------------------------------------------


def shown(*texts: str) -> list[str]:
    """What a task's log shows of these texts: Airflow's own step masks each line."""
    return [str(mask_logs(None, "info", {"event": f"found {text} in it"})["event"]) for text in texts]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_bedrock_secrets_are_masked(asynchronous: bool, declare: Declare) -> None:
    """Once the backend is there, no secret of the connection comes out of a log line, nor out of a repr."""
    secrets = [f"{name}-8821-{asynchronous}" for name in ("secret-key", "session-token", "external-id")]
    extra = {**PLACE, "session_token": secrets[1], "assume_role_external_id": secrets[2], "assume_role_arn": CALLER}
    before = shown(*secrets)
    conn_id = declare("bedrock_batch", login=ACCESS, password=secrets[0], extra=extra)
    if asynchronous:
        hook = asyncio.run(BatchInferenceHook.afor_conn_id(conn_id))
    else:
        hook = BatchInferenceHook.for_conn_id(conn_id)
    backend = hook.backend
    assert all(secret in line for secret, line in zip(secrets, before, strict=True))
    assert shown(*secrets) == ["found *** in it"] * 3
    assert not any(secret in f"{backend!r} {hook!r} {vars(backend)!r}" for secret in secrets)


@pytest.mark.parametrize("where", ["keyfile_dict", "keyfile_text", "password"])
def test_vertex_secrets_are_masked(where: str, declare: Declare, private_key: Any) -> None:
    """The key is masked in whole and in its parts, as it is and as JSON writes it; its project and address stay."""
    token = f"only-{where}-8822"
    pem = f"-----BEGIN PRIVATE KEY-----\n{where}\nnext-line\n-----END PRIVATE KEY-----\n"
    key = keyfile(private_key, private_key=pem, private_key_id=f"id-8823-{where}")
    text = json.dumps(key)
    extra: dict[str, Any] = {**VERTEX, "token": token}
    if where != "password":
        extra["keyfile_dict"] = key if where == "keyfile_dict" else text
    conn_id = declare("vertex_ai_batch", password=text if where == "password" else None, extra=extra)
    backend = BatchInferenceHook.for_conn_id(conn_id).backend
    assert shown(token, pem, json.dumps(pem)[1:-1], key["private_key_id"]) == ["found *** in it"] * 4
    if where != "keyfile_dict":
        assert shown(text) == ["found *** in it"]
    assert shown("key-project") == ["found key-project in it"]
    assert shown("service_account") == ["found service_account in it"]
    for secret in (token, "next-line"):
        assert secret not in f"{backend!r} {vars(backend)!r}"


# ---- documentation ---------------------------------------------------------------------------------------------------


def page(name: str) -> str:
    return (ROOT / "docs" / "providers" / f"{name}.md").read_text()


@pytest.mark.parametrize(("name", "settings"), [("bedrock", BedrockSettings), ("vertex_ai", VertexAISettings)])
def test_pages_name_every_field(name: str, settings: Any) -> None:
    """The table of a page has each extra field once, and none that does not exist."""
    cells = [line.split("|")[1] for line in page(name).split("\n") if line.startswith("| ") and "|" in line[1:]]
    fields = page(name).split("## ")[0]
    table = [line.split("|")[1] for line in fields.split("\n") if line.startswith("|")]
    named = [found for cell in table for found in re.findall(r"`(\w+)`", cell)]
    assert cells
    assert sorted(named) == sorted(settings.model_fields)


def test_policies_are_json() -> None:
    """Each policy on Bedrock's page is JSON that IAM can take, and allows what the code asks for."""
    blocks = re.findall(r"```json\n(.*?)```", page("bedrock"), re.DOTALL)
    policies = [json.loads(block) for block in blocks]
    caller, trust, service = (policy["Statement"] for policy in policies[:3])
    for policy in policies:
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            assert statement["Effect"] == "Allow"
            assert {"Action", "Resource"} <= set(statement) or {"Action", "Principal"} <= set(statement)

    def actions(statements: list[dict[str, Any]]) -> set[str]:
        return {action for statement in statements for action in statement["Action"]}

    assert {f"bedrock:{verb}ModelInvocationJob" for verb in ("Create", "Get", "Stop")} <= actions(caller)
    assert {"bedrock:ListModelInvocationJobs", "iam:PassRole", "s3:PutObject", "s3:GetObject"} <= actions(caller)
    assert {"s3:ListBucket", "s3:AbortMultipartUpload"} <= actions(caller)
    assert trust[0]["Principal"] == {"Service": "bedrock.amazonaws.com"}
    assert trust[0]["Action"] == ["sts:AssumeRole"]
    assert {"s3:GetObject", "s3:PutObject", "s3:ListBucket", "bedrock:InvokeModel"} <= actions(service)
    assert "inference-profile/" in json.dumps(caller)
    assert "inference-profile/" in json.dumps(service)
    assert "model-invocation-job/*" in json.dumps(caller)
    assert all("kms:" in action for statement in policies[3]["Statement"] for action in statement["Action"])


def test_googles_bindings_are_json() -> None:
    """The bucket's policy on Vertex's page is JSON, and names the caller and the service agent."""
    (block,) = re.findall(r"```json\n(.*?)```", page("vertex_ai"), re.DOTALL)
    (binding,) = json.loads(block)["bindings"]
    caller, agent = binding["members"]
    assert binding["role"] == "roles/storage.objectAdmin"
    assert caller.startswith("serviceAccount:CALLER@")
    assert agent == "serviceAccount:service-PROJECT_NUMBER@gcp-sa-aiplatform.iam.gserviceaccount.com"


@pytest.mark.parametrize("name", ["portkey", "truefoundry"])
def test_gateways_lead_to_the_clouds(name: str) -> None:
    """The gateways' pages link to the permissions."""
    assert "(bedrock.md)" in page(name)
    assert "(vertex_ai.md)" in page(name)
