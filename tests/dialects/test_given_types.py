"""A file's media type, given beside it (B16)."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest
from airflow_batch_provider.dialects.anthropic import Anthropic
from airflow_batch_provider.dialects.families import CHAT, bedrock_family
from airflow_batch_provider.dialects.formats import bedrock_format
from tests.dialects import laws
from tests.dialects.vertex_tools import request_of

OBJECT = "gs://b/uploads/7f3a"
PNG = f"data:image/png;base64,{laws.PIXEL}"
BARE = f"data:;base64,{laws.PIXEL}"


def image(url: str, **more: Any) -> JSON:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def file(address: str, **more: Any) -> JSON:
    return {"type": "file", "file": {"file_id" if "://" in address else "file_data": address, **more}}


def part_of(part: JSON) -> JSON:
    made: JSON = request_of({"messages": [{"role": "user", "content": [part]}]})["contents"][0]["parts"][0]
    return made


@pytest.mark.parametrize("key", ["format", "mime_type", "mimeType", "media_type", "content_type"])
def test_object_without_an_ending(key: str) -> None:
    """B16: the type that stands beside an object is its type, in the file or beside it, as a type or as a word."""
    for part in (image(OBJECT, **{key: "image/png"}), {**image(OBJECT), key: "png"}, image(OBJECT, **{key: ".PNG"})):
        assert part_of(part) == {"fileData": {"fileUri": OBJECT, "mimeType": "image/png"}}
    told = {"fileData": {"fileUri": OBJECT, "mimeType": "application/pdf"}}
    assert part_of(file(OBJECT, **{key: "application/pdf"})) == told
    assert part_of({**file(OBJECT), key: "pdf"}) == told


def test_the_given_type_wins() -> None:
    """B16: against the ending of a name, and against what a data: URL says of itself, or does not."""
    assert part_of(image("gs://b/a.jpg", format="image/webp"))["fileData"]["mimeType"] == "image/webp"
    assert part_of(file("gs://b/a.bin", filename="a.txt", format="text/csv"))["fileData"]["mimeType"] == "text/csv"
    assert part_of(image(PNG, format="image/webp"))["inlineData"]["mimeType"] == "image/webp"
    assert part_of(image(BARE, format="image/png"))["inlineData"]["mimeType"] == "image/png"
    assert part_of(file(BARE, filename="a", format="pdf"))["inlineData"]["mimeType"] == "application/pdf"


def test_the_type_of_one_part_is_not_anothers() -> None:
    """B16: a part that gives none takes none from the part before it."""
    content = [image(OBJECT, format="image/webp"), image(PNG)]
    parts = request_of({"messages": [{"role": "user", "content": content}]})["contents"][0]["parts"]
    assert parts[1]["inlineData"]["mimeType"] == "image/png"


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (image(OBJECT), "image_url.url"),
        (file(OBJECT), "file"),
        (image(OBJECT, format="picture"), "format"),
        (image(OBJECT, mime_type=5), "mime_type"),
        ({**file(OBJECT), "mimeType": "x y"}, "mimeType"),
    ],
)
def test_without_a_type(part: JSON, field: str) -> None:
    """B16: where none is given the message says where to write it; what is not a type is refused by its key."""
    with pytest.raises(UntranslatableError) as caught:
        part_of(part)
    assert caught.value.field == f"body.messages[0].content[0].{field}"


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        *((word, "audio/wav") for word in ("wav", "WAV", ".wav", "audio/wav", " Audio/WAV ")),
        ("webm", "audio/webm"),
        ("mp4", "audio/mp4"),
        ("x-aiff", "audio/x-aiff"),
    ],
)
def test_the_format_of_a_recording(form: str, kind: str) -> None:
    """B16: a recording's format, as a word or as a type, is the type of a sound: never audio/audio/wav or video/mp4."""
    part = {"type": "input_audio", "input_audio": {"data": laws.PIXEL, "format": form}}
    assert part_of(part)["inlineData"]["mimeType"] == kind


@pytest.mark.parametrize(
    "model", ["anthropic.claude-sonnet-4-5-20250929-v1:0", "us.meta.llama4-scout-17b-instruct-v1:0"]
)
@pytest.mark.parametrize("url", [BARE, BARE.replace("data:;", "data:application/octet-stream;")])
def test_a_name_tells_the_type(model: str, url: str) -> None:
    """B16: a URL that gives no type is no reason to refuse report.PDF, on Bedrock as on Vertex AI."""
    made = bedrock_format(bedrock_family(model), model, CHAT)
    text = {"type": "text", "text": "Read it."}
    body = {"messages": [{"role": "user", "content": [file(url, filename="report.PDF"), text]}]}
    line = made.encode(BatchRequest("a", CHAT, "m", body, b"", 1), 0)
    assert b'"media_type":"application/pdf"' in line or b'"format":"pdf"' in line


def test_other_dialects_heed_it() -> None:
    """B16: Claude is told the given type, too."""
    model = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    dialect = Anthropic(bedrock_family(model), model)
    body = {"messages": [{"role": "user", "content": [image(BARE, format="image/png")]}]}
    assert dialect.request(body)["messages"][0]["content"][0]["source"]["media_type"] == "image/png"
