"""What each Gemini model refuses, in Vertex AI's words: the fake's own copy, written from the reports of errors.

Sources: openai-gemini#63 and litellm#16907 (penalties), js-genai#681 (no thinking), chatwise-releases#1206 and
oh-my-pi#10543 (levels), gcli2api#108 (budgets), litellm#10548 and bolt.diy#955 (output tokens), genkit#1397 (top_k),
python-genai#509 and discuss.ai.google.dev 107293 (cached content).
"""

from __future__ import annotations

import re

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.testing.native_shared import refuse

_LEVELS = {
    "gemini-3-pro": "LOW HIGH",
    "gemini-3.1-pro": "LOW MEDIUM HIGH",
    "gemini-3.7-flash": "LOW MEDIUM HIGH",
    "gemini-3.8-flash": "LOW MEDIUM HIGH",
}


def check_model(model: str, request: JSON) -> None:
    """Refuse what the model does not take.

    :param request: in camelCase.
    :raises RefusedError: in the provider's words.
    """
    config = request.get("generationConfig") or {}
    version = re.match(r"gemini-(\d+(?:\.\d+)?)", model)
    number = float(version[1]) if version else 9.0
    if "cachedContent" in request:
        raise refuse(f"Model {model}-001 does not support cached content with batch prediction.")
    if number != 2.0 and (config.get("presencePenalty") or config.get("frequencyPenalty")):
        raise refuse(f"Penalty is not enabled for models/{model}")
    _range(config, "maxOutputTokens", 8193 if number <= 2.0 else 65536)
    _range(config, "topK", 41 if number <= 2.0 else 65)
    if thinking := config.get("thinkingConfig"):
        _thinking(model, number, thinking)
    wanted = config.get("responseModalities") or []
    if set(wanted) - {"TEXT"} and not re.search("image|tts", model):
        raise refuse(f"Multi-modal output is not supported by {model}.")
    last = (request.get("contents") or [{}])[-1]
    if last.get("role") == "model" and (number >= 3.6 or model.startswith("gemini-3.5-flash-lite")):
        raise refuse("Please ensure that the last turn is not a model turn.")


def _range(config: JSON, name: str, end: int) -> None:
    value = config.get(name)
    if value is not None and not 1 <= value < end:
        raise refuse(
            f"Unable to submit request because it has a {name} value of {value:g} but the supported range is from 1 "
            f"(inclusive) to {end} (exclusive). Update the value and try again."
        )


def _thinking(model: str, number: float, thinking: JSON) -> None:
    if number < 2.5 or "image" in model:
        raise refuse("Unable to submit request because thinking is not supported by this model.")
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if level is not None:
        taken = next((words for name, words in _LEVELS.items() if model.startswith(name)), "MINIMAL LOW MEDIUM HIGH")
        if number < 3 or level not in taken.split():
            raise refuse(
                f"Thinking level {level} is not supported for this model. Please retry with other thinking level."
            )
    if budget is not None and number < 3:
        least, most = (128, 32768) if "pro" in model else (512, 24576) if "lite" in model else (1, 24576)
        if budget == 0 and "pro" in model:
            raise refuse("Budget 0 is invalid. This model only works in thinking mode.")
        if budget not in (-1, 0) and not least <= budget <= most:
            message = f"thinking_budget is out of range; supported values are integers from {least} to {most}."
            raise refuse(message)
