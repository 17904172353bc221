"""The most tokens that a request may become: that it is the most, by OpenAI's own tokenizers, and how loose it is."""

from __future__ import annotations

import base64
import json
import random
import zlib
from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.estimating import Estimate, estimate, output_tokens
from airflow_batch_provider.core.media import DEAREST_IMAGE, image_tokens, pages_of
from airflow_batch_provider.core.records import BatchRequest

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
ENCODINGS = ("o200k_base", "cl100k_base")


@cache
def encoding(name: str) -> Any:
    import bpe_openai

    return bpe_openai.get_encoding(name)


def request(
    body: dict[str, Any], endpoint: str = CHAT, model: str | None = "m", *, ascii_only: bool = True
) -> BatchRequest:
    line = {"custom_id": "a", "method": "POST", "url": endpoint, "body": body}
    raw = json.dumps(line, ensure_ascii=ascii_only).encode()
    return BatchRequest("a", endpoint, model, body, raw, 1)


def estimated(body: dict[str, Any], endpoint: str = CHAT, model: str | None = "m") -> Estimate:
    asked = request(body, endpoint, model)
    return estimate(asked, asked.raw, model)


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def billed(text: str, name: str) -> int:
    """The least that OpenAI bills for one message: its text, three marks for it and three for the answer (OpenAI
    cookbook, "How to count tokens with tiktoken")."""
    return len(encoding(name).encode(text, disallowed_special=())) + 4 + 3


_dice = random.Random(7)
NASTY = {
    "readings": ",".join(str(_dice.randrange(10)) for _ in range(3000)),
    "spaced numbers": " ".join(str(_dice.randrange(10)) for _ in range(3000)),
    "smiles": "CC(=O)OC1=CC=CC=C1C(=O)O.N#CC1=CC[C@@H](N)" * 90,
    "base64": base64.b64encode(_dice.randbytes(3000)).decode(),
    "hex": _dice.randbytes(1500).hex(),
    "minified": "function(e,t){return n=e>>>3^t<<2,r[n&7]|=1<<(31-t%32),!!(i=[,,e]),n}" * 60,
    "spaces": "".join(_dice.choice(" \t\n\r\v\f") for _ in range(3000)),
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467\U0001f3f3\ufe0f\u200d\U0001f308" * 150,
    "chinese": "\u6f22\u5b57\u4eee\u540d\u4ea4\u3058\u308a\u6587\U00020bb7" * 150,
    "devanagari": "\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e " * 150,
    "thai": "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22\u0e2a\u0e27\u0e22\u0e07\u0e32\u0e21" * 150,
    "rare scripts": "".join(chr(_dice.randrange(0x10000, 0x1FFFF)) for _ in range(1500)),
    "letters": "".join(_dice.choice("qxzjvkQXZJVK") for _ in range(3000)),
    "marks": "".join(_dice.choice("!@#$%^&*()_+-=[]{};:',./<>?|~`\"\\") for _ in range(3000)),
    "special": "<|endoftext|><|im_start|>" * 100,
    "controls": "".join(map(chr, range(32))) * 60,
}


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("kind", NASTY)
def test_no_text_has_more_tokens_than_the_bound(kind: str, name: str) -> None:
    """X12: the upper end is one, whatever the text, and whether the line was written with escapes or without."""
    body = said(NASTY[kind])
    for ascii_only in (True, False):
        asked = request(body, ascii_only=ascii_only)
        assert billed(NASTY[kind], name) <= estimate(asked, asked.raw, "m").most


def test_the_bound_cannot_be_smaller_by_much() -> None:
    """X12: readings have one token a byte, so that a bound of fewer tokens than bytes would be none."""
    text = NASTY["readings"]
    assert min(billed(text, name) for name in ENCODINGS) > 0.99 * len(text)


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5), st.sampled_from(ENCODINGS))
def test_the_law(texts: list[str], name: str) -> None:
    """X12: over any messages, the sum of their tokens, and of what is put between them, is within the bound."""
    body = {"model": "m", "messages": [{"role": "user", "content": text} for text in texts]}
    real = sum(len(encoding(name).encode(text, disallowed_special=())) + 4 for text in texts) + 3
    assert real <= estimated(body).most


