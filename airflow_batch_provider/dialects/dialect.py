"""One provider's body format: what a dialect does, and what takes the place of an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from airflow_batch_provider.core.records import JSON


@dataclass(frozen=True, slots=True)
class Failure:
    """What takes the place of an answer.

    :param status: the HTTP status it comes down to, None for a row that never ran.
    :param code: the provider's word, or one of OpenAI's for rows that never ran (``batch_expired``).
    """

    status: int | None
    message: str
    code: str | None = None
    retryable: bool = False


class Dialect(ABC):
    """One provider's body format, in both directions. One instance serves one model and endpoint of one pass."""

    texts_per_record: ClassVar[int] = 0
    """Embeddings: the most texts that one record holds; a row with more becomes several. 0 where it does not matter."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        """See :attr:`airflow_batch_provider.dialects.base.LineFormat.notes`."""

    @abstractmethod
    def request(self, body: JSON) -> JSON:
        """The provider's request for an OpenAI body, which is not changed.

        :raises UntranslatableError: naming the field, because the provider does not support it.
        """

    @abstractmethod
    def answer(self, output: JSON) -> JSON | Failure:
        """The OpenAI response body for the provider's answer, or why there is none."""
