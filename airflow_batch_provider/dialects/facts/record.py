"""What is known of one model at one provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

SchemaWay: TypeAlias = Literal["native", "tool", "prompt", "none"]
Sampling: TypeAlias = Literal["both", "one", "none"]
Forced: TypeAlias = Literal["always", "unless_thinking", "never"]
Thinking: TypeAlias = Literal["none", "budget", "adaptive", "level", "openai"]
Off: TypeAlias = Literal["absent", "disabled", "between_tools", "never"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What one model takes at one provider. A connection's ``model_facts`` overrides any field but the first two.

    :param source: where the facts were read.
    :param known: False for the row of unknown models: the cautious choice, with a warning.
    :param schema: how an answer is held to a JSON schema: the provider's structured outputs (``native``), a tool that
        must be called (``tool``), the schema as an instruction, which nothing enforces (``prompt``), not at all
        (``none``).
    :param strict_tools: whether a tool may say ``strict``.
    :param forced_tools: whether a request may force a tool call. Where it may not, a tool in place of a schema
        is offered, and requested in words.
    :param sampling: which of temperature and top_p are taken together: both, one of them, none.
    :param max_temperature: the largest temperature.
    :param min_top_p: the smallest top_p.
    :param top_k: whether top_k is taken.
    :param max_top_k: the largest top_k; None where no bound is known.
    :param top_k_field: Converse only: where below ``additionalModelRequestFields`` top_k belongs, with dots between the
        levels.
    :param penalties: whether presence and frequency penalties are taken.
    :param thinking: how thinking is requested: a token budget, adaptively, a level, OpenAI's own word.
    :param thinks_unasked: whether the model thinks when a request does not mention it.
    :param thinking_off: what "off" is on the wire: no mention, Claude's ``{"type": "disabled"}`` or
        ``{"type": "between_tools"}``, or impossible.
    :param efforts: the levels of effort that are taken; empty where effort is not.
    :param min_budget: the smallest budget of thinking tokens; ``max_budget`` the largest, None where no bound is known.
    :param max_output: the most output tokens of a request, thoughts included; None where no bound is known.
    :param default_output: output tokens written where a request names none and the provider requires a number.
    :param prefill: whether the conversation may end with the assistant's words.
    :param images: whether images are taken.
    :param max_images: the most images of a request, documents included where they count as such; None where no bound is
        known.
    :param json_beside_tools: whether an answer may be held to JSON in a request that offers tools.
    :param system: whether system messages are taken; otherwise they go before the user's first words.
    :param media_out: whether answers may hold pictures or sound.
    :param given: the fields that ``model_facts`` has overridden.
    """

    source: str = ""
    known: bool = True
    schema: SchemaWay = "none"
    strict_tools: bool = False
    forced_tools: Forced = "always"
    sampling: Sampling = "both"
    max_temperature: float = 2.0
    min_top_p: float = 0.0
    top_k: bool = True
    max_top_k: int | None = None
    top_k_field: str = ""
    penalties: bool = False
    thinking: Thinking = "none"
    thinks_unasked: bool = False
    thinking_off: Off = "absent"
    efforts: tuple[str, ...] = ()
    min_budget: int = 1
    max_budget: int | None = None
    max_output: int | None = None
    default_output: int = 4096
    prefill: bool = True
    images: bool = True
    max_images: int | None = None
    json_beside_tools: bool = True
    system: bool = True
    media_out: bool = False
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    :param models: a regular expression for the whole plain name of a model, see ``lookup.plain_name``.
    """

    models: str
    facts: Facts
