"""What an engine is: one OpenAI-shaped request in, one HTTP-like answer out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from airflow_batch_provider.core.records import JSON

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
RESPONSES = "/v1/responses"
MODERATIONS = "/v1/moderations"
ENDPOINTS = frozenset({CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MODERATIONS})


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    :param status: as HTTP has it; 200 to 299 is success.
    :param body: the response's JSON, on errors ``{"error": {"message", "type", "param", "code"}}``.
    :param retry_after: seconds to wait before the same request is sent again, if the engine says so.
    """

    status: int
    body: JSON
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the request was answered."""
        return 200 <= self.status < 300

    @property
    def retryable(self) -> bool:
        """Whether sending it again may help."""
        return self.status in {408, 429} or self.status >= 500


class Engine(ABC):
    """Answers requests; never raises for a request's own fault."""

    name: ClassVar[str]

    endpoints: frozenset[str] = ENDPOINTS
    """What :meth:`answer` can be asked."""

    @property
    def busy(self) -> bool:
        """Whether calls are under way that nothing can stop."""
        return False

    @abstractmethod
    async def answer(self, endpoint: str, body: JSON) -> Reply:
        """Answer one request. Nothing in it blocks the event loop."""

    @abstractmethod
    async def models(self) -> list[str]:
        """The model names this engine knows; any name is accepted where it does not care."""

    async def aclose(self) -> None:  # noqa: B027 - most engines hold nothing
        """Let go of what the engine holds."""


def error_body(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> JSON:
    """An error as OpenAI writes it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
