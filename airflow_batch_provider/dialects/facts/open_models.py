"""Open models that take OpenAI's own body, on Bedrock and Vertex AI."""

from __future__ import annotations

from airflow_batch_provider.dialects.facts.record import Facts, Row

_BODY = Facts("OpenAI's chat body", thinking="openai")
BEDROCK: tuple[Row, ...] = (
    Row(r"gpt-oss.*", Facts("AWS, OpenAI models: text only", thinking="openai", images=False)),
    Row(r"(?:qwen|v3|kimi|minimax).*", _BODY),
)
VERTEX: tuple[Row, ...] = (Row(r"(?:llama-|gpt-oss|qwen|deepseek).*", _BODY),)
