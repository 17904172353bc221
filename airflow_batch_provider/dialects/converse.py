"""Bedrock's Converse request and answer.

Shapes: botocore, service ``bedrock-runtime``, ConverseRequest and ConverseResponse. AWS "Batch inference": records with
``toolConfig`` fail; cache points and guardrails are not for batches either, so none of them is ever written.
"""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.chat import ChatDialect
from airflow_batch_provider.dialects.chat_keys import ChatKeys
from airflow_batch_provider.dialects.completion import (
    completion,
    made_id,
    object_of,
    token_total,
    tool_call,
    usage,
)
from airflow_batch_provider.dialects.converse_leftovers import (
    converse_leftovers,
    read_cited,
    read_media,
    read_thoughts,
)
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.document_names import document_name
from airflow_batch_provider.dialects.facts.converse import MOST_DOCUMENTS
from airflow_batch_provider.dialects.facts.tool_names import BEDROCK as BEDROCK_NAMES
from airflow_batch_provider.dialects.families import Family
from airflow_batch_provider.dialects.finish_words import CONVERSE, finish_reason
from airflow_batch_provider.dialects.keys import READ
from airflow_batch_provider.dialects.leftovers import unread
from airflow_batch_provider.dialects.media import Media
from airflow_batch_provider.dialects.options import (
    JSON_ONLY,
    bounded_tokens,
    check_images,
    check_sampling,
    check_turns,
    merge_system,
    read_effort,
    read_format,
    read_max_tokens,
    read_number,
    read_whole,
    schema_in_words,
    with_effort,
)
from airflow_batch_provider.dialects.parts import Blob, stop_list

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_OFFICE = "application/vnd.openxmlformats-officedocument"
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    f"{_OFFICE}.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    f"{_OFFICE}.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_TOOL_MODELS = "use Claude, Nova, gpt-oss, Qwen, DeepSeek V3 or Kimi"
_NO_TOOLS = f"Bedrock Converse does not support tools in batches; {_TOOL_MODELS}"


