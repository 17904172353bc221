"""The laws of planning, against a search through every cut there is."""

from functools import cache
from math import ceil

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import InputError
from airflow_batch_provider.core.planning import cut, plan_shards
from airflow_batch_provider.core.records import Limits
from airflow_batch_provider.core.validation import Group

MODELS = st.sampled_from(["a", "b", "c"])
SETTINGS = settings(deadline=None, derandomize=True, max_examples=400)


def limits(rows, size, least=1):
    return Limits(rows, size, "a test", ("/v1/chat/completions",), min_rows=least)


@st.composite
def small(draw):
    """Few rows of sizes and tokens that make every limit bite: ``(sizes, limits, tokens, max_tokens, lines)``."""
    most = draw(st.integers(1, 8))
    sizes = draw(st.lists(st.integers(1, 10), min_size=1, max_size=14))
    return (
        sizes,
        limits(most, draw(st.integers(10, 40)), draw(st.integers(1, most))),
        draw(st.lists(st.integers(0, 10), min_size=len(sizes), max_size=len(sizes))),
        draw(st.none() | st.integers(5, 40)),
        draw(st.just([]) | st.lists(st.integers(1, most), min_size=len(sizes), max_size=len(sizes))),
    )


def by_size(sizes, wanted):
    return sizes, wanted, [0] * len(sizes), None, []


@st.composite
def groups(draw):
    """Models in the order of their first row, two variants of one at times."""
    made = []
    for model, variant in draw(st.lists(st.tuples(MODELS, st.integers(0, 1)), unique=True, max_size=5)):
        group = Group(model, "/v1/chat/completions", variant)
        group.sizes.extend(draw(st.lists(st.integers(1, 100), min_size=1, max_size=120)))
        made.append(group)
    return made


def every_cut(sizes, wanted, tokens, max_tokens, lines):
    """Every way to cut these rows in order within the limits, by trying each; a single row may have any tokens."""

    @cache
    def after(position):
        if position == len(sizes):
            return [()]
        found = []
        for rows in range(1, len(sizes) - position + 1):
            taken = slice(position, position + rows)
            counted = sum(lines[taken]) if lines else rows
            if counted > wanted.max_rows or sum(sizes[taken]) > wanted.max_bytes:
                break
            if max_tokens is not None and rows > 1 and sum(tokens[taken]) > max_tokens:
                break
            if counted < wanted.min_rows:
                continue
            found += [(rows, *rest) for rest in after(position + rows)]
        return found

    return after(0)


@SETTINGS
@given(small())
@example(by_size([1, 1, 1, 1, 10], limits(8, 10, 2)))
@example(by_size([1, 3, 1, 2, 2, 1, 8, 1], limits(5, 10, 3)))
@example(by_size([1, 1, 2, 3, 2, 1, 3, 10], limits(7, 14, 3)))
@example(by_size([1, 8, 1, 4, 10, 3, 1, 2, 2], limits(4, 13, 2)))
def test_a_cut_is_refused_only_when_there_is_none(asked):
    """None means that no cut in order holds maximum, bytes, tokens and minimum, counted in wire lines; any other answer
    is one that does."""
    possible = every_cut(*asked)
    counts = cut(*asked)
    if counts is None:
        assert not possible
    else:
        assert tuple(counts) in possible
        assert counts == cut(*asked)


@SETTINGS
@given(small())
def test_even_and_few_where_bytes_leave_room(asked):
    """Where any neighbours may share a file, there is no shard more than the maximum of rows asks for, and the largest
    has one row more than the smallest at most."""
    sizes, wanted, *_ = asked
    fewest = ceil(len(sizes) / wanted.max_rows)
    rows = ceil(len(sizes) / fewest)
    room = max(sum(sizes[at : at + rows]) for at in range(len(sizes))) <= wanted.max_bytes
    counts = cut(sizes, wanted)
    if room and len(sizes) // fewest >= wanted.min_rows:
        assert len(counts) == fewest
        assert max(counts) - min(counts) <= 1


@SETTINGS
@given(groups(), st.integers(1, 60), st.integers(100, 2000), st.integers(1, 12), st.integers(0, 3))
def test_a_plan_is_the_lines_of_every_group_once_and_in_order(made, most, size, least, round_no):
    """Shards are named in turn, follow their groups' order, hold each line once with its bytes, keep every limit, and
    the same groups are planned the same way; or a group is refused, and it alone."""
    least = min(least, most)
    wanted = limits(most, size, least)
    refused = [group for group in made if cut(group.sizes, wanted) is None]
    if refused:
        with pytest.raises(InputError) as caught:
            plan_shards("x.jsonl", made, wanted, round_no)
        assert caught.value.total == len(refused)
        return
    shards = plan_shards("x.jsonl", made, wanted, round_no)
    assert [shard.name for shard in shards] == [f"r{round_no}-{number:05d}" for number in range(len(shards))]
    left = iter(shards)
    for group in made:
        position = 0
        while position < len(group.sizes):
            shard = next(left)
            assert (shard.model, shard.endpoint, shard.variant) == (group.model, group.endpoint, group.variant)
            assert least <= shard.rows <= most
            assert shard.size == sum(group.sizes[position : position + shard.rows]) <= size
            position += shard.rows
        assert position == len(group.sizes)
    assert next(left, None) is None
    assert shards == plan_shards("x.jsonl", made, wanted, round_no)


def test_shards_are_even_in_wire_lines():
    """Where rows are several wire lines, it is lines that are shared out evenly, and lines that the minimum counts."""
    assert cut([1] * 10, limits(12, 10**9, 6), lines=[2] * 10) == [5, 5]
    assert cut([1] * 6, limits(6, 10**9, 3), lines=[5, 1, 1, 1, 1, 1]) == [1, 5]
    assert cut([1] * 2, limits(100, 10**9, 100), lines=[60, 40]) == [2]
    assert cut([1] * 2, limits(100, 10**9, 100), lines=[60, 39]) is None
