"""What a connection to Vertex AI can do, in plain words."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from airflow_batch_provider.backends.vertex.place import check_model, serves
from airflow_batch_provider.core.errors import AuthenticationError

if TYPE_CHECKING:
    from airflow_batch_provider.backends.vertex.backend import VertexBackend

_OBJECT = "airflow-batch-probe.txt"


def probe(backend: VertexBackend) -> str:
    """Write, read and list below the prefix, as a run does, and list one job.

    :return: what was seen; what the caller may not look at is "not checked".
    :raises BatchInferenceError: for what a run could not do without.
    """
    store, place = backend.store, backend.place
    uri = place.home + _OBJECT
    store.upload(uri, io.BytesIO(b"airflow-batch\n"))
    for _ in store.read(uri):
        pass
    # Without storage.objects.list no output is found.
    list(store.list(uri, most=1))
    said = [f"bucket {place.bucket} can be written, read and listed", _where(backend), _jobs(backend), _models(backend)]
    try:
        store.delete(uri)
    except AuthenticationError:
        said.append(f"deleting is not allowed, so {_OBJECT} stays (runs delete nothing)")
    return "; ".join(said)


def _where(backend: VertexBackend) -> str:
    place = backend.place
    try:
        location = backend.store.location(place.bucket)
    except AuthenticationError:
        return "its location was not checked (the caller may not look)"
    fits = "which serves" if serves(location, place.region) else "which does not serve"
    return f"it is in {location}, {fits} jobs in {place.region}"


def _jobs(backend: VertexBackend) -> str:
    try:
        seen = next(backend.list_jobs(limit=1), None)
    except AuthenticationError:
        return (
            "jobs were not checked (aiplatform.batchPredictionJobs.list is not allowed; a lost create cannot be found)"
        )
    return "jobs can be listed" if seen else "jobs can be listed, none was made yet"


def _models(backend: VertexBackend) -> str:
    named = list(dict.fromkeys(filter(None, (backend.models.default, *backend.models.mapping.values()))))
    for model in named:
        check_model(backend.place, model)
    return f"known as taking batches: {', '.join(named)}" if named else "no model is named, so none was checked"
