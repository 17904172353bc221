"""The one interface between a run and a provider.

A backend is only its differences: it uploads, creates, looks, downloads and cancels. It decides nothing, retries
nothing, waits for nothing; :mod:`airflow_batch_provider.run.run` does. SDKs are imported inside functions, because a
triggerer and a DAG parser import this package without ever needing them.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar, TypeAlias

from airflow_batch_provider.backends.boundary import CALLS, guarded
from airflow_batch_provider.backends.paging import Pages
from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.finding import Handle, Matcher
from airflow_batch_provider.core.provider_facts import PriceList
from airflow_batch_provider.core.records import JSON, Admission, Found, Job, Limits, ModelRules, Shard
from airflow_batch_provider.core.redaction import Redactor
from airflow_batch_provider.dialects.base import LineFormat

Lines: TypeAlias = "Callable[[], BinaryIO]"
_MOST_HIDDEN = 64
"""Tokens of an hour pile up in a triggerer that runs for weeks."""
BESIDE_SECONDS = 3600.0
"""How much older than the job that it tells of a gateway's first attempt at a create may be: it waits before it
repeats."""


def no_model(provider: str) -> str:
    """The message for rows that no model is set for.

    :param provider: its name, shown in the message.
    """
    return f"{provider} jobs require a model: set body.model, the operator's model or the connection's default_model"


async def for_each(job_ids: Sequence[str], call: Callable[[str], Awaitable[None]]) -> None:
    """Call for all jobs at once, whatever becomes of one of them; then raise the first error, if there was one."""
    for end in await asyncio.gather(*map(call, job_ids), return_exceptions=True):
        if end is not None:
            raise end


class _Hidden(tuple[str, ...]):
    """Secrets that no ``repr`` shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"({len(self)} hidden)"


