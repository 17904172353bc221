"""Every key of the requests that the openai SDK's own types know, each with bodies that carry it."""

from __future__ import annotations

import copy
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typing_extensions
from openai.types.chat import completion_create_params
from openai.types.embedding_create_params import EmbeddingCreateParams

from airflow_batch_provider.core.records import JSON
from tests.dialects.laws import PIXEL

Steps = tuple[Any, ...]
"""The way to a key: a name, an int for the choice of a union, ``"[]"`` for the element of an array."""

PDF = "data:application/pdf;base64,aGVsbG8="
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "a"}'}}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
USER: JSON = {"role": "user", "content": "Hello"}
_SCHEMAS = [
    {"type": "object", "properties": {name: {"type": "string"}}, "required": [name], "additionalProperties": False}
    for name in ("one", "two")
]
_NAMED = {"type": "function", "function": {"name": "look_up"}}
_VALUES: dict[str, list[Any]] = {
    "url": [f"data:image/png;base64,{PIXEL}", f"data:image/jpeg;base64,{PIXEL}"],
    "file_data": [PDF, "data:application/pdf;base64,aGVsbG9v"],
    "filename": ["March.pdf", "April.pdf"],
    "data": ["aGVsbG8=", "aGVsbG9v"],
    "arguments": ['{"word": "a"}', '{"word": "b"}'],
    "tool_call_id": ["call_1", "another"],
    "name": ["look_up", "another"],
    "schema": _SCHEMAS,
    "parameters": _SCHEMAS,
    "metadata": [{"k": "v"}, {"k": "w"}],
    "logit_bias": [{"50256": -100}, {"50256": 100}],
    "tools": [[TOOL]],
    "stop": ["END", ["STOP", "END"]],
    "n": [2],
    "top_p": [0.5, 0.25],
    "modalities": [["text", "audio"]],
    "input": ["a text", ["one", "two"]],
    "dimensions": [256, 512],
}
"""Values of leaves that mean something by their form; the first is the one that is written where a key is needed."""
DEFAULTS: dict[str, list[Any]] = {
    "stream": [False],
    "n": [1],
    "logprobs": [False],
    "parallel_tool_calls": [True],
    "tool_choice": ["none", "auto"],
    "reasoning_effort": ["none"],
    "response_format.type": ["text"],
    "encoding_format": ["float"],
    "tools[].function.strict": [False],
}
"""What asks for nothing but what every provider does anyway: honoured without a word."""
PAIRED = {"messages[].tool_calls[].id"}
"""Ids that pair a call with its result, where the provider pairs them by name and order; a wrong one is refused."""


@dataclass(frozen=True)
class Case:
    """One key of a request.

    :param path: with ``[]`` for every index.
    :param bodies: carry the key, with different values.
    :param without: the same body without the key, None where the key is needed.
    """

    path: str
    values: tuple[Any, ...]
    bodies: tuple[JSON, ...]
    without: JSON | None


def chat_cases() -> Iterator[Case]:
    """Every key of ``CompletionCreateParams``, for each variant of the unions on the way."""
    seen = set()
    for kind in (
        completion_create_params.CompletionCreateParamsNonStreaming,
        completion_create_params.CompletionCreateParamsStreaming,
    ):
        for steps in _ways(kind):
            # The model chooses the dialect and the job, and is no part of a line.
            if steps not in seen and steps != ("model",):
                seen.add(steps)
                yield _case(kind, steps)


def embedding_cases() -> Iterator[Case]:
    """Every key of ``EmbeddingCreateParams``."""
    for steps in _ways(EmbeddingCreateParams):
        if steps != ("model",):
            yield _case(EmbeddingCreateParams, steps)


# ---- types -----------------------------------------------------------------------------------------------------------


def _bare(kind: Any) -> Any:
    while typing.get_origin(kind) in (typing_extensions.Required, typing_extensions.NotRequired, typing.Annotated):
        kind = typing.get_args(kind)[0]
    return kind


