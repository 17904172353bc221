"""What all jobs of a run came to: ``results/``, ``failed.jsonl``, the summary, and which rows are sent again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    NOT_COLLECTED,
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
from airflow_batch_provider.run.storage import RunDirectory

Wanted: TypeAlias = "Callable[[BatchResult], bool]"
"""Whether a row is to be asked again."""


def rows(directory: RunDirectory, shard: Shard) -> Iterator[tuple[bytes, BatchResult]]:
    """Every request of a collected shard with its result, in order."""
    requests, results = shard_files.requests(directory, shard), shard_files.results(directory, shard)
    for (_, raw), result in zip(requests, results, strict=True):
        yield raw, result


def current(
    directory: RunDirectory, rounds: Sequence[Sequence[Shard]], pending: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[Shard, Iterator[tuple[bytes, BatchResult]]]]:
    """Every shard with those of its rows for which it has the last word; over all shards every row comes once.

    A row's last round speaks for it, because a row is only sent again when it had no answer.

    :param pending: shards that are not collected yet, and what is to be said of their rows.
    """
    for number, shards in enumerate(rounds):
        later = _ids(directory, rounds[number + 1 :])
        for shard in shards:
            reason = pending.get(shard.name)
            found = rows(directory, shard) if reason is None else _pending_rows(directory, shard, reason)
            yield shard, (row for row in found if row[1].custom_id not in later)


def _pending_rows(directory: RunDirectory, shard: Shard, reason: str) -> Iterator[tuple[bytes, BatchResult]]:
    for custom_id, raw in shard_files.requests(directory, shard):
        yield raw, read_line(error_line(custom_id, NOT_COLLECTED, reason))


def remainder(
    directory: RunDirectory, rounds: Sequence[Sequence[Shard]], wanted: Callable[[BatchResult], bool]
) -> Iterator[bytes]:
    """The requests whose last result is such that they should be sent again."""
    for _, last_words in current(directory, rounds):
        for raw, result in last_words:
            if wanted(result):
                yield raw


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
    totals = Totals(rows=sum(shard.rows for shard in rounds[0]))
    few = {} if pending else _too_few(directory, rounds, min_rows, lines, helps)
    asked_again = Counter(custom_id for shards in rounds[1:] for custom_id in _listed(directory, shards))
    with directory.writer("failed.jsonl") as failed:
        for shard, last_words in current(directory, rounds, pending):
            with directory.writer(f"results/part-{shard.name}.jsonl") as out:
                for raw, last in last_words:
                    left = few.get((shard.model, shard.endpoint, shard.variant)) if helps(last) else None
                    result = last if left is None else _below_minimum(last, left, min_rows)
                    totals.outcomes[result.outcome] += 1
                    totals.answers.update(result.qualities)
                    out.write(result.line + b"\n")
                    if result.outcome != "succeeded":
                        totals.retryable += helps(result)
                        totals.withdrawn += result.refusal is Refusal.WITHDRAWN
                        attempts = 1 + asked_again[str(result.custom_id)]
                        failed.write(_failed(raw, result, totals, attempts) + b"\n")
    check_equation(totals.rows, totals.outcomes)
    return totals


def _too_few(
    directory: RunDirectory,
    rounds: Sequence[Sequence[Shard]],
    min_rows: int,
    lines: Callable[[Shard, bytes], int],
    helps: Wanted,
) -> dict[tuple[str | None, str, int], int]:
    """The models whose open rows are fewer wire lines than a job may have, with the number of lines."""
    if min_rows <= 1:
        return {}
    left: Counter[tuple[str | None, str, int]] = Counter()
    for shard, last_words in current(directory, rounds):
        left[shard.model, shard.endpoint, shard.variant] += sum(
            lines(shard, raw) for raw, result in last_words if helps(result)
        )
    return {asked: rows for asked, rows in left.items() if 0 < rows < min_rows}


def _below_minimum(result: BatchResult, left: int, min_rows: int) -> BatchResult:
    before = _error(result)
    reason = (
        f"Open rows of this model: {left:,}. The provider requires at least {min_rows:,} in a job; run them "
        f"together with others. Before: {before.get('message')} [{before.get('code') or before.get('status_code')}]"
    )
    return read_line(error_line(str(result.custom_id), "below_minimum", reason))


def _failed(raw: bytes, result: BatchResult, totals: Totals, attempts: int) -> bytes:
    error = {"outcome": result.outcome, **_error(result), "attempts": attempts}
    totals.reasons[f"{error.get('code') or error.get('status_code')}: {error.get('message')}"[:300]] += 1
    return orjson.dumps({**load_exactly(raw), "error": error})


def _ids(directory: RunDirectory, rounds: Sequence[Sequence[Shard]]) -> set[str]:
    return {custom_id for shards in rounds for custom_id in _listed(directory, shards)}


def _listed(directory: RunDirectory, shards: Sequence[Shard]) -> Iterator[str]:
    for shard in shards:
        for custom_id, _ in shard_files.requests(directory, shard):
            yield custom_id


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
