"""Bedrock's models that take OpenAI's own chat body: gpt-oss, Qwen, DeepSeek, Kimi, MiniMax.

Sources: AWS, "OpenAI models" (fields as in OpenAI's "Create chat completion", text only, ``model`` may be left out);
gpt-oss writes its reasoning into the content, between tags.
"""

from __future__ import annotations

from typing import Any

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.chat import UNHEARD
from airflow_batch_provider.dialects.completion import count, made_id, object_of, objects_of
from airflow_batch_provider.dialects.dialect import Dialect, Failure
from airflow_batch_provider.dialects.families import Family
from airflow_batch_provider.dialects.options import bounded_tokens, nearest_effort, read_effort, with_effort

_BEGIN, _END = "<reasoning>", "</reasoning>"
_UNHEARD = UNHEARD | {"prediction"}
_APART = _UNHEARD | {"model", "stream"}


class OpenAIBody(Dialect):
    """A body that goes as it is, but for what belongs to OpenAI's platform.

    :param model: named in answers that do not name theirs.
    """

    def __init__(self, family: Family, model: str) -> None:
        super().__init__()
        self._facts = family.facts
        self._model = model

    def request(self, body: JSON) -> JSON:
        """The body without ``model``."""
        body = with_effort(body, self._note)
        out = {name: value for name, value in body.items() if name not in _APART and value is not None}
        if not _UNHEARD.isdisjoint(body):
            for name in sorted(_UNHEARD.intersection(body)):
                self.notes.setdefault(f"body.{name}", "left out for Bedrock: it changes no answer")
        if body.get("stream"):
            raise _refuse("stream", "a batch cannot stream; leave it out")
        if out.get("n", 1) != 1:
            raise _refuse("n", f"Bedrock returns one answer per request; write {out['n']} lines instead")
        if out.get("logprobs"):
            raise _refuse("logprobs", "Bedrock does not return log probabilities; remove the field")
        self._bound(out)
        messages: list[JSON] = out["messages"]
        if any(message["role"] == "developer" for message in messages):
            # The open models know it as system.
            out["messages"] = [_as_system(message) for message in messages]
        for index, message in enumerate(messages):
            if type(message.get("content")) is list:
                self._check_parts(message["content"], f"messages[{index}].content")
        return out

    def _bound(self, out: JSON) -> None:
        """Keep to what the model takes of thinking and output."""
        if "thinking" in out:
            raise _refuse("thinking", f"{self._model} has no such object; write reasoning_effort, or leave it out")
        for name in ("max_tokens", "max_completion_tokens"):
            if type(out.get(name)) is int:
                out[name] = bounded_tokens(out[name], self._facts.max_output, self._note)
        if "reasoning_effort" in out and (self._facts.efforts or self._facts.thinking_off == "never"):
            out["reasoning_effort"] = self._effort(read_effort(out["reasoning_effort"]))

    def _note(self, field: str, reason: str, what: str = "left out") -> None:
        self.notes.setdefault(f"body.{field}", f"{what} for Bedrock: {reason}")

    def _effort(self, wanted: str) -> str:
        """The level that the model takes."""
        if wanted == "none" and self._facts.thinking_off == "absent" and "none" not in self._facts.efforts:
            return wanted
        if wanted == "none" and "none" not in self._facts.efforts:
            raise _refuse("reasoning_effort", f"{self._model} cannot be kept from thinking; leave it out, or write low")
        level = nearest_effort(wanted, self._facts.efforts) if self._facts.efforts else wanted
        if level != wanted:
            reason = f"changed for Bedrock: {wanted} is not a level of this model, {level} is sent"
            self.notes.setdefault("body.reasoning_effort", reason)
        return level

    def _check_parts(self, parts: list[Any], where: str) -> None:
        for number, part in enumerate(parts):
            kind = part.get("type") if isinstance(part, dict) else None
            path = f"{where}[{number}]"
            if kind == "image_url":
                given = part.get("image_url")
                url = given.get("url") if isinstance(given, dict) else given
                if not self._facts.images:
                    raise _refuse(path, f"{self._model} takes text only")
                if not isinstance(url, str) or not url.lower().startswith("data:"):
                    message = (
                        "Bedrock does not download images in batches; set download_images=True, or write "
                        "it as a data: URL"
                    )
                    raise _refuse(f"{path}.image_url.url", message)
            elif kind not in ("text", "refusal"):
                raise _refuse(f"{path}.type", f"{kind!r} is not taken; text and image_url are")

    def answer(self, output: JSON) -> JSON | Failure:
        """The completion, with the reasoning in ``reasoning_content``."""
        choices = objects_of(output.get("choices"))
        if not choices or not all(isinstance(choice.get("message"), dict) for choice in choices):
            error = output.get("error")
            payload = object_of(error)
            message = payload.get("message") or (error if isinstance(error, str) else output.get("message"))
            message = message or "The record's output is not a completion."
            return Failure(None, str(message), None if payload.get("code") is None else str(payload["code"]))
        return {
            **output,
            "id": output["id"] if isinstance(output.get("id"), str) else made_id(output),
            "object": "chat.completion",
            "created": count(output.get("created")),
            "model": output["model"] if isinstance(output.get("model"), str) else self._model,
            "choices": [_choice(choice, index) for index, choice in enumerate(choices)],
        }


def _as_system(message: JSON) -> JSON:
    return {**message, "role": "system"} if message["role"] == "developer" else message


def _choice(choice: JSON, index: int) -> JSON:
    message: JSON = {"role": "assistant", "content": None, "refusal": None, **choice["message"]}
    thoughts, text = _apart(message["content"])
    thoughts = thoughts or message.pop("reasoning", None)
    message["content"] = text
    if isinstance(thoughts, str) and thoughts and not message.get("reasoning_content"):
        message["reasoning_content"] = thoughts
    reason = choice.get("finish_reason")
    finish = reason if isinstance(reason, str) and reason else "stop"
    return {"index": index, "logprobs": None, **choice, "message": message, "finish_reason": finish}


def _apart(content: Any) -> tuple[str, Any]:
    """The reasoning at the head of a content, and the content without it; an answer cut short has no end tag."""
    if not isinstance(content, str) or not content.lstrip().startswith(_BEGIN):
        return "", content
    thoughts, _, text = content.lstrip()[len(_BEGIN) :].partition(_END)
    return thoughts, text.lstrip("\n")


def _refuse(field: str, message: str) -> UntranslatableError:
    return UntranslatableError(f"body.{field}", message)
