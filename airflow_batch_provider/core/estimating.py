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
"""What a large image costs on Claude (Anthropic's vision guide: 1,568); most others take fewer."""
DEAR_IMAGE_TOKENS = 48_169
"""gpt-4o-mini counts 2,833 and 5,667 for each of up to eight tiles (OpenAI's vision guide)."""
_CAPS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_SILENT = frozenset({"/v1/embeddings", "/v1/moderations"})
_IMAGE_PARTS = frozenset({"image_url", "input_image"})


def input_tokens(request: BatchRequest) -> int:
    """The upper end of what the provider reads."""
    size, images = len(request.raw), 0
    image = DEAR_IMAGE_TOKENS if "gpt-4o-mini" in (request.model or "") else IMAGE_TOKENS
    if b"image" in request.raw:
        inside, images = _images(request.body)
        size -= inside
    if not request.raw.isascii():
        size += len(request.raw) - len(request.raw.decode("utf-8", "replace"))
    return max(0, size) // BYTES_PER_TOKEN + images * image


def output_tokens(request: BatchRequest) -> int | None:
    """The most that the provider may write, None where the request names no bound."""
    if request.endpoint in _SILENT:
        return 0
    body = request.body
    cap = next((body[name] for name in _CAPS if _is_count(body.get(name))), None)
    if cap is None:
        return None
    made = max([1, *(body[name] for name in ("n", "best_of") if _is_count(body.get(name)))])
    prompts = body.get("prompt")
    asked = len(prompts) if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int) else 1
    return int(cap) * int(made) * asked


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _images(value: Any, *, is_image: bool = False) -> tuple[int, int]:
    """Bytes of images inside, which are no text, and how many images there are.

    :param is_image: whether the value is in a part that holds an image.
    """
    if isinstance(value, str):
        return (len(value), 0) if is_image and value.startswith("data:image/") else (0, 0)
    if isinstance(value, dict):
        here = value.get("type") in _IMAGE_PARTS
        parts = [_images(each, is_image=here or is_image) for each in value.values()]
        return sum(size for size, _ in parts), sum(n for _, n in parts) + here
    if isinstance(value, list):
        parts = [_images(each, is_image=is_image) for each in value]
        return sum(size for size, _ in parts), sum(n for _, n in parts)
    return 0, 0
