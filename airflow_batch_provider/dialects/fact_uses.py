"""Which facts of a model each dialect acts on; one without a meaning there is an error where a connection gives it."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.dialects.families import CHAT, DialectName, Family

_ANY: frozenset[str] = frozenset()
"""Every value of the field has a meaning."""


def _uses(names: str, **values: str) -> Mapping[str, frozenset[str]]:
    return {**dict.fromkeys(names.split(), _ANY), **{name: frozenset(words.split()) for name, words in values.items()}}


_CHAT = "sampling max_temperature min_top_p top_k max_top_k max_output prefill images max_images system"
USES: Mapping[DialectName, Mapping[str, frozenset[str]]] = {
    "anthropic": _uses(
        f"{_CHAT} schema strict_tools forced_tools thinks_unasked thinking_off efforts min_budget max_budget "
        "default_output",
        thinking="none budget adaptive",
    ),
    "gemini": _uses(
        f"{_CHAT} penalties thinks_unasked efforts min_budget max_budget media_out json_beside_tools",
        schema="native prompt none",
        forced_tools="always never",
        thinking="none budget level",
        thinking_off="absent never",
    ),
    "converse": _uses(f"{_CHAT} top_k_field", schema="native prompt none"),
    "nova": _uses(_CHAT, schema="tool prompt none", forced_tools="always never", thinking="none level"),
    "openai": _uses("efforts thinking_off images max_output"),
}
"""By dialect: the fields that are acted on, and the words where not each of a field's has a meaning there."""


def check_given(family: Family, model: str) -> None:
    """Refuse facts that ``model_facts`` gives and nothing would come of.

    :raises ConfigurationError: naming the field, and what may be given.
    """
    uses = USES.get(family.dialect, {})
    for name in sorted(family.facts.given):
        if name not in uses:
            known = f"; {', '.join(sorted(uses))} are used" if uses else ""
            raise ConfigurationError(
                f"model_facts: {name} has no meaning for {model!r} ({family.dialect} requests){known}"
            )
        value = getattr(family.facts, name)
        if uses[name] and value not in uses[name]:
            raise ConfigurationError(
                f"model_facts: {name} of {model!r} must be one of {', '.join(sorted(uses[name]))} "
                f"for {family.dialect} requests, not {value!r}"
            )


def unknown_model(family: Family, model: str) -> dict[str, str]:
    """The note of a model that no row of the tables names."""
    if family.facts.known or family.endpoint != CHAT:
        return {}
    return {
        "model": f"The settings that {model} accepts are unknown: requests use only what every known model of its kind "
        "accepts; describe the model in the connection's model_facts"
    }
