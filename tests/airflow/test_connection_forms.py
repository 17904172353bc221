"""The forms of "Admin > Connections": what stands open is what one needs, the rest is folded away under titles."""

from __future__ import annotations

import pytest

from airflow_batch_provider.get_provider_info import get_provider_info

FORMS = {row["connection-type"]: row for row in get_provider_info()["connection-types"]}


@pytest.mark.parametrize("conn_type", sorted(FORMS))
def test_few_fields_stand_open(conn_type: str) -> None:
    """Under "Extra Fields" stand at most six fields and no editor for JSON, each of which is 200 pixels high."""
    fields = FORMS[conn_type]["conn-fields"].values()
    in_front = [field for field in fields if "section" not in field["schema"]]
    assert 1 <= len(in_front) <= 6
    assert not [field["label"] for field in in_front if "object" in field["schema"]["type"]]


@pytest.mark.parametrize("conn_type", sorted(FORMS))
def test_a_needed_field_stands_open(conn_type: str) -> None:
    """What cannot be left out is never hidden in a section that one has to open first."""
    hidden = [f for f in FORMS[conn_type]["conn-fields"].values() if "section" in f["schema"]]
    assert not [field["label"] for field in hidden if field["description"].startswith("Required.")]


@pytest.mark.parametrize("conn_type", sorted(FORMS))
def test_every_field_says_what_it_is(conn_type: str) -> None:
    """No field is a bare label, and no two of a form have the same."""
    fields = [*FORMS[conn_type]["conn-fields"].values()]
    assert all(field["description"].endswith(".") for field in fields)
    labels = [field["label"] for field in fields]
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize("conn_type", sorted(FORMS))
def test_a_section_is_in_one_piece(conn_type: str) -> None:
    """Fields of a section follow each other, in the order in which the form draws them."""
    titles = [field["schema"].get("section") for field in FORMS[conn_type]["conn-fields"].values()]
    blocks = [title for before, title in zip([object(), *titles], titles, strict=False) if title != before]
    assert len([title for title in blocks if title]) == len({title for title in titles if title})
