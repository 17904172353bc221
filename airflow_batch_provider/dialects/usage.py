"""Tokens of one answer in OpenAI's format, as OpenAI and its imitators count them."""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.core.counts import Usage, read_count

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


def read_tier(body: Any) -> str | None:
    """The service tier of an answer where it is billed otherwise than a batch, as a provider or a gateway names it."""
    fields = body if isinstance(body, dict) else {}
    own = _dict(fields.get("provider_fields"))
    counts = (_dict(place.get("usage")) for place in (fields, own))
    given = [
        *(place.get(name) for place in (fields, own, *counts) for name in ("service_tier", "serviceTier")),
        _dict(own.get("usageMetadata")).get("trafficType"),
    ]
    tiers = (_dict(tier).get("type", tier) for tier in given)
    return next((tier for tier in tiers if isinstance(tier, str) and tier.lower() not in _BILLED_AS_BATCH), None)


def read_usage(body: Any) -> Usage:
    """Tokens of one answer, from chat, completions, responses or embeddings; zeros where they are unknown.

    A count that cannot be one (null, ``NaN``, negative, a list) makes all of them unknown: half of what was billed
    would look like the whole. An answer of text has both counts; embeddings have no output.
    """
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return Usage()
    given = _details(usage, "prompt_tokens_details", "input_tokens_details")
    made = _details(usage, "completion_tokens_details", "output_tokens_details")
    counts = [
        _counted(usage, "prompt_tokens", "input_tokens"),
        _counted(usage, "completion_tokens", "output_tokens", absent=None if _has_text(body) else 0),
        _detail(given, "cached_tokens"),
        _detail(made, "reasoning_tokens"),
        _detail(given, "cache_write_tokens"),
        _detail(given, "audio_tokens"),
        _detail(made, "audio_tokens"),
        _detail(given, "image_tokens"),
        _detail(made, "image_tokens"),
    ]
    known = [number for number in counts if number is not None]
    return Usage(*known) if len(known) == len(counts) else Usage()


def _has_text(body: dict[str, Any]) -> bool:
    """Whether an answer has text, for which every provider counts output tokens."""
    return bool(body.get("choices") or body.get("output"))


def _counted(usage: dict[str, Any], *names: str, absent: int | None = None) -> int | None:
    found = next((name for name in names if name in usage), None)
    return absent if found is None else read_count(usage[found])


def _detail(details: dict[str, Any], name: str) -> int | None:
    """A part of a count; many gateways write null for none."""
    value = details.get(name)
    return 0 if value is None else read_count(value)


def _details(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    return next((usage[name] for name in names if isinstance(usage.get(name), dict)), {})


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
