"""Why a provider refused, and so when to send again: one decision for rows, whole batches, creates, uploads and polls.

=========  ==============================================  =====================================================
class      what is wrong                                   who sends it again
=========  ==============================================  =====================================================
REQUEST    what was sent                                   no one: the answer would be the same
ACCOUNT    key, access, deployment, quota, billing         the next try; a round of the same try would be in vain
PASSING    the provider, just now                          the next round; a call after a pause
NOT_YET    a file or resource is still being made ready    the same call again, within minutes; a row's next round
FULL       the provider's queue                            when there is room, with smaller jobs
WITHDRAWN  nothing; it was not sent (ours: cancelled,      the next try, but none is begun for its sake
           no money, no time, a batch refused as a whole)
=========  ==============================================  =====================================================

The provider's code decides first, then the words of the message, then the status. So 429 ``insufficient_quota`` is the
account's fault, and 400 "try again in a few minutes" passes. Gateways put the provider's error into a message of their
own; the codes in such a message count as codes. Of the status: 408, 409, 425, 429 and 5xx pass, 401, 402, 403 and 451
are the account's, every other 4xx of the standards is the request's. OpenAI writes 0 for an answer that never came.

Words in another language than English are not read: code and status decide. What that costs is bounded. A 429 that
means an empty account is taken for one that passes, so a create is sent again after pauses that grow to 15
minutes, with its first upload, until the deadline, whose error has the provider's words; a row goes into the next
round, of which there are ``rounds``.

What none of it shows is taken for ACCOUNT: no round of the same try sends it again, so that a fault which repeats
costs one more sending a try and no more; and yet the row is not lost, because a person or a retry can have it sent
again. What a provider has refused it does not bill.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from airflow_batch_provider.core.errors import (
    AccountError,
    AuthenticationError,
    BatchInferenceError,
    NotReadyError,
    QuotaError,
    RateLimitedError,
    RequestRejectedError,
    WaitError,
)
from airflow_batch_provider.core.records import Refusal
from airflow_batch_provider.core.refusal_facts import CODES, GRPC, STATUS_WORDS, WORDS

UNKNOWN = Refusal.ACCOUNT
"""What nothing is known of; the reason is above."""


def _plain(code: object) -> str:
    """A code without case, punctuation and namespace: ``com.amazonaws#Throttling`` is ``throttling``."""
    return re.sub(r"[^a-z0-9]", "", str(code).rpartition("#")[2].lower())


_BY_CODE = {_plain(code): refusal for refusal, _, codes in CODES for code in codes.split()}
_BY_WORDS = tuple((refusal, re.compile(pattern, re.IGNORECASE | re.DOTALL)) for refusal, _, pattern in WORDS)
_WRAPPED = re.compile(r"""["'](?:code|type|status|reason|errorCode)\\?["']\s*:\s*\\?["']?([A-Za-z0-9_.#]+)""")
"""A code inside a body that a gateway quotes, as JSON, as JSON in JSON or as Python shows it."""
_WRAPPED_STATUS = re.compile(r"(?:error code|http|status(?: code)?)[: ]+([45]\d\d)\b", re.IGNORECASE)
_NAMES = re.compile(
    r"\b(RESOURCE_EXHAUSTED|UNAVAILABLE|INTERNAL|ABORTED|DEADLINE_EXCEEDED|UNAUTHENTICATED|"
    r"PERMISSION_DENIED|INVALID_ARGUMENT|FAILED_PRECONDITION|NOT_FOUND|OUT_OF_RANGE|UNIMPLEMENTED)\b"
)
_SPACED = re.compile(r"\bgeneric::([a-z_]+)")
"""A gRPC code as Google's own servers print it: ``generic::resource_exhausted: ...``."""
_LEADING = re.compile(r"^\W*([45]\d\d(?=\b)|\d{1,2}(?=\s*(?::|$)))")
"""A message that begins with a status: "503 The service ..." of Google's clients, "4: Deadline expired" of gRPC."""
_MONEY = re.compile(r"quota|billing|\bcredits?\b|balance|payment|spend|budget", re.IGNORECASE)
_LONGEST = 4_000
_PASSING_STATUS = frozenset({0, 408, 409, 420, 423, 424, 425, 429, 444, 449, 460, 499})
"""RFC 9110, RFC 4918 (locked, failed dependency), RFC 8470 (too early); Amazon Bedrock's ModelErrorException is 424.
Outside of standards: 420 and 449 (call again), and what proxies write where a connection ended: 444 and 499 (nginx),
460 (AWS load balancers)."""
_ACCOUNT_STATUS = frozenset({401, 402, 403, 407, 451, 498, 511})
"""RFC 9110; RFC 7725 (451: not for legal reasons, so not from this region); 511, RFC 6585; 498, an expired token."""
_REQUEST_STATUS = frozenset(
    {400, 404, 405, 406, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 428, 431, 501, 505}
)
"""RFC 9110, RFC 6585: the statuses that say of a request that it is wrong, or can never be answered here."""


