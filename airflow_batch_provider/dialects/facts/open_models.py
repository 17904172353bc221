"""Open models that take OpenAI's own body, on Bedrock and Vertex AI."""

from __future__ import annotations

from dataclasses import replace

from airflow_batch_provider.dialects.facts.record import Facts, Row

# What is newer than these takes its neighbour's row, with the warning of an unknown model.
_BODY = Facts("OpenAI's chat body", thinking="openai")
_GPT_OSS = Facts(
    "AWS, OpenAI models: text only; aws-samples/bedrock-chat#924: three levels of effort, and always some",
    thinking="openai",
    thinking_off="never",
    efforts=("low", "medium", "high"),
    images=False,
)
_OSS = r"gpt-oss(?:-safeguard)?(?:-(?:20|120)b.*)?"
_QWEN = r"qwen(?:3(?![.\d]).*)?"
BEDROCK: tuple[Row, ...] = (
    Row(_OSS, _GPT_OSS),
    Row(r"gpt-oss.*", replace(_GPT_OSS, known=False)),
    Row(rf"{_QWEN}|v3(?:[.-][12])?|kimi-k2.*|minimax-m2.*", _BODY),
    Row(r"(?:qwen|v3|kimi|minimax).*", replace(_BODY, known=False)),
)
VERTEX: tuple[Row, ...] = (
    Row(rf"{_OSS}|{_QWEN}|llama-(?:[34](?![\d]).*)?|deepseek-(?:r1|v3|ocr|ai)(?!\d).*|open-.*", _BODY),
    Row(r"(?:llama-|gpt-oss|qwen|deepseek).*", replace(_BODY, known=False)),
)
