"""Gemini's pictures and sounds: asked for, answered, counted (B7)."""

from __future__ import annotations

import base64
from typing import Any

from airflow_batch_provider.core.records import JSON
from tests.dialects.test_gemini_answers import answer
from tests.dialects.vertex_tools import said

PNG = base64.b64encode(b"picture").decode()


def answered(parts: list[JSON], **usage: Any) -> JSON:
    output = said("")
    output["candidates"][0]["content"]["parts"] = parts
    output["usageMetadata"] |= usage
    return answer(output)


def test_picture_is_kept() -> None:
    """B7: a picture is in ``images`` as a data: URL, and content is null, not an empty answer."""
    message = answered([{"inlineData": {"mimeType": "image/png", "data": PNG}}])["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "images": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}, "index": 0}],
    }


def test_words_and_pictures() -> None:
    """B7: text beside pictures is the content; a sketch among the thoughts is none of the pictures, and kept."""
    image = {"inlineData": {"mimeType": "image/webp", "data": PNG}}
    parts = [{"text": "Here."}, image, {**image, "thought": True}, image]
    message = answered(parts)["choices"][0]["message"]
    assert message["content"] == "Here."
    assert [one["index"] for one in message["images"]] == [0, 1]
    assert message["provider_parts"] == [{"index": 2, "part": {**image, "thought": True}}]


def test_sound() -> None:
    """B7: sounds of one type are one sound in OpenAI's ``audio``; what does not fit there is kept as it came."""
    kind = "audio/L16;codec=pcm;rate=24000"
    halves = [{"inlineData": {"mimeType": kind, "data": base64.b64encode(half).decode()}} for half in (b"a", b"bc")]
    video = {"inlineData": {"mimeType": "video/mp4", "data": PNG}}
    other = {"inlineData": {"mimeType": "audio/mp3", "data": PNG}}
    broken = {"inlineData": {"mimeType": kind, "data": "?"}}
    message = answered([*halves, video, other, broken])["choices"][0]["message"]
    assert message["content"] is None
    sound = message["audio"]
    assert base64.b64decode(sound["data"]) == b"abc"
    assert (sound["mime_type"], sound["transcript"], sound["expires_at"]) == (kind, "", 0)
    assert sound["id"].startswith("audio_")
    assert [kept["part"] for kept in message["provider_parts"]] == [video, other, broken]


def test_tokens_of_media_are_told() -> None:
    """B7: pictures are billed at a price of their own, so usage tells their tokens; text alone needs no telling."""
    picture = [{"inlineData": {"mimeType": "image/png", "data": PNG}}]
    usage = answered(
        picture,
        promptTokenCount=270,
        candidatesTokenCount=1303,
        thoughtsTokenCount=5,
        promptTokensDetails=[{"modality": "TEXT", "tokenCount": 12}, {"modality": "IMAGE", "tokenCount": 258}],
        candidatesTokensDetails=[{"modality": "IMAGE", "tokenCount": 1290}, {"modality": "TEXT", "tokenCount": 13}],
    )["usage"]
    assert usage == {
        "prompt_tokens": 270,
        "completion_tokens": 1308,
        "total_tokens": 1578,
        "prompt_tokens_details": {"text_tokens": 12, "image_tokens": 258},
        "completion_tokens_details": {"reasoning_tokens": 5, "image_tokens": 1290, "text_tokens": 13},
    }
    usage = answered([{"text": "x"}], candidatesTokensDetails=[{"modality": "TEXT", "tokenCount": 2}])["usage"]
    assert usage == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def test_withheld_picture_says_why() -> None:
    """A filtered picture is a refusal."""
    output = said("", finishReason="IMAGE_SAFETY", finishMessage="No.")
    output["candidates"][0]["content"] = {}
    message = answer(output)["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "No.")
