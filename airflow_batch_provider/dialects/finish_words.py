"""The finish words of each provider in OpenAI's, one table a provider; a word that is not in it is handed on as it is.

``content_filter`` is used for every word of a filter, ``length`` for every limit on tokens. Whatever is not the same in
OpenAI's words keeps its own, in small letters: see :mod:`airflow_batch_provider.core.finish_words`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_batch_provider.core.records import JSON

CLAUDE: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""anthropic SDK, ``types.StopReason``; ``pause_turn`` and ``compaction`` have no equivalent."""
CONVERSE: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
"""botocore, bedrock-runtime ``StopReason``."""
GEMINI: Mapping[str, str] = {
    "stop": "stop",
    "finish_reason_unspecified": "stop",
    "max_tokens": "length",
    "continuation": "length",
    **dict.fromkeys(
        (
            *("safety", "recitation", "language", "blocklist", "prohibited_content", "spii", "model_armor"),
            *("image_safety", "image_prohibited_content", "image_recitation", "image_other"),
        ),
        "content_filter",
    ),
}
"""google-genai, ``FinishReason``, and Firebase AI Logic's, which is longer."""
GATEWAYS: Mapping[str, str] = {**GEMINI, **CONVERSE, **CLAUDE}
"""All of them, for a gateway hands on whichever the provider behind it gave."""
_PLAIN = frozenset({"", "end_turn", "stop", "max_tokens", "tool_use"})
"""Words that OpenAI's say completely."""


def finish_reason(table: Mapping[str, str], word: Any, calls: list[JSON]) -> str:
    """OpenAI's finish reason, else the provider's own in small letters; an answer that gives none ended by itself.

    An answer that calls tools stopped for them, one that calls none did not.

    :param table: the provider's.
    :param word: as the provider wrote it.
    """
    given = _said(word)
    found = table.get(given, given) or "stop"
    if calls:
        return "tool_calls" if found == "stop" else found
    return "stop" if found == "tool_calls" else found


def native_word(word: Any) -> str | None:
    """The word to keep beside OpenAI's, None where OpenAI's says it completely."""
    return None if _said(word) in _PLAIN else str(word)


def _said(word: Any) -> str:
    return word.lower() if isinstance(word, str) else ""
