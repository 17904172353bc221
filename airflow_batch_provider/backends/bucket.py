"""What backends have in common whose jobs read and write a bucket, and are spoken to by a cloud's own SDK."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from airflow_batch_provider.backends.base import Backend, no_model
from airflow_batch_provider.core.errors import ConfigurationError, ProviderError, RequestRejectedError
from airflow_batch_provider.core.provider_facts import ProviderFacts
from airflow_batch_provider.core.records import Job, JobStatus, ModelRules


class _Store(Protocol):
    def outputs(self, prefix: str) -> Iterator[bytes]: ...

    def read(self, uri: str) -> Iterator[bytes]: ...

    def delete(self, uri: str) -> None: ...


class BucketBackend(Backend):
    """Jobs over files in a bucket.

    :param provider: what is known of the provider's batches.
    :param models: the connection's part of model resolution.
    :param missing: fields of the connection that are missing, as sentences with their remedy.
    """

    store: _Store

    def __init__(self, provider: ProviderFacts, models: ModelRules | None, missing: Iterable[str]) -> None:
        self.provider = provider
        self.price_list = provider.price_list
        self.admission = provider.admission
        self.models = models or ModelRules()
        self._missing = tuple(missing)

    def _refuse_missing(self) -> None:
        if self._missing:
            raise ConfigurationError(f"Connection type {self.name}: {'; '.join(self._missing)}")

    def _refuse_unfit(self, title: str, models: Sequence[str | None], endpoints: Sequence[str]) -> None:
        """Refuse an endpoint without batches, and rows without a model.

        :param title: the provider's name, for the message.
        """
        taken = self.provider.limits.endpoints
        unfit = sorted(set(endpoints) - set(taken))
        if unfit:
            raise ConfigurationError(f"{self.name} supports {' and '.join(taken)}, not {', '.join(unfit)}")
        if endpoints and None in models:
            raise ConfigurationError(no_model(title))

    def outputs(self, job: Job) -> Iterator[bytes]:
        """Every output file below the job's own prefix."""
        for prefix in job.outputs:
            yield from self.store.outputs(prefix)

    def download(self, handle: str) -> Iterator[bytes]:
        """An object's bytes; of a URI that ends with a slash, the output files below it."""
        return self.store.read(handle)

    def delete(self, handle: str) -> None:
        """Delete an object, or all below a URI that ends with a slash."""
        self.store.delete(handle)

    @abstractmethod
    def _stop(self, job_id: str) -> None:
        """Send the call that stops a job."""

    def cancel(self, job_id: str) -> None:
        """Stop; a job that has ended, or is ending, already answers 400, which is not an error."""
        try:
            self._stop(job_id)
        except (RequestRejectedError, ProviderError) as error:
            if error.status not in (400, 409) or not is_over(self.retrieve(job_id)):
                raise


def is_over(job: Job) -> bool:
    """Whether there is nothing to stop any more."""
    return job.status.is_terminal or job.status is JobStatus.CANCELLING
