"""Amazon Nova on Bedrock."""

from __future__ import annotations

from dataclasses import replace

from airflow_batch_provider.dialects.facts.record import Facts, Row

_GUIDE = Facts(
    'AWS, Nova user guide: 0 to 1 for the temperature; schemas by a forced tool ("Structured output")',
    schema="tool",
    max_temperature=1.0,
)
_LIMIT = 'BerriAI/litellm#23198: "The maximum tokens you requested exceeds the model limit of 10000."'
BEDROCK: tuple[Row, ...] = (
    Row(r"nova-converse", replace(_GUIDE, schema="none", top_k_field="inferenceConfig.topK")),
    # 65,535 or 65,536: truefoundry/models#622; the smaller is right by both.
    Row(r"nova-2-lite", replace(_GUIDE, thinking="level", max_output=65_535, source="truefoundry/models#622")),
    Row(r"nova-(?:micro|lite|pro)", replace(_GUIDE, max_output=10_000, source=_LIMIT)),
    Row(r"nova-premier", _GUIDE),
    Row(r"nova.*", replace(_GUIDE, known=False)),
)
