"""What all jobs of a run came to: ``results/``, ``failed.jsonl``, the summary, and which rows are sent again."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import orjson

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.answers import fault_of
from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.jsonl import load_exactly
from airflow_batch_provider.core.reconciling import (
    LOST_CODES,
    OVER_QUOTA,
    check_equation,
)
from airflow_batch_provider.core.records import (
    JSON,
    OUTCOMES,
    QUALITIES,
    BatchResult,
    Outcome,
    Quality,
    Refusal,
    RunOptions,
    Shard,
)
from airflow_batch_provider.core.summary import RunSummary
from airflow_batch_provider.dialects.openai import error_line, read_line
from airflow_batch_provider.run import shard_files
from airflow_batch_provider.run.attempts import Round, newest
from airflow_batch_provider.run.budget import cost_of, cost_range, total_cost, why_unknown
from airflow_batch_provider.run.facts import RunRecord
from airflow_batch_provider.run.latest import Aside, aside, latest_results
from airflow_batch_provider.run.storage import RunDirectory

Wanted: TypeAlias = "Callable[[BatchResult], bool]"
"""Whether a row is to be asked again."""


@contextlib.contextmanager
def remainder(
    directory: RunDirectory,
    rounds: Sequence[Sequence[Shard]],
    wanted: Wanted,
    passed_over: Collection[str] = (),
) -> Iterator[Aside]:
    """The requests whose last result is such that they should be sent again.

    :param passed_over: shards of which no row is wanted.
    """
    with aside() as found:
        for shard, latest in latest_results(directory, rounds, Counter(), passed_over=passed_over):
            for raw, result in latest:
                if wanted(result):
                    found.write(shard.round, raw())
        yield found


def answered(rounds: Sequence[Round]) -> set[str]:
    """The shards of which every row succeeded."""
    ends = ((shard, last.end) for shard, last in newest(rounds) if last is not None)
    return {shard.name for shard, end in ends if end is not None and end.outcomes.get("succeeded", 0) == shard.rows}


def helps_now(result: BatchResult) -> bool:
    """Whether the next round of the same try should send the row again."""
    return result.retryable


def did_not_fit(result: BatchResult) -> bool:
    """Whether the row did not run, because the provider's queue was full."""
    return result.outcome != "succeeded" and _error(result).get("code") == OVER_QUOTA


def helps_next_try(result: BatchResult) -> bool:
    """Whether a new try should send the row again."""
    return result.refusal is not None and result.refusal.helped_by_try


def was_lost(result: BatchResult) -> bool:
    """Whether the row's job, or its answer, is gone at the provider."""
    return result.outcome != "succeeded" and _error(result).get("code") in LOST_CODES


def is_open(directory: RunDirectory, shard: Shard) -> bool:
    """Whether a collected shard has a row that a new try would send again."""
    return any(helps_next_try(result) for result in shard_files.results(directory, shard))


def wanted(options: RunOptions, helps: Wanted) -> Wanted:
    """The rows that may be sent again.

    :param helps: whether it helps one.
    :return: those, and what is lost where the author allows for paying it twice.
    """
    if options.on_lost_job == "fail":
        return helps
    return lambda result: helps(result) or was_lost(result)


def _error(result: BatchResult) -> dict[str, object]:
    """Code and message of a row that did not succeed, and the HTTP status where there was one."""
    code, message = fault_of(result.data)
    error: dict[str, object] = {"code": code, "message": message}
    response = result.data.get("response")
    return error if response is None else {**error, "status_code": response.get("status_code")}


@dataclass(slots=True)
class Totals:
    """What all rows of a run became, and the first reasons why some did not succeed."""

    rows: int = 0
    retryable: int = 0
    withdrawn: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    answers: Counter[Quality] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def counts(self) -> dict[Outcome, int]:
        """Every outcome, also those that did not happen."""
        return {name: self.outcomes[name] for name in OUTCOMES}


def write_results(
    directory: RunDirectory,
    rounds: Sequence[Sequence[Shard]],
    min_rows: int,
    lines: Callable[[Shard, bytes], int],
    helps: Wanted,
    pending: Mapping[str, str] = MappingProxyType({}),
) -> Totals:
    """Write ``results/`` and ``failed.jsonl`` from what was collected; every custom_id ends up in exactly one part.

    :param helps: whether a new try would send a row again.
    :param pending: shards that are not collected yet, and what is to be said of their rows.
    :param min_rows: the fewest requests that the provider takes in a job; what is left of a model below that ends as
        ``below_minimum``, because it cannot be sent again.
    :param lines: how many wire lines, which the provider counts, a request of a shard is.
    """
    totals, left = _write(directory, rounds, helps, pending, {}, None if pending or min_rows <= 1 else lines)
    few = {asked: _below_minimum_of(count, min_rows) for asked, count in left.items() if 0 < count < min_rows}
    if few:
        totals, _ = _write(directory, rounds, helps, pending, few, None)
    check_equation(totals.rows, totals.outcomes)
    return totals


