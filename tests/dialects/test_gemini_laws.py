"""Laws of chat with Gemini, for whatever a body holds."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.families import vertex_family
from airflow_batch_provider.dialects.gemini import GeminiDialect
from tests.dialects import laws
from tests.dialects.vertex_tools import GEMINI_2, GEMINI_3, check_types, echoed

BROAD = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


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
@given(laws.chat_bodies())
def test_texts_stay(body: JSON) -> None:
    """No text is lost or reordered."""
    laws.keeps_texts(dialect(), body, texts_in)


@BROAD
@given(laws.chat_bodies(), st.sampled_from([GEMINI_2, GEMINI_3]))
def test_meaning_stays(body: JSON, model: str) -> None:
    """decode(echo(encode(x))) keeps the meaning, and Google's types know every request."""
    laws.keeps_meaning(dialect(model), body, echoed)
    check_types({"request": {**dialect(model).request(body), "labels": {"a": "b"}}})


@BROAD
@given(laws.chat_bodies())
def test_calls_stay(body: JSON) -> None:
    """Every call and every result is there, in order, results named after the call they answer."""
    named = {call["id"]: call["function"]["name"] for said in body["messages"] for call in said.get("tool_calls") or ()}
    calls, results = laws.ids_of(body)
    parts = [part for turn in dialect().request(body)["contents"] for part in turn["parts"]]
    assert [part["functionCall"]["name"] for part in parts if "functionCall" in part] == [named[it] for it in calls]
    found = [part["functionResponse"]["name"] for part in parts if "functionResponse" in part]
    assert found == [named[it] for it in results]


@settings(BROAD, max_examples=300)
@given(laws.wild_bodies(), st.sampled_from([GEMINI_2, GEMINI_3]))
def test_rows_are_refused_by_name(body: JSON, model: str) -> None:
    """Whatever a body holds, only errors of the row come of it."""
    laws.raises_row_errors_only(dialect(model), body)
