"""``download_images``: addresses of images become the images themselves, before anything is paid for."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_batch_provider.connections.gateways import CLAUDE, GEMINI
from airflow_batch_provider.core.errors import ConfigurationError, InputError
from airflow_batch_provider.core.records import RunOptions
from airflow_batch_provider.images.fetch import ImagePolicy
from airflow_batch_provider.images.inline import Inliner
from airflow_batch_provider.operators.batch_inference import BatchInferenceOperator, BatchInferenceSubmitOperator
from airflow_batch_provider.operators.errors import AirflowFailException
from airflow_batch_provider.run.preview import Plan
from airflow_batch_provider.run.storage import RunDirectory
from airflow_batch_provider.testing.routes import fake_route
from tests.airflow.image_server import (
    GIF,
    JPEG,
    OPTIONS,
    PNG,
    WEBP,
    FakeTI,
    Images,
    data_url,
    operator,
    prepared,
)
from tests.airflow.world import TaskInstance, request, resume, write

FIELD = "body.messages[0].content[1].image_url.url"


@pytest.fixture
def images() -> Iterator[Images]:
    with Images() as running:
        yield running


# ---- what is written -------------------------------------------------------------------------------------------------


def test_images_are_written_into_the_requests(images: Images, tmp_path: Path) -> None:
    """Every kind by its own bytes, whatever its server calls it; what is no http address stays as it is."""
    urls = [
        images.tell("/a.png", PNG),
        images.tell("/b", JPEG, content_type="application/octet-stream"),
        images.tell("/c?sig=1", GIF, content_type="image/png"),
        images.tell("/d", WEBP),
    ]
    given = data_url("png", b"own")
    made = prepared(operator(tmp_path, [*urls, given, "gs://bucket/image.png"]))
    assert made == [
        data_url("png", PNG),
        data_url("jpeg", JPEG),
        data_url("gif", GIF),
        data_url("webp", WEBP),
        given,
        "gs://bucket/image.png",
    ]
    request = json.loads((tmp_path / "requests.jsonl").read_bytes().split(b"\n")[0])
    assert request["body"]["messages"][0]["content"][0] == {"type": "text", "text": "What is on it?"}
    assert request["body"]["messages"][0]["content"][1]["image_url"]["detail"] == "low"


def test_off_unless_asked_for(images: Images, tmp_path: Path) -> None:
    """Without the option an address stays an address, and nobody is asked."""
    url = images.tell("/a.png", PNG)
    assert prepared(operator(tmp_path, [url], download_images=False)) == [url]
    assert not images.asked


def test_responses_too(images: Images, tmp_path: Path) -> None:
    """The image parts of ``/v1/responses`` hold their address otherwise."""
    content = [{"type": "input_text", "text": "?"}, {"type": "input_image", "image_url": "{{ row.image }}"}]
    task = operator(
        tmp_path,
        [images.tell("/a.png", PNG)],
        endpoint="/v1/responses",
        messages=[{"role": "user", "content": content}],
    )
    task.execute({"ti": FakeTI()})  # type: ignore[typeddict-item]
    request = json.loads(Path(task.output_path).read_bytes())
    assert request["body"]["input"][0]["content"][1]["image_url"] == data_url("png", PNG)


@pytest.mark.parametrize(("route_name", "model"), [("bedrock", CLAUDE), ("vertex_ai", GEMINI)])
def test_providers_that_fetch_none_take_them(images: Images, tmp_path: Path, route_name: str, model: str) -> None:
    """Bedrock and Vertex refuse the address by its line and take what was fetched; limits and cost see the images."""
    url = images.tell("/a.png", PNG + b"x" * 30_000)
    task = operator(tmp_path, [url] * 120, download_images=False)
    with fake_route(route_name) as route:
        backend = route.backend()
        prepared(task)
        with pytest.raises(InputError, match=r"line 1, body\.messages\[0\]\.content\[1\].*does not download http"):
            Plan.of(task.output_path, backend, RunOptions(model=model))
        prepared(operator(tmp_path, [url] * 120))
        plan = Plan.of(task.output_path, backend, RunOptions(model=model))
        assert not route.fake.creates
    assert sum(shard.size for shard in plan.shards) > 120 * 40_000
    assert 120 * 1_600 < sum(shard.tokens for shard in plan.shards) < 120 * 5_000
    assert images.paths() == ["/a.png"]


# ---- rows whose image cannot be had ----------------------------------------------------------------------------------


def test_every_bad_image_is_a_problem_of_its_row(images: Images, tmp_path: Path) -> None:
    """All of them at once, by line and field, in words; nothing is written; a signature in an address is not told."""
    urls = [
        images.tell("/good", PNG),
        images.tell("/gone?signature=s3cr3t", 404),
        images.tell("/page", b"<html>", content_type="text/html; charset=utf-8"),
        images.tell("/fake", b"no image at all"),
        images.tell("/big", PNG + b"x" * 5_000),
        images.tell("/down", 503),
        images.tell("/loop", (302, {"location": "/loop"})),
        images.tell("/inside", (302, {"location": "http://169.254.169.254/latest/meta-data"})),
        images.tell("/elsewhere", (302, {"location": "file:///etc/passwd"})),
        f"http://user:pa55word@127.0.0.1:{images.port}/good",
        f"http://{'a' * 64}/a.png",
        "http://[::bad/a.png",
    ]
    task = operator(tmp_path, urls, download_images={**OPTIONS, "max_image_bytes": 4_000})
    with pytest.raises(AirflowFailException) as caught:
        prepared(task)
    told = str(caught.value)
    assert "11 problems; nothing was sent" in told
    for number, words in {
        2: "/gone cannot be sent: its server returned 404",
        3: "it is text/html, not an image",
        4: "it is not png, jpeg, gif or webp",
        5: "it has more than 4,000 bytes",
        6: "its server returned 503, after 3 attempts",
        7: "it redirects more than 5 times",
        8: "its host has an address that is not public",
        9: "it is not an http or https URL",
        10: "its address contains a user name or password",
        11: "its host cannot be found",
        12: "it is not a URL",
    }.items():
        assert any(f"line {number}, {FIELD}: the image" in line and words in line for line in told.split("\n")), words
    assert "s3cr3t" not in told
    assert "pa55word" not in told
    assert images.paths().count("/down") == 3
    assert images.paths().count("/gone?signature=s3cr3t") == 1
    assert not (tmp_path / "requests.jsonl").exists()


def test_bad_rows_and_bad_images_are_told_together(images: Images, tmp_path: Path) -> None:
    """What is wrong with the rows themselves is in the same report."""
    urls = [images.tell("/gone", 404), images.tell("/good", PNG)]
    task = operator(tmp_path, urls, custom_id="same")
    with pytest.raises(AirflowFailException, match=r"(?s)2 problems.*line 1, body.*404.*line 2, custom_id: 'same'"):
        prepared(task)


def test_a_line_may_not_grow_beyond_its_limit(images: Images, tmp_path: Path) -> None:
    """The images of one request count together."""
    content = [{"type": "image_url", "image_url": {"url": images.tell(f"/{n}", PNG)}} for n in range(4)]
    task = operator(
        tmp_path,
        ["unused"],
        messages=[{"role": "user", "content": content}],
        download_images={**OPTIONS, "max_line_bytes": 2_000},
    )
    with pytest.raises(AirflowFailException, match=r"content\[2\].*with it the line has more than 2,000 bytes"):
        prepared(task)


def test_errors_of_a_select_quote_no_address(images: Images, tmp_path: Path) -> None:
    """An address is part of the row."""
    line = json.dumps({"body": {"x": {"type": "image_url", "image_url": images.tell("/of-a-patient", 404)}}}).encode()
    inliner = Inliner(RunDirectory(str(tmp_path)), ImagePolicy(**OPTIONS), "The SELECT", show_values=False)
    with pytest.raises(InputError) as caught:
        list(inliner.lines([(7, line)]))
    assert "line 7, body.x.image_url: the image cannot be sent: its server returned 404" in str(caught.value)
    assert "patient" not in str(caught.value)


# ---- fetched once ----------------------------------------------------------------------------------------------------


def test_doing_it_again_gives_the_same_bytes(images: Images, tmp_path: Path) -> None:
    """A retry or a cleared task writes the very same file, although the image has changed and its server is gone: what
    was planned or paid for keeps its fingerprint."""
    url = images.tell("/a.png", PNG)
    task = operator(tmp_path, [url, url, url])
    prepared(task)
    first = (tmp_path / "requests.jsonl").read_bytes()
    assert images.paths() == ["/a.png"]
    images.tell("/a.png", JPEG, 500)
    prepared(task)
    assert (tmp_path / "requests.jsonl").read_bytes() == first
    assert images.paths() == ["/a.png"]


def test_a_retry_fetches_what_is_missing(images: Images, tmp_path: Path) -> None:
    """After a failure the images that were had are not fetched again."""
    urls = [images.tell("/a", PNG), images.tell("/b", 404), images.tell("/c", GIF)]
    task = operator(tmp_path, urls)
    with pytest.raises(AirflowFailException):
        prepared(task)
    images.tell("/b", JPEG)
    assert prepared(task) == [data_url("png", PNG), data_url("jpeg", JPEG), data_url("gif", GIF)]
    assert sorted(images.paths()) == ["/a", "/b", "/b", "/c"]


def test_on_an_object_store(images: Images, tmp_path: Path) -> None:
    """Images are kept beside the output on whatever store that is."""
    attach("s3", "images", fs=MemoryFileSystem())
    task = operator(tmp_path, [images.tell("/a", PNG)], output_path="s3://images@bucket/day/requests.jsonl")
    task.execute({"ti": FakeTI()})  # type: ignore[typeddict-item]
    folder = RunDirectory("s3://images@bucket/day/requests.jsonl.images")
    (name,) = folder.names("")
    assert folder.read(name) == PNG
    assert base64.b64encode(PNG) in (RunDirectory("s3://images@bucket/day").read("requests.jsonl") or b"")


@pytest.mark.parametrize(
    "given",
    ["yes", {"max_bytes": 1}, {"attempts": 0}, {"at_once": 1.5}, {"timeout": True}, {"private_hosts": "localhost"}],
)
def test_wrong_options_are_an_import_error(given: Any, tmp_path: Path) -> None:
    """A slip of the pen is seen when the DAG is read."""
    with pytest.raises(ConfigurationError, match="download_images"):
        operator(tmp_path, ["x"], download_images=given)


# ---- the whole run ---------------------------------------------------------------------------------------------------


def whole(folder: Path, url: str, **options: Any) -> BatchInferenceOperator:
    """A run of a hundred requests that all show the same image."""
    parts = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
    lines = [{**request(n, max_tokens=5), "custom_id": f"r-{n}"} for n in range(100)]
    for line in lines:
        line["body"]["messages"] = [{"role": "user", "content": parts}]
    arguments = {
        "task_id": "task",
        "input_path": write(folder / "in.jsonl", lines),
        "output_path": str(folder / "run"),
        "conn_id": "provider",
        "model": CLAUDE,
        "poll_interval": 0.02,
        "retries": 3,
        "download_images": OPTIONS,
    }
    return BatchInferenceOperator(**(arguments | options))


@pytest.fixture
def bedrock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with fake_route("bedrock") as route:
        monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", route.connection_json)
        yield route.fake


def test_a_run_on_bedrock(images: Images, tmp_path: Path, bedrock: Any) -> None:
    """The author's own file, with addresses in it, is answered by a provider that fetches none."""
    told, _ = resume(whole(tmp_path, images.tell("/a.png", PNG)), {"ti": TaskInstance()})
    assert (told["total"], told["succeeded"], told["jobs"]) == (100, 100, 1)
    assert images.paths() == ["/a.png"]
    wire = b"".join(path.read_bytes() for path in (tmp_path / "run" / "shards").iterdir())
    assert wire.count(base64.b64encode(PNG)) == 100


