"""Amazon Nova on Bedrock."""

from __future__ import annotations

from airflow_batch_provider.dialects.facts.record import Facts, Row

_GUIDE = 'AWS, Nova user guide: 0 to 1 for the temperature; schemas by a forced tool ("Structured output")'
BEDROCK: tuple[Row, ...] = (
    Row(r"nova-converse", Facts(_GUIDE, max_temperature=1.0, top_k_field="inferenceConfig.topK")),
    Row(r"nova-2.*", Facts(_GUIDE, max_temperature=1.0, thinking="level", schema="tool")),
    Row(r"nova.*", Facts(_GUIDE, max_temperature=1.0, schema="tool")),
)
