"""The names and types of ``backend_options``: one table for all backends."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batch_provider.backends.options import _KINDS, check_options
from airflow_batch_provider.cli import backend_of
from airflow_batch_provider.connections import own_types
from airflow_batch_provider.core.errors import ConfigurationError

WAYS = [(row.name, way) for row in own_types().values() for way in row.ways.values()]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metadata": {}}, "metadata are unknown to x_batch; known are expires_after, job_name, tags, timeout_hours"),
        ({"timeout_hours": "24"}, "timeout_hours must be a whole number, not str"),
        ({"timeout_hours": True}, "timeout_hours must be a whole number, not bool"),
        ({"expires_after": True}, "expires_after must be a number of seconds, not bool"),
        ({"tags": ["a"]}, "tags must be an object, not list"),
        ({"job_name": 1}, "job_name must be a string, not int"),
    ],
)
def test_unfit_options(options: dict[str, Any], said: str) -> None:
    """An option is refused by its name."""
    known = frozenset({"expires_after", "job_name", "tags", "timeout_hours"})
    with pytest.raises(ConfigurationError, match=said):
        check_options("x_batch", options, known)
    check_options("x_batch", {"job_name": None, "tags": {}}, known)


@pytest.mark.parametrize(("conn_type", "behind"), WAYS)
def test_every_option_has_a_type(conn_type: str, behind: str | None) -> None:
    """Whatever a backend takes is checked, and no type is left of an option that nobody takes."""
    names = backend_of(conn_type, behind).option_names
    assert names
    assert names <= _KINDS.keys()
    with pytest.raises(ConfigurationError, match="file_name must be a string, not int"):
        check_options(conn_type, {"file_name": 7}, names)


def test_no_type_is_left_over() -> None:
    """An option that no backend takes has none."""
    assert {name for way in WAYS for name in backend_of(*way).option_names} == _KINDS.keys()
