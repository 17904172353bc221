"""What a batch costs: tokens times what the provider bills for them in a batch.

Prices are those of the package ``genai-prices``, which are of real-time calls, less the batch discount of 50 % that
OpenAI, Azure, AWS and Google all name; or the connection's own ``prices``, which are what is billed in a batch. A price
that nobody knows is None, never nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_batch_provider.core.records import Usage

BATCH_SHARE = 0.5
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost in a batch, in US dollars.

    :param cached_input: of input tokens that the provider had cached.
    """

    input: float
    output: float
    cached_input: float

    def cost(self, usage: Usage) -> float:
        """What an answer, or many, cost."""
        fresh = max(0, usage.input_tokens - usage.cached_tokens)
        cached = min(usage.cached_tokens, usage.input_tokens)
        return (fresh * self.input + cached * self.cached_input + usage.output_tokens * self.output) / MILLION

    def most(self, input_tokens: int, output_tokens: int) -> float:
        """The most that so many tokens may cost, cached or not."""
        dearest = max(self.input, self.cached_input)
        return (input_tokens * dearest + output_tokens * self.output) / MILLION


def find_price(price_list: str | None, model: str | None, own: Mapping[str, Mapping[str, float]]) -> Price | None:
    """The price of a model, None where nobody knows it.

    :param price_list: the provider's name in ``genai-prices``; None where it has none.
    :param own: the connection's prices by model, or ``"*"`` for any: ``{"input", "output", "cached_input"}`` in US
        dollars for a million tokens, as billed in a batch; ``cached_input`` is ``input`` where it is not told.
    """
    told = own.get(model or "") or own.get("*")
    if told is not None:
        return Price(told["input"], told["output"], told.get("cached_input", told["input"]))
    return _listed(price_list, model) if price_list and model else None


@functools.lru_cache(maxsize=256)
def _listed(price_list: str, model: str) -> Price | None:
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    def million(**tokens: int) -> float:
        # By a thousand: some models cost more in long calls, which a million tokens in one would be.
        return 1000 * float(calc_price(Tokens(**tokens), model_ref=model, provider_id=price_list).total_price)

    try:
        plain, made = million(input_tokens=1000), million(output_tokens=1000)
        cached = million(input_tokens=1000, cache_read_tokens=1000)
    except LookupError:
        return None
    # Google: the discount for cached tokens stands in for that of batches; elsewhere nobody tells.
    return Price(plain * BATCH_SHARE, made * BATCH_SHARE, min(cached, plain * BATCH_SHARE))
