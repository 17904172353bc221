"""What is known of one provider's batches, each fact with its source: the part of a connection type's row that backends
and prices go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_batch_provider.core.records import Admission, JobStatus, Limits

WIRE_STATUSES: Mapping[str, JobStatus] = {
    "validating": JobStatus.VALIDATING,
    "submitted": JobStatus.VALIDATING,
    "scheduled": JobStatus.VALIDATING,
    "pending": JobStatus.VALIDATING,
    "queued": JobStatus.VALIDATING,
    "in_progress": JobStatus.IN_PROGRESS,
    "inprogress": JobStatus.IN_PROGRESS,
    "running": JobStatus.IN_PROGRESS,
    "finalizing": JobStatus.FINALIZING,
    "completed": JobStatus.COMPLETED,
    "succeeded": JobStatus.COMPLETED,
    "partially_completed": JobStatus.PARTIALLY_COMPLETED,
    "failed": JobStatus.FAILED,
    "file_upload_failed": JobStatus.FAILED,
    "batch_start_failed": JobStatus.FAILED,
    "expired": JobStatus.EXPIRED,
    "cancelling": JobStatus.CANCELLING,
    "canceling": JobStatus.CANCELLING,
    "stopping": JobStatus.CANCELLING,
    "cancelled": JobStatus.CANCELLED,
    "canceled": JobStatus.CANCELLED,
    "stopped": JobStatus.CANCELLED,
    # Mistral's (BatchJobStatus of its OpenAPI document). Its SUCCESS is not here: Portkey answers a cancel with it.
    "timeout_exceeded": JobStatus.EXPIRED,
    "cancellation_requested": JobStatus.CANCELLING,
}
"""What servers of OpenAI's wire say of a job: OpenAI's own words, and those of others that speak it."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """Where a provider's prices are found, and what it takes off for a batch.

    :param name: the provider's name in the package ``genai-prices``, which lists what real-time calls cost.
    :param discount: what a batch costs less, as a share: 0.5 for half the price. None where it is not known; then no
        price of the list is, and the connection's own ``prices`` hold alone.
    :param source: who says so.
    :param sound_as_text: whether sound that has no price of its own in the list costs what text does; otherwise its
        price is unknown.
    :param bare_names: whether the list has a model's bare name where requests have a path, such as
        ``publishers/google/models/NAME``.
    """

    name: str
    discount: float | None
    source: str
    sound_as_text: bool = False
    bare_names: bool = False

    def __post_init__(self) -> None:
        if self.discount is not None and not 0 <= self.discount < 1:
            raise ValueError(f"the discount of {self.name!r} is {self.discount}; it is a share, such as 0.5 for 50 %")


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """One provider's batches.

    :param limits: what a file may hold, the endpoints, the window, and their source.
    :param price_list: where its prices are found; None where no public list has them.
    :param admission: what may be alive at once, as far as it is known.
    :param statuses: the provider's words for what a job is doing; any other one is unknown, and waited for. On OpenAI's
        wire capitals, dashes and joined words are one: ``InProgress`` is ``in_progress``.
    :param completion_window: what a create call on OpenAI's wire names, where the run says nothing.
    :param urls: the provider's spelling of an endpoint, by OpenAI's, where it is another one.
    """

    limits: Limits
    price_list: PriceList | None = None
    admission: Admission = field(default_factory=Admission)
    statuses: Mapping[str, JobStatus] = field(default_factory=lambda: WIRE_STATUSES)
    completion_window: str = "24h"
    urls: Mapping[str, str] = field(default_factory=dict)
