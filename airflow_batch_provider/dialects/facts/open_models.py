"""Open models that take OpenAI's own body, on Bedrock and Vertex AI."""

from __future__ import annotations

from airflow_batch_provider.dialects.facts.record import Facts, Row

_BODY = Facts("OpenAI's chat body", thinking="openai")
_GPT_OSS = Facts(
    "AWS, OpenAI models: text only; aws-samples/bedrock-chat#924: three levels of effort, and always some",
    thinking="openai",
    thinking_off="never",
    efforts=("low", "medium", "high"),
    images=False,
)
BEDROCK: tuple[Row, ...] = (
    Row(r"gpt-oss.*", _GPT_OSS),
    Row(r"(?:qwen|v3|kimi|minimax).*", _BODY),
)
VERTEX: tuple[Row, ...] = (Row(r"(?:llama-|gpt-oss|qwen|deepseek).*", _BODY),)
