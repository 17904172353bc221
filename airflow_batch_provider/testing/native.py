"""Bodies in the models' own formats on Bedrock, read as OpenAI's and answered in their own.

Written from the providers' documents, on purpose without the package's own dialects: what one side gets wrong the
other side shall not get wrong the same way. What the service refuses of a record is refused here.

Sources: AWS, parameters of Anthropic Claude Messages, Converse API reference, Nova user guide (complete request
schema, tool use), and botocore's
model of ``bedrock-runtime``, whose validator is asked for Converse.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from dataclasses import dataclass
from typing import Any

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import CHAT
from airflow_batch_provider.testing.native_bodies import check_converse_body
from airflow_batch_provider.testing.native_claude import called_with, read_claude
from airflow_batch_provider.testing.native_embed import read_cohere, read_titan
from airflow_batch_provider.testing.native_shared import Native, RefusedError, refuse

__all__ = ["Native", "RefusedError", "known_model", "read_native"]

_MAKERS = "ai21|amazon|anthropic|cohere|deepseek|meta|minimax|mistral|moonshot|moonshotai|openai|qwen|writer"
_MODEL = re.compile(rf"(?:(?:us-gov|us|eu|apac|jp|au|ca|global)\.)?((?:{_MAKERS})\.[a-z0-9][a-z0-9.:-]*)")
_ARN = re.compile(
    r"arn:aws(?:-[^:]+)?:bedrock:[a-z0-9-]{1,20}:(?:[0-9]{12})?:"
    r"(foundation-model|inference-profile|application-inference-profile|custom-model)/(.+)"
)
_OPENAI_SHAPED = ("openai.", "qwen.", "deepseek.v3", "moonshot", "minimax.", "ai21.jamba", "mistral.")
_NOVA_LIMITS = ((r"amazon\.nova-(?:micro|lite|pro)-.*", 10_000), (r"amazon\.nova-2-lite-.*", 65_535))
"""AWS's words for more: BerriAI/litellm#23198, aws-solutions IDP#175; truefoundry/models#622."""
_UNION = (
    *("audio", "cachePoint", "citationsContent", "document", "guardContent", "image", "reasoningContent"),
    *("searchResult", "text", "toolResult", "toolUse", "video"),
)
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "content_filtered"}


def known_model(model: str) -> bool:
    """Whether Bedrock has such a model, as far as its name tells."""
    return bool(_ARN.fullmatch(model) or _MODEL.fullmatch(model))


def bare(model: str) -> str:
    """The foundation model's id, empty for a private name."""
    arn = _ARN.fullmatch(model)
    found = _MODEL.fullmatch(arn[2] if arn else model)
    return found[1] if found else ""


def read_native(model: str, invocation: str, request: Any) -> Native:
    """One record's ``modelInput``.

    :param invocation: ``InvokeModel`` or ``Converse``.
    :raises RefusedError: with what the service says of it.
    """
    if not isinstance(request, dict):
        raise refuse("Malformed input request: #: expected type: JSONObject, please reformat your input and try again.")
    if invocation == "Converse":
        return _read_converse(model, request, tools=False)
    name = bare(model)
    if name.startswith("anthropic.") or (not name and "anthropic_version" in request):
        return read_claude(model, name, request)
    if name.startswith("amazon.titan-embed"):
        return read_titan(model, request)
    if name.startswith("cohere.embed"):
        return read_cohere(name, request)
    if name.startswith("amazon.nova"):
        return _read_nova(model, request)
    if name.startswith(_OPENAI_SHAPED):
        return _read_openai(model, request)
    raise refuse(f"Malformed input request: model {model} does not take this body with InvokeModel.")


# ---- OpenAI's own shape --------------------------------------------------------------------------------------------


def _read_openai(model: str, request: JSON) -> Native:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise refuse("Malformed input request: #/messages: expected minimum item count: 1, found: 0")
    if request.get("stream"):
        raise refuse("Malformed input request: streaming is not supported in batch inference")
    effort = request.get("reasoning_effort")
    if effort is not None and bare(model).startswith("openai.gpt-oss") and effort not in ("low", "medium", "high"):
        raise refuse(f"reasoning_effort: {effort} is not one of low, medium, high")
    return Native(CHAT, {**request, "model": model}, lambda answer: answer)


# ---- Nova ----------------------------------------------------------------------------------------------------------