class Converse(ChatDialect):
    """Bedrock's chat models by their common request.

    :param model: named in answers, which do not name it themselves.
    """

    provider = "Bedrock Converse"
    tool_names = BEDROCK_NAMES
    nested: ClassVar[ChatKeys] = ChatKeys(format_name=READ)

    def __init__(self, family: Family, model: str) -> None:
        super().__init__(self.nested)
        self._family = family
        self._model = model
        self._titles: set[str] = set()
        self.fields |= {
            "temperature": self._temperature,
            "top_p": self._top_p,
            "top_k": self._top_k,
            "stop": self._stop,
            "response_format": self._format,
            "reasoning_effort": self._effort,
            "thinking": self._thinking,
            "tools": self._no(_TOOL_MODELS, "does not support tools in batches"),
            "tool_choice": self._tool_choice,
        }

    # ---- request -----------------------------------------------------------------------------------------------

    def request(self, body: JSON) -> JSON:
        """A ConverseRequest without ``modelId``."""
        if self._titles:
            self._titles = set()
        body = with_effort(body, self.note)
        system, turns = self.conversation(body)
        if turns[0]["role"] != "user" or turns[-1]["role"] != "user":
            check_turns(turns, self.provider, self.notes, prefill=self._family.facts.prefill)
        if self._titles:
            self._check_documents(turns)
        self._check_images(turns)
        most = read_max_tokens(body)
        if most is not None:
            most = bounded_tokens(most, self._family.facts.max_output, self.note)
        config: JSON = {} if most is None else {"maxTokens": most}
        out: JSON = {"messages": turns, "inferenceConfig": config}
        if system:
            out["system"] = system
        self.write_fields(body, out)
        if not self._family.facts.system and "system" in out:
            merge_system(out, out["system"], self.note)
        if not config:
            del out["inferenceConfig"]
        return out

    def _message(self, role: str, message: JSON, index: int, names: dict[str, str]) -> list[JSON]:
        if role in ("tool", "function"):
            raise self.refuse(f"messages[{index}].role", _NO_TOOLS)
        if message.get("tool_calls"):
            raise self.refuse(f"messages[{index}].tool_calls", _NO_TOOLS)
        return super()._message(role, message, index, names)

    def text(self, text: str) -> JSON:
        """A text block."""
        return {"text": text}

    def image(self, blob: Blob, path: str) -> JSON:
        """An image block; in JSON Lines its bytes are base64 text."""
        if not self._family.facts.images:
            raise self.refuse(f"{path}.image_url", f"{self._model} takes text only")
        form = _IMAGES.get(blob.media_type)
        if form is None:
            raise self.refuse(f"{path}.image_url.url", f"{blob.media_type} is not png, jpeg, gif or webp")
        return {"image": {"format": form, "source": {"bytes": blob.data}}}

    def document(self, blob: Blob, path: str) -> JSON:
        """A document block, with a name as AWS requires them, each of its own."""
        form = _DOCUMENTS.get(blob.media_type)
        if form is None:
            known = ", ".join(_DOCUMENTS.values())
            raise self.refuse(f"{path}.file.file_data", f"{blob.media_type} is none of {known}")
        name = document_name(blob.name, self._titles)
        self._titles.add(name)
        return {"document": {"format": form, "name": name, "source": {"bytes": blob.data}}}

    def _check_images(self, turns: list[JSON]) -> None:
        if self._family.facts.max_images is not None:
            check_images(self._family.facts, sum("image" in part for turn in turns for part in turn["content"]))

    def _check_documents(self, turns: list[JSON]) -> None:
        if len(self._titles) > MOST_DOCUMENTS:
            message = f"{self.provider} takes at most {MOST_DOCUMENTS} documents per request, not {len(self._titles)}"
            raise self.refuse("messages", f"{message}; split the row")
        for turn in turns:
            kinds = {kind for part in turn["content"] for kind in part}
            if "document" in kinds and "text" not in kinds:
                raise self.refuse("messages", f"{self.provider} requires a text beside a file; say what to do with it")

    # ---- options -----------------------------------------------------------------------------------------------

    def _temperature(self, value: Any, body: JSON, out: JSON) -> None:
        number = read_number("temperature", value, self._family.facts.max_temperature, self.provider)
        check_sampling(self._family.facts, "temperature", body, number)
        out["inferenceConfig"]["temperature"] = number

    def _top_p(self, value: Any, body: JSON, out: JSON) -> None:
        number = read_number("top_p", value, 1, self.provider)
        check_sampling(self._family.facts, "top_p", body, number)
        out["inferenceConfig"]["topP"] = number

    def _top_k(self, value: Any, body: JSON, out: JSON) -> None:
        if not self._family.facts.top_k or not self._family.facts.top_k_field:
            raise self.refuse("top_k", f"{self._model} has no top_k; leave it out")
        place = out.setdefault("additionalModelRequestFields", {})
        *above, name = self._family.facts.top_k_field.split(".")
        for level in above:
            place = place.setdefault(level, {})
        place[name] = read_whole("top_k", value, low=0, most=self._family.facts.max_top_k)

    def _stop(self, value: Any, body: JSON, out: JSON) -> None:
        if stops := stop_list(value, self.provider):
            out["inferenceConfig"]["stopSequences"] = stops

    def _format(self, value: Any, body: JSON, out: JSON) -> None:
        wanted = read_format(value)
        if wanted == "text":
            return
        if wanted == "json_object":
            out.setdefault("system", []).append({"text": JSON_ONLY})
            return
        if self._family.facts.schema == "prompt":
            out.setdefault("system", []).append({"text": schema_in_words(wanted, self.note)})
            return
        if self._family.facts.schema != "native":
            remedy = (
                'write json_object, and the schema into the prompt, or set the schema of its model_facts to "prompt"'
            )
            raise self.refuse("response_format", f"{self._model} has no structured outputs on Bedrock; {remedy}")
        json_schema = {"schema": orjson.dumps(wanted.schema).decode(), "name": wanted.name}
        if wanted.description:
            json_schema["description"] = wanted.description
        out["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": json_schema}}}

    def _effort(self, value: Any, body: JSON, out: JSON) -> None:
        read_effort(value)
        self.note("reasoning_effort", "there is no such setting")

    def _thinking(self, value: Any, body: JSON, out: JSON) -> None:
        if object_of(value).get("type") != "disabled":
            raise self.refuse("thinking", f"{self._model} has no such setting; remove the field")

    def _tool_choice(self, value: Any, body: JSON, out: JSON) -> None:
        if value not in ("auto", "none"):
            raise self.refuse("tool_choice", _NO_TOOLS)

    # ---- answer ------------------------------------------------------------------------------------------------

    def answer(self, output: JSON) -> JSON | Failure:
        """From a ConverseResponse, in which batches write every unused member of a union as null."""
        message = object_of(output.get("output")).get("message")
        if not isinstance(message, dict):
            if not isinstance(output.get("stopReason"), str):
                return Failure(None, "The record's output holds no message.")
            # A guardrail or the model's own broken format may leave none, which was paid for all the same.
            message = {}
        left = converse_leftovers(output)
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[JSON] = []
        media = Media()
        for index, block in enumerate(message["content"] if isinstance(message.get("content"), list) else ()):
            if not isinstance(block, dict):
                left.part(index, block)
                continue
            rest = unread(block)
            if isinstance(block.get("text"), str):
                texts.append(rest.pop("text", ""))
            if use := object_of(block.get("toolUse")):
                calls.append(tool_call(str(use.get("toolUseId")), str(use.get("name")), use.get("input")))
                rest |= {"toolUse": unread(use, "toolUseId", "name", "input")}
            thoughts += read_thoughts(rest)
            texts += read_cited(rest)
            read_media(rest, media)
            left.part(index, unread(rest))
        counted = object_of(output.get("usage"))
        body = completion(
            answer_id=made_id(output),
            model=self._model,
            text="".join(texts) if texts or not calls else None,
            finish=finish_reason(CONVERSE, output.get("stopReason"), calls),
            usage=usage(
                token_total(counted, "inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
                token_total(counted, "outputTokens"),
                cached=counted.get("cacheReadInputTokens"),
                cache_write=counted.get("cacheWriteInputTokens"),
            ),
            reasoning="".join(thoughts),
            calls=calls,
            media=media.fields(),
        )
        return left.into(body)
