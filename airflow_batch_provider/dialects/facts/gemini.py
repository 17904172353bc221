"""Gemini on Vertex AI.

Penalties: taken by 2.0, refused since 2.5 ("Penalty is not enabled for ..."; PublicAffairs/openai-gemini#63,
BerriAI/litellm#16907 for Gemini 3). Levels of thinking: Google, "Thinking" (supported thinking_level values by model);
MEDIUM refused by 3 Pro (egoist/chatwise-releases#1206, BerriAI/litellm#21670), MINIMAL by 3.7 and 3.8 Flash
(BerriAI/litellm#37314, litellm-docs#1505). Budgets by model: Google, "Thinking", quoted in juspay/neurolink#1707. No
thinking with 2.0: googleapis/js-genai#681. Output: 65,536 is an exclusive bound on Vertex AI (BerriAI/litellm#10548,
goose#11364); 8,192 with 1.5 and 2.0 (Google AI, model pages; Vertex AI's own page of 2.0 says more, the errors seen do
not). top_k: at most 40 with 1.5 and 2.0 (genkit-ai/genkit#1397), 64 since. Temperature, top_p and top_k are ignored and
the model may not speak last since 3.6 Flash and 3.5 Flash-Lite (Google AI, "What's new in Gemini 3.6 Flash";
langchain-google#1897). Images: Google, "Image understanding", maximum images per prompt; newer pages of Gemini 3 say
3,000. JSON beside tools: "Function calling with a response mime type: 'application/json' is unsupported"
(googleapis/python-genai#867; "Tool use with ...", tbphp/gpt-load#188, for Google's own tools), taken since Gemini 3
(Google AI, "Gemini 3", structured outputs with tools; pydantic/pydantic-ai#4801).
"""

from __future__ import annotations

from dataclasses import replace

from airflow_batch_provider.dialects.facts.record import Facts, Row

_ALL = ("minimal", "low", "medium", "high")
_OLD = Facts(
    "Google, model pages of Gemini",
    schema="native",
    max_output=8_192,
    max_top_k=40,
    max_images=3_000,
    json_beside_tools=False,
)
_BUDGETED = replace(
    _OLD,
    source='Google, "Thinking" and model pages of Gemini 2.5; PublicAffairs/openai-gemini#63; BerriAI/litellm#10548',
    thinking="budget",
    thinks_unasked=True,
    efforts=("none", *_ALL),
    min_budget=1,
    max_budget=24_576,
    max_output=65_535,
    max_top_k=64,
)
_LEVELS = Facts(
    'Google, "Thinking" and model pages of Gemini 3; BerriAI/litellm#16907',
    schema="native",
    thinking="level",
    thinks_unasked=True,
    thinking_off="never",
    efforts=_ALL,
    max_output=65_535,
    max_top_k=64,
    max_images=3_000,
)
_FIXED = replace(
    _LEVELS,
    source='Google AI, "What\'s new in Gemini 3.6 Flash"; langchain-google#1897',
    sampling="none",
    prefill=False,
)
_PICTURES = replace(
    _LEVELS,
    source="Google, image generation with Gemini",
    thinking="none",
    efforts=(),
    media_out=True,
    max_output=32_768,
)
_PICTURES_2 = replace(_PICTURES, json_beside_tools=False)

_SUFFIX = r"(?:-(?:preview|exp|latest|customtools|\d+))*"
"""What says no more of a model than its date and state; any other ending makes it another model."""


def _row(models: str, facts: Facts) -> Row:
    return Row(f"gemini-(?:{models}){_SUFFIX}", facts)


VERTEX: tuple[Row, ...] = (
    Row(r"gemini-embedding.*", Facts("Google, text embeddings")),
    _row(r"2\.5-flash(?:-preview)?-image(?:-generation)?", replace(_PICTURES_2, max_images=3)),
    _row(r"3(?:\.1)?-(?:pro|flash|flash-lite)(?:-preview)?-image", replace(_PICTURES, max_images=14)),
    _row(r"2\.[05]-(?:pro|flash|flash-lite)(?:-preview)?-(?:image(?:-generation)?|tts)", _PICTURES_2),
    _row(r"3(?:\.1)?-(?:pro|flash|flash-lite)(?:-preview)?-tts", _PICTURES),
    Row(r"gemini-.*(?:image|tts).*", replace(_PICTURES_2, known=False, max_images=None)),
    _row(r"1\.[05]-(?:pro|flash|flash-8b)(?:-vision)?", _OLD),
    _row(
        r"2\.0-(?:flash|flash-lite|flash-thinking|pro)",
        replace(_OLD, penalties=True, source=f"{_OLD.source}; googleapis/js-genai#681"),
    ),
    _row(
        r"2\.5-pro",
        replace(_BUDGETED, thinking_off="never", min_budget=128, max_budget=32_768, efforts=_ALL),
    ),
    _row(r"2\.5-flash-lite", replace(_BUDGETED, thinks_unasked=False, min_budget=512)),
    _row(r"2\.5-flash", _BUDGETED),
    Row(
        r"gemini-[12](?!\d).*",
        replace(_BUDGETED, known=False, thinking_off="never", min_budget=512, max_output=8_192, max_top_k=40),
    ),
    _row(r"3-pro", replace(_LEVELS, efforts=("low", "high"), max_images=900)),
    _row(r"3\.1-pro", replace(_LEVELS, efforts=("low", "medium", "high"))),
    _row(r"3(?:\.1)?-flash(?:-lite)?|3\.5-flash", _LEVELS),
    _row(r"3\.5-flash-lite|3\.6-flash", _FIXED),
    _row(r"3\.[78]-flash", replace(_FIXED, efforts=("low", "medium", "high"))),
    # What all since Gemini 3 take.
    Row(r"gemini.*", replace(_FIXED, known=False, efforts=("low", "high"))),
)
