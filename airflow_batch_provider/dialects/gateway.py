"""OpenAI's lines for gateways that translate them for Bedrock and Vertex AI themselves, and translate some of it badly.

A gateway leaves out what it does not know and says nothing. So each request is first put to our own dialect of the same
model, which names what the provider does not support at all; then it is written so that the gateway cannot go wrong;
and what the gateway would lose, although it changes the answer, is an error of the row.

Source: Portkey's open-source gateway 1.15.2, read and run. TrueFoundry's matrix of files
is the same, so the same is expected of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

from airflow_batch_provider.core.errors import ConfigurationError, UntranslatableError
from airflow_batch_provider.core.records import JSON, BatchRequest, BatchResult
from airflow_batch_provider.dialects import gateway_messages as messages
from airflow_batch_provider.dialects.base import LineFormat, Sent
from airflow_batch_provider.dialects.chat import UNHEARD
from airflow_batch_provider.dialects.completion import count, object_of, objects_of
from airflow_batch_provider.dialects.dialect import Failure
from airflow_batch_provider.dialects.embeddings import embedding_list
from airflow_batch_provider.dialects.envelopes import told_fault
from airflow_batch_provider.dialects.facts import ModelFacts
from airflow_batch_provider.dialects.families import CHAT, Family, bedrock_family, vertex_family
from airflow_batch_provider.dialects.formats import bedrock_format, vertex_format
from airflow_batch_provider.dialects.keys import READ, Each, Keys, Left, Never, check, pattern
from airflow_batch_provider.dialects.loading import load_line
from airflow_batch_provider.dialects.openai import OpenAIFormat, result_of, text_of
from airflow_batch_provider.dialects.options import bounded_tokens, read_max_tokens
from airflow_batch_provider.dialects.translated import line_beside

Provider: TypeAlias = Literal["bedrock", "vertex_ai"]

_SHARED = ("max_tokens", "temperature", "top_p")
_CLAUDE = frozenset({*_SHARED, "top_k", "stop", "tools", "tool_choice"})
_FIELDS: dict[str, frozenset[str]] = {
    "claude": _CLAUDE,
    "llama3": frozenset(_SHARED),
    "mistral": frozenset({*_SHARED, "top_k", "stop"}),
    "gemini": frozenset({*_CLAUDE, "seed", "response_format"}),
}
"""What the gateway's own translation for a kind of model takes besides the messages."""
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "stream": (False,),
    "parallel_tool_calls": (True,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "stop": ([],),
    "tool_choice": ("auto",),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
}
"""Values that say nothing, so that nothing is lost with them."""
_SAMPLING = frozenset({"temperature", "top_p"})
_LEFT_OUT: dict[str, frozenset[str]] = {
    kind: frozenset({*UNHEARD, "prediction", "seed", "verbosity", *more})
    for kind, more in {
        "claude": (),
        "llama3": ("reasoning_effort",),
        "mistral": ("reasoning_effort",),
        "gemini": ("parallel_tool_calls",),
        "embedding": (),
    }.items()
}
"""What our own dialect of the same model leaves out with a note, whatever its value."""
_CHEAPER = Left("the gateway does not send it on, which changes the price and not the answer")
_LOST = Never("the gateway silently drops it, which changes the answer; use the provider's own connection")
_PARTS = Each(Keys({"cache_control": _CHEAPER}, others=READ))
_KEPT: dict[str, Keys] = {
    "messages": Keys({"content": _PARTS, "cache_control": _CHEAPER, "thinking_blocks": _LOST}, others=READ),
    "tools": Keys({"cache_control": _CHEAPER}, others=READ),
}
"""What our own dialect of Claude writes, and a gateway's does not; it has looked at all other keys already."""
_SPELLINGS = frozenset({"model", "messages", "max_tokens", "max_completion_tokens"})
_RAW = frozenset({"request", "instance", "status", "processed_time", "recordId", "modelInput", "modelOutput"})
"""What only a provider's own output line has, of which gateways hand out files as they are."""
REMEDIES: dict[Provider, str] = {"bedrock": "use a bedrock_batch connection", "vertex_ai": "use a vertex_ai_batch one"}


@dataclass(frozen=True, slots=True)
class GatewayModel:
    """The model behind a gateway.

    :param kind: which of the gateway's translations it gets.
    :param remedy: who can do what the gateway cannot.
    """

    family: Family
    kind: str
    remedy: str


