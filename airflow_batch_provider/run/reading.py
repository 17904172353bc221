"""Calls that pay nothing: carried out again after a pause when the provider stumbles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from airflow_batch_provider.core.errors import ProviderError, RateLimitedError

READ_PAUSES = (1.0, 4.0, 10.0)
LONGEST_READ_PAUSE = 120.0
"""The most that is waited within the worker for one answer; OpenAI's own client waits as long."""

T = TypeVar("T")


class Logger(Protocol):
    """The methods of a logger that are used; the standard library's and Airflow's both have them."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Log information."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Warn."""

    def error(self, message: str, /, *args: Any) -> Any:
        """Log what went wrong."""


class Read(Protocol):
    """Carries out a call that pays nothing, again after a pause when the provider stumbles."""

    def __call__(self, call: Callable[[], T], /) -> T:
        """Return what the call returns."""


def read(call: Callable[[], T], pause: Callable[[float], None], log: Logger) -> T:
    """Carry out a call that pays nothing, again after a pause when the provider stumbles."""
    for least in READ_PAUSES:
        try:
            return call()
        except (ProviderError, RateLimitedError) as error:  # noqa: PERF203 - a retry is one
            seconds = max(least, min(error.retry_after or 0.0, LONGEST_READ_PAUSE))
            log.warning("%s; trying again in %g s", error, seconds)
            pause(seconds)
    return call()
