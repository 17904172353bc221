"""What a connection says of its models: ``model_facts``, from a model or a pattern to the facts that differ."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from types import NoneType
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.dialects.facts.record import Facts
from airflow_batch_provider.dialects.options import EFFORTS

ModelFacts: TypeAlias = Mapping[str, Mapping[str, Any]]
"""From a model's name, or a pattern with ``*``, to field and value."""
_OURS = frozenset({"source", "known", "given"})
_TYPES: dict[str, Any] = {name: kind for name, kind in get_type_hints(Facts).items() if name not in _OURS}


def check_model_facts(given: Any) -> ModelFacts:
    """The connection's ``model_facts`` as they may be used.

    :raises ConfigurationError: naming the model, the field and what it may be.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError("model_facts must be an object: from a model, or a pattern with *, to its facts")
    for model, facts in given.items():
        if not isinstance(facts, Mapping):
            raise ConfigurationError(f'model_facts: {model!r} must be an object such as {{"schema": "tool"}}')
        for name, value in facts.items():
            if name not in _TYPES:
                raise ConfigurationError(
                    f"model_facts: {name!r} of {model!r} is unknown; known are {', '.join(sorted(_TYPES))}"
                )
            if not _fits(value, _TYPES[name]):
                raise ConfigurationError(
                    f"model_facts: {name} of {model!r} must be {_said(_TYPES[name])}, not {value!r}"
                )
    return given


def overridden(facts: Facts, names: Iterable[str], overrides: ModelFacts) -> Facts:
    """Facts with what the connection says; an exact name outranks a pattern, and a longer pattern a shorter one.

    :param names: all spellings of the model.
    """
    wanted = [name for name in names if name]
    matching = [key for key in overrides if any(name == key or fnmatchcase(name, key) for name in wanted)]
    given: dict[str, Any] = {}
    for key in sorted(matching, key=lambda key: (key in wanted, len(key))):
        given |= overrides[key]
    if not given:
        return facts
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    values |= {"known": True, "source": "model_facts of the connection", "given": frozenset(given)}
    return replace(facts, **values)


def _fits(value: Any, kind: Any) -> bool:
    origin, choices = get_origin(kind), get_args(kind)
    if origin is Literal:
        return isinstance(value, str) and value in choices
    if origin is tuple:
        return isinstance(value, (list, tuple)) and all(item in EFFORTS for item in value)
    if choices:
        return any(_fits(value, choice) for choice in choices)
    if kind is float:
        # Infinity and NaN are none.
        return type(value) in (int, float) and 0 <= value <= sys.float_info.max
    return type(value) is kind and (kind is not int or value > 0)


def _said(kind: Any) -> str:
    origin, choices = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(choices)
    if origin is tuple:
        return f"a list of {', '.join(EFFORTS)}"
    if choices:
        return " or ".join(_said(choice) for choice in choices)
    names: dict[Any, str] = {
        bool: "true or false",
        int: "a whole number above 0",
        float: "a number of 0 or more",
        str: "a string",
    }
    return "null" if kind is NoneType else names[kind]
