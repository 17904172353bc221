"""What the readers of native bodies have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from airflow_batch_provider.core.records import JSON


@dataclass(frozen=True)
class Native:
    """A native request, read.

    :param endpoint: what an engine is asked, in OpenAI's spelling.
    :param body: the request in OpenAI's format.
    :param write: from the engine's answer to the native one.
    """

    endpoint: str
    body: JSON
    write: Callable[[JSON], JSON]


class RefusedError(Exception):
    """The service refuses a record.

    :param status: the record's ``errorCode``.
    :param code: Google's word for it, where it is not the one that goes with the status.
    :param bare: whether Google writes the message alone.
    """

    def __init__(self, message: str, status: int = 400, code: str | None = None, *, bare: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.bare = bare


def refuse(message: str) -> RefusedError:
    """A refusal for the record's own fault."""
    return RefusedError(message)