def _read_nova(model: str, request: JSON) -> Native:
    """Converse's request with what Nova puts elsewhere, and with tools."""
    if request.get("schemaVersion", "messages-v1") != "messages-v1":
        raise refuse("Malformed input request: #/schemaVersion: messages-v1 expected")
    for name in sorted(set(request) - {"schemaVersion", "messages", "system", "inferenceConfig", "toolConfig"}):
        raise refuse(f"Malformed input request: extraneous key [{name}] is not permitted")
    config = dict(request.get("inferenceConfig") or {})
    config.pop("topK", None)
    thinking = config.pop("reasoningConfig", None) or {}
    most = next((limit for name, limit in _NOVA_LIMITS if re.fullmatch(name, bare(model))), None)
    if most is not None and (config.get("maxTokens") or 0) > most:
        raise refuse(f"The maximum tokens you requested exceeds the model limit of {most}.")
    if thinking.get("maxReasoningEffort") == "high" and config.keys() & {"temperature", "topP", "maxTokens"}:
        raise refuse("temperature, topP and maxTokens must be unset when maxReasoningEffort is high.")
    tools = request.get("toolConfig") or {}
    for tool in tools.get("tools") or []:
        schema = tool["toolSpec"]["inputSchema"]["json"]
        if schema.get("type") != "object" or set(schema) - {"type", "properties", "required"}:
            raise refuse("The provided tool schema holds fields that are not supported at the top level.")
    _check_tool_turns(request, tools)
    native = {key: value for key, value in request.items() if key != "schemaVersion"}
    read = _read_converse(model, {**native, "inferenceConfig": config}, tools=True)
    return Native(CHAT, read.body, functools.partial(_write_nova, _forced(tools)))


