"""How many tokens a request may become, before anybody has counted: an upper end, and a lower one a third of it.

No tokenizer fits all providers, and theirs are not public; so bytes are counted. Ordinary text has three to six bytes
to a token, scripts beyond Latin have fewer, which is why the bytes that continue a character count twice.
"""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.core.records import BatchRequest

BYTES_PER_TOKEN = 2
LOW_SHARE = 1 / 3
"""Six bytes a token, where the upper end takes two."""
IMAGE_TOKENS = 1600
"""What a large image costs on Claude (Anthropic's vision guide: 1,568); OpenAI and Gemini take fewer for most."""
_CAPS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_SILENT = frozenset({"/v1/embeddings", "/v1/moderations"})
_IMAGE_PARTS = frozenset({"image_url", "input_image"})


def input_tokens(request: BatchRequest) -> int:
    """The upper end of what the provider reads."""
    size, images = len(request.raw), 0
    if b"image" in request.raw:
        inside, images = _images(request.body)
        size -= inside
    if not request.raw.isascii():
        size += len(request.raw) - len(request.raw.decode("utf-8", "replace"))
    return max(0, size) // BYTES_PER_TOKEN + images * IMAGE_TOKENS


def output_tokens(request: BatchRequest) -> int | None:
    """The most that the provider may write, None where the request names no bound."""
    if request.endpoint in _SILENT:
        return 0
    body = request.body
    cap = next((body[name] for name in _CAPS if _is_count(body.get(name))), None)
    if cap is None:
        return None
    answers = body.get("n")
    return int(cap) * (answers if isinstance(answers, int) and _is_count(answers) else 1)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _images(value: Any) -> tuple[int, int]:
    """Bytes of images inside, which are no text, and how many images there are."""
    if isinstance(value, str):
        return (len(value), 0) if value.startswith("data:image/") else (0, 0)
    if isinstance(value, dict):
        parts = [_images(each) for each in value.values()]
        return sum(size for size, _ in parts), sum(n for _, n in parts) + (value.get("type") in _IMAGE_PARTS)
    if isinstance(value, list):
        parts = [_images(each) for each in value]
        return sum(size for size, _ in parts), sum(n for _, n in parts)
    return 0, 0
