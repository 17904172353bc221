"""Amazon Bedrock: batch inference jobs of the control plane, over files in S3.

Facts: AWS "Batch inference" (format, quotas, statuses), botocore's model of Bedrock 2023-04-20.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, BinaryIO, ClassVar, TypeVar

import orjson

from airflow_batch_provider.backends.base import Lines, for_each
from airflow_batch_provider.backends.bedrock import checks
from airflow_batch_provider.backends.bedrock.errors import translated
from airflow_batch_provider.backends.bedrock.jobs import read_counts, read_job
from airflow_batch_provider.backends.bedrock.place import BedrockPlace, check_values, create_call, named
from airflow_batch_provider.backends.bedrock.store import BedrockStore
from airflow_batch_provider.backends.bucket import BucketBackend
from airflow_batch_provider.backends.bucket_probe import NOT_CHECKED, probe_bucket, probe_jobs
from airflow_batch_provider.backends.options import check_options
from airflow_batch_provider.backends.paging import Page, Pages
from airflow_batch_provider.backends.redirects import guard_aws
from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    ProviderError,
)
from airflow_batch_provider.core.provider_facts import ProviderFacts
from airflow_batch_provider.core.records import JSON, Job, Limits, ModelRules, Shard
from airflow_batch_provider.dialects.base import LineFormat

__all__ = ["BedrockBackend", "BedrockPlace"]

log = logging.getLogger(__name__)
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_SMALL_PAGE = 100
_LARGE_PAGE = 1000
T = TypeVar("T")


class BedrockBackend(BucketBackend):
    """Batch inference on Amazon Bedrock.

    :param place: where jobs run and what they are given.
    :param session: gives a ``boto3.Session``; called when a client is first needed.
    :param provider: what is known of Bedrock's batches.
    :param bedrock_url: another address of Bedrock's control plane; ``s3_url`` likewise.
    :param models: the connection's part of model resolution.
    """

    name = "bedrock_batch"
    store: BedrockStore
    create_is_repeatable: ClassVar[bool] = True
    handles: ClassVar[tuple[str, ...]] = (
        "`clientRequestToken` (its own part)",
        "the job's name",
        "the key of the uploaded file",
    )
    option_names: ClassVar[frozenset[str]] = frozenset(
        {"delete_inputs", "file_name", "job_name", "kms_key_id", "output_uri", "role_arn", "tags", "timeout_hours"}
    )

    def __init__(
        self,
        place: BedrockPlace,
        session: Callable[[], Any],
        provider: ProviderFacts,
        *,
        bedrock_url: str | None = None,
        s3_url: str | None = None,
        models: ModelRules | None = None,
    ) -> None:
        super().__init__(provider, models, place.missing)
        self.place = place
        self._session = session
        self._urls = {"bedrock": bedrock_url, "s3": s3_url}
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._regions: dict[str, str | None] = {}
        self.store = BedrockStore(lambda: self._client("s3"), place.bucket_owner)

    # ---- whom to ask -------------------------------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """boto3's client of Bedrock's control plane, which retries nothing: a create is sent once."""
        return self._client("bedrock")

    def _client(self, service: str) -> Any:
        self._refuse_missing()
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make_client(service)
            return self._clients[service]

    def _make_client(self, service: str) -> Any:
        session = self._session()  # first: it says how to install boto3
        from botocore.config import Config

        url = self._urls[service]
        options: dict[str, Any] = {"s3": {"addressing_style": "path"}} if service == "s3" and url else {}
        config = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            # An AWS_ENDPOINT_URL of the worker's is meant for other code; the connection has fields for addresses.
            ignore_configured_endpoint_urls=True,
            **options,
        )
        with translated(f"client of {service}"):
            client = session.client(service, region_name=self.place.region, endpoint_url=url or None, config=config)
            guard_aws(client)
            return client

    def window_hours(self, options: Mapping[str, Any]) -> float:
        """The run's own ``timeout_hours``, else the connection's, else Bedrock's own."""
        return self.place.hours(options) or self.limits.window_hours

    @property
    def limits(self) -> Limits:
        """Bedrock's quotas, or the account's own where the connection sets them."""
        place = self.place
        held = self.provider.limits.within(place.min_rows, place.max_rows, place.max_bytes)
        return replace(held, window_hours=place.timeout_hours or held.window_hours)

    @property
    def identity(self) -> Mapping[str, str]:
        """Type, address, region and account."""
        place = self.place
        suffix = "amazonaws.com.cn" if place.region.startswith("cn-") else "amazonaws.com"
        url = self._urls["bedrock"] or f"https://bedrock.{place.region}.{suffix}"
        identity = {"type": self.name, "base_url": url, "region": place.region}
        return {**identity, "account": place.account} if place.account else identity

    @property
    def hidden(self) -> Iterable[str]:
        """What the clients sign with now, wherever it comes from; nothing is fetched for that."""
        credentials = [client._request_signer._credentials for client in [*self._clients.values()]]
        names = ("access_key", "secret_key", "token")
        found = [vars(one).get(f"_{name}") or vars(one).get(name) for one in credentials if one for name in names]
        return [value for value in found if isinstance(value, str)]

    # ---- before anything is sent -------------------------------------------------------------------------------

    def check_route(self, models: Sequence[str | None], endpoints: Sequence[str], options: Mapping[str, Any]) -> None:
        """Refuse a missing or unfit field, an unknown option or model, and buckets in another region than the job."""
        self._refuse_missing()
        check_options(self.name, options, self.option_names)
        place = self.place
        check_values(place, options, self.provider.limits)
        self._refuse_unfit("Bedrock", models, endpoints)
        for model in filter(None, models):
            place.family(model)
            checks.check_region(model, place.region)
        for bucket in dict.fromkeys([place.bucket, checks.split_uri(place.output(options))[0]]):
            self._check_bucket(bucket)

    def _check_bucket(self, bucket: str) -> None:
        """A bucket lies in the job's region (AWS, "Format and upload your batch inference data")."""
        if bucket not in self._regions:
            try:
                self._regions[bucket] = self.store.region(bucket)
            except NotFoundError as error:
                raise ConfigurationError(f"bucket {bucket!r} does not exist; check the connection's bucket") from error
            if self._regions[bucket] is None:
                log.info(
                    "The region of bucket %s was not checked: the credentials have no permission to read it", bucket
                )
        region = self._regions[bucket]
        if region is not None and region != self.place.region:
            raise ConfigurationError(
                f"bucket {bucket!r} is in {region}, the jobs run in {self.place.region}; Bedrock requires both in "
                "one region: change the connection's region or bucket"
            )

    def line_format(self, model: str | None, endpoint: str) -> LineFormat:
        """The lines of the model's family."""
        from airflow_batch_provider.dialects.formats import bedrock_format

        model = named(model)
        return bedrock_format(self.place.family(model), model, endpoint)

    # ---- upload and create -------------------------------------------------------------------------------------

    def upload(self, shard: Shard, token: str, stream: BinaryIO, options: Mapping[str, Any]) -> str:
        """Upload as ``{prefix}/{stem}-{token}.jsonl``, streaming."""
        stem = str(options.get("file_name") or shard.name).removesuffix(".jsonl")
        return self._put(f"{checks.job_name(stem, token)}.jsonl", stream, self.place.kms_key(options))

    def upload_file(self, name: str, stream: BinaryIO) -> str:
        """Upload any JSONL of Bedrock records.

        :return: its ``s3://`` URI.
        """
        # Never over another upload, which a job may be reading.
        stem = checks.safe_key(name.removesuffix(".jsonl")) or "requests"
        return self._put(f"{stem}-{secrets.token_hex(4)}.jsonl", stream, self.place.kms_key_id)

    def _put(self, key: str, stream: BinaryIO, kms_key_id: str | None) -> str:
        uri = self.place.home + key
        self.store.upload(uri, stream, kms_key_id)
        return uri

    def create_request(self, shard: Shard, token: str, input_id: str, options: Mapping[str, Any]) -> JSON:
        """What CreateModelInvocationJob is called with."""
        return create_call(self.place, shard, token, input_id, options)

    def create(self, request: JSON, lines: Lines | None = None) -> Job:
        """Send a recorded create call once. The same call again gives the same job, thanks to its request token."""
        client = self.client
        with translated("CreateModelInvocationJob"):
            answer = client.create_model_invocation_job(**request)
        if not answer.get("jobArn"):
            raise ProviderError("CreateModelInvocationJob: the answer has no job ARN")
        # Nothing more is returned. A look at the job now could fail, and would make a lost answer of a good one.
        return self._job({**request, "jobArn": answer["jobArn"], "status": "Submitted"})

    def _job(self, item: Mapping[str, Any]) -> Job:
        return read_job(item, self.provider.statuses)

    # ---- look --------------------------------------------------------------------------------------------------

    def _page(self, size: int, token: str | None) -> Page:
        following = {"nextToken": token} if token else {}
        client = self.client
        with translated("ListModelInvocationJobs"):
            answer = client.list_model_invocation_jobs(
                maxResults=size, sortBy="CreationTime", sortOrder="Descending", **following
            )
        jobs = [self._job(item) for item in answer.get("invocationJobSummaries") or []]
        return Page(jobs, answer.get("nextToken"), bool(answer.get("nextToken")))

    def retrieve(self, job_id: str) -> Job:
        """One job, as it is now."""
        client = self.client
        with translated("GetModelInvocationJob"):
            job = self._job(client.get_model_invocation_job(jobIdentifier=job_id))
        return job if job.counts.completed is not None or not job.status.is_terminal else self._counted(job)

    def _counted(self, job: Job) -> Job:
        """With the counts of its manifest, where the service leaves them out of the job (they are new there)."""
        manifest = self._manifest(job)
        return job if manifest is None else replace(job, counts=read_counts(manifest))

    def job_pages(self, limit: int | None = None) -> Pages:
        """Jobs of this account and region, newest first, page by page."""
        size = _SMALL_PAGE if limit is None else max(1, min(limit, _LARGE_PAGE))
        return Pages(functools.partial(self._page, size), limit)

    def usage(self, job: Job) -> Usage | None:
        """Tokens of the whole job by its manifest, None where there is none or it does not say."""
        manifest = self._manifest(job)
        names = ("inputTokenCount", "outputTokenCount", "cacheReadInputTokenCount")
        counts = [manifest.get(name) for name in names] if manifest else []
        if not any(type(count) is int for count in counts):
            return None
        return Usage(*(count if type(count) is int else 0 for count in counts))

    def _manifest(self, job: Job) -> JSON | None:
        manifests = [self.store.manifest(prefix) for prefix in job.outputs]
        try:
            manifest = orjson.loads(next((content for content in manifests if content), b"null"))
        except orjson.JSONDecodeError:
            return None
        return manifest if isinstance(manifest, dict) else None

    def _stop(self, job_id: str) -> None:
        client = self.client
        with translated("StopModelInvocationJob"):
            client.stop_model_invocation_job(jobIdentifier=job_id)

    def console_url(self, job_id: str) -> str | None:
        """AWS's page of the region's batch inference jobs; the address of a single one is not documented."""
        region = self.place.region
        domain = {"cn-": "amazonaws.cn", "us-gov-": "amazonaws-us-gov.com"}
        host = next((name for start, name in domain.items() if region.startswith(start)), "aws.amazon.com")
        return f"https://{region}.console.{host}/bedrock/home?region={region}#/batch-inference"

    def probe(self) -> str:
        """Write and read a small object, and list a job."""
        place = self.place
        return probe_bucket(
            self.store,
            place.bucket,
            place.home,
            lambda uri, stream: self.store.upload(uri, stream, place.kms_key_id),
            (
                self._probe_region,
                lambda: f"{place.role_arn}: well-formed; what it may do is not checked",
                lambda: probe_jobs(lambda: self.list_jobs(limit=1), "bedrock:ListModelInvocationJobs"),
            ),
        )

    def _probe_region(self) -> str:
        region = self.store.region(self.place.bucket)
        if region is None:
            return f"bucket region {NOT_CHECKED}"
        return f"bucket region {region}: {'matches' if region == self.place.region else 'differs from the jobs'}"

    def close(self) -> None:
        """Close the clients that were made."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    # ---- without blocking --------------------------------------------------------------------------------------

    async def apoll(self, job_ids: Sequence[str]) -> list[Job]:
        """Several jobs by one list call; those that are not among the newest, one by one."""
        if not job_ids:
            return []
        asked = list(dict.fromkeys(job_ids))
        seen = await _elsewhere(functools.partial(self._newest, len(asked))) if len(asked) > 1 else {}
        left = [job_id for job_id in asked if job_id.rpartition("/")[2] not in seen]
        jobs = await asyncio.gather(*(_elsewhere(functools.partial(self.retrieve, job_id)) for job_id in left))
        seen |= {job_id.rpartition("/")[2]: job for job_id, job in zip(left, jobs, strict=True)}
        return [seen[job_id.rpartition("/")[2]] for job_id in job_ids]

    def _newest(self, count: int) -> dict[str, Job]:
        """The newest jobs, in one page, by the last part of their ARN; nothing where they may not be listed."""
        size = _SMALL_PAGE if count <= _SMALL_PAGE // 2 else _LARGE_PAGE
        try:
            page = self._page(size, None)
        except AuthenticationError:
            return {}
        return {job.id.rpartition("/")[2]: job for job in page.jobs}

    async def acancel(self, job_ids: Sequence[str]) -> None:
        """Stop all, whatever becomes of one of them."""
        await for_each(job_ids, lambda job_id: _elsewhere(functools.partial(self.cancel, job_id)))


@functools.cache
def _executor() -> ThreadPoolExecutor:
    """boto3 has no asynchronous client; the loop's own executor is shared with code that may fill it."""
    return ThreadPoolExecutor(8, thread_name_prefix="airflow-batch-bedrock")


async def _elsewhere(call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_executor(), call)
