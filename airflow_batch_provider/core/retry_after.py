"""How long a provider says to wait, in every form in which it says so."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_SECONDS = 3600.0
"""A provider that asks for more is asked again all the same after this; its clock may be wrong."""
_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
"""OpenAI's SDK reads the first, Azure's SDKs both."""
_UNIT = r"(?:milliseconds?|ms|hours?|h|minutes?|mins?|m|seconds?|secs?|s)(?![a-z])"
_SPAN = re.compile(rf"(\d+(?:\.\d+)?) ?({_UNIT})", re.IGNORECASE)
_WORDS = re.compile(
    rf"(?:retry|try again) (?:after|in) (?P<span>(?:\d+(?:\.\d+)? ?{_UNIT},? ?)+)"
    r"""|retryDelay\\?["']?: ?\\?["'](?P<delay>\d+(?:\.\d+)?)s"""
    r"|replenished in (?P<clock>\d+(?:\.\d+)?:\d\d:\d\d)",
    re.IGNORECASE,
)
"""OpenAI: "Please try again in 6m0s" or "in 20ms"; API Management: "Try again in 21 seconds", "Quota will be
replenished in 00:12:30"; Google: "Please retry in 23.5s" and google.rpc.RetryInfo's ``"retryDelay": "23s"``."""
_FACTORS = (("ms", 0.001), ("mil", 0.001), ("m", 60.0), ("h", 3600.0), ("s", 1.0))


def retry_after(headers: Mapping[str, Any], body: Any = "", now: float | None = None) -> float | None:
    """Seconds to wait, from 0 to :data:`LONGEST_SECONDS`; None where the provider does not say.

    :param headers: of the answer; ``Retry-After`` in seconds or as an HTTP date, or in milliseconds by other names.
    :param body: of the answer, in which Google and others say it in words.
    :param now: seconds since the epoch, against which a date is read.
    """
    found = _by_headers({str(name).lower(): value for name, value in headers.items()}, now)
    if found is None:
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
        found = _by_words(text[:20_000])
    return None if found is None else min(LONGEST_SECONDS, max(0.0, found))


def _by_headers(headers: Mapping[str, Any], now: float | None) -> float | None:
    for name in _MILLISECONDS:
        if (number := _number(headers.get(name))) is not None:
            return number / 1000
    given = headers.get("retry-after")
    if given is None:
        return None
    if (number := _number(given)) is not None:
        return number
    try:
        date = parsedate_to_datetime(str(given))
        return date.timestamp() - (time.time() if now is None else now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _by_words(text: str) -> float | None:
    found = _WORDS.search(text)
    if found is None:
        return None
    if found["delay"]:
        return float(found["delay"])
    if found["clock"]:
        hours, minutes, seconds = found["clock"].split(":")
        return float(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return sum(float(number) * _seconds(unit.lower()) for number, unit in _SPAN.findall(found["span"]))


def _seconds(unit: str) -> float:
    return next(factor for start, factor in _FACTORS if unit.startswith(start))


def _number(value: Any) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
