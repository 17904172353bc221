"""What a connection can do in its bucket and with its jobs, in plain words."""

from __future__ import annotations

import builtins
import io
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol

from airflow_batch_provider.core.errors import AuthenticationError
from airflow_batch_provider.core.records import Job

_OBJECT = "airflow-batch-probe.txt"
_CONTENT = b"airflow-batch\n"
NOT_CHECKED = "not checked: no permission"


class _Store(Protocol):
    def read(self, uri: str) -> Iterator[bytes]: ...

    def list(self, uri: str, most: int | None = None) -> Iterator[str]: ...

    def delete(self, uri: str) -> None: ...


def probe_bucket(
    store: _Store,
    bucket: str,
    home: str,
    upload: Callable[[str, BinaryIO], None],
    facts: Iterable[Callable[[], str]],
) -> str:
    """Write, read and list below the prefix, as a run does; then say the other facts.

    :param home: the URI of the prefix.
    :param facts: what else is looked at, as sentences.
    :raises BatchInferenceError: for what a run could not do without.
    """
    uri = home + _OBJECT
    upload(uri, io.BytesIO(_CONTENT))
    for _ in store.read(uri):
        pass
    # Without the right to list, no output is found.
    builtins.list(store.list(uri, most=1))
    said = [f"bucket {bucket}: can be written, read and listed", *(fact() for fact in facts)]
    try:
        store.delete(uri)
    except AuthenticationError:
        said.append(f"{_OBJECT}: left in the bucket, no permission to delete; runs do not need it")
    return "; ".join(said)


def probe_jobs(list_jobs: Callable[[], Iterator[Job]], permission: str) -> str:
    """Whether jobs can be listed, which is how a lost create is found.

    :param permission: what the provider calls it.
    """
    try:
        seen = next(list_jobs(), None)
    except AuthenticationError:
        return f"jobs {NOT_CHECKED} ({permission}); a create whose answer is lost could not be found"
    return "jobs can be listed" if seen else "jobs can be listed; there are none yet"