def refusal_of(codes: Iterable[object], message: str, status: Any = None) -> Refusal:
    """The class of a refusal; see :func:`decided`, and above for what nothing is known of."""
    return decided(codes, message, status) or UNKNOWN


def decided(codes: Iterable[object], message: str, status: Any = None) -> Refusal | None:
    """The class of a refusal, None where code, words and status do not show it.

    :param codes: what the provider gives as code and type, the most specific first; numbers are statuses.
    :param message: its words.
    :param status: HTTP status, or gRPC's number, None where there is none.
    """
    given = [code for code in codes if code not in (None, "")]
    if (found := spelled_out(given, message)) is not None:
        return found
    text = message[:_LONGEST]
    quoted = [
        found for pattern in (_WRAPPED, _WRAPPED_STATUS, _NAMES, _SPACED, _LEADING) for found in pattern.findall(text)
    ]
    return _by_status([status, *given], quoted)


def spelled_out(codes: Iterable[object], message: str) -> Refusal | None:
    """The class of a refusal by code and words alone, None where they leave it to the status."""
    text = message[:_LONGEST]
    for code in (*codes, *_WRAPPED.findall(text)):
        if (found := _BY_CODE.get(_plain(code))) is not None:
            return found
    return next((refusal for refusal, pattern in _BY_WORDS if pattern.search(text)), None)


def _by_status(given: list[object], wrapped: list[str]) -> Refusal | None:
    """The class by number or name; what a gateway quotes is nearer to the fault than what it answers itself."""
    for value in (*wrapped, *given):
        number = _number(value)
        found = STATUS_WORDS.get(_plain(value)) if number is None else _of_number(number)
        if found is not None:
            return found
    return None