@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=5), st.sampled_from(ENCODINGS))
def test_the_law_of_embeddings(texts: list[str], name: str) -> None:
    """X12: texts to embed have no marks around them; numbers of tokens are as many as they are."""
    assert (
        sum(len(encoding(name).encode(text, disallowed_special=())) for text in texts)
        <= estimated({"input": texts}, EMBEDDINGS).most
    )
    numbers = [encoding(name).encode(text, disallowed_special=()) for text in texts]
    assert estimated({"input": numbers}, EMBEDDINGS).most == sum(map(len, numbers))


def test_how_loose_it_is(record_property: Any) -> None:
    """X12: what the bound costs: five times the tokens of English prose at most, and never more for escapes."""
    prose = "It was the best of times, it was the worst of times, it was the age of wisdom and of foolishness. " * 40
    most = estimated(said(prose)).most
    loose = most / billed(prose, "o200k_base")
    record_property("loose", round(loose, 2))
    assert 3 < loose < 5
    russian = "\u0412\u0441\u0435 \u0441\u0447\u0430\u0441\u0442\u044c\u0435 " * 50
    assert estimated(said(russian)).most < 1.1 * len(russian.encode()) + 300


@pytest.mark.parametrize(
    ("endpoint", "body", "most"),
    [
        (CHAT, {"max_tokens": 5}, 5),
        (CHAT, {"max_tokens": 5, "max_completion_tokens": 900}, 900),
        (CHAT, {"max_tokens": 900, "max_completion_tokens": 5}, 900),
        (CHAT, {"max_tokens": None, "max_completion_tokens": 7}, 7),
        (CHAT, {"max_output_tokens": 5}, None),
        (CHAT, {"max_completion_tokens": 5, "n": 3}, 15),
        (CHAT, {"max_completion_tokens": 5, "n": 3.0}, 15),
        (CHAT, {"max_completion_tokens": 5, "n": "many"}, None),
        (CHAT, {"max_completion_tokens": "5"}, 5),
        (CHAT, {"max_completion_tokens": 0.5}, None),
        (RESPONSES, {"max_output_tokens": 6}, 6),
        (RESPONSES, {"max_tokens": 6}, None),
        (RESPONSES, {"max_completion_tokens": 6}, None),
        ("/v1/completions", {"max_tokens": 4, "prompt": ["a", "b"], "n": 2, "best_of": 3}, 24),
        ("/v1/completions", {"max_completion_tokens": 4}, None),
        (EMBEDDINGS, {}, 0),
    ],
)
def test_the_bound_of_an_answer(endpoint: str, body: dict[str, Any], most: int | None) -> None:
    """X12: the bounds that the endpoint knows, of several the largest, for each answer that is asked for."""
    assert output_tokens(request(body, endpoint)) == most


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("gpt-4o-mini", DEAREST_IMAGE),
        ("vision-prod", DEAREST_IMAGE),
        ("my-gpt-4o", DEAREST_IMAGE),
        ("gpt-4o-deployment", DEAREST_IMAGE),
        ("gpt-9", DEAREST_IMAGE),
        (None, DEAREST_IMAGE),
        ("gpt-4o", 1_445),
        ("openai-main/gpt-4o-2024-08-06", 1_445),
        ("gpt-5-nano", 3_779),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", 4_784),
        ("publishers/google/models/gemini-3-pro-preview", 2_240),
    ],
)
def test_an_image_of_a_model_that_is_not_known_is_the_dearest(model: str | None, most: int) -> None:
    """X12: a deployment's name does not make its images cheap."""
    assert image_tokens(model) == most
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3_000_000}}
    found = estimated(
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, picture]}]}, model=model
    )
    assert most <= found.most < most + 400


