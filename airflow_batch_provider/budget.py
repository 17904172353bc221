"""What a run may cost, what it has cost, and whether the next job still fits into ``max_cost_usd``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.errors import BudgetError
from airflow_batch_provider.core.estimating import LOW_SHARE
from airflow_batch_provider.core.records import RunOptions, Shard, Usage
from airflow_batch_provider.ledger import End, Round
from airflow_batch_provider.pricing import Price, find_price


@dataclass(frozen=True, slots=True)
class CostRange:
    """US dollars, between which the cost is expected; ``high`` is what a budget counts."""

    low: float
    high: float

    def __add__(self, other: CostRange) -> CostRange:
        return CostRange(self.low + other.low, self.high + other.high)


NOTHING = CostRange(0.0, 0.0)


def price_of(backend: Backend, model: str | None) -> Price | None:
    """What a model costs in a batch, None where nobody knows."""
    return find_price(backend.price_list, model, backend.models.prices)


def cost_of(backend: Backend, shard: Shard, end: End) -> float | None:
    """What the answers of a shard cost in US dollars, None where nobody knows; where nothing was answered, nothing.

    By the prices of the day on which they were collected; where they were unknown then, by those known now.
    """
    if end.cost_usd is not None:
        return end.cost_usd
    if end.unmetered:
        return None
    if end.usage == Usage():
        return 0.0
    price = price_of(backend, shard.model)
    return None if price is None else price.cost(end.usage)


def total_cost(costs: Iterable[float | None]) -> float | None:
    """All costs together, None when one is unknown."""
    known = [*costs]
    return None if None in known else round(sum(filter(None, known)), 9)


def cost_range(backend: Backend, shards: Iterable[Shard], expected_output_tokens: int | None) -> CostRange | None:
    """What shards may cost before they are sent, None where a price or the length of the answers is unknown.

    :param expected_output_tokens: of a row that names no bound itself.
    """
    total = NOTHING
    for shard in shards:
        price = price_of(backend, shard.model)
        if price is None or (shard.uncapped and expected_output_tokens is None):
            return None
        made = shard.output_tokens + shard.uncapped * (expected_output_tokens or 0)
        low = price.cost(Usage(input_tokens=int(shard.tokens * LOW_SHARE)))
        total += CostRange(low, price.most(shard.tokens, made))
    return total


class Budget:
    """The limit of one run, kept over all its rounds and tries.

    :param backend: whose prices hold.
    :param options: ``max_cost_usd`` and ``expected_output_tokens``.
    """

    def __init__(self, backend: Backend, options: RunOptions) -> None:
        self._backend = backend
        self._limit = options.max_cost_usd
        self._expected = options.expected_output_tokens

    @property
    def is_set(self) -> bool:
        """Whether there is a limit."""
        return self._limit is not None

    def spent(self, rounds: Sequence[Round]) -> float:
        """What has been answered, and the upper end of what is being asked, or was answered without a count of tokens.

        :raises BudgetError: when nobody knows the price of what was answered.
        """
        total = 0.0
        for a_round in rounds:
            for shard in a_round.shards:
                for attempt in a_round.attempts.get(shard.name, []):
                    end = attempt.end
                    cost = None if end is None else cost_of(self._backend, shard, end)
                    if attempt.twins and (twin := cost_range(self._backend, [shard], self._expected)) is not None:
                        total += twin.high * len(attempt.twins)
                    if cost is None and (end is not None or not attempt.made_nothing):
                        if (most := cost_range(self._backend, [shard], self._expected)) is None:
                            raise BudgetError(
                                f"max_cost_usd is set, but nobody knows what {shard.name} of model {shard.model} cost; "
                                'write its price into the field "prices" of the connection'
                            )
                        cost = most.high
                    total += cost or 0.0
        return total

    def refusal(self, shards: Sequence[Shard], rounds: Sequence[Round]) -> str | None:
        """Why these shards must not be sent after all that was, None where they may.

        :raises BudgetError: when a budget is set and nobody can know what they cost.
        """
        if self._limit is None:
            return None
        unknown = sorted({str(shard.model) for shard in shards if price_of(self._backend, shard.model) is None})
        if unknown:
            raise BudgetError(
                f"max_cost_usd is set, but nobody knows the price of {', '.join(unknown)}; write it into the field "
                '"prices" of the connection, e.g. {"MODEL": {"input": 0.5, "output": 2}}, in USD for a million tokens '
                "as billed in a batch. Nothing was sent."
            )
        asked = cost_range(self._backend, shards, self._expected)
        if asked is None:
            rows = sum(shard.uncapped for shard in shards)
            raise BudgetError(
                f"max_cost_usd is set, but {rows} rows name no max_tokens, so their answers may have any length; set "
                "max_tokens on the lines, or expected_output_tokens on the operator. Nothing was sent."
            )
        spent = self.spent(rounds)
        if spent + asked.high <= self._limit:
            return None
        if not shards:
            return f"{spent:.4f} USD may be spent already, more than max_cost_usd={self._limit:g} allows"
        before = f"{spent:.4f} USD are spent or being spent, and " if spent else ""
        return (
            f"{before}{sum(shard.rows for shard in shards)} rows may cost {asked.low:.4f} to {asked.high:.4f} USD, "
            f"which is more than max_cost_usd={self._limit:g} allows"
        )
