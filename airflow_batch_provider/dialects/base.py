"""What a line format promises: a dialect (the body) composed with an envelope (how the row's id travels)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from airflow_batch_provider.core.records import JSON, BatchRequest, BatchResult

TOKEN_LENGTH = 11
ID_FIELDS = ("custom_id", "key", "requestId")
"""Where lines of Google's, and of other tools', have a row's id."""


def token(position: int) -> str:
    """A line's id on the wire: its 0-based position in the shard, as one letter and ten digits.

    Every provider takes it as it is: it is short, plain, never looks like a number, and its length is constant, so
    that the size of a line is known before its shard is.
    """
    return "r%010d" % position  # noqa: UP031 - faster than an f-string, and called for every row


def id_of(value: object) -> str | None:
    """A row's id as text; servers that keep it in a typed column give back a number where it looks like one."""
    return (str(value) or None) if type(value) in (str, int) else None


def position_of(value: object) -> int | None:
    """The position that a token carries, None for anything that is not a token of ours."""
    if not isinstance(value, str) or len(value) != TOKEN_LENGTH or value[0] != "r":
        return None
    digits = value[1:]
    return int(digits) if digits.isascii() and digits.isdigit() else None


@dataclass(slots=True)
class Sent:
    """What one shard sent, as far as reading its answers needs it.

    :param ids: the custom_ids in the order of the wire lines, or the ids of parts (``dialects.joining``); None where
        they are unknown; then the id on the wire is the row's id.
    :param wire: opens the wire lines again, to match an answer that has lost its id.
    :param own: whether the lines carry our tokens; False for a file that another tool has made, whose ids may look like
        them.
    """

    ids: Sequence[str] | None = None
    wire: Callable[[], Iterable[bytes]] = tuple
    own: bool = True
    _open: dict[bytes, list[int]] | None = field(default=None, init=False)
    _known: frozenset[str] | None = field(default=None, init=False)

    def row(self, value: object) -> str | None:
        """The custom_id that an id on the wire means, None for what is not one of this shard."""
        if self.ids is None:
            return id_of(value)
        position = position_of(value) if self.own else None
        if position is not None and position < len(self.ids):
            return self.ids[position]
        # Google's importer makes a number of an id that looks like one.
        text = id_of(value)
        return text if text is not None and self.knows(text) else None

    def knows(self, custom_id: str) -> bool:
        """Whether an id is one of this shard, or may be: all may where none is known."""
        if self.ids is None:
            return True
        if self._known is None:
            self._known = frozenset(self.ids)
        return custom_id in self._known

    def claim(self, print_of: Callable[[bytes], bytes | None], wanted: bytes) -> str | None:
        """The custom_id of the first wire line with this fingerprint that was not claimed yet.

        :param print_of: the fingerprint of a wire line; the lines are read once, when the first answer needs it.
        """
        if self.ids is None:
            return None
        if self._open is None:
            self._open = {}
            for position, line in enumerate(self.wire()):
                if (found := print_of(line)) is not None:
                    self._open.setdefault(found, []).append(position)
        waiting = self._open.get(wanted)
        return self.ids[waiting.pop(0)] if waiting else None


class LineFormat(ABC):
    """How the lines of one model and endpoint are written for a provider and read back."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        """What was left out of a line because it has no equivalent and changes no meaning: field and reason. Said once
        in a run."""

    @abstractmethod
    def encode(self, request: BatchRequest, position: int) -> bytes:
        """The wire line, without end of line; its length does not depend on ``position``.

        A row that :meth:`split` makes several of is as many lines, with line feeds between them.

        :param position: 0-based place of the row's first line in its shard.
        :raises UntranslatableError: when the provider does not support what the request contains.
        """

    def variant(self, request: BatchRequest) -> int:
        """Which file the row may be in: rows of different variants never share one. 0 for most providers.

        Called in file order, by every pass over the same rows alike.

        :raises UntranslatableError: when no file could take the row.
        """
        return 0

    def split(self, body: JSON) -> Sequence[JSON]:
        """The bodies of the row's wire lines: itself, unless a record of the provider holds too little for it."""
        return (body,)

    @property
    def splits(self) -> bool:
        """Whether :meth:`split` may make several of a row, so that each body must be looked at."""
        return type(self).split is not LineFormat.split

    @abstractmethod
    def row_of(self, wire: bytes) -> str | None:
        """The row's id on a wire line that somebody else has written, None where it has none."""

    @abstractmethod
    def decode(self, line: bytes, sent: Sent) -> BatchResult:
        """One output line, in OpenAI's format; a line that cannot be read gives ``custom_id=None`` and ``invalid``."""
