"""Files of a batch as odd servers name them, and how long providers keep files."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.core.errors import ConfigurationError, ProviderError
from tests.facts import azure_backend, wire_facts
from tests.facts import read_wire_job as read_job
from tests.run.benching import line

HOUR, DAY = 3_600, 86_400


@pytest.mark.parametrize(
    ("given", "outputs"),
    [
        ("file-1", ("file-1",)),
        ("file%2F1", ("file/1",)),
        (["file-1"], ("file-1",)),
        (["file-1", "file-2", None], ("file-1", "file-2")),
        (["file-1", "file-1"], ("file-1",)),
        ({"id": "file-1", "object": "file"}, ("file-1",)),
        ({"file_id": "file-1"}, ("file-1",)),
        ([{"id": "file-1"}, {"id": "file-2"}], ("file-1", "file-2")),
        ({"object": "list", "data": [{"id": "file-1"}]}, ("file-1",)),
        (17, ("17",)),
        (None, ()),
        ("", ()),
        ([], ()),
        ({}, ()),
    ],
    ids=repr,
)
def test_files_in_any_shape(given: Any, outputs: tuple[str, ...]) -> None:
    """Before: a list or an object was read as no file, and the job's answers were given up as lost."""
    job = read_job({"id": "b", "status": "completed", "output_file_id": given, "error_file_id": "file-e"})
    assert (job.outputs, job.unread) == ((*outputs, "file-e"), "")
    assert read_job({"id": "b", "input_file_id": given}).input_id == (outputs[0] if outputs else None)


@pytest.mark.parametrize("given", [{"name": "x"}, True, 1.5, [["file-1"]], ["file-1", {"name": "x"}], [7.5]], ids=repr)
@pytest.mark.parametrize("name", ["output_file_id", "error_file_id"])
def test_what_names_no_file(name: str, given: Any) -> None:
    """It is told with what came, when the outputs are read; a list of jobs is read all the same."""
    job = read_job({"id": "b", "status": "completed", name: given})
    assert name in job.unread
    assert repr(given)[:20] in job.unread
    backend = OpenAIBackend(Route("http://127.0.0.1:9/v1"), wire_facts())
    with pytest.raises(ProviderError, match=f"Batch b: {name} is ") as told:
        [*backend.outputs(job)]
    assert not told.value.ambiguous


def renamed(bench: Any, change: Any) -> None:
    retrieve = bench.backend._call

    def call(method: str, path: str, body: Any = None) -> Any:
        found = retrieve(method, path, body)
        if method == "GET" and found.get("output_file_id"):
            found = {**found, "output_file_id": change(found["output_file_id"])}
        return found

    bench.backend._call = call


def test_a_run_reads_a_list_of_files(bench: Any) -> None:
    renamed(bench, lambda name: [{"id": name}])
    bench.write([line(number) for number in range(3)])
    assert bench.finish().outcomes["succeeded"] == 3
    assert len(bench.fake.batches) == 1


def test_a_run_whose_files_cannot_be_read_loses_nothing(bench: Any) -> None:
    """No second job is made, and the next try reads what is then there."""
    readable = []
    renamed(bench, lambda name: name if readable else {"name": name})
    bench.write([line(number) for number in range(3)])
    with pytest.raises(ProviderError, match=r"output_file_id is .'name'"):
        bench.finish()
    readable.append(True)
    assert bench.finish(first_try=False).outcomes["succeeded"] == 3
    assert len(bench.fake.batches) == 1


def openai_backend() -> OpenAIBackend:
    return OpenAIBackend(Route("http://127.0.0.1:9/v1"), wire_facts(takes_expiry=True))


def life(seconds: Any) -> dict[str, Any]:
    return {"anchor": "created_at", "seconds": seconds}


@pytest.mark.parametrize(
    ("make", "least"),
    [(openai_backend, HOUR), (lambda: azure_backend("https://r.openai.azure.com", "k"), 14 * DAY)],
    ids=["openai", "azure"],
)
def test_how_long_files_are_kept(make: Any, least: int) -> None:
    """OpenAI: 1 hour to 30 days; Azure: 14 to 30 days. Before, only the type was looked at."""
    backend = make()
    for seconds in (least, 30 * DAY):
        backend.check_route([], [], {"expires_after": seconds, "output_expires_after": life(seconds)})
        backend.check_route([], [], {"extra_body": {"output_expires_after": life(seconds)}})
    for seconds in (least - 1, 30 * DAY + 1, 0, -1):
        for options in (
            {"expires_after": seconds},
            {"output_expires_after": life(seconds)},
            {"extra_body": {"output_expires_after": life(seconds)}},
        ):
            with pytest.raises(ConfigurationError, match=r"expires_after.* must be"):
                backend.check_route([], [], options)
    for odd in ({"seconds": 20 * DAY}, {"anchor": "now", "seconds": 20 * DAY}, life("20 days"), life(True)):
        with pytest.raises(ConfigurationError, match="output_expires_after must be"):
            backend.check_route([], [], {"output_expires_after": odd})


def test_a_message_says_the_range_in_words() -> None:
    with pytest.raises(ConfigurationError, match=r"1209600 to 2592000 seconds \(14 days to 30 days\), not 3600"):
        azure_backend("https://r.openai.azure.com", "k").check_route([], [], {"expires_after": 3_600})


def test_what_a_gateway_keeps_nobody_knows() -> None:
    """Its answer decides; nonsense is refused all the same."""
    backend = OpenAIBackend(Route("http://127.0.0.1:9/v1"), wire_facts("portkey_batch"))
    backend.check_route([], [], {"expires_after": 60, "output_expires_after": {"days": 3}})
    with pytest.raises(ConfigurationError, match="above 0"):
        backend.check_route([], [], {"expires_after": -5})
