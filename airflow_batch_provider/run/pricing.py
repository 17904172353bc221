"""What a batch costs: tokens times what the provider bills for them in a batch.

Prices are those of the package ``genai-prices``, which are of real-time calls, less the batch discount of 50 % that
OpenAI, Azure, AWS and Google all name; or the connection's own ``prices``, which are what is billed in a batch. A price
that is not known is None, never nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_batch_provider.core.counts import Usage

BATCH_SHARE = 0.5
MILLION = 1_000_000
_ONE_PRICE_FOR_ALL_INPUT = frozenset({"google"})
"""Google names a price for sound where it is another one than that of text; elsewhere a price that is not named is
unknown."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost in a batch, in US dollars.

    :param cached_input: of input tokens that the provider had cached.
    :param cache_write: of input tokens that it wrote to its cache; None while it is not known.
    :param input_audio: of sound sent; None while it is not known.
    :param output_audio: of sound made; None while it is not known.
    :param input_image: of images sent; None for the price of text, which all models for text have.
    :param output_image: of images made; None while it is not known.
    :param longer: what holds for a whole request whose input has more tokens than so many, shortest first.
    """

    input: float
    output: float
    cached_input: float
    cache_write: float | None = None
    input_audio: float | None = None
    output_audio: float | None = None
    input_image: float | None = None
    output_image: float | None = None
    longer: tuple[tuple[int, Price], ...] = field(default=())

    def at(self, input_tokens: int) -> Price:
        """What holds for a request with so many input tokens."""
        return next((price for start, price in reversed(self.longer) if input_tokens > start), self)

    def cost(self, usage: Usage) -> float | None:
        """What one answer cost, None where it has tokens whose price is not known."""
        return self.at(usage.input_tokens)._cost(usage)

    def cost_of_all(self, usage: Usage) -> float | None:
        """What many answers cost together, None also where it depends on how they share the tokens."""
        return None if self.at(usage.input_tokens) is not self else self._cost(usage)

    def _cost(self, usage: Usage) -> float | None:
        left, total = usage.input_tokens, 0.0
        image = self.input if self.input_image is None else self.input_image
        parts = (
            (usage.cache_write_tokens, self.cache_write),
            (usage.cached_tokens, self.cached_input),
            (usage.input_audio_tokens, self.input_audio),
            (usage.input_image_tokens, image),
        )
        for tokens, price in parts:
            counted = min(tokens, left)
            if counted and price is None:
                return None
            left -= counted
            total += counted * (price or 0.0)
        made = usage.output_tokens
        for tokens, price in (
            (usage.output_audio_tokens, self.output_audio),
            (usage.output_image_tokens, self.output_image),
        ):
            counted = min(tokens, made)
            if counted and price is None:
                return None
            made -= counted
            total += counted * (price or 0.0)
        return (total + left * self.input + made * self.output) / MILLION

    def most(self, input_tokens: int, output_tokens: int, *, sound: int = 0, media: bool = False) -> float | None:
        """The most that so many tokens may cost, cached or not; None where a price is not known.

        :param sound: input tokens of sound, beside the others.
        :param media: whether the output may be sound or images.
        """
        if sound and self.input_audio is None:
            return None
        made = [self.output]
        if media:
            made += [price for price in (self.output_audio, self.output_image) if price is not None]
            if len(made) == 1:
                return None
        read = max(self.input, self.cached_input, self.cache_write or 0.0, self.input_image or 0.0)
        heard = max(read, self.input_audio or 0.0)
        return (input_tokens * read + sound * heard + output_tokens * max(made)) / MILLION


def find_price(price_list: str | None, model: str | None, own: Mapping[str, Mapping[str, Any]]) -> Price | None:
    """The price of a model, None where it is not known.

    :param price_list: the provider's name in ``genai-prices``; None where it has none.
    :param own: the connection's prices by model, or ``"*"`` for any: ``{"input", "output", "cached_input", ...}`` in US
        dollars for a million tokens, as billed in a batch; ``cached_input`` is ``input`` where it is not given. Or
        ``{"model"}``, the model behind a deployment, whose public price holds.
    """
    given = own.get(model or "") or own.get("*")
    if given is None:
        return _listed(price_list, model) if price_list and model else None
    if "input" not in given:
        return _listed(price_list, given["model"]) if price_list else None
    rates = {name: value for name, value in given.items() if name != "model"}
    return Price(**{"cached_input": given["input"], **rates})


@functools.lru_cache(maxsize=256)
def _listed(price_list: str, model: str) -> Price | None:
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    if price_list == "google":
        model = model.rpartition("/")[2]  # google/gemini-..., models/..., publishers/google/models/...
    try:
        listed = calc_price(Tokens(), model_ref=model, provider_id=price_list).model_price
    except LookupError:
        return None
    starts = sorted({tier.start for rate in vars(listed).values() for tier in getattr(rate, "tiers", ())})
    base = _at(listed, 0, price_list)
    if base is None:
        return None
    tiers = ((start, _at(listed, start + 1, price_list)) for start in starts)
    return replace(base, longer=tuple((start, price) for start, price in tiers if price is not None))


def _at(listed: Any, input_tokens: int, price_list: str) -> Price | None:
    """The prices of a request with so many input tokens; each is for all its tokens."""

    def rate(name: str) -> float | None:
        found = getattr(listed, name)
        if found is None:
            return None
        reached = [tier.price for tier in getattr(found, "tiers", ()) if input_tokens > tier.start]
        return float([getattr(found, "base", found), *reached][-1])

    def batch(name: str) -> float | None:
        real_time = rate(name)
        return None if real_time is None else real_time * BATCH_SHARE

    plain = batch("input_mtok")
    if plain is None:
        return None
    cached = rate("cache_read_mtok")
    written = batch("cache_write_mtok")
    sound = batch("input_audio_mtok")
    return Price(
        plain,
        batch("output_mtok") or 0.0,
        # Google: the discount for cached tokens stands in for that of batches; the others do not say.
        plain if cached is None else min(cached, plain),
        # A provider that lists no price for it does not bill it.
        plain if written is None else written,
        plain if sound is None and price_list in _ONE_PRICE_FOR_ALL_INPUT else sound,
        batch("output_audio_mtok"),
        batch("input_image_mtok"),
        batch("output_image_mtok"),
    )
