"""Kinds of extra fields that several connection types have."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator


def _split(value: Any) -> Any:
    """A form has one line of text for a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://[^/@\s]+(/[^@\s]*)?", value):
        raise ValueError("this is no address such as https://name.example")
    return value.rstrip("/")


Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_split)]
Address: TypeAlias = Annotated[str, AfterValidator(_address)]