def _members(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {name: _bare(hint) for name, hint in hints.items()}


def _options(kind: Any) -> list[Any]:
    return [option for option in typing.get_args(kind) if option is not type(None)]


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Union


def _element(kind: Any) -> Any:
    """The type of an array's elements, None for what is no array."""
    origin = typing.get_origin(kind)
    if origin in (list, tuple) or (origin is not None and getattr(origin, "__module__", "") == "collections.abc"):
        return _bare(typing.get_args(kind)[0])
    return None


def _ways(kind: Any) -> Iterator[Steps]:
    kind = _bare(kind)
    if _is_union(kind):
        for number, option in enumerate(_options(kind)):
            for steps in _ways(option):
                yield (number, *steps)
    elif typing_extensions.is_typeddict(kind):
        for name, member in _members(kind).items():
            yield (name,)
            for steps in _ways(member):
                yield (name, *steps)
    elif (element := _element(kind)) is not None:
        for steps in _ways(element):
            yield ("[]", *steps)


def _leaves(kind: Any, name: str) -> list[Any]:
    """Values of a leaf."""
    kind = _bare(kind)
    if name == "tools" and typing.get_origin(_element(kind)) is dict:
        return [[_NAMED]]  # allowed_tools
    if name in _VALUES:
        return _VALUES[name]
    if _is_union(kind):
        return [value for option in _options(kind) for value in _leaves(option, name)]
    if typing_extensions.is_typeddict(kind):
        return [_minimal(kind)]
    if typing.get_origin(kind) is typing.Literal:
        return list(typing.get_args(kind))
    if (element := _element(kind)) is not None:
        return [[value] for value in _leaves(element, name)]
    plain: dict[Any, list[Any]] = {str: ["alpha", "beta"], int: [7, 8], float: [0.5, 0.25], bool: [True, False]}
    return plain.get(kind, [{"alpha": "beta"}])


_SOUND = {
    "FileFile": ("file_data",),
    "JSONSchema": ("schema",),
    "WebSearchOptions": ("search_context_size",),
    "WebSearchOptionsUserLocationApproximate": ("city",),
}
"""Keys that the types call optional, and without which an object says nothing."""


def _required(kind: Any) -> set[str]:
    """``__required_keys__`` does not know them where annotations are text."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {name for name, hint in hints.items() if typing.get_origin(hint) is typing_extensions.Required}


def _minimal(kind: Any) -> JSON:
    required = {*_required(kind), *_SOUND.get(kind.__name__, ())}
    return {name: _leaves(member, name)[0] for name, member in _members(kind).items() if name in required}


def _with(kind: Any, steps: Steps, name: str, value: Any) -> Any:
    """A value of the type that holds ``value`` at the end of the steps, and besides it what is needed."""
    kind = _bare(kind)
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        return _with(_options(kind)[step], rest, name, value)
    if step == "[]":
        return [_with(_element(kind), rest, name, value)]
    made = _minimal(kind)
    made[step] = _with(_members(kind)[step], rest, step, value)
    return made


def _type_at(kind: Any, steps: Steps) -> Any:
    for step in steps:
        kind = _bare(kind)
        kind = (
            _options(kind)[step] if isinstance(step, int) else _element(kind) if step == "[]" else _members(kind)[step]
        )
    return _bare(kind)


# ---- bodies ----------------------------------------------------------------------------------------------------------


def _case(kind: Any, steps: Steps) -> Case:
    path = ""
    for step in steps:
        path += "[]" if step == "[]" else f".{step}" if isinstance(step, str) else ""
    name = steps[-1]
    values = _leaves(_type_at(kind, steps), name)
    bodies = [_sound(_with(kind, steps, name, value)) for value in values]
    needed = name in _required(_type_at(kind, steps[:-1]))
    without = None if needed else _sound(_removed(_with(kind, steps, name, values[0]), steps))
    return Case(path[1:], tuple(values), tuple(bodies), without)


def _removed(body: Any, steps: Steps) -> Any:
    place = body
    for step in steps[:-1]:
        if not isinstance(step, int):
            place = place[0] if step == "[]" else place[step]
    del place[steps[-1]]
    return body


def _sound(body: JSON) -> JSON:
    """The body as a request that means something: a conversation around its message, tools where they are named."""
    body = copy.deepcopy(body)
    if "input" in body:
        return body
    body["model"] = "m"
    given = body.get("messages")
    message = given[0] if isinstance(given, list) and given and isinstance(given[0], dict) else USER
    role = message.get("role")
    if message.get("tool_calls"):
        results = [
            {"role": "tool", "tool_call_id": call.get("id", "call_1"), "content": "It is."}
            for call in message["tool_calls"]
        ]
        body["messages"] = [USER, message, *results, USER]
    elif role == "tool":
        body["messages"] = [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, message, USER]
    elif role == "assistant":
        body["messages"] = [USER, {"content": "Well.", **message}, USER]
    elif isinstance(message.get("content"), list):
        body["messages"] = [{**message, "content": [*message["content"], {"type": "text", "text": "Read."}]}, USER]
    else:
        body["messages"] = [message, USER] if message is not USER else [USER]
    if role == "tool" or message.get("tool_calls") or "tool_choice" in body:
        body.setdefault("tools", [copy.deepcopy(TOOL)])
    return body
