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
_SEE = "AWS, model cards of Qwen: Qwen3 VL alone takes images; DeepSeek's V3 takes text"
_TEXT = replace(_BODY, images=False, source=f"OpenAI's chat body; {_SEE}")
_QWEN_TEXT = r"qwen3-(?:32b|235b|coder|next).*"
BEDROCK: tuple[Row, ...] = (
    Row(_OSS, _GPT_OSS),
    Row(r"gpt-oss.*", replace(_GPT_OSS, known=False)),
    Row(rf"{_QWEN_TEXT}|v3(?:[.-][12])?", _TEXT),
    Row(rf"{_QWEN}|kimi-k2.*|minimax-m2.*", _BODY),
    Row(r"(?:qwen|v3|kimi|minimax).*", replace(_BODY, known=False)),
)
_LLAMA_3 = r"llama-3[.-][13].*"
_GOOGLE = "OpenAI's chat body; Google, MaaS model pages: text in; AWS, model cards of the same models"
VERTEX: tuple[Row, ...] = (
    Row(rf"{_OSS}|{_QWEN_TEXT}|{_LLAMA_3}|deepseek-(?:r1|v3)(?!\d).*", replace(_TEXT, source=_GOOGLE)),
    Row(rf"{_OSS}|{_QWEN}|llama-(?:[34](?![\d]).*)?|deepseek-(?:r1|v3|ocr|ai)(?!\d).*|open-.*", _BODY),
    Row(r"(?:llama-|gpt-oss|qwen|deepseek).*", replace(_BODY, known=False)),
)
