"""What a run cost: tokens times batch prices, by job and in all; unknown is unknown."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.records import ModelRules, Usage
from airflow_batch_provider.pricing import Price, find_price
from tests.run.benching import line

OWN = {"m": {"input": 2.0, "output": 10.0}}


def test_public_prices_are_halved():
    """The list holds real-time prices; a batch costs half, cached tokens what they cost cached."""
    price = find_price("openai", "gpt-5-mini", {})
    assert price == Price(0.125, 1.0, 0.025)
    assert price.cost(Usage(input_tokens=1_000_000, output_tokens=500_000)) == pytest.approx(0.625)
    assert price.cost(Usage(input_tokens=1_000_000, cached_tokens=1_000_000)) == pytest.approx(0.025)


@pytest.mark.parametrize("asked", [("openai", "no-such-model"), (None, "gpt-5-mini"), ("openai", None)])
def test_nobody_knows(asked):
    """A price that is in no list is None."""
    assert find_price(*asked, {}) is None


def test_the_connections_prices_win():
    """Own prices hold as they are, by model before any model."""
    own = {"gpt-5-mini": {"input": 1.0, "output": 2.0}, "*": {"input": 3.0, "output": 4.0, "cached_input": 0.5}}
    assert find_price("openai", "gpt-5-mini", own) == Price(1.0, 2.0, 1.0)
    assert find_price("openai", "other", own) == Price(3.0, 4.0, 0.5)


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

    from airflow_batch_provider.backends.azure_openai import azure_backend
    from airflow_batch_provider.backends.gateways import portkey_backend, truefoundry_backend
    from airflow_batch_provider.hooks.openai import OpenAIBatchHook

    def openai(host):
        connection = Connection(conn_id="o", conn_type="openai_batch", host=host, password="k")
        return OpenAIBatchHook("o", connection=connection).backend.price_list

    assert [openai(None), openai("https://example.com/v1")] == ["openai", None]
    assert azure_backend("https://r.openai.azure.com", "k").price_list == "azure"
    behind = {"openai": "openai", "azure_openai": "azure", "bedrock": "aws", "vertex_ai": "google"}
    for name, wanted in behind.items():
        assert portkey_backend("https://g/v1", "k", provider="@s", behind=name).price_list == wanted
        assert truefoundry_backend("https://g/v1", "k", "p", behind=name).price_list == wanted
