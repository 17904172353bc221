"""What a provider answered and OpenAI's format has no place for: kept as it came, so that nothing paid for is lost.

Parts of the answer that no dialect reads (Gemini's ``executableCode``, Claude's citations and server tools, Converse's
``guardContent``, types that are newer than this package) are listed in the message's ``provider_parts``, each with its
place in the provider's answer. What is around the parts (grounding and safety metadata, service tiers, traces) is
the body's ``provider_fields``, nested as the provider nests it.
"""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.core.records import JSON

PARTS = "provider_parts"
FIELDS = "provider_fields"
_EMPTY: tuple[Any, ...] = (None, "", [], {})


def unread(value: Any, *read: str) -> JSON:
    """The members that hold something and were not read.

    :param read: the names that the dialect has read.
    """
    if not isinstance(value, dict):
        return {}
    return {name: item for name, item in value.items() if name not in read and item not in _EMPTY}


class Leftovers:
    """Collects what an answer holds beyond its translation.

    :param fields: what is around the parts; empty members are left out.
    """

    def __init__(self, **fields: Any) -> None:
        self._fields = fields
        self._parts: list[JSON] = []

    def part(self, index: int, left: Any) -> None:
        """Keep a part, or what is left of it.

        :param index: its place among the provider's parts.
        :param left: nothing is kept of an empty one.
        """
        if left not in _EMPTY:
            self._parts.append({"index": index, "part": left})

    def into(self, body: JSON) -> JSON:
        """Add what was kept to a chat completion.

        :return: the same body.
        """
        if self._parts:
            body["choices"][0]["message"][PARTS] = self._parts
        if fields := unread(self._fields):
            body[FIELDS] = fields
        return body
