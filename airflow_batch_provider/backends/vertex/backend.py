"""Google Vertex AI: batch prediction jobs over files in Cloud Storage.

Facts: google.cloud.aiplatform.v1; Google "Batch inference with Gemini", "Batch predictions with Claude", "Batch
predictions with open models".
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar

from airflow_batch_provider.backends.base import Lines, for_each, no_model
from airflow_batch_provider.backends.bucket import BucketBackend, is_over
from airflow_batch_provider.backends.bucket_probe import NOT_CHECKED, probe_bucket, probe_jobs
from airflow_batch_provider.backends.options import check_options
from airflow_batch_provider.backends.paging import Page, Pages
from airflow_batch_provider.backends.redirects import guard
from airflow_batch_provider.backends.vertex.errors import authenticated, translated
from airflow_batch_provider.backends.vertex.jobs import TOKEN_LABEL, read_job
from airflow_batch_provider.backends.vertex.place import (
    GLOBAL,
    VertexPlace,
    check_model,
    check_values,
    create_call,
    object_name,
    serves,
)
from airflow_batch_provider.backends.vertex.store import VertexStore, split_uri
from airflow_batch_provider.backends.wire import calls
from airflow_batch_provider.backends.wire.route import Route
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    ProviderError,
    RequestRejectedError,
)
from airflow_batch_provider.core.provider_facts import ProviderFacts
from airflow_batch_provider.core.records import JSON, Job, Limits, ModelRules, Shard
from airflow_batch_provider.dialects.base import LineFormat

__all__ = ["VertexBackend", "VertexPlace"]

log = logging.getLogger(__name__)
_SECONDS = 60.0
_PAGE = 100
_STORAGE_URL = "https://storage.googleapis.com"


class VertexBackend(BucketBackend):
    """Batch prediction on Google Vertex AI.

    :param place: where jobs run and what they are given.
    :param credentials: gives google-auth's credentials; called when a client is first needed.
    :param provider: what is known of Vertex AI's batches.
    :param vertex_url: another address of Vertex AI's; ``storage_url`` likewise.
    :param models: the connection's part of model resolution.
    """

    name = "vertex_ai_batch"
    store: VertexStore
    handles: ClassVar[tuple[str, ...]] = (
        f"the label `{TOKEN_LABEL}`",
        "the job's name",
        "the names of the uploaded file and of the output's folder, which serve one create only",
    )
    option_names: ClassVar[frozenset[str]] = frozenset(
        {"delete_inputs", "file_name", "job_name", "labels", "output_prefix"}
    )

    def __init__(
        self,
        place: VertexPlace,
        credentials: Callable[[], Any],
        provider: ProviderFacts,
        *,
        vertex_url: str | None = None,
        storage_url: str | None = None,
        models: ModelRules | None = None,
    ) -> None:
        super().__init__(provider, models, place.missing)
        self.place = place
        host = "aiplatform.googleapis.com" if place.region == GLOBAL else f"{place.region}-aiplatform.googleapis.com"
        self._url = vertex_url or f"https://{host}"
        self._storage_url = storage_url or _STORAGE_URL
        self._get_credentials = credentials
        self._lock = threading.RLock()
        self._made: dict[str, Any] = {}
        self._locations: dict[str, str | None] = {}
        self.store = VertexStore(lambda: self._once("storage", self._make_storage))

    # ---- whom to ask -------------------------------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """Google's JobServiceClient, over REST, which every proxy lets through."""
        return self._once("jobs", self._make_jobs)

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        self._refuse_missing()
        with self._lock:
            if name not in self._made:
                with authenticated(f"credentials for {self.name}"):
                    self._made[name] = make()
            return self._made[name]

    def _credentials(self) -> Any:
        return self._once("credentials", self._get_credentials)

    def _make_jobs(self) -> Any:
        from google.api_core.client_options import ClientOptions
        from google.cloud.aiplatform_v1 import JobServiceClient

        options = ClientOptions(api_endpoint=self._url)
        client = JobServiceClient(credentials=self._credentials(), transport="rest", client_options=options)
        transport: Any = client.transport
        guard(transport._session)
        return client

    def _make_storage(self) -> Any:
        from google.cloud.storage import Client

        # The address is always given: a STORAGE_EMULATOR_HOST of the worker's is meant for other code.
        options = {"api_endpoint": self._storage_url}
        client = Client(project=self.place.project, credentials=self._credentials(), client_options=options)
        guard(client._http)
        return client

    @property
    def limits(self) -> Limits:
        """What one job may hold."""
        return self.provider.limits.within(None, self.place.max_rows, self.place.max_bytes)

    @property
    def identity(self) -> Mapping[str, str]:
        """Type, address, project and region."""
        place = self.place
        return {"type": self.name, "base_url": self._url, "project": place.project, "region": place.region}

    @property
    def hidden(self) -> Iterable[str]:
        """The token in use; keys are known to the hook."""
        token = getattr(self._made.get("credentials"), "token", None)
        return (str(token),) if token else ()

    # ---- before anything is sent -------------------------------------------------------------------------------

    def check_route(self, models: Sequence[str | None], endpoints: Sequence[str], options: Mapping[str, Any]) -> None:
        """Refuse a missing or unfit field, an unknown option or model, and buckets that do not serve the region."""
        self._refuse_missing()
        check_options(self.name, options, self.option_names)
        check_values(self.place, options)
        self._refuse_unfit("Vertex AI", models, endpoints)
        for model in filter(None, models):
            check_model(self.place, model)
        for bucket in dict.fromkeys([self.place.bucket, split_uri(self.place.output(options))[0]]):
            location = self._location(bucket)
            if location is not None and not serves(location, self.place.region):
                raise ConfigurationError(
                    f"bucket {bucket!r} is in {location}, the jobs run in {self.place.region}; change the "
                    "connection's region or bucket so that they match"
                )

    def _location(self, bucket: str) -> str | None:
        """Where a bucket lies, None where the caller may not look."""
        if bucket not in self._locations:
            try:
                self._locations[bucket] = self.store.location(bucket)
            except NotFoundError as error:
                raise ConfigurationError(f"bucket {bucket!r} does not exist; check the connection's bucket") from error
            except AuthenticationError as error:
                if "HTTP 403" not in str(error):
                    raise
                log.info(
                    "The location of bucket %s was not checked: the credentials have no permission to read it", bucket
                )
                self._locations[bucket] = None
        return self._locations[bucket]

    def line_format(self, model: str | None, endpoint: str) -> LineFormat:
        """The lines of the model's family."""
        from airflow_batch_provider.dialects.formats import vertex_format

        if model is None:
            raise ConfigurationError(no_model("Vertex AI"))
        return vertex_format(self.place.family(model), model, endpoint, row_labels=self.place.row_labels)

    # ---- upload and create -------------------------------------------------------------------------------------

    def upload(self, shard: Shard, token: str, stream: BinaryIO, options: Mapping[str, Any]) -> str:
        """Upload as ``{prefix}/{stem}-{token}.jsonl``, streaming."""
        return self._put(object_name(str(options.get("file_name") or shard.name), token), stream)

    def upload_file(self, name: str, stream: BinaryIO) -> str:
        """Upload any JSONL of the model's own lines.

        :return: its ``gs://`` URI.
        """
        # Never over another upload, which a job may be reading.
        return self._put(object_name(name, secrets.token_hex(4)), stream)

    def _put(self, name: str, stream: BinaryIO) -> str:
        uri = f"{self.place.home}{name}.jsonl"
        self.store.upload(uri, stream)
        return uri

    def create_request(self, shard: Shard, token: str, input_id: str, options: Mapping[str, Any]) -> JSON:
        """The body of ``batchPredictionJobs.create``."""
        return create_call(self.place, shard, token, input_id, options)

    def create(self, request: JSON, lines: Lines | None = None) -> Job:
        """Send a recorded create call once."""
        from google.cloud.aiplatform_v1 import BatchPredictionJob
        from google.protobuf.json_format import ParseDict

        job = BatchPredictionJob()
        ParseDict(request, job._pb)
        client = self.client
        with translated("create of a batch prediction job"):
            answer = client.create_batch_prediction_job(
                parent=self.place.parent, batch_prediction_job=job, retry=None, timeout=_SECONDS
            )
        made = self._job(_as_json(answer))
        if not made.id:
            raise ProviderError("create of a batch prediction job: the answer has no name")
        return made

    # ---- look --------------------------------------------------------------------------------------------------

    def _page(self, size: int, token: str | None) -> Page:
        client = self.client
        asked = {"parent": self.place.parent, "page_size": size, "page_token": token or ""}
        with translated("list of batch prediction jobs"):
            listed = client.list_batch_prediction_jobs(request=asked, retry=None, timeout=_SECONDS)
            answer = next(listed.pages)  # the pager's own loop believes every page
        jobs = [self._job(_as_json(item)) for item in answer.batch_prediction_jobs]
        return Page(jobs, answer.next_page_token or None, bool(answer.next_page_token))

    def retrieve(self, job_id: str) -> Job:
        """One job, as it is now.

        :param job_id: its resource name, or its number.
        """
        client = self.client
        with translated(f"look at {job_id}"):
            answer = client.get_batch_prediction_job(name=self._name(job_id), retry=None, timeout=_SECONDS)
            return self._job(_as_json(answer))

    def _name(self, job_id: str) -> str:
        return job_id if "/" in job_id else f"{self.place.parent}/batchPredictionJobs/{job_id}"

    def job_pages(self, limit: int | None = None) -> Pages:
        """Jobs of this project and region, page by page; the order of Google's pages is not documented."""
        return Pages(functools.partial(self._page, _PAGE if limit is None else min(limit, _PAGE)), limit)

    def _stop(self, job_id: str) -> None:
        client = self.client
        with translated(f"cancel of {job_id}"):
            client.cancel_batch_prediction_job(name=self._name(job_id), retry=None, timeout=_SECONDS)

    def console_url(self, job_id: str) -> str | None:
        """Google's page of the job."""
        place, number = self.place, job_id.rpartition("/")[2]
        return (
            f"https://console.cloud.google.com/vertex-ai/locations/{place.region}/batch-predictions/{number}"
            f"?project={place.project}"
        )

    def probe(self) -> str:
        """Write, read and list in the bucket, and list a job."""
        return probe_bucket(
            self.store,
            self.place.bucket,
            self.place.home,
            self.store.upload,
            (
                self._probe_location,
                lambda: probe_jobs(lambda: self.list_jobs(limit=1), "aiplatform.batchPredictionJobs.list"),
                self._probe_models,
            ),
        )

    def _probe_location(self) -> str:
        place = self.place
        try:
            location = self.store.location(place.bucket)
        except AuthenticationError:
            return f"bucket location {NOT_CHECKED}"
        fits = "serves" if serves(location, place.region) else "does not serve"
        return f"bucket location {location}: {fits} jobs in {place.region}"

    def _probe_models(self) -> str:
        named = list(dict.fromkeys(filter(None, (self.models.default, *self.models.mapping.values()))))
        for model in named:
            check_model(self.place, model)
        return (
            f"models that take batches: {', '.join(named)}" if named else "the connection has no default_model to check"
        )

    def close(self) -> None:
        """Let go of the clients that were made."""
        with self._lock:
            made, self._made = self._made, {}
        if "storage" in made:
            made["storage"].close()
        if "jobs" in made:
            made["jobs"].transport.close()

    def _job(self, payload: Mapping[str, Any]) -> Job:
        return read_job(payload, self.provider.statuses)

    # ---- without blocking --------------------------------------------------------------------------------------
    # Not by JobServiceClient: importing it takes seconds and much memory in every triggerer, and its REST transport
    # blocks. A token is fetched in a thread, then plain REST is enough.

    async def _acall(self, method: str, path: str) -> JSON:
        token = await asyncio.to_thread(self._token)
        return await calls.call(Route(self._url), method, f"/v1/{path}", {"authorization": f"Bearer {token}"})

    def _token(self) -> str:
        credentials = self._credentials()
        with self._lock, authenticated("token"):
            if not credentials.valid:
                import requests
                from google.auth.transport.requests import Request

                with requests.Session() as session:
                    guard(session)
                    credentials.refresh(Request(session))
            return str(credentials.token)

    async def apoll(self, job_ids: Sequence[str]) -> list[Job]:
        """All jobs at once."""
        answers = await asyncio.gather(*(self._acall("GET", self._name(job_id)) for job_id in job_ids))
        return [self._job(answer) for answer in answers]

    async def acancel(self, job_ids: Sequence[str]) -> None:
        """Cancel all, whatever becomes of one of them."""

        async def one(job_id: str) -> None:
            name = self._name(job_id)
            try:
                await self._acall("POST", f"{name}:cancel")
            except (RequestRejectedError, ProviderError) as error:
                if error.status not in (400, 409) or not is_over(self._job(await self._acall("GET", name))):
                    raise

        await for_each(job_ids, one)


def _as_json(message: Any) -> JSON:
    """Google's message as its REST JSON, which is what both ways are read from."""
    from google.protobuf.json_format import MessageToDict

    found: JSON = MessageToDict(message._pb)
    return found
