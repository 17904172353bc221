"""The rarer parts of a Converse answer: cited text, pictures, sounds, and what OpenAI's format has no place for.

Source: ``ContentBlock`` and ``ConverseResponse`` of botocore's bedrock-runtime model. Each function takes what it reads
out of the block, so that what is left over can be kept.
"""

from __future__ import annotations

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.completion import object_of, objects_of
from airflow_batch_provider.dialects.finish_words import native_word
from airflow_batch_provider.dialects.leftovers import Leftovers, unread
from airflow_batch_provider.dialects.media import Media

_COUNTED = (
    *("inputTokens", "outputTokens", "totalTokens"),
    *("cacheReadInputTokens", "cacheWriteInputTokens", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"),
)
"""Both spellings: Nova's own body writes the second."""


def converse_leftovers(output: JSON) -> Leftovers:
    """What is around the parts.

    :param output: a ConverseResponse.
    """
    given = object_of(output.get("output"))
    around = unread({**unread(given, "message"), "message": unread(given.get("message"), "content", "role")})
    return Leftovers(
        **unread(output, "output", "stopReason", "usage"),
        output=around,
        stopReason=native_word(output.get("stopReason")),
        usage=unread(output.get("usage"), *_COUNTED),
    )


def read_thoughts(block: JSON) -> list[str]:
    """The text of a ``reasoningContent``; its signature is kept."""
    reasoning = object_of(block.get("reasoningContent"))
    thoughts = object_of(reasoning.get("reasoningText"))
    text = thoughts.get("text")
    if not isinstance(text, str):
        return []
    block["reasoningContent"] = unread({**reasoning, "reasoningText": unread(thoughts, "text")})
    return [text]


def read_cited(block: JSON) -> list[str]:
    """The text of a ``citationsContent``, which is the answer's own; its citations are kept."""
    cited = object_of(block.get("citationsContent"))
    if not cited:
        return []
    parts = objects_of(cited.get("content"))
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    left = [rest for part in parts if (rest := unread(part, "text"))]
    block["citationsContent"] = unread({**cited, "content": left})
    return texts


def read_media(block: JSON, media: Media) -> None:
    """Pictures and sounds that came as bytes, which JSON carries as base64."""
    for kind in ("image", "audio"):
        given = object_of(block.get(kind))
        source = object_of(given.get("source"))
        if media.take(f"{kind}/{given.get('format')}", source.get("bytes")):
            rest = unread({**unread(given, "format", "source"), "source": unread(source, "bytes")})
            block[kind] = rest
