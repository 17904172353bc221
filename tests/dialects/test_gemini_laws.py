"""Laws of chat with Gemini, for whatever a body holds."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.families import vertex_family
from airflow_batch_provider.dialects.gemini import GeminiDialect
from tests.dialects import laws
from tests.dialects.vertex_tools import GEMINI_2, GEMINI_3, check_types, echoed

BROAD = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def as_taken(body: JSON) -> JSON:
    """The body without JSON beside tools, which no Gemini before 3 takes."""
    return {name: value for name, value in body.items() if name != "response_format" or "tools" not in body}


BODIES = laws.chat_bodies().map(as_taken)


def by_calls(body: JSON) -> JSON:
    """The body with the results of each turn in the order of their calls, whose ids count upwards."""
    messages: list[JSON] = []
    for is_tool, group in itertools.groupby(body["messages"], lambda message: message["role"] == "tool"):
        said = list(group)
        messages += sorted(said, key=lambda message: message["tool_call_id"]) if is_tool else said
    return {**body, "messages": messages}


def dialect(model: str = GEMINI_2) -> GeminiDialect:
    return GeminiDialect(vertex_family(model), model)


def texts_in(request: JSON) -> tuple[list[str], list[str]]:
    """The texts of a request, read back without our code; a result's text stands in ``output`` or is its JSON."""
    system = [part["text"] for part in request.get("systemInstruction", {"parts": []})["parts"]]
    turns: list[str] = []
    for part in (part for turn in request["contents"] for part in turn["parts"]):
        if "text" in part:
            turns.append(part["text"])
        elif "functionResponse" in part:
            turns.append(part["functionResponse"]["response"]["output"])
    return system, turns


@BROAD
@given(BODIES)
def test_texts_stay(body: JSON) -> None:
    """No text is lost, and none reordered but results, which go by their calls."""
    assert dialect().request(body) == dialect().request(by_calls(body))
    laws.keeps_texts(dialect(), by_calls(body), texts_in)


@BROAD
@given(BODIES, st.sampled_from([GEMINI_2, GEMINI_3]))
def test_meaning_stays(body: JSON, model: str) -> None:
    """decode(echo(encode(x))) keeps the meaning, and Google's types know every request."""
    laws.keeps_meaning(dialect(model), body, echoed)
    check_types({"request": {**dialect(model).request(body), "labels": {"a": "b"}}})


@BROAD
@given(BODIES)
def test_calls_stay(body: JSON) -> None:
    """Every call and every result is there, in the order of the calls, results named after the call they answer."""
    named = {call["id"]: call["function"]["name"] for said in body["messages"] for call in said.get("tool_calls") or ()}
    calls, results = laws.ids_of(by_calls(body))
    parts = [part for turn in dialect().request(body)["contents"] for part in turn["parts"]]
    assert [part["functionCall"]["name"] for part in parts if "functionCall" in part] == [named[it] for it in calls]
    found = [part["functionResponse"]["name"] for part in parts if "functionResponse" in part]
    assert found == [named[it] for it in results]


@settings(BROAD, max_examples=300)
@given(laws.wild_bodies(), st.sampled_from([GEMINI_2, GEMINI_3]))
def test_rows_are_refused_by_name(body: JSON, model: str) -> None:
    """Whatever a body holds, only errors of the row come of it."""
    laws.raises_row_errors_only(dialect(model), body)
