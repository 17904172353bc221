"""B6: the names of Converse's documents."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.converse import Converse
from airflow_batch_provider.dialects.document_names import document_name
from airflow_batch_provider.dialects.families import bedrock_family
from tests.dialects.sdk_schemas import valid_converse

MODEL = "meta.llama3-1-70b-instruct-v1:0"
VALID = re.compile(r"[A-Za-z0-9()\[\]-]+( [A-Za-z0-9()\[\]-]+)*")
"""AWS, DocumentBlock: no other signs, and never two white spaces in a row."""
PEOPLES = st.one_of(
    st.text(max_size=300),
    st.text("aA1 ,#._-()[]äßé日😀\t\n\u00a0\u3000", max_size=300),
    st.sampled_from(
        ["", ".pdf", "...", "a.pdf", "a 2.pdf", "a 3", "a", "Übersicht.pdf", "x" * 300 + ".pdf", "😀.docx"]
    ),
)


@pytest.mark.parametrize(
    ("given_name", "made"),
    [
        ("Invoice #12, March.pdf", "Invoice 12 March"),
        ("Übergröße / Maße (2024).pdf", "Ubergrosse Masse (2024)"),
        ("a_b__c.tar.gz", "a b c tar"),
        ("Version 1.2 of it", "Version 1 2 of it"),
        (".pdf", "pdf"),
        ("日本.pdf", "pdf"),
        ("", "document"),
        ("😀", "document"),
        ("x" * 300, "x" * 180),
    ],
)
def test_a_name_stays_readable(given_name: str, made: str) -> None:
    """B6: what AWS takes of a name stays, without its ending; the first is vercel/ai#20366's."""
    assert document_name(given_name, ()) == made


@given(st.lists(PEOPLES, min_size=1, max_size=5))
@settings(deadline=None, max_examples=150)
def test_every_name_is_valid_and_unique(names: list[str]) -> None:
    """B6: whatever people call their files, AWS takes the names, and each stands once in a request."""
    pdf = {"file_data": "data:application/pdf;base64,aGk="}
    parts: list[JSON] = [{"type": "file", "file": {"filename": name, **pdf}} for name in names]
    parts.append({"type": "text", "text": "Read."})
    made = Converse(bedrock_family(MODEL), MODEL).request({"messages": [{"role": "user", "content": parts}]})
    valid_converse(made)
    found = [part["document"]["name"] for part in made["messages"][0]["content"] if "document" in part]
    assert len(found) == len(set(found)) == len(names)
    assert all(VALID.fullmatch(name) and len(name) <= 200 for name in found)


def test_numbers_that_are_taken() -> None:
    """B6: a name that looks like a numbered one of ours does not make the search for a free one endless."""
    assert document_name("a", {"a", "a 2", "a 3"}) == "a 4"
