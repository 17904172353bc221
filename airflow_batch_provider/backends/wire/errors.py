"""One table from HTTP answers and transport failures to this package's errors, for every OpenAI-shaped provider.

Messages name the call and quote the provider; what it echoes of our keys is taken out where calls end, see
:mod:`airflow_batch_provider.backends.boundary`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from airflow_batch_provider.backends.redirects import REDIRECTS, refused
from airflow_batch_provider.core.errors import (
    BatchInferenceError,
    NotFoundError,
    ProviderError,
)
from airflow_batch_provider.core.refusals import MEANT_OTHERWISE, error_of, spelled_out, words_of
from airflow_batch_provider.core.retry_after import retry_after

NOT_JSON = (json.JSONDecodeError, UnicodeDecodeError)
"""What the official client lets through where an answer says it is JSON and is not."""
AMBIGUOUS_STATUS = frozenset({408, 409})
_NOTHING_SENT = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "LocalProtocolError"}
)
_REMEDIES = {
    401: "; check the connection's key",
    403: "; the key is accepted, but may not do this: check its permissions",
}
_FULL_OF_FILES = (
    "the account's file storage is full: delete old uploads, or let them expire with the backend option "
    "expires_after; delete_inputs removes them when a run has ended"
)
_HINTS = {
    "DeploymentNotFound": "on Azure the model is the name of a deployment of type Global Batch or Data Zone Batch",
    "model_not_found": "is the name right? On Azure it is the name of a Global Batch or Data Zone Batch deployment",
}
_FILES = re.compile(r"quota.?exceeded|\b500 files|number of files|100 ?GB|storage (?:limit|quota)", re.IGNORECASE)
"""Azure: "quotaExceeded" at 500 files (Azure/azure-sdk-for-java#47401); OpenAI: 100 GB (bespokelabsai/curator#189)."""
HONO_HINT = (
    "a Portkey gateway installed with newer hono than its lock file names answers every download like this for good; "
    "pin hono 4.9.7 and @hono/node-server 1.13.5"
)


def from_status(call: str, status: int, headers: Mapping[str, str], body: Any, url: str = "") -> BatchInferenceError:
    """The error of an answer that is not 2xx.

    :param call: method and path.
    :param url: what was called, for a redirect.
    :param body: the decoded JSON, or the text.
    """
    if status in REDIRECTS and headers.get("location"):
        return refused(call, status, url, headers["location"])
    words = words_of(body)
    message, code = words.message[:500], words.code
    hint = _HINTS.get(code or "")
    if status == 500 and "Something went wrong" in message:
        hint = HONO_HINT
    if call == "POST /files" and _FILES.search(f"{code} {message}"):
        hint = _FULL_OF_FILES
    text = f"{call}: HTTP {status}{f' {code}' if code else ''}: {message}{f' ({hint})' if hint else ''}"
    wait = retry_after(headers, body)
    if status == 404 and not (call.startswith("POST") and spelled_out(words.codes, message) in MEANT_OTHERWISE):
        return NotFoundError(text)
    if status in AMBIGUOUS_STATUS or status >= 500:
        # Whatever else it says: a create may have been accepted.
        return ProviderError(text, status=status, retry_after=wait)
    return error_of(f"{text.rstrip('.')}{_REMEDIES.get(status, '')}", words, status, wait)


def from_sdk(call: str, error: Exception) -> BatchInferenceError:
    """The error of a call by the official client: an answer that is not 2xx, no answer, or one that is not JSON."""
    response = getattr(error, "response", None)
    if response is not None and not response.is_success:
        url = str(response.request.url)
        return from_status(call, response.status_code, response.headers, response.content, url)
    return from_transport(call, error)


def from_transport(call: str, error: BaseException) -> ProviderError:
    """The error of a call that got no whole answer; ambiguous unless nothing can have been sent."""
    seen: BaseException | None = error
    names: list[str] = []
    while seen is not None and len(names) < 8:
        names.append(type(seen).__name__)
        # Not __context__: a call made while another error is handled has that error there, which says nothing of it.
        seen = seen.__cause__
    unsent = any(name in _NOTHING_SENT for name in names)
    reason = str(error.__cause__ or error) or names[0]
    return ProviderError(f"{call}: no answer ({names[-1] if unsent else names[0]}: {reason})", ambiguous=not unsent)
