"""Who a run is, what it sends, and by which names it can be found again at a provider."""

from __future__ import annotations

import hashlib
import re
import secrets

import orjson

from airflow_batch_provider.core.records import BatchRequest, Shard

_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


def run_key(dag_id: str, task_id: str, run_id: str, map_index: int) -> str:
    """The identity of an author's run. The try number is not part of it: a retry is the same run.

    Unambiguous, since Airflow allows ``/`` in none of the parts.
    """
    return f"{dag_id}/{task_id}/{run_id}/{map_index}"


class Fingerprint:
    """An order-independent digest of what will be sent.

    The digests of the single requests are added up, so a file whose lines were only reordered, or whose JSON was only
    formatted anew, is the same input.
    """

    def __init__(self) -> None:
        self._sum = 0
        self._rows = 0

    def add(self, request: BatchRequest) -> None:
        """Take one request in: its id, endpoint, resolved model and body."""
        body = {**request.body, "model": request.model}
        sent = orjson.dumps([request.custom_id, request.endpoint, body], option=orjson.OPT_SORT_KEYS)
        self._sum += int.from_bytes(hashlib.blake2b(sent, digest_size=16).digest(), "big")
        self._rows += 1

    def hexdigest(self) -> str:
        """The fingerprint of all that was added."""
        text = f"{self._rows}:{self._sum % (1 << 128):032x}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def new_directory_id() -> str:
    """The random id of a run directory, which no other has."""
    return secrets.token_hex(16)


def own_part(directory_id: str, shard: Shard, digest: str, create_no: int) -> str:
    """What proves that a job was made by this directory, for these bytes, by this create: 20 letters and digits.

    :param digest: of the wire file, as it is sent.
    :param create_no: 1 for the first create of the shard, counted up where a create is known not to have happened.
    """
    return _part("b", 19, directory_id, digest, *_sent(shard), str(create_no))


def content_part(run_key: str, shard: Shard, digest: str) -> str:
    """What a job sends, whichever directory of this run made it: 16 letters and digits. Model and endpoint are in it,
    because clouds name them in the job and not in the lines."""
    return _part("c", 15, run_key, digest, *_sent(shard))


def make_token(own: str, content: str) -> str:
    """The name of one create: letters, digits and one hyphen, at most 37 characters, begins with a letter, so that
    with a readable stem it fits Bedrock's job names and Google's labels (63 each)."""
    return f"{own}-{content}"


def own_of(token: str) -> str:
    """The first part of a token; all of one that an earlier version wrote."""
    return token.partition("-")[0]


def content_of(token: str) -> str:
    """The second part of a token; empty for one that an earlier version wrote."""
    return token.partition("-")[2]


def _sent(shard: Shard) -> tuple[str, str, str]:
    return shard.name, shard.model or "", shard.endpoint


def _part(letter: str, length: int, *texts: str) -> str:
    return letter + hashlib.sha256("\0".join(texts).encode()).hexdigest()[:length]


def safe_name(text: str, length: int) -> str:
    """A readable name of letters, digits and single hyphens, at most ``length`` long, for any provider."""
    return _UNSAFE.sub("-", text).strip("-")[:length].strip("-") or "batch"
