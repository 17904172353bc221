"""Claude's Messages request and answer, as Bedrock's InvokeModel and Vertex AI take them in batches.

Shapes: anthropic SDK, ``types.message_create_params`` and ``types.Message``; AWS and Google want ``anthropic_version``
in the body and no ``model``. Rules of tool results and prefill: Anthropic's "Tool use" and "Migration guide".
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from typing import Any

import orjson

from airflow_batch_provider.core.media import pages_of
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.chat import ChatDialect, nothing
from airflow_batch_provider.dialects.chat_keys import CACHE, ChatKeys
from airflow_batch_provider.dialects.claude_leftovers import claude_leftovers
from airflow_batch_provider.dialects.claude_options import LINKED, write_linked
from airflow_batch_provider.dialects.claude_schema import ANSWER_TOOLS, answer_in
from airflow_batch_provider.dialects.claude_thinking import check_room
from airflow_batch_provider.dialects.completion import (
    completion,
    made_id,
    object_of,
    objects_of,
    token_total,
    tool_call,
    usage,
)
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.facts.claude import MANY_IMAGES, MANY_RULE
from airflow_batch_provider.dialects.facts.tool_names import CLAUDE as CLAUDE_NAMES
from airflow_batch_provider.dialects.families import Family
from airflow_batch_provider.dialects.finish_words import CLAUDE, finish_reason
from airflow_batch_provider.dialects.keys import READ, Each, Keys
from airflow_batch_provider.dialects.options import (
    bounded_tokens,
    check_images,
    check_least_top_p,
    check_turns,
    merge_system,
    read_max_tokens,
    read_number,
    read_whole,
    with_effort,
)
from airflow_batch_provider.dialects.parts import Blob, ToolCall, ToolResult, stop_list
from airflow_batch_provider.dialects.tool_turns import pair

_VERSIONS = {"": "bedrock-2023-05-31", "anthropic": "vertex-2023-10-16"}
"""``anthropic_version`` by Vertex's publisher; Bedrock has none."""
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_TITLE = 500
"""The most characters of a document's title (Anthropic's OpenAPI, RequestDocumentBlock)."""
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ERRORS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Anthropic, "Errors"."""


_CACHE_MARK = Keys(dict.fromkeys(("type", "ttl"), READ))
_NESTED = ChatKeys(
    citations=Keys({"enabled": READ}),
    thinking_blocks=Each(Keys(dict.fromkeys(("type", "thinking", "signature", "data"), READ))),
    format_strict=READ,
)
"""anthropic SDK, ``types.document_block_param``, ``thinking_block_param``, ``thinking_config_enabled_param``."""


class Anthropic(ChatDialect):
    """Claude.

    :param model: named in answers that do not name theirs.
    """

    provider = "Claude"
    tool_names = CLAUDE_NAMES

    def __init__(self, family: Family, model: str) -> None:
        # Google, "Claude prompt caching": as at Anthropic. AWS caches nothing in batches.
        self._caches = family.publisher == "anthropic"
        super().__init__(replace(_NESTED, cache=_CACHE_MARK if self._caches else CACHE))
        self._family = family
        self._model = model
        self._version = _VERSIONS.get(family.publisher, _VERSIONS[""])
        self._called: dict[str, None] = {}
        self._pages = 0
        self.fields |= {
            "temperature": self._temperature,
            "top_p": self._top_p,
            "top_k": self._top_k,
            "stop": self._stop,
            **dict.fromkeys(LINKED, nothing),
        }

    # ---- request -----------------------------------------------------------------------------------------------

    def request(self, body: JSON) -> JSON:
        """The Messages request without ``model``."""
        if self._called:
            self._called = {}
        self._pages = 0
        body = with_effort(body, self.note)
        system, turns = self.conversation(body)
        self._check_media(turns)
        if self.used_tools:
            pair(turns, "content", _call_id, _result_id)
        check_turns(turns, self.provider, self.notes, prefill=self._family.facts.prefill)
        out: JSON = {"anthropic_version": self._version, "max_tokens": self._most(body), "messages": turns}
        if system:
            bare = len(system) == 1 and len(system[0]) == 2
            out["system"] = system[0]["text"] if bare else system
        self.write_fields(body, out)
        if self._called or not LINKED.isdisjoint(body):
            write_linked(self._family.facts, body, out, list(self._called), self.note)
            if self._caches and body.get("tools"):
                self._mark_tools(body["tools"], out)
        check_room(self._family.facts, out, self.note)
        if not self._family.facts.system and "system" in out:
            system_text = out["system"]
            merge_system(out, [self.text(system_text)] if isinstance(system_text, str) else system_text, self.note)
        return out

    def _check_media(self, turns: list[JSON]) -> None:
        kinds = [block["type"] for turn in turns for block in turn["content"]]
        images, documents = kinds.count("image"), kinds.count("document")
        if not images and not documents:
            return
        check_images(self._family.facts, images, documents)
        if images > MANY_IMAGES:
            self.note("messages", f"with more than {MANY_IMAGES} images, {MANY_RULE}", "sent as it is")
        most, pages = self._family.facts.max_images, self._pages
        if most is not None and pages > most:
            raise self.refuse(
                "messages", f"{self._model} takes at most {most} pages of PDF per request, not {pages}; split the row"
            )

    def _most(self, body: JSON) -> int:
        """``max_tokens``, which Claude requires."""
        facts, most = self._family.facts, read_max_tokens(body)
        if most is not None:
            return bounded_tokens(most, facts.max_output, self.note)
        written = min(facts.default_output, facts.max_output or facts.default_output)
        reason = f"Claude requires a limit: requests without one get {written}, or more where thinking is on"
        self.notes.setdefault("body.max_tokens", reason)
        return written

    def _message(self, role: str, message: JSON, index: int, names: dict[str, str]) -> list[JSON]:
        parts = super()._message(role, message, index, names)
        blocks = message.get("thinking_blocks") if role == "assistant" else None
        if blocks is None:
            return parts
        thoughts = _thoughts(blocks)
        if not isinstance(blocks, list) or len(thoughts) < len(blocks):
            self.note(f"messages[{index}].thinking_blocks", "it takes back signed thoughts only")
        return thoughts + parts

    def text(self, text: str) -> JSON:
        """A text block."""
        return {"type": "text", "text": text}

    def marked(self, made: JSON, given: JSON) -> JSON:
        """The block with its cache mark and, for a document, the wish for citations."""
        if self._caches and given.get("cache_control"):
            made["cache_control"] = given["cache_control"]
        if made["type"] == "document" and given.get("citations"):
            made["citations"] = given["citations"]
        return made

    def _mark_tools(self, tools: list[JSON], out: JSON) -> None:
        marks = {tool["function"]["name"]: tool["cache_control"] for tool in tools if tool.get("cache_control")}
        for tool in out.get("tools", ()):
            if tool["name"] in marks:
                tool["cache_control"] = marks[tool["name"]]

    def image(self, blob: Blob, path: str) -> JSON:
        """An image block."""
        if not self._family.facts.images:
            raise self.refuse(f"{path}.image_url", f"{self._model} takes text only")
        kind = "image/jpeg" if blob.media_type == "image/jpg" else blob.media_type
        if kind not in _IMAGES:
            raise self.refuse(f"{path}.image_url.url", f"{kind} is not png, jpeg, gif or webp")
        return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": blob.data}}

    def document(self, blob: Blob, path: str) -> JSON:
        """A document block: PDF or plain text."""
        if blob.media_type == "application/pdf":
            source = {"type": "base64", "media_type": "application/pdf", "data": blob.data}
            self._pages += pages_of(base64.b64decode(blob.data)) or 0
        elif blob.media_type == "text/plain":
            try:
                text = base64.b64decode(blob.data).decode()
            except ValueError:
                raise self.refuse(f"{path}.file.file_data", "the text is not valid UTF-8") from None
            source = {"type": "text", "media_type": "text/plain", "data": text}
        else:
            raise self.refuse(f"{path}.file.file_data", f"{blob.media_type} is neither a PDF nor plain text")
        return {"type": "document", "source": source, **({"title": blob.name[:_TITLE]} if blob.name else {})}

    def call(self, call: ToolCall) -> JSON:
        """A tool_use block."""
        self._called[call.name] = None
        return {"type": "tool_use", "id": _tool_id(call.id), "name": call.name, "input": call.arguments}

    def result(self, result: ToolResult) -> JSON:
        """A tool_result block."""
        block = {"type": "tool_result", "tool_use_id": _tool_id(result.id)}
        return {**block, "content": result.content} if result.content else block

    # ---- options -----------------------------------------------------------------------------------------------

    def _temperature(self, value: Any, body: JSON, out: JSON) -> None:
        number = read_number("temperature", value, self._family.facts.max_temperature, self.provider)
        sampling = self._family.facts.sampling
        if number == 1 and (sampling == "none" or (sampling == "one" and body.get("top_p") not in (None, 1))):
            self.note("temperature", "1 is what it does anyway")
        elif sampling == "none":
            raise self.refuse("temperature", f"{self._model} does not accept temperature; remove it")
        else:
            out["temperature"] = number

    def _top_p(self, value: Any, body: JSON, out: JSON) -> None:
        number = read_number("top_p", value, 1, self.provider)
        sampling = self._family.facts.sampling
        if number == 1 and sampling != "both":
            self.note("top_p", "1 is what it does anyway")
        elif sampling == "none":
            raise self.refuse("top_p", f"{self._model} does not accept top_p; remove it")
        elif sampling == "one" and body.get("temperature") not in (None, 1):
            raise self.refuse("top_p", f"{self._model} takes temperature or top_p, not both; leave one out")
        else:
            check_least_top_p(self._family.facts, "top_p", number)
            out["top_p"] = number

    def _top_k(self, value: Any, body: JSON, out: JSON) -> None:
        facts = self._family.facts
        if not facts.top_k:
            raise self.refuse("top_k", f"{self._model} does not accept top_k; remove it")
        out["top_k"] = read_whole("top_k", value, low=0, most=facts.max_top_k)

    def _stop(self, value: Any, body: JSON, out: JSON) -> None:
        if stops := stop_list(value, self.provider):
            out["stop_sequences"] = stops

    # ---- answer ------------------------------------------------------------------------------------------------

    def answer(self, output: JSON) -> JSON | Failure:
        """From a Message."""
        if output.get("type") == "error" or not (isinstance(output.get("content"), list) or _has_ended(output)):
            return _failure(output)
        blocks = objects_of(output.get("content"))
        texts = [block["text"] for block in blocks if isinstance(block.get("text"), str)]
        uses = [block for block in blocks if block.get("type") == "tool_use"]
        answers = [
            orjson.dumps(answer_in(use["name"], use.get("input"))).decode()
            for use in uses
            if use.get("name") in ANSWER_TOOLS
        ]
        calls = [
            tool_call(str(use.get("id")), str(use.get("name")), use.get("input"))
            for use in uses
            if use.get("name") not in ANSWER_TOOLS
        ]
        reason = output.get("stop_reason")
        # Beside an answer in the schema's shape, chatter would make the content no JSON.
        text: str | None = answers[0] if answers else "".join(texts)
        refusal = None
        if reason == "refusal":
            explanation = object_of(output.get("stop_details")).get("explanation")
            refusal, text = (
                text
                or (explanation if isinstance(explanation, str) and explanation else "The model refused to answer."),
                None,
            )
        body = completion(
            answer_id=f"chatcmpl-{output['id']}" if isinstance(output.get("id"), str) else made_id(output),
            model=output["model"] if isinstance(output.get("model"), str) else self._model,
            text=text or None if calls else text,
            finish=finish_reason(CLAUDE, reason, calls),
            usage=_usage(object_of(output.get("usage"))),
            refusal=refusal,
            reasoning="".join(b["thinking"] for b in blocks if isinstance(b.get("thinking"), str)),
            calls=calls,
        )
        if signed := _thoughts(blocks):
            body["choices"][0]["message"]["thinking_blocks"] = signed
        return claude_leftovers(output).into(body)


def _call_id(block: JSON) -> str | None:
    return block["id"] if block["type"] == "tool_use" else None


def _result_id(block: JSON) -> str | None:
    return block["tool_use_id"] if block["type"] == "tool_result" else None


def _tool_id(given: str) -> str:
    """The id as it is, or one that Claude accepts, the same for a call and its result."""
    return given if _ID.fullmatch(given) else "toolu_" + hashlib.blake2b(given.encode(), digest_size=12).hexdigest()


def _thoughts(blocks: Any) -> list[JSON]:
    """The thinking blocks that Claude takes back, as LiteLLM's ``thinking_blocks`` carries them: signed ones."""
    found = []
    for block in objects_of(blocks):
        if block.get("type") == "thinking" and isinstance(block.get("thinking"), str) and block.get("signature"):
            found.append({"type": "thinking", "thinking": block["thinking"], "signature": str(block["signature"])})
        elif block.get("type") == "redacted_thinking" and isinstance(block.get("data"), str):
            found.append({"type": "redacted_thinking", "data": block["data"]})
    return found


def _usage(counts: JSON) -> JSON:
    """Claude counts cached tokens apart from ``input_tokens``."""
    return usage(
        token_total(counts, "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
        token_total(counts, "output_tokens"),
        cached=counts.get("cache_read_input_tokens"),
        cache_write=counts.get("cache_creation_input_tokens"),
        reasoning=object_of(counts.get("output_tokens_details")).get("thinking_tokens"),
    )


def _has_ended(output: JSON) -> bool:
    """Whether a message without content is an answer all the same, which was paid for: one that says why it ended."""
    return output.get("content") is None and isinstance(output.get("stop_reason"), str)


def _failure(output: JSON) -> Failure:
    error = object_of(output.get("error"))
    kind = error.get("type")
    if not isinstance(kind, str) or not kind:
        return Failure(None, "The record's output is not a message.")
    status = _ERRORS.get(kind)
    return Failure(status, str(error.get("message") or kind), kind, status in (429, 500, 504, 529))
