"""What a connection to Bedrock can do, in plain words."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from airflow_batch_provider.core.errors import AuthenticationError

if TYPE_CHECKING:
    from airflow_batch_provider.backends.bedrock.backend import BedrockBackend

_OBJECT = "airflow-batch-probe.txt"
_CONTENT = b"airflow-batch\n"


def probe(backend: BedrockBackend) -> str:
    """Write, read and list below the prefix, as a run does, and list one job.

    :return: what was seen; what the caller may not look at is "not checked".
    :raises BatchInferenceError: for what a run could not do without.
    """
    store, place = backend.store, backend.place
    uri = place.home + _OBJECT
    store.upload(uri, io.BytesIO(_CONTENT), place.kms_key_id)
    for _ in store.read(uri):
        pass
    # Without s3:ListBucket no output is found.
    list(store.list(uri, most=1))
    said = [f"bucket {place.bucket} can be written, read and listed", _region(backend), _role(place.role_arn)]
    said.append(_jobs(backend))
    try:
        store.delete(uri)
    except AuthenticationError:
        said.append(f"deleting is not allowed, so {_OBJECT} stays (runs delete nothing)")
    return "; ".join(said)


def _region(backend: BedrockBackend) -> str:
    region = backend.store.region(backend.place.bucket)
    if region is None:
        return "its region was not checked (the caller may not look)"
    return (
        f"it is in {region}, as the jobs are"
        if region == backend.place.region
        else f"it is in {region}, the jobs are not"
    )


def _role(role_arn: str) -> str:
    return f"{role_arn} is well-formed; what it may do was not checked" if role_arn else "there is no role_arn"


def _jobs(backend: BedrockBackend) -> str:
    try:
        seen = next(backend.list_jobs(limit=1), None)
    except AuthenticationError:
        return (
            "jobs were not checked (bedrock:ListModelInvocationJobs is not allowed; a lost create could not be found)"
        )
    return "jobs can be listed" if seen else "jobs can be listed, none was made yet"
