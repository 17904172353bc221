"""What must hold after a run that was killed: nothing paid twice, every row once with its own answer, balanced books.

Jobs are told apart by their tokens, ``b...-c...``: the first part is the create's own, the second is what it asks. Two
jobs of one run that ask the same bytes are one too many, whoever forgot the first.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.kill_troubles import digest, prompt

TOKEN = re.compile(r"(?<![0-9A-Za-z])b[0-9a-f]{19}-c[0-9a-f]{15}(?![0-9A-Za-z])")
"""The whole token of a create."""
NAMED = re.compile(r"(?<![0-9A-Za-z])(?:b[0-9a-f]{19}-)?c[0-9a-f]{15}(?![0-9A-Za-z])")
"""By what an error names a create that may have been sent: its token, or what it asks where no more is known."""
STOPPED = re.compile(r"cancel|stop", re.IGNORECASE)


@dataclass(frozen=True)
class Made:
    """A job as the provider has it.

    :param token: whole; None where it bears none, or several.
    :param stopped: whether it was asked to stop.
    """

    token: str | None
    stopped: bool = False

    @property
    def own(self) -> str:
        return (self.token or "").partition("-")[0]

    @property
    def content(self) -> str:
        return (self.token or f"no token {id(self)}").partition("-")[2]


@dataclass(frozen=True)
class Expected:
    """What the provider was planned to do beside what it is asked, and what became of the directory.

    :param rounds: how many rounds the run needs.
    :param twins: second jobs that the provider made by itself.
    :param before: how many of the jobs were made before the directory was lost and the rows came in another order; what
        they ask is not asked any more.
    :param lost: whether some of the record was deleted, so that jobs of this directory may be known as another's.
    :param neighbour: the other directory of the same run key.
    """

    rounds: int = 2
    twins: int = 0
    before: int = 0
    lost: bool = False
    neighbour: Path | None = None


@dataclass
class Account:
    """One run, and all jobs that exist because of it and of its neighbour.

    :param ids: the rows that were asked.
    :param cancels: how often a job was asked to stop.
    """

    folder: Path
    ids: Sequence[str]
    jobs: Sequence[Made]
    cancels: int = 0
    expected: Expected = field(default_factory=Expected)

    def __post_init__(self) -> None:
        near = self.expected.neighbour
        self._theirs = [intent["token"] for intent in facts(near, "intent").values()] if near else []
        self.own_jobs = [job for job in self.jobs if job.token not in self._theirs]
        self.neighbours = [job for job in self.jobs if job.token in self._theirs]

    @property
    def needed(self) -> int:
        """How many jobs there must be, all told: one for each shard of each plan that is not another's job, one for
        each that was made of rows in another order, and those that the provider made by itself."""
        shards = len(_names(planned(self.folder)))
        near = self.expected.neighbour
        lent = len(self._borrowed()) if near else 0
        theirs = len(_names(planned(near))) if near else 0
        earlier = {job.content for job in self.own_jobs[: self.expected.before]}
        again = sum(content in earlier for content in self._contents().values())
        return shards - lent + theirs + len(earlier) - again + self.expected.twins

    def breaches(self) -> list[str]:
        """All that does not hold."""
        near = self.expected.neighbour
        wrong = [*self._jobs(), *self._each_shard(), *self._stopped(), *_rows(self.folder, self.ids)]
        wrong += _summary(self.folder, len(self.ids), self.expected.twins)
        if near is not None:
            wrong += [f"the neighbour: {told}" for told in (*_rows(near, self.ids), *_summary(near, len(self.ids), 0))]
        return wrong

    def _contents(self) -> dict[str, str]:
        """What the job of each shard asks, as its newest create says."""
        jobs = recorded_jobs(self.folder)
        return {
            name.rpartition(".")[0]: intent["token"].partition("-")[2]
            for name, intent in facts(self.folder, "intent").items()
            if name in jobs
        }

    def _borrowed(self) -> list[str]:
        return [name.rpartition(".")[0] for name, job in recorded_jobs(self.folder).items() if job.get("borrowed")]

    def _jobs(self) -> Iterable[str]:
        rounds = planned(self.folder)
        if len(rounds) != self.expected.rounds:
            yield f"the run had {len(rounds)} rounds, not {self.expected.rounds}"
        if len(self.jobs) != self.needed:
            yield f"{len(self.jobs)} jobs exist, {self.needed} were needed"
        asked = Counter(job.content for job in self.own_jobs)
        twice = {content: count for content, count in asked.items() if count > 1}
        if sum(twice.values()) - len(twice) != self.expected.twins:
            yield f"jobs of this run that ask the same: {twice}, second ones the provider made: {self.expected.twins}"
        known = {*self._contents().values(), *(job.content for job in self.own_jobs[: self.expected.before])}
        if strange := [job.token for job in self.own_jobs if job.content not in known]:
            yield f"jobs of no shard: {strange}"

    def _each_shard(self) -> Iterable[str]:
        """One job in the ledger for each, which asks what the shard asks, and is its own or may be read."""
        shards = Counter(_names(planned(self.folder)))
        jobs = recorded_jobs(self.folder)
        by_shard = Counter(name.rpartition(".")[0] for name in jobs)
        if by_shard != shards:
            yield f"jobs in the ledger by shard: {dict(by_shard)}, planned: {dict(shards)}"
        if len({job["job_id"] for job in jobs.values()}) != len(jobs):
            yield "the ledger names one job for two shards"
        exist = Counter(job.content for job in self.jobs)
        if missing := [shard for shard, content in self._contents().items() if not exist[content]]:
            yield f"no job at the provider asks what these ask: {missing}"
        if self._borrowed() and not (self.expected.lost or self.expected.neighbour):
            yield f"the jobs of {self._borrowed()} are taken for another directory's"
        intents = facts(self.folder, "intent")
        tokens = {job.token for job in self.jobs}
        mine = [name for name, job in jobs.items() if not job.get("borrowed") and intents[name]["token"] not in tokens]
        if mine and not self.expected.lost:
            yield f"jobs that are taken for our own and bear another token: {mine}"

    def _stopped(self) -> Iterable[str]:
        """No job is asked to stop but a second one."""
        if self.cancels and not self.expected.twins:
            yield f"{self.cancels} jobs were asked to stop, and none is a second one"
        alive = {job.token for job in self.jobs if not job.stopped}
        if stopped := [job.token for job in self.jobs if job.stopped and job.token not in alive]:
            yield f"jobs that were stopped, and no other has their token: {stopped}"


def facts(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """``<shard>.<number>`` and what the ledger says of it."""
    suffix = f".{kind}.json"
    paths = sorted((folder / "ledger").glob(f"*{suffix}"))
    return {path.name.removesuffix(suffix): json.loads(path.read_bytes()) for path in paths}


def recorded_jobs(folder: Path) -> dict[str, dict[str, Any]]:
    """``<shard>.<number>`` and what the ledger says of its job: in the record of its own, in the intent of one that was
    found, or, where these were deleted, in its end."""
    named = [facts(folder, kind).items() for kind in ("end", "job", "intent")]
    told: dict[str, dict[str, Any]] = {}
    for name, fact in (one for some in named for one in some):
        if fact.get("job_id"):
            told[name] = {**told.get(name, {}), **fact}
    return told


def planned(folder: Path) -> list[list[str]]:
    """The names of each round's shards."""
    plans = sorted((folder / "ledger").glob("r*.plan.json"))
    return [
        [f"r{shard['round']}-{shard['index']:05d}" for shard in json.loads(path.read_bytes())["shards"]]
        for path in plans
    ]


