"""A10: uploads end by themselves where the provider can do that, or are deleted with the run; nothing piles up."""

from __future__ import annotations

import io
from typing import Any

import pytest

from airflow_batch_provider.backends.wire.errors import from_status
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.connections.openai import OpenAISettings
from airflow_batch_provider.core.errors import BatchInferenceError, ConfigurationError
from airflow_batch_provider.core.records import Shard
from airflow_batch_provider.hooks.openai import OpenAIBatchHook
from airflow_batch_provider.testing import FakeProvider, fake_route
from tests.backends.scripted import Scripted, answer
from tests.facts import azure_backend, wire_facts
from tests.run.benching import Bench, line

DAY = 86_400
SHARD = Shard(0, 0, 1, 3, "m", "/v1/chat/completions")


def life_of(fake: Any, file_id: str) -> int | None:
    item = fake._store.file(file_id)
    return None if item["expires_at"] is None else item["expires_at"] - item["created_at"]


@pytest.mark.parametrize(
    ("options", "seconds"),
    [({}, 14 * DAY), ({"expires_after": 20 * DAY}, 20 * DAY), ({"expires_after": None}, None)],
)
def test_azure_uploads_end(options: dict[str, Any], seconds: int | None) -> None:
    """A10: by default after 14 days, the shortest that Azure takes; as the author says; never."""
    with FakeProvider("azure") as fake:
        backend = azure_backend(fake.origin, fake.api_key)
        assert life_of(fake, backend.upload(SHARD, "t", io.BytesIO(b"{}\n"), options)) == seconds
        backend.close()


def test_what_azure_refuses_of_a_life_does_not_end_the_run() -> None:
    """A10: the file is sent without it, whole."""
    with FakeProvider("azure") as fake:
        backend = azure_backend(fake.origin, fake.api_key)
        file_id = backend.upload(SHARD, "t", io.BytesIO(b"{}\n" * 9), {"expires_after": 3600})
        assert life_of(fake, file_id) is None
        assert b"".join(backend.download(file_id)) == b"{}\n" * 9
        backend.close()


def test_a_provider_that_does_not_know_the_parameter() -> None:
    """A10: two calls, the second without it; another refusal is told at once."""
    refused = answer(
        "400 Bad Request", b'{"error": {"message": "Unknown parameter: \'expires_after[anchor]\'.", "code": "x"}}'
    )
    with Scripted(refused) as server, pytest.raises(BatchInferenceError):
        OpenAIBackend(Route(server.base_url), wire_facts(takes_expiry=True)).upload_file("a.jsonl", io.BytesIO(b"{}\n"))
    assert [b"expires_after" in call for call in server.requests] == [True, False]
    with Scripted(answer("400 Bad Request", b'{"error": {"message": "No."}}')) as server:
        backend = OpenAIBackend(Route(server.base_url), wire_facts(takes_expiry=True))
        with pytest.raises(BatchInferenceError):
            backend.upload_file("a.jsonl", io.BytesIO(b"{}\n"))
    assert len(server.requests) == 1


@pytest.mark.parametrize(("host", "taken"), [("", True), ("https://gw.example.com/v1", False)])
def test_who_is_sent_it(host: str, taken: bool) -> None:
    """A10: OpenAI itself; not what answers elsewhere, unless the author asks for it."""

    class Given:
        password, schema, port, login, conn_type = "sk-x", "", None, "", "openai_batch"

    Given.host = host  # type: ignore[attr-defined]
    backend = OpenAIBatchHook("c", connection=Given).make_backend(Given, OpenAISettings())
    assert backend._life({}) == (14 * DAY if taken else None)
    assert backend._life({"expires_after": 5}) == 5


@pytest.mark.parametrize("name", ["portkey", "truefoundry", "portkey_bedrock"])
def test_gateways_are_not_sent_it(name: str) -> None:
    """A10: what a gateway makes of an unknown field nobody can say."""
    with fake_route(name) as route:
        assert route.backend()._life({}) is None  # type: ignore[attr-defined]


def test_wrong_options() -> None:
    """A10: refused before anything is sent."""
    backend = azure_backend("https://r", "key-of-azure")
    for options in ({"expires_after": "14 days"}, {"delete_inputs": "yes"}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            backend.check_route([], [], options)


@pytest.mark.parametrize("name", ["openai", "bedrock", "vertex_ai"])
@pytest.mark.parametrize("delete", [False, True])
def test_uploads_are_deleted_with_the_run(name: str, delete: bool, tmp_path: Any) -> None:
    """A10: on request, when the run has ended; its results are there, and clearing it pays nothing."""
    with fake_route(name) as route:
        made = route.backend()

        class Own(Bench):
            def make_backend(self, fake: Any) -> Any:
                return made

        bench = Own(tmp_path, route.fake)
        rows = max(route.min_rows, 3)
        bench.write([line(number, route.model, max_tokens=9) for number in range(rows)])
        summary = bench.finish(backend_options={"delete_inputs": delete})
        assert summary.outcomes["succeeded"] == rows
        attempts = bench.run().ledger.rounds()[0].attempts["r0-00000"]
        handle = attempts[0].input_id
        gone = False
        try:
            b"".join(made.download(handle))
        except BatchInferenceError:
            gone = True
        assert gone is delete
        bench.finish(first_try=False, backend_options={"delete_inputs": delete})
        assert len(route.fake.batches) == 1
        made.close()


@pytest.mark.parametrize(
    "message", ["The number of files exceeds the limit of 500 files.", "You have exceeded your 100 GB storage limit."]
)
def test_an_account_full_of_files(message: str) -> None:
    """A10 (azure-sdk-for-java#47401, curator#189): the error says the remedy."""
    error = from_status("POST /files", 400, {}, {"error": {"code": "quotaExceeded", "message": message}})
    assert "delete old uploads" in str(error)
    assert "expires_after" in str(error)
