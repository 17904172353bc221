"""What is read at a glance says what the full reading says, of every line."""

import contextlib
import json

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batch_provider.dialects.loading import load
from airflow_batch_provider.dialects.openai import read_line, read_loaded
from airflow_batch_provider.dialects.plain import plain_result

SETTINGS = settings(deadline=None, derandomize=True, max_examples=1500)
SCALARS = st.none() | st.booleans() | st.integers(-5, 10**13) | st.sampled_from([200.0, 1.5]) | st.text(max_size=5)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


def nested(levels):
    value = None
    for _ in range(levels):
        value = [value]
    return value


def plain_line():
    """What OpenAI writes of most rows."""
    message = {"role": "assistant", "content": "yes", "refusal": None, "annotations": []}
    details = {"cached_tokens": 0, "audio_tokens": 0}
    usage = {"prompt_tokens": 24, "completion_tokens": 15, "total_tokens": 39, "prompt_tokens_details": details}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-mini-2024-07-18"}
    body["choices"] = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    body |= {"usage": usage, "service_tier": "default", "system_fingerprint": "fp"}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "batch_req_1", "custom_id": "row-1", "response": response, "error": None}


BODY = ("response", "body")
CHOICE = (*BODY, "choices", 0)
CALL = {"function": {"name": "f", "arguments": "{}"}}
ODD = {
    ("custom_id",): ["", 7, 10**30, 1.5, None],
    ("error",): [{"code": "x", "message": "m"}, "", {}, "None", {"code": "cut_off", "message": "m"}],
    ("key",): [10**30],
    ("response", "status_code"): [200.0, True, "200", 201, 400, None],
    ("response", "body"): [[], "{}", False],
    (*BODY, "model"): [None, 7],
    (*BODY, "choices"): [[], None, "x", [None], [{}], [{"text": "t"}, {"text": "u"}]],
    (*BODY, "output"): [[], None, "x", [{"type": "message", "content": [{"type": "output_text", "text": "t"}]}]],
    (*BODY, "status"): ["failed"],
    (*BODY, "error"): [None, {}, "", {"message": "m"}, {"code": 200}, "None"],
    (*BODY, "deep"): [nested(levels) for levels in (240, 250, 251, 252, 253, 254, 260)],
    (*BODY, "service_tier"): ["priority", {"type": "Fast"}, None, {"x": 1}, 5],
    (*BODY, "provider_fields"): [{"usage": {"serviceTier": "fast"}}, {"usageMetadata": {"trafficType": "DEAR"}}, 1],
    (*CHOICE, "finish_reason"): ["length", "content_filter", "STOP", "MAX_TOKENS", "no_image", "refusal", None, []],
    (*CHOICE, "text"): ["t", None, ""],
    (*CHOICE, "message"): [None, "x", [], {}],
    (*CHOICE, "message", "content"): [None, "", " \u2003\n", "\x1c", "{[" * 130, 5, ["a"], [{"text": "a"}]],
    (*CHOICE, "message", "refusal"): ["no", 5, ""],
    (*CHOICE, "message", "tool_calls"): [[CALL], [], "x"],
    (*CHOICE, "message", "audio"): [{"transcript": "spoken"}],
    (*CHOICE, "message", "images"): [[1]],
    (*BODY, "usage"): [None, {}, [1], {"prompt_tokens": 1}, {"completion_tokens": 1}],
    (*BODY, "usage", "prompt_tokens"): [-1, "7", 7.0, None, 10**13, True],
    (*BODY, "usage", "prompt_tokens_details"): [{}, None, {"cached_tokens": "x"}, {"cached_tokens": 3}],
    (*BODY, "usage", "input_tokens_details"): [{"cached_tokens": 7}],
    (*BODY, "usage", "completion_tokens_details"): [{"reasoning_tokens": 4, "audio_tokens": None}],
    (*BODY, "usage", "service_tier"): ["priority", None],
}
"""Members of such a line, and what some write there."""
CHANGES = st.sampled_from([(where, value) for where, values in ODD.items() for value in values])
ANYWHERE = st.tuples(st.sampled_from(sorted(ODD)), ANYTHING)
ORDERS = st.sampled_from([(), ("response",), BODY])


def inside(line, where):
    """The object or list at a place, None where a change took it away."""
    with contextlib.suppress(LookupError, TypeError):
        for name in where:
            line = line[name]
        return line
    return None


@st.composite
def lines(draw):
    """A line with up to three changes: values, members that are missing, others in another order."""
    line = plain_line()
    for where, value in draw(st.lists(CHANGES | ANYWHERE, max_size=3)):
        if isinstance(place := inside(line, where[:-1]), dict):
            place[where[-1]] = value
    if draw(st.integers(0, 3)) == 0:
        where, by = draw(st.sampled_from(sorted(ODD))), draw(ORDERS)
        if isinstance(place := inside(line, where[:-1]), dict):
            place.pop(where[-1], None)
        if isinstance(place := inside(line, by), dict):
            shuffled = draw(st.permutations(list(place.items())))
            place.clear()
            place.update(shuffled)
    return line


def views(result):
    """All that a result says."""
    return (result, result.model, result.tier, result.data, list(result.data), result.content, result.qualities)


@SETTINGS
@given(lines(), st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_a_line_read_at_a_glance_is_the_line_read_in_full(line, ascii_only, marks):
    raw = json.dumps(line, ensure_ascii=ascii_only, separators=marks).encode()
    data, mended = load(raw)
    assert views(read_line(raw)) == views(read_loaded(data, raw, mended=mended))


def test_what_openai_writes_is_read_at_a_glance():
    raw = orjson.dumps(plain_line())
    assert plain_result(orjson.loads(raw), raw) is not None
