"""What a file would become, before anything is sent: jobs, waves, tokens, cost. No call to the provider, no write."""

from __future__ import annotations

from dataclasses import dataclass, replace

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.admission import waves
from airflow_batch_provider.core.estimating import LOW_SHARE
from airflow_batch_provider.core.planning import plan_shards
from airflow_batch_provider.core.records import JSON, RunOptions, Shard
from airflow_batch_provider.core.validation import Rules
from airflow_batch_provider.run import staging
from airflow_batch_provider.run.budget import CostRange, cost_range, why_open


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs that a file would become.

    :param waves: shard names in the order they are sent, a wave after the other.
    :param unknown: why the cost is unknown, and what to do; None where it is known.
    :param cost: of all rows sent once; None where a price, or the length of an answer, is unknown.
    """

    path: str
    rows: int
    shards: tuple[Shard, ...]
    waves: tuple[tuple[str, ...], ...]
    cost: CostRange | None
    unknown: str | None
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, path: str, backend: Backend, options: RunOptions) -> Plan:
        """Check a file and plan it.

        :raises InputError: with every problem of the file.
        """
        models = replace(backend.models, override=options.model or None)
        rules = Rules(models, backend.limits, options.endpoint or None)
        report = staging.inspect(path, staging.file_source(path), rules, backend)
        report.raise_for_problems()
        allowed = staging.admission_of(backend, options)
        shards = plan_shards(path, report.groups, backend.limits, 0, allowed)
        return cls(
            path=path,
            rows=report.rows,
            shards=tuple(shards),
            waves=tuple(tuple(shard.name for shard in wave) for wave in waves(shards, allowed)),
            cost=cost_range(backend, shards, options.expected_output_tokens),
            unknown=why_open(backend, shards, options.expected_output_tokens),
            warnings=tuple(report.warnings),
        )

    @property
    def input_tokens(self) -> tuple[int, int]:
        """Between which the input tokens are expected; the upper end is one that is never exceeded."""
        low = sum(shard.tokens for shard in self.shards) * LOW_SHARE
        most = sum((shard.most_tokens or 0) + shard.sound_tokens for shard in self.shards)
        return min(int(low), most), most

    @property
    def output_tokens(self) -> int | None:
        """The most output tokens, None where a row names no bound."""
        return None if any(shard.uncapped for shard in self.shards) else sum(s.output_tokens for s in self.shards)

    def as_json(self) -> JSON:
        """The plan as JSON.

        :return: ``{"file", "rows", "bytes", "models", "input_tokens": [low, high], "output_tokens": at most or
            null, "cost_usd": [low, high] or null, "cost_unknown": why or null, "waves": [[shard]], "warnings",
            "shards": [{"name", "model", "endpoint", "rows", "bytes", "input_tokens": likely, in the queue}]}``.
        """
        return {
            "file": self.path,
            "rows": self.rows,
            "bytes": sum(shard.size for shard in self.shards),
            "models": sorted({str(shard.model) for shard in self.shards}),
            "input_tokens": [*self.input_tokens],
            "output_tokens": self.output_tokens,
            "cost_usd": None if self.cost is None else [round(self.cost.low, 6), round(self.cost.high, 6)],
            "cost_unknown": self.unknown,
            "waves": [[*wave] for wave in self.waves],
            "warnings": [*self.warnings],
            "shards": [
                {
                    "name": shard.name,
                    "model": shard.model,
                    "endpoint": shard.endpoint,
                    "rows": shard.rows,
                    "bytes": shard.size,
                    "input_tokens": shard.tokens,
                }
                for shard in self.shards
            ],
        }

    def table(self) -> str:
        """The same for reading."""
        wave_of = {name: number for number, wave in enumerate(self.waves, start=1) for name in wave}
        cells = [("shard", "model", "endpoint", "wave", "rows", "bytes", "likely tokens")]
        for s in self.shards:
            numbers = (str(wave_of[s.name]), f"{s.rows:,}", f"{s.size:,}", f"{s.tokens:,}")
            cells.append((s.name, s.model or "-", s.endpoint, *numbers))
        low, high = self.input_tokens
        likely = sum(shard.tokens for shard in self.shards)
        size = sum(shard.size for shard in self.shards)
        cells.append(("total", "", "", str(len(self.waves)), f"{self.rows:,}", f"{size:,}", f"{likely:,}"))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = []
        for row in cells:
            left = "  ".join(text.ljust(width) for text, width in zip(row[:3], widths, strict=False))
            right = "  ".join(text.rjust(width) for text, width in zip(row[3:], widths[3:], strict=True))
            lines.append(f"{left}  {right}")
        made = "output unbounded" if self.output_tokens is None else f"at most {self.output_tokens:,} out"
        lines.append(f"tokens: {low:,} to {high:,} in, {made}")
        return "\n".join([*lines, f"cost: {self._cost()}"])

    def _cost(self) -> str:
        if self.cost is not None:
            return f"{self.cost.low:.4f} to {self.cost.high:.4f} USD, each row sent once"
        return f"unknown: {self.unknown}"
