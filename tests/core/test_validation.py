"""Every problem is found in one pass, with its line number and its remedy."""

import json
from array import array
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import InputError
from airflow_batch_provider.core.records import Limits, ModelRules
from airflow_batch_provider.core.validation import Rules, validate

LIMITS = Limits(50_000, 200_000_000, "test", ("/v1/chat/completions", "/v1/embeddings"))
GOOD = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
}


NO_RULES = ModelRules()


class AsItIs:
    """Writes every line as the author did."""

    notes = MappingProxyType({})

    def encode(self, request, position):
        return request.raw

    def variant(self, request):
        return 0


def check(*lines, models=NO_RULES, endpoint=None, limits=LIMITS):
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return validate(enumerate(raw, 1), "in.jsonl", Rules(models, limits, endpoint), lambda *_: AsItIs())


def without(*names, **changes):
    return {key: value for key, value in {**GOOD, **changes}.items() if key not in names}


@pytest.mark.parametrize(
    ("line", "field", "said"),
    [
        (b"", "", "blank"),
        (b"   ", "", "blank"),
        (b"# note", "", "comment"),
        (b"// note", "", "comment"),
        (b"{broken", "", "not JSON"),
        (b"[", "", "one object per line"),
        (b"[1]", "", "array"),
        (b'"text"', "", "must be a JSON object"),
        (b"{\xff\xfe", "", "not UTF-8"),
        (b'{"custom_id": NaN}', "", "not JSON"),
        (without("custom_id"), "custom_id", "missing"),
        (without(custom_id=7), "custom_id", "string"),
        (without(custom_id=" "), "custom_id", "empty"),
        (without(method="GET"), "method", "POST"),
        (without("url"), "url", "endpoint="),
        (without(url="/v1/files"), "url", "not an endpoint"),
        (without(url=5), "url", "not an endpoint"),
        (without(extra=1), "extra", "unknown field"),
        (without("body"), "body", "missing"),
        (without(body=[]), "body", "object"),
        (without(body={"messages": [{"role": "user"}]}), "body.model", "missing"),
        (without(body={**GOOD["body"], "model": 3}), "body.model", "string"),
        (without(body={**GOOD["body"], "stream": True}), "body.stream", "stream"),
        (without(body={"model": "m"}), "body.messages", "missing"),
        (without(body={"model": "m", "messages": "hi"}), "body.messages", "array"),
        (without(body={"model": "m", "messages": ["hi"]}), "body.messages[0]", "role"),
        (without(url="/v1/embeddings", body={"model": "m"}), "body.input", "missing"),
    ],
)
def test_one_bad_line_is_named(line, field, said):
    """The problem names line 2, its field, and what to do."""
    report = check(without(custom_id="first"), line)
    assert report.problem_count == 1
    problem = report.problems[0]
    assert (problem.line, problem.field) == (2, field)
    assert said in problem.message


def test_all_problems_are_told_at_once():
    """No problem hides another."""
    report = check(b"", b"{", without("custom_id", "url"), GOOD, GOOD)
    assert [(p.line, p.field) for p in report.problems] == [
        (1, ""), (2, ""), (3, "custom_id"), (3, "url"), (5, "custom_id")
    ]  # fmt: skip
    assert "line 4" in report.problems[-1].message
    with pytest.raises(InputError, match=r"in\.jsonl: 5 problems; nothing was sent"):
        report.raise_for_problems()


def test_problems_are_counted_beyond_what_is_kept():
    """A file of garbage neither fills the memory nor loses count."""
    report = check(*[b"{"] * 1500)
    assert (report.problem_count, len(report.problems)) == (1500, 1000)
    with pytest.raises(InputError, match="and 1480 more"):
        report.raise_for_problems()


def test_empty_file_is_a_problem():
    """Nothing to ask is told, not passed."""
    assert "empty" in check().problems[0].message


def test_method_url_and_model_may_come_from_above():
    """A line may leave out what the operator or the connection supplies."""
    line = {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "hi"}]}}
    report = check(line, models=ModelRules(default="base"), endpoint="/v1/chat/completions")
    assert report.problem_count == 0
    assert (report.groups[0].model, report.groups[0].endpoint) == ("base", "/v1/chat/completions")


@pytest.mark.parametrize(
    ("rules", "model"),
    [
        (ModelRules(), "m"),
        (ModelRules(override="o", mapping={"m": "x"}, default="d"), "o"),
        (ModelRules(mapping={"m": "x"}, default="d"), "x"),
        (ModelRules(mapping={"other": "x"}, default="d"), "m"),
    ],
)
def test_model_is_resolved_strongest_first(rules, model):
    """Operator, then the mapping of the line's model, then the line, then the default."""
    assert check(GOOD, models=rules).groups[0].model == model


def test_azure_spelling_of_an_endpoint_is_the_same_endpoint():
    """``/chat/completions`` and ``/v1/chat/completions`` share a shard."""
    report = check(GOOD, without(custom_id="b", url="/chat/completions"))
    assert [len(group.sizes) for group in report.groups] == [2]


def test_several_models_become_groups():
    """One file may ask several models; each is a group with the sizes of its wire lines."""
    other = without(custom_id="b", body={**GOOD["body"], "model": "n"})
    report = check(GOOD, other, without(custom_id="c"))
    assert [(group.model, len(group.sizes)) for group in report.groups] == [("m", 2), ("n", 1)]
    assert report.groups[1].sizes == array("L", [len(json.dumps(other)) + 1])


def test_a_line_larger_than_a_file_is_refused():
    """No plan could hold it."""
    limits = Limits(10, 60, "test", LIMITS.endpoints)
    assert "a file may have at most 60 bytes" in check(GOOD, limits=limits).problems[0].message


@given(st.permutations(range(5)), st.booleans())
def test_fingerprint_ignores_order_and_formatting(order, spaced):
    """The same requests are the same input, in any order and spacing; another body is another input."""
    lines = [without(custom_id=str(number)) for number in range(5)]
    separators = (", ", ": ") if spaced else (",", ":")
    shuffled = [json.dumps(lines[number], separators=separators).encode() for number in order]
    assert check(*shuffled).fingerprint == check(*lines).fingerprint
    assert check(*shuffled[:-1]).fingerprint != check(*lines).fingerprint
    assert check(*lines, models=ModelRules(override="z")).fingerprint != check(*lines).fingerprint


@given(st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), min_size=1, max_size=30))
def test_junk_never_crashes(junk):
    """Any bytes are either a request or a problem."""
    report = check(b"{}", *junk)
    junk = [b"{}", *junk]
    assert report.rows + len({p.line for p in report.problems}) == len(junk)
