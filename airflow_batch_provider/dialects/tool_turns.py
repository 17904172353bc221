"""The rule of calls and their results, which Claude, Nova and Gemini share.

Every call of a turn is answered in the next one. Anthropic, "Handle tool calls": results come first in their message.
Gemini: "Please ensure that the number of function response parts is equal to the number of function call parts of the
function call turn" (google-gemini/gemini-cli#16415); it knows results by name and place.
"""

from __future__ import annotations

from collections.abc import Callable

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.options import check_call_ids, refuse


def pair(
    turns: list[JSON],
    field: str,
    call_id: Callable[[JSON], str | None],
    result_id: Callable[[JSON], str | None],
    *,
    by_place: bool = False,
) -> None:
    """Put the results of each turn first.

    :param field: where a turn has its parts.
    :param call_id: the id of a part that is a call, called once for each part of a turn, in order.
    :param result_id: the id of the call that a part answers, called likewise for turns without calls.
    :param by_place: whether the provider knows results by their place: they are put in the order of the calls, whose
        ids may be equal.
    :raises UntranslatableError: for a call without a result, and for a result without its call in the turn before.
    """
    waiting: list[str] = []
    for turn in turns:
        called = [name for part in turn[field] if (name := call_id(part)) is not None]
        if called:
            if not by_place:
                check_call_ids(called)
            waiting = called
            continue
        answered = [(result_id(part), part) for part in turn[field]]
        results = [(name, part) for name, part in answered if name is not None]
        if sorted(name for name, _ in results) != sorted(waiting):
            raise refuse("messages", "every tool call needs one tool message right after its message")
        if results:
            if by_place:
                results.sort(key=lambda result: waiting.index(result[0]))
            turn[field] = [part for _, part in results] + [part for name, part in answered if name is None]
        waiting = []
    if waiting:
        raise refuse("messages", "the last message calls tools; put the tools' answers after it")
