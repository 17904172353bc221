"""What providers' finish words say of an answer, in small letters: OpenAI's own, and those that have no equivalent.

A dialect writes OpenAI's word where it means the same, and the provider's own word otherwise, so that ``stop`` is
written only of an answer that ended by itself. Gateways hand either on.

Sources: OpenAI, chat completion object; anthropic SDK, ``StopReason`` and ``BetaStopReason``, and Anthropic, "Handling
stop reasons"; google-genai and Firebase AI Logic, ``FinishReason``; botocore, bedrock-runtime ``StopReason``.
"""

from __future__ import annotations

from airflow_batch_provider.core.records import Quality

MALFORMED = frozenset(
    {
        "malformed_function_call",
        "malformed_response",
        "unexpected_tool_call",
        "malformed_model_output",
        "malformed_tool_use",
    }
)
"""The model broke its own format, so the answer is none (pydantic-ai#631, langgraph#6574): sent again."""

_WORDS: dict[Quality, str] = {
    # The text ends before the model had finished. Claude's pause_turn and compaction wait for the conversation to be
    # continued, which a batch does not do; Gemini's OTHER is a stop that Google gives no reason for.
    "cut": (
        "length max_tokens max_output_tokens model_context_window_exceeded continuation too_many_tool_calls "
        "pause_turn compaction other"
    ),
    "filtered": (
        "content_filter content_filtered guardrail_intervened safety recitation language blocklist prohibited_content "
        "spii model_armor jailbreak image_safety image_prohibited_content image_recitation image_other"
    ),
    "refused": "refusal",
    # A picture was wanted and none was made; what is said instead is not the answer.
    "empty": "no_image",
}
_QUALITIES: dict[str, Quality] = {word: quality for quality, words in _WORDS.items() for word in words.split()}
_SETS = {word: frozenset({quality}) for word, quality in _QUALITIES.items()}
_GOOD: frozenset[Quality] = frozenset()


def quality_of(word: str | None) -> Quality | None:
    """What a finish word says of its answer; None for a good or an unknown one.

    :param word: in any case.
    """
    return _QUALITIES.get(word.lower()) if word else None


def said_by(word: str) -> frozenset[Quality]:
    """The same as a set.

    :param word: in small letters.
    """
    return _SETS.get(word, _GOOD)
