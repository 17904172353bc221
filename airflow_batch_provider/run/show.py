"""What a run directory shows: rounds, shards, jobs, and what happens next. Reads files only."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from airflow_batch_provider.core.counts import counted
from airflow_batch_provider.core.errors import RunConflictError
from airflow_batch_provider.core.records import JSON, Shard
from airflow_batch_provider.run.attempts import Attempt, Round
from airflow_batch_provider.run.budget import total_cost
from airflow_batch_provider.run.ledger import Ledger
from airflow_batch_provider.run.storage import RunDirectory


def describe(directory: RunDirectory, now: float) -> JSON:
    """A run as JSON.

    :param now: seconds since the epoch.
    :return: ``{"run_path", "run_key", "conn_id", "identity", "input_path", "rows", "deadline", "rounds": [{"number",
        "shards": [{"name", "rows", "bytes", "model", "endpoint", "creates", "job_id", "state", "status", "outcomes",
        "input_tokens", "output_tokens", "cost_usd", "console_url", "errors"}]}], "cost_usd", "summary",
        "next"}``; ``cost_usd`` is what the collected jobs cost so far, null where the price of one is unknown.
    :raises RunConflictError: when the directory holds no run.
    """
    ledger = Ledger(directory)
    record = ledger.run()
    if record is None:
        raise RunConflictError(f"There is no run in {directory.uri}: it has no run.json")
    rounds = ledger.rounds()
    summary = ledger.summary()
    deadline = ledger.tries().deadline
    so_far = total_cost(end.cost_usd for a_round in rounds for end in a_round.ends())
    return {
        "run_path": directory.uri,
        "run_key": record.run_key,
        "conn_id": record.conn_id,
        "identity": record.identity,
        "input_path": record.input_path,
        "rows": record.rows,
        "begun_at": record.begun_at,
        "deadline": deadline,
        "rounds": [
            {"number": a_round.number, "shards": [_shard(shard, a_round.last(shard)) for shard in a_round.shards]}
            for a_round in rounds
        ],
        "cost_usd": summary.cost_usd if summary else so_far,
        "summary": None if summary is None else asdict(summary),
        "next": _next(directory, rounds, deadline, ended=summary is not None, now=now),
    }


def _shard(shard: Shard, attempt: Attempt | None) -> JSON:
    shown: JSON = {
        "name": shard.name,
        "rows": shard.rows,
        "bytes": shard.size,
        "model": shard.model,
        "endpoint": shard.endpoint,
        "creates": attempt.number if attempt else 0,
        "job_id": attempt.job_id if attempt else None,
        "state": _state(attempt),
    }
    if attempt is None:
        return shown
    shown["console_url"] = attempt.console_url
    if attempt.refused is not None:
        shown["errors"] = [attempt.refused.error]
    if (end := attempt.end) is not None:
        shown |= {
            "status": end.status,
            "outcomes": {name: count for name, count in end.outcomes.items() if count},
            "input_tokens": end.usage.input_tokens,
            "output_tokens": end.usage.output_tokens,
            "cost_usd": end.cost_usd,
            "errors": [str(error) for error in end.errors],
        }
    return shown


def _state(attempt: Attempt | None) -> str:
    """How far the newest create of a shard got."""
    if attempt is None:
        return "not sent"
    if attempt.is_lost:
        return "lost"
    if attempt.end is not None:
        return "collected"
    if attempt.job_id is not None:
        return "being cancelled" if attempt.cancel else "running"
    return "refused" if attempt.refused else "answer lost"


def _next(directory: RunDirectory, rounds: Sequence[Round], deadline: float | None, *, ended: bool, now: float) -> str:
    if ended:
        return f"nothing, the run has ended; results are in {directory.uri}/results"
    if not rounds:
        return "the plan was never finished; the task's next try plans"
    states = [_state(rounds[-1].last(shard)) for shard in rounds[-1].shards]
    if "answer lost" in states:
        return "the provider is searched for the job whose create was not answered"
    open_states = [state for state in states if state not in ("collected", "lost")]
    if not open_states:
        return "the task collects, plans a further round or writes the results when it next runs"
    unsent = sum(state in ("not sent", "refused") for state in open_states)
    running = len(open_states) - unsent
    waits = [f"waiting for {counted(running, 'job')}"] if running else []
    waits += [f"{counted(unsent, 'shard')} not sent yet"] if unsent else []
    if deadline is not None:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(deadline))
        waits.append(f"the deadline {'was' if deadline <= now else 'is'} {when}")
    return "; ".join(waits)


def _outcomes(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def table(shown: JSON) -> str:
    """The same for reading, as :func:`describe` gives it."""
    lines = [f"{shown['run_path']}: {counted(shown['rows'], 'row')} by {shown['conn_id']}, run {shown['run_key']}"]
    cells = [("shard", "model", "rows", "creates", "job", "state", "became", "USD")]
    for a_round in shown["rounds"]:
        for shard in a_round["shards"]:
            became = _outcomes(shard.get("outcomes", {}))
            state = f"{shard['state']} ({shard['status']})" if "status" in shard else shard["state"]
            row = (shard["name"], shard["model"] or "-", f"{shard['rows']:,}", str(shard["creates"]))
            cost = shard.get("cost_usd")
            cells.append((*row, shard["job_id"] or "-", state, became, "" if cost is None else f"{cost:.4f}"))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines += ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    for a_round in shown["rounds"]:
        for shard in a_round["shards"]:
            lines += [f"{shard['name']}: {error}" for error in shard.get("errors", [])[:5]]
    if (summary := shown["summary"]) is not None:
        became = _outcomes(summary["outcomes"])
        usage = summary["usage"]
        tokens = f"{usage['input_tokens']:,} input and {usage['output_tokens']:,} output tokens"
        lines.append(f"total: {became or 'no rows'}; {tokens}")
    cost = "unknown" if shown["cost_usd"] is None else f"{shown['cost_usd']:.4f} USD"
    lines.append(f"cost{'' if summary else ' so far'}: {cost}")
    return "\n".join([*lines, f"next: {shown['next']}"])