def _names(rounds: list[list[str]]) -> list[str]:
    return [shard for names in rounds for shard in names]


def token_of(job: Any) -> str | None:
    """The token that a job at the provider carries."""
    found = set(TOKEN.findall(json.dumps(job)))
    return found.pop() if len(found) == 1 else None


def _rows(folder: Path, ids: Sequence[str]) -> Iterable[str]:
    got: Counter[str] = Counter()
    strangers: list[str] = []
    for part in sorted((folder / "results").glob("part-*.jsonl")):
        for raw in part.read_bytes().split(b"\n")[:-1]:
            line = json.loads(raw)
            got[line["custom_id"]] += 1
            if _answer(line) != digest(prompt(line["custom_id"])):
                strangers.append(line["custom_id"])
    if got != Counter(ids):
        twice = [name for name, count in got.items() if count > 1][:5]
        yield f"{len(ids)} rows asked, {sum(got.values())} lines of {len(got)} ids answered; more than once: {twice}"
    if strangers:
        yield f"{len(strangers)} rows do not hold their own answer: {strangers[:5]}"


def _answer(line: Any) -> str | None:
    try:
        return str(line["response"]["body"]["choices"][0]["message"]["content"]).strip()
    except (KeyError, TypeError, IndexError):
        return None


def _summary(folder: Path, rows: int, twins: int) -> Iterable[str]:
    path = folder / "summary.json"
    if not path.is_file():
        yield "there is no summary"
        return
    summary = json.loads(path.read_bytes())
    if summary["total"] != rows or sum(summary["outcomes"].values()) != rows:
        yield f"the equation does not hold: {summary['total']} rows, {summary['outcomes']}, asked {rows}"
    if summary["outcomes"].get("succeeded") != rows:
        yield f"not all succeeded: {summary['outcomes']} {summary['reasons']} {summary['job_errors']}"
    # Those without an id are creates whose answer was lost for good and which a person had sent again.
    if sum(one["id"] is not None for one in summary["surplus"]) != twins:
        yield f"{twins} second jobs exist, the summary names {summary['surplus']}"
