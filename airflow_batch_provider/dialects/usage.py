"""Tokens of one answer in OpenAI's format, as OpenAI and its imitators count them."""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.core.counts import UNKNOWN, Usage, read_count

_BILLED_AS_BATCH = frozenset(
    {
        *("", "auto", "default", "standard", "batch", "flex"),
        *("on_demand", "on_demand_flex", "on_demand_offpeak", "traffic_type_unspecified"),
    }
)
"""Tiers that cost no more than a batch. OpenAI: ``service_tier`` of the chat completion object; "flex" is billed at the
rates of the Batch API (OpenAI, Flex processing). Claude: ``Usage.service_tier`` of the anthropic SDK. Amazon:
``ServiceTierType`` of botocore, bedrock-runtime. Google: ``TrafficType`` of google-genai. All name others that cost
more, or are paid in advance: priority, fast, scale, reserved, PROVISIONED_THROUGHPUT."""
_TIERS = ("service_tier", "serviceTier")
_PLACES = (*_TIERS, "provider_fields")
_DETAILS = ("prompt_tokens_details", "input_tokens_details", "completion_tokens_details", "output_tokens_details")


def read_tier(body: Any) -> str | None:
    """The service tier of an answer where it is billed otherwise than a batch, as a provider or a gateway names it."""
    if not isinstance(body, dict):
        return None
    usage = _dict(body.get("usage"))
    if body.keys().isdisjoint(_PLACES) and usage.keys().isdisjoint(_TIERS):
        return None
    own = _dict(body.get("provider_fields"))
    for place in (body, own, usage, _dict(own.get("usage"))):
        for name in _TIERS:
            if name in place and (tier := _dearer(place[name])) is not None:
                return tier
    return _dearer(_dict(own.get("usageMetadata")).get("trafficType"))


def _dearer(tier: Any) -> str | None:
    """A tier that is billed otherwise than a batch."""
    if isinstance(tier, dict):
        tier = tier.get("type", tier)
    return tier if isinstance(tier, str) and tier.lower() not in _BILLED_AS_BATCH else None


def read_usage(body: Any) -> Usage:
    """Tokens of one answer, from chat, completions, responses or embeddings; zeros where they are unknown.

    A count that cannot be one (null, ``NaN``, negative, a list) makes all of them unknown: half of what was billed
    would look like the whole. An answer of text has both counts; embeddings have no output.
    """
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return UNKNOWN
    read = _counted(usage, "prompt_tokens", "input_tokens", None)
    written = _counted(usage, "completion_tokens", "output_tokens", None if _has_text(body) else 0)
    if read is None or written is None:
        return UNKNOWN
    if usage.keys().isdisjoint(_DETAILS):
        return Usage(read, written)
    given = _details(usage, *_DETAILS[:2])
    made = _details(usage, *_DETAILS[2:])
    parts = [
        _detail(given, "cached_tokens"),
        _detail(made, "reasoning_tokens"),
        _detail(given, "cache_write_tokens"),
        _detail(given, "audio_tokens"),
        _detail(made, "audio_tokens"),
        _detail(given, "image_tokens"),
        _detail(made, "image_tokens"),
    ]
    known = [number for number in parts if number is not None]
    return Usage(read, written, *known) if len(known) == len(parts) else UNKNOWN


def _has_text(body: dict[str, Any]) -> bool:
    """Whether an answer has text, for which every provider counts output tokens."""
    return bool(body.get("choices") or body.get("output"))


def _counted(usage: dict[str, Any], name: str, other: str, absent: int | None) -> int | None:
    """The count by the first of two names that is there."""
    if name not in usage:
        name = other
    return read_count(usage[name]) if name in usage else absent


def _detail(details: dict[str, Any], name: str) -> int | None:
    """A part of a count; many gateways write null for none."""
    value = details.get(name)
    return 0 if value is None else read_count(value)


def _details(usage: dict[str, Any], name: str, other: str) -> dict[str, Any]:
    """The parts by the first of two names that has them."""
    found = usage.get(name)
    return found if isinstance(found, dict) else _dict(usage.get(other))


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
