"""From an Airflow connection to a backend, with every secret masked on the way.

``conn_id`` decides the backend: the connection's type names its hook in :mod:`airflow_batch_provider.connections`.
"""

from __future__ import annotations

import asyncio
import importlib
import secrets
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from airflow.sdk import BaseHook
from pydantic import ValidationError

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.connections import connection_types
from airflow_batch_provider.connections.base import ConnectionType
from airflow_batch_provider.connections.settings import Settings
from airflow_batch_provider.core.errors import BatchInferenceError, ConfigurationError
from airflow_batch_provider.core.records import Job, Shard

_SCHEMES = frozenset({"http", "https"})
_PUBLIC = frozenset({"openai", "azure-openai", "bedrock", "vertex-ai"})
"""Header values that are words of everybody's; masked, they would be missing from every log line."""


class BatchInferenceHook(BaseHook):
    """Base of the hooks; get one by :meth:`for_conn_id`, whatever the connection's type.

    The verbs below serve any Python task; operators use :attr:`backend`.

    :param conn_id: the connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name: ClassVar[str]
    conn_type: ClassVar[str]
    hook_name: ClassVar[str]
    settings_class: ClassVar[type[Settings]] = Settings
    secret_settings: ClassVar[tuple[str, ...]] = ()
    """Extra fields whose values, or whose members' values, are masked."""
    row: ClassVar[ConnectionType]
    """The connection type, from which all of the above is made."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "row" in vars(cls):
            cls.conn_type, cls.hook_name, cls.default_conn_name = cls.row.name, cls.row.label, cls.row.conn_id
            cls.settings_class = cls.row.settings
            cls.secret_settings = cls.row.kept_secret("text", "values")

    def __init__(self, conn_id: str | None = None, *, connection: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id or self.default_conn_name
        self._connection = connection
        self._extra: dict[str, Any] | None = None
        self._masked: list[str] = []

    # ---- which hook --------------------------------------------------------------------------------------------

    @staticmethod
    def for_conn_id(conn_id: str) -> BatchInferenceHook:
        """The hook of a connection.

        :raises ConfigurationError: when its type is not one of ours.
        """
        connection = BaseHook.get_connection(conn_id)
        return hook_class(conn_id, connection.conn_type)(conn_id, connection=connection)

    @staticmethod
    async def afor_conn_id(conn_id: str) -> BatchInferenceHook:
        """As :meth:`for_conn_id`, without a blocking call, its backend ready."""
        connection = await _connection(conn_id)
        # Imports and masking may block, so they happen in a thread.
        kind = await asyncio.to_thread(hook_class, conn_id, connection.conn_type)
        hook = kind(conn_id, connection=connection)
        read = getattr(connection, "aextra_dejson", None)
        hook._extra = await read() if read else await asyncio.to_thread(lambda: connection.extra_dejson)
        await asyncio.to_thread(lambda: hook.backend)
        return hook

    # ---- what it gives -----------------------------------------------------------------------------------------

    @cached_property
    def backend(self) -> Backend:
        """The backend with this connection's credentials."""
        connection = self._connection or BaseHook.get_connection(self.conn_id)
        self._mask(password(connection))
        if connection.conn_type != self.conn_type:
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has type {connection.conn_type!r}, {type(self).__name__} takes "
                f"{self.conn_type!r}; BatchInferenceHook.for_conn_id({self.conn_id!r}) gives the hook of any type"
            )
        extra = connection.extra_dejson if self._extra is None else self._extra
        if not isinstance(extra, dict) or (not extra and (connection.extra or "").strip("{} \n\t")):
            raise ConfigurationError(f"Connection {self.conn_id!r}: the extra field is not a JSON object")
        extra = {name: value for name, value in extra.items() if value not in (None, "")}
        self._mask(*(extra.get(name) for name in self.secret_settings))
        try:
            settings = self.settings_class.model_validate(extra)
        except ValidationError as error:
            raise ConfigurationError(self._wrong_field(error)) from None
        backend = self.make_backend(connection, settings)
        backend.hide(*self._masked)
        self._mask(*backend.secrets)
        backend.admission = settings.admission(backend.admission)
        return backend

    def make_backend(self, connection: Any, settings: Any) -> Backend:
        """One pure function from connection and settings to a backend; each hook has its own."""
        raise TypeError(f"{type(self).__name__} makes no backend; use BatchInferenceHook.for_conn_id(conn_id)")

    def _wrong_field(self, error: ValidationError) -> str:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(sorted(self.settings_class.model_fields))
        where = f"Connection {self.conn_id!r} ({self.conn_type}): extra field {field!r}"
        return f"{where}: {first['msg']}. Known fields: {known}"

    def _mask(self, *secrets: Any) -> None:
        """Keep the values of fields, which are strings or objects of strings, out of Airflow's logs."""
        from airflow.sdk.log import mask_secret

        for secret in secrets:
            for value in secret.values() if isinstance(secret, Mapping) else (secret,):
                if isinstance(value, str) and value and value not in _PUBLIC:
                    mask_secret(value)
            if isinstance(secret, str):  # values of headers are known to the backend, with their names
                self._masked.append(secret)

    def get_conn(self) -> Any:
        """The provider's official client, configured for this connection."""
        return self.backend.client

    def test_connection(self) -> tuple[bool, str]:
        """Whether the connection can list batches, in plain words; pays nothing."""
        try:
            self.backend.check_route([], [], {})
            return True, self.backend.probe()
        except BatchInferenceError as error:
            return False, str(error)

    # ---- verbs for any Python task -----------------------------------------------------------------------------

    def upload(self, file: str | Path | BinaryIO, name: str | None = None) -> str:
        """Upload a JSONL of this provider's own lines.

        :param file: a path on any store, or an open binary stream.
        :param name: the file's name at the provider; ends in ``.jsonl``.
        :return: the file id.
        """
        if isinstance(file, (str, Path)):
            from airflow_batch_provider.run.storage import open_stream

            with open_stream(str(file)) as stream:
                return self.backend.upload_file(name or Path(str(file)).name, stream)
        return self.backend.upload_file(name or "requests.jsonl", file)

    def create(
        self,
        input_file_id: str,
        endpoint: str = "/v1/chat/completions",
        *,
        model: str | None = None,
        **options: Any,
    ) -> Job:
        """Create a batch. Not idempotent: call it once; an operator does what it takes to survive a crash.

        :param model: for providers whose job names it; the connection's default where it is None.
        :param options: as in ``backend_options``: ``metadata``, ``completion_window``, ``extra_body``.
        """
        model = self.backend.models.resolve(model)
        self.backend.check_route([model], [endpoint], options)
        shard = Shard(0, 0, 0, 0, model, endpoint)
        return self.backend.create(self.backend.create_request(shard, secrets.token_hex(8), input_file_id, options))

    def retrieve(self, batch_id: str) -> Job:
        """One batch, in its current state."""
        return self.backend.retrieve(batch_id)

    def list(self, limit: int | None = 100) -> list[Job]:
        """The newest batches of this key."""
        return [*self.backend.list_jobs(limit)]

    def cancel(self, batch_id: str) -> None:
        """Request the provider to cancel a batch."""
        self.backend.cancel(batch_id)

    def download(self, file_id: str, path: str | Path | BinaryIO | None = None) -> Iterator[bytes] | int:
        """A file's content, streamed.

        :param path: a local path, where the file appears whole or not at all, or an open binary stream to write to;
            None gives an iterator of chunks.
        :return: chunks, or the number of bytes written.
        """
        chunks = self.backend.download(file_id)
        if path is None:
            return chunks
        if isinstance(path, (str, Path)):
            from airflow_batch_provider.run.local_files import whole_file

            with whole_file(Path(path)) as out:
                return self.download(file_id, out)
        written = 0
        for chunk in chunks:
            path.write(chunk)
            written += len(chunk)
        return written

    def delete(self, file_id: str) -> None:
        """Delete an uploaded or output file."""
        self.backend.delete(file_id)


