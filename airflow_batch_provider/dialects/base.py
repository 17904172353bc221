"""What a line format promises: a dialect (the body) composed with an envelope (how the row's id travels)."""

from __future__ import annotations

from typing import Protocol

from airflow_batch_provider.core.records import BatchRequest, BatchResult


class LineFormat(Protocol):
    """How one shard's lines are written for a provider and read back."""

    def encode(self, request: BatchRequest) -> bytes:
        """The wire line, without end of line.

        :raises airflow_batch_provider.core.errors.InputError: never; what cannot be encoded is found by validation.
        """

    def decode(self, line: bytes) -> BatchResult:
        """One output line, in OpenAI's format; a line that cannot be read gives ``custom_id=None`` and ``invalid``."""
