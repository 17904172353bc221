"""A fake Vertex AI and Cloud Storage for tests with Google's real clients.

::

    with FakeVertex(VertexFaults(expire_after_rows=50)) as fake:
        client = JobServiceClient(
            credentials=fake.credentials(), transport="rest", client_options={"api_endpoint": fake.vertex_url}
        )
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import Engine
from airflow_batch_provider.local.engines.echo import EchoEngine
from airflow_batch_provider.testing.calls import Call
from airflow_batch_provider.testing.faults import FaultPlan
from airflow_batch_provider.testing.vertex_runner import VertexFaults

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FakeVertex", "VertexFaults"]


class FakeVertex:
    """Vertex AI and Cloud Storage on a free loopback port, for as long as the ``with`` block lasts.

    Cloud Storage is ``gcp-storage-emulator``, behind a front that asks for the token, records calls and does wrong.

    :param faults: what it does wrong; may be changed while it runs. ``fail_rows`` takes the ids on the wire, positions
        as strings, and ``"*"``.
    :param engine: answers the rows.
    :param bucket: exists and is empty at the start.
    :param location: where the bucket lies.
    :param deny: permissions that the caller has not, such as ``storage.buckets.get``; may be changed while it runs.
    """

    token = "fake-token-of-vertex"  # noqa: S105 - a fake

    def __init__(
        self,
        faults: FaultPlan | None = None,
        *,
        engine: Engine | None = None,
        project: str = "test-project",
        region: str = "us-central1",
        bucket: str = "batch-bucket",
        location: str = "US-CENTRAL1",
        deny: frozenset[str] = frozenset(),
    ) -> None:
        from airflow_batch_provider.local.server import LocalServer
        from airflow_batch_provider.testing.vertex_api import Google
        from airflow_batch_provider.testing.vertex_runner import VertexRunner

        self.faults = VertexFaults() if faults is None else faults
        self.project = project
        self.region = region
        self.bucket = bucket
        self.location = location
        self.deny = deny
        self._emulator = _Emulator(bucket)
        self._google = Google(
            project=project,
            region=region,
            token=self.token,
            deny=lambda: self.deny,
            faults=self.faults,
            runner=VertexRunner(self._emulator.client, engine or EchoEngine()),
            emulator=self._emulator.url,
            location=lambda: self.location,
        )
        self.requests: list[Call] = self._google.calls
        self._server = LocalServer(self._google)
        self.vertex_url = self.storage_url = self._server.origin

    def credentials(self) -> Any:
        """Credentials with the token, which never expire."""
        from google.oauth2.credentials import Credentials

        return Credentials(token=self.token)  # type: ignore[no-untyped-call]

    @property
    def creates(self) -> list[Call]:
        """The calls that tried to create a job, refused ones included."""
        return self.calls("create")

    @property
    def batches(self) -> list[JSON]:
        """The jobs that exist, as ``batchPredictionJobs.get`` would tell them, oldest first."""
        return [dict(job.told) for job in list(self._google.jobs)]

    def calls(self, kind: str) -> list[Call]:
        """The calls of one kind: ``create``, ``poll``, ``list``, ``cancel``; of storage ``upload``, ``part``,
        ``download``, ``object``, ``objects``, ``delete``, ``bucket``."""
        return [call for call in list(self.requests) if call.kind == kind]

    def names(self) -> list[str]:
        """The objects in the bucket."""
        return sorted(blob.name for blob in self.storage.list_blobs(self.bucket))

    @property
    def storage(self) -> Any:
        """A storage client that may do all and is not recorded."""
        return self._emulator.client

    def start(self) -> Self:
        """Start, and return when calls are answered."""
        self._emulator.start()
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop, and leave nothing behind."""
        self._server.stop()
        self._emulator.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Emulator:
    """Cloud Storage in memory, in a thread of this process."""

    def __init__(self, bucket: str) -> None:
        from gcp_storage_emulator.server import create_server
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client

        logging.getLogger("gcp_storage_emulator").setLevel(logging.WARNING)
        self._server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=bucket)
        httpd = _bind(self._server._api)
        self.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        self._httpd = httpd
        self._thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), name="fake-gcs", daemon=True)
        self.client = Client(
            project="fake",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.url},
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._httpd.shutdown()
        self._thread.join()
        self._httpd.server_close()
        self.client.close()


def _bind(api: Any) -> Any:
    """The emulator's HTTP server, bound now: its own start tells no port. One call at a time, for its memory has no
    lock."""
    from functools import partial
    from http.server import HTTPServer

    from gcp_storage_emulator.server import RequestHandler

    class Prompt(RequestHandler):  # type: ignore[misc]
        disable_nagle_algorithm = True  # it writes head and body apart

    return HTTPServer(("127.0.0.1", 0), partial(Prompt, api._storage))
