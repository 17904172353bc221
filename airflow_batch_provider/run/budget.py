"""What a run may cost, what it has cost, and whether the next job still fits into ``max_cost_usd``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from airflow_batch_provider.backends.base import Backend
from airflow_batch_provider.core.counts import LARGE_ROW, UNKNOWN, Usage, counted
from airflow_batch_provider.core.errors import BudgetError
from airflow_batch_provider.core.estimating import LOW_SHARE
from airflow_batch_provider.core.records import BatchResult, RunOptions, Shard
from airflow_batch_provider.run.attempts import Round, creates
from airflow_batch_provider.run.facts import End
from airflow_batch_provider.run.pricing import MILLION, Price, Prices, find_price


@dataclass(frozen=True, slots=True)
class CostRange:
    """US dollars, between which the cost is expected; ``high`` is what a budget counts."""

    low: float
    high: float

    def __add__(self, other: CostRange) -> CostRange:
        return CostRange(self.low + other.low, self.high + other.high)


NOTHING = CostRange(0.0, 0.0)


def price_of(backend: Backend, model: str | None) -> Price | None:
    """What a model costs in a batch, None if unknown."""
    return find_price(backend.price_list, model, backend.models.prices)


def prices_of(backend: Backend, model: str | None) -> Prices:
    """What the answers to a model's requests cost."""
    return Prices(backend.price_list, model, backend.models.prices)


def cost_of(backend: Backend, shard: Shard, end: End) -> float | None:
    """What the answers of a shard cost in US dollars, None while it is unknown; where nothing was answered, nothing.

    By the prices of the day on which they were collected; where they were unknown then, by those known now.
    """
    if end.cost_usd is not None:
        return end.cost_usd
    if end.unmetered or end.unpriced:
        return None
    if end.usage == Usage():
        return 0.0
    price = price_of(backend, shard.model)
    return None if price is None else price.cost_of_all(end.usage)


def why_unknown(backend: Backend, shard: Shard, end: End) -> str | None:
    """Why nothing says what the answers of a shard cost, None where something does."""
    if cost_of(backend, shard, end) is not None:
        return None
    reasons = []
    if end.lost:
        reasons.append(f"the answers to {counted(end.lost, 'row')} of {shard.model} are gone and may have been billed")
    if uncounted := end.unmetered - end.lost:
        reasons.append(f"{counted(uncounted, 'answer')} of {shard.model} came without a count of tokens")
    if end.unpriced:
        asked = f"{counted(end.unpriced, 'request')} for {shard.model}"
        reasons.append(f"{asked} got an answer of {end.served}, whose price is not known")
    if reasons:
        return "; ".join(reasons)
    if price_of(backend, shard.model) is None:
        return f"no price is known for {shard.model}"
    return f"{shard.model} used tokens (sound, images, cache writes, long requests) whose price is not known"


def total_cost(costs: Iterable[float | None]) -> float | None:
    """All costs together, None when one is unknown."""
    known = [*costs]
    return None if None in known else round(sum(filter(None, known)), 9)


class Meter:
    """Adds up what answers used and cost, each by itself: a long one may cost more by the token.

    :param prices: of the requested model, and of those that answer in its place.
    """

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._cost = 0.0
        self._unknown = prices.asked is None
        self.usage = Usage()
        self.unmetered = 0
        """Answers without a count of tokens."""
        self.unpriced = 0
        """Answers of another model or tier than was asked for, whose price is not known."""
        self.served = ""
        """The first of those models and tiers."""

    def add(self, result: BatchResult) -> None:
        """Count one answer, of a whole row or of a part of one."""
        if result.usage == UNKNOWN:
            # One that is invalid came as an answer, which cannot be read.
            self.unmetered += result.outcome in ("succeeded", "invalid")
            return
        self.usage += result.usage
        price = self._prices.of(result.model, result.tier)
        if price is None and self._prices.asked is not None:
            self.unpriced += 1
            tier = f" at the service tier {result.tier}" if result.tier else ""
            self.served = self.served or f"{result.model or 'a model'}{tier}"
        cost = None if price is None else price.cost(result.usage)
        self._unknown = self._unknown or cost is None
        self._cost += cost or 0.0

    @property
    def cost_usd(self) -> float | None:
        """What all of it cost, None while a count or a price is not known; where nothing was answered, nothing."""
        if self.unmetered or (self._unknown and self.usage != Usage()):
            return None
        return self._cost


def cost_range(backend: Backend, shards: Iterable[Shard], expected_output_tokens: int | None) -> CostRange | None:
    """What shards may cost before they are sent, None where :func:`why_open` says why it is unknown.

    :param expected_output_tokens: of a row that names no bound itself.
    """
    total = NOTHING
    for shard in shards:
        price = price_of(backend, shard.model)
        if price is None or shard.unsized or (shard.uncapped and expected_output_tokens is None):
            return None
        most = _most(price, shard, expected_output_tokens or 0)
        if most is None:
            return None
        low = shard.tokens * LOW_SHARE * min(price.input, price.cached_input) / MILLION
        total += CostRange(min(low, most), most)
    return total


