"""What a run cost: tokens times batch prices, by job and in all; unknown is unknown."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.counts import LARGE_ROW, Usage
from airflow_batch_provider.core.progress import summary_line
from airflow_batch_provider.core.provider_facts import PriceList
from airflow_batch_provider.core.records import ModelRules, RunOptions, Shard
from airflow_batch_provider.dialects.usage import read_usage
from airflow_batch_provider.run.budget import cost_range
from airflow_batch_provider.run.preview import Plan
from airflow_batch_provider.run.pricing import Price, find_price
from tests.facts import LISTS, azure_backend, portkey_backend, truefoundry_backend
from tests.run.benching import line

OWN = {"m": {"input": 2.0, "output": 10.0}}


def test_public_prices_are_halved():
    """The list holds real-time prices; a batch costs half, cached tokens what they cost cached."""
    price = find_price(LISTS["openai"], "gpt-5-mini", {})
    assert price == Price(0.125, 1.0, 0.025, cache_write=0.125)
    assert price.cost(Usage(input_tokens=1_000_000, output_tokens=500_000)) == pytest.approx(0.625)
    assert price.cost(Usage(input_tokens=1_000_000, cached_tokens=1_000_000)) == pytest.approx(0.025)


def test_the_discount_is_the_providers():
    """A row with another discount has its own prices; while the discount is unknown, so is every price of the list."""
    full = find_price(PriceList("openai", discount=0, source="it says so"), "gpt-5-mini", {})
    fifth = find_price(PriceList("openai", discount=0.2, source="it says so"), "gpt-5-mini", {})
    assert (full.input, full.output, full.cached_input) == (0.25, 2.0, 0.025)
    assert (fifth.input, fifth.output) == (pytest.approx(0.2), pytest.approx(1.6))
    unknown = PriceList("openai", discount=None, source="nobody says")
    assert find_price(unknown, "gpt-5-mini", {}) is None
    assert find_price(unknown, "d", {"d": {"model": "gpt-5-mini"}}) is None
    assert find_price(unknown, "m", OWN) == find_price(LISTS["openai"], "m", OWN)


@pytest.mark.parametrize("discount", [1, 50, -0.5])
def test_a_discount_is_a_share(discount):
    """50 for half the price would make every cost negative."""
    with pytest.raises(ValueError, match=r"a share, such as 0.5 for 50 %"):
        PriceList("openai", discount=discount, source="a slip")


@pytest.mark.parametrize("asked", [("openai", "no-such-model"), (None, "gpt-5-mini"), ("openai", None)])
def test_nobody_knows(asked):
    """A price that is in no list is None."""
    price_list, model = asked
    assert find_price(LISTS.get(price_list), model, {}) is None


def test_the_connections_prices_win():
    """Own prices hold as they are, by model before any model."""
    own = {"gpt-5-mini": {"input": 1.0, "output": 2.0}, "*": {"input": 3.0, "output": 4.0, "cached_input": 0.5}}
    assert find_price(LISTS["openai"], "gpt-5-mini", own) == Price(1.0, 2.0, 1.0)
    assert find_price(LISTS["openai"], "other", own) == Price(3.0, 4.0, 0.5)


@given(*[st.integers(0, 10**9)] * 3)
def test_cost_is_between_its_bounds(asked, made, cached):
    """Never negative, never above what everything uncached would cost, whatever the provider counts."""
    price = Price(2.0, 10.0, 0.5)
    cost = price.cost(Usage(asked, made, cached))
    assert 0 <= cost <= (asked * 2.0 + made * 10.0) / 1e6 + 1e-9


@pytest.mark.parametrize("expired", [None, 0.5])
def test_a_run_tells_its_cost(bench, expired):
    """The summary's cost is that of all answers, of every round; each job tells its part."""
    bench.backend.models = ModelRules(prices=OWN)
    bench.fake.faults.expired_fraction = expired
    bench.fake.faults.jobs = 1
    bench.write([line(number) for number in range(10)])
    summary = bench.finish()
    usage = summary.usage
    assert usage.output_tokens > 0
    assert summary.cost_usd == pytest.approx((usage.input_tokens * 2 + usage.output_tokens * 10) / 1e6)
    assert len(summary.jobs) == (1 if expired is None else 2)
    assert sum(job["cost_usd"] for job in summary.jobs) == pytest.approx(summary.cost_usd)


