"""What a server enforces, and the seams where a test makes it misbehave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import ENDPOINTS, Reply

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one server; the defaults are OpenAI's.

    :param token: the bearer token every call but ``/health`` must carry; None lets everybody in.
    :param endpoints: what a batch may name, in OpenAI's spelling.
    :param aliases: other spellings of an endpoint, each with OpenAI's.
    :param endpoint_from_lines: the first line's url, not the batch's endpoint, says what all lines must name.
    :param models: the models a batch may name; None accepts any.
    :param slots: how many requests the engine runs at a time, over all batches.
    :param attempts: how often a request is sent in all while the engine answers 408, 429 or 5xx.
    :param backoff: seconds before the second attempt where the engine does not say; doubles, up to 30.
    :param window: seconds after which a batch expires.
    :param run_seconds: the least time a batch is in progress.
    :param hosts: names and addresses that calls may be addressed to, beside those of loopback.
    :param grace: seconds that requests under way may take to end when a batch is stopped.
    """

    token: str | None = None
    endpoints: frozenset[str] = ENDPOINTS
    aliases: Mapping[str, str] = field(default_factory=dict)
    endpoint_from_lines: bool = False
    models: frozenset[str] | None = None
    max_rows: int = 50_000
    max_batch_bytes: int = 200 * MEBIBYTE
    max_upload_bytes: int = 512 * MEBIBYTE
    max_embedding_inputs: int = 50_000
    max_problems: int = 100
    slots: int = 4
    attempts: int = 5
    backoff: float = 0.5
    window: float = 86_400.0
    expires: bool = True
    run_seconds: float = 0.0
    hosts: tuple[str, ...] = ()
    grace: float = 30.0

    def canonical(self, endpoint: str) -> str:
        """The endpoint in OpenAI's spelling."""
        return self.aliases.get(endpoint, endpoint)


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a batch by itself.

    :param after_rows: how many rows are answered before.
    :param status: ``expired`` or ``cancelled``; None holds the batch in progress until it is cancelled or expires.
    """

    after_rows: int
    status: str | None


class Hooks:
    """Where a fake provider departs from the honest server. Every method is called per batch or per row, so that a
    test can change its mind while the server runs."""

    def job_errors(self, batch: JSON) -> list[JSON]:
        """Errors that fail the batch at validation, whatever its file holds."""
        return []

    def stop(self, batch: JSON) -> Stop | None:
        """When and how the batch stops by itself."""
        return None

    def answer(self, batch: JSON, custom_id: str, body: JSON) -> Reply | None:
        """The answer to a row in place of the engine's."""
        return None

    def shape(self, batch: JSON, line: JSON) -> JSON:
        """An output line as the provider writes it."""
        return line

    def bare_separators(self, batch: JSON) -> bool:
        """Whether U+0085, U+2028 and U+2029 are written as they are: ends of line to careless readers."""
        return False

    def always_error_file(self, batch: JSON) -> bool:
        """Whether a batch without failures has an error file all the same, of zero bytes."""
        return False

    def reports_unrun(self, batch: JSON) -> bool:
        """Whether rows that a cancelled batch never ran are named in its error file."""
        return True
