"""Where a run directory lies: one that was moved goes on, one that was copied does not while the first is there.

Two directories with one id would each take the other's jobs for its own, send the same rows and cancel each other's
jobs. So ``run.json`` holds the place where the run was begun, and ``place.json`` that to which it was moved since.
"""

from __future__ import annotations

import secrets

from airflow_batch_provider.core.errors import BatchInferenceError, RunConflictError
from airflow_batch_provider.run.facts import RunRecord
from airflow_batch_provider.run.reading import Logger
from airflow_batch_provider.run.storage import RunDirectory

_PLACE = "place.json"


def is_elsewhere(directory: RunDirectory, record: RunRecord) -> bool:
    """Whether the run was begun at another place.

    :param record: ``run.json``; one of an earlier version does not say.
    """
    return record.uri is not None and record.uri != directory.uri


def settle(directory: RunDirectory, record: RunRecord, log: Logger) -> None:
    """Take the run for moved here, where it was begun elsewhere.

    :raises RunConflictError: when it is at the other place still, so that this is a copy.
    """
    if not is_elsewhere(directory, record):
        return
    moved = directory.read_json(_PLACE)
    before = str(record.uri if moved is None else moved["uri"])
    if before == directory.uri:
        return
    try:
        is_copy = _is_there(before, directory, record)
    except (BatchInferenceError, OSError) as error:
        log.warning("%s cannot be read, so this run is taken to be moved from there: %s", before, error)
        is_copy = False
    if is_copy:
        raise RunConflictError(
            f"{directory.uri} is a copy of {before}, which is still there: both would take the same jobs for their "
            f"own. Nothing was sent or cancelled. Set output_path back, or, to go on here, delete {before}."
        )
    directory.write_json(_PLACE, {"uri": directory.uri})


def _is_there(before: str, directory: RunDirectory, record: RunRecord) -> bool:
    """Whether the same run is at another place that is not this directory by another name: there, a file that is
    written here shows."""
    other = RunDirectory(before)
    found = other.read_json("run.json")
    if found is None or found.get("id") != record.id:
        return False
    probe = f"probe-{secrets.token_hex(8)}.json"
    directory.write_json(probe, {})
    try:
        return other.read(probe) is None
    finally:
        directory.remove(probe)
