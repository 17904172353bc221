"""Models that take Converse requests on Bedrock.

Converse's own bounds of temperature are 0 and 1 (botocore, InferenceConfiguration). AWS, "Supported models and model
features" of Converse: which models see images and know system messages. Of images, Bedrock has no limit of its own
(AWS, "API restrictions"; its API reference still says 20); Llama's are those of the errors that people met
(aws-samples/generative-ai-use-cases#1040).
"""

from __future__ import annotations

from airflow_batch_provider.dialects.facts.record import Facts, Row

_FEATURES = 'AWS, "Supported models and model features" of Converse'
_LLAMA = f"{_FEATURES}; aws-samples/generative-ai-use-cases#1040: images"
MOST_DOCUMENTS = 5
"""AWS, "API restrictions": a request; "You can't include more than 5 documents in a request."
(generative-ai-use-cases#1685)."""
_NATIVE = 'AWS, "Get validated JSON results from models"'


def _row(models: str, **facts: object) -> Row:
    return Row(models, Facts(**{"source": _FEATURES, "max_temperature": 1.0, **facts}))  # type: ignore[arg-type]


BEDROCK: tuple[Row, ...] = (
    _row(r"llama3-2-(?:11|90)b.*|llama-vision", max_images=1, source=_LLAMA),
    _row(r"llama4-.*", max_images=8, source=_LLAMA),
    _row(r"llama3.*|llama", images=False),
    _row(r"llama.*", images=False, known=False),
    _row(r"(?:mistral-7b|mixtral-8x7b|mistral-instruct).*", top_k_field="top_k", images=False, system=False),
    _row(r"mistral-(?:(?:large|small)-24.*|2024)", top_k_field="top_k", images=False),
    _row(r"pixtral.*", top_k_field="top_k"),
    _row(
        r"(?:mistral-large-3|ministral-3|magistral-small-25|voxtral-(?:mini|small).*-25|devstral-2-).*|mistral-3",
        top_k_field="top_k",
        schema="native",
        source=_NATIVE,
    ),
    _row(r".*(?:mistral|ministral|magistral|voxtral|devstral).*", top_k_field="top_k", known=False),
    _row(r"command-r(?:-plus)?(?:-v1)?|cohere", top_k_field="k", images=False),
    _row(r"command.*", top_k_field="k", images=False, known=False),
    _row(r"jamba(?:-(?:instruct|1-5).*)?", images=False),
    _row(r"jamba.*", images=False, known=False),
    _row(r"r1|deepseek-r1", images=False),
    _row(r"r1.*", images=False, known=False),
    _row(r"palmyra(?:-x[45])?|writer"),
    _row(r"palmyra.*", images=False, known=False),
)
