"""What else goes wrong in a run that is killed: one trouble a run, each dealt out as often as every other."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import CHAT, Reply
from airflow_batch_provider.local.engines.echo import EchoEngine

Loss = Literal["", "ledger", "shard", "jobs", "directory"]
"""What is deleted between two attempts."""


@dataclass(frozen=True)
class Trouble:
    """One kind.

    :param plan: fields of the fault plan, drawn anew for each run.
    :param loses: what is deleted of the directory once some jobs exist, while nobody works in it.
    :param turns: whether the input's rows come in another order after that.
    :param neighbour: another directory of the same run key on the same account, with the same rows or with the same in
        another order.
    """

    plan: Mapping[str, Callable[[random.Random], Any]] = field(default_factory=dict)
    loses: Loss = ""
    turns: bool = False
    neighbour: Literal["", "same", "turned"] = ""

    @property
    def is_alone(self) -> bool:
        """Whether one process at a time works on the run: what is deleted is deleted while nobody does."""
        return bool(self.loses)

    @property
    def for_all_jobs(self) -> bool:
        """Whether every job expires, because which job is the first one is not known before."""
        return self.turns or bool(self.neighbour) or "create_twice" in self.plan


TROUBLES: dict[str, Trouble] = {
    "none": Trouble(),
    "late output": Trouble({"late_output": lambda rng: rng.randint(1, 4)}),
    "doubled list": Trouble({"double_list": lambda _: True}),
    "neighbour": Trouble(neighbour="same"),
    "look-alike": Trouble(neighbour="turned"),
    "429 after accept": Trouble(
        {"accepted_status": lambda rng: [rng.choice([429, 429, 425, 503])] * rng.randint(1, 2)}
    ),
    "second job": Trouble({"create_twice": lambda rng: rng.randint(1, 2)}),
    "clock ahead": Trouble({"clock_ahead": lambda rng: rng.choice([600.0, 86_400.0, -3_600.0])}),
    "ledger gone": Trouble(loses="ledger"),
    "a shard's facts gone": Trouble(loses="shard"),
    "jobs' records gone": Trouble(loses="jobs"),
    "directory gone": Trouble(loses="directory"),
    "rows turned": Trouble(loses="directory", turns=True),
}


def dealt(number: int, offset: int) -> str:
    """The trouble of a route's n-th run; neighbouring routes begin at different ones."""
    names = list(TROUBLES)
    return names[(number + offset) % len(names)]


def lose(folder: Path, what: Loss, rng: random.Random) -> list[str]:
    """Delete this of a run directory.

    :return: the files that were deleted.
    """
    ledger = folder / "ledger"
    if what == "directory":
        gone = [path for path in folder.rglob("*") if path.is_file()]
        shutil.rmtree(folder)
        return [str(path.relative_to(folder)) for path in gone]
    if what == "shard":
        shards = sorted({path.name.partition(".")[0] for path in ledger.glob("r*-*.json")})
        pattern = f"{rng.choice(shards)}.*" if shards else "none"
    else:
        pattern = {"ledger": "*", "jobs": "*.job.json"}[what]
    gone = [path for path in ledger.glob(pattern) if path.is_file()]
    for path in gone:
        path.unlink()
    return [path.name for path in gone]


# ---- what is asked and answered ------------------------------------------------------------------------------------


def prompt(custom_id: str) -> str:
    """What a row asks."""
    return f"say {custom_id.removeprefix('row-')}"


def digest(text: str) -> str:
    """What it is answered: nobody can tell it who has not read the prompt."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:20]


class Digests(EchoEngine):
    """Answers with the digest of the prompt."""

    @override
    async def answer(self, endpoint: str, body: JSON) -> Reply:
        reply = await super().answer(endpoint, body)
        if endpoint == CHAT and reply.ok:
            message = reply.body["choices"][0]["message"]
            message["content"] = digest(message["content"])
        return reply