_Asked: TypeAlias = "tuple[str | None, str, int]"
"""What a shard asks: model, endpoint and variant."""


def _write(
    directory: RunDirectory,
    rounds: Sequence[Sequence[Shard]],
    helps: Wanted,
    pending: Mapping[str, str],
    few: Mapping[_Asked, str],
    lines: Callable[[Shard, bytes], int] | None,
) -> tuple[Totals, Counter[_Asked]]:
    """As :func:`write_results`.

    :param few: what is left of too few rows to be sent again, and why each of them is not.
    :param lines: None where it is of no interest how many wire lines are left.
    :return: also how many wire lines of each model could be sent again.
    """
    totals = Totals(rows=sum(shard.rows for shard in rounds[0]))
    left: Counter[_Asked] = Counter()
    asked_again: Counter[str] = Counter()
    held = {*directory.names("results")}
    with directory.together(), aside() as failed:
        for shard, latest in latest_results(directory, rounds, asked_again, pending=pending):
            asked = (shard.model, shard.endpoint, shard.variant)
            name = f"part-{shard.name}.jsonl"
            first = next(latest, None)
            if first is None and name not in held:
                continue  # every row was sent again
            with directory.writer(f"results/{name}") as out:
                for raw, last in itertools.chain([first] if first else [], latest):
                    result = _below_minimum(last, few[asked]) if asked in few and helps(last) else last
                    totals.outcomes[result.outcome] += 1
                    totals.answers.update(result.qualities)
                    out.write(result.line + b"\n")
                    if result.outcome != "succeeded":
                        request, open_again = raw(), helps(result)
                        left[asked] += lines(shard, request) if open_again and lines else 0
                        totals.retryable += open_again
                        totals.withdrawn += result.refusal is Refusal.WITHDRAWN
                        error = {"outcome": result.outcome, **_error(result)}
                        failed.write(shard.round, request, orjson.dumps(error))
        _write_failed(directory, failed, asked_again, totals)
    return totals, left


def _write_failed(directory: RunDirectory, failed: Aside, asked_again: Counter[str], totals: Totals) -> None:
    """Write ``failed.jsonl``, the first round first, and count the reasons.

    :param failed: each request, and after it its error.
    """
    with directory.writer("failed.jsonl") as out:
        lines = failed.lines()
        for raw, told in zip(lines, lines, strict=True):
            request, error = load_exactly(raw), orjson.loads(told)
            totals.reasons[f"{error.get('code') or error.get('status_code')}: {error.get('message')}"[:300]] += 1
            error["attempts"] = 1 + asked_again[str(request["custom_id"])]
            out.write(orjson.dumps({**request, "error": error}) + b"\n")


def _below_minimum_of(left: int, min_rows: int) -> str:
    return (
        f"Open rows of this model: {left:,}. The provider requires at least {min_rows:,} in a job; run them "
        "together with others. Before: "
    )


def _below_minimum(result: BatchResult, why: str) -> BatchResult:
    before = _error(result)
    reason = f"{why}{before.get('message')} [{before.get('code') or before.get('status_code')}]"
    return read_line(error_line(str(result.custom_id), "below_minimum", reason))


