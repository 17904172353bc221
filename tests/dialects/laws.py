"""Strategies for OpenAI chat bodies, and the laws that every dialect keeps."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.dialect import Dialect

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
"""What orjson can read from a line."""
TEXTS = st.text(min_size=1, max_size=20).filter(lambda text: text == text.strip())
"""Texts that stay as they are wherever they stand; white space at the ends is another test's matter."""
NAMES = st.sampled_from(["look_up", "other-tool", "third_1"])


def vector_of(text: str) -> list[float]:
    """A vector of length 1 that no other text has."""
    numbers = [1000.0, *(float(byte) for byte in text.encode())]
    length = math.hypot(*numbers)
    return [number / length for number in numbers]


def text_part(text: str) -> JSON:
    return {"type": "text", "text": text}


IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}


@st.composite
def _user(draw: st.DrawFn, images: bool) -> JSON:
    if draw(st.booleans()):
        return {"role": "user", "content": draw(TEXTS)}
    parts = [text_part(text) for text in draw(st.lists(TEXTS, min_size=1, max_size=3))]
    if images and draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), copy.deepcopy(IMAGE))
    return {"role": "user", "content": parts}


@st.composite
def _round(draw: st.DrawFn, number: int, tools: bool, images: bool) -> list[JSON]:
    """What the user says, once or twice, and what is answered."""
    said = draw(st.lists(_user(images), min_size=1, max_size=2))
    answer: JSON = {"role": "assistant", "content": draw(TEXTS)}
    if not tools or not draw(st.booleans()):
        return [*said, answer]
    if draw(st.booleans()):
        answer["content"] = None
    count = draw(st.integers(1, 3))
    arguments = st.dictionaries(st.sampled_from(["word", "count"]), st.text(max_size=5) | st.integers(0, 9), min_size=1)
    ids = [f"call_{number}_{index}" for index in range(count)]
    answer["tool_calls"] = [
        {
            "id": call_id,
            "type": "function",
            "function": {"name": draw(NAMES), "arguments": orjson.dumps(draw(arguments)).decode()},
        }
        for call_id in ids
    ]
    results = [
        {"role": "tool", "tool_call_id": call_id, "content": draw(TEXTS)} for call_id in draw(st.permutations(ids))
    ]
    return [*said, answer, *results]


@st.composite
def conversations(draw: st.DrawFn, *, tools: bool = True, images: bool = True) -> list[JSON]:
    """Messages that OpenAI takes: the user begins and ends, instructions stand anywhere but amid tool results."""
    groups: list[list[JSON]] = [draw(_round(number, tools, images)) for number in range(draw(st.integers(0, 3)))]
    groups.append(draw(st.lists(_user(images), min_size=1, max_size=2)))
    messages: list[JSON] = []
    for group in groups:
        if draw(st.booleans()):
            role = draw(st.sampled_from(["system", "developer"]))
            messages.append(
                {"role": role, "content": draw(TEXTS | st.lists(TEXTS.map(text_part), min_size=1, max_size=2))}
            )
        messages += group
    return messages


@st.composite
def chat_bodies(draw: st.DrawFn, *, tools: bool = True, images: bool = True) -> JSON:
    """Bodies that every provider has words for, but for tools and images where a model has none."""
    body: JSON = {"model": "m", "messages": draw(conversations(tools=tools, images=images))}
    options: dict[str, st.SearchStrategy[Any]] = {
        "temperature": st.sampled_from([0, 0.2, 1]),
        "stop": st.sampled_from(["END", ["END"], ["END", "STOP"]]),
        "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}]),
        "seed": st.integers(0, 2**31 - 1),
        "user": st.just("someone"),
        "metadata": st.just({"a": "b"}),
        "n": st.just(1),
        "top_p": st.none(),
        "presence_penalty": st.just(0),
    }
    if tools:
        options["tools"] = st.just([copy.deepcopy(TOOL)])
    body |= draw(st.fixed_dictionaries({}, optional=options))
    if draw(st.booleans()):
        body[draw(st.sampled_from(["max_tokens", "max_completion_tokens"]))] = draw(st.integers(1, 4096))
    if "tools" in body and draw(st.booleans()):
        body["tool_choice"] = draw(
            st.sampled_from(["auto", "none", "required", {"type": "function", "function": {"name": "look_up"}}])
        )
    return body


