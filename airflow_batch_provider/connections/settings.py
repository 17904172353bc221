"""The extra fields of a connection: each field is declared once, with what its form and its page show."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import Admission, ModelRules
from airflow_batch_provider.dialects.facts import check_model_facts

MODELS = "Models, prices, limits"
ADDITIONS = "Headers and body"
Hidden: TypeAlias = Literal["text", "values", "parts"]
"""How a field is kept secret: as a whole; each value of an object; or by the parts that its hook masks."""


def setting(
    title: str,
    description: str,
    *,
    default: Any = None,
    section: str | None = None,
    hide: Hidden | None = None,
    required: bool = False,
    **checks: Any,
) -> Any:
    """One extra field.

    :param title: its label in the form.
    :param description: one or two sentences, for form and page.
    :param section: the part of the form that it is folded into; None for the few that are always shown.
    :param hide: for secrets, how.
    :param required: whether a connection cannot do without it; forms take it empty all the same, checks do not.
    :param checks: of pydantic's ``Field``.
    """
    shown = f"Required. {description}" if required else description
    facts: dict[str, Any] = {"section": section, "hide": hide, "required": required}
    if callable(default):
        checks["default_factory"] = default
    else:
        checks["default"] = default
    return Field(title=title, description=shown, json_schema_extra=facts, **checks)


# ---- kinds of values -------------------------------------------------------------------------------------------------


def _split(value: Any) -> Any:
    """A form has one line of text for a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://[^/@\s]+(/[^@\s]*)?", value):
        raise ValueError("this is not an address such as https://name.example")
    return value.rstrip("/")


def _facts(value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    try:
        check_model_facts(value)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return value


def _as_text(value: Any) -> Any:
    """A header's value as it is sent: gateways take objects as JSON."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_split)]
Address: TypeAlias = Annotated[str, AfterValidator(_address)]
Facts: TypeAlias = Annotated[dict[str, dict[str, Any]], AfterValidator(_facts)]
HeaderText: TypeAlias = Annotated[str, BeforeValidator(_as_text)]


class TokenPrices(BaseModel):
    """US dollars for a million tokens, as billed in a batch.

    :param cached_input: of input tokens that the provider had cached; as ``input`` where it is not given.
    :param cache_write: of input tokens that the provider wrote to its cache.
    :param input_audio: of sound sent; and ``output_audio``, ``output_image`` of what was made. Unknown where not given.
    :param model: the model behind a deployment: instead of prices, its public price holds; its rules hold in any case.
    """

    model_config = ConfigDict(extra="forbid")

    input: float | None = Field(default=None, ge=0)
    output: float | None = Field(default=None, ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)
    input_audio: float | None = Field(default=None, ge=0)
    output_audio: float | None = Field(default=None, ge=0)
    output_image: float | None = Field(default=None, ge=0)
    model: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> TokenPrices:
        """Input and output go together; a model alone stands for both."""
        if (self.input is None) != (self.output is None) or (self.input is None and not self.model):
            raise ValueError("give input and output, or the model behind the deployment")
        return self


class Settings(BaseModel):
    """The extra fields of every connection type."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True)

    default_model: str | None = setting("Default model", "Used if neither the operator nor the row names a model.")
    model_map: dict[str, str] = setting(
        "Model map",
        'Map of model names in the file to model names at the provider: {"gpt-4o": "MODEL"}.',
        default=dict,
        section=MODELS,
    )
    prices: dict[str, TokenPrices] = setting(
        "Prices",
        "US dollars per million tokens as billed in a batch, by model or *, if the public price lists have no price or "
        'a different one: {"MODEL": {"input": 0.1, "output": 0.4}}.',
        default=dict,
        section=MODELS,
    )
    max_jobs_in_flight: int | None = setting(
        "Jobs in flight",
        "Maximum number of jobs of one run that are alive at the same time. Default: the provider's limit.",
        section=MODELS,
        ge=1,
    )
    max_enqueued_tokens: dict[str, Annotated[int, Field(ge=1)]] = setting(
        "Enqueued tokens",
        "Maximum number of input tokens of one run that are enqueued at the same time, by model or *; larger files are "
        "sent in waves: "
        '{"MODEL": 2000000}.',
        default=dict,
        section=MODELS,
    )

    def admission(self, known: Admission) -> Admission:
        """What may be alive at once.

        :param known: the provider's, used where the connection sets none.
        """
        tokens = {**known.max_tokens, **self.max_enqueued_tokens}
        return Admission(self.max_jobs_in_flight or known.max_jobs, tokens)

    def models(self) -> ModelRules:
        """The connection's part of model resolution, and its prices."""
        prices = {model: price.model_dump(exclude_none=True) for model, price in self.prices.items()}
        return ModelRules(mapping=self.model_map, default=self.default_model or None, prices=prices)


class ExtraSettings(Settings):
    """What is sent besides what this package knows of."""

    extra_headers: dict[str, HeaderText] = setting(
        "Extra headers",
        'Headers for every call, e.g. {"X-Team": "search"}; their values are never logged.',
        default=dict,
        section=ADDITIONS,
        hide="values",
    )
    extra_body: dict[str, Any] = setting(
        "Extra body", "Fields to add to every create call.", default=dict, section=ADDITIONS
    )


FAMILIES = (
    "For names that do not show the kind of model: map of the name to a family, or to the ID of the model behind it: "
    '{"my-private-name": "claude-4.5"}.'
)
FACTS = (
    "What a model accepts, if the built-in tables do not know it or are wrong: map of models, or patterns with *, "
    'to facts: {"*claude-opus-6*": {"max_output": 128000}}.'
)