def behind(
    provider: Provider, model: str, families: Mapping[str, str] | None = None, model_facts: ModelFacts | None = None
) -> GatewayModel:
    """What a gateway makes of a model.

    :param families: the connection's ``model_families``.
    :param model_facts: the connection's ``model_facts``.
    :raises ConfigurationError: when it cannot write the model's lines, naming the remedy.
    """
    remedy = REMEDIES[provider]
    if provider == "vertex_ai":
        bare = model.removeprefix("google.").removeprefix("anthropic.")
        family = vertex_family(bare, families, model_facts)
        kind = {"anthropic": "claude", "gemini": "gemini", "gemini_embed": "embedding"}.get(family.dialect)
    else:
        family = bedrock_family(model, families, model_facts)
        # The gateway looks for a word in the model's name; an ARN it looks up first.
        kind = "claude" if family.dialect == "anthropic" else None
        if family.name.startswith(("llama", "mistral", "pixtral")):
            kind = next((word for word in ("llama3", "mistral") if word in model), None)
    if kind is None:
        raise ConfigurationError(f"The gateway does not support batches of model {model!r}; {remedy}, which can")
    return GatewayModel(family, kind, remedy)


def gateway_format(
    provider: Provider,
    model: str,
    endpoint: str,
    families: Mapping[str, str] | None = None,
    model_facts: ModelFacts | None = None,
) -> LineFormat:
    """How lines for a model behind a gateway are written and read.

    :raises ConfigurationError: when the gateway or the family does not serve model or endpoint.
    """
    found = behind(provider, model, families, model_facts)
    if provider == "bedrock":
        if endpoint != CHAT:
            raise ConfigurationError(f"The gateway writes no lines for {endpoint} on Bedrock; {found.remedy}")
        own = bedrock_format(found.family, model, endpoint)
    else:
        own = vertex_format(found.family, model, endpoint)
    return GatewayFormat(found, own, model, endpoint)