def test_an_unknown_price_is_no_zero(bench):
    """One model without a price makes the whole cost unknown, while its own part is still told."""
    bench.backend.models = replace(bench.backend.models, prices=OWN)
    bench.write([line(0), line(1, "nobody-knows-me")])
    summary = bench.finish()
    assert summary.cost_usd is None
    assert {job["model"]: job["cost_usd"] is None for job in summary.jobs} == {"m": False, "nobody-knows-me": True}


def test_every_provider_names_its_list():
    """Public prices are looked up under the provider that is really asked, through gateways too; another address's are
    not known."""
    from airflow.sdk import Connection

    from airflow_batch_provider.hooks.openai import OpenAIBatchHook

    def openai(host):
        connection = Connection(conn_id="o", conn_type="openai_batch", host=host, password="k")
        return OpenAIBatchHook("o", connection=connection).backend.price_list

    assert [openai(None), openai("https://example.com/v1")] == [LISTS["openai"], None]
    assert azure_backend("https://r.openai.azure.com", "k").price_list == LISTS["azure"]
    behind = {"openai": "openai", "azure_openai": "azure", "bedrock": "aws", "vertex_ai": "google"}
    for name, wanted in behind.items():
        assert portkey_backend("https://g/v1", "k", provider="@s", behind=name).price_list == LISTS[wanted]
        assert truefoundry_backend("https://g/v1", "k", "p", behind=name).price_list == LISTS[wanted]


LONG = "gpt-5.4"
"""Costs more by the token from 272,000 input tokens on (OpenAI's price list)."""


def real_time(model, usage, provider="openai"):
    """What the public list asks for one call, not in a batch."""
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    tokens = Tokens(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cache_read_tokens=usage.cached_tokens
    )
    return float(calc_price(tokens, model_ref=model, provider_id=provider).total_price)


@pytest.mark.parametrize(
    ("provider", "model", "start"),
    [("openai", LONG, 272_000), ("google", "gemini-2.5-pro", 200_000), ("anthropic", "claude-sonnet-4-5", 200_000)],
)
def test_a_long_request_costs_more_by_the_token(provider, model, start):
    """A8, X13: the tier of each answer is that of its own input, and holds for all of its tokens."""
    price = find_price(LISTS[provider], model, {})
    for tokens in (1000, start, start + 1, 2 * start):
        usage = Usage(input_tokens=tokens, output_tokens=5000)
        assert price.cost(usage) == pytest.approx(0.5 * real_time(model, usage, provider)), tokens
    assert price.cost(Usage(start + 1, 10)) > 1.9 * price.cost(Usage(start, 10))


def test_tiers_are_by_row(bench):
    """A8: a run of short and long prompts costs what its rows cost one by one, and no more than was foreseen."""
    bench.backend.price_list = LISTS["openai"]
    # The fake answers with the prompt itself, so the bound of the answer is as long.
    lines = [line(number, LONG, max_tokens=300_000) for number in range(3)]
    lines[1]["body"]["messages"][0]["content"] = "a " * 280_000
    lines[2]["body"]["messages"][0]["content"] = "a " * 260_000
    bench.write(lines)
    plan = Plan.of(str(bench.input), bench.backend, RunOptions())
    summary = bench.finish()
    told = [read_usage(one["response"]["body"]) for one in bench.results().values()]
    assert sorted(usage.input_tokens for usage in told)[-1] > 272_000
    assert summary.cost_usd == pytest.approx(sum(0.5 * real_time(LONG, usage) for usage in told))
    flat = sum(1.25 * usage.input_tokens + 7.5 * usage.output_tokens for usage in told) / 1e6
    assert summary.cost_usd > 1.2 * flat
    assert plan.cost.low <= summary.cost_usd <= plan.cost.high


_ROWS = st.lists(st.tuples(st.integers(1, 600_000), st.integers(0, 50_000), st.floats(0, 1)), min_size=1, max_size=6)


