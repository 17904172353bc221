"""Numbers as others write them: counts of tokens that a provider reports, a guard that a template rendered."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

from airflow_batch_provider.core.errors import ConfigurationError

_LARGEST = 10**12
"""More tokens than any answer or job has: what is above is not a count."""


_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)

LARGE_ROW = 65_536
"""Below every length from which a request costs more by the token; 100,000 is the shortest that is listed."""


@dataclass(slots=True, unsafe_hash=True)
class Usage:
    """Tokens that were billed or would be; all 0 where they are unknown.

    Never changed once made. Not frozen, because one is made for each row, and a frozen one takes three times as long.

    ``cached_tokens``, ``cache_write_tokens`` and what was audio or images are parts of the input or output, as
    ``reasoning_tokens`` are; they may have prices of their own.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_image_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.input_audio_tokens + other.input_audio_tokens,
            self.output_audio_tokens + other.output_audio_tokens,
            self.input_image_tokens + other.input_image_tokens,
            self.output_image_tokens + other.output_image_tokens,
        )


UNKNOWN = Usage()
"""No count that could be read."""


def read_count(value: Any) -> int | None:
    """A number of tokens as a provider, or an author, wrote it; None for what cannot be one.

    Texts of digits and whole floats are counts: gateways write both. Null, negative, fractional, endless or absurd
    numbers are not, and what is not a count is unknown, which is not nothing.
    """
    if type(value) is int:
        return value if 0 <= value <= _LARGEST else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(_LARGEST)):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= _LARGEST:
        return None
    return value


def counted(count: int, noun: str) -> str:
    """A number of things for messages: ``1 row``, ``1,200 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def read_guard(name: str, given: Any, unit: str) -> float:
    """A limit that an author set, as a number above 0.

    A template may have made a text of the number. One that rendered to nothing, or to ``None``, is an error: the
    author set a guard, and would have none.

    :param name: the argument, shown in the message.
    :param unit: of what, shown in the message.
    :raises ConfigurationError: for anything that is not such a number.
    """
    number = _number(given)
    if number is None or not 0 < number < math.inf:
        raise _refused(name, f"a number of {unit} above 0", given)
    return number


def read_whole_guard(name: str, given: Any, unit: str) -> int:
    """As :func:`read_guard`, for a whole number.

    :raises ConfigurationError: for anything that is not a whole number of 1 or more.
    """
    number = _number(given)
    if number is None or not 1 <= number < math.inf or number != int(number):
        raise _refused(name, f"a whole number of {unit}, 1 or more", given)
    return int(number)


def read_share(name: str, given: Any) -> float:
    """A share, 0 to 1; a template may have made a text of it.

    :raises ConfigurationError: for anything else.
    """
    share = _number(given)
    if share is None or not 0 <= share <= 1:
        raise ConfigurationError(f"{name} must be a share of rows from 0 to 1, not {given!r}")
    return share


def _refused(name: str, wanted: str, given: Any) -> ConfigurationError:
    hint = " Did a template render to nothing?" if given is None or str(given).strip() in ("", "None", "null") else ""
    return ConfigurationError(f"{name} must be {wanted}, not {given!r}.{hint} Omit the argument for no limit.")


def _number(given: Any) -> float | None:
    """A number, or a text that is one in plain decimal digits.

    Python reads more as a number than an author means: ``1_000``, digits of other scripts, bytes.
    """
    if isinstance(given, str):
        return float(given) if _DECIMAL.fullmatch(given.strip()) else None
    if isinstance(given, bool) or not isinstance(given, (Real, Decimal)):
        return None
    try:
        return float(given)
    except (ValueError, OverflowError):
        return None