def _number(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _of_number(number: int) -> Refusal | None:
    if number in _ACCOUNT_STATUS:
        return Refusal.ACCOUNT
    if number in _REQUEST_STATUS or 300 <= number < 400:
        return Refusal.REQUEST
    if number in _PASSING_STATUS or 500 <= number < 600:
        return Refusal.PASSING
    return STATUS_WORDS[GRPC[number - 1]] if 0 < number <= len(GRPC) else None


class Words(NamedTuple):
    """What an error body says.

    :param codes: what it gives as code, type and status, in this order.
    :param message: its message, or all of it where it has none.
    :param code: the one code to show.
    """

    codes: tuple[str, ...]
    message: str
    code: str | None = None


_CODE_FIELDS = ("code", "type", "status", "errorCode", "statusCode", "reason")
_SHOWN_FIELDS = ("code", "type", "errorCode", "__type", "statusCode", "title")
_MESSAGE_FIELDS = ("message", "errorMessage", "Message", "msg", "detail", "title")
_INSIDE = ("error", "errors", "detail")


def words_of(body: Any) -> Words:
    """Codes and message of an error body in OpenAI's, Google's, Amazon's, a gateway's or no shape at all.

    :param body: decoded JSON, JSON as text, or any text.
    """
    if isinstance(body, (bytes, str)):
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            return Words((), text.strip() or "no message")
    if isinstance(body, list) and body and isinstance(body[0], dict):
        body = body[0]  # Google's REST wraps an error so where a stream was wanted.
    if not isinstance(body, dict):
        return Words((), str(body))
    inner: Any = body
    while isinstance(inner, dict) and (within := next((inner[name] for name in _INSIDE if inner.get(name)), None)):
        inner = within[0] if isinstance(within, list) else within  # several are listed by FastAPI and Pydantic
    if not isinstance(inner, dict):
        return Words(_codes(body), str(body.get("message") or inner), _shown(body))
    # API Management's {"statusCode", "message"} and Portkey's {"status", "message"} have no "error".
    codes = (*_codes(inner), *(() if inner is body else _codes(body)))
    message = next((str(inner[name]) for name in _MESSAGE_FIELDS if inner.get(name)), str(inner))
    return Words(codes, message, _shown(inner) or _shown(body))


def _shown(fields: dict[str, Any]) -> str | None:
    code = next((fields[name] for name in _SHOWN_FIELDS if fields.get(name)), None)
    return None if code is None else str(code)


def _codes(fields: dict[str, Any]) -> tuple[str, ...]:
    found = [fields.get(name) for name in _CODE_FIELDS]
    return tuple(
        str(value) for value in found if isinstance(value, (str, int)) and not isinstance(value, bool) and value
    )


MEANT_OTHERWISE = frozenset({Refusal.ACCOUNT, Refusal.NOT_YET, Refusal.PASSING, Refusal.FULL})
"""What a create's 404 may mean where it is spelled out: a deployment, an access or a file, and not a wrong address."""


def error_of(text: str, words: Words, status: int | None, wait: float | None = None) -> BatchInferenceError:
    """The error of a call that was refused, so that nothing was done.

    :param text: the error's message.
    :param wait: seconds to wait, as the provider says.
    """
    # A key that is not accepted comes before anything that could be judged about the request.
    refusal = Refusal.ACCOUNT if status == 401 else refusal_of(words.codes, words.message, status)
    match refusal:
        case Refusal.ACCOUNT if status == 401 or (status == 403 and not about_money(words)):
            return AuthenticationError(text)
        case Refusal.ACCOUNT:
            return AccountError(text)
        case Refusal.PASSING:
            return RateLimitedError(text, retry_after=wait)
        case Refusal.NOT_YET:
            return NotReadyError(text, retry_after=wait)
        case Refusal.FULL:
            return QuotaError(text, retry_after=wait, tokens="token" in f"{words.code} {words.message[:500]}".lower())
    return RequestRejectedError(text, status=status, code=words.code)


ACCOUNT_TRIES = 4
"""How often a try sends a create that the account is refused."""
NOT_READY_SECONDS = 900.0
"""How long a file may take to be made ready; OpenAI's and Azure's take seconds to minutes."""
_PAUSES = 60.0, 900.0
_NOT_READY_PAUSES = 5.0, 60.0
"""The first and the longest pause between two sendings."""


def pause_after(error: BatchInferenceError, times: int, waited: float) -> float | None:
    """Seconds until a create that was refused is sent again, longer each time; None when that is over.

    :param times: refusals of this kind in a row, this one included.
    :param waited: seconds since the first of them.
    """
    if isinstance(error, AccountError):
        if times >= ACCOUNT_TRIES:
            return None
    elif isinstance(error, NotReadyError):
        if waited >= NOT_READY_SECONDS:
            return None
    elif not isinstance(error, WaitError):
        return None
    first, longest = _NOT_READY_PAUSES if isinstance(error, NotReadyError) else _PAUSES
    wanted = error.retry_after if isinstance(error, WaitError) else None
    return max(min(longest, first * 2.0 ** min(times - 1, 10)), wanted or 0.0)


def about_money(words: Words) -> bool:
    """Whether a refusal for the account's sake is about quota or billing, rather than about key and access."""
    return bool(_MONEY.search(f"{words.code} {words.message[:_LONGEST]}"))
