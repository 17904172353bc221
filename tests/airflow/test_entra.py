"""Azure OpenAI without a key: the real azure-identity gets tokens from a fake Entra ID, the fake Azure checks them."""

from __future__ import annotations

import asyncio
import datetime
import io
import ipaddress
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.log import mask_logs

from airflow_batch_provider.core.errors import AuthenticationError, ConfigurationError, ProviderError
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.hooks.base import BatchInferenceHook
from airflow_batch_provider.hooks.check import check
from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator
from airflow_batch_provider.testing import FakeProvider
from airflow_batch_provider.testing.calls import Answer
from airflow_batch_provider.testing.entra import AUDIENCE, CLIENT_ID, IDENTITY, TENANT, FakeEntra
from airflow_batch_provider.testing.flavors import Azure
from tests.airflow.world import TaskInstance, request, resume, write
from tests.backends.scripted import free_port
from tests.backends.tools import heartbeat
from tests.patience import PATIENCE

IMPORTED = "azure.identity"
ROOT = Path(__file__).parents[2]
LINE = {"custom_id": "r0", "method": "POST", "url": "/chat/completions"}
BODY = {"model": "batch-deployment", "messages": [{"role": "user", "content": "hello"}]}
Declare = Callable[..., BatchInferenceHook]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    use = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, encipher_only=False, decipher_only=False, **use),
            True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def entra(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEntra]:
    """The identity endpoint of App Service, where azure-identity finds it."""
    with FakeEntra() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def tenant(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEntra]:
    """A tenant's authority over https; requests, which azure-identity uses, trusts its certificate."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with FakeEntra(certificate) as running:
        yield running


@pytest.fixture
def azure(request: pytest.FixtureRequest) -> Iterator[FakeProvider]:
    """Azure OpenAI, which takes the tokens of the test's Entra ID and no key that a test knows."""
    giver = request.getfixturevalue("tenant" if "tenant" in request.fixturenames else "entra")
    with FakeProvider("azure", api_key="nobody-knows-this-key", tokens=giver.accepts) as running:
        yield running


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch, azure: FakeProvider) -> Declare:
    """The hook of a connection to that Azure."""

    def make(**fields: Any) -> BatchInferenceHook:
        given = {"conn_type": "azure_openai_batch", "host": azure.origin, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_ENTRA", json.dumps(given))
        return BatchInferenceHook.for_conn_id("entra")

    return make


def application(tenant: FakeEntra, **extra: str) -> dict[str, Any]:
    fields = {"tenant_id": TENANT, "authority_host": tenant.origin, **extra}
    return {"login": CLIENT_ID, "password": tenant.client_secret, "extra": fields}


def send(hook: BatchInferenceHook, rows: int = 1) -> str:
    lines = (json.dumps({**LINE, "custom_id": f"r{n}", "body": BODY}).encode() + b"\n" for n in range(rows))
    file_id = hook.upload(io.BytesIO(b"".join(lines)))
    return hook.create(file_id, model="batch-deployment").id


async def ended(hook: BatchInferenceHook, job_id: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        (job,) = await hook.backend.apoll([job_id])
        if job.status.is_terminal:
            return job
    raise AssertionError("the job did not end")


@pytest.mark.parametrize("version", [None, "2024-10-21"])
@pytest.mark.parametrize(
    ("extra", "client_id"),
    [({"managed_identity_client_id": IDENTITY}, IDENTITY), ({"entra": True}, None)],
    ids=["named", "default"],
)
async def test_a_batch_without_a_key(
    extra: dict[str, Any],
    client_id: str | None,
    version: str | None,
    declare: Declare,
    azure: FakeProvider,
    entra: FakeEntra,
) -> None:
    """A managed identity, named or found by DefaultAzureCredential, carries a batch from upload to download on both
    APIs; every call has the bearer token and no key, and one token serves them all."""
    hook = declare(extra={**extra, **({"api_version": version} if version else {})})
    job = await ended(hook, send(hook, 3))
    assert job.status is JobStatus.COMPLETED
    assert b"".join(hook.backend.outputs(job)).count(b'"custom_id"') == 3
    await hook.backend.acancel([job.id])
    assert {call.kind for call in azure.requests} >= {"upload", "create", "poll", "download", "cancel"}
    assert {call.bearer for call in azure.requests} == set(entra.tokens)
    assert not any("api-key" in call.headers for call in azure.requests)
    assert entra.asked == [{"kind": "managed", "client_id": client_id, "resource": AUDIENCE}]


async def test_an_application(declare: Declare, azure: FakeProvider, tenant: FakeEntra) -> None:
    """Tenant, client id and secret sign in at the authority that the connection names, over https."""
    hook = declare(**application(tenant))
    assert (await ended(hook, send(hook))).status is JobStatus.COMPLETED
    assert {call.bearer for call in azure.requests} == set(tenant.tokens)
    assert tenant.asked == [{"kind": "application", "client_id": CLIENT_ID, "resource": AUDIENCE}]


async def test_tokens_are_renewed_while_waiting(declare: Declare, azure: FakeProvider, entra: FakeEntra) -> None:
    """A wait outlives its tokens: what comes after the end of one, looks and calls, brings a new one."""
    entra.lifetime = 1.0
    azure.faults.hold_after_rows = 0
    hook = declare(extra={"managed_identity_client_id": IDENTITY})
    job_id = send(hook)
    (job,) = await hook.backend.apoll([job_id])
    first = azure.requests[-1].bearer
    await asyncio.sleep(1.1)
    assert first is not None
    assert not entra.accepts(first)
    (job,) = await hook.backend.apoll([job_id])
    assert not job.status.is_terminal
    assert azure.requests[-1].bearer != first
    hook.cancel(job_id)
    assert (await ended(hook, job_id)).status is JobStatus.CANCELLED
    assert len(entra.tokens) >= 3


def test_a_task_outlives_its_tokens(entra: FakeEntra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole run, deferred and resumed, whose every token ends long before the batch does."""
    entra.lifetime = 1.0
    with FakeProvider("azure", tokens=entra.accepts, rules={"run_seconds": 3.0}) as azure:
        extra = {"entra": True, "deployment": "batch-deployment"}
        connection = {"conn_type": "azure_openai_batch", "host": azure.origin, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_ENTRA", json.dumps(connection))
        task = BatchInferenceOperator(
            task_id="task",
            input_path=write(tmp_path / "in.jsonl", [request(n) for n in range(4)]),
            output_path=str(tmp_path / "run"),
            conn_id="entra",
            poll_interval=0.4,
            retries=3,
        )
        told, triggers = resume(task, {"ti": TaskInstance()})
        used = {call.bearer for call in azure.calls("poll")}
    assert (told["total"], told["succeeded"], len(triggers)) == (4, 4, 1)
    assert len(used) >= 3
    shown = repr(triggers[0].serialize()) + "".join(
        path.read_text() for path in (tmp_path / "run").rglob("*") if path.is_file()
    )
    assert not any(str(token) in shown for token in used)


async def test_an_old_token_is_refused(declare: Declare, entra: FakeEntra) -> None:
    """The fake is worth the proof: a token that azure-identity believes in and Azure does not is a 401, which is told
    without the token."""
    hook = declare(extra={"managed_identity_client_id": IDENTITY})
    hook.backend.probe()
    entra.tokens.clear()
    for call in (hook.backend.probe, lambda: b"".join(hook.backend.download("file-x"))):
        with pytest.raises(AuthenticationError, match=r"HTTP 401 401: Unauthorized\. Access token is missing"):
            call()
    with pytest.raises(AuthenticationError, match="have expired"):
        await hook.backend.apoll(["batch_x"])


async def test_another_scope_is_asked_for(declare: Declare, entra: FakeEntra) -> None:
    """``token_scope`` is what is asked for; Azure refuses a token for somebody else."""
    hook = declare(extra={"entra": True, "token_scope": "https://ai.azure.com/.default"})
    with pytest.raises(AuthenticationError, match="audience is incorrect"):
        hook.backend.probe()
    assert entra.asked[0]["resource"] == "https://ai.azure.com"


@pytest.mark.alone
async def test_the_triggerer_is_never_blocked(declare: Declare, azure: FakeProvider, entra: FakeEntra) -> None:
    """While Entra takes its time the event loop goes on."""
    hook = declare(extra={"managed_identity_client_id": IDENTITY})
    job_id = send(hook)
    entra.latency, entra.lifetime = 0.6, 1.0
    fresh = declare(extra={"managed_identity_client_id": IDENTITY})
    (_, gap) = await heartbeat(fresh.backend.apoll([job_id]))
    assert gap < 0.3
    assert len(entra.tokens) == 2


@pytest.mark.alone
def test_the_first_import_does_not_block(declare: Declare, entra: FakeEntra, azure: FakeProvider) -> None:
    """In a triggerer that has never heard of azure-identity, its import happens beside the event loop."""
    job_id = send(declare(extra={"managed_identity_client_id": IDENTITY}))
    code = (
        "import asyncio, sys\n"
        "from airflow_batch_provider.hooks.base import BatchInferenceHook\n"
        "from tests.backends.tools import heartbeat\n"
        "hook = BatchInferenceHook.for_conn_id('entra')\n"
        "hook.backend.models\n"
        "assert 'azure.identity' not in sys.modules\n"
        f"(job,), gap = asyncio.run(heartbeat(hook.backend.apoll([{job_id!r}])))\n"
        "assert 'azure.identity' in sys.modules\n"
        "print('GAP', gap)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("GAP")[1]) < 0.5


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"login": CLIENT_ID, "password": "s"}, "tenant_id is missing; set it, or clear the login"),
        ({"extra": {"tenant_id": TENANT}}, "client id is missing.*login.*client secret is missing.*password"),
        ({"password": "k", "extra": {"managed_identity_client_id": IDENTITY}}, "and a key are set; clear one"),
        (
            {
                "login": "c",
                "password": "s",
                "extra": {"tenant_id": TENANT, "managed_identity_client_id": IDENTITY},
            },
            "and an application are set; clear one",
        ),
        ({"extra": {"tenantId": TENANT}}, "'tenantId'.*Known fields:.*tenant_id"),
        ({"password": "k", "extra": {"entra": True}}, "entra and a key are set; clear one"),
        ({"extra": {}}, "the API key is missing; set the resource's key as the password, or entra in the extra"),
        ({"host": "", "extra": {"entra": True}}, "the endpoint is missing"),
    ],
)
def test_what_is_missing_is_told(
    fields: dict[str, Any], told: str, declare: Declare, entra: FakeEntra, azure: FakeProvider
) -> None:
    """Half of an identity, or two of them, is refused in plain words and without a call."""
    hook = declare(**fields)
    works, message = check(hook.conn_id)
    assert not works
    assert re.search(told, message), message
    assert not azure.requests
    assert not entra.asked


def test_the_missing_package_names_its_extra(
    declare: Declare, entra: FakeEntra, azure: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without azure-identity a connection that needs it says what to install, and nothing is sent; with a key nobody
    misses the package."""
    monkeypatch.setitem(sys.modules, IMPORTED, None)
    hook = declare(extra={"entra": True})
    with pytest.raises(ConfigurationError, match=r"needs azure-identity; pip install .*\[azure\]"):
        hook.backend.check_route([], [], {})
    with pytest.raises(ConfigurationError, match=r"airflow-batch-provider\[azure\]"):
        hook.create("file-x", model="m")
    assert not azure.requests
    assert declare(password=azure.api_key).test_connection()[0]


@pytest.mark.parametrize(
    ("extra", "who"),
    [
        ({"managed_identity_client_id": IDENTITY}, f"managed identity {IDENTITY}"),
        ({"entra": True}, "what DefaultAzureCredential finds on this machine"),
    ],
)
def test_check_in_plain_words(extra: dict[str, Any], who: str, declare: Declare, entra: FakeEntra) -> None:
    """``airflow-batch check`` says who signed in."""
    works, message = check(declare(extra=extra).conn_id)
    assert works
    assert message.endswith(f"there are none yet; signed in with Microsoft Entra ID as {who}")


def test_a_wrong_secret(declare: Declare, tenant: FakeEntra, azure: FakeProvider) -> None:
    """Entra's refusal comes as AuthenticationError with its own words and the remedy; the secret is not in it."""
    hook = declare(**{**application(tenant), "password": "wrong-secret-7c1f"})
    works, message = check(hook.conn_id)
    assert not works
    assert "AADSTS7000215" in message
    assert "check tenant_id, login (client id) and password (client secret)" in message
    assert "wrong-secret-7c1f" not in message
    assert not azure.requests


def test_an_identity_that_is_not_there(declare: Declare, entra: FakeEntra) -> None:
    """An identity that this machine does not have is told as such."""
    hook = declare(extra={"managed_identity_client_id": CLIENT_ID})
    with pytest.raises(AuthenticationError, match=r"gave no token to managed identity .*assigned to this machine"):
        hook.backend.probe()


def test_an_authority_of_no_kind(declare: Declare, tenant: FakeEntra) -> None:
    """An authority that azure-identity refuses to speak to is a matter of the connection."""
    hook = declare(**application(tenant, authority_host=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(ConfigurationError, match=r"Connection 'entra'.*https"):
        hook.backend.probe()


async def test_an_outage_after_it_worked_is_no_refusal(declare: Declare, entra: FakeEntra) -> None:
    """A sign-in server that is down in the middle of a wait is waited for like any other outage: nothing was sent."""
    entra.lifetime = 1.0
    hook = declare(extra={"managed_identity_client_id": IDENTITY})
    hook.backend.probe()
    entra.down = True
    await asyncio.sleep(1.1)
    with pytest.raises(ProviderError, match="gave no token") as caught:
        await hook.backend.apoll(["batch_x"])
    assert caught.value.ambiguous is False


def test_nothing_shows_a_secret(
    declare: Declare, tenant: FakeEntra, azure: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """The client's secret is masked; neither it nor a token is in any log, repr or identity."""
    with caplog.at_level(logging.DEBUG):
        hook = declare(**application(tenant))
        send(hook)
        hook.backend.probe()
    (token,) = tenant.tokens
    backend: Any = hook.backend
    shown = f"{caplog.text} {backend.route!r} {backend.sign_in!r} {dict(backend.identity)}"
    assert tenant.client_secret not in shown
    assert token not in shown
    assert mask_logs(None, "info", {"event": f"secret {tenant.client_secret}"})["event"] == "secret ***"


async def test_an_answer_that_echoes_the_token(declare: Declare, entra: FakeEntra, monkeypatch: Any) -> None:
    """An error quotes what Azure says, without the token that Azure quotes."""
    hook = declare(extra={"managed_identity_client_id": IDENTITY})
    monkeypatch.setattr(Azure, "refuse", lambda _, call: Answer.of(401, {"error": {"message": f"no: {call.bearer}"}}))
    with pytest.raises(AuthenticationError, match=r"no: \*\*\*"):
        hook.backend.probe()
    with pytest.raises(AuthenticationError, match=r"no: \*\*\*"):
        b"".join(hook.backend.download("file-x"))
    with pytest.raises(AuthenticationError, match=r"no: \*\*\*"):
        await hook.backend.apoll(["batch_x"])