def _check_tool_turns(request: JSON, tools: JSON) -> None:
    waiting: set[str] = set()
    for turn in request.get("messages") or []:
        blocks = turn.get("content") or []
        if any("document" in block for block in blocks):
            raise refuse("Malformed input request: documents are not supported by the Invoke API.")
        if any("toolUse" in block or "toolResult" in block for block in blocks) and not tools.get("tools"):
            raise refuse("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        if {block["toolResult"]["toolUseId"] for block in blocks if "toolResult" in block} != waiting:
            raise refuse("Expected toolResult blocks for the toolUse blocks of the previous turn.")
        waiting = {block["toolUse"]["toolUseId"] for block in blocks if "toolUse" in block}


def _forced(tools: JSON) -> str | None:
    """The tool that the model must call."""
    choice = tools.get("toolChoice") or {}
    names = [tool["toolSpec"]["name"] for tool in tools.get("tools") or []]
    if "tool" in choice:
        if choice["tool"]["name"] not in names:
            raise refuse("The tool of toolChoice is none of the tools.")
        return str(choice["tool"]["name"])
    return str(names[0]) if "any" in choice and names else None


def _write_nova(forced: str | None, answer: JSON) -> JSON:
    """As InvokeModel writes it: without nulls, and other names for cached tokens."""
    message = answer["choices"][0]["message"]
    if forced and not message.get("tool_calls"):
        arguments = json.dumps(called_with(message))
        call = {"id": "tooluse_1", "type": "function", "function": {"name": forced, "arguments": arguments}}
        message = {**message, "content": None, "tool_calls": [call]}
        answer = {**answer, "choices": [{**answer["choices"][0], "message": message, "finish_reason": "tool_calls"}]}
    told = _write_converse(answer)
    blocks = told["output"]["message"]["content"]
    bare = [{name: value for name, value in block.items() if value is not None} for block in blocks]
    usage = {name: told["usage"][name] for name in ("inputTokens", "outputTokens", "totalTokens")}
    return {
        "output": {"message": {"role": "assistant", "content": bare}},
        "stopReason": told["stopReason"],
        "usage": {**usage, "cacheReadInputTokenCount": 0, "cacheWriteInputTokenCount": 0},
    }


# ---- Converse ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Schema:
    shape: Any
    validator: Any


@functools.cache
def _converse_schema() -> _Schema:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import ParamValidator

    # A session would read the profile that the environment names, which a fake has no use for.
    model = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
    return _Schema(model.operation_model("Converse").input_shape, ParamValidator())


def _read_converse(model: str, request: JSON, *, tools: bool) -> Native:
    if not tools:
        for name in ("toolConfig", "guardrailConfig", "serviceTier", "requestMetadata", "promptVariables"):
            if name in request:
                raise refuse(f"{name} is not supported in batch inference.")
    _check_document_names(request)
    check_converse_body(bare(model), request)
    schema = _converse_schema()
    report = schema.validator.validate({**request, "modelId": model}, schema.shape)
    if report.has_errors():
        raise refuse(f"Malformed input request: {report.generate_report()}")
    _check_sampling(request.get("inferenceConfig") or {})
    messages: list[JSON] = [{"role": "system", "content": _said(block)} for block in request.get("system") or []]
    _check_turns(request.get("messages") or [])
    for number, message in enumerate(request["messages"]):
        parts = [_part(block, f"messages.{number}.content.{at}") for at, block in enumerate(message["content"])]
        messages.append({"role": message["role"], "content": parts})
    config = request.get("inferenceConfig") or {}
    body = {"model": model, "messages": messages, "max_tokens": config.get("maxTokens")}
    body |= {"temperature": config.get("temperature"), "top_p": config.get("topP"), "stop": config.get("stopSequences")}
    return Native(CHAT, {name: value for name, value in body.items() if value is not None}, _write_converse)


_DOCUMENT_NAME = re.compile(r"[A-Za-z0-9()\[\]-]+(?: [A-Za-z0-9()\[\]-]+)*")


def _check_document_names(request: JSON) -> None:
    """AWS, DocumentBlock; the words are those of vercel/ai#20365, and other white space than a space is refused alone
    (aws-samples/generative-ai-use-cases#1671)."""
    seen = set()
    for message in request.get("messages") or []:
        for block in message.get("content") or []:
            name = (block.get("document") or {}).get("name") if isinstance(block, dict) else None
            if name is not None and not _DOCUMENT_NAME.fullmatch(str(name)):
                raise refuse(
                    "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, "
                    "parentheses, and square brackets. The name can't contain more than one consecutive whitespace "
                    "character."
                )
            if name is not None and name in seen:
                raise refuse("Messages can not contain duplicate file names. Provide unique names for each file.")
            seen.add(name)


def _said(block: JSON) -> str:
    if "cachePoint" in block:
        raise refuse("Prompt caching is not supported in batch inference.")
    text = str(block.get("text") or "")
    if not text.strip():
        raise refuse("The text field in the system content block is blank. Add text to the field, and try again.")
    return text


def _check_sampling(config: JSON) -> None:
    for name in ("temperature", "topP"):
        value = config.get(name)
        if value is not None and not 0 <= value <= 1:
            raise refuse(f"Value {value} at inferenceConfig.{name} failed to satisfy constraint: 0 to 1")
    if len(config.get("stopSequences") or []) > 2500 or "" in (config.get("stopSequences") or []):
        raise refuse("inferenceConfig.stopSequences failed to satisfy constraint")


def _check_turns(messages: list[JSON]) -> None:
    if not messages:
        raise refuse("The messages field must hold at least one message.")
    if messages[0]["role"] != "user":
        raise refuse("A conversation must start with a user message. Try again with a conversation that does.")
    for before, message in itertools.pairwise(messages):
        if before["role"] == message["role"]:
            raise refuse("A conversation must alternate between user and assistant roles.")
    for number, message in enumerate(messages):
        if not message["content"]:
            raise refuse(f"The content field in the Message object at messages.{number} is empty.")


def _part(block: JSON, where: str) -> JSON:
    if "cachePoint" in block:
        raise refuse("Prompt caching is not supported in batch inference.")
    if "text" in block:
        if not str(block["text"]).strip():
            raise refuse(f"The text field in the ContentBlock object at {where} is blank.")
        return {"type": "text", "text": block["text"]}
    if "image" in block:
        source = block["image"].get("source") or {}
        if not isinstance(source.get("bytes"), str) or source["bytes"].startswith(("http", "data:")):
            raise refuse(f"The image at {where} has no bytes in base64; URL sources are not supported.")
        return {"type": "image_url", "image_url": {"url": f"data:image/{block['image']['format']};base64,..."}}
    if "toolResult" in block:
        texts = [str(item.get("text") or json.dumps(item.get("json"))) for item in block["toolResult"]["content"]]
        return {"type": "text", "text": " ".join(texts)}
    return {"type": next(iter(block), "unknown")}


def _write_converse(answer: JSON) -> JSON:
    choice = answer["choices"][0]
    message = choice["message"]
    content = [_block("text", message["content"])] if message.get("content") else []
    for call in message.get("tool_calls") or []:
        made = {"toolUseId": call["id"], "name": call["function"]["name"]}
        content.append(_block("toolUse", {**made, "input": json.loads(call["function"]["arguments"] or "{}")}))
    usage = answer["usage"]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _STOPS.get(choice["finish_reason"], "end_turn"),
        "usage": {
            "inputTokens": usage["prompt_tokens"],
            "outputTokens": usage["completion_tokens"],
            "totalTokens": usage["total_tokens"],
            "cacheReadInputTokens": None,
            "cacheWriteInputTokens": None,
        },
        "metrics": {"latencyMs": 1},
        "additionalModelResponseFields": None,
        "trace": None,
        "performanceConfig": None,
    }


def _block(name: str, value: Any) -> JSON:
    """A content block as batch inference writes it: with null for every other member of the union."""
    return {member: value if member == name else None for member in _UNION}
