"""What a fake provider does wrong, as one plan that a test may change while the fake runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_batch_provider.core.records import JSON


@dataclass(slots=True)
class FaultPlan:
    """Faults of a :class:`~airflow_batch_provider.testing.FakeProvider`; a fresh plan has none.

    Lists of HTTP statuses are used up from the front, one per call of that kind, counts likewise; the calls after them
    are answered as they should be.

    :param latency: seconds before every answer.
    :param retry_after: the ``Retry-After`` header of every 429 and 503 below.
    :param create_status: refuse these creates; nothing is created.
    :param accepted_status: answer these creates with an error although the batch exists.
    :param token_limit: so many creates are refused with 400 ``token_limit_exceeded``.
    :param cut_before_accept: so many creates end in a closed connection, and no batch.
    :param cut_after_accept: so many creates end in a closed connection although the batch exists.
    :param late_accept: creates that end in a closed connection and make their batch so many seconds later.
    :param slow_accept: seconds between accepting these creates and answering them; the time to kill who waits.
    :param cut_downloads: so many downloads are cut in the middle.
    :param jobs: the faults below touch only so many batches, the first ones; None for all.
    :param job_errors: fail the batch at validation with these entries (``code``, ``message``, ``line``, ``param``).
    :param fail_rows: custom_id (``"*"`` for every row) and the HTTP status the row fails with.
    :param expire_after_rows: the batch expires when so many rows are answered.
    :param expired_fraction: the batch expires when this share of its rows is still open.
    :param cancel_after_rows: the provider cancels the batch when so many rows are answered.
    :param hold_after_rows: the batch stays in progress after so many rows, until somebody cancels it.
    :param silent_unrun: rows that a cancelled batch never ran are in no file.
    :param reorder: output lines come in reverse order.
    :param drop: so many lines are missing from the end of a downloaded file.
    :param duplicate: so many lines come twice.
    :param foreign: so many lines answer a custom_id that nobody asked.
    :param malformed: so many lines are no JSON.
    :param line_separators: answers hold U+2028 and U+0085 unescaped.
    :param lying_counts: ``request_counts`` has nothing to do with the batch.
    :param unknown_status_polls: the first so many polls of a batch tell a status nobody has heard of.
    :param null_times: every time of a batch is null.
    :param empty_error_file: a batch without failures has an error file of zero bytes.
    :param no_output: a completed batch names no output and no error file.
    """

    latency: float = 0.0
    retry_after: float | None = None
    create_status: list[int] = field(default_factory=list)
    accepted_status: list[int] = field(default_factory=list)
    upload_status: list[int] = field(default_factory=list)
    poll_status: list[int] = field(default_factory=list)
    list_status: list[int] = field(default_factory=list)
    download_status: list[int] = field(default_factory=list)
    cancel_status: list[int] = field(default_factory=list)
    token_limit: int = 0
    cut_before_accept: int = 0
    cut_after_accept: int = 0
    late_accept: list[float] = field(default_factory=list)
    slow_accept: list[float] = field(default_factory=list)
    cut_downloads: int = 0
    jobs: int | None = None
    job_errors: list[JSON] = field(default_factory=list)
    fail_rows: Mapping[str, int] = field(default_factory=dict)
    expire_after_rows: int | None = None
    expired_fraction: float | None = None
    cancel_after_rows: int | None = None
    hold_after_rows: int | None = None
    silent_unrun: bool = False
    reorder: bool = False
    drop: int = 0
    duplicate: int = 0
    foreign: int = 0
    malformed: int = 0
    line_separators: bool = False
    lying_counts: bool = False
    unknown_status_polls: int = 0
    null_times: bool = False
    empty_error_file: bool = False
    no_output: bool = False

    def take_status(self, kind: str) -> int | None:
        """The HTTP error the next call of this kind ends in, None for none."""
        statuses: list[int] = getattr(self, f"{kind}_status", [])
        return statuses.pop(0) if statuses else None

    def take(self, name: str) -> bool:
        """Whether the count of this name had one left, which is used up now."""
        left: int = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return left > 0

    @property
    def spoils_lines(self) -> bool:
        """Whether downloaded lines are not as they should be."""
        return bool(self.reorder or self.drop or self.duplicate or self.foreign or self.malformed)