async def _connection(conn_id: str) -> Any:
    """A connection, read in a coroutine."""
    from airflow.sdk.execution_time import task_runner

    # The supervisor of ``airflow dags test`` cannot be asked in a coroutine (Airflow 3.3.2): every connection in the
    # database would seem to be missing.
    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    if comms is not None and not hasattr(comms, "asend"):
        return await asyncio.to_thread(BaseHook.get_connection, conn_id)
    return await BaseHook.aget_connection(conn_id)


def hook_class(conn_id: str, conn_type: str | None) -> type[BatchInferenceHook]:
    """The hook of a connection type.

    :raises ConfigurationError: when it is not one of ours.
    """
    known = connection_types()
    row = known.get(conn_type or "")
    if row is None:
        raise ConfigurationError(
            f"Connection {conn_id!r} has type {conn_type!r}; batch inference takes {', '.join(known)}"
        )
    module, _, name = row.hook_path.rpartition(".")
    found: type[BatchInferenceHook] = getattr(importlib.import_module(module), name)
    return found


def password(connection: Any) -> str:
    """The connection's key, without the white space that pasting leaves around it."""
    return (connection.password or "").strip()


def base_url(connection: Any, default: str = "", scheme: str = "https") -> str:
    """The connection's host as a URL: a scheme is added where there is none, a port where it is a field of its own, and
    the path that Airflow puts into ``schema`` when a connection is written as a URI."""
    host = (connection.host or "").strip().rstrip("/")
    if not host:
        return default
    schema = (connection.schema or "").strip("/")
    if "://" not in host:
        host = f"{schema if schema in _SCHEMES else scheme}://{host}"
    scheme, _, rest = host.partition("://")
    netloc, _, path = rest.partition("/")
    if not path and schema not in _SCHEMES:
        path = schema
    if connection.port and ":" not in netloc.rpartition("]")[2]:
        netloc = f"{netloc}:{connection.port}"
    return f"{scheme}://{netloc}/{path}".rstrip("/")
