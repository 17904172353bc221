"""From an Airflow connection to calls at a provider, with its secrets kept."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection
from airflow.sdk.log import mask_logs

from airflow_batch_provider.connections import connection_types
from airflow_batch_provider.core.errors import AuthenticationError, ConfigurationError, NotFoundError
from airflow_batch_provider.core.records import JobStatus
from airflow_batch_provider.hooks.base import BatchInferenceHook, base_url
from airflow_batch_provider.hooks.check import check
from airflow_batch_provider.hooks.openai import OpenAIBatchHook
from airflow_batch_provider.testing import FakeProvider
from tests.backends.scripted import free_port
from tests.backends.tools import heartbeat

HOOKS = {name: row.hook_path for name, row in connection_types().items()}

KEY = "key-of-the-tests-93ab"
WAYS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    # flavor of the fake, its options, path of the host, extra
    "openai_batch": ("openai", {}, "/v1", {}),
    "azure_openai_batch": ("azure", {}, "", {"api_version": "2024-10-21", "deployment": "gpt-batch"}),
    "truefoundry_batch": ("truefoundry", {}, "/api/llm", {"provider_name": "openai-main"}),
    "portkey_batch": ("portkey", {"uri_ids": True}, "/v1", {"virtual_key": "virtual-key-22aa"}),
    "local_batch": ("openai", {}, "/v1", {}),
}

Declare = Callable[..., str]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Declares a connection in the environment and gives its id."""

    def make(conn_type: str, conn_id: str = "under_test", **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": conn_type, **fields}))
        return conn_id

    return make


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest, declare: Declare) -> Iterator[tuple[FakeProvider, str]]:
    """A fake of each connection type, and a connection to it."""
    flavor, options, path, extra = WAYS[request.param]
    with FakeProvider(flavor=flavor, api_key=KEY, **options) as fake:  # type: ignore[arg-type]
        yield fake, declare(request.param, host=fake.origin + path, password=KEY, extra=extra)


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider(api_key=KEY) as running:
        yield running


def lines(hook: BatchInferenceHook, rows: int = 2) -> bytes:
    url = hook.backend.line_format("m", "/v1/chat/completions")._url
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    made = [{"custom_id": f"r{n}", "method": "POST", "url": url, "body": body} for n in range(rows)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in made)


# ---- which hook ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conn_type", HOOKS)
async def test_the_type_decides(conn_type: str, declare: Declare) -> None:
    """for_conn_id and afor_conn_id give the hook that the table names."""
    conn_id = declare(conn_type, host="http://127.0.0.1:9/v1", password=KEY)
    for hook in (BatchInferenceHook.for_conn_id(conn_id), await BatchInferenceHook.afor_conn_id(conn_id)):
        assert f"{type(hook).__module__}.{type(hook).__name__}" == HOOKS[conn_type]
        assert hook.conn_id == conn_id
        assert hook.backend.identity["type"] == conn_type
        assert hook.backend is hook.backend


async def test_wrong_type(declare: Declare) -> None:
    """A connection of another kind is refused with its type and ours, whichever way it is asked for."""
    conn_id = declare("openai", password=KEY)
    with pytest.raises(ConfigurationError, match=r"'under_test' has type 'openai'.*openai_batch.*local_batch"):
        BatchInferenceHook.for_conn_id(conn_id)
    with pytest.raises(ConfigurationError, match="has type 'openai'"):
        await BatchInferenceHook.afor_conn_id(conn_id)
    declare("portkey_batch", password=KEY)
    with pytest.raises(ConfigurationError, match="has type 'portkey_batch', OpenAIBatchHook takes 'openai_batch'"):
        _ = OpenAIBatchHook(conn_id).backend


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"organisation": "secret-value"}, "'organisation': Extra inputs are not permitted.*organization"),
        ({"model_map": "secret-value"}, "'model_map'"),
        ({"model_map": {"a": ["secret-value"]}}, "'model_map.a'"),
        ("secret-value, no JSON", "not a JSON object"),
        ('["secret-value"]', "not a JSON object"),
    ],
)
async def test_wrong_extra(extra: Any, told: str, declare: Declare) -> None:
    """A field that is unknown or unreadable is named, with those that are known, and its value is not shown."""
    conn_id = declare("openai_batch", password=KEY, extra=extra)
    with pytest.raises(ConfigurationError, match=told) as caught:
        _ = BatchInferenceHook.for_conn_id(conn_id).backend
    assert "secret-value" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=told):
        await BatchInferenceHook.afor_conn_id(conn_id)


