"""What becomes of the keys of a request, at every depth: each is written, left out with a note, or refused by its path.

A dialect declares its keys as a tree (:class:`Keys`, :class:`Each`, :class:`ByKind`), and :func:`check` walks each body
along it. A key that the tree does not hold is refused, because it is unknown whether it matters. Null and empty values
say nothing and are passed over. The walk looks at names only where a row holds more than the tree calls ``READ``, so it
costs little on plain rows.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from airflow_batch_provider.core.errors import UntranslatableError

_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Left:
    """A key that is left out with a note: without it the answer is not a wrong one.

    :param reason: why, shown in the note.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Never:
    """A key that is refused: without it the answer would be to another question.

    :param remedy: what to do.
    """

    remedy: str


class _Read:
    """A key that the dialect writes or refuses by itself, with all that is below it."""


READ = _Read()
UNKNOWN = Never("unknown key; remove it")


@dataclass(frozen=True, slots=True)
class Keys:
    """An object. A value of another type is the dialect's to refuse.

    :param members: what becomes of each key.
    :param others: what becomes of every other key.
    """

    members: Mapping[str, Fate]
    others: Fate = UNKNOWN
    plain: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain", frozenset(name for name, fate in self.members.items() if fate is READ))


@dataclass(frozen=True, slots=True)
class Each:
    """An array whose elements have one fate."""

    element: Fate


@dataclass(frozen=True, slots=True)
class ByKind:
    """An object whose keys depend on one of them.

    :param key: ``role`` or ``type``.
    :param kinds: what becomes of each kind; another kind is the dialect's to refuse.
    """

    key: str
    kinds: Mapping[str | None, Keys]


Fate: TypeAlias = "_Read | Left | Never | Keys | Each | ByKind"
Note: TypeAlias = "Callable[[str, str], None]"
"""Takes a path of the body and why its key was left out."""


def check(value: Any, fate: Fate, path: str, note: Note, provider: str) -> None:
    """Walk a value along its fate.

    :param path: the value's place in the body.
    :param provider: how the refusal calls it.
    :raises UntranslatableError: for a key that is never left out, naming its path.
    """
    if isinstance(fate, ByKind):
        found = _of_kind(value, fate)
        if found is None:
            return
        fate = found
    if isinstance(fate, Keys):
        if isinstance(value, dict) and not value.keys() <= fate.plain:
            _members(value, fate, path, note, provider)
    elif isinstance(fate, Each):
        element = fate.element
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if not (isinstance(element, ByKind) and _is_plain(item, element)):
                check(item, element, f"{path}[{index}]", note, provider)
    elif value in ("", [], {}):
        return
    elif isinstance(fate, Never):
        raise UntranslatableError(f"body.{path}", f"{provider} does not support this: {fate.remedy}")
    elif isinstance(fate, Left):
        note(path, fate.reason)


def _of_kind(value: Any, fate: ByKind) -> Keys | None:
    kind = value.get(fate.key) if isinstance(value, dict) else None
    return fate.kinds.get(kind) if kind is None or isinstance(kind, str) else None


def _is_plain(value: Any, fate: ByKind) -> bool:
    """Whether an object holds nothing but what is read; most parts of most messages do."""
    keys = _of_kind(value, fate)
    return keys is not None and isinstance(value, dict) and value.keys() <= keys.plain


def _members(value: Mapping[str, Any], keys: Keys, path: str, note: Note, provider: str) -> None:
    for name, item in value.items():
        fate = keys.members.get(name, keys.others)
        if fate is not READ and item is not None:
            check(item, fate, f"{path}.{name}" if path else name, note, provider)


@functools.lru_cache(maxsize=4096)
def pattern(path: str) -> str:
    """A path without its indexes, under which notes are gathered: ``messages[].content[].cache_control``."""
    return _INDEX.sub("[]", path) if "[" in path else path


def changed(keys: Keys, **members: Fate) -> Keys:
    """The same keys but for some."""
    return Keys({**keys.members, **members}, keys.others)
