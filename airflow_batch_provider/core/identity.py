"""Who a run is, what it asks, and by which names it can be found again at a provider."""

from __future__ import annotations

import hashlib
import re

import orjson

from airflow_batch_provider.core.records import BatchRequest

_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


def run_key(dag_id: str, task_id: str, run_id: str, map_index: int) -> str:
    """The identity of an author's run. The try number is not part of it: a retry is the same run.

    Unambiguous, since Airflow allows ``/`` in none of the parts.
    """
    return f"{dag_id}/{task_id}/{run_id}/{map_index}"


class Fingerprint:
    """An order-independent digest of what will be asked.

    The digests of the single requests are added up, so a file whose lines were only reordered, or whose JSON was only
    formatted anew, is the same input.
    """

    def __init__(self) -> None:
        self._sum = 0
        self._rows = 0

    def add(self, request: BatchRequest) -> None:
        """Take one request in: its id, endpoint, resolved model and body."""
        body = {**request.body, "model": request.model}
        asked = orjson.dumps([request.custom_id, request.endpoint, body], option=orjson.OPT_SORT_KEYS)
        self._sum += int.from_bytes(hashlib.blake2b(asked, digest_size=16).digest(), "big")
        self._rows += 1

    def hexdigest(self) -> str:
        """The fingerprint of all that was added."""
        text = f"{self._rows}:{self._sum % (1 << 128):032x}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def shard_token(key: str, fingerprint: str, shard_name: str, create_no: int) -> str:
    """The name of one create, computable without the ledger; letters and digits, begins with a letter.

    :param shard_name: holds round and shard (``r0-00000``).
    :param create_no: 1 for the first create of the shard, counted up where a create is known not to have happened.
    """
    text = "\0".join((key, fingerprint, shard_name, str(create_no)))
    return "b" + hashlib.sha256(text.encode()).hexdigest()[:23]


def safe_name(text: str, length: int) -> str:
    """A readable name of letters, digits and single hyphens, at most ``length`` long, for any provider."""
    return _UNSAFE.sub("-", text).strip("-")[:length].strip("-") or "batch"
