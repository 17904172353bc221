"""One table from botocore's errors to this package's, for Bedrock's control plane and S3."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_batch_provider.backends.environment import unusable
from airflow_batch_provider.core.errors import (
    AccountError,
    AuthenticationError,
    BatchInferenceError,
    ConfigurationError,
    NotFoundError,
    ProviderError,
    RequestRejectedError,
)
from airflow_batch_provider.core.refusals import MEANT_OTHERWISE, Words, about_money, error_of, spelled_out
from airflow_batch_provider.core.retry_after import retry_after

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AllAccessDisabled"})
_THROTTLED = frozenset({"RequestLimitExceeded", "SlowDown", "Throttling", "ThrottlingException"})
"""Not carried out, although S3 says so with 503."""
_PERMISSION = "the key is accepted, but may not do this: check its permissions"
_KEY = "check the access key, secret and session token of the connection"
_ABSENT = frozenset({"NoSuchBucket", "NoSuchKey", "ResourceNotFoundException"})
_UNCLEAR = frozenset({"ConflictException", "InternalServerException", "RequestTimeout", "RequestTimeoutException"})
"""Bedrock answers a conflict with 400: the name, or the request token with other contents, is in use, perhaps by what
an earlier create with a lost answer has made."""

_NO_CREDENTIALS = frozenset(
    {
        "NoAuthTokenError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)
_UNSENT = frozenset(
    {
        "ConnectTimeoutError",
        "CredentialRetrievalError",
        "EndpointConnectionError",
        "MetadataRetrievalError",
        "ProxyConnectionError",
    }
)
"""No connection, or no credentials to sign with: nothing can have been sent."""
_FOR_CREDENTIALS = frozenset(
    {"AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "CreateToken", "GetRoleCredentials"}
)
"""What signing may have to ask first; when that fails, the call itself was not sent."""
_BROKEN = frozenset(
    {
        "ConnectionError",
        "FlexibleChecksumError",
        "HTTPClientError",
        "IncompleteReadError",
        "ResponseParserError",
        "ResponseStreamingError",
    }
)


@contextmanager
def translated(call: str) -> Iterator[None]:
    """Errors of botocore inside become this package's.

    :param call: the operation's name.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise from_answer(call, error) from error
    except BotoCoreError as error:
        raise from_no_answer(call, error) from error
    except FileNotFoundError as error:  # a bundle of certificates that is not there
        raise unusable(call, error) from error


def from_answer(call: str, error: ClientError) -> BatchInferenceError:
    """The error of an answer that is not 2xx."""
    payload = error.response.get("Error", {})
    answer = error.response.get("ResponseMetadata", {})
    code = str(payload.get("Code") or "")
    status = int(answer.get("HTTPStatusCode") or 0)
    # A signature that does not match is reported with all that was signed, a session token among it, in further lines.
    message = _KEY_ID.sub("***", str(payload.get("Message") or "no message").split("\n", 1)[0][:500])
    text = f"{call}: HTTP {status}{f' {code}' if code and code != str(status) else ''}: {message}"
    if error.operation_name in _FOR_CREDENTIALS:
        text = f"{text} ({error.operation_name}, for credentials)"
        if status >= 500:
            return ProviderError(text, ambiguous=False, status=status)
    wait = retry_after(answer.get("HTTPHeaders") or {}, message)
    words = Words((code,), message, code)
    if code in _THROTTLED:
        return error_of(text, words, status, wait)
    if code in _UNCLEAR or status in (408, 409) or status >= 500 or not status:
        return ProviderError(text, status=status or None, retry_after=wait)
    if (code in _ABSENT or status == 404) and spelled_out((code,), message) not in MEANT_OTHERWISE:
        return NotFoundError(text)
    refused = error_of(text, words, status, wait)
    if isinstance(refused, AccountError) and status in (400, 401, 403) and not about_money(words):
        # Amazon answers 400 where a key is not accepted, too.
        refused = AuthenticationError(text)
    if isinstance(refused, AuthenticationError):
        remedy = _PERMISSION if code in _DENIED else _KEY
        return AuthenticationError(f"{text.rstrip('.')}; {remedy}")
    return refused


def from_no_answer(call: str, error: Exception) -> BatchInferenceError:
    """The error of a call that was not answered, or never sent."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "SSLError" in kinds and "No such file" in str(error):
        return unusable(call, error)
    text = f"{call}: {type(error).__name__}: {str(error)[:500]}"
    if kinds & _NO_CREDENTIALS:
        return AuthenticationError(f"{text}; set login and password, profile or aws_conn_id of the connection")
    if kinds & _UNSENT or "CERTIFICATE_VERIFY_FAILED" in text:
        return ProviderError(text, ambiguous=False)
    if kinds & _BROKEN:
        return ProviderError(text)
    if "ParamValidationError" in kinds:
        return RequestRejectedError(text, code="ParamValidationError")
    return ConfigurationError(text)
