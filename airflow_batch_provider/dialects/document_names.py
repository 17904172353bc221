"""Names for the documents of a Converse request, made from the names that people give their files.

AWS, API reference of Bedrock, DocumentBlock: letters, digits, single white space, hyphens, parentheses and square
brackets; botocore, shape DocumentBlock: 1 to 200 characters. Of white space only a space is taken, live
(aws-samples/generative-ai-use-cases#1671). A name may occur once in a request.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

_OTHERS = re.compile(r"[^A-Za-z0-9()\[\]-]+")
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_LONGEST = 200
_SPARE = 20
"""Room for the number that tells equal names apart."""
_SPELLED = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L"}
)
"""Latin letters that Unicode does not take apart."""


def document_name(given: str | None, taken: Container[str]) -> str:
    """A name that AWS accepts, as near to the file's as it can be, without its ending.

    :param given: the file's name; None and names of nothing but other signs become ``document``.
    :param taken: the names of the request's other documents.
    """
    stem = given or ""
    bare = _plain(_ENDING.sub("", stem)) or _plain(stem)
    short = bare[: _LONGEST - _SPARE].strip() or "document"
    name, number = short, 1
    while name in taken:
        number += 1
        name = f"{short} {number}"
    return name


def _plain(text: str) -> str:
    spelled = unicodedata.normalize("NFKD", text.translate(_SPELLED))
    marks_off = "".join(sign for sign in spelled if not unicodedata.combining(sign))
    return _OTHERS.sub(" ", marks_off).strip()
