"""Shards hold every row once, within the limits, evenly, and the same way each time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import InputError
from airflow_batch_provider.core.planning import cut, plan_shards
from airflow_batch_provider.core.records import Limits
from airflow_batch_provider.core.validation import Group


def limits(rows, size, least=1):
    return Limits(rows, size, "test", ("/v1/chat/completions",), min_rows=least)


@given(st.lists(st.integers(1, 100), max_size=200), st.integers(1, 50), st.integers(100, 1000), st.integers(1, 20))
def test_cut_keeps_every_limit(sizes, most, size, least):
    """A cut, where there is one, takes each row once and holds every limit."""
    counts = cut(sizes, limits(most, size, least))
    if counts is None:
        assert least > 1
        return
    assert sum(counts) == len(sizes)
    position = 0
    for count in counts:
        assert least <= count <= most
        assert sum(sizes[position : position + count]) <= size
        position += count
    assert counts == cut(sizes, limits(most, size, least))


@given(st.integers(1, 5000), st.integers(1, 700))
def test_equal_rows_are_spread_evenly(rows, most):
    """With rows of one size, shards are as few as can be and differ by one row at most."""
    counts = cut([10] * rows, limits(most, 10**9))
    assert len(counts) == -(-rows // most)
    assert max(counts) - min(counts) <= 1


def test_last_shard_is_never_a_crumb():
    """50,001 rows with a minimum of 100 become two even shards, not one full and one too small."""
    assert cut([1] * 50_001, limits(50_000, 10**9, 100)) == [25_001, 25_000]


def test_a_quarter_gigabyte_is_split_by_bytes():
    """250 MB in a 200 MB file limit are two shards."""
    shards = plan_shards("x", [group([1_000_000] * 250)], limits(50_000, 200_000_000), 0)
    assert [shard.rows for shard in shards] == [125, 125]
    assert max(shard.size for shard in shards) <= 200_000_000


def test_too_few_rows_are_refused_with_the_figures():
    """99 rows for a provider that takes 100 are an error that says so."""
    with pytest.raises(InputError, match="has 99 rows; the provider requires at least 100"):
        plan_shards("x", [group([1] * 99)], limits(50_000, 10**9, 100), 0)


def test_minimum_and_maximum_that_exclude_each_other_are_refused():
    """100 rows that do not fit one file cannot be sent, and both figures are told."""
    with pytest.raises(InputError, match=r"minimum of 100 rows and its maximum of 1,000 bytes"):
        plan_shards("x", [group([20] * 100)], limits(50_000, 1000, 100), 0)


def test_models_are_planned_apart():
    """Each shard has one model; names count up over all of them."""
    shards = plan_shards("x", [group([1] * 3, "a"), group([1] * 2, "b")], limits(2, 100), 1)
    assert [(s.name, s.model, s.rows) for s in shards] == [
        ("r1-00000", "a", 2),
        ("r1-00001", "a", 1),
        ("r1-00002", "b", 2),
    ]


def group(sizes, model="m"):
    made = Group(model, "/v1/chat/completions")
    made.sizes.extend(sizes)
    return made
