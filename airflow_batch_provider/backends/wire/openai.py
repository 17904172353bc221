"""OpenAI's Files and Batches API, and every provider and gateway that speaks it.

What differs between them is data: a :class:`Route` says where to send and how to sign, :class:`WireFacts` what that
provider takes. Only a provider with behaviour of its own needs a class.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar
from urllib.parse import parse_qsl, quote, unquote

from airflow_batch_provider.backends.base import Backend, Lines, for_each
from airflow_batch_provider.backends.options import check_options
from airflow_batch_provider.backends.paging import Page, Pages
from airflow_batch_provider.backends.wire import calls
from airflow_batch_provider.backends.wire.checks import check_values
from airflow_batch_provider.backends.wire.errors import NOT_JSON, from_sdk
from airflow_batch_provider.backends.wire.extra_body import ExtraBody
from airflow_batch_provider.backends.wire.jobs import plain_word, read_job
from airflow_batch_provider.backends.wire.outputs import read_outputs
from airflow_batch_provider.backends.wire.route import Route, WireFacts
from airflow_batch_provider.backends.wire.uploads import UPLOAD_SECONDS, send_file
from airflow_batch_provider.core.errors import (
    ConfigurationError,
    NotFoundError,
    ProviderError,
    RequestRejectedError,
)
from airflow_batch_provider.core.identity import safe_name
from airflow_batch_provider.core.records import JSON, Job, Limits, ModelRules, Shard
from airflow_batch_provider.dialects.base import LineFormat
from airflow_batch_provider.dialects.families import CHAT
from airflow_batch_provider.dialects.openai import OpenAIFormat
from airflow_batch_provider.dialects.openai_rules import OpenAIChatFormat

if TYPE_CHECKING:
    import openai

TOKEN_KEY = "airflow_batch_token"  # noqa: S105 - a name, not a secret
_PAGE = 100
TIMEOUT_SECONDS = 600.0


class OpenAIBackend(Backend):
    """Batches on the OpenAI wire.

    :param route: where to send and how to sign.
    :param facts: what that provider takes.
    :param models: the connection's part of model resolution.
    """

    handles: ClassVar[tuple[str, ...]] = (
        "the id of the uploaded file, which serves one create only",
        f"`{TOKEN_KEY}` in the batch's metadata",
    )
    option_names: ClassVar[frozenset[str]] = frozenset(
        {
            "completion_window",
            "delete_inputs",
            "expires_after",
            "extra_body",
            "file_name",
            "metadata",
            "output_expires_after",
        }
    )

    def __init__(self, route: Route, facts: WireFacts, models: ModelRules | None = None) -> None:
        self.route = route
        self.facts = facts
        self.name = facts.name
        self.price_list = facts.provider.price_list
        self.admission = facts.provider.admission
        self.models = models or ModelRules()
        self._statuses = {plain_word(word): status for word, status in facts.provider.statuses.items()}
        self.extra = ExtraBody(facts.extra_body)

    @cached_property
    def client(self) -> openai.OpenAI:
        """The official client, which takes nothing from the worker's environment and retries nothing."""
        from airflow_batch_provider.backends.wire.client import make_client

        self._refuse_missing()
        return make_client(self.route, TIMEOUT_SECONDS)

    @property
    def secrets(self) -> Iterable[str]:
        """The values of all headers but what everybody knows."""
        return [value for name, value in self.route.headers if not name.endswith("api-version")]

    @property
    def hidden(self) -> Iterable[str]:
        """The values of headers that are neither a provider's name nor a place, and the secrets of ``extra_body``."""
        return self.route.secrets + self.extra.secrets

    def _refuse_missing(self) -> None:
        if self.facts.missing:
            raise ConfigurationError(f"Connection type {self.name}: {'; '.join(self.facts.missing)}")

    @property
    def limits(self) -> Limits:
        """What one file may hold."""
        return self.facts.provider.limits

    @property
    def identity(self) -> Mapping[str, str]:
        """Type, base URL and what else distinguishes accounts."""
        return {"type": self.name, "base_url": self.route.base_url, **self.facts.identity}

    def check_route(self, models: Sequence[str | None], endpoints: Sequence[str], options: Mapping[str, Any]) -> None:
        """Refuse a missing field of the route and an unknown or unfit option."""
        self._refuse_missing()
        check_options(self.name, options, self.option_names)
        taken = {*self.limits.endpoints, *self.facts.provider.urls.values()}
        unfit = sorted(set(endpoints) - taken)
        if unfit:
            raise ConfigurationError(
                f"{self.name} does not support batches for {', '.join(unfit)}; it supports "
                f"{', '.join(self.limits.endpoints)}"
            )
        check_values(options, self.limits.life if self.facts.takes_expiry else None, self.facts.extra_body)

    def line_format(self, model: str | None, endpoint: str) -> LineFormat:
        """OpenAI's lines, with the provider's spelling of the endpoint."""
        made = OpenAIChatFormat if self.facts.checks_chat and endpoint == CHAT else OpenAIFormat
        return made(model, self.facts.provider.urls.get(endpoint, endpoint), ascii_only=self.facts.ascii_only)

    def _job(self, batch: Mapping[str, Any]) -> Job:
        return read_job(batch, self._statuses)

    # ---- calls -------------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: Any = None) -> JSON:
        import openai

        name = f"{method} {path}"
        try:
            if method == "GET":
                # SDK 2.0 loses a query in the path where the client has one of its own, as for a dated API of Azure.
                path, _, query = path.partition("?")
                answer: Any = self.client.get(path, cast_to=object, options={"params": dict(parse_qsl(query))})
            elif method == "DELETE":
                answer = self.client.delete(path, cast_to=object)
            else:
                answer = self.client.post(path, cast_to=object, body=body)
        except (openai.APIError, *NOT_JSON) as error:
            raise from_sdk(name, error) from error
        if not isinstance(answer, dict):
            raise ProviderError(f"{name}: the answer is not a JSON object: {str(answer)[:200]!r}")
        return answer

    def upload(self, shard: Shard, token: str, stream: BinaryIO, options: Mapping[str, Any]) -> str:
        """Upload as ``{stem}-{token}.jsonl``, streaming."""
        stem = safe_name(str(options.get("file_name") or shard.name).removesuffix(".jsonl"), 60)
        return self.send_file(f"{stem}-{token}.jsonl", stream, {}, self._life(options))

    def upload_file(self, name: str, stream: BinaryIO) -> str:
        """Upload any JSONL for batches.

        :return: its file id.
        """
        return self.send_file(name, stream, {}, self._life({}))

    def _life(self, options: Mapping[str, Any]) -> int | None:
        """After how many seconds an upload ends by itself; None for never, or as the provider has it."""
        asked: int | None = options.get("expires_after", UPLOAD_SECONDS if self.facts.takes_expiry else None)
        return asked

    def send_file(self, name: str, stream: BinaryIO, headers: Mapping[str, str], life: int | None = None) -> str:
        """Upload with further headers, for gateways that want to know there what the file is for.

        :param life: seconds after which the file ends by itself.
        """
        return send_file(self.client, name, stream, headers, life)

    def create_request(self, shard: Shard, token: str, input_id: str, options: Mapping[str, Any]) -> JSON:
        """The body of ``POST /batches``."""
        return self.create_body(shard.endpoint, input_id, options, {TOKEN_KEY: token})

    def create_body(
        self, endpoint: str, input_id: str, options: Mapping[str, Any], metadata: Mapping[str, str]
    ) -> JSON:
        """The body of ``POST /batches`` for any uploaded file; the file and ``metadata`` are what a lost create is
        found by, so nothing replaces them."""
        extra = self.extra.recorded(options.get("extra_body"))
        merged = {**(extra.pop("metadata", None) or {}), **(options.get("metadata") or {}), **metadata}
        body: JSON = {
            "input_file_id": input_id,
            "endpoint": self.facts.provider.urls.get(endpoint, endpoint),
            "completion_window": options.get("completion_window") or self.facts.provider.completion_window,
        }
        if merged:
            body["metadata"] = merged
        if options.get("output_expires_after"):
            body["output_expires_after"] = options["output_expires_after"]
        return {**body, **extra, "input_file_id": input_id}

    def create(self, request: JSON, lines: Lines | None = None) -> Job:
        """Send a recorded create call once, with the secrets of ``extra_body``, which are not recorded."""
        answer = self._call("POST", "/batches", self.extra.whole(request))
        job = self._job(answer)
        if not job.id:
            raise ProviderError("POST /batches: the answer has no batch id")
        return job

    def retrieve(self, job_id: str) -> Job:
        """One batch, as it is now."""
        return self._job(self._call("GET", f"/batches/{_segment(job_id)}"))

    def job_pages(self, limit: int | None = None) -> Pages:
        """All batches of this key, page by page."""
        return Pages(self._page, limit)

    def _page(self, after: str | None) -> Page:
        """One page; a full one that does not say whether there is more is taken to have more."""
        page = self._call("GET", f"/batches?limit={_PAGE}{f'&after={quote(after)}' if after else ''}")
        items = page.get("data", page)  # null is how some servers write an empty list
        listed = [] if items is None else items if isinstance(items, list) else [None]
        jobs = [self._job(batch) for batch in listed if isinstance(batch, dict)]
        last = page.get("last_id") or (jobs[-1].id if jobs else None)
        more = page.get("has_more")
        more = more if isinstance(more, bool) else len(listed) >= _PAGE
        return Page(jobs, str(last) if last else None, more, len(listed) - len(jobs))

    def outputs(self, job: Job) -> Iterator[bytes]:
        """Output and error file, or what a gateway has in their place."""
        if job.unread:
            raise ProviderError(
                f"Batch {job.id}: {job.unread}, which is not the id of a file, so its output cannot be read. Nothing "
                "is lost or sent again: report it to the provider, and clear the task when the batch names its file",
                ambiguous=False,
            )
        read = (lambda: self.stream_output(job.id)) if self.facts.output_endpoint else None
        return read_outputs(job, self.download, read)

    def stream_output(self, job_id: str) -> Iterator[bytes]:
        """What a gateway puts out for a batch, whatever file it is in."""
        return self._stream(f"/batches/{_segment(job_id)}/output")

    def download(self, handle: str) -> Iterator[bytes]:
        """A file's content, streamed."""
        return self._stream(f"/files/{_segment(handle)}/content")

    def _stream(self, path: str) -> Iterator[bytes]:
        from airflow_batch_provider.backends.wire.client import stream

        return stream(self.client, path)

    def cancel(self, job_id: str) -> None:
        """Cancel; a batch that has ended already answers 400 or 409, which is not an error."""
        try:
            self._call("POST", f"/batches/{_segment(job_id)}/cancel")
        except (RequestRejectedError, ProviderError) as error:
            if error.status not in (400, 409) or not self.retrieve(job_id).status.is_terminal:
                raise

    def delete(self, handle: str) -> None:
        """Delete a file."""
        try:
            self._call("DELETE", f"/files/{_segment(handle)}")
        except NotFoundError:
            return

    def console_url(self, job_id: str) -> str | None:
        """The provider's own page of a batch."""
        return self.facts.console.format(id=quote(job_id, safe="")) if self.facts.console else None

    async def _caller(self) -> Callable[..., Awaitable[JSON]]:
        """What the triggerer calls with; it signs as the official client does."""
        self._refuse_missing()
        return functools.partial(calls.call, self.route)

    async def apoll(self, job_ids: Sequence[str]) -> list[Job]:
        """All batches at once, over one pool of connections."""
        call = await self._caller()
        batches = await asyncio.gather(*(call("GET", f"/batches/{_segment(job_id)}") for job_id in job_ids))
        return [self._job(batch) for batch in batches]

    async def acancel(self, job_ids: Sequence[str]) -> None:
        """Cancel all, whatever becomes of one of them; a batch that has ended already is not an error."""
        call = await self._caller()

        async def one(job_id: str) -> None:
            path = f"/batches/{_segment(job_id)}"
            try:
                await call("POST", f"{path}/cancel")
            except (RequestRejectedError, ProviderError) as error:
                if error.status not in (400, 409) or not self._job(await call("GET", path)).status.is_terminal:
                    raise

        await for_each(job_ids, one)

    def close(self) -> None:
        """Close the official client, if it was ever made."""
        if "client" in self.__dict__:
            self.client.close()

    def probe(self) -> str:
        """List one batch."""
        try:
            seen = next(self.list_jobs(limit=1), None)
        except NotFoundError as error:
            if self.route.base_url.endswith("/v1"):
                raise
            raise ConfigurationError(
                f"{error}; check the connection's host: most addresses end with /v1, such as {self.route.base_url}/v1"
            ) from error
        return f"{self.route.base_url} answers; " + ("batches can be listed" if seen else "there are none yet")


def _segment(identifier: str) -> str:
    """An id as one segment of a path: percent-encoded once, however it came."""
    return quote(unquote(identifier), safe="")