class Backend(ABC):
    """One provider reached with one set of credentials.

    Every method raises only errors of :mod:`airflow_batch_provider.core.errors`: for a call that was refused, the one
    that :func:`airflow_batch_provider.core.refusals.error_of` gives; 404 ``NotFoundError``; and 409, 5xx, timeouts and
    cut connections ``ProviderError``. No method retries, but a download that breaks off goes on where it stopped; see
    :mod:`airflow_batch_provider.backends.resuming`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Put every call of a backend behind the boundary that no secret passes."""
        super().__init_subclass__(**kwargs)
        for name in CALLS & vars(cls).keys():
            setattr(cls, name, guarded(vars(cls)[name]))

    name: str
    """The connection type."""

    option_names: ClassVar[frozenset[str]] = frozenset()
    """The names allowed in the operator's ``backend_options``."""

    models: ModelRules = ModelRules()
    """The connection's part of model resolution (``model_map``, default model)."""

    handles: ClassVar[tuple[str, ...]]
    """By what :meth:`find` knows a job as ours, in words for the documentation."""

    find_is_complete: ClassVar[bool] = True
    """Whether an empty answer of :meth:`find` proves that no job exists."""

    create_is_repeatable: ClassVar[bool] = False
    """Whether a create sent again, byte for byte, is answered with the same job."""

    sends_inline: ClassVar[bool] = False
    """Whether the wire lines travel in the create call, so that nothing is uploaded before."""

    find_settle_seconds: ClassVar[float] = 900
    """How long after the intent a look is repeated before absence is believed."""

    @property
    @abstractmethod
    def client(self) -> Any:
        """The provider's official client, created on first use."""

    @property
    def secrets(self) -> Iterable[str]:
        """What no log may show, beside what the connection itself holds as a secret."""
        return ()

    @property
    def hidden(self) -> Iterable[str]:
        """What nothing that comes from the provider may show; short values and plain words are shown all the same."""
        return self.secrets

    _further: _Hidden = _Hidden()
    _redactor: tuple[_Hidden, Redactor] | None = None

    def hide(self, *values: str | None) -> None:
        """Add secrets that only the hook knows, or that were fetched, such as a token of an hour."""
        new = [value for value in values if value and value not in self._further]
        self._further = _Hidden((*new, *self._further)[:_MOST_HIDDEN])

    @property
    def redactor(self) -> Redactor:
        """Takes this connection's secrets out of what the provider sends."""
        secrets = _Hidden((*self.hidden, *self._further))
        if self._redactor is None or self._redactor[0] != secrets:
            self._redactor = secrets, Redactor(secrets)
        return self._redactor[1]

    @property
    @abstractmethod
    def limits(self) -> Limits:
        """What one file may hold."""

    admission: Admission = Admission()
    """What may be alive at once, as far as it is known; the connection may say otherwise."""

    price_list: PriceList | None = None
    """Where the provider's prices are found, and its discount; None where no public list has them."""

    def window_hours(self, options: Mapping[str, Any]) -> float:
        """How long a job of this run may take at the provider.

        :param options: the operator's ``backend_options``.
        """
        return self.limits.window_hours

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, str]:
        """Who is spoken to, without secrets: ``type``, ``base_url``, and account, project, region where they exist.
        A run whose jobs live must not continue with another identity."""

    @abstractmethod
    def check_route(self, models: Sequence[str | None], endpoints: Sequence[str], options: Mapping[str, Any]) -> None:
        """Refuse, before any upload, what cannot work: a missing field of the route, an unknown option.

        :raises ConfigurationError: naming the field and the remedy.
        """

    @abstractmethod
    def line_format(self, model: str | None, endpoint: str) -> LineFormat:
        """How lines for this model and endpoint are written and read."""

    def upload(self, shard: Shard, token: str, stream: BinaryIO, options: Mapping[str, Any]) -> str:
        """Upload wire lines, streaming; the file's name carries ``token``. Not called where :attr:`sends_inline`.

        :return: the handle (file id, URI), decoded.
        """
        return self.upload_file(token, stream)

    def upload_file(self, name: str, stream: BinaryIO) -> str:
        """Upload any file of this provider's own lines, streaming.

        :return: the handle (file id, URI), decoded.
        """
        raise ConfigurationError(f"{self.name} takes no files: the requests of a job are sent when it is created")

    @abstractmethod
    def create_request(self, shard: Shard, token: str, input_id: str, options: Mapping[str, Any]) -> JSON:
        """The exact create call as JSON, without secrets and without lines; pure. It is recorded before it is sent.

        :param input_id: the upload; empty where :attr:`sends_inline`.
        """

    @abstractmethod
    def create(self, request: JSON, lines: Lines | None = None) -> Job:
        """Send a recorded create call once.

        :param lines: opens the wire lines from their beginning, for a backend that sends them in this very call; None
            where the job reads an upload that the caller made.
        """

    @guarded
    def find(self, handles: Sequence[Handle], beside: Collection[str] = ()) -> Found:
        """Jobs that bear any of these handles, by one reading of the list.

        The order of most lists is not documented, so they are read to their end, and no time leaves anything out: what
        a token proves needs no clock.

        :param beside: ids of jobs that are known to exist. Where given, others are looked for that were made at about
            the same time: the reading ends once all of them were seen and a page came that is older than they are, by
            the provider's own clock.
        """
        bears = Matcher(handles)
        pages = self.job_pages()
        left, oldest = set(beside), math.inf
        found: list[Job] = []
        for page in pages.pages():
            found += filter(bears, page)
            times = [job.created_at for job in page]
            if (
                beside
                and not left
                and None not in times
                and max(filter(None, times), default=0.0) < oldest - BESIDE_SECONDS
            ):
                break
            known = [job for job in page if job.id in left]
            left -= {job.id for job in known}
            oldest = min([oldest, *(job.created_at or 0.0 for job in known)])
        # Most lists begin with the newest, and most times are whole seconds (Azure tells fractions only while a batch
        # is new): within a second the last listed is the oldest.
        found.reverse()
        found.sort(key=lambda job: int(job.created_at or 0))
        return Found(tuple(found), self.find_is_complete and not pages.broken, pages.broken)

    @abstractmethod
    def retrieve(self, job_id: str) -> Job:
        """One job, as it is now."""

    @abstractmethod
    def job_pages(self, limit: int | None = None) -> Pages:
        """Jobs of this account, each once, newest first where the provider orders them, page by page."""

    @guarded
    def list_jobs(self, limit: int | None = None) -> Iterator[Job]:
        """The same without the pages."""
        yield from self.job_pages(limit)

    @abstractmethod
    def outputs(self, job: Job) -> Iterator[bytes]:
        """Byte chunks of everything the job has put out, successes and errors, in any job status; ends a file that
        lacks a last end of line with one. Nothing there yet gives nothing."""

    @abstractmethod
    def cancel(self, job_id: str) -> None:
        """Stop a job; a job that has already ended is not an error."""

    @abstractmethod
    def download(self, handle: str) -> Iterator[bytes]:
        """Byte chunks of one uploaded or output file, exactly as stored."""

    @abstractmethod
    def delete(self, handle: str) -> None:
        """Delete an uploaded or output file; one that is gone is not an error."""

    def console_url(self, job_id: str) -> str | None:
        """The provider's own page of a job, None where there is none."""
        return None

    @abstractmethod
    async def apoll(self, job_ids: Sequence[str]) -> list[Job]:
        """The jobs as they are now, in the order given; nothing in it blocks the event loop, imports included."""

    @abstractmethod
    async def acancel(self, job_ids: Sequence[str]) -> None:
        """As :meth:`cancel`, for a killed deferred task."""

    @abstractmethod
    def close(self) -> None:
        """Let go of synchronous connections."""

    @abstractmethod
    def probe(self) -> str:
        """One cheap authorised call that pays nothing.

        :return: what was seen, in plain words.
        """


for _name in CALLS & vars(Backend).keys():
    # What the base itself carries out; whatever a subclass puts in its place is wrapped with the subclass.
    if not getattr(vars(Backend)[_name], "__isabstractmethod__", False):
        setattr(Backend, _name, guarded(vars(Backend)[_name]))