def test_text_that_looks_like_media_is_text() -> None:
    """X12: only media parts of messages are left out of the text; what is in a text or a tool is read as text."""
    data = "data:image/png;base64," + "A1b2" * 2000
    assert estimated(said(data)).most > len(data)
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "image_url", "image_url": {"url": data}}},
    }
    assert estimated(said("x", tools=[tool])).most > len(data)


def sound(seconds: int, rate: int) -> str:
    head = (
        b"RIFF" + bytes(4) + b"WAVEfmt " + (16).to_bytes(4, "little") + bytes(4) + bytes(4) + rate.to_bytes(4, "little")
    )
    return base64.b64encode(head + bytes(12) + bytes(seconds * rate)).decode()


def part(body: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, body]}]}


def test_sound_is_seconds_and_not_text() -> None:
    """A8: 3 MB of base64 is a minute of sound: 32 tokens a second at most, where its rate can be read."""
    minute = {"type": "input_audio", "input_audio": {"data": sound(60, 32_000), "format": "wav"}}
    found = estimated(part(minute))
    assert 60 * 32 <= found.sound <= 63 * 32
    assert found.most < 500
    unknown = {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(bytes(75_000)).decode(), "format": "mp3"},
    }
    assert 100 * 32 <= estimated(part(unknown)).sound <= 102 * 32


def pdf(pages: int, *, packed: bool = False) -> bytes:
    objects = b"".join(b"<< /Type /Page /Parent 2 0 R >>\n" for _ in range(pages))
    if packed:
        inside = zlib.compress(objects)
        objects = b"9 0 obj << /Type /ObjStm /N 5 /Filter /FlateDecode >> stream\n" + inside + b"\nendstream endobj\n"
    return b"%PDF-1.7\n<< /Type /Pages /Count 1 >>\n" + objects + b"%" + bytes(50_000)


@pytest.mark.parametrize("packed", [False, True])
def test_a_document_is_pages_and_not_text(packed: bool) -> None:
    """A8: a PDF is billed by its pages, of text and as images, wherever the pages stand in it."""
    assert pages_of(pdf(7, packed=packed)) == 7
    data = "data:application/pdf;base64," + base64.b64encode(pdf(7, packed=packed)).decode()
    for document in (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": data}},
        {"type": "file", "file": {"file_data": data.partition(",")[2]}},
    ):
        found = estimated(part(document), model="gpt-4o")
        assert found.unsized is None
        assert 7 * (3_000 + 1_445) <= found.most < 7 * (3_000 + 1_445) + 500
    asked = {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": data}]}]}
    assert 31_115 <= estimated(asked, RESPONSES, "gpt-4o").most < 31_615


@pytest.mark.parametrize(
    "body",
    [
        part({"type": "file", "file": {"file_id": "file-1"}}),
        part(
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64," + base64.b64encode(b"%PDF-x").decode()},
            }
        ),
        part({"type": "file", "file": {"file_data": "data:application/zip;base64,UEsDBA=="}}),
        part({"type": "file", "file": {"file_data": "no base64 !"}}),
        part({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}),
        part({"type": "input_audio", "input_audio": {"id": "x"}}),
        said("x", web_search_options={}, tools=[{"type": "web_search"}]),
    ],
)
def test_what_cannot_be_sized_is_unknown(body: dict[str, Any]) -> None:
    """A8: what is only named, or cannot be read, has no bound, and says so."""
    assert estimated(body).unsized


@pytest.mark.parametrize("more", [{"previous_response_id": "r"}, {"prompt": {"id": "p"}}, {"tools": [{"type": "mcp"}]}])
def test_what_the_provider_adds_is_unknown(more: dict[str, Any]) -> None:
    """A8: an earlier response, a stored prompt and tools that the provider runs have no bound on the line."""
    assert estimated({"input": "x", **more}, RESPONSES).unsized


def test_what_was_written_out_counts() -> None:
    """X12: a translation may say more than the request; then its bytes are the bound."""
    asked = request(said("x"))
    wire = orjson.dumps({"modelInput": {"schema": "y" * 5000}})
    assert estimate(asked, wire, "m").most > 5000
