"""One table from Google's errors to this package's, for Vertex AI and Cloud Storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_batch_provider.backends.environment import unusable
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    BatchInferenceError,
    ConfigurationError,
    NotFoundError,
    ProviderError,
)
from airflow_batch_provider.core.refusals import MEANT_OTHERWISE, Words, error_of, spelled_out
from airflow_batch_provider.core.retry_after import retry_after

_REMEDIES = {
    401: "; check the connection's credentials",
    403: "; the account is accepted, but may not do this: check its roles",
}

_UNSENT = frozenset({"NewConnectionError", "ConnectTimeoutError", "ConnectTimeout", "NameResolutionError", "SSLError"})
"""No connection: nothing can have been sent."""


@contextmanager
def authenticated(call: str) -> Iterator[None]:
    """Errors of google-auth inside become this package's.

    Apart from :func:`translated`, which imports gRPC: the triggerer needs tokens, and nothing else.

    :param call: what a token is wanted for.
    """
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except GoogleAuthError as error:
        raise from_credentials(call, error) from error


@contextmanager
def translated(call: str) -> Iterator[None]:
    """Errors of Google's clients inside become this package's.

    :param call: the call, shown in the message.
    """
    from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.protobuf.json_format import Error as NotTheMessage
    from requests.exceptions import RequestException

    try:
        yield
    except GoogleAPICallError as error:
        headers = getattr(error.response, "headers", None) or {}
        message = str(error.message or error)
        codes = (str(reason),) if (reason := getattr(error, "reason", None)) else ()
        raise from_answer(call, int(error.code or 0), message, headers, codes) from error
    except GoogleAuthError as error:
        raise from_credentials(call, error) from error
    except (NotTheMessage, UnicodeDecodeError) as error:
        # A proxy's page with status 200, say: the call may have been carried out behind it.
        raise ProviderError(f"{call}: the answer is not Google's: {str(error)[:200]}") from error
    except (GoogleAPIError, RequestException, ConnectionError, TimeoutError) as error:
        raise from_no_answer(call, error) from error
    except OSError as error:  # requests: a bundle of certificates that is not there
        raise unusable(call, error) from error


def from_answer(
    call: str, status: int, message: str, headers: Mapping[str, Any] | None = None, codes: tuple[str, ...] = ()
) -> BatchInferenceError:
    """The error of an answer that is not 2xx.

    :param codes: the reason that Google gives beside the message, such as ``BILLING_DISABLED``.
    """
    text = f"{call}: HTTP {status}: {message.strip()[:500]}"
    wait = retry_after(headers or {}, message)
    if status in (408, 409) or status >= 500 or not status:
        return ProviderError(text, status=status or None, retry_after=wait)
    words = Words(codes, message, codes[0] if codes else None)
    if status == 404 and spelled_out(codes, message) not in MEANT_OTHERWISE:
        return NotFoundError(text)
    return error_of(f"{text.rstrip('.')}{_REMEDIES.get(status, '')}", words, status, wait)


def from_credentials(call: str, error: Exception) -> BatchInferenceError:
    """No token could be had, so nothing was sent; the address of tokens may only be out of reach for now."""
    text = f"{call}: {type(error).__name__}: {str(error)[:500]}"
    if type(error).__name__ == "TransportError" or getattr(error, "retryable", False):
        return ProviderError(text, ambiguous=False)
    return AuthenticationError(f"{text}; set the connection's service account key, key_path or gcp_conn_id")


def from_no_answer(call: str, error: BaseException) -> BatchInferenceError:
    """The error of a call that was not answered, or never sent."""
    kinds: set[str] = set()
    link: BaseException | None = error
    while link is not None:
        kinds |= {kind.__name__ for kind in type(link).__mro__}
        reason = getattr(link, "reason", None) or next(iter(getattr(link, "args", ())), None)
        link = reason if isinstance(reason, BaseException) else link.__cause__
    text = f"{call}: {type(error).__name__}: {str(error)[:500]}"
    if kinds & {"InvalidURL", "InvalidSchema", "MissingSchema", "InvalidHeader"}:
        return ConfigurationError(text)
    return ProviderError(text, ambiguous=not kinds & _UNSENT)