@pytest.mark.parametrize("extra", [None, {}, "", "{}", {"default_model": "", "model_map": None}])
def test_empty_extra(extra: Any, declare: Declare) -> None:
    """A form that was left empty is no error."""
    backend = BatchInferenceHook.for_conn_id(declare("openai_batch", password=KEY, extra=extra)).backend
    assert (backend.models.default, dict(backend.models.mapping)) == (None, {})


@pytest.mark.parametrize(
    ("conn_type", "fields", "told"),
    [
        ("openai_batch", {}, "API key is missing"),
        ("openai_batch", {"password": " \n"}, "API key is missing"),
        ("azure_openai_batch", {"password": KEY}, "endpoint is missing"),
        ("azure_openai_batch", {"host": "https://x"}, "API key is missing"),
        ("truefoundry_batch", {"host": "https://x", "password": KEY}, "provider_name is missing"),
        (
            "truefoundry_batch",
            {"host": "https://x", "password": KEY, "extra": {"provider_name": "p", "behind": "azure_openai"}},
            "azure_api_version is missing",
        ),
        ("portkey_batch", {"password": KEY}, "none of provider, virtual_key and config"),
        ("portkey_batch", {"extra": {"provider": "openai"}}, "key is missing"),
        ("local_batch", {"password": KEY}, "host is missing"),
    ],
)
def test_missing_field(conn_type: str, fields: dict[str, Any], told: str, declare: Declare) -> None:
    """What the route lacks is named before any upload, by the verbs and by the connection's test."""
    conn_id = declare(conn_type, **fields)
    hook = BatchInferenceHook.for_conn_id(conn_id)
    verbs: list[Callable[[], object]] = [
        lambda: hook.upload(io.BytesIO(b"{}\n")),
        lambda: hook.create("file-1"),
        lambda: hook.retrieve("batch_1"),
        hook.list,
        hook.get_conn,
    ]
    for verb in verbs:
        with pytest.raises(ConfigurationError, match=told):
            verb()
    for well, said in (hook.test_connection(), check(conn_id)):
        assert well is False
        assert told in said


def test_settings_reach_the_backend(declare: Declare) -> None:
    """Model rules, Azure's deployment, extra body and headers are where they belong."""
    extra = {"default_model": "d", "model_map": {"a": "b"}}
    backend = BatchInferenceHook.for_conn_id(declare("openai_batch", password=KEY, extra=extra)).backend
    assert (backend.models.resolve("a"), backend.models.resolve(None), backend.models.resolve("c")) == ("b", "d", "c")
    extra = {"deployment": "gpt-batch", "api_version": " 2024-10-21 "}
    backend = BatchInferenceHook.for_conn_id(
        declare("azure_openai_batch", host="r.openai.azure.com", password=KEY, extra=extra)
    ).backend
    assert backend.models.default == "gpt-batch"
    assert backend.route.base_url == "https://r.openai.azure.com/openai"
    assert backend.route.query == (("api-version", "2024-10-21"),)
    extra = {"provider_name": "p", "extra_headers": {"x-tfy-region": "eu"}, "extra_body": {"role_arn": "arn:1"}}
    backend = BatchInferenceHook.for_conn_id(
        declare("truefoundry_batch", host="https://x/api/llm", password=KEY, extra=extra)
    ).backend
    assert dict(backend.route.headers)["x-tfy-region"] == "eu"
    assert backend.create_body("/v1/chat/completions", "f", {}, {})["role_arn"] == "arn:1"


# ---- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "https://a.b/v1"}, "https://a.b/v1"),
        ({"host": " https://a.b/v1/ "}, "https://a.b/v1"),
        ({"host": "a.b/v1"}, "https://a.b/v1"),
        ({"host": "a.b", "schema": "http"}, "http://a.b"),
        ({"host": "127.0.0.1", "schema": "http", "port": 8000}, "http://127.0.0.1:8000"),
        ({"host": "http://127.0.0.1/v1", "port": 8000}, "http://127.0.0.1:8000/v1"),
        ({"host": "http://127.0.0.1:9000/v1", "port": 8000}, "http://127.0.0.1:9000/v1"),
        ({"host": "http://[::1]/v1", "port": 8000}, "http://[::1]:8000/v1"),
        ({"host": "http://[::1]:9000/v1", "port": 8000}, "http://[::1]:9000/v1"),
        ({}, "the default"),
        ({"host": "  "}, "the default"),
    ],
)
def test_base_url(fields: dict[str, Any], url: str) -> None:
    """The address in one field, or with scheme and port in fields of their own."""
    assert base_url(Connection(conn_id="c", conn_type="x", **fields), "the default") == url


