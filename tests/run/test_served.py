"""What answers cost that another model, or another service tier, gave than the one that was priced."""

import json

import pytest

from airflow_batch_provider.core.counts import Usage
from airflow_batch_provider.core.records import BatchResult, ModelRules, Shard
from airflow_batch_provider.dialects.openai import read_line
from airflow_batch_provider.run.budget import Meter, why_unknown
from airflow_batch_provider.run.facts import End
from airflow_batch_provider.run.pricing import Prices, find_price, is_same_model
from tests.facts import LISTS
from tests.run.benching import line

USED = Usage(1_000_000, 1_000_000)
MINI = 0.075 + 0.3
LARGE = 1.25 + 5.0


def metered(prices, model, tier=None):
    meter = Meter(prices)
    meter.add(BatchResult("a", "succeeded", b"", None, USED, model=model, tier=tier))
    return meter


SAME = [
    ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ("gpt-4o-mini", "openai/gpt-4o-mini"),
    ("@openai-prod/gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ("gpt-4", "gpt-4-0613"),
    ("gpt-35-turbo", "gpt-3.5-turbo-0125"),
    ("text-embedding-ada-002", "text-embedding-ada-002-v2"),
    ("us.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4-20250514"),
    ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
    ("eu.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
    (
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "claude-haiku-4-5-20251001",
    ),
    ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5-20250929"),
    ("claude-opus-4-6@default", "claude-opus-4-6"),
    ("publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
    ("google/gemini-2.0-flash", "gemini-2.0-flash-001"),
    ("gemini-2.5-flash", "gemini-2.5-flash-preview-05-20"),
    ("claude-3-5-haiku", "anthropic/claude-3.5-haiku"),
]
OTHERS = [
    ("gpt-4o-mini", "gpt-4o-2024-08-06"),
    ("gpt-4o-2024-08-06", "gpt-4o-2024-05-13"),
    ("gemini-2.5-flash-lite", "gemini-2.5-flash"),
    ("claude-sonnet-4-5", "claude-opus-4-5"),
    ("gpt-5", "gpt-5-mini"),
    ("gpt-4.1", "gpt-4"),
]


@pytest.mark.parametrize(("asked", "answered"), SAME)
def test_spellings_of_one_model(asked, answered):
    assert is_same_model(asked, answered)


@pytest.mark.parametrize(("asked", "answered"), OTHERS)
def test_other_models(asked, answered):
    assert not is_same_model(asked, answered)


@pytest.mark.parametrize(
    ("price_list", "asked", "answered"),
    [
        ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
        ("openai", "gpt-4o-mini", None),
        ("azure", "gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
        ("aws", "us.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4-20250514"),
        ("google", "gemini-2.5-flash", "gemini-2.5-flash-001"),
        ("google", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5-20250929"),
    ],
)
def test_the_price_of_another_spelling_holds(price_list, asked, answered):
    prices = Prices(LISTS[price_list], asked, {})
    assert prices.asked is not None
    assert metered(prices, answered).cost_usd == prices.asked.cost(USED)


@pytest.mark.parametrize("answered", ["gpt-4o-2024-08-06", "openai/gpt-4o"])
def test_the_model_that_answered_is_billed(answered):
    """Before: 0.375 USD, known, for what costs 6.25."""
    meter = metered(Prices(LISTS["openai"], "gpt-4o-mini", {}), answered)
    assert meter.cost_usd == pytest.approx(LARGE)


def test_a_snapshot_with_a_price_of_its_own():
    """gpt-4o costs less than its first snapshot."""
    assert metered(Prices(LISTS["openai"], "gpt-4o", {}), "gpt-4o-2024-05-13").cost_usd == pytest.approx(2.5 + 7.5)


@pytest.mark.parametrize(
    ("model", "tier", "told"),
    [
        ("gpt-99", None, "gpt-99"),
        (None, "priority", "a model at the service tier priority"),
        ("gpt-4o-mini", "scale", "gpt-4o-mini at the service tier scale"),
    ],
)
def test_an_unknown_price(model, tier, told):
    meter = metered(Prices(LISTS["openai"], "gpt-4o-mini", {}), model, tier)
    assert (meter.cost_usd, meter.unpriced, meter.served) == (None, 1, told)


RATES = {"input": 1.0, "output": 1.0}


@pytest.mark.parametrize(
    ("own", "asked", "answered", "cost"),
    [
        ({"prod-chat": RATES}, "prod-chat", "gpt-4o-2024-08-06", 2.0),  # a deployment of any model
        ({"*": RATES}, "gpt-4o-mini", "gpt-4o-2024-08-06", 2.0),  # one price for all models
        ({"gpt-4o-mini": RATES}, "gpt-4o-mini", "gpt-4o-mini-2024-07-18", 2.0),
        ({"gpt-4o-mini": RATES}, "gpt-4o-mini", "gpt-99", None),
        ({"gpt-4o-mini": RATES, "gpt-4o": {"input": 3.0, "output": 4.0}}, "gpt-4o-mini", "gpt-4o-2024-08-06", 7.0),
        ({"prod-chat": {"model": "gpt-4o-mini"}}, "prod-chat", "gpt-4o-mini-2024-07-18", MINI),
        ({"prod-chat": {"model": "gpt-4o-mini"}}, "prod-chat", "gpt-4o-2024-08-06", LARGE),
    ],
)
def test_prices_of_the_connection(own, asked, answered, cost):
    found = metered(Prices(LISTS["openai"], asked, own), answered).cost_usd
    assert found == (None if cost is None else pytest.approx(cost))


def test_an_unknown_price_of_what_was_asked_stays_unknown():
    meter = metered(Prices(None, "m", {}), "gpt-4o")
    assert (meter.cost_usd, meter.unpriced) == (None, 0)


TIERS = {
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast"},
    "of Claude": {"provider_fields": {"usage": {"service_tier": "priority"}}},
    "of Amazon": {"provider_fields": {"serviceTier": {"type": "reserved"}}},
    "of Google": {"provider_fields": {"usageMetadata": {"trafficType": "ON_DEMAND_PRIORITY"}}},
    None: {"service_tier": "default"},
    "flex": {"service_tier": "flex"},
    "null": {"service_tier": None},
    "batch": {"usage": {"service_tier": "batch"}},
    "on demand": {"provider_fields": {"usageMetadata": {"trafficType": "ON_DEMAND"}}},
}


@pytest.mark.parametrize("name", TIERS, ids=str)
def test_tiers(name):
    """Only those that cost otherwise than a batch are told."""
    body = {"choices": [{"message": {"content": "yes"}}], "model": "m", **TIERS[name]}
    result = read_line(json.dumps({"custom_id": "a", "response": {"status_code": 200, "body": body}}).encode())
    plain = name in (None, "flex", "null", "batch", "on demand")
    assert (result.model, result.tier is None) == ("m", plain)


def changed(bench, **fields):
    outputs = bench.backend.outputs

    def written(job):
        for raw in b"".join(outputs(job)).splitlines():
            told = json.loads(raw)
            told["response"]["body"].update(fields)
            yield json.dumps(told).encode() + b"\n"

    bench.backend.outputs = written


def run_of(bench, **options):
    bench.backend.price_list, bench.backend.models = LISTS["openai"], ModelRules()
    bench.write([line(number, "gpt-4o-mini", max_tokens=20) for number in range(3)])
    return bench.finish(**options)


def test_a_run_that_another_model_answered(bench):
    changed(bench, model="gpt-4o-2024-08-06")
    summary = run_of(bench)
    assert summary.cost_usd == pytest.approx(find_price(LISTS["openai"], "gpt-4o", {}).cost(summary.usage))


def test_a_run_at_another_tier(bench):
    changed(bench, service_tier="priority", model="gpt-4o-mini-2024-07-18")
    summary = run_of(bench)
    assert summary.cost_usd is None
    assert summary.cost_unknown == (
        "3 requests for gpt-4o-mini got an answer of gpt-4o-mini-2024-07-18 at the service tier priority, "
        "whose price is not known"
    )


def test_a_budget_has_no_bound_at_another_tier(bench):
    """A round after it would be judged by the price that does not hold."""
    outputs = bench.backend.outputs

    def written(job):
        for raw in b"".join(outputs(job)).splitlines():
            told = json.loads(raw)
            told["response"]["body"]["service_tier"] = "priority"
            if told["custom_id"] == "row-0":
                told["response"] = {"status_code": 500, "body": {"error": {"message": "busy"}}}
            yield json.dumps(told).encode() + b"\n"

    bench.backend.outputs = written
    summary = run_of(bench, max_cost_usd=5.0)
    assert (
        "has no bound: 2 requests for gpt-4o-mini got an answer of gpt-4o-mini at the service tier" in summary.stopped
    )
    assert (summary.outcomes["succeeded"], summary.cost_usd) == (2, None)
    assert len(bench.fake.batches) == 1


SHARD = Shard(0, 0, 5, 100, "m", "/v1/chat/completions")


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ({"unmetered": 3, "lost": 3}, "the answers to 3 rows of m are gone and may have been billed"),
        ({"unmetered": 1}, "1 answer of m came without a count of tokens"),
        (
            {"unmetered": 3, "lost": 1},
            (
                "the answers to 1 row of m are gone and may have been billed; "
                "2 answers of m came without a count of tokens"
            ),
        ),
    ],
)
def test_the_reason_of_an_unknown_cost_is_true(bench, end, why):
    """Before: of answers that are gone, too, that they came without a count of tokens."""
    bench.backend.models = ModelRules(prices={"m": RATES})
    assert why_unknown(bench.backend, SHARD, End("j", "completed", "completed", 0.0, {}, USED, **end)) == why