def why_open(backend: Backend, shards: Iterable[Shard], expected_output_tokens: int | None) -> str | None:
    """Why nothing bounds what shards may cost, and what to do; None where there is a bound."""
    planned = [*shards]
    unpriced = sorted({str(shard.model) for shard in planned if price_of(backend, shard.model) is None})
    if unpriced:
        return (
            f'no price is known for {", ".join(unpriced)}; add one to the connection\'s field "prices", e.g. '
            '{"MODEL": {"input": 0.5, "output": 2}}, in USD for a million tokens as billed in a batch'
        )
    if unsized := sum(shard.unsized for shard in planned):
        return (
            f"{_rows(unsized, 'reads', 'read')} what is not in the line (files by id or address, stored prompts or "
            "responses, tools that the provider runs), so the input has no bound; write it into the line"
        )
    uncapped = sum(shard.uncapped for shard in planned)
    if uncapped and expected_output_tokens is None:
        return (
            f"{_rows(uncapped, 'sets', 'set')} no max_tokens, so answers may have any length; set it on the lines, or "
            "expected_output_tokens on the operator (--expected-output-tokens)"
        )
    media = [shard for shard in planned if cost_range(backend, [shard], expected_output_tokens) is None]
    if media:
        return (
            f"no price is known for the sound or images of {media[0].model}; add input_audio, output_audio or "
            'output_image to its "prices" in the connection'
        )
    return None


def _rows(count: int, one: str = "may cost", several: str = "may cost") -> str:
    """Rows and what they do."""
    return f"1 row {one}" if count == 1 else f"{count:,} rows {several}"


def _most(price: Price, shard: Shard, expected: int) -> float | None:
    """The most that a shard may cost: long rows one by one, all others together."""
    # A run that was planned before the most was counted has half of it.
    asked = 2 * shard.tokens if shard.most_tokens is None else shard.most_tokens
    made = shard.output_tokens + shard.uncapped * expected
    sound, media = shard.sound_tokens, shard.media_rows > 0
    costs = []
    for tokens, cap, heard in shard.large:
        wanted = expected if cap < 0 else cap
        asked, made, sound = asked - tokens, made - wanted, sound - heard
        costs.append(price.at(tokens + heard).most(tokens, wanted, sound=heard, media=media))
    costs.append(price.at(LARGE_ROW).most(asked, made, sound=sound, media=media))
    return total_cost(costs)


class Budget:
    """The limit of one run, kept over all its rounds and tries.

    What was spent is added up once for a pass over the shards, and each create adds its own: reading the record anew
    for each of a thousand creates would take the square of their time.

    :param backend: whose prices hold.
    :param options: ``max_cost_usd`` and ``expected_output_tokens``.
    """

    def __init__(self, backend: Backend, options: RunOptions) -> None:
        self._backend = backend
        self._limit = options.max_cost_usd
        self._expected = options.expected_output_tokens
        self._spent: float | None = None

    def recount(self) -> None:
        """Forget what was added up: jobs have ended, or another process creates some."""
        self._spent = None

    def take(self, shard: Shard) -> None:
        """Count a create that is about to be sent, by its upper end."""
        self._move(shard, 1)

    def give_back(self, shard: Shard) -> None:
        """A create that was counted has made nothing."""
        self._move(shard, -1)

    def _move(self, shard: Shard, sign: int) -> None:
        if self._spent is not None and (most := cost_range(self._backend, [shard], self._expected)):
            self._spent += sign * most.high

    def spent(self, rounds: Sequence[Round]) -> float:
        """What has been answered, and the upper end of what is being sent, or was answered without a count of tokens.

        :raises BudgetError: when it has no upper end.
        """
        total = 0.0
        for shard, attempt in creates(rounds):
            end = attempt.end
            cost = None if end is None else cost_of(self._backend, shard, end)
            if attempt.twins and (twin := cost_range(self._backend, [shard], self._expected)) is not None:
                total += twin.high * len(attempt.twins)
            if cost is None and end is not None and end.unpriced:
                why = why_unknown(self._backend, shard, end)
                raise BudgetError(f"max_cost_usd is set, but what {shard.name} cost has no bound: {why}")
            if cost is None and (end is not None or not attempt.made_nothing):
                if (most := cost_range(self._backend, [shard], self._expected)) is None:
                    why = why_open(self._backend, [shard], self._expected)
                    raise BudgetError(f"max_cost_usd is set, but what {shard.name} cost is unknown: {why}")
                cost = most.high
            total += cost or 0.0
        return total

    def refusal(self, shards: Sequence[Shard], rounds: Callable[[], Sequence[Round]]) -> str | None:
        """Why these shards must not be sent after all that was, None where they may.

        :param rounds: reads the record; called where nothing is added up yet.
        :raises BudgetError: when a budget is set and nothing bounds what they cost.
        """
        if self._limit is None:
            return None
        asked = cost_range(self._backend, shards, self._expected)
        if asked is None:
            why = why_open(self._backend, shards, self._expected)
            raise BudgetError(f"max_cost_usd is set, but {why}. Nothing was sent.")
        if self._spent is None:
            self._spent = self.spent(rounds())
        spent = self._spent
        if round(spent + asked.high, 9) <= self._limit:
            return None
        if not shards:
            return f"{spent:.4f} USD may be spent already, more than max_cost_usd={self._limit:g} allows"
        before = f"{spent:.4f} USD are spent or being spent, and " if spent else ""
        return (
            f"{before}{_rows(sum(shard.rows for shard in shards))} {asked.low:.4f} to {asked.high:.4f} USD, "
            f"which is more than max_cost_usd={self._limit:g} allows"
        )