@given(_ROWS, st.sampled_from([("openai", LONG), ("google", "gemini-2.5-pro"), ("openai", "gpt-4o-mini")]))
def test_what_is_foreseen_is_never_less(rows, found):
    """X12, X13: whatever share of its bounds each row uses, the shard costs no more than the upper end."""

    class Backend:
        price_list = LISTS[found[0]]
        models = ModelRules()

    large = tuple((most, cap, 0) for most, cap, _ in rows if most > LARGE_ROW)
    totals = {"most_tokens": sum(most for most, _, _ in rows), "output_tokens": sum(cap for _, cap, _ in rows)}
    shard = Shard(0, 0, len(rows), 1, found[1], "/v1/chat/completions", **totals, large=large)
    price = find_price(LISTS[found[0]], found[1], {})
    cost = sum(price.cost(Usage(int(most * share), int(cap * share))) for most, cap, share in rows)
    assert cost <= cost_range(Backend, [shard], None).high * (1 + 1e-9)


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost"),
    [
        ("google", "gemini-2.5-flash-image", Usage(100, 1290, output_image_tokens=1290), 100 * 0.15 + 1290 * 15),
        ("google", "gemini-2.5-flash", Usage(1000, 10, input_audio_tokens=900), 100 * 0.15 + 900 * 0.5 + 10 * 1.25),
        ("google", "gemini-2.5-pro", Usage(1000, 10, input_audio_tokens=900), 1000 * 0.625 + 10 * 5),
        ("google", "gemini-2.5-flash", Usage(100, 1290, output_image_tokens=1290), None),
        ("openai", "gpt-4o", Usage(1000, 10, input_audio_tokens=900), None),
        ("openai", "gpt-4o", Usage(1000, 10, output_audio_tokens=9), None),
        ("openai", "gpt-4o", Usage(1000, 10, input_image_tokens=900), 1000 * 1.25 + 10 * 5),
        (
            "anthropic",
            "claude-sonnet-4-5",
            Usage(1000, 10, 100, cache_write_tokens=200),
            700 * 1.5 + 20 * 1.5 + 375 + 75,
        ),
    ],
)
def test_tokens_of_media_have_their_own_price(provider, model, usage, cost):
    """A8: sound, images and cache writes at their own price, or unknown; never silently at that of text."""
    found = find_price(LISTS[provider], model, {}).cost(usage)
    assert found == (None if cost is None else pytest.approx(cost / 1e6))


def test_own_prices_of_media_and_the_model_behind():
    """A connection's prices may name those of media; a deployment may name its model, whose public price holds."""
    own = {"d": {"input": 1.0, "output": 2.0, "output_audio": 9.0}, "vision-prod": {"model": "gpt-4o"}}
    assert find_price(LISTS["azure"], "d", own).cost(Usage(0, 100, output_audio_tokens=100)) == pytest.approx(900 / 1e6)
    assert find_price(LISTS["azure"], "d", own).cost(Usage(100, 1, cache_write_tokens=10)) is None
    assert find_price(LISTS["openai"], "vision-prod", own) == find_price(LISTS["openai"], "gpt-4o", {})
    assert ModelRules(prices=own).behind("vision-prod") == "gpt-4o"


@pytest.mark.parametrize("usage", [{}, None, {"prompt_tokens": 5, "completion_tokens": None}, {"prompt_tokens": -5}])
def test_unreadable_counts_are_unknown(bench, usage):
    """X14: an answer whose tokens cannot be read makes the cost unknown, and log, summary and XCom say why."""
    bench.backend.models = ModelRules(prices=OWN)
    outputs = bench.backend.outputs

    def changed(job):
        for raw in b"".join(outputs(job)).splitlines():
            told = json.loads(raw)
            told["response"]["body"]["usage"] = usage
            yield json.dumps(told).encode() + b"\n"

    bench.backend.outputs = changed
    bench.write([line(number) for number in range(3)])
    summary = bench.finish()
    assert summary.cost_usd is None
    assert summary.cost_unknown == "3 answers of m came without a count of tokens"
    assert summary.flat()["cost_unknown"] == summary.cost_unknown
    assert "cost unknown (3 answers of m came without a count of tokens)" in summary_line(summary)


@pytest.mark.parametrize("form", ["google/{}", "models/{}", "publishers/google/models/{}"])
def test_a_model_has_its_price_by_every_form_of_its_name(form):
    """B13: the forms that are understood are priced, too; a tuned model's number has no price."""
    google = LISTS["google"]
    plain = find_price(google, "gemini-2.5-flash", {})
    assert find_price(google, form.format("gemini-2.5-flash"), {}) == plain is not None
    assert find_price(google, "projects/p/locations/l/endpoints/123456", {}) is None
