"""From HTTP answers and broken connections to this package's errors."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.backends.wire.errors import HONO_HINT, from_status, from_transport
from airflow_batch_provider.core.errors import (
    AccountError,
    AuthenticationError,
    BatchInferenceError,
    NotFoundError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RequestRejectedError,
)
from airflow_batch_provider.core.refusals import words_of
from airflow_batch_provider.core.retry_after import retry_after

CREATE = "POST /batches"


@pytest.mark.parametrize(
    ("call", "status", "code", "kind"),
    [
        (CREATE, 301, None, RequestRejectedError),
        (CREATE, 400, None, RequestRejectedError),
        (CREATE, 400, "token_limit_exceeded", QuotaError),
        (CREATE, 400, "batch_queue_full", QuotaError),
        (CREATE, 429, "token_limit_exceeded", QuotaError),
        (CREATE, 401, "token_limit_exceeded", AuthenticationError),
        (CREATE, 403, None, AuthenticationError),
        (CREATE, 404, None, NotFoundError),
        # A4: the account's fault, so the next try sends it again; before, a rejected request.
        (CREATE, 404, "DeploymentNotFound", AccountError),
        ("GET /batches/b", 404, "DeploymentNotFound", NotFoundError),
        (CREATE, 402, "billing_hard_limit_reached", AccountError),
        (CREATE, 402, None, AccountError),
        (CREATE, 429, "insufficient_quota", AccountError),
        (CREATE, 408, None, ProviderError),
        (CREATE, 409, None, ProviderError),
        (CREATE, 413, None, RequestRejectedError),
        (CREATE, 418, None, AccountError),
        (CREATE, 422, None, RequestRejectedError),
        (CREATE, 429, None, RateLimitedError),
        (CREATE, 500, None, ProviderError),
        (CREATE, 504, None, ProviderError),
        (CREATE, 529, None, ProviderError),
    ],
)
def test_status(call: str, status: int, code: str | None, kind: type[BatchInferenceError]) -> None:
    """Each status, with its code, is one error, which names the call, the status and the provider's words."""
    error = from_status(call, status, {}, {"error": {"message": "their words", "code": code, "type": None}})
    assert type(error) is kind
    assert str(error).startswith(f"{call}: HTTP {status}")
    assert "their words" in str(error)
    assert code is None or code in str(error)
    if isinstance(error, ProviderError):
        assert (error.ambiguous, error.status) == (True, status)
    if isinstance(error, RequestRejectedError):
        assert (error.status, error.code) == (status, code)


@pytest.mark.parametrize("code", ["DeploymentNotFound", "model_not_found"])
def test_deployment_hint(code: str) -> None:
    """A model that Azure does not find is most often a deployment of the wrong type."""
    assert "Global Batch" in str(from_status(CREATE, 404, {}, {"error": {"code": code, "message": "x"}}))


def test_hono_hint() -> None:
    """A gateway that can never answer a download says what is wrong with its installation."""
    assert HONO_HINT in str(from_status("GET /files/f/content", 500, {}, "Something went wrong"))
    assert HONO_HINT not in str(from_status("GET /files/f/content", 500, {}, "oops"))


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"error": {"message": "m", "type": "t", "param": None, "code": "c"}}, "c", "m"),
        ({"error": {"message": "m", "type": "t", "code": None}}, "t", "m"),
        ({"error": {"code": 401, "message": "m"}}, "401", "m"),
        ({"error": {"message": "m"}, "provider": "openai"}, None, "m"),
        ({"status": "failure", "message": "m"}, None, "m"),
        ({"success": False, "error": "m", "provider": "vertex-ai"}, None, "m"),
        ({"error": None, "message": "m"}, None, "m"),
        (b'{"error": {"message": "m", "code": "c"}}', "c", "m"),
        ("<html>bad gateway</html>", None, "<html>bad gateway</html>"),
        (b"\xff\xfe", None, "\ufffd\ufffd"),
        (b"", None, "no message"),
        (b"  ", None, "no message"),
        ([1, 2], None, "[1, 2]"),
        (None, None, "None"),
        ({}, None, "{}"),
    ],
)
def test_told(body: Any, code: str | None, message: str) -> None:
    """OpenAI's shape, the gateways', plain text and nothing."""
    words = words_of(body)
    assert (words.code, words.message) == (code, message)


def test_messages_are_short() -> None:
    """A page of HTML does not flood the log."""
    for body in ("x" * 10_000, {"error": {"message": "x" * 10_000}}):
        assert str(from_status(CREATE, 400, {}, body)).count("x") == 500


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("0", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("1e9", 3600.0),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds that can be waited; anything else is not told."""
    headers = {} if value is None else {"retry-after": value}
    assert retry_after(headers) == seconds
    error = from_status(CREATE, 429, headers, "")
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("cause", "ambiguous"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ConnectTimeout("slow"), False),
        (httpx.PoolTimeout("busy"), False),
        (httpx.UnsupportedProtocol("ftp"), False),
        (httpx.ReadTimeout("slow"), True),
        (httpx.WriteTimeout("slow"), True),
        (httpx.ReadError("cut"), True),
        (httpx.RemoteProtocolError("cut"), True),
        (ValueError("odd"), True),
    ],
)
def test_transport(cause: Exception, ambiguous: bool) -> None:
    """Only where nothing can have been sent is the answer clear, at whatever depth the cause lies."""
    outer = RuntimeError("Connection error.")
    outer.__cause__ = cause
    for error in (cause, outer):
        made = from_transport(CREATE, error)
        assert (made.ambiguous, made.status) == (ambiguous, None)
        assert str(made).startswith("POST /batches: no answer")
        assert str(cause) in str(made)
        assert type(cause).__name__ in str(made) or ambiguous


def test_endless_chain() -> None:
    """Causes that go in a circle end all the same."""
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert from_transport(CREATE, first).ambiguous


def test_names_exist() -> None:
    """The names that prove that nothing was sent are those of the HTTP library."""
    from airflow_batch_provider.backends.wire.errors import _NOTHING_SENT

    assert all(issubclass(getattr(httpx, name), httpx.HTTPError) for name in _NOTHING_SENT)


@given(st.integers(300, 599), st.binary(max_size=60))
def test_any_answer_is_an_error(status: int, body: bytes) -> None:
    """Whatever a server answers, one error of ours comes of it."""
    assert isinstance(from_status(CREATE, status, {}, body), BatchInferenceError)
