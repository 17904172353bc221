"""The keys of a chat body below its top level, and what becomes of them where a dialect says nothing else.

Sources: openai SDK 3.54, ``types.chat.completion_create_params`` and the types of its messages, parts and tools; of
what is not OpenAI's, the keys that LiteLLM, OpenRouter and DeepSeek write into answers, which people send back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_batch_provider.dialects.keys import READ, ByKind, Each, Fate, Keys, Left, Never
from airflow_batch_provider.dialects.media_types import GIVEN

HELD = Left("it holds every schema strictly")
_SIGNATURE = Left("it is for Gemini")
_FORMAT_NAME = Left("its schemas have no names")
NAMELESS = Left("its messages have no names; write the name into the text if the model must know who speaks")
CACHE = Left("it caches nothing in batches, which changes the price and not the answer")
_CITATIONS = Left("it gives no citations for files")
_DETAIL = Left("it has no equivalent")
_ANSWERED = Left("it belongs to the answer that the message was taken from")
_THOUGHTS = Left("it does not take back what was thought")
_SPOKEN = Never("the recording of an earlier answer is only at OpenAI; write what was said as text")
_BREAKPOINT = Left("this mark is OpenAI's; it changes the price and not the answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatKeys:
    """What differs between the dialects.

    :param cache: of ``cache_control``, on messages, parts and tools.
    :param citations: of a file part's ``citations``.
    :param detail: of an image's ``detail``.
    :param filename: of a file's name.
    :param thinking_blocks: of signed thoughts, as LiteLLM carries them.
    :param signature: of a tool call's ``extra_content``.
    :param format_name: of a schema's name.
    :param format_strict: of a schema's ``strict``.
    :param tool_strict: of a function's ``strict``.
    :param thinking: of Claude's own field.
    """

    cache: Fate = CACHE
    citations: Fate = _CITATIONS
    detail: Fate = _DETAIL
    filename: Fate = READ
    thinking_blocks: Fate = _THOUGHTS
    signature: Fate = _SIGNATURE
    format_name: Fate = _FORMAT_NAME
    format_strict: Fate = HELD
    tool_strict: Fate = READ
    thinking: Fate = READ

    def tree(self) -> Mapping[str, Fate]:
        """The fields of the body that hold objects, but for the messages -> what becomes of their keys."""
        function = Keys(dict.fromkeys(("name", "description", "parameters"), READ) | {"strict": self.tool_strict})
        named = Keys({"type": READ, "function": Keys({"name": READ})})
        allowed = Keys({"mode": READ, "tools": Each(named)})
        schema = {"name": self.format_name, "description": READ, "schema": READ, "strict": self.format_strict}
        return {
            "tools": Each(
                ByKind(
                    "type",
                    dict.fromkeys(
                        (None, "function"), Keys({"type": READ, "function": function, "cache_control": self.cache})
                    ),
                )
            ),
            "tool_choice": ByKind(
                "type",
                {"function": named, "allowed_tools": Keys({"type": READ, "allowed_tools": allowed})},
            ),
            "response_format": ByKind(
                "type",
                {
                    "text": Keys({"type": READ}),
                    "json_object": Keys({"type": READ}),
                    "json_schema": Keys({"type": READ, "json_schema": Keys(schema)}),
                },
            ),
            "thinking": self.thinking,
        }

    def message(self) -> ByKind:
        """What becomes of the keys of one message."""
        content = Each(self._parts())
        said: dict[str, Fate] = {"role": READ, "content": content, "name": NAMELESS, "cache_control": self.cache}
        call = Keys(
            {
                "id": READ,
                "type": READ,
                "index": Left("its place in the array says it"),
                "function": Keys({"name": READ, "arguments": READ}),
                "extra_content": self.signature,
                "provider_specific_fields": _ANSWERED,
            }
        )
        answered = dict.fromkeys(
            ("annotations", "images", "provider_specific_fields", "reasoning", "reasoning_content"), _ANSWERED
        )
        thoughts = dict.fromkeys(("reasoning", "reasoning_content", "reasoning_details"), _THOUGHTS)
        assistant: dict[str, Fate] = {
            **said,
            **answered,
            **thoughts,
            "refusal": READ,
            "tool_calls": Each(call),
            "function_call": READ,
            "audio": _SPOKEN,
            "thinking_blocks": self.thinking_blocks,
        }
        result = Keys({**said, "tool_call_id": READ, "name": READ})
        return ByKind(
            "role",
            {
                **dict.fromkeys(("system", "developer", "user"), Keys(said)),
                "assistant": Keys(assistant),
                **dict.fromkeys(("tool", "function"), result),
            },
        )

    def _parts(self) -> ByKind:
        every: dict[str, Fate] = {"type": READ, "cache_control": self.cache, "prompt_cache_breakpoint": _BREAKPOINT}
        text = Keys({**every, "text": READ, "annotations": _ANSWERED})
        kind: dict[str, Fate] = dict.fromkeys(GIVEN, READ)
        file = Keys({"file_data": READ, "file_id": READ, "filename": self.filename, **kind})
        return ByKind(
            "type",
            {
                None: text,
                "text": text,
                "refusal": Keys({**every, "refusal": READ}),
                "image_url": Keys({**every, **kind, "image_url": Keys({"url": READ, "detail": self.detail, **kind})}),
                "file": Keys({**every, **kind, "file": file, "citations": self.citations}),
                "input_audio": Keys({**every, "input_audio": Keys({"data": READ, "format": READ})}),
            },
        )