def summarise(
    directory: RunDirectory,
    backend: Backend,
    rounds: Sequence[Round],
    record: RunRecord,
    now: float,
    *,
    ours: bool,
    stopped: str | None = None,
    helps: Wanted = helps_next_try,
    pending: Mapping[str, str] = MappingProxyType({}),
) -> RunSummary:
    """Write results and failed requests, and say what became of the run.

    :param record: ``run.json``.
    :param ours: False for a job that was created outside Airflow, whose rows are never sent again.
    :param stopped: why rows were given up, None where none was.
    :param helps: whether a new try would send a row again.
    :param pending: shards that are not collected yet, and what is to be said of their rows.
    """
    shards = [a_round.shards for a_round in rounds]
    totals = write_results(
        directory,
        shards,
        backend.limits.min_rows if ours else 1,
        lambda shard, raw: len(backend.line_format(shard.model, shard.endpoint).split(orjson.loads(raw)["body"])),
        helps,
        pending,
    )
    jobs: list[JSON] = []
    job_errors: list[str] = []
    by_round: list[JSON] = []
    usage = Usage()
    for a_round in rounds:
        made, used = _jobs_of(a_round, backend)
        jobs += made
        usage += used
        by_round.append(
            {
                "round": a_round.number,
                "jobs": len(made),
                "rows": sum(shard.rows for shard in a_round.shards),
                "succeeded": sum(job["succeeded"] for job in made),
                "input_tokens": used.input_tokens,
                "output_tokens": used.output_tokens,
                "cost_usd": total_cost(job["cost_usd"] for job in made),
            }
        )
        for attempts in a_round.attempts.values():
            if attempts and (end := attempts[-1].end) is not None:
                job_errors += [f"{end.job_id or 'no job'}: {error}" for error in end.errors]
    return RunSummary(
        run_key=record.run_key,
        run_path=directory.uri,
        total=totals.rows,
        outcomes=totals.counts(),
        retryable=totals.retryable,
        rounds=len(rounds),
        usage=usage,
        cost_usd=total_cost(job["cost_usd"] for job in jobs),
        cost_unknown="; ".join(dict.fromkeys(job["cost_unknown"] for job in jobs if job["cost_unknown"])) or None,
        reasons=dict(totals.reasons.most_common(20)),
        jobs=tuple(jobs),
        job_errors=tuple(job_errors[:100]),
        begun_at=record.begun_at,
        ended_at=now,
        by_round=tuple(by_round),
        stopped=stopped,
        withdrawn=totals.withdrawn,
        answers={name: totals.answers[name] for name in QUALITIES},
        surplus=tuple(
            one for a_round in rounds for one in _surplus_of(a_round, backend, record.expected_output_tokens)
        ),
        lost=tuple(_lost_of(rounds)),
        open=tuple(pending),
    )


def _lost_of(rounds: Sequence[Round]) -> Iterator[JSON]:
    for shard, last in newest(rounds):
        if last is not None and last.is_lost and (end := last.end) is not None:
            error = end.errors[-1]
            detail = {"code": error.code, "message": error.message}
            yield {"id": end.job_id, "shard": shard.name, "rows": end.lost, **detail}


def _jobs_of(a_round: Round, backend: Backend) -> tuple[list[JSON], Usage]:
    jobs: list[JSON] = []
    usage = Usage()
    for shard in a_round.shards:
        answered = 0
        for attempt in a_round.attempts.get(shard.name, []):
            if (end := attempt.end) is None or not end.job_id:
                continue
            usage += end.usage
            jobs.append(
                {
                    "id": end.job_id,
                    "shard": shard.name,
                    "model": shard.model,
                    "status": end.status,
                    "rows": shard.rows,
                    "succeeded": end.outcomes.get("succeeded", 0) - answered,
                    "cost_usd": cost_of(backend, shard, end),
                    "cost_unknown": why_unknown(backend, shard, end),
                    "console_url": attempt.console_url,
                }
            )
            if attempt.is_borrowed:
                jobs[-1]["borrowed"] = True
            answered = end.outcomes.get("succeeded", 0)
    return jobs, usage


def _surplus_of(a_round: Round, backend: Backend, expected_output_tokens: int | None) -> list[JSON]:
    """What may be billed beside the jobs of a round."""
    surplus: list[JSON] = []
    for shard in a_round.shards:
        most = cost_range(backend, [shard], expected_output_tokens)
        named = {"shard": shard.name, "most_usd": None if most is None else round(most.high, 9)}
        for attempt in a_round.attempts.get(shard.name, []):
            token = attempt.token or None
            for twin in attempt.twins:
                state = {"status": twin.status, "cancelled": twin.cancelled}
                surplus.append({"id": twin.job_id, "token": token, **named, **state})
            unknown = [*attempt.open_surplus, *([None] if attempt.may_live else [])]
            state = {"status": "unknown", "cancelled": False}
            surplus += [{"id": job_id, "token": token, **named, **state} for job_id in unknown]
    return surplus


_OPEN = (
    "Job {job_id} may still answer this request, and bill it; a new try of the task collects it. Do not send it again "
    "before."
)
_UNSENT = "No job of this request is known yet; a new try of the task sends it or finds its job."


def pending(rounds: Sequence[Round]) -> dict[str, str]:
    """Why rows have no answer yet in a run that an error stops, by shard; by a word for all where every shard ended."""
    reasons: dict[str, str] = {}
    for shard, last in newest(rounds):
        if last is None or last.end is None:
            job_id = last.job_id if last else None
            reasons[shard.name] = _OPEN.format(job_id=job_id) if job_id else _UNSENT
    return reasons or {"next round": _UNSENT}
