"""X17: a secret is taken out in every spelling, wherever a stream is cut, and nothing else is touched."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.records import Job, JobError, JobStatus
from airflow_batch_provider.core.redaction import (
    NOT_RECORDED,
    Redactor,
    header_secrets,
    secrets_in,
    with_secrets,
    without_secrets,
)

KEY = 'sk-live/7"Qz+Kp4=Xv9'
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=9, max_size=60).filter(
    lambda text: len(set(text)) > 1 and not text.islower() and not text.startswith(("{", "Bearer", "Basic"))
)


@pytest.mark.parametrize(
    "spelt",
    [
        KEY,
        f"Bearer {KEY}",
        json.dumps({"said": KEY}),
        json.dumps({"said": json.dumps({"key": KEY})}),
        quote(KEY, safe=""),
        base64.b64encode(f"user:{KEY}".encode()).decode(),
        base64.urlsafe_b64encode(f"us:{KEY}".encode()).decode(),
    ],
)
def test_every_spelling(spelt: str) -> None:
    redactor = Redactor([f"Bearer {KEY}"])
    assert "***" in redactor.text(f"before {spelt} after")
    assert b"***" in redactor.data(f"before {spelt} after".encode())
    assert KEY[8:] not in redactor.text(spelt)


@given(KEYS, st.text(max_size=200), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_however_a_stream_is_cut(key: str, text: str, sizes: list[int]) -> None:
    """A law: the chunks of a stream are the whole, redacted."""
    data = f"{text}{key}{text}".encode()
    chunks, at = [], 0
    for number in range(len(data)):
        size = sizes[number % len(sizes)]
        chunks.append(data[at : at + size])
        at += size
    redactor = Redactor([key])
    joined = b"".join(redactor.stream(chunks))
    assert key.encode() not in joined
    if key not in text:
        assert joined == redactor.data(data)


def test_beginnings_that_were_cut_off() -> None:
    """A message of 500 characters may end in the middle of a key."""
    assert Redactor([KEY]).text(f"no such key {KEY[:14]}; check it") == "no such key ***; check it"


@pytest.mark.parametrize("value", ["prod", "gpt-4o", "response", "custom_id", "customer", "1234567"])
def test_ordinary_words_are_left_alone(value: str) -> None:
    """Short values and plain words would blank rows; the wire's own names would make them unreadable."""
    line = json.dumps({"custom_id": "a", "response": {"customer": value}}).encode()
    assert Redactor([value]).data(line) == line


def test_numbers_stay_numbers() -> None:
    """A secret of digits alone may stand without quotes."""
    assert json.loads(Redactor(["12345678"]).data(b'{"created": 12345678}')) == {"created": 99999999}


def test_headers() -> None:
    """What is a secret by its name, its beginning or its look; models, dates, regions and versions are none."""
    secret = {
        "api-key": "swordfish-and-more",
        "x-any": "Hd5rMarked2",
        "x-b": "sk-abcdefghijk",
        "authorization": "Bearer abc-de",
    }
    plain = {"x-model": "gpt-4o-2024-08-06", "x-day": "2024-10-21", "x-where": "us-east-1", "x-who": "openai-main"}
    assert set(header_secrets({**secret, **plain}.items())) == set(secret.values())


def test_a_service_account_is_taken_apart() -> None:
    """Its address and project are no secrets; its key is one, also by lines."""
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nQ2hhbmdlZEJ5TmV4dFRpbWU\n-----END PRIVATE KEY-----\n"
    account = json.dumps({"type": "service_account", "project_id": "my-project-77", "private_key": key})
    redactor = Redactor([account])
    assert redactor.text("project my-project-77, type service_account") == "project my-project-77, type service_account"
    for said in (key, json.dumps(key), "MIIEvQIBADANBgkqhkiG9w0B", account):
        assert "MIIEvQIBADANBgkqhkiG9w0B" not in redactor.text(said)


def test_records() -> None:
    """Every text of a record at any depth; a record without any is the same object."""
    redactor = Redactor([KEY])
    job = Job("b", JobStatus.FAILED, errors=(JobError(f"bad {KEY}", KEY),), metadata={"k": KEY}, model=f"m-{KEY}")
    clean = redactor.value(job)
    assert KEY not in repr(clean)
    assert clean.status is JobStatus.FAILED
    assert redactor.value(clean) is clean


def test_exceptions() -> None:
    """Words, attributes, and the exception behind."""
    error = ValueError(f"refused {KEY}", {"key": KEY})
    error.code = KEY  # type: ignore[attr-defined]
    error.__cause__ = RuntimeError(KEY)
    Redactor([KEY]).error(error)
    assert KEY not in f"{error!r}{vars(error)}"
    assert error.__cause__ is None
    plain = ValueError("x")
    plain.__cause__ = RuntimeError("y")
    Redactor([KEY]).error(plain)
    assert str(plain.__cause__) == "y"


def test_what_is_not_recorded_is_sent() -> None:
    """The secrets of an object are left out and put back at the same places."""
    whole = {
        "api_key": "k-1",
        "auth": {"value": "v", "n": 1},
        "list": [{"password": "p"}, "plain"],
        "who": "ghp_abc",
        "author": "A",
    }
    recorded = without_secrets(whole)
    assert recorded == {
        "api_key": NOT_RECORDED,
        "auth": {"value": NOT_RECORDED, "n": 1},
        "list": [{"password": NOT_RECORDED}, "plain"],
        "who": NOT_RECORDED,
        "author": "A",
    }
    assert with_secrets(recorded, whole) == whole
    assert set(secrets_in(whole)) == {"k-1", "v", "p", "ghp_abc"}