def test_a_retry_asks_the_same(images: Images, tmp_path: Path, bedrock: Any) -> None:
    """A new try finds its job, although the image is another by now and its server gone; nothing is paid again."""
    url = images.tell("/a.png", PNG)
    with pytest.raises(TaskDeferred):
        whole(tmp_path, url).execute({"ti": TaskInstance()})
    images.tell("/a.png", JPEG, 500)
    told, _ = resume(whole(tmp_path, url), {"ti": TaskInstance(try_number=2)})
    assert told["succeeded"] == 100
    assert len(bedrock.creates) == 1
    assert images.paths() == ["/a.png"]


def test_a_changed_file_is_seen(images: Images, tmp_path: Path, bedrock: Any) -> None:
    """Another address is another input, and begins anew only if that is asked for."""
    resume(whole(tmp_path, images.tell("/a.png", PNG)), {"ti": TaskInstance()})
    again = TaskInstance(try_number=2)
    with pytest.raises(AirflowFailException, match="changed since"):
        whole(tmp_path, images.tell("/b.png", GIF)).execute({"ti": again})
    told, _ = resume(whole(tmp_path, images.origin + "/b.png", on_changed_input="restart"), {"ti": again})
    assert told["succeeded"] == 100
    assert len(bedrock.creates) == 2
    assert images.paths() == ["/a.png", "/b.png"]


def test_nothing_is_sent_while_an_image_is_missing(images: Images, tmp_path: Path, bedrock: Any) -> None:
    """A run whose images cannot be had sends nothing at all, and says so by line."""
    with pytest.raises(AirflowFailException, match=r"100 problems; nothing was sent\.\n  line 1, body\.messages\[0\]"):
        whole(tmp_path, images.tell("/gone", 404)).execute({"ti": TaskInstance()})
    assert not bedrock.requests
    assert not (tmp_path / "run").exists()


def test_an_uploaded_file_stays_as_it_is(tmp_path: Path) -> None:
    """There is nothing to write images into."""
    task = BatchInferenceSubmitOperator(
        task_id="t", input_file_id="file-1", output_path=str(tmp_path), conn_id="c", download_images=True
    )
    with pytest.raises(AirflowFailException, match="download_images requires input_path"):
        task.execute({"ti": TaskInstance()})