@pytest.mark.parametrize("host", ["https://user:hunter2@x/v1", "ftp://x", "http://x:port/v1"])
def test_wrong_address(host: str, declare: Declare) -> None:
    """What is no address is told by the connection's test, too, and a password in it is not."""
    well, said = check(declare("openai_batch", host=host, password=KEY))
    assert (well, "base URL" in said) == (False, True)
    assert "hunter2" not in said


# ---- verbs -----------------------------------------------------------------------------------------------------------


async def test_verbs(way: tuple[FakeProvider, str], tmp_path: Path) -> None:
    """Upload, create, retrieve, list, download, cancel and delete serve any Python task, on every type."""
    fake, conn_id = way
    hook = BatchInferenceHook.for_conn_id(conn_id)
    data = lines(hook)
    path = tmp_path / "mine.jsonl"
    path.write_bytes(data)
    file_id = hook.upload(path)
    assert b"".join(hook.download(file_id)) == data  # type: ignore[arg-type]
    other = hook.upload(io.BytesIO(data), "other.jsonl")
    job = hook.create(file_id, metadata={"team": "a"})
    assert job.metadata.items() >= {"team": "a"}.items()
    while not (job := hook.retrieve(job.id)).status.is_terminal:
        pass
    assert job.status is JobStatus.COMPLETED
    assert [listed.id for listed in hook.list()] == [job.id]
    assert hook.list(limit=1) == [job]
    target = tmp_path / "out.jsonl"
    written = hook.download(job.outputs[0], target)
    assert written == target.stat().st_size > 0
    assert {json.loads(line)["custom_id"] for line in target.read_text().splitlines()} == {"r0", "r1"}
    hook.cancel(job.id)
    hook.delete(other)
    with pytest.raises(NotFoundError):
        list(hook.download(other))  # type: ignore[arg-type]
    assert (await (await BatchInferenceHook.afor_conn_id(conn_id)).backend.apoll([job.id])) == [job]
    assert len(fake.creates) == 1
    hook.backend.close()


def test_create_takes_no_unknown_option(fake: FakeProvider, declare: Declare) -> None:
    """A misspelt option or unfit metadata is refused before anything is sent."""
    hook = BatchInferenceHook.for_conn_id(declare("openai_batch", host=fake.base_url, password=KEY))
    with pytest.raises(ConfigurationError, match="completion_windw"):
        hook.create("file-1", completion_windw="24h")
    with pytest.raises(ConfigurationError, match="metadata 'a'"):
        hook.create("file-1", metadata={"a": 1})  # type: ignore[dict-item]
    assert fake.requests == []


def test_get_conn(fake: FakeProvider, declare: Declare) -> None:
    """The official client, configured for the connection, for whatever the verbs lack."""
    hook = BatchInferenceHook.for_conn_id(declare("openai_batch", host=fake.base_url, password=KEY))
    with hook.get_conn() as client:
        assert client.batches.list(limit=1).data == []
        assert client.max_retries == 0


# ---- test_connection -------------------------------------------------------------------------------------------------


def test_good_connection(way: tuple[FakeProvider, str]) -> None:
    """One list, and nothing is made."""
    fake, conn_id = way
    for well, said in (BatchInferenceHook.for_conn_id(conn_id).test_connection(), check(conn_id)):
        assert well is True
        assert fake.origin in said
        assert KEY not in said
    assert {call.kind for call in fake.requests} == {"list"}


