"""What a batch costs: tokens times what the provider bills for them in a batch.

Prices are those of the package ``genai-prices``, which are of real-time calls, less what the provider takes off for a
batch; or the connection's own ``prices``, which are what is billed in a batch. A price that is not known is None, never
nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.provider_facts import PriceList

MILLION = 1_000_000


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


def find_price(price_list: PriceList | None, model: str | None, own: Mapping[str, Mapping[str, Any]]) -> Price | None:
    """The price of a model, None where it is not known.

    :param price_list: the provider's; None where it has none.
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


class Prices:
    """What the answers to one model's requests cost: a provider may answer by a model other than requested.

    :param price_list: as for :func:`find_price`.
    :param model: the requested model.
    :param own: as for :func:`find_price`.
    """

    def __init__(self, price_list: PriceList | None, model: str | None, own: Mapping[str, Mapping[str, Any]]) -> None:
        self.asked = find_price(price_list, model, own)
        self._list, self._model, self._own = price_list, model or "", own
        self._found: dict[str, Price | None] = {}

    def of(self, model: str | None, tier: str | None = None) -> Price | None:
        """The price of an answer, None where it is not known.

        :param model: the model that answered, None where the answer does not say.
        :param tier: the service tier where it is billed otherwise than a batch; no list has its price.
        """
        if tier or self.asked is None or not model:
            return None if tier else self.asked
        if model not in self._found:
            self._found[model] = self._find(model)
        return self._found[model]

    def _find(self, model: str) -> Price | None:
        given = self._own.get(self._model) or self._own.get("*") or {}
        # Rates for any model, or for what only the author knows the model of, such as a deployment.
        if "input" in given and (self._model not in self._own or not _is_public(self._model)):
            return self.asked
        behind = given.get("model") or self._model
        if is_same_model(behind, model):
            dated = not split_model(behind)[1] and split_model(model)[1] and "input" not in given
            return (self._public(model) if dated else None) or self.asked
        other = next((name for name in self._own if name != "*" and is_same_model(name, model)), None)
        if other is not None:
            return find_price(self._list, other, self._own)
        return self._public(model) or self._public(split_model(model)[0])

    def _public(self, model: str) -> Price | None:
        if self._list is None:
            return None
        return _listed(self._list, model) or _listed(self._list, model.rpartition("/")[2])


def is_same_model(one: str, other: str) -> bool:
    """Whether two names are spellings, aliases or snapshots of one model, and not two dated snapshots of it."""
    (name, date), (other_name, other_date) = split_model(one), split_model(other)
    dates = not date or not other_date or date.endswith(other_date) or other_date.endswith(date)
    return one == other or (name == other_name and dates)


def split_model(model: str) -> tuple[str, str]:
    """A model's name without place, maker, version and date, and its date or number.

    ``us.anthropic.claude-sonnet-4-20250514-v1:0`` and ``claude-sonnet-4@20250514`` are ``claude-sonnet-4`` of
    ``20250514``; ``publishers/google/models/gemini-2.0-flash-001`` is ``gemini-2-0-flash`` of ``001``.
    """
    name = model.lower().rpartition("/")[2]
    name = re.sub(r"@default$|[-:@]latest$", "", name).replace("@", "-")
    name = re.sub(r"^(?:[a-z][a-z0-9-]*\.)+(?=[a-z])", "", name)
    name = re.sub(r"-v\d+(?::\d+)*(?::\d+k)?$|(?<=\d):\d+(?::\d+k)?$", "", name)
    name = re.sub(r"-preview(?:-\d\d-(?:\d{4}|\d\d))?$", "", name)
    # Azure's spelling of 3.5, and a point that some write as a hyphen.
    name = re.sub(r"(?<=\d)\.(?=\d)", "-", re.sub(r"^gpt-35(?=-|$)", "gpt-3.5", name))
    date = re.search(r"-(\d{4}-\d\d-\d\d|\d{8}|\d{6}|\d{4}|\d{3})$", name)
    return (name[: date.start()], date[1].replace("-", "")) if date else (name, "")


@functools.lru_cache(maxsize=256)
def _is_public(model: str) -> bool:
    """Whether a name is that of a model which anybody's list of prices has."""
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    try:
        calc_price(Tokens(), model_ref=model.rpartition("/")[2])
    except LookupError:
        return False
    return True


@functools.lru_cache(maxsize=256)
def _listed(price_list: PriceList, model: str) -> Price | None:
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    if price_list.discount is None:
        return None
    if price_list.bare_names:
        model = model.rpartition("/")[2]
    try:
        listed = calc_price(Tokens(), model_ref=model, provider_id=price_list.name).model_price
    except LookupError:
        return None
    starts = sorted({tier.start for rate in vars(listed).values() for tier in getattr(rate, "tiers", ())})
    base = _at(listed, 0, price_list)
    if base is None:
        return None
    tiers = ((start, _at(listed, start + 1, price_list)) for start in starts)
    return replace(base, longer=tuple((start, price) for start, price in tiers if price is not None))


def _at(listed: Any, input_tokens: int, price_list: PriceList) -> Price | None:
    """The prices of a request with so many input tokens; each is for all its tokens."""
    share = 1 - (price_list.discount or 0)

    def rate(name: str) -> float | None:
        found = getattr(listed, name)
        if found is None:
            return None
        reached = [tier.price for tier in getattr(found, "tiers", ()) if input_tokens > tier.start]
        return float([getattr(found, "base", found), *reached][-1])

    def batch(name: str) -> float | None:
        real_time = rate(name)
        return None if real_time is None else real_time * share

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
        plain if sound is None and price_list.sound_as_text else sound,
        batch("output_audio_mtok"),
        batch("input_image_mtok"),
        batch("output_image_mtok"),
    )
