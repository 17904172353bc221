"""Kinds of extra fields that several connection types have."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.dialects.facts import check_model_facts


def _split(value: Any) -> Any:
    """A form has one line of text for a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://[^/@\s]+(/[^@\s]*)?", value):
        raise ValueError("this is no address such as https://name.example")
    return value.rstrip("/")


def _facts(value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    try:
        check_model_facts(value)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return value


Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_split)]
Address: TypeAlias = Annotated[str, AfterValidator(_address)]
Facts: TypeAlias = Annotated[dict[str, dict[str, Any]], AfterValidator(_facts)]