_FIELDS = [
    *("temperature", "top_p", "top_k", "n", "stop", "seed", "user", "metadata", "max_tokens", "max_completion_tokens"),
    *("tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "thinking", "logit_bias"),
    *("logprobs", "presence_penalty", "modalities", "audio", "service_tier", "verbosity", "functions", "stream"),
]
_MESSAGE_FIELDS = ["content", "tool_calls", "tool_call_id", "name", "refusal", "thinking_blocks", "function_call"]


@st.composite
def wild_bodies(draw: st.DrawFn) -> JSON:
    """Bodies that pass the core's validation and may be nonsense otherwise."""
    values = JSON_VALUES | st.sampled_from(
        [
            *("auto", "none", "high", 1, 0, True, [], {}, [{}], [None], {"type": "json_schema"}, {"type": "enabled"}),
            *([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}], [{"type": "file", "file": {}}]),
            *([copy.deepcopy(TOOL)], [{"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}]),
            *([{"id": "a", "function": {"name": "look_up", "arguments": "{}"}}], {"type": "adaptive"}),
        ]
    )
    role = st.sampled_from(["user", "assistant", "system", "developer", "tool", "function", "nobody", ""])
    message = st.builds(
        lambda role, fields: {**fields, "role": role},
        role,
        st.dictionaries(st.sampled_from(_MESSAGE_FIELDS), values, max_size=3),
    )
    good = draw(conversations())
    messages = draw(st.lists(message, max_size=2)) + (good if draw(st.booleans()) else [])
    body = draw(st.dictionaries(st.sampled_from(_FIELDS) | st.text(min_size=1, max_size=5), values, max_size=4))
    return {**body, "messages": messages or good}


# ---- what a body says ------------------------------------------------------------------------------------------------


def texts_of(body: JSON) -> tuple[list[str], list[str]]:
    """Every text of the body, in order: those of system and developer, and those of the turns, results included."""
    system: list[str] = []
    turns: list[str] = []
    for message in body["messages"]:
        into = system if message["role"] in ("system", "developer") else turns
        content = message.get("content")
        if isinstance(content, str):
            into.append(content)
        else:
            into += [part["text"] for part in content or () if part["type"] == "text"]
    return system, turns


def last_words(body: JSON) -> str:
    """What the user said last: the texts of the last turn without its tool results."""
    words: list[str] = []
    for message in reversed(body["messages"]):
        if message["role"] in ("assistant", "tool"):
            break
        if message["role"] == "user":
            words = texts_of({"messages": [message]})[1] + words
    return "".join(words)


def ids_of(body: JSON) -> tuple[list[str], list[str]]:
    """The ids of all tool calls and of all results, in order."""
    calls = [call["id"] for message in body["messages"] for call in message.get("tool_calls") or ()]
    return calls, [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"]


# ---- laws ------------------------------------------------------------------------------------------------------------


def translated(dialect: Dialect, body: JSON) -> JSON:
    """The request; the body stays untouched, and the request is JSON."""
    before = copy.deepcopy(body)
    request = dialect.request(body)
    assert body == before
    return dict(orjson.loads(orjson.dumps(request)))


def keeps_texts(dialect: Dialect, body: JSON, texts_in: Callable[[JSON], tuple[list[str], list[str]]]) -> None:
    """No text is lost or reordered.

    :param texts_in: the texts of the provider's request, as :func:`texts_of` gives them.
    """
    system, turns = texts_of(body)
    found_system, found_turns = texts_in(translated(dialect, body))
    assert found_turns == turns
    # An instruction of ours (JSON only) may follow.
    assert found_system[: len(system)] == system
    assert len(found_system) - len(system) <= (body.get("response_format") or {}).get("type", "").startswith("json")


def keeps_meaning(dialect: Dialect, body: JSON, echo: Callable[[JSON], JSON]) -> None:
    """A model that answers with the user's last words is heard to say them.

    :param echo: the provider's answer to its request, with 3 input and 2 output tokens.
    """
    answer = dialect.answer(echo(translated(dialect, body)))
    assert isinstance(answer, dict), answer
    assert orjson.loads(orjson.dumps(answer)) == answer
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == last_words(body)
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (3, 2, 5)


def raises_row_errors_only(dialect: Dialect, body: JSON) -> None:
    """Whatever the body holds, it is translated or refused by the field's name; it stays untouched."""
    before = copy.deepcopy(body)
    refusal = None
    try:
        orjson.dumps(dialect.request(body))
    except UntranslatableError as error:
        refusal = error
    assert refusal is None or (refusal.field.startswith("body.") and refusal.message)
    assert body == before


def reads_anything(dialect: Dialect, output: JSON) -> None:
    """Whatever a provider answers gives a body or a failure, never an exception."""
    found = dialect.answer(output)
    if isinstance(found, dict):
        orjson.dumps(found)
    else:
        assert found.message