class GatewayFormat(LineFormat):
    """OpenAI's lines, tidied for one model behind a gateway; rows travel by token.

    :param found: the model.
    :param own: our own format for it, which checks requests and reads the lines that the provider itself has written.
    """

    def __init__(self, found: GatewayModel, own: LineFormat, model: str, endpoint: str) -> None:
        super().__init__()
        self._found = found
        self._own = own
        self._model = model
        self._wire = OpenAIFormat(model, endpoint, ascii_only=True, tokens=True)
        self.notes = own.notes

    def encode(self, request: BatchRequest, position: int) -> bytes:
        """The wire line; see :class:`~airflow_batch_provider.dialects.base.LineFormat`."""
        self._own.encode(request, position)
        if self._found.kind == "claude":
            for name, keys in _KEPT.items():
                check(request.body.get(name), Each(keys), name, self._note, "The gateway")
        write = self._embedding if self._found.kind == "embedding" else self._chat
        bodies = [write(body) for body in self.split(request.body)]
        lines = [self._wire.write(request.custom_id, body, position + part) for part, body in enumerate(bodies)]
        return b"\n".join(lines)

    def split(self, body: JSON) -> Sequence[JSON]:
        """As our own format: one text a line."""
        return self._own.split(body)

    @property
    def splits(self) -> bool:
        """As our own format."""
        return self._own.splits

    def variant(self, request: BatchRequest) -> int:
        """As our own format's: the provider imports the same columns."""
        return self._own.variant(request)

    def row_of(self, wire: bytes) -> str | None:
        """Its ``custom_id``."""
        return self._wire.row_of(wire)

    def decode(self, line: bytes, sent: Sent) -> BatchResult:
        """One output line, translated by the gateway or not; each line is looked at by itself."""
        data = load_line(line)
        if not isinstance(data, dict) or _RAW.isdisjoint(data):
            return self._wire.decode(line, sent)
        if "predictions" in data or "instance" in data:
            return self._decode_prediction(data, line, sent)
        return self._own.decode(line, sent)

    # ---- chat --------------------------------------------------------------------------------------------------

    def _chat(self, body: JSON) -> JSON:
        kind = self._found.kind
        taken = _FIELDS[kind]
        out: JSON = {"messages": self._messages(body["messages"])}
        facts = self._found.family.facts
        most = read_max_tokens(body)
        if kind == "claude":
            most = bounded_tokens(most or facts.default_output, facts.max_output, self._own_note)
        if most is not None:
            out["max_tokens"] = most
        for name, value in body.items():
            if name in _SPELLINGS or value is None or value in _HARMLESS.get(name, ()):
                continue
            if name in _SAMPLING and value == 1 and facts.sampling != "both":
                continue  # Our own dialect has noted it: 1 is what the model does anyway.
            if name in taken:
                out[name] = value
            elif name not in _LEFT_OUT[kind]:
                raise self._lost(name)
        if isinstance(out.get("stop"), str):
            out["stop"] = [out["stop"]]
        if "tools" in out:
            self._tools(out)
        if "response_format" in out:
            messages.check_schema("response_format", _schema_of(out["response_format"]), self._found.remedy)
        return out

    def _note(self, path: str, reason: str) -> None:
        self.notes.setdefault(f"body.{pattern(path)}", f"{reason} (first in body.{path})")

    def _messages(self, given: list[JSON]) -> list[JSON]:
        remedy = self._found.remedy
        match self._found.kind:
            case "claude":
                return messages.for_claude(given, remedy)
            case "gemini":
                return messages.for_gemini(given, remedy)
            case kind:
                return messages.for_prompt(given, remedy, merge_system=kind == "mistral")

    def _tools(self, out: JSON) -> None:
        """Functions with what the gateway keeps of a schema, and a choice that it knows."""
        if self._found.kind == "gemini":
            for index, tool in enumerate(out["tools"]):
                field = f"tools[{index}].function.parameters"
                messages.check_schema(field, tool["function"].get("parameters"), self._found.remedy)
        else:
            out["tools"] = [self._claude_tool(tool, index) for index, tool in enumerate(out["tools"])]
        choice = out.get("tool_choice")
        if choice == "none" and self._found.kind == "claude":
            # The gateway makes null of it, which means "auto".
            if messages.has_calls(out["messages"]):
                raise self._lost("tool_choice")
            del out["tools"], out["tool_choice"]
        elif isinstance(choice, dict) and choice.get("type") != "function":
            raise self._lost("tool_choice")
        elif choice not in (None, "auto"):
            self._check_forced()

    def _check_forced(self) -> None:
        """Where thinking must be switched off for a forced tool, the gateway would lose that."""
        facts = self._found.family.facts
        if facts.forced_tools == "unless_thinking" and facts.thinks_unasked:
            message = f"a forced call requires thinking off, and the gateway drops that setting; {self._found.remedy}"
            raise UntranslatableError("body.tool_choice", message)

    def _claude_tool(self, tool: JSON, index: int) -> JSON:
        function = tool["function"]
        schema = function.get("parameters") or {}
        lost = sorted(
            schema.keys() - {"type", "properties", "required", "title", "description", "additionalProperties"}
        )
        if lost:
            raise self._lost(f"tools[{index}].function.parameters.{lost[0]}")
        if schema.keys() & {"title", "description", "additionalProperties"} or function.get("strict"):
            reason = "left out by the gateway: title, description and additionalProperties of parameters, and strict"
            self.notes.setdefault("body.tools", reason)
        return tool

    def _own_note(self, field: str, reason: str, what: str = "left out") -> None:
        self.notes.setdefault(f"body.{field}", f"{what} for the model: {reason}")

    def _lost(self, name: str) -> UntranslatableError:
        message = f"the gateway silently drops it, which changes the answer; {self._found.remedy}"
        return UntranslatableError(f"body.{name}", message)

    # ---- embeddings --------------------------------------------------------------------------------------------

    def _embedding(self, body: JSON) -> JSON:
        """One text; the gateway joins several to one, and keeps nothing else."""
        for name, value in body.items():
            harmless = value is None or (name == "encoding_format" and value == "float")
            if name not in {"model", "input"} and not harmless and name not in _LEFT_OUT["embedding"]:
                raise self._lost(name)
        given = body["input"]
        return {"input": given[0] if isinstance(given, list) else given}

    def _decode_prediction(self, data: JSON, line: bytes, sent: Sent) -> BatchResult:
        """A line of Vertex AI's older embeddings: ``{"instance", "predictions": [{"embeddings"}], "status"}``."""
        instance = object_of(data.get("instance"))
        custom_id = sent.row(data.get("requestId")) or sent.row(instance.get("requestId"))
        if custom_id is None and isinstance(instance.get("content"), str):
            custom_id = sent.claim(_text_of, instance["content"].encode())
        if custom_id is None:
            return BatchResult(None, "invalid", line)
        found: JSON | Failure
        embeddings = [object_of(one.get("embeddings")) for one in objects_of(data.get("predictions"))]
        said = told_fault(data)
        if embeddings:
            tokens = count(object_of(embeddings[0].get("statistics")).get("token_count"))
            found = embedding_list([embeddings[0].get("values")], self._model, tokens, as_base64=False)
        else:
            found = Failure(None, text_of(said or "The line came back without a prediction."))
        fault = Failure(None, text_of(said)) if said else None
        return result_of(line_beside(custom_id, found, fault))


def _text_of(wire: bytes) -> bytes | None:
    given = object_of(orjson.loads(wire).get("body")).get("input")
    return given.encode() if isinstance(given, str) else None


def _schema_of(value: Any) -> Any:
    return object_of(object_of(value).get("json_schema")).get("schema")
