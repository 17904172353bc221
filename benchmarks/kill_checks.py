"""What must hold after a run that was killed: one job a shard and round, every row once, books that balance."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

TOKEN = re.compile(r"(?<![0-9A-Za-z])b[0-9a-f]{19}(?![0-9A-Za-z])")
"""The part of a create's token that is its own."""
ROUNDS = 2


def facts(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """``<shard>.<number>`` and what the ledger says of it."""
    suffix = f".{kind}.json"
    paths = sorted((folder / "ledger").glob(f"*{suffix}"))
    return {path.name.removesuffix(suffix): json.loads(path.read_bytes()) for path in paths}


def planned(folder: Path) -> list[list[str]]:
    """The names of each round's shards."""
    plans = sorted((folder / "ledger").glob("r*.plan.json"))
    return [
        [f"r{shard['round']}-{shard['index']:05d}" for shard in json.loads(path.read_bytes())["shards"]]
        for path in plans
    ]


def token_of(job: Any) -> str | None:
    """The token that a job at the provider carries."""
    found = set(TOKEN.findall(json.dumps(job)))
    return found.pop() if len(found) == 1 else None


def breaches(folder: Path, ids: Sequence[str], tokens: Sequence[str | None]) -> list[str]:
    """All that does not hold.

    :param ids: the rows that were asked.
    :param tokens: of each job that exists at the provider, the token it carries.
    """
    return [*_jobs(folder, tokens), *_rows(folder, ids), *_summary(folder, len(ids))]


def _jobs(folder: Path, tokens: Sequence[str | None]) -> Iterable[str]:
    rounds = planned(folder)
    if len(rounds) != ROUNDS:
        yield f"the run had {len(rounds)} rounds, not {ROUNDS}"
    shards = [shard for names in rounds for shard in names]
    if len(tokens) != len(shards):
        yield f"{len(tokens)} jobs exist, {len(shards)} were needed"
    names = {intent["token"].partition("-")[0]: name for name, intent in facts(folder, "intent").items()}
    made = Counter(names.get(token or "", f"a job of token {token}").rpartition(".")[0] for token in tokens)
    if made != Counter(shards):
        yield f"jobs by shard: {dict(made)}"
    jobs = facts(folder, "job")
    by_shard = Counter(name.rpartition(".")[0] for name in jobs)
    if by_shard != Counter(shards):
        yield f"jobs in the ledger by shard: {dict(by_shard)}"
    if len({job["job_id"] for job in jobs.values()}) != len(jobs):
        yield "the ledger names one job for two shards"


def _rows(folder: Path, ids: Sequence[str]) -> Iterable[str]:
    got: Counter[str] = Counter()
    for part in sorted((folder / "results").glob("part-*.jsonl")):
        got.update(json.loads(line)["custom_id"] for line in part.read_bytes().split(b"\n")[:-1])
    if got != Counter(ids):
        twice = [name for name, count in got.items() if count > 1][:5]
        yield f"{len(ids)} rows asked, {sum(got.values())} lines of {len(got)} ids answered; more than once: {twice}"


def _summary(folder: Path, rows: int) -> Iterable[str]:
    path = folder / "summary.json"
    if not path.is_file():
        yield "there is no summary"
        return
    summary = json.loads(path.read_bytes())
    if summary["total"] != rows or sum(summary["outcomes"].values()) != rows:
        yield f"the equation does not hold: {summary['total']} rows, {summary['outcomes']}, asked {rows}"
    if summary["outcomes"].get("succeeded") != rows:
        yield f"not all succeeded: {summary['outcomes']} {summary['reasons']} {summary['job_errors']}"
