"""The most tokens that a request may become, before anybody has counted, and how many it likely is.

The bound rests on one law: **a token is at least one byte of the text**. The tokenizers in use, byte-level BPE
(OpenAI, Llama, Qwen, DeepSeek, Mistral) and SentencePiece with byte fallback (Gemini), cut the UTF-8 bytes of a text
into pieces that are not empty; so no text has more tokens than bytes. No smaller bound holds: readings like
``1,0,3,7,`` do have one token a byte. What is counted is the text as the provider reads it, escapes of JSON undone, and
the keys and marks around it, which are more than the marks that providers put between messages.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from airflow_batch_provider.core.counts import read_count
from airflow_batch_provider.core.media import Media, image_tokens
from airflow_batch_provider.core.records import BatchRequest

LIKELY_BYTES = 2
"""Bytes of a likely token, generously counted: ordinary text has three to six, numbers and formulas one or two."""
LOW_SHARE = 1 / 3
"""The fewest, of the likely tokens: six bytes a token."""
TEMPLATE_TOKENS = 128
"""What a chat template adds by itself. gpt-oss writes a system message of about 70 tokens, Llama 3 two dates."""
TOOLS_TOKENS = 1_000
"""What tools, or a schema for the answer, add beside their own text. Anthropic, "Tool use": a system prompt of up to
804 tokens, 530 on older models; the others write less."""
TOOL_TOKENS = 32
"""What one tool adds beside its own text."""
LIKELY_IMAGE_TOKENS = 1_600

_CAPS = {
    "/v1/chat/completions": ("max_completion_tokens", "max_tokens"),
    "/v1/completions": ("max_tokens",),
    "/v1/responses": ("max_output_tokens",),
}
"""The bounds of an answer, by endpoint; other names are refused, or bind nothing. They count thoughts too."""
_SILENT = frozenset({"/v1/embeddings", "/v1/moderations"})
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
"""What makes the provider read more than the line, in the Responses API."""
_FUNCTIONS = frozenset({"function", "custom", None})


class Estimate(NamedTuple):
    """What one request may come to.

    :param likely: input tokens as they count in a provider's queue, generously.
    :param most: the most input tokens, sound left out.
    :param sound: the most input tokens of sound, which has a price of its own.
    :param output: the most output tokens, None where the request names no bound.
    :param unsized: what of the input has no bound, in words; None where everything has one.
    :param media: whether the answer may hold sound or images, which have prices of their own.
    """

    likely: int
    most: int
    sound: int = 0
    output: int | None = None
    unsized: str | None = None
    media: bool = False


def estimate(request: BatchRequest, wire: bytes, model: str | None) -> Estimate:
    """What a request may come to.

    :param wire: its wire lines, which may say more than the request, where a schema was written out.
    :param model: whose rules hold for images: the model's own name, None where it is not known.
    """
    raw, body = request.raw, request.body
    media = Media.of(body, model)
    size = len(orjson.dumps(body))
    if wire != raw:
        size = max(size, len(wire))
    text = written_tokens(body) or max(0, size - media.size)
    added = 0 if request.endpoint in _SILENT else TEMPLATE_TOKENS + _tools(body)
    # Beyond ASCII a character has several bytes, and often a token for each two.
    beyond = 0 if raw.isascii() else len(raw) - len(raw.decode("utf-8", "replace"))
    likely = max(0, len(raw) + beyond - media.size) // LIKELY_BYTES
    return Estimate(
        likely=likely + media.images * LIKELY_IMAGE_TOKENS + media.tokens + media.sound,
        most=text + added + media.images * image_tokens(model) + media.tokens,
        sound=media.sound,
        output=output_tokens(request),
        unsized=media.unsized or _elsewhere(request),
        media=_makes_media(body),
    )


def output_tokens(request: BatchRequest) -> int | None:
    """The most that the provider may write, None where the request names no bound.

    Of several bounds the largest, for providers differ in which one they heed.
    """
    if request.endpoint in _SILENT:
        return 0
    body = request.body
    most, times = 0, 1
    for name in _CAPS.get(request.endpoint, ()):
        if (given := body.get(name)) is not None:
            if not (cap := read_count(given)):
                return None
            most = max(most, cap)
    for name in ("n", "best_of"):
        if (given := body.get(name)) is not None:
            if not (answers := read_count(given)):
                return None
            times = max(times, answers)
    if not most:
        return None
    prompts = body.get("prompt")
    sent = len(prompts) if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int) else 1
    return most * times * sent


def _tools(body: dict[str, Any]) -> int:
    """What tools and schemas add beside their own text."""
    tools = 0
    for name in ("tools", "functions"):
        given = body.get(name)
        tools += len(given) if isinstance(given, list) else 0
    formed = body.get("response_format") or body.get("text")
    return (TOOLS_TOKENS if tools or formed else 0) + TOOL_TOKENS * tools


def written_tokens(body: dict[str, Any]) -> int:
    """How many tokens there are where they were written as numbers, in ``input`` or ``prompt``; 0 for text."""
    given = body.get("input") if body.get("input") is not None else body.get("prompt")
    if not isinstance(given, list) or not given:
        return 0
    if all(type(item) is int for item in given):
        return len(given)
    if all(isinstance(item, list) and all(type(number) is int for number in item) for item in given):
        return sum(map(len, given))
    return 0


def _elsewhere(request: BatchRequest) -> str | None:
    """What the provider reads beside the line."""
    body = request.body
    if request.endpoint == "/v1/responses":
        named = next((name for name in _ELSEWHERE if body.get(name)), None)
        if named:
            return f"{named}, which names what is stored at the provider"
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") not in _FUNCTIONS:
            return f"the tool {tool.get('type')}, which the provider runs"
    return "web_search_options, which lets the provider search" if body.get("web_search_options") else None


def _makes_media(body: dict[str, Any]) -> bool:
    modalities = body.get("modalities")
    return isinstance(modalities, list) and any(item != "text" for item in modalities)