def test_wrong_key(way: tuple[FakeProvider, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer says so and does not tell the key."""
    _, conn_id = way
    name = "AIRFLOW_CONN_UNDER_TEST"
    wrong = json.loads(os.environ[name])
    monkeypatch.setenv(name, json.dumps({**wrong, "password": "wrong-key-71"}))
    well, said = check(conn_id)
    assert well is False
    assert "401" in said
    assert "wrong-key-71" not in said


def test_unreachable(declare: Declare) -> None:
    """Where nobody listens is told in plain words."""
    well, said = check(declare("local_batch", host=f"http://127.0.0.1:{free_port()}/v1"))
    assert (well, "no answer" in said) == (False, True)


def test_pasted_key(fake: FakeProvider, declare: Declare) -> None:
    """White space around a pasted key does no harm; a character within that no header carries is told, not shown."""
    assert check(declare("openai_batch", host=fake.base_url, password=f" {KEY}\n"))[0] is True
    well, said = check(declare("openai_batch", host=fake.base_url, password="sk-\u2013hidden"))
    assert (well, "Authorization" in said, "hidden" in said) == (False, True, False)


# ---- secrets ---------------------------------------------------------------------------------------------------------

SECRETS = {
    "openai_batch": ("pw-openai-4411", {}, []),
    "azure_openai_batch": ("pw-azure-4411", {"api_version": "2024-10-21"}, []),
    "truefoundry_batch": (
        "pw-tfy-4411",
        {"provider_name": "prov", "extra_headers": {"x-tfy-metadata": "meta-5522", "x-other": "other-5522"}},
        ["meta-5522", "other-5522"],
    ),
    "portkey_batch": (
        "pw-portkey-4411",
        {
            "virtual_key": "vk-6633-abc",
            "config": "pc-conf-6633",
            "bearer": "bear-6633-abc",
            "extra_headers": {"x-portkey-trace-id": "trace-6633"},
        },
        ["vk-6633-abc", "pc-conf-6633", "bear-6633-abc", "trace-6633"],
    ),
    "local_batch": ("pw-local-4411", {}, []),
}


class Lines(logging.Handler):
    """Keeps what a task's log would show: Airflow's own step masks each line."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(str(mask_logs(None, "info", {"event": self.format(record)})["event"]))


@pytest.mark.parametrize("conn_type", SECRETS)
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_every_header_value_is_masked(conn_type: str, asynchronous: bool, declare: Declare) -> None:
    """Once the backend is there, no value that signs or is given as a header comes out of a log line."""
    password, extra, others = SECRETS[conn_type]
    suffix = f"-{asynchronous}".lower()
    extra = json.loads(json.dumps(extra).replace("6633", f"6633{suffix}").replace("5522", f"5522{suffix}"))
    secrets = [
        password + suffix,
        *(o.replace("6633", f"6633{suffix}").replace("5522", f"5522{suffix}") for o in others),
    ]
    handler = Lines()
    logger = logging.getLogger("tests.masking")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.info("before: %s", secrets[0])
    conn_id = declare(conn_type, host="https://gateway.example/v1", password=password + suffix, extra=extra)
    if asynchronous:
        backend = (await BatchInferenceHook.afor_conn_id(conn_id)).backend
    else:
        backend = BatchInferenceHook.for_conn_id(conn_id).backend
    for secret in secrets:
        logger.info("found %s in it: %s", secret, dict(backend.route.headers))
    logger.removeHandler(handler)
    assert secrets[0] in handler.seen[0]  # the handler does show what nobody has masked
    assert len(handler.seen) == len(secrets) + 1
    for secret in secrets:
        assert any(secret in value for _, value in backend.route.headers)
        assert all(secret not in seen for seen in handler.seen[1:])
    assert all("found *** in it" in seen for seen in handler.seen[1:])


def test_nothing_secret_in_error_or_repr(fake: FakeProvider, declare: Declare) -> None:
    """Neither a hook nor an error of its calls shows the key."""
    hook = BatchInferenceHook.for_conn_id(declare("openai_batch", host=fake.base_url, password="wrong-key-82"))
    with pytest.raises(AuthenticationError) as caught:
        hook.list()
    assert "wrong-key-82" not in f"{caught.value!r} {hook!r} {hook.backend!r} {vars(hook.backend)!r}"


# ---- the triggerer ---------------------------------------------------------------------------------------------------


@pytest.mark.alone
async def test_the_event_loop_goes_on(declare: Declare) -> None:
    """Making a hook and its backend does not stop the triggerer."""
    conn_id = declare("portkey_batch", password=KEY, extra={"provider": "openai"})
    await BatchInferenceHook.afor_conn_id(conn_id)
    gaps = []
    while len(gaps) < 20 and min(gaps, default=1.0) >= 0.05:  # a busy machine may stop us at any time
        hook, gap = await heartbeat(BatchInferenceHook.afor_conn_id(conn_id))
        assert "backend" in vars(hook)
        gaps.append(gap)
    assert min(gaps) < 0.05
