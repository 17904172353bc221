"""Where anything of a provider's becomes ours: every call of a backend, whose answers and errors lose all secrets here.

:class:`~airflow_batch_provider.backends.base.Backend` wraps the methods of its subclasses, so that no backend, and none
of somebody else's, can forget it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from airflow_batch_provider.core.redaction import Redactor

CALLS = frozenset(
    {
        "acancel",
        "apoll",
        "cancel",
        "check_route",
        "console_url",
        "create",
        "delete",
        "download",
        "find",
        "list_jobs",
        "outputs",
        "probe",
        "retrieve",
        "stream_output",
        "upload",
        "upload_file",
        "usage",
    }
)
"""The methods that bring something from a provider."""


class _Redacting(Protocol):
    redactor: Redactor


def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same method, whose answer and whose errors hold no secret."""
    if inspect.iscoroutinefunction(call):

        @functools.wraps(call)
        async def later(self: _Redacting, *args: Any, **kwargs: Any) -> Any:
            try:
                return self.redactor.value(await call(self, *args, **kwargs))
            except Exception as error:
                self.redactor.error(error)
                raise

        return later

    @functools.wraps(call)
    def now(self: _Redacting, *args: Any, **kwargs: Any) -> Any:
        try:
            answer = call(self, *args, **kwargs)
        except Exception as error:
            self.redactor.error(error)
            raise
        return _items(self, answer) if isinstance(answer, Iterator) else self.redactor.value(answer)

    return now


def _items(backend: _Redacting, items: Iterator[Any]) -> Iterator[Any]:
    """The items of an answer that comes bit by bit: chunks of a file, or records."""
    try:
        first = next(items, None)
        if isinstance(first, bytes):
            yield from backend.redactor.stream(_rest(first, items))
        elif first is not None:
            for item in _rest(first, items):
                yield backend.redactor.value(item)
    except Exception as error:
        backend.redactor.error(error)
        raise


def _rest(first: Any, items: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from items
